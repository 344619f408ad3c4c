package session

import (
	"bytes"
	"errors"
	"math"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/stream"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
)

// Owner is told what becomes of a Client. Its methods run on the Client's reactor.
type Owner interface {
	// OnIdle says that an exchange is over and that the connection can take another one.
	OnIdle(c *Client)
	// OnGone says that the connection is closed. It comes exactly once, after the OnReset of the exchange that was
	// cut. cause is ErrSurplus or engine.ErrUnasked if the peer sent bytes that no request had asked for.
	OnGone(c *Client, cause error)
}

// Client is one HTTP/1 connection to an origin, and the Stream of the request that is in progress on it.
// Owned by its reactor.
//
//	receiver   answer                  the connection
//	nil        any                     is idle, unless it is closing
//	set        noAnswer                has a request whose final answer has not begun
//	set        answerBegun             is receiving an answer; with tunnel: bytes of the origin
//	set        answerDone              received the answer whole, and still sends the request
//
//	receiver is set from Open to the end of both messages, or OnReset
//	owed > 0 => reading is paused
//	tunnel => answer != noAnswer
type Client struct {
	conn      *engine.Conn
	owner     Owner
	opts      *ClientOptions
	head      *message.Head // the reactor's, lent to the decoder
	receiver  Receiver
	dec       h1.Decoder
	body      bodyWriter
	owed      int
	uses      uint32
	answer    answerState
	connected bool          // the connection was established
	keepAlive time.Duration // what the origin promises for an idle connection; 0: nothing
	patience  stream.Patience

	tunnel      bool // the answer made a tunnel of it
	awaits100   bool // the body is sent after 100, or after a final answer
	closeAfter  bool // the connection closes after this answer
	earlyBytes  bool // the origin sent bytes before the first request
	surplus     bool // bytes lie after the end of the answer: the connection is not used again
	spliceWaits bool // a splice waits until the socket takes more
	inCallback  bool // a callback of the receiver runs

	splice      *splice // of answers; nil until there was one
	discardLeft int     // bytes of the answer that discarded still takes
	discardTill int64   // reactor time
	connectedAt int64   // see ConnectedAt
}

// answerState says how much of an answer has come.
type answerState uint8

const (
	noAnswer    answerState = iota // no head but interim ones
	answerBegun                    // the final head was delivered
	answerDone                     // the answer was delivered whole
)

// Init prepares c, which is a part of its owner. c uses head during callbacks only: one for each reactor is enough.
func (c *Client) Init(owner Owner, head *message.Head, o *ClientOptions) {
	*c = Client{owner: owner, head: head, opts: o}
	c.dec.InitResponses(&o.Limits)
}

// Dial connects. Requests may be opened at once; they are sent when the connection is established.
func (c *Client) Dial(r *engine.Reactor, to poller.Addr, o *engine.DialOptions) error {
	conn, err := r.Dial(to, c, o)
	c.conn = conn
	return err
}

// DialTLS is Dial with TLS. ALPN in co must offer nothing but HTTP/1.1.
func (c *Client) DialTLS(
	r *engine.Reactor, to poller.Addr, o *engine.DialOptions, hs *Handshaker, co *TLSClient,
) error {
	conn, err := hs.Dial(r, to, c, o, co)
	c.conn = conn
	return err
}

// Attach makes the connection of p the connection of c, which was not dialled.
func (c *Client) Attach(p *Probe) { c.conn, c.connected = p.take(c), true }

// Moved is an idle connection to an origin on its way from one reactor to another.
// Owned by its holder, which passes it to Adopt or to Discard, once.
type Moved struct {
	conn engine.Moved
	uses uint32
}

// Leave takes an idle connection away from c, so that a Client of another reactor may adopt it. It reports false, and
// leaves c as it is, when c is not usable. Afterwards c is over; its owner's OnGone does not come.
func (c *Client) Leave() (m Moved, ok bool) {
	if c.receiver != nil || !c.connected {
		return m, false
	}
	m.uses = c.uses
	m.conn, ok = c.conn.Leave()
	return m, ok
}

// Adopt makes m the connection of c, which was not dialled. On an error, see engine.Reactor.Adopt, m is closed and
// OnGone does not come.
func (c *Client) Adopt(r *engine.Reactor, m Moved) error {
	conn, err := r.Adopt(m.conn, c)
	if err != nil {
		return err
	}
	c.conn, c.uses, c.connected = conn, m.uses, true
	return nil
}

