package upstream

import (
	"crypto/tls"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/pool"
	"github.com/edge-proxy/edge/session"
	"github.com/edge-proxy/edge/tlsconn"
)

// ErrNoAddress says that a backend's name has not been resolved, or not to anything.
var ErrNoAddress = errors.New("backend has no address")

// Upstream is the connections to the members of a backend.Set.
// Safe for any goroutine, except Take and Stats, which are for the reactor they are given.
type Upstream struct {
	opts       Options
	idle       time.Duration // how long a connection is kept at the most
	queue      int64         // Options.Queue
	protocol   Protocol
	share      bool // connections may be HTTP/2
	movable    bool // and those that are not can go from one reactor to another
	mux        session.MuxOptions
	handshaker *tlsconn.Handshaker    // nil: connections are not secured
	sessions   tls.ClientSessionCache // nil: none are kept
	view       *backend.View
	local      []*local
	places     places

	mu      sync.Mutex
	origins map[*backend.Member]*origin // guarded by mu
	closed  bool                        // guarded by mu
	queued  atomic.Int64                // exchanges that wait for a slot of any member
}

// local is what one reactor keeps.
// Owned by its reactor.
//
//	sites[i] != nil  =>  it was the site of slot i when it was looked up last; its member may have gone
//	pending, by nextPending: the sites whose parked is above 0
type local struct {
	upstream *Upstream
	reactor  *engine.Reactor
	shard    *pool.Shard[*peer, *Conn]
	capacity int       // of shard
	sites    []*site   // by slot of the member
	shared   []*shared // all that are open
	head     message.Head
	stats    Stats
	options  engine.DialOptions

	letters     *letter // free ones
	lettersFree int
	wants       int // letters that are to come back

	pending *site       // whose waiters are to be served
	server  engine.Task // serve
	serving bool        // it is on its way
}

// New makes an Upstream for the reactors of e.
func New(e *engine.Engine, o Options) *Upstream {
	if o.Backends == nil {
		o.Backends = backend.NewSet()
	}
	u := &Upstream{opts: o, origins: make(map[*backend.Member]*origin)}
	u.idle = u.idleTimeout()
	u.setProtocol()
	u.secure(e)
	u.queue = int64(orDefault(o.Queue, queueDefault))
	u.places.init(orDefault(o.Idle, idleDefault), len(e.Reactors()))
	for _, r := range e.Reactors() {
		u.local = append(u.local, u.newLocal(r))
	}
	u.view = o.Backends.View(len(u.local), nil)
	o.Backends.Follow((*following)(u))
	return u
}

func (u *Upstream) newLocal(r *engine.Reactor) *local {
	l := &local{upstream: u, reactor: r, capacity: u.places.floor, options: connectOptions(&u.opts)}
	l.shard = pool.New[*peer](l.capacity, func(c *Conn) {
		l.stats.Evicted++
		c.publish()
		c.client.Close()
	})
	l.server.Run = l.serve
	return l
}

// following is an Upstream as its Set sees it.
type following Upstream

// Joined makes an origin of m.
func (f *following) Joined(m *backend.Member) {
	u := (*Upstream)(f)
	o := u.newOrigin(m)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.origins[m] = o
}

// Left closes the idle connections to m, on each reactor by a task; exchanges in progress go on.
func (f *following) Left(m *backend.Member) {
	u := (*Upstream)(f)
	u.mu.Lock()
	o := u.origins[m]
	delete(u.origins, m)
	u.mu.Unlock()
	for i, l := range u.local {
		l.reactor.Post(&engine.Task{Run: func(*engine.Reactor) {
			if s := o.sites[i]; s != nil {
				s.close()
			}
		}})
	}
}

func (u *Upstream) isClosed() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.closed
}

// Name returns the name of u.
func (u *Upstream) Name() string { return u.opts.Name }

// Reactors returns how many reactors u is for.
func (u *Upstream) Reactors() int { return len(u.local) }

// View returns a view of all backends of u, for the routes that take turns together.
func (u *Upstream) View() *backend.View { return u.view }

// Open returns how many connections to m are open, or being opened, on all reactors. Safe for any goroutine.
func (u *Upstream) Open(m *backend.Member) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	if o := u.origins[m]; o != nil {
		return int(o.open.Load())
	}
	return 0
}

// Queued returns how many exchanges wait on all reactors because of Options.PerBackend. Safe for any goroutine.
func (u *Upstream) Queued() int { return int(u.queued.Load()) }

// Close closes idle connections and keeps none any more; exchanges in progress go on. On each reactor by a task.
func (u *Upstream) Close() {
	u.opts.Backends.Unfollow((*following)(u))
	u.mu.Lock()
	u.closed = true
	u.mu.Unlock()
	for _, l := range u.local {
		l.reactor.Post(&engine.Task{Run: func(*engine.Reactor) {
			for _, s := range l.sites {
				if s != nil {
					s.close()
				}
			}
		}})
	}
}
