package tlsconn

import (
	"cmp"
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
	// Max is how many are in progress, silent ones too. For one more, the client that has owed bytes for longest gives
	// way: after 10 ms where that is its ClientHello, else after 250 ms. Where none does, see Full. 0: 10 000, or one
	// for each 64 KiB of the engine's memory budget where that is less.
	Max int
	// Computing is how many compute at one time; those that wait for bytes do not. 0: GOMAXPROCS without a quarter of
	// it, at least 1, which is left to the reactors.
	Computing int
	// Timeout is from the start of a connection to the end of its handshake. A handshake that has waited for half of it
	// to begin to compute is given up. 0: 10 s.
	Timeout time.Duration
}

// Handshaker makes TLS connections of plain ones, as server and as client.
// Safe for any goroutine, but for Dial and what Server returns, which are for reactors.
type Handshaker struct {
	opts   HandshakerOptions
	share  int     // of Max, for each reactor
	late   int64   // how long one may wait for its first turn
	turns  turns   // one taken by each handshake that computes
	crowds []crowd // by Reactor.Index
	counts counts
}

// counts are what Stats tells. Reactors and goroutines add to them; a handshake costs so much more than an atomic.
type counts struct {
	started, done, resumed, passed, plain, refused, failed, timeouts, crowded, full, late, left atomic.Uint64
	current, computing                                                                          atomic.Int64
}

// Of HandshakerOptions.
const (
	maxDefault = 10000
	// memoryEach is what the budget has for each of Max. With handshakeSize and a ClientHello each, handshakes alone
	// come to half of the budget, and things begin to give way at three quarters.
	memoryEach     = 64 << 10
	timeoutDefault = 10 * time.Second
	// lateDivisor is of Timeout. A client that waited for so long has time left for its round trips; of a client that
	// waits for longer it is likely that it leaves, or that its time is over, when all is computed.
	lateDivisor    = 2
	crowdedDivisor = 8  // of Max: see Crowded
	crowdedQueue   = 32 // forged handshakes that fail at once are never an eighth of Max, and each takes a turn
	backlogMax     = 4096
)

// computing returns how many may compute on so many processors. Reactors are left one at least: what computes does not
// yield, and a reactor that has work would wait until it ends.
func computing(processors int) int { return max(1, processors-max(1, processors/4)) }

// NewHandshaker makes a Handshaker for the connections of e.
func NewHandshaker(e *engine.Engine, o HandshakerOptions) *Handshaker {
	o.Max = cmp.Or(o.Max, int(min(maxDefault, e.Memory()/memoryEach)))
	o.Computing = cmp.Or(o.Computing, computing(runtime.GOMAXPROCS(0)))
	o.Timeout = cmp.Or(o.Timeout, timeoutDefault)
	reactors := len(e.Reactors())
	late := int64(o.Timeout) / lateDivisor
	return &Handshaker{
		opts: o, share: max(o.Max/reactors, 1), late: late, crowds: make([]crowd, reactors),
		turns: turns{free: o.Computing},
	}
}

// ServerOptions describe a TLS listener. Immutable after Server.
type ServerOptions struct {
	// Config is used as it is, not a copy of it, so that ticket keys and certificates may be changed while it is in
	// use, by its own means (SetSessionTicketKeys, GetCertificate). Server switches dynamic record sizing off in
	// it, since a head and its small body shall be one record; code that returns another Config by
	// GetConfigForClient should do the same. Server may be called again with the same ServerOptions, not with the
	// Config in others.
	Config *tls.Config
	// Pass, if set, returns what takes a connection in place of TLS, with all its bytes, by what its ClientHello says;
	// nil: TLS. It runs on the reactor of the connection, before anything was computed. hello is borrowed.
	Pass func(c *engine.Conn, hello *Hello) engine.Handler
	// Choose, if set, chooses the terms of each handshake, on its goroutine, before anything was computed. It stands
	// for Config.GetConfigForClient, which is nil beside it.
	Choose func(hello *tls.ClientHelloInfo) Terms
	// Asked says which certificate Config asks clients for, in any words: Digest.Asked. It is for code that compares
	// what is asked for now with what a connection was asked for.
	Asked string
	// Auto takes plain connections too: those whose first byte begins no TLS record. They show no certificate, whatever
	// Config.ClientAuth says: accept has to refuse them where one is a must.
	Auto bool
	// Plain, if set, returns what is written to a client that speaks something else than TLS before the connection is
	// closed; without Auto.
	Plain func(r *engine.Reactor) []byte
	// Failed, if set, hears of each handshake that failed, on the connection's reactor: for the log. err is a
	// *HandshakeError.
	Failed func(c *engine.Conn, err error)
}

// ClientOptions describe the TLS connections to one kind of peer. Used by reference; immutable from the first Dial on.
type ClientOptions struct {
	// Config is copied at the first Dial. It names the server (ServerName) or does not verify it, and its
	// ClientSessionCache, if any, is what makes resumption work.
	Config *tls.Config

	once   sync.Once
	config *tls.Config
}

// Stats are the counters of a Handshaker, summed over its reactors.
type Stats struct {
	Started   uint64 // connections that were to be secured
	Done      uint64
	Resumed   uint64 // handshakes of Done that took up an earlier session
	Passed    uint64 // connections that others have taken by what their ClientHello says (Pass)
	Plain     uint64 // connections that spoke no TLS and were let through (Auto)
	Refused   uint64 // connections that spoke no TLS and were turned away
	Failed    uint64 // handshakes that failed by what was said
	Timeouts  uint64 // handshakes that took too long
	Crowded   uint64 // handshakes that gave way to newer ones
	Full      uint64 // connections that were refused, since none could give way to them
	Late      uint64 // handshakes that were given up before anything was computed, since their turn did not come
	Left      uint64 // peers that closed before the handshake was done
	Current   int64  // in progress now
	Computing int64  // handshakes of Current that compute now
	Queued    int64  // handshakes of Current that wait for a turn to compute
}