// Discard closes m.
func Discard(r *engine.Reactor, m Moved) { r.Discard(m.conn) }

// Uses returns how many requests were opened on c.
func (c *Client) Uses() int { return int(c.uses) }

// KeepAlive returns for how long the origin promised, with its last answer, to keep an idle connection; 0 when it
// promised nothing.
func (c *Client) KeepAlive() time.Duration { return c.keepAlive }

// Connected reports whether the connection was ever established.
func (c *Client) Connected() bool { return c.connected }

// ConnectedAt returns the reactor time at which the connection that c dialled was established, its handshake
// included, and how long that handshake took; 0 while it is not, and where c did not dial it. In ns.
func (c *Client) ConnectedAt() (at, handshake int64) { return c.connectedAt, handshakeTime(c.conn) }

// Usable reports whether a request may be opened: no exchange is in progress, and the connection is quiet.
func (c *Client) Usable() bool {
	return c.receiver == nil && c.conn.Open() && (!c.connected || c.conn.Quiet())
}

// Open begins an exchange: its answer goes to r. The Stream is c itself.
func (c *Client) Open(r Receiver) Stream {
	c.mustOwn()
	c.receiver = r
	c.uses++
	c.body = bodyWriter{}
	c.answer, c.closeAfter, c.awaits100, c.spliceWaits = noAnswer, false, false, false
	c.owed = 0
	c.keepAlive = 0
	c.patience = stream.Patience{}
	if c.connected {
		c.conn.SetTimeout(c.between())
	}
	return c
}

// Close closes the connection, whatever is in progress.
func (c *Client) Close() { c.conn.Close(engine.ErrClosed) }

// SetIdleTimeout bounds how long c may stay unused.
func (c *Client) SetIdleTimeout(d time.Duration) { c.conn.SetTimeout(d) }

// OnOpen starts the deadline of the exchange that waited for the connection, and asks for its body.
func (c *Client) OnOpen(conn *engine.Conn) {
	if invariant.On {
		defer c.check()
	}
	c.connected, c.connectedAt = true, conn.Reactor().Now()
	// Bytes that are here already are older than the request, which leaves after the callbacks. They are no answer
	// to it, and each later request would get the answer to the one before: RFC 9112 §9.2. Under TLS they may be a
	// ticket.
	c.earlyBytes = c.receiver != nil && !conn.Quiet() && tlsconn.DigestOf(conn) == nil
	if c.receiver != nil {
		c.setDeadline()
		c.receiver.OnSendable(c)
	}
}

// setDeadline sets the deadline that fits what is in progress.
func (c *Client) setDeadline() {
	switch {
	case !c.connected: // the dial has a timeout of its own
	case c.tunnel, c.spliceWaits, c.conn.Congested():
		c.conn.SetTimeout(c.between())
	case c.awaits100:
		c.conn.SetTimeout(c.patience.ToFirstByte(c.opts.FirstByte))
	case c.owed > 0, c.answer == answerDone, c.body.framing != stream.Ended && c.answer == noAnswer:
		c.conn.SetTimeout(0) // the origin is not what the exchange waits for
	case c.answer == noAnswer:
		c.conn.SetTimeout(c.patience.ToFirstByte(c.opts.FirstByte))
	default:
		c.conn.SetTimeout(c.between())
	}
}

func (c *Client) between() time.Duration {
	if c.tunnel {
		return c.tunnelIdle()
	}
	return c.patience.BetweenBytes(c.opts.BetweenBytes)
}

func (c *Client) tunnelIdle() time.Duration { return stream.OrTunnelIdle(c.opts.TunnelIdle) }

// OnData decodes an answer. Bytes that answer no request end the connection.
func (c *Client) OnData(conn *engine.Conn, in []byte) (used int) {
	if invariant.On {
		defer c.check()
	}
	if c.earlyBytes && c.receiver != nil {
		c.fail(Malformed, wrongProtocol(in, ErrSpeaksH1, errEarlyBytes))
		conn.Close(engine.ErrUnasked)
		return len(in)
	}
	heard := false
	for used < len(in) {
		if c.receiver == nil || c.answer == answerDone {
			conn.Close(c.unaskedError())
			return len(in)
		}
		n, ev, body, err := c.dec.Next(in[used:], c.head)
		used += n
		if err != nil {
			if !heard && c.answer == noAnswer {
				err = wrongProtocol(in, ErrSpeaksH1, err)
			}
			c.fail(Malformed, err)
			conn.Close(err)
			return len(in)
		}
		if ev == h1.NeedMore {
			break
		}
		// RFC 9112 §6.3: the head, the length or the last chunk says where the answer ends. What follows is no part of
		// it, and no answer to a later request.
		c.surplus = ev&h1.End != 0 && used < len(in)
		heard = true
		c.dispatch(ev, body)
		if !conn.Open() {
			return len(in)
		}
	}
	if c.owed > 0 {
		conn.PauseRead()
	}
	due := c.receiver != nil && c.answer != answerDone
	if heard && due || c.owed > 0 {
		c.setDeadline()
	}
	if due && !c.tunnel {
		conn.Wire().AckNow()
	}
	return used
}

