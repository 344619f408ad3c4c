package upstream

import (
	"errors"
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

// Backend is one server of an upstream.
type Backend struct {
	Address string // host:port, IP:port or unix:/path
	Weight  int    // 0: 1
}

// Options describe an upstream. Two upstreams with equal options are interchangeable: a reload keeps the one that runs.
type Options struct {
	Name        string
	Backends    []Backend
	Idle        int           // idle connections kept, over all reactors; 0: 4096; below 0: none
	IdleTimeout time.Duration // how long one is kept; 0: 60 s
	Connect     time.Duration // to connect; 0: 5 s
	Client      session.ClientOptions
	Retries     int // further attempts of an exchange; 0: 1; below 0: none
}

// Defaults of Options.
const (
	idleDefault        = 4096
	idleTimeoutDefault = time.Minute
	retriesDefault     = 1
)

// Upstream is a set of backends with its idle connections.
// Safe for any goroutine, except Pick and Take, which are for the reactor they are given.
type Upstream struct {
	opts     Options
	backends []backend
	set      *balance.Set
	local    []*local
	closed   atomic.Bool
}

// backend is what is known of one server.
type backend struct {
	address string
	addrs   atomic.Pointer[[]poller.Addr] // immutable once stored; nil: not resolved
}

// local is what one reactor keeps.
// Owned by its reactor.
type local struct {
	picker *balance.RoundRobin
	shard  *pool.Shard[poller.Addr, *Conn]
	peers  []peers // by backend
	head   message.Head
	stats  Stats
	dial   engine.DialOptions
}

// peers are the addresses of a backend with their idle connections. Made anew when the name resolves to others.
type peers struct {
	addrs  *[]poller.Addr
	groups []*pool.Group[poller.Addr, *Conn]
	next   int
}

// Stats are the counters of an Upstream on one reactor, or of all.
type Stats struct {
	Taken       uint64 // exchanges that got a parked connection
	Dialed      uint64 // exchanges that got a fresh one
	DialFailed  uint64 // connections that never stood
	Unasked     uint64 // connections closed because bytes came that nobody had asked for
	Stale       uint64 // parked connections found closed or readable when they were to be taken
	Evicted     uint64 // parked connections closed because the pool was full
	Idle        int    // parked now
	Connections int    // open now, parked ones among them
}

// New makes an Upstream for the reactors of e. Addresses that need no resolving are up at once.
func New(e *engine.Engine, o Options) *Upstream {
	u := &Upstream{opts: o, backends: make([]backend, len(o.Backends))}
	weights := make([]int, len(o.Backends))
	for i, b := range o.Backends {
		weights[i] = max(b.Weight, 1)
		u.backends[i].address = b.Address
	}
	u.set = balance.NewSet(weights)
	for i := range u.backends {
		if a, ok := literal(u.backends[i].address); ok {
			u.SetAddrs(i, []poller.Addr{a})
		} else {
			u.set.SetUp(i, false)
		}
	}
	for i := range e.Reactors() {
		u.local = append(u.local, u.newLocal(i, len(e.Reactors())))
	}
	return u
}

func (u *Upstream) newLocal(i, reactors int) *local {
	l := &local{picker: balance.NewRoundRobin(u.set, i), peers: make([]peers, len(u.backends))}
	idle := u.opts.Idle
	if idle == 0 {
		idle = idleDefault
	}
	l.shard = pool.New[poller.Addr](max(0, (idle+reactors-1)/reactors), func(c *Conn) {
		l.stats.Evicted++
		c.Close()
	})
	l.dial.Timeout = u.opts.Connect
	return l
}

// Name returns the name of u.
func (u *Upstream) Name() string { return u.opts.Name }

// Options returns what u was made from. Immutable.
func (u *Upstream) Options() *Options { return &u.opts }

// Retries returns how many further attempts an exchange has.
func (u *Upstream) Retries() int {
	if u.opts.Retries == 0 {
		return retriesDefault
	}
	return max(u.opts.Retries, 0)
}

// Backend returns the address of backend i as it was configured.
func (u *Upstream) Backend(i int) string { return u.backends[i].address }

// SetAddrs gives backend i its addresses; none means that it is down. addrs must not change afterwards.
func (u *Upstream) SetAddrs(i int, addrs []poller.Addr) {
	u.backends[i].addrs.Store(&addrs)
	u.set.SetUp(i, len(addrs) > 0)
}

// Pick chooses a backend that is up and was not tried, or -1. On r only.
func (u *Upstream) Pick(r *engine.Reactor, tried *balance.Tried) int {
	return u.local[r.Index()].picker.Pick(tried)
}

// NextAddress chooses an address of backend i, each in turn, for Take. On r only.
func (u *Upstream) NextAddress(r *engine.Reactor, i int) int {
	p := u.peers(r, i)
	if p.next++; p.next >= len(p.groups) {
		p.next = 0
	}
	return p.next
}

// Addresses returns how many addresses backend i has. On r only.
func (u *Upstream) Addresses(r *engine.Reactor, i int) int { return len(u.peers(r, i).groups) }

// peers returns what r keeps of backend i, renewed when its name has resolved to others.
func (u *Upstream) peers(r *engine.Reactor, i int) *peers {
	l := u.local[r.Index()]
	p := &l.peers[i]
	if addrs := u.backends[i].addrs.Load(); p.addrs != addrs {
		p.renew(l.shard, addrs)
	}
	return p
}

// Take returns a connection to an address of backend i: the one that was parked last, if it is quiet, or a fresh one,
// which may still be connecting. fresh asks for no parked one. On r only.
func (u *Upstream) Take(r *engine.Reactor, i, address int, fresh bool) (*Conn, error) {
	l := u.local[r.Index()]
	p := u.peers(r, i)
	if len(p.groups) == 0 {
		return nil, ErrNoAddress
	}
	g := p.groups[min(address, len(p.groups)-1)] // fewer than when it was chosen, if the name was resolved meanwhile
	for !fresh {
		c, ok := l.shard.Take(g)
		if !ok {
			break
		}
		if c.Usable() {
			l.stats.Taken++
			return c, nil
		}
		l.stats.Stale++
		c.Close()
	}
	return u.dial(r, l, g, i)
}

// renew replaces the groups; idle connections to addresses that are gone are closed.
func (p *peers) renew(s *pool.Shard[poller.Addr, *Conn], addrs *[]poller.Addr) {
	old := p.groups
	p.addrs, p.groups, p.next = addrs, nil, 0
	if addrs != nil {
		for _, a := range *addrs {
			p.groups = append(p.groups, s.Group(a))
		}
	}
	for _, g := range old {
		kept := false
		for _, n := range p.groups {
			kept = kept || n == g
		}
		if !kept {
			s.DropGroup(g)
		}
	}
}

func (u *Upstream) dial(r *engine.Reactor, l *local, g *pool.Group[poller.Addr, *Conn], i int) (*Conn, error) {
	c := &Conn{upstream: u, local: l, group: g, backend: i}
	c.node.Conn = c
	c.Init(c, &l.head, &u.opts.Client)
	if err := c.Dial(r, g.Key(), &l.dial); err != nil {
		l.stats.DialFailed++
		return nil, err
	}
	l.stats.Dialed++
	l.stats.Connections++
	return c, nil
}

// Close closes what is parked and parks nothing any more; exchanges in progress go on. On each reactor by a task.
func (u *Upstream) Close(e *engine.Engine) {
	u.closed.Store(true)
	for i, r := range e.Reactors() {
		l := u.local[i]
		r.Post(&engine.Task{Run: func(*engine.Reactor) {
			for l.shard.EvictOldest() {
			}
		}})
	}
}

// Stats returns the counters on r. On r only.
func (u *Upstream) Stats(r *engine.Reactor) Stats {
	l := u.local[r.Index()]
	s := l.stats
	s.Idle = l.shard.Len()
	return s
}

// Conn is a connection to a backend.
// Owned by its reactor.
type Conn struct {
	session.Client
	node     pool.Node[poller.Addr, *Conn]
	upstream *Upstream
	local    *local
	group    *pool.Group[poller.Addr, *Conn]
	backend  int
}

// Reused reports whether the present exchange is not the first on c.
func (c *Conn) Reused() bool { return c.Uses() > 1 }

// Backend returns the index of the backend that c leads to.
func (c *Conn) Backend() int { return c.backend }

// OnIdle parks c.
func (c *Conn) OnIdle(*session.Client) {
	u := c.upstream
	if u.closed.Load() || u.opts.Idle < 0 {
		c.Close()
		return
	}
	timeout := u.opts.IdleTimeout
	if timeout == 0 {
		timeout = idleTimeoutDefault
	}
	c.SetIdleTimeout(timeout)
	c.local.shard.Park(c.group, &c.node)
}

// OnGone takes c out of the pool.
func (c *Conn) OnGone(_ *session.Client, _ error, unasked bool) {
	c.local.shard.Remove(&c.node)
	c.local.stats.Connections--
	if unasked {
		c.local.stats.Unasked++
	}
	if !c.Stood() {
		c.local.stats.DialFailed++
	}
}
