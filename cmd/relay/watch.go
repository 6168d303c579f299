package main

import (
	"context"
	"crypto/sha256"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Rhythms of watching the configuration.
const (
	watchSettle = 200 * time.Millisecond // an editor's save is several events
	watchPoll   = 15 * time.Second       // for file systems that send none
)

// takeHangups returns where SIGHUP arrives, from the first moment on: whoever sends it while relay starts wants a reload, and
// not the end of the process, which is what the signal means to one that does not take it.
func takeHangups() <-chan os.Signal {
	hangups := make(chan os.Signal, 1) // 1: more of them ask for the same
	signal.Notify(hangups, syscall.SIGHUP)
	return hangups
}

// watch reloads the configuration on SIGHUP and when it, or a file it refers to, changes. Folders are watched rather than
// files: a rename over the file, or the swapped symlink of a Kubernetes ConfigMap, leaves a watch on the file itself behind.
func (r *sidecar) watch(ctx context.Context) {
	var events <-chan fsnotify.Event
	var errs <-chan error
	watcher, err := fsnotify.NewWatcher()
	if err == nil {
		defer watcher.Close() //nolint:errcheck // nothing more is wanted of it
		events, errs = watcher.Events, watcher.Errors
	} else {
		r.log.Warn("file changes are found by looking every now and then", "err", err)
	}
	poll := time.NewTicker(watchPoll)
	defer poll.Stop()
	settle := time.NewTimer(watchSettle) // at the beginning too: what was edited before folders were watched sends no event
	seen := r.loaded()
	r.watchFolders(watcher)
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.hangups:
			r.log.Info("reload asked for by SIGHUP")
			seen = r.digest()
			_ = r.reload(ctx) // it logs its error
		case <-events:
			settle.Reset(watchSettle)
			continue
		case <-errs: //nolint:errcheck // it says that events were lost, so all files are looked at
			settle.Reset(watchSettle)
			continue
		case <-settle.C:
		case <-poll.C:
		}
		// A file that a refused configuration asks for is not yet among those watched: it is looked for again.
		if now := r.digest(); now != seen || r.refusal() != "" {
			seen = now
			_ = r.reload(ctx) // it logs its error
			r.watchFolders(watcher)
		}
	}
}

func (r *sidecar) watchFolders(w *fsnotify.Watcher) {
	if w == nil {
		return
	}
	for _, file := range r.files() {
		_ = w.Add(filepath.Dir(file)) // polling covers what cannot be watched
	}
}

func (r *sidecar) files() []string { return append([]string{r.path}, r.cfg.Load().Files...) }

// digest is of the contents of all files; one that cannot be read counts as empty.
func (r *sidecar) digest() [sha256.Size]byte {
	return digest(r.files(), func(file string) ([sha256.Size]byte, bool) {
		data, err := os.ReadFile(file)
		return sha256.Sum256(data), err == nil
	})
}

// loaded is the digest of what the configuration was read from.
func (r *sidecar) loaded() [sha256.Size]byte {
	cfg := r.cfg.Load()
	return digest(r.files(), func(file string) ([sha256.Size]byte, bool) {
		sum, ok := cfg.Sums[file]
		return sum, ok
	})
}

func digest(files []string, sum func(string) ([sha256.Size]byte, bool)) [sha256.Size]byte {
	h := sha256.New()
	for _, file := range files {
		if s, ok := sum(file); ok {
			h.Write([]byte(file))
			h.Write(s[:])
		}
	}
	return [sha256.Size]byte(h.Sum(nil))
}
