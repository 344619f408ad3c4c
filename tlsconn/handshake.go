package tlsconn

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/invariant"
	"github.com/edge-proxy/edge/internal/list"
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
//	firstTurn => phase == awaitingTurn and posted
//	turn is in a line => phase == awaitingTurn or worker == awaitsTurn, and it has not failed
//	crowd is in silent => phase < awaitingTurn; in awaited => worker == awaitsBytes
//	it has failed or phase == succeeded => not listed
//	accounted > 0 => phase >= awaitingTurn; phase == succeeded => done and accounted == 0
type handshake struct {
	owner      *Handshaker
	conn       *engine.Conn
	server     *ServerOptions // nil for a client
	accept     func(c *engine.Conn) engine.Handler
	next       engine.Handler // of a client whose handshake failed
	config     *tls.Config
	terms      Terms // that were chosen; the goroutine's
	layer      *layer
	failure    error // why it failed, where that is not OnClose's cause
	task       engine.Task
	crowd      list.Node[handshake] // among the handshakes that owe us bytes, on its reactor
	stood      int64                // when it took that place
	accepted   int64
	heard      int64 // when the ClientHello was whole, or was asked for
	accounted  int   // bytes counted by Reactor.Account
	phase      phase
	listed     bool // it counts in the owner's list
	readPaused bool

	turn    list.Node[handshake] // where it waits for a turn; guarded by turns.mu, as asked
	asked   int64                // when it asked for that turn
	network netip.Prefix         // of a client: see networkOf

	mu        sync.Mutex
	more      sync.Cond // worker changed: in has a whole record and there is a turn, or none will come
	in        []byte    // guarded by mu, as all below
	left      int       // bytes of the record that is being read
	out       []byte
	err       error
	name      string // that the client asked for, with err
	worker    worker
	giveUp    func() // of Await; nil: it is not in there
	peerFIN   bool
	closed    bool // the connection is closed
	firstTurn bool // the first turn has come, and task is to begin
	posted    bool // task was posted and has not begun
	done      bool // the goroutine has ended
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

func newHandshake(o *Handshaker, config *tls.Config) *handshake {
	h := &handshake{owner: o, config: config}
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
	h.phase = connected
	h.accepted = c.Reactor().Now()
	c.SetTimeout(h.owner.opts.Timeout)
	if h.owner.enter(h) && h.server == nil {
		h.start(nil)
	}
}

// arrive ends the time in which a client that was accepted counts as coming.
func (h *handshake) arrive() {
	if h.server != nil {
		h.owner.crowdOf(h).coming--
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
		c.ReadWire(false)
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
	h.owner.leave(h)
	h.owner.counts.passed.Add(1)
	c.Begin(next)
	return true
}

// handOn gives c to what accept makes for it, or closes it.
func (h *handshake) handOn(c *engine.Conn) {
	if next := h.accept(c); next != nil {
		c.Begin(next)
		return
	}
	c.Close(engine.ErrClosed)
}

// plain hands a connection on that speaks no TLS, or turns it away.
func (h *handshake) plain(c *engine.Conn, in []byte) {
	if h.server.Auto {
		h.owner.leave(h)
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
	r := h.conn.Reactor()
	h.phase = awaitingTurn
	h.heard = r.Now()
	h.in = append(h.in, in...)
	h.hold(len(in))
	if h.owner.turns.ask(h, false, h.heard) {
		h.begin()
		return
	}
	if h.server != nil {
		h.crowd.Remove()
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
	h.phase = begun
	h.crowd.Remove()
	h.hold(handshakeSize)
	c.SetTimeout(time.Duration(h.remaining(c.Reactor().Now())))
	l := &layer{}
	h.layer = l
	l.digest = Digest{Peer: c.Peer(), Local: c.Local(), Accepted: h.accepted, Hello: h.heard}
	l.pipe.shake, l.pipe.address = h, &l.digest
	if h.server != nil {
		l.digest.Asked = h.server.Asked
		l.conn = newServer(&l.pipe, h.config)
	} else {
		l.conn = newClient(&l.pipe, h.config)
	}
	h.worker = hasTurn
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
	case ErrDenied:
		name = h.layer.digest.ServerName
	default:
		name = h.layer.conn.ConnectionState().ServerName
	}
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
		if h.worker == awaitsBytes || h.owner.turns.cancel(h) {
			h.resume(false)
		}
	case h.worker == awaitsBytes && (h.peerFIN || recordSize(h.in) > 0):
		h.worker = awaitsTurn
		h.crowd.Remove()
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
	h.firstTurn = true
	h.post()
}

// resume lets the goroutine go on, with a turn or without. mu is held.
func (h *handshake) resume(holds bool) {
	h.worker = hasNoTurn
	if holds {
		h.worker = hasTurn
	}
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
	if invariant.On {
		defer h.check()
	}
	h.mu.Lock()
	h.posted = false
	out, granted, done, err, name := h.out, h.firstTurn, h.done, h.err, h.name
	waits := h.worker == awaitsBytes
	h.out, h.firstTurn = nil, false
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
		if h.readPaused {
			h.readPaused = false
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
	h.phase = succeeded
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

// failFor ends the connection after the alert that says why. name is what the client asked for, "" if not known.
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
	if s := h.server; s != nil && s.Failed != nil {
		s.Failed(c, h.failure)
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
	if h.phase < begun {
		h.owner.turns.cancel(h)
		h.release()
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.wake()
}

// Idle reports whether the peer has said nothing yet: a drain closes such a connection.
func (h *handshake) Idle() bool { return h.phase < awaitingTurn }

// IdleSince returns when the connection opened.
func (h *handshake) IdleSince(*engine.Conn) int64 { return h.accepted }

// OnYield ends a connection that has said nothing.
func (h *handshake) OnYield(c *engine.Conn) { c.Finish() }

// OnSendable does nothing.
func (h *handshake) OnSendable(*engine.Conn) {}

// OnTimeout gives up.
func (h *handshake) OnTimeout(c *engine.Conn) {
	if invariant.On {
		defer h.check()
	}
	if h.phase == awaitingTurn && c.Reactor().Now()-h.heard >= h.owner.late {
		h.fail(ErrLate)
		return
	}
	h.fail(ErrTimeout)
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
		h.owner.leave(h)
		h.owner.counts.left.Add(1)
	}
	h.abandon()
	switch {
	case h.failure != nil:
		cause = h.failure
	case h.phase >= connected && cause != nil:
		cause = &HandshakeError{Reason: cause}
	}
	if next := c.Held(); next != nil {
		next.OnClose(c, cause)
	} else if h.next != nil {
		h.next.OnClose(c, cause)
	}
}