// ErrSurplus is why a connection is closed on which bytes came after the end of an answer.
var ErrSurplus = errors.New("bytes came after the end of the answer")

// unaskedError returns why c is closed when bytes come while no answer is awaited.
func (c *Client) unaskedError() error {
	if c.uses > 0 {
		return ErrSurplus
	}
	return engine.ErrUnasked
}

// errEarlyBytes is why an exchange fails whose answer came before its request was sent.
var errEarlyBytes = errors.New("the origin spoke before it was asked")

func (c *Client) dispatch(ev h1.Event, body []byte) {
	end := ev&h1.End != 0
	r := c.receiver
	c.inCallback = true
	switch {
	case ev&h1.HeadDone != 0:
		c.awaits100 = c.awaits100 && c.head.Status != 100 && c.head.Status < 200
		if c.head.Status >= 200 {
			c.answer = answerBegun
			c.closeAfter, c.head.Close = c.head.Close, false // it is about this connection, not the client's
			if c.head.Hops {
				c.keepAlive = keepAlive(c.head.Peek(message.KeepAlive))
			}
		}
		if c.head.Tunnel && !c.openTunnel() {
			return
		}
		c.answer.noteEnd(end)
		r.OnHead(c, c.head, end)
	case ev&h1.Trailers != 0:
		c.answer.noteEnd(end)
		r.OnTrailers(c, c.head)
	default:
		c.answer.noteEnd(end)
		c.owed += len(body)
		r.OnData(c, body, end)
	}
	c.inCallback = false
	c.finish()
}

// openTunnel turns the connection into a tunnel. RFC 9110 §7.8: a server MUST NOT switch protocols before it has
// received the entire request.
func (c *Client) openTunnel() bool {
	if c.body.framing != stream.Ended {
		c.fail(Malformed, h1.ErrSwitchedProtocols)
		c.conn.Close(h1.ErrSwitchedProtocols)
		c.inCallback = false
		return false
	}
	c.tunnel, c.answer, c.closeAfter, c.head.Close = true, answerBegun, true, false
	c.body.begin(stream.UntilClose, 0)
	return true
}

// keepAliveLongest bounds the seconds that are believed; nothing stays idle so long.
const keepAliveLongest = 24 * 60 * 60

// keepAlive reads timeout=N out of a Keep-Alive field; 0 when there is none. No RFC defines it: RFC 2068 §19.7.1.1 was
// the last that tried.
func keepAlive(value []byte) time.Duration {
	for len(value) > 0 {
		var item []byte
		item, value, _ = bytes.Cut(value, []byte(","))
		name, number, found := bytes.Cut(bytes.TrimSpace(item), []byte("="))
		if !found || !bytes.EqualFold(bytes.TrimSpace(name), []byte("timeout")) {
			continue
		}
		n := 0
		for _, digit := range bytes.Trim(bytes.TrimSpace(number), `"`) {
			if digit < '0' || digit > '9' {
				return 0
			}
			n = min(10*n+int(digit-'0'), keepAliveLongest)
		}
		return max(time.Duration(n)*time.Second, 1) // timeout=0 is a promise of nothing
	}
	return 0
}

// noteEnd notes that the part of the answer that is delivered next is the last one.
func (a *answerState) noteEnd(end bool) {
	if end {
		*a = answerDone
	}
}

// finish ends the exchange when both messages are complete.
func (c *Client) finish() {
	if c.receiver == nil || c.answer != answerDone || c.inCallback {
		return
	}
	if c.body.framing != stream.Ended { // an early answer: the rest of the request still has to be sent
		return
	}
	c.receiver = nil
	c.owed = 0
	switch {
	case c.surplus:
		c.conn.Close(ErrSurplus)
		return
	case c.closeAfter || !c.conn.Open():
		c.conn.Close(nil)
		return
	}
	c.conn.ResumeRead()
	c.owner.OnIdle(c)
}

