package park

import "sync"

// maxRemembered is how many queues are remembered, of all endpoints together; some 300 bytes each.
const maxRemembered = 16_384

// memory is what the store knows of queues without a look at the table, because it was the last to write to them. A row that
// is parked costs a third less without that look. It serves the process that holds the lease only: while it does, rows are changed by
// its own calls, and by commands, which count theirs in the table endpoint.
//
// A call takes what is remembered of an endpoint once it holds the endpoint's lock, and nothing is remembered until a call gives
// something back. That is after its commit, when another may have the lock already: the number of the call tells.
type memory struct {
	mu        sync.Mutex
	endpoints map[string]*remembered
	size      int // queues
}

// remembered is of one endpoint.
type remembered struct {
	call    int    // the last that held the lock
	lease   *Lease // under which it is true
	changes int64  // of the endpoint when it was written
	queues  map[string]*queueState
}

// take returns what is known of an endpoint, and forgets it. The caller holds the endpoint's lock.
func (m *memory) take(endpoint string, lease *Lease) remembered {
	m.mu.Lock()
	defer m.mu.Unlock()
	kept := m.endpoints[endpoint]
	if kept == nil {
		kept = &remembered{}
		if m.endpoints == nil {
			m.endpoints = map[string]*remembered{}
		}
		m.endpoints[endpoint] = kept
	}
	kept.call++
	taken := *kept
	m.size -= len(kept.queues)
	kept.queues = nil
	if taken.lease != lease {
		taken.lease, taken.queues = lease, nil
	}
	return taken
}

// give is called after the commit of the call that took it. What cannot be true for long is not kept: without a lease, or if
// another call had the lock since.
func (m *memory) give(endpoint string, taken remembered) {
	m.mu.Lock()
	defer m.mu.Unlock()
	kept := m.endpoints[endpoint]
	if taken.lease == nil || kept.call != taken.call || m.size+len(taken.queues) > maxRemembered {
		return
	}
	m.size += len(taken.queues)
	*kept = taken
}

// check forgets what was true before another process changed the endpoint's rows.
func (r *remembered) check(changes int64) {
	if r.changes != changes {
		r.changes, r.queues = changes, nil
	}
}

// note has what is known say how it is after a call.
func note(known map[string]*remembered, states map[queueID]*queueState) {
	for id, state := range states {
		r := known[id.endpoint]
		if r.queues == nil {
			r.queues = map[string]*queueState{}
		}
		if state.mixed {
			delete(r.queues, id.queue)
		} else {
			r.queues[id.queue] = state
		}
	}
}
