package tlsconn

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/edge-proxy/edge/engine"
)

// heldMax is how many bytes of the wire wait for the goroutine of a handshake before reading pauses.
const heldMax = 64 << 10

// handshakeSize is what one that was begun and is not done takes: the stack of its goroutine and what crypto/tls
// keeps. TestHeld_isWhatItTakes measures it.
const handshakeSize = 30 << 10

// handshake is a connection whose handshake is going on. The reactor moves bytes; a goroutine computes, and waits for
// whole records and a turn. It begins when the first turn has come and ends with the handshake.
//
//	reactor    OnOpen ─ OnData … ClientHello whole ─ turn ─┬─ OnData ─► in ─ turn ─┐ ┌─► Task: wire, at the end Secure
//	goroutine                                              └─ computes ─ waits ────┴─┴─ computes ─ done
//
// The reactor asks for turns. The first comes back to it by the Task, the others to the goroutine. So a handshake that
// waits for its first turn is no more than its ClientHello, and in a flood of them a reactor looks at its connections
// between two that compute, even where all share one processor.
//
// Owned by its Conn's reactor, but for what mu guards.
//
//	started && !begun  => it waits for its first turn, or has failed
//	asks               => waiting
//	waiting            => !holds
type handshake struct {
	owner     *Handshaker
	conn      *engine.Conn
	server    *ServerOptions // nil for a client
	accept    func(c *engine.Conn) engine.Handler
	next      engine.Handler // of a client whose handshake failed
	config    *tls.Config
	layer     *layer
	failure   error                           // why it failed, where that is not OnClose's cause
	failed    func(c *engine.Conn, err error) // hears of it
	task      engine.Task
	crowd     place // where it stands still, on its reactor
	stood     int64 // since when
	accepted  int64
	heard     int64 // when the ClientHello was whole, or was asked for
	accounted int   // bytes counted by Reactor.Account
	listed    bool
	entered   bool // the connection stood
	started   bool // there is something to compute
	begun     bool // there is, or was, a goroutine
	secured   bool
	stopped   bool // reading is paused

	turn  place // where it waits for a turn; guarded by turns.mu, as asked
	asked int64 // since when

	mu      sync.Mutex
	more    sync.Cond // waiting was cleared: in has a whole record and there is a turn, or none will come
	in      []byte    // guarded by mu, as all below
	left    int       // bytes of the record that is being read
	out     []byte
	err     error
	name    string // that the client asked for, with err
	eof     bool   // the peer sent FIN
	gone    bool   // the connection is closed
	waiting bool   // the goroutine does, and has no turn
	asks    bool   // for its next turn, while the goroutine waits
	granted bool   // the first turn has come, and Task is to begin
	holds   bool   // the goroutine has a turn
	posted  bool
	done    bool
}

func newHandshake(o *Handshaker, config *tls.Config, failed func(c *engine.Conn, err error)) *handshake {
	h := &handshake{owner: o, config: config, failed: failed}
	h.turn.of, h.crowd.of = h, h
	h.more.L = &h.mu
	h.task.Run = h.run
	return h
}

// OnOpen starts the deadline and, for a client, the handshake. It comes a second time, behind Secure: then the
// connection is handed on.
func (h *handshake) OnOpen(c *engine.Conn) {
	if h.secured {
		if next := h.accept(c); next != nil {
			c.Begin(next)
		} else {
			c.Close(engine.ErrClosed)
		}
		return
	}
	h.entered = true
	h.accepted = c.Reactor().Now()
	c.SetTimeout(h.owner.opts.Timeout)
	if h.owner.enter(h) && h.server == nil {
		h.start(nil)
	}
}

// OnData holds bytes until the ClientHello is whole, then gives them to the goroutine.
func (h *handshake) OnData(c *engine.Conn, in []byte) int {
	if h.secured {
		return 0
	}
	if !h.started {
		return h.hello(c, in)
	}
	h.mu.Lock()
	h.in = append(h.in, in...)
	h.wake()
	full := len(h.in) > heldMax
	h.mu.Unlock()
	if full {
		h.stopped = true
		c.ReadWire(false)
	}
	return len(in)
}

// hello looks at the first bytes of a client.
func (h *handshake) hello(c *engine.Conn, in []byte) int {
	switch judge(in) {
	case helloPartial:
		if len(in) <= helloWireMax {
			return 0
		}
		h.fail(ErrHelloSize)
	case helloLarge:
		h.fail(ErrHelloSize)
	case helloNone:
		h.plain(c, in)
		return 0
	default:
		h.start(in)
	}
	return len(in)
}

