package upstream

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/balance"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/pool"
	"github.com/edge-proxy/edge/session"
)

// ErrNoAddress says that a backend's name has not been resolved, or not to anything.
var ErrNoAddress = errors.New("backend has no address")

// Upstream is a set of backends with its connections.
// Safe for any goroutine, except Pick and Take, which are for the reactor they are given.
type Upstream struct {
	opts     Options
	idle     time.Duration // how long a connection is kept at the most
	queue    int64         // Options.Queue
	protocol Protocol
	share    bool // connections may be HTTP/2
	movable  bool // and those that are not can go from one reactor to another
	mux      session.MuxOptions
	backends []backend
	set      *balance.Set
	local    []*local
	places   places
	closed   atomic.Bool
	mu       sync.Mutex // for SetAddrs
}

// local is what one reactor keeps.
// Owned by its reactor.
type local struct {
	upstream *Upstream
	reactor  *engine.Reactor
	turns    *turns // of who has no View
	shard    *pool.Shard[*peer, *Conn]
	capacity int       // of shard
	sites    []site    // by backend
	shared   []*shared // all that are open
	head     message.Head
	stats    Stats
	options  engine.DialOptions

	letters     *letter // free ones
	lettersFree int
	wants       int         // letters that are to come back
	server      engine.Task // serve
	serving     bool        // it is on its way
}

// New makes an Upstream for the reactors of e. Addresses that need no resolving are up at once.
func New(e *engine.Engine, o Options) *Upstream {
	u := &Upstream{opts: o, backends: make([]backend, len(o.Backends))}
	u.idle = u.idleTimeout()
	u.setProtocol()
	u.queue = int64(orDefault(o.Queue, queueDefault))
	weights := make([]int, len(o.Backends))
	for i, b := range o.Backends {
		weights[i] = max(b.Weight, 1)
		u.backends[i].address = b.Address
		u.backends[i].limit = int64(max(o.PerBackend, 0))
		u.backends[i].oldest = newCensus(len(e.Reactors()))
	}
	u.secure(e)
	u.set = balance.NewSet(weights)
	u.places.init(orDefault(o.Idle, idleDefault), len(e.Reactors()))
	for _, r := range e.Reactors() {
		u.local = append(u.local, u.newLocal(r))
	}
	for i := range u.backends {
		if a, ok := literal(u.backends[i].address); ok {
			u.SetAddrs(i, []poller.Addr{a})
		} else {
			u.set.SetUp(i, false)
		}
	}
	return u
}

func (u *Upstream) newLocal(r *engine.Reactor) *local {
	l := &local{
		upstream: u, reactor: r, turns: u.newTurns(r.Index()),
		sites: make([]site, len(u.backends)), capacity: u.places.floor, options: connectOptions(&u.opts),
	}
	l.shard = pool.New[*peer](l.capacity, func(c *Conn) {
		l.stats.Evicted++
		l.publish(c.group)
		c.client.Close()
	})
	l.server.Run = l.serve
	return l
}

// Name returns the name of u.
func (u *Upstream) Name() string { return u.opts.Name }

// Backend returns the address of backend i as it was configured.
func (u *Upstream) Backend(i int) string { return u.backends[i].address }

// Open returns how many connections to backend i are open, or being opened, on all reactors. Safe for any goroutine.
func (u *Upstream) Open(i int) int { return int(u.backends[i].open.Load()) }

// Pick chooses a backend that is up and was not tried, or -1. On r only.
func (u *Upstream) Pick(r *engine.Reactor, tried *balance.Tried) int {
	return u.local[r.Index()].turns.picker.Pick(tried)
}

// NextAddress chooses an address of backend i, each in turn, for Take. On r only.
func (u *Upstream) NextAddress(r *engine.Reactor, i int) int {
	return u.local[r.Index()].turns.address(i, u.Addresses(r, i))
}

// Addresses returns how many addresses backend i has. On r only.
func (u *Upstream) Addresses(r *engine.Reactor, i int) int {
	return len(u.site(u.local[r.Index()], i).groups)
}

// site returns what l keeps of backend i, renewed when its name has resolved to other addresses.
func (u *Upstream) site(l *local, i int) *site {
	s := &l.sites[i]
	if peers := u.backends[i].peers.Load(); s.peers != peers {
		s.renew(l.shard, peers, l.upstream.share)
	}
	return s
}

// Take returns a connection to an address of backend i: the one that was parked last, if it is quiet; else one that
// another reactor can spare; else a fresh one, which may still be connecting. fresh asks for no parked one.
// The error is ErrWait when w has to wait, for the other reactor or because of Options.PerBackend: then w's Taker hears
// of it. w must not wait already; without one nobody is asked and nothing is waited for. On r only.
func (u *Upstream) Take(r *engine.Reactor, i, address int, fresh bool, w *Waiter) (*Conn, error) {
	l := u.local[r.Index()]
	s := u.site(l, i)
	if len(s.groups) == 0 {
		return nil, ErrNoAddress
	}
	if u.share {
		return l.takeShared(s, i, address, fresh, w)
	}
	// Where the number of connections is limited, what was parked just now is for those who wait.
	if !fresh && (s.parked == 0 || u.backends[i].limit == 0) {
		if c := l.takeIdle(s.group(address)); c != nil {
			l.stats.Taken++
			return c, nil
		}
	}
	return l.wait(w, s, i, address, fresh)
}

// Close closes what is parked and parks nothing any more; exchanges in progress go on. On each reactor by a task.
func (u *Upstream) Close(e *engine.Engine) {
	u.closed.Store(true)
	for i, r := range e.Reactors() {
		l := u.local[i]
		r.Post(&engine.Task{Run: func(*engine.Reactor) {
			for l.shard.EvictOldest() {
			}
			l.retire()
		}})
	}
}
