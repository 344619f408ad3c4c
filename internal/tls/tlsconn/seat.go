package tlsconn

import (
	"crypto/tls"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/list"
)

// seat is what crowd, turns, Await and callbacks of the configuration know of a handshake: its place among the others,
// whatever carries its bytes. The reactor asks for turns. A turn comes to the reactor by task, unless the goroutine of
// the handshake waits for it.
//
// Owned by its Conn's reactor, but for what mu guards.
type seat struct {
	engine.NopHandler
	owner     *Handshaker
	conn      *engine.Conn
	server    *ServerOptions // nil: the handshake is of a client of ours
	accept    func(c *engine.Conn) engine.Handler
	end       func(reason error) // ends the handshake
	config    *tls.Config
	terms     Terms // that were chosen; the goroutine's
	layer     *layer
	failure   error // why it failed, where that is not OnClose's cause
	task      engine.Task
	accepted  int64
	heard     int64 // when the ClientHello was whole, or was asked for
	accounted int   // bytes counted by Reactor.Account
	phase     phase
	listed    bool // it counts in the owner's list

	crowd list.Node[seat] // among the handshakes that owe us bytes, on its reactor
	stood int64           // when it took that place

	turn    list.Node[seat] // where it waits for a turn; guarded by turns.mu
	network netip.Prefix    // of a client: see networkOf

	mu      sync.Mutex
	more    sync.Cond // worker changed: the goroutine goes on
	worker  worker    // guarded by mu, as all below
	giveUp  func()    // of Await; nil: it is not in there
	peerFIN bool      // the peer sends no more
	closed  bool      // the connection is closed
	granted bool      // a turn has come, and task is to begin
	posted  bool      // task was posted and has not begun
}

// phase says how far a handshake is. It only grows.
type phase uint8

const (
	unconnected  phase = iota
	connected          // the connection was established
	awaitingTurn       // there is something to compute
	begun              // the first turn has come
	succeeded          // TLS is between the connection and its socket
)

// worker says what the goroutine of a handshake does.
type worker uint8

const (
	hasNoTurn   worker = iota // it was not started, or ends without a turn
	hasTurn                   // it computes
	awaitsBytes               // of a whole record
	awaitsTurn                // a whole record has come, or what it awaited
	awaitsOther               // it is in Await
)

// hold counts n bytes until release.
func (s *seat) hold(n int) {
	s.conn.Reactor().Account(n)
	s.accounted += n
}

// release counts back what hold counted: there is no goroutine, or none any more.
func (s *seat) release() {
	s.conn.Reactor().Account(-s.accounted)
	s.accounted = 0
}

// remaining is the time until Timeout.
func (s *seat) remaining(now int64) int64 {
	return max(s.accepted+int64(s.owner.opts.Timeout)-now, 1)
}

// open starts the deadline, and reports whether there is room for s.
func (s *seat) open() bool {
	s.phase, s.accepted = connected, s.conn.Reactor().Now()
	s.conn.SetTimeout(s.owner.opts.Timeout)
	return s.owner.enter(s)
}

// ask asks for the first turn and reports whether it is there.
func (s *seat) ask() bool {
	s.phase, s.heard = awaitingTurn, s.conn.Reactor().Now()
	if s.owner.turns.ask(s, false, s.heard) {
		return true
	}
	s.crowd.Remove()
	s.conn.SetTimeout(time.Duration(min(s.owner.late, s.remaining(s.heard))))
	return false
}

// begin begins to compute, which takes so much memory: the first turn has come.
func (s *seat) begin(memory int) {
	c := s.conn
	s.phase = begun
	s.crowd.Remove()
	s.hold(memory)
	c.SetTimeout(time.Duration(s.remaining(c.Reactor().Now())))
	s.layer = &layer{}
	s.layer.digest = Digest{Peer: c.Peer(), Local: c.Local(), Accepted: s.accepted, Hello: s.heard}
	if s.server != nil {
		s.layer.digest.Asked = s.server.Asked
	}
}

// proceed says that the turn of s has come. Safe for any goroutine.
func (s *seat) proceed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.worker == awaitsTurn {
		s.resume(true)
		return
	}
	s.granted = true
	s.post()
}

// resume lets the goroutine go on, with a turn or without. mu is held.
func (s *seat) resume(holds bool) {
	s.worker = hasNoTurn
	if holds {
		s.worker = hasTurn
	}
	s.owner.counts.computing.Add(1)
	s.more.Signal()
}

// post makes the reactor look. mu is held.
func (s *seat) post() {
	if !s.posted {
		s.posted = true
		s.conn.Reactor().Post(&s.task)
	}
}

// fail notes a failure and tells of it; false: there was one before. name is what the client asked for, "" if not
// known.
func (s *seat) fail(reason error, name string) bool {
	if s.failure != nil {
		return false
	}
	s.failure = &HandshakeError{Reason: reason, ServerName: name}
	s.owner.leave(s)
	s.owner.count(reason)
	if o := s.server; o != nil && o.Failed != nil {
		o.Failed(s.conn, s.failure)
	}
	return true
}

// conclude fills the digest of a handshake that has ended, or returns the name that a client has asked for. On its
// goroutine.
func (s *seat) conclude(err error, state func() tls.ConnectionState) (name string) {
	d := &s.layer.digest
	switch err {
	case nil:
		d.fill(state())
		if a := s.config.ClientAuth; s.server != nil && (a == tls.RequestClientCert || a == tls.RequireAnyClientCert) {
			d.Verified = false // a resumed session brings what another listener has verified
		}
	case ErrPanic:
	case ErrDenied:
		name = d.ServerName
	default:
		name = state().ServerName
	}
	return name
}

// guarded calls f. A callback of the configuration that panics costs its connection only.
func guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			slog.Error("TLS handshake panicked", "panic", p, "stack", string(debug.Stack()))
			err = ErrPanic
		}
	}()
	return f()
}

// succeed notes that the handshake is done.
func (s *seat) succeed(now int64) {
	s.phase = succeeded
	s.owner.leave(s)
	s.owner.counts.done.Add(1)
	if s.layer.digest.Resumed {
		s.owner.counts.resumed.Add(1)
	}
	s.layer.digest.Secured = now
}

// handOn gives c to what accept makes for it, or closes it.
func (s *seat) handOn(c *engine.Conn) {
	if next := s.accept(c); next != nil {
		c.Begin(next)
		return
	}
	c.Close(engine.ErrClosed)
}

// OnTimeout gives up.
func (s *seat) OnTimeout(c *engine.Conn) {
	if s.phase == awaitingTurn && c.Reactor().Now()-s.heard >= s.owner.late {
		s.end(ErrLate)
		return
	}
	s.end(ErrTimeout)
}

// Idle reports whether the peer has said nothing yet: a drain closes such a connection.
func (s *seat) Idle() bool { return s.phase < awaitingTurn }

// IdleSince returns when the connection opened.
func (s *seat) IdleSince(*engine.Conn) int64 { return s.accepted }

// OnYield ends a connection that has said nothing.
func (s *seat) OnYield(c *engine.Conn) { c.Finish() }