// plain hands a connection on that speaks no TLS, or turns it away.
func (h *handshake) plain(c *engine.Conn, in []byte) {
	if h.server.Auto {
		h.owner.leave(h)
		h.owner.counts.plain.Add(1)
		if next := h.accept(c); next != nil {
			c.Begin(next)
		} else {
			c.Close(engine.ErrClosed)
		}
		return
	}
	if in[0] >= ' ' && in[0] < 0x7f { // text: whoever wrote it can read
		c.Write(h.server.Plain) //nolint:errcheck // an empty queue takes it
	}
	h.fail(ErrNotTLS)
}

// start asks for the first turn, with the first bytes of the wire.
func (h *handshake) start(in []byte) {
	r := h.conn.Reactor()
	h.started = true
	h.heard = r.Now()
	h.in = append(h.in, in...)
	h.hold(len(in))
	if h.owner.turns.ask(h, false, h.heard) {
		h.begin()
		return
	}
	if h.server != nil {
		c := h.owner.crowdOf(h)
		c.stand(&c.unheard, h, h.heard)
	}
	h.conn.SetTimeout(time.Duration(min(h.owner.late, h.remaining(h.heard))))
}

// remaining is the time until Timeout.
func (h *handshake) remaining(now int64) int64 {
	return max(h.accepted+int64(h.owner.opts.Timeout)-now, 1)
}

// begin begins to compute: the first turn has come.
func (h *handshake) begin() {
	c := h.conn
	h.begun = true
	h.crowd.remove()
	h.hold(handshakeSize)
	c.SetTimeout(time.Duration(h.remaining(c.Reactor().Now())))
	l := &layer{}
	h.layer = l
	l.digest = Digest{Peer: c.Peer(), Local: c.Local(), Accepted: h.accepted, Hello: h.heard}
	l.pipe.shake, l.pipe.address = h, &l.digest
	if h.server != nil {
		l.conn = newServer(&l.pipe, h.config)
	} else {
		l.conn = newClient(&l.pipe, h.config)
	}
	h.holds = true
	h.owner.counts.computing.Add(1)
	go h.compute()
}

// hold counts n bytes until release.
func (h *handshake) hold(n int) {
	h.conn.Reactor().Account(n)
	h.accounted += n
}

// release counts back what hold counted: there is no goroutine, or none any more.
func (h *handshake) release() {
	h.conn.Reactor().Account(-h.accounted)
	h.accounted = 0
}

// compute is the goroutine of a handshake.
func (h *handshake) compute() {
	err := h.shake()
	name := ""
	switch err {
	case nil:
		h.layer.digest.fill(h.layer.conn.ConnectionState())
		if a := h.config.ClientAuth; h.server != nil && (a == tls.RequestClientCert || a == tls.RequireAnyClientCert) {
			h.layer.digest.Verified = false // a resumed session brings what another listener has verified
		}
	case ErrPanic:
	default:
		name = h.layer.conn.ConnectionState().ServerName
	}
	h.mu.Lock()
	h.done, h.err, h.name = true, err, name
	h.post()
	holds := h.holds
	h.mu.Unlock()
	h.owner.pass(holds)
}

// shake runs the handshake. A callback of the configuration that panics costs this connection only.
func (h *handshake) shake() (err error) {
	defer func() {
		if p := recover(); p != nil {
			slog.Error("TLS handshake panicked", "panic", p, "stack", string(debug.Stack()))
			err = ErrPanic
		}
	}()
	return h.layer.conn.Handshake()
}

// read gives bytes of one record, or waits until one is whole. Called by the goroutine.
func (h *handshake) read(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		if h.left == 0 {
			h.left = recordSize(h.in)
		}
		switch {
		case h.gone:
			return 0, net.ErrClosed
		case h.left > 0:
			n := copy(b, h.in[:h.left])
			h.left -= n
			h.in = h.in[n:]
			return n, nil
		case h.eof:
			return 0, io.EOF
		}
		h.post() // what was written has to leave, or nothing will come
		h.wait()
	}
}

// wait waits for bytes and a turn. Meanwhile others compute. mu is held.
func (h *handshake) wait() {
	h.waiting, h.holds = true, false
	h.mu.Unlock()
	h.owner.pass(true)
	h.mu.Lock()
	for h.waiting {
		h.more.Wait()
	}
}

// wake asks for a turn for the goroutine if it waits and there is something for it. One whose connection is closed
// needs none: it has nothing to compute. Called by the reactor; mu is held.
func (h *handshake) wake() {
	switch {
	case !h.waiting:
	case h.gone:
		if !h.asks || h.owner.turns.cancel(h) {
			h.resume(false)
		}
	case !h.asks && (h.eof || recordSize(h.in) > 0):
		h.asks = true
		h.crowd.remove()
		if h.owner.turns.ask(h, true, h.conn.Reactor().Now()) {
			h.resume(true)
		}
	}
}

// proceed says that the turn of h has come. Safe for any goroutine.
func (h *handshake) proceed(begun bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if begun {
		h.resume(true)
		return
	}
	h.granted = true
	h.post()
}