// OnSendable tells the receiver.
func (c *Client) OnSendable(*engine.Conn) {
	if invariant.On {
		defer c.check()
	}
	if c.receiver != nil {
		c.setDeadline()
		c.receiver.OnSendable(c)
	}
}

// OnTimeout ends the exchange, or an idle connection.
func (c *Client) OnTimeout(conn *engine.Conn) {
	if invariant.On {
		defer c.check()
	}
	c.fail(Timeout, engine.ErrTimeout)
	conn.Close(engine.ErrTimeout)
}

// Relieve ends the exchange where the origin has not taken for age what was sent to it: engine.Reliever.
func (c *Client) Relieve(conn *engine.Conn, age time.Duration) {
	left := time.Duration(conn.Deadline() - conn.Reactor().Now())
	waits := conn.Congested() || c.spliceWaits
	if c.receiver != nil && c.connected && waits && conn.Deadline() != 0 && c.between()-left >= age {
		c.OnTimeout(conn)
	}
}

// OnEOF ends a body that lasts until the connection closes; anything else was cut short.
func (c *Client) OnEOF(conn *engine.Conn) {
	if invariant.On {
		defer c.check()
	}
	if c.tunnel {
		c.eofTunnel()
		return
	}
	if r := c.receiver; r != nil {
		ev, err := c.dec.EOF()
		switch {
		case err == nil && ev&h1.End != 0 && conn.Truncated():
			// RFC 9112 §9.8: a body that the end of a TLS connection delimits is complete only after a closure
			// alert.
			c.fail(Truncated, errNoCloseNotify)
		case err == nil && ev&h1.End != 0:
			c.closeAfter = true
			c.answer = answerDone
			c.inCallback = true
			r.OnData(c, nil, true)
			c.inCallback = false
			c.finish()
		case c.answer == noAnswer && c.dec.Idle():
			c.fail(ConnectionLost, nil)
		default:
			c.fail(Truncated, err)
		}
	}
	conn.Close(engine.ErrClosed)
}

// eofTunnel passes the origin's FIN on.
func (c *Client) eofTunnel() {
	if c.receiver == nil || c.answer == answerDone {
		return
	}
	c.answer = answerDone
	c.inCallback = true
	c.receiver.OnData(c, nil, true)
	c.inCallback = false
	c.finish()
}

// errNoCloseNotify is why an answer that the end of its connection delimits is incomplete.
var errNoCloseNotify = errors.New("the connection was cut: FIN without close_notify")

// OnClose resets the exchange that was in progress and tells the owner.
func (c *Client) OnClose(_ *engine.Conn, cause error) {
	switch {
	case c.connected && c.answer == noAnswer && !c.dec.Idle(): // a part of an answer came: no second attempt
		c.fail(Truncated, cause)
	case c.connected:
		c.fail(ConnectionLost, cause)
	case cause == engine.ErrConnectTimeout:
		c.fail(ConnectTimeout, cause)
	default:
		c.fail(ConnectFailed, cause)
	}
	c.owner.OnGone(c, cause)
}

func (c *Client) fail(code Code, cause error) {
	if r := c.receiver; r != nil {
		c.receiver = nil
		r.OnReset(c, code, cause)
	}
}

func (c *Client) toReceive() int64 {
	switch {
	case c.receiver == nil || c.answer == answerDone || c.owed > 0:
		return 0
	case c.tunnel:
		return math.MaxInt64
	}
	return c.dec.Counted()
}

func (c *Client) toSend() int64 {
	if !c.connected {
		return 0
	}
	return c.body.toSplice(c.tunnel)
}

func (c *Client) splicedIn(n int, waits bool) {
	if !c.tunnel {
		c.dec.Skip(n)
	}
	if waits && !c.tunnel { // the origin does not owe the missing bytes
		c.conn.SetTimeout(0)
	} else {
		c.conn.SetTimeout(c.between())
	}
}

func (c *Client) splicedOut(n int, waits bool) {
	c.body.spliced(n)
	c.spliceWaits = waits
	if n > 0 {
		c.awaits100 = false
	}
	if n > 0 || !c.tunnel {
		c.setDeadline()
	}
}

func (c *Client) spliceFrom() (*engine.Conn, *splice) {
	if c.splice == nil && c.spliceReceiver() != nil {
		c.splice = &splice{from: c}
	}
	return c.conn, c.splice
}

func (c *Client) spliceReceiver() SpliceReceiver {
	r, _ := c.receiver.(SpliceReceiver)
	return r
}
