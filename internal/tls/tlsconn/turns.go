package tlsconn

import (
	"net/netip"
	"sync"
	"time"

	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/base/list"
)

// turns lets so many handshakes compute at one time and decides which is next while more want to. What was begun comes
// before what is new: else all turns go to first flights, and each of them to a handshake that is over before its
// second. What we ourselves began comes before what clients did: a flood of them shall not keep those that are in from
// their backends.
//
//	give ─► ours, begun ─► ours, new ─► clients', begun ─► clients', new ─► free
//	                                                       networks in turn
//
// New ones of clients have a line for each network, in the order of asking, and the networks take turns: a flood from
// some of them leaves the others their share. When clients leave before their turn, long bounds the lines.
// Safe for any goroutine.
//
//	free >= 0; free > 0 => no handshake waits
//	a handshake waits in one line at most: the line of lineOf
//	crowds has the lines of the networks that are not empty, and ring has them in the order of their turns
type turns struct {
	mu     sync.Mutex
	free   int                    // guarded by mu, as all below
	lines  [lines]list.List[seat] // in the order of giving, before crowds
	crowds map[netip.Prefix]*network
	ring   list.List[network]
	new    int // handshakes in crowds

	now    int64 // the latest time at which a turn was asked for
	gaveUp int64 // now, when a new handshake of a client last ended its waiting; 0: none has

	since int64 // when given began to count
	given int   // turns that new handshakes of clients got since then
	each  int64 // time between two of these turns in the latest measure; 0: none yet
}

// network is the line of the new handshakes of clients from one network.
type network struct {
	line  list.List[seat]
	place list.Node[network] // in turns.ring
}

// All clients of a crowd are served where each waits until its turn comes, and while they do so all are accepted: the
// networks take turns. Where some leave before their turn, and their networks are many, all others wait in vain, and a
// flood that is accepted at once never slows down. So for hurriedFor after a client has left, a newcomer from a network
// that does not wait yet waits for lineMax at most. Further connections wait in the backlog of the kernel, for
// backlogTime at most. Few networks do not bring that about, however many of their clients leave: the kernel knows no
// networks, and drops the connects of other ones with theirs.
const (
	lineMax     = int64(250 * time.Millisecond)
	backlogTime = int64(500 * time.Millisecond)
	hurriedFor  = int64(10 * time.Second)
	measureMin  = int64(20 * time.Millisecond) // of the time in which turns are counted
)

// The lines of turns.
const (
	oursBegun = iota
	oursNew
	clientsBegun
	lines
)

// lineOf returns the line for h, which is added where there was none for its network.
func (t *turns) lineOf(h *seat, begun bool) *list.List[seat] {
	switch {
	case h.server == nil && begun:
		return &t.lines[oursBegun]
	case h.server == nil:
		return &t.lines[oursNew]
	case begun:
		return &t.lines[clientsBegun]
	}
	t.new++
	n := t.crowds[h.network]
	if n == nil {
		if t.crowds == nil {
			t.crowds = make(map[netip.Prefix]*network)
		}
		n = &network{}
		t.crowds[h.network] = n
		t.ring.PushBack(&n.place, n)
	}
	return &n.line
}

// networkOf returns the network that shares the turns of others with a client: a /24, or a /48 of IPv6. Clients on Unix
// sockets are one.
func networkOf(peer netip.Addr) netip.Prefix {
	peer = peer.Unmap()
	bits := 48
	if peer.Is4() {
		bits = 24
	}
	p, _ := peer.WithZone("").Prefix(bits)
	return p
}

// ask reports whether h has a turn now. If not it waits for one, until give returns it or cancel ends that.
func (t *turns) ask(h *seat, begun bool, now int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if invariant.On {
		defer t.check()
	}
	t.now = max(t.now, now)
	if t.free > 0 {
		t.free--
		return true
	}
	t.lineOf(h, begun).PushBack(&h.turn, h)
	return false
}

// cancel ends the waiting of h and reports whether it waited.
func (t *turns) cancel(h *seat) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if invariant.On {
		defer t.check()
	}
	n := t.crowds[h.network]
	isNew := n != nil && h.turn.In(&n.line)
	waited := h.turn.Remove()
	if isNew {
		t.left(h, n)
		t.gaveUp = t.now
	}
	return waited
}

// left ends the line of a network when it is empty. h has just left it. mu is held.
func (t *turns) left(h *seat, n *network) {
	if t.new--; n.line.Len() == 0 {
		n.place.Remove()
		delete(t.crowds, h.network)
	}
}

// give passes a turn on to the handshake that it returns; nil: no handshake wants it.
func (t *turns) give() (next *seat) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if invariant.On {
		defer t.check()
	}
	for i := range t.lines {
		if next = t.lines[i].First(); next != nil {
			next.turn.Remove()
			return next
		}
	}
	if n := t.ring.First(); n != nil {
		t.given++
		next = n.line.First()
		next.turn.Remove()
		n.place.Remove()
		t.ring.PushBack(&n.place, n)
		t.left(next, n)
		return next
	}
	t.free++
	return nil
}

// long reports whether a new handshake of a client from a network that does not wait yet would wait for too long if it
// asked now, and how many connections may wait in the backlog; 0: any number.
func (t *turns) long(now int64) (long bool, backlog int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now = max(t.now, now)
	switch past := t.now - t.since; {
	case t.new == 0: // the time in which no handshake waits says nothing
		t.since, t.given = t.now, 0
	case past >= measureMin && t.given > 0:
		t.each = past / int64(t.given)
		t.since, t.given = t.now, 0
	}
	if t.gaveUp == 0 || t.now-t.gaveUp >= hurriedFor || t.each == 0 {
		return false, 0
	}
	return int64(t.ring.Len())*t.each > lineMax, int(backlogTime/t.each) + 1
}

// waiting returns how many wait for a turn.
func (t *turns) waiting() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.lines {
		n += t.lines[i].Len()
	}
	return n + t.new
}
