package tlsconn

import "sync"

// turns lets so many compute at one time. Who waits has its turn in the order of coming, but whoever we ourselves
// connect to is asked before any client: a flood of clients shall not keep those that are in from their backends.
// Safe for any goroutine.
//
//	free > 0 => nobody waits
type turns struct {
	mu            sync.Mutex
	free          int
	ours, clients []chan struct{} // who waits, each until its channel is closed
}

// take returns when it is the caller's turn.
func (t *turns) take(ours bool) {
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.mu.Unlock()
		return
	}
	turn := make(chan struct{})
	if ours {
		t.ours = append(t.ours, turn)
	} else {
		t.clients = append(t.clients, turn)
	}
	t.mu.Unlock()
	<-turn
}

// give passes the turn on.
func (t *turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, waiting := range []*[]chan struct{}{&t.ours, &t.clients} {
		if len(*waiting) > 0 {
			close((*waiting)[0])
			*waiting = (*waiting)[1:]
			return
		}
	}
	t.free++
}