// Server wraps accept for engine.Listen: accept is called once the handshake is done, or at once for a plain
// connection that Auto lets through, and its handler's OnOpen comes then.
func (h *Handshaker) Server(
	o ServerOptions, accept func(c *engine.Conn) engine.Handler,
) func(c *engine.Conn) engine.Handler {
	if !o.Config.DynamicRecordSizingDisabled { // else it is in use at another address
		o.Config.DynamicRecordSizingDisabled = true
	}
	if o.Choose != nil && o.Config.GetConfigForClient == nil {
		o.Config.GetConfigForClient = o.choose
	}
	return func(c *engine.Conn) engine.Handler {
		s := newHandshake(h, o.Config)
		s.conn, s.server, s.accept, s.network = c, &o, accept, networkOf(c.Peer().IP.Addr())
		h.crowdOf(&s.seat).coming++
		return s
	}
}

// Full reports whether a reactor has as many handshakes of clients as Max allows it, none of which gives way, or the
// wait is long while clients leave before their turn, and how many may wait in the backlog: for
// engine.ListenOptions.Gate. It runs on that reactor.
func (h *Handshaker) Full(r *engine.Reactor) (full bool, backlog int) {
	long, most := h.turns.long(r.Now())
	full = long || h.crowds[r.Index()].full(h.share, r.Now())
	return full, min((most+len(h.crowds)-1)/len(h.crowds), backlogMax)
}

// Crowded reports whether more than an eighth of the handshakes of clients that Max allows a reactor are in progress,
// or many wait to compute: over QUIC addresses are validated from then on. It runs on that reactor.
func (h *Handshaker) Crowded(r *engine.Reactor) bool {
	c := &h.crowds[r.Index()]
	return crowdedDivisor*(c.n+c.coming) > h.share || h.turns.waiting() > crowdedQueue
}

// Expect says that r has accepted n connections that come to Server in a moment, such as when a header has come that
// stands before TLS: Full keeps room for them. Below 0 it takes that back. It runs on r.
func (h *Handshaker) Expect(r *engine.Reactor, n int) { h.crowds[r.Index()].coming += n }

// Dial connects to a peer and secures the connection: OnOpen comes once the handshake is done. Bytes written before are
// queued and sealed then. A failed handshake reaches OnClose with a *HandshakeError, without OnOpen; DialOptions'
// Timeout is for connecting, the Handshaker's for both.
func (h *Handshaker) Dial(
	r *engine.Reactor, to poller.Addr, hd engine.Handler, do *engine.DialOptions, co *ClientOptions,
) (*engine.Conn, error) {
	s := newHandshake(h, co.prepared())
	c, err := r.Dial(to, s, do)
	if err != nil {
		return nil, err
	}
	s.conn = c
	c.Wire().Hold(s, hd)
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
		Started: c.started.Load(), Done: c.done.Load(), Resumed: c.resumed.Load(), Passed: c.passed.Load(),
		Plain:   c.plain.Load(),
		Refused: c.refused.Load(), Failed: c.failed.Load(), Timeouts: c.timeouts.Load(), Crowded: c.crowded.Load(),
		Full: c.full.Load(), Late: c.late.Load(), Left: c.left.Load(), Current: c.current.Load(),
		Computing: c.computing.Load(), Queued: int64(h.turns.waiting()),
	}
}

// enter counts a handshake that begins, and reports whether there is room for it. The dialler bounds those that we
// begin.
func (h *Handshaker) enter(s *seat) bool {
	h.counts.started.Add(1)
	if s.server != nil {
		victim := h.crowdOf(s).enter(s, h.share, s.conn.Reactor().Now())
		if victim == s {
			s.end(ErrFull)
			return false
		}
		if victim != nil {
			victim.end(ErrCrowded)
		}
	}
	s.listed = true
	h.counts.current.Add(1)
	return true
}

// leave ends what enter began, if that has not ended.
func (h *Handshaker) leave(s *seat) {
	if !s.listed {
		return
	}
	s.listed = false
	h.counts.current.Add(-1)
	if s.server != nil {
		h.crowdOf(s).leave(s)
	}
}

func (h *Handshaker) crowdOf(s *seat) *crowd { return &h.crowds[s.conn.Reactor().Index()] }

// pass is called by a goroutine that does not compute any more. It gives the turn that it holds, if any, to the next.
func (h *Handshaker) pass(holds bool) {
	if holds {
		h.giveTurn()
	}
	h.counts.computing.Add(-1) // last: as long as a handshake computes, it never looks as if none did
}

func (h *Handshaker) giveTurn() {
	if next := h.turns.give(); next != nil {
		next.proceed()
	}
}

// count counts a failure.
func (h *Handshaker) count(reason error) {
	switch reason {
	case ErrTimeout:
		h.counts.timeouts.Add(1)
	case ErrCrowded:
		h.counts.crowded.Add(1)
	case ErrFull:
		h.counts.full.Add(1)
	case ErrLate:
		h.counts.late.Add(1)
	case ErrLeft:
		h.counts.left.Add(1)
	case ErrNotTLS:
		h.counts.refused.Add(1)
	default:
		h.counts.failed.Add(1)
	}
}
