package tlsconn

import (
	"crypto/tls"
	"io"
	"net"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
)

// heldMax is how many bytes of the wire wait for the goroutine of a handshake before reading pauses.
const heldMax = 64 << 10

// handshakeSize is the memory of a handshake that was begun and is not done: the stack of its goroutine and what
// crypto/tls keeps. TestHeld_isWhatItTakes measures it.
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
//	phase >= begun <=> layer != nil: there is, or was, a goroutine, of which worker says whether it has a turn
//	phase < begun => worker == hasNoTurn and not done; worker >= awaitsBytes => not done
//	giveUp != nil <=> worker == awaitsOther
//	granted => phase == awaitingTurn and posted
//	turn is in a line => phase == awaitingTurn or worker == awaitsTurn, and it has not failed
//	crowd is in silent => phase < awaitingTurn; in awaited => worker == awaitsBytes
//	it has failed or phase == succeeded => not listed
//	accounted > 0 => phase >= awaitingTurn; phase == succeeded => done and accounted == 0
type handshake struct {
	seat
	next       engine.Handler // of a client whose handshake failed
	readPaused bool

	in   []byte // guarded by mu, as all below
	left int    // bytes of the record that is being read
	out  []byte
	err  error
	name string // that the client asked for, with err
	done bool   // the goroutine has ended
}

func newHandshake(o *Handshaker, config *tls.Config) *handshake {
	h := &handshake{}
	h.owner, h.config, h.end = o, config, h.fail
	h.more.L = &h.mu
	h.task.Run = h.run
	return h
}

// OnOpen starts the deadline and, for a client, the handshake. It comes a second time after Secure: then the
// connection is handed on.
func (h *handshake) OnOpen(c *engine.Conn) {
	if invariant.On {
		defer h.check()
	}
	if h.phase == succeeded {
		h.handOn(c)
		return
	}
	h.arrive()
	if h.open() && h.server == nil {
		h.start(nil)
	}
}

// arrive ends the time in which a client that was accepted counts as coming.
func (h *handshake) arrive() {
	if h.server != nil {
		h.owner.crowdOf(&h.seat).coming--
	}
}

// OnData holds bytes until the ClientHello is whole, then gives them to the goroutine.
func (h *handshake) OnData(c *engine.Conn, in []byte) int {
	if invariant.On {
		defer h.check()
	}
	if h.phase == succeeded {
		return 0
	}
	if h.phase < awaitingTurn {
		return h.hello(c, in)
	}
	h.mu.Lock()
	h.in = append(h.in, in...)
	h.wake()
	full := len(h.in) > heldMax
	h.mu.Unlock()
	if full {
		h.readPaused = true
		c.Wire().Read(false)
	}
	return len(in)
}

// hello looks at the first bytes of a client.
func (h *handshake) hello(c *engine.Conn, in []byte) int {
	switch judge(in) {
	case HelloPartial:
		if len(in) <= helloWireMax {
			return 0
		}
		h.fail(ErrHelloSize)
	case helloLarge:
		h.fail(ErrHelloSize)
	case NotTLS:
		h.plain(c, in)
		return 0
	default:
		if h.server.Pass != nil && h.pass(c, in) {
			return 0
		}
		h.start(in)
	}
	return len(in)
}

// pass hands a connection on that is not for us, and reports whether it was one.
func (h *handshake) pass(c *engine.Conn, in []byte) bool {
	hello := BorrowHello()
	defer hello.GiveBack()
	if Peek(in, hello) != HelloWhole {
		return false // the provider finds the words
	}
	next := h.server.Pass(c, hello)
	if next == nil {
		return false
	}
	h.owner.leave(&h.seat)
	h.owner.counts.passed.Add(1)
	c.Begin(next)
	return true
}

// plain hands a connection on that speaks no TLS, or turns it away.
func (h *handshake) plain(c *engine.Conn, in []byte) {
	if h.server.Auto {
		h.owner.leave(&h.seat)
		h.owner.counts.plain.Add(1)
		h.handOn(c)
		return
	}
	if h.server.Plain != nil && in[0] >= ' ' && in[0] < 0x7f { // text: its sender can read a text
		c.Write(h.server.Plain(c.Reactor())) //nolint:errcheck // an empty queue takes it
	}
	h.fail(ErrNotTLS)
}

// start asks for the first turn, with the first bytes of the wire.
func (h *handshake) start(in []byte) {
	h.in = append(h.in, in...)
	h.hold(len(in))
	if h.ask() {
		h.begin()
	}
}

// begin begins to compute: the first turn has come.
func (h *handshake) begin() {
	h.seat.begin(handshakeSize)
	l := h.layer
	l.pipe.shake, l.pipe.address = h, &l.digest
	if h.server != nil {
		l.conn = newServer(&l.pipe, h.config)
	} else {
		l.conn = newClient(&l.pipe, h.config)
	}
	h.worker = hasTurn
	h.owner.counts.computing.Add(1)
	go h.compute()
}

