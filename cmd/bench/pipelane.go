package main

import (
	"context"
	"sync"
)

// pipeLane posts to one endpoint: a queue for each key, from which any free worker takes the next ready one.
type pipeLane struct {
	pipe *pipe

	mu    sync.Mutex
	wake  *sync.Cond
	keys  map[string]*keyPosts
	ready []*keyPosts
	first int // of ready
}

// keyPosts is what waits for one key. It is in ready, or a worker has it, and not both.
type keyPosts struct {
	key   string
	posts []*post
}

// newPipeLane returns a lane with a worker for each poster.
func newPipeLane(p *pipe, posters []poster, fail context.CancelCauseFunc) *pipeLane {
	l := &pipeLane{pipe: p, keys: make(map[string]*keyPosts)}
	l.wake = sync.NewCond(&l.mu)
	for _, poster := range posters {
		go func() { fail(l.work(poster)) }()
	}
	return l
}

func (l *pipeLane) push(e *post) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.keys[e.key]
	if q != nil {
		q.posts = append(q.posts, e)
		return
	}
	q = &keyPosts{key: e.key, posts: []*post{e}}
	l.keys[e.key] = q
	l.ready = append(l.ready, q)
	l.wake.Signal()
}

// take returns the next ready key with its oldest post.
func (l *pipeLane) take() (*keyPosts, *post) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.first == len(l.ready) {
		l.ready, l.first = l.ready[:0], 0
		l.wake.Wait()
	}
	q := l.ready[l.first]
	l.ready[l.first] = nil
	l.first++
	return q, q.posts[0]
}

// release makes the key ready again, or forgets it when nothing more waits.
func (l *pipeLane) release(q *keyPosts) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q.posts[0] = nil
	q.posts = q.posts[1:]
	if len(q.posts) == 0 {
		delete(l.keys, q.key)
		return
	}
	// A slice whose front is taken would grow for ever where there is always something ready.
	if l.first > 1024 && l.first > len(l.ready)/2 {
		l.ready = append(l.ready[:0], l.ready[l.first:]...)
		l.first = 0
	}
	l.ready = append(l.ready, q)
	l.wake.Signal()
}

// work posts until a POST fails.
func (l *pipeLane) work(to poster) error {
	for {
		q, e := l.take()
		if err := to.post(e); err != nil {
			return err
		}
		l.release(q)
		l.pipe.sent(e)
	}
}