// resume lets the goroutine go on, with a turn or without. mu is held.
func (h *handshake) resume(holds bool) {
	h.waiting, h.asks, h.holds = false, false, holds
	h.owner.counts.computing.Add(1)
	h.more.Signal()
}

// write keeps what the reactor is to send. Called by the goroutine.
func (h *handshake) write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.out = append(h.out, b...)
	return len(b), nil
}

// post has the reactor look. mu is held.
func (h *handshake) post() {
	if !h.posted {
		h.posted = true
		h.conn.Reactor().Post(&h.task)
	}
}

// run is what the reactor does when the goroutine has written, waits or is done.
func (h *handshake) run(*engine.Reactor) {
	h.mu.Lock()
	h.posted = false
	out, granted, done, err, name := h.out, h.granted, h.done, h.err, h.name
	waits := h.waiting && !h.asks
	h.out, h.granted = nil, false
	h.mu.Unlock()
	c := h.conn
	over := h.failure != nil || !c.Open()
	switch {
	case granted && over:
		h.owner.giveTurn()
		return
	case granted:
		h.begin()
		return
	case done:
		h.release()
	}
	if over {
		return
	}
	if len(out) > 0 {
		c.WriteWire(out) //nolint:errcheck // a queue that is nearly empty takes it
	}
	switch {
	case !done:
		if waits && h.server != nil {
			w := h.owner.crowdOf(h)
			w.stand(&w.awaited, h, c.Reactor().Now())
		}
		if h.stopped {
			h.stopped = false
			c.ReadWire(true)
		}
	case err != nil:
		h.failFor(err, name)
	default:
		h.finish()
	}
}

// finish puts TLS between the connection and its socket. The goroutine has ended.
func (h *handshake) finish() {
	c, l := h.conn, h.layer
	h.secured = true
	h.owner.leave(h)
	h.owner.counts.done.Add(1)
	if l.digest.Resumed {
		h.owner.counts.resumed.Add(1)
	}
	l.digest.Secured = c.Reactor().Now()
	l.pipe.shake = nil
	l.loan.init(l.conn)
	if h.server != nil {
		c.Secure(l, h, h.in)
	} else {
		c.Secure(l, nil, h.in)
	}
}

// fail ends the connection of a client of which nothing is known.
func (h *handshake) fail(reason error) { h.failFor(reason, "") }

// failFor ends the connection, behind the alert that says why. name is what the client asked for, "" if not known.
func (h *handshake) failFor(reason error, name string) {
	c := h.conn
	if h.failure != nil {
		return
	}
	if reason == io.EOF || reason == io.ErrUnexpectedEOF {
		reason = ErrLeft
	}
	h.failure = &HandshakeError{Reason: reason, ServerName: name}
	h.owner.leave(h)
	h.owner.count(reason)
	if h.failed != nil {
		h.failed(c, h.failure)
	}
	h.abandon()
	switch reason {
	case ErrTimeout, ErrCrowded, ErrFull, ErrLate, ErrLeft:
		c.Close(h.failure)
		return
	}
	h.next = c.Held()
	c.Unhold()
	c.Close(nil)
}

// abandon ends the waiting for a first turn, or lets the goroutine end.
func (h *handshake) abandon() {
	if !h.begun {
		h.owner.turns.cancel(h)
		h.release()
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gone = true
	h.wake()
}

// Idle reports whether the peer has said nothing yet: a drain closes such a connection.
func (h *handshake) Idle() bool { return !h.started }

// IdleSince returns when the connection opened.
func (h *handshake) IdleSince(*engine.Conn) int64 { return h.accepted }

// OnYield ends a connection that has said nothing.
func (h *handshake) OnYield(c *engine.Conn) { c.Finish() }

// OnSendable does nothing.
func (h *handshake) OnSendable(*engine.Conn) {}

// OnTimeout gives up.
func (h *handshake) OnTimeout(c *engine.Conn) {
	if h.started && !h.begun && c.Reactor().Now()-h.heard >= h.owner.late {
		h.fail(ErrLate)
		return
	}
	h.fail(ErrTimeout)
}

// OnEOF gives up, unless what came before it is enough. A ClientHello is not.
func (h *handshake) OnEOF(*engine.Conn) {
	if !h.begun {
		h.fail(ErrLeft)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.eof = true
	h.wake()
}

// OnClose ends the handshake, and tells who dialled.
func (h *handshake) OnClose(c *engine.Conn, cause error) {
	if h.listed {
		h.owner.leave(h)
		h.owner.counts.left.Add(1)
	}
	h.abandon()
	switch {
	case h.failure != nil:
		cause = h.failure
	case h.entered && cause != nil:
		cause = &HandshakeError{Reason: cause}
	}
	if next := c.Held(); next != nil {
		next.OnClose(c, cause)
	} else if h.next != nil {
		h.next.OnClose(c, cause)
	}
}
