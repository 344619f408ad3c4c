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

// letter goes from one reactor to another. A want comes back as its answer.
//
//	asker   Want{peer} ──► owner: takes its oldest idle one off its shard, its epoll, its timers
//	asker   ◄── Give{connection} or None
//	        adopted for who asked; late: for who waits longest, else parked, else closed
//
// Owned by the reactor it is with, by the one it was posted to while it is on its way.
type letter struct {
	task    engine.Task
	local   *local // where it is, or goes to
	asker   *local // of a want and its answer
	waiter  *Waiter
	peer    *peer
	backend int
	moved   session.Moved
	born    int64
	until   int64
	kind    kind
	next    *letter // free list
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

// free ends the way of t.
func (l *local) free(t *letter) {
	t.local, t.asker, t.waiter, t.peer = nil, nil, nil, nil
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
		l.asked(t)
	case none:
		l.answered(t)
		l.stats.WantsEmpty++
		w := t.waiter
		l.free(t)
		if w != nil {
			w.letter = nil
			w.goOn()
		}
	case give:
		l.given(t)
	case slot:
		backend := t.backend
		l.free(t)
		l.allowed(backend)
	}
}

// want asks another reactor for an idle connection on behalf of w, where one seems to be. any: to any address of the
// backend, since the limit leaves no choice.
func (l *local) want(w *Waiter, s *site, any bool) bool {
	if l.wants >= wantsMax || len(l.upstream.local) == 1 {
		return false
	}
	p := s.group(w.address).Key()
	owner := p.richest(l.reactor.Index())
	for i := 0; any && owner < 0 && i < len(s.groups); i++ {
		p = s.groups[i].Key()
		owner = p.richest(l.reactor.Index())
	}
	if owner < 0 {
		return false
	}
	t := l.letter(want)
	t.asker, t.waiter, t.peer, t.backend = l, w, p, w.backend
	w.letter = t
	l.wants++
	l.stats.Wanted++
	l.post(t, owner)
	return true
}

// answered notes that an answer is here; its waiter, if it still waits, is not bound to it any more.
func (l *local) answered(t *letter) {
	if t.asker != nil {
		l.wants--
	}
}

// asked answers a want, on the owner's side. t.waiter is not looked at: it is the asker's.
func (l *local) asked(t *letter) {
	t.kind = none
	if !l.upstream.movable {
		l.yield(t)
	} else if g := l.upstream.site(l, t.backend).of(t.peer); g != nil {
		for c := l.takeOldest(g); c != nil; c = l.takeOldest(g) {
			if l.pack(t, c) {
				break
			}
		}
	}
	l.post(t, t.asker.reactor.Index())
}

// pack puts c, which was taken, into t. Its slot goes with it.
func (l *local) pack(t *letter, c *Conn) bool {
	m, ok := c.client.Leave()
	if !ok {
		l.stats.Stale++
		c.client.Close()
		return false
	}
	t.kind, t.moved = give, m
	t.peer, t.backend = c.group.Key(), c.backend
	t.born, t.until = c.born, c.until
	l.stats.Given++
	l.stats.Connections--
	l.repay()
	return true
}

// given takes a connection in: for who asked, or who waits longest, or into the pool.
func (l *local) given(t *letter) {
	l.answered(t)
	s := l.upstream.site(l, t.backend)
	w := t.waiter
	if w != nil {
		w.letter = nil
	} else {
		if w = s.line.first; w == nil {
			l.stats.LateGives++
		}
	}
	c := l.unpack(t, s.of(t.peer), w)
	backend, discarded := t.backend, t.kind == none
	l.free(t)
	switch {
	case w != nil && w.fresh && discarded: // the connection made room for the one that w needs
		w.open()
		return
	case c == nil:
		l.stats.LostGives++
		l.freeSlot(backend)
		if w != nil {
			w.goOn()
		}
		return
	case w != nil:
		l.stats.TakenOver++
		w.deliver(c)
		return
	}
	l.park(c)
}

// unpack makes a connection of what came, nil when it is not wanted or did not survive the way. w is who gets it, nil
// for nobody: then it is armed as an idle one.
func (l *local) unpack(t *letter, g *group, w *Waiter) *Conn {
	idle := t.until - l.reactor.Now()
	u := l.upstream
	fresh := w != nil && w.fresh
	if g == nil || fresh || w == nil && (idle <= 0 || u.closed.Load() || !l.room()) {
		session.Discard(l.reactor, t.moved)
		t.kind = none
		return nil
	}
	c := l.newConn(g)
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

// allowed uses a slot that was handed to this reactor: for the exchange that has waited longest for one.
func (l *local) allowed(backend int) {
	if w := l.sites[backend].line.firstQueued(); w != nil && !(l.upstream.share && l.served(w)) {
		w.open()
		return
	}
	l.freeSlot(backend)
}
