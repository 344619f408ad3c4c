package upstream

import (
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/session"
)

// kind is what a letter says.
type kind uint8

const (
	want kind = iota // I need a connection to this peer
	none             // the answer: there is none
	give             // the answer, or unasked for: here is one, with its slot
	slot             // you may open a connection
)

// letter is what one reactor tells another. A want comes back as its own answer.
//
//	asker   want{peer} ──► owner: takes its oldest idle connection off its shard, its epoll, its timers
//	asker   ◄── give{connection} or none
//	        adopted for the waiter that asked; late: for the waiter that waits longest, else parked, else closed
//
// Owned by the reactor that writes or reads it; while it is on its way, by the one it was posted to.
type letter struct {
	task   engine.Task
	local  *local // where it is, or goes to
	asker  *local // of a want and its answer
	waiter *Waiter
	origin *origin
	peer   *peer
	moved  session.Moved
	born   int64
	until  int64
	kind   kind
	next   *letter // free list
}

// lettersKept bounds the free letters of a reactor: some reactors only give, others only receive.
const lettersKept = 64

// wantsMax bounds the wants of a reactor that are on their way. Above it connections are opened instead.
const wantsMax = 1024

func (l *local) letter(k kind) *letter {
	t := l.letters
	if t == nil {
		t = &letter{}
		t.task.Run = t.arrive
	} else {
		l.letters, t.next = t.next, nil
		l.lettersFree--
	}
	t.kind = k
	return t
}

// free keeps t for another letter.
func (l *local) free(t *letter) {
	t.local, t.asker, t.waiter, t.origin, t.peer = nil, nil, nil, nil, nil
	t.moved = session.Moved{}
	if l.lettersFree < lettersKept {
		l.lettersFree++
		t.next, l.letters = l.letters, t
	}
}

// post sends t to reactor to, which may be l's own: then it arrives in a later step, too.
func (l *local) post(t *letter, to int) {
	t.local = l.upstream.local[to]
	if t.local == l {
		l.reactor.Defer(&t.task)
		return
	}
	t.local.reactor.Post(&t.task)
}

// arrive runs where t was posted to.
func (t *letter) arrive(*engine.Reactor) {
	l := t.local
	switch t.kind {
	case want:
		l.answerWant(t)
	case none:
		l.countAnswer(t)
		l.stats.WantsEmpty++
		w := t.waiter
		l.free(t)
		if w != nil {
			w.letter = nil
			w.retryAfterDenied()
		}
	case give:
		l.receiveConn(t)
	case slot:
		s := l.siteOf(t.origin)
		l.free(t)
		s.receiveSlot()
	}
}

// answerWant answers a want, on the owner's side. It does not touch t.waiter, which belongs to the asker.
func (l *local) answerWant(t *letter) {
	t.kind = none
	s := l.siteOf(t.origin)
	if !l.upstream.movable {
		s.yield(t.peer)
	} else if g := s.groupOf(t.peer); g != nil {
		for c := l.takeOldest(g); c != nil; c = l.takeOldest(g) {
			if t.pack(c) {
				break
			}
		}
	}
	l.post(t, t.asker.reactor.Index())
}

// pack puts c, which was taken from its group, into t, and reports whether it could. The slot of c goes with it.
func (t *letter) pack(c *Conn) bool {
	l := c.site.local
	m, ok := c.client.Leave()
	if !ok {
		l.stats.Stale++
		c.client.Close()
		return false
	}
	t.kind, t.moved = give, m
	t.origin, t.peer = c.site.origin, c.group.Key()
	t.born, t.until = c.born, c.until
	l.stats.Given++
	l.stats.Connections--
	l.returnCapacity()
	return true
}

// countAnswer counts that t, if it is the answer to a want, has come.
func (l *local) countAnswer(t *letter) {
	if t.asker != nil {
		l.wants--
	}
}

// receiveConn adopts the connection in t: for the waiter that asked, else for the waiter that has waited longest, else
// into the pool.
func (l *local) receiveConn(t *letter) {
	l.countAnswer(t)
	s := l.siteOf(t.origin)
	w := t.waiter
	if w != nil {
		w.letter = nil
	} else {
		if w = s.queue.First(); w == nil {
			l.stats.LateGives++
		}
	}
	c := t.unpack(s, w)
	discarded := t.kind == none
	l.free(t)
	switch {
	case w != nil && w.fresh && discarded: // the connection made room for the connection that w needs
		w.useSlot()
	case c == nil:
		l.stats.LostGives++
		s.origin.release(l)
		if w != nil {
			w.retryAfterDenied()
		}
	case w != nil:
		l.stats.TakenOver++
		w.deliver(c)
	default:
		c.park()
	}
}

// unpack makes a Conn of the connection in t. It returns nil when the connection was closed on the way, or is of no use
// here: then t says none. w is to get it; when w is nil, it gets the deadline of an idle connection.
func (t *letter) unpack(s *site, w *Waiter) *Conn {
	l, g := s.local, s.groupOf(t.peer)
	idle := t.until - l.reactor.Now()
	fresh := w != nil && w.fresh
	if g == nil || fresh || w == nil && (idle <= 0 || s.closed || !l.ensureCapacity()) {
		session.Discard(l.reactor, t.moved)
		t.kind = none
		return nil
	}
	c := s.newConn(g)
	c.born, c.until = t.born, t.until
	switch err := c.client.Adopt(l.reactor, t.moved); err {
	case nil:
	case engine.ErrUnasked:
		l.stats.Unasked++
		return nil
	default:
		l.stats.Stale++
		return nil
	}
	l.stats.Connections++
	if w == nil {
		c.client.SetIdleTimeout(idleFor(idle))
	}
	return c
}

// receiveSlot gives a slot that came by mail to the exchange that has waited longest for one.
func (s *site) receiveSlot() {
	if w := s.firstQueued(); w != nil && !(s.local.upstream.share && s.serveOne(w)) {
		w.useSlot()
		return
	}
	s.origin.release(s.local)
}
