package tlsconn

import (
	"crypto/tls"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/poller"
)

// HandshakerOptions bound the handshakes of a process. The zero value is good.
type HandshakerOptions struct {
	Max       int           // in progress, silent ones too; above it the oldest gives way. 0: 10 000
	Computing int           // that compute at one time; who waits for bytes does not. 0: GOMAXPROCS
	Timeout   time.Duration // from the start of a connection to the end of its handshake. 0: 10 s
}

// Handshaker makes TLS connections of plain ones, as server and as client.
// Safe for any goroutine, but for Dial and what Server returns, which are for reactors.
type Handshaker struct {
	opts   HandshakerOptions
	share  int     // of Max, for each reactor
	turns  turns   // one taken by each handshake that computes
	local  []local // by Reactor.Index
	counts counts
}

// local is the list of the handshakes that clients began on one reactor, oldest first.
// Owned by its reactor.
type local struct {
	oldest, newest *handshake
	n              int
}

// counts are what Stats tells. Reactors and goroutines add to them; a handshake costs so much more than an atomic.
type counts struct {
	started, done, resumed, plain, refused, failed, timeouts, crowded, left atomic.Uint64
	current, computing                                                      atomic.Int64
}

// NewHandshaker makes a Handshaker for the connections of e.
func NewHandshaker(e *engine.Engine, o HandshakerOptions) *Handshaker {
	if o.Max == 0 {
		o.Max = 10000
	}
	if o.Computing == 0 {
		o.Computing = runtime.GOMAXPROCS(0)
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	reactors := len(e.Reactors())
	return &Handshaker{
		opts: o, share: max(o.Max/reactors, 1), turns: turns{free: o.Computing}, local: make([]local, reactors),
	}
}

// ServerOptions describe a TLS listener. Immutable after Server.
type ServerOptions struct {
	// Config is used as it is, not a copy of it, so that ticket keys and certificates may be changed while it is in
	// use, by its own means (SetSessionTicketKeys, GetCertificate). Server switches dynamic record sizing off in it,
	// since a head and its small body shall be one record; so should whoever returns another by GetConfigForClient.
	Config *tls.Config
	// Auto takes plain connections too: those whose first byte begins no TLS record. They show no certificate, whatever
	// Config.ClientAuth says: accept has to refuse them where one is a must.
	Auto bool
	// Plain is written to a client that speaks something else than TLS before the connection is closed; without Auto.
	Plain []byte
	// Failed, if set, hears of each handshake that failed, on the connection's reactor: for the log. err is a
	// *HandshakeError.
	Failed func(c *engine.Conn, err error)
}

// ClientOptions describe the TLS connections to one kind of peer. Used by reference; immutable from the first Dial on.
type ClientOptions struct {
	// Config is copied at the first Dial. It names the server (ServerName) or does not verify it, and its
	// ClientSessionCache, if any, is what makes resumption work.
	Config *tls.Config
	// Failed is as that of ServerOptions.
	Failed func(c *engine.Conn, err error)

	once   sync.Once
	config *tls.Config
}

// Stats are the counters of a Handshaker, summed over its reactors.
type Stats struct {
	Started   uint64 // connections that were to be secured
	Done      uint64
	Resumed   uint64 // those of Done that took up an earlier session
	Plain     uint64 // connections that spoke no TLS and were let through (Auto)
	Refused   uint64 // connections that spoke no TLS and were turned away
	Failed    uint64 // handshakes that failed by what was said
	Timeouts  uint64 // handshakes that took too long
	Crowded   uint64 // handshakes that gave way to newer ones
	Left      uint64 // peers that closed before the handshake was done
	Current   int64  // in progress now
	Computing int64  // those of Current that compute or wait for their turn now
}

// Server wraps accept for engine.Listen: accept is called once the handshake is done, or at once for a plain
// connection that Auto lets through, and its handler's OnOpen comes then.
func (h *Handshaker) Server(
	o ServerOptions, accept func(c *engine.Conn) engine.Handler,
) func(c *engine.Conn) engine.Handler {
	o.Config.DynamicRecordSizingDisabled = true
	return func(c *engine.Conn) engine.Handler {
		return &handshake{
			owner: h, local: &h.local[c.Reactor().Index()], conn: c, server: &o, accept: accept, config: o.Config,
			failed: o.Failed,
		}
	}
}

// Dial connects to a peer and secures the connection: OnOpen comes once the handshake is done. What is written before
// is queued and sealed then. A failed handshake reaches OnClose with a *HandshakeError, without OnOpen; DialOptions'
// Timeout is for connecting, the Handshaker's for both.
func (h *Handshaker) Dial(
	r *engine.Reactor, to poller.Addr, hd engine.Handler, do *engine.DialOptions, co *ClientOptions,
) (*engine.Conn, error) {
	s := &handshake{owner: h, local: &h.local[r.Index()], config: co.prepared(), failed: co.Failed}
	c, err := r.Dial(to, s, do)
	if err != nil {
		return nil, err
	}
	s.conn = c
	c.Hold(s, hd)
	return c, nil
}

// prepared returns a copy of the configuration that fits.
func (co *ClientOptions) prepared() *tls.Config {
	co.once.Do(func() {
		co.config = co.Config.Clone()
		co.config.DynamicRecordSizingDisabled = true
	})
	return co.config
}

// Stats adds up the counters. Safe for any goroutine.
func (h *Handshaker) Stats() Stats {
	c := &h.counts
	return Stats{
		Started: c.started.Load(), Done: c.done.Load(), Resumed: c.resumed.Load(), Plain: c.plain.Load(),
		Refused: c.refused.Load(), Failed: c.failed.Load(), Timeouts: c.timeouts.Load(), Crowded: c.crowded.Load(),
		Left: c.left.Load(), Current: c.current.Load(), Computing: c.computing.Load(),
	}
}

// enter counts a handshake that begins. The oldest of its reactor gives way when there are too many: who is slow on
// purpose fills the list, and who is not has left it before it is full. Those that we began are bounded by who dials.
func (h *Handshaker) enter(s *handshake) {
	h.counts.started.Add(1)
	h.counts.current.Add(1)
	s.listed = true
	if s.server == nil {
		return
	}
	l := s.local
	if l.n >= h.share {
		l.oldest.fail(ErrCrowded)
	}
	s.older = l.newest
	if l.newest != nil {
		l.newest.newer = s
	} else {
		l.oldest = s
	}
	l.newest = s
	l.n++
}

// leave takes s off the list, if it is there.
func (h *Handshaker) leave(s *handshake) {
	if !s.listed {
		return
	}
	s.listed = false
	h.counts.current.Add(-1)
	if s.server == nil {
		return
	}
	l := s.local
	if s.older != nil {
		s.older.newer = s.newer
	} else {
		l.oldest = s.newer
	}
	if s.newer != nil {
		s.newer.older = s.older
	} else {
		l.newest = s.older
	}
	s.older, s.newer = nil, nil
	l.n--
}

// count counts a failure.
func (h *Handshaker) count(reason error) {
	switch reason {
	case ErrTimeout:
		h.counts.timeouts.Add(1)
	case ErrCrowded:
		h.counts.crowded.Add(1)
	case ErrLeft:
		h.counts.left.Add(1)
	case ErrNotTLS:
		h.counts.refused.Add(1)
	default:
		h.counts.failed.Add(1)
	}
}
