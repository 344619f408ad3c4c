package tlsconn

import (
	"crypto/tls"
	"net/netip"
	"sync"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/list"
)

// seat is what crowd, turns, Await and callbacks of the configuration know of a handshake: its place among the others,
// whatever carries its bytes. The reactor asks for turns. A turn comes to the reactor by task, unless the goroutine of
// the handshake waits for it.
//
// Owned by its Conn's reactor, but for what mu guards.
type seat struct {
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

	turn    list.Node[seat] // where it waits for a turn; guarded by turns.mu, as asked
	asked   int64           // when it asked for that turn
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

// post has the reactor look. mu is held.
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

// lateness is why s has run out of time.
func (s *seat) lateness() error {
	if s.phase == awaitingTurn && s.conn.Reactor().Now()-s.heard >= s.owner.late {
		return ErrLate
	}
	return ErrTimeout
}

// handOn gives c to what accept makes for it, or closes it.
func (s *seat) handOn(c *engine.Conn) {
	if next := s.accept(c); next != nil {
		c.Begin(next)
		return
	}
	c.Close(engine.ErrClosed)
}

// Idle reports whether the peer has said nothing yet: a drain closes such a connection.
func (s *seat) Idle() bool { return s.phase < awaitingTurn }

// IdleSince returns when the connection opened.
func (s *seat) IdleSince(*engine.Conn) int64 { return s.accepted }

// OnYield ends a connection that has said nothing.
func (s *seat) OnYield(c *engine.Conn) { c.Finish() }

// OnSendable does nothing.
func (s *seat) OnSendable(*engine.Conn) {}
