package upstream

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/pool"
)

// group is the idle connections of one peer on one reactor.
type group = pool.Group[*peer, *Conn]

// origin is what all reactors know of one member: its slots and its peers. It outlives the member until its last
// connection is closed.
// Safe for any goroutine.
//
//	limit > 0  =>  open <= limit: every connection holds a slot, also while it is dialled or moves
//	oldest of reactor i != 0  =>  an exchange in the queue of reactor i waits for a slot, and waiting counts it
type origin struct {
	member *backend.Member
	limit  int64      // of open; 0: none
	tls    *tlsClient // immutable; nil: connections are not secured
	sites  []*site    // by reactor, which makes its own
	oldest census     // by reactor: since when the first exchange waits there for a slot

	decided atomic.Int64 // reactor time at which one family was found faster than the other; 0: never

	mu    sync.Mutex
	addrs *[]poller.Addr // guarded by mu: the addresses that peers are for
	peers []*peer        // guarded by mu

	// Every reactor writes open and waiting, and each Take reads the fields above: padding keeps them on different
	// cache lines. Processors fetch cache lines by twos.
	_       [128]byte
	open    atomic.Int64
	_       [120]byte
	waiting atomic.Int64 // exchanges that wait for a slot
	_       [120]byte
}

// newOrigin makes the origin of m.
func (u *Upstream) newOrigin(m *backend.Member) *origin {
	return &origin{
		member: m, limit: int64(max(u.opts.PerBackend, 0)), tls: u.tlsFor(m.Host()),
		sites: make([]*site, len(u.local)), oldest: newCensus(len(u.local)),
	}
}

// tlsFor returns how connections to the backend at address are secured, nil where they are not.
func (u *Upstream) tlsFor(address string) *tlsClient {
	if u.handshaker == nil {
		return nil
	}
	c, err := u.opts.TLS.config(address)
	if err != nil {
		return &tlsClient{err: fmt.Errorf("%w: %s: %w", ErrNotSecured, address, err)}
	}
	c.ClientSessionCache = u.sessions
	return &tlsClient{handshaker: u.handshaker, offers: [...]*tlsconn.ClientOptions{
		H1: offering(c, alpnH1), H2: offering(c, alpnH2), Auto: offering(c, alpnH2, alpnH1),
	}}
}

// acquire takes a slot. It reports false when all are taken.
func (o *origin) acquire() bool {
	if o.limit == 0 {
		o.open.Add(1)
		return true
	}
	for {
		n := o.open.Load()
		if n >= o.limit {
			return false
		}
		if o.open.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release hands a slot on to the exchange that has waited longest for one, on whichever reactor, or gives it back.
//
// An exchange that begins to wait tells oldest and then looks at open once more; the reactor that gives back lowers
// open and then looks at oldest once more, at its bits first. Both are sequentially consistent, so at least one of the
// two sees the other.
func (o *origin) release(l *local) {
	if o.limit == 0 {
		o.open.Add(-1)
		return
	}
	for {
		if to, _ := o.longestWaiting(); to >= 0 {
			t := l.letter(slot)
			t.origin = o
			l.post(t, to)
			return
		}
		o.open.Add(-1)
		if to, _ := o.longestWaiting(); to < 0 || !o.acquire() {
			return
		}
	}
}

// longestWaiting returns the reactor on which the exchange waits that has waited longest for a slot, -1 when none does.
func (o *origin) longestWaiting() (reactor int, since int64) {
	reactor = -1
	for i := o.oldest.next(0); i >= 0; i = o.oldest.next(i + 1) {
		if t := o.oldest.cells[i].Load(); t != 0 && (reactor < 0 || t < since) {
			reactor, since = i, t
		}
	}
	return reactor, since
}

// currentPeers returns the addresses that o has now, and a peer for each: those it had before keep theirs.
func (o *origin) currentPeers() (*[]poller.Addr, []*peer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	addrs := o.member.Addrs()
	if o.addrs == addrs {
		return addrs, o.peers
	}
	old := o.peers
	o.addrs, o.peers = addrs, make([]*peer, 0, len(*addrs))
	for _, a := range *addrs {
		i := slices.IndexFunc(old, func(p *peer) bool { return p.addr == a })
		if i >= 0 {
			o.peers = append(o.peers, old[i])
			continue
		}
		p := &peer{addr: a}
		if n := len(o.sites); n > 1 {
			p.idle = newCensus(n)
		}
		o.peers = append(o.peers, p)
	}
	return addrs, o.peers
}

// peer is an address of an origin: what makes one connection as good as another.
// Immutable, except idle and what is known of the server, which any reactor writes.
type peer struct {
	addr poller.Addr
	idle census // by reactor: how many connections are parked there, or are HTTP/2. It may be outdated when read

	streams atomic.Int64 // how many exchanges it took at a time on an HTTP/2 connection; 0: not known
	upgrade atomic.Bool  // it takes upgrades on HTTP/2
	h1Until atomic.Int64 // reactor time up to which it is assumed to speak HTTP/1 only; see Auto

	period     atomic.Int64 // ns for which it was passed over last; 0: never
	readmitted atomic.Int64 // reactor time at which it was used again
	visited    atomic.Bool  // a revisit finds out when it can be
}

// streamsAssumed is what is assumed of a connection whose server has not said yet how many exchanges it takes at a
// time.
const streamsAssumed = 100

// assumed is how many exchanges a connection is given before its server has said how many it takes.
func (p *peer) assumed() int {
	if n := p.streams.Load(); n > 0 && n < streamsAssumed {
		return int(n)
	}
	return streamsAssumed
}

// ownersCompared bounds how many reactors mostParked compares.
const ownersCompared = 8

// mostParked returns the reactor, other than me, that has most connections of p parked, or -1 when none has any. It
// compares the next few reactors that have some.
func (p *peer) mostParked(me int) int {
	best, most, seen := -1, int64(0), 0
	look := func(from, to int) {
		for i := p.idle.next(from); i >= 0 && i < to && seen < ownersCompared; i = p.idle.next(i + 1) {
			n := p.idle.cells[i].Load()
			if n == 0 {
				p.idle.unmark(i)
				continue
			}
			if seen++; n > most {
				best, most = i, n
			}
		}
	}
	look(me+1, len(p.idle.cells))
	look(0, me)
	return best
}

// origin returns the origin of m, and whether connections to it are to be kept. Where m has gone, or has joined since u
// was closed, an exchange that has chosen m gets an origin of its own.
func (u *Upstream) origin(m *backend.Member) (o *origin, keep bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if o = u.origins[m]; o == nil {
		return u.newOrigin(m), false
	}
	return o, !u.closed
}