// compute is the goroutine of a handshake.
func (h *handshake) compute() {
	err := guarded(h.layer.conn.Handshake)
	name := h.conclude(err, h.layer.conn.ConnectionState)
	h.mu.Lock()
	h.done, h.err, h.name = true, err, name
	if err == ErrDenied {
		h.tellDenied()
	}
	h.post()
	holds := h.worker == hasTurn
	h.mu.Unlock()
	h.owner.pass(holds)
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
		case h.closed:
			return 0, net.ErrClosed
		case h.left > 0:
			n := copy(b, h.in[:h.left])
			h.left -= n
			h.in = h.in[n:]
			return n, nil
		case h.peerFIN:
			return 0, io.EOF
		}
		h.post() // what was written has to leave, or nothing will come
		h.wait()
	}
}

// wait waits for bytes and a turn. Meanwhile others compute. mu is held.
func (h *handshake) wait() {
	h.worker = awaitsBytes
	h.mu.Unlock()
	h.owner.pass(true)
	h.mu.Lock()
	for h.worker >= awaitsBytes {
		h.more.Wait()
	}
}

// wake asks for a turn for the goroutine if it waits and there is something for it. One whose connection is closed
// needs none: it has nothing to compute. Called by the reactor; mu is held.
func (h *handshake) wake() {
	switch {
	case h.worker < awaitsBytes:
	case h.worker == awaitsOther:
		if h.closed || h.peerFIN { // as await has it
			h.giveUp()
		}
	case h.closed:
		if h.worker == awaitsBytes || h.owner.turns.cancel(&h.seat) {
			h.resume(false)
		}
	case h.worker == awaitsBytes && (h.peerFIN || recordSize(h.in) > 0):
		h.worker = awaitsTurn
		h.crowd.Remove()
		if h.owner.turns.ask(&h.seat, true, h.conn.Reactor().Now()) {
			h.resume(true)
		}
	}
}

// write keeps what the reactor is to send. Called by the goroutine.
func (h *handshake) write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.out = append(h.out, b...)
	return len(b), nil
}

// run is what the reactor does when the goroutine has written, waits or is done.
func (h *handshake) run(*engine.Reactor) {
	if invariant.On {
		defer h.check()
	}
	h.mu.Lock()
	h.posted = false
	out, granted, done, err, name := h.out, h.granted, h.done, h.err, h.name
	waits := h.worker == awaitsBytes
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
		c.Wire().Write(out) //nolint:errcheck // a queue that is nearly empty takes it
	}
	switch {
	case !done:
		if waits && h.server != nil {
			w := h.owner.crowdOf(&h.seat)
			w.stand(&w.awaited, &h.seat, c.Reactor().Now())
		}
		if h.readPaused {
			h.readPaused = false
			c.Wire().Read(true)
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
	h.succeed(c.Reactor().Now())
	l.pipe.shake = nil
	l.loan.init(l.conn)
	if h.server != nil {
		c.Wire().Secure(l, h, h.in)
	} else {
		c.Wire().Secure(l, nil, h.in)
	}
}

// tellDenied puts the alert for a refusal in the place of crypto/tls's internal_error, all that was written so far.
func (h *handshake) tellDenied() {
	if n := len(h.out); n > 0 {
		h.out[n-1] = alertOfDenied(h.name)
	}
}

// fail ends the connection of a client of which nothing is known.
func (h *handshake) fail(reason error) { h.failFor(reason, "") }

// failFor ends the connection after the alert that says why. name is what the client asked for, "" if not known.
func (h *handshake) failFor(reason error, name string) {
	if reason == io.EOF || reason == io.ErrUnexpectedEOF {
		reason = ErrLeft
	}
	if !h.seat.fail(reason, name) {
		return
	}
	c := h.conn
	h.abandon()
	switch reason {
	case ErrTimeout, ErrCrowded, ErrFull, ErrLate, ErrLeft:
		c.Close(h.failure)
		return
	}
	h.next = c.Wire().Held()
	c.Wire().Unhold()
	c.Close(nil)
}

// abandon ends the waiting for a first turn, or lets the goroutine end.
func (h *handshake) abandon() {
	if h.phase < begun {
		h.owner.turns.cancel(&h.seat)
		h.release()
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.wake()
}

// OnEOF gives up, unless what came before it is enough. A ClientHello is not.
func (h *handshake) OnEOF(*engine.Conn) {
	if invariant.On {
		defer h.check()
	}
	if h.phase < begun {
		h.fail(ErrLeft)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.peerFIN = true
	h.wake()
}

// OnClose ends the handshake, and tells the handler that dialled.
func (h *handshake) OnClose(c *engine.Conn, cause error) {
	if invariant.On {
		defer h.check()
	}
	if h.phase == unconnected {
		h.arrive()
	}
	if h.listed {
		h.owner.leave(&h.seat)
		h.owner.counts.left.Add(1)
	}
	h.abandon()
	switch {
	case h.failure != nil:
		cause = h.failure
	case h.phase >= connected && cause != nil:
		cause = &HandshakeError{Reason: cause}
	}
	if next := c.Wire().Held(); next != nil {
		next.OnClose(c, cause)
	} else if h.next != nil {
		h.next.OnClose(c, cause)
	}
}
