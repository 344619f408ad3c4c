package upstream

import (
	"crypto/tls"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/pool"
	"github.com/edge-proxy/edge/session"
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

func (u *Upstream) isClosed() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.closed
}

// Name returns the name of u.
func (u *Upstream) Name() string { return u.opts.Name }

// Options returns the options that u was made with. Immutable.
func (u *Upstream) Options() *Options { return &u.opts }

// Retries returns how many further attempts an exchange has.
func (u *Upstream) Retries() int { return orDefault(u.opts.Retries, retriesDefault) }

// RetryBuffer returns how many bytes of a request's body are kept for another attempt.
func (u *Upstream) RetryBuffer() int { return orDefault(u.opts.RetryBuffer, retryBufferDefault) }

// Pending returns how many exchanges may wait for one backend because of Options.PerBackend.
func (u *Upstream) Pending() int { return int(u.queue) }

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

// Stats returns the counters on r. On r only.
func (u *Upstream) Stats(r *engine.Reactor) Stats {
	r.MustOwn()
	l := u.local[r.Index()]
	l.check()
	s := l.stats
	s.Idle = l.shard.Len()
	for _, m := range l.shared {
		counted := m.mux.H2Stats()
		s.H2.Add(&counted)
	}
	return s
}
