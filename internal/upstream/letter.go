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

// ask asks a reactor that seems to have an idle connection for it, on behalf of w, and reports whether there is such a
// reactor. any: the connection may be to any address of the member, since Options.PerBackend leaves no choice.
func (s *site) ask(w *Waiter, any bool) bool {
	l := s.local
	if l.wants >= wantsMax || len(l.upstream.local) == 1 {
		return false
	}
	p := s.group(w.address).Key()
	owner := p.mostParked(l.reactor.Index())
	for i := 0; any && owner < 0 && i < len(s.groups); i++ {
		p = s.groups[i].Key()
		owner = p.mostParked(l.reactor.Index())
	}
	if owner < 0 {
		return false
	}
	t := l.letter(want)
	t.asker, t.waiter, t.peer, t.origin = l, w, p, s.origin
	w.letter = t
	l.wants++
	l.stats.Wanted++
	l.post(t, owner)
	return true
}
