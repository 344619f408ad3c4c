package proxy

import (
	"log/slog"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/proxy/grpc"
	"github.com/edge-proxy/edge/session"
	"github.com/edge-proxy/edge/upstream"
)

// attempt is one try of an exchange at its destination, and what it knows of those before.
//
//	open ─► Destination.Open ─► stream: send ─► the answer
//	  ▲          │                 └─ OnReset ─► retry ─┐
//	  │          ├─ ErrPending ─► OnTaken ─► send       │
//	  └─ again ──┴─ an error                            │
//	  └─────────────────────────────────────────────────┘
//
// Owned by its exchange, which clears it with the rest of its progress.
type attempt struct {
	stream session.Stream // takes the request; nil while there is none
	fault  *Fault         // of the try before; the answer when nothing is left to try. nil: there was none

	// Of To: where the request goes.
	up       *toUpstream      // that was opened; nil: the destination is another one
	conn     *upstream.Conn   // whose stream it is
	receiver session.Receiver // gets the answer, once there is a connection
	aim      aim
	backend  *backend.Member // nil: none was chosen yet
	address  int             // of the backend's
	refused  int             // addresses of the backend that could not be connected to
	nameHost bool            // the backend is to be sent its own address as Host
	reused   bool            // the connection served others before

	connected int64 // reactor time, ns: the request was given to a connection, or that stood
	firstByte int64
}

// drop forgets the stream: it is over.
func (a *attempt) drop() { a.stream, a.conn = nil, nil }

// aim says where the next try goes.
type aim uint8

const (
	nextBackend aim = iota // that was not tried
	nextAddress            // of the same backend, whose name has several
	sameAddress            // on a connection that no exchange used before
	sameBackend            // on any connection
)

// open opens the destination, again where it fails at once and something is left to try. It returns nil where x has to
// wait, or was answered.
func (x *Exchange) open() session.Stream {
	d := x.destination()
	to := session.Receiver((*upSide)(x))
	if _, ours := d.(*toUpstream); !ours {
		to = (*guardedSide)(x)
	}
	for {
		s, err := d.Open(x, to)
		switch err := err.(type) {
		case nil:
			x.attempts++
			return s
		case Verdict:
			x.respond(err)
			return nil
		case *Fault:
			x.fail(err)
			return nil
		}
		x.attempts++
		if err == ErrPending || !x.again(err) {
			return nil
		}
	}
}

// send sends the request to the stream of the destination.
func (x *Exchange) send(s session.Stream) {
	x.try.stream = s
	x.try.connected = x.local.reactor.Now()
	if x.call.form != grpc.None {
		if s, ok := s.(session.Unhurried); ok {
			s.Unhurry()
		}
	}
	bodyless := x.toUp.bodyless()
	if err := s.SendHead(&x.Request, bodyless); err != nil {
		x.upError(err)
		return
	}
	for _, f := range x.route.chain.connected {
		f(x)
	}
	if bodyless {
		x.toUp.endSent = true
		return
	}
	if !s.Congested() {
		x.resumeUp()
	}
}

// again notes that a backend could not be connected to, and aims at what may be tried next: its other addresses first,
// then other backends, as many as the upstream allows. Where nothing is left it fails x and reports false.
func (x *Exchange) again(cause error) bool {
	a := &x.try
	a.fault = faultOfDial(cause)
	if a.backend == nil || a.fault == faultLimit || !a.next(x, cause) {
		x.fail(a.fault)
		return false
	}
	return true
}

// next aims at what may be tried next. It reports false where nothing is left.
func (a *attempt) next(x *Exchange, cause error) bool {
	for _, f := range x.route.chain.connectFailed {
		f(x, cause)
	}
	u := a.up.upstream
	a.refused++
	if n := len(*a.backend.Addrs()); a.refused < min(n, addressesMax) {
		a.address, a.aim = (a.address+1)%n, nextAddress
		return true
	}
	x.tried.Add(a.backend.Slot())
	if x.retries >= u.Retries() {
		return false
	}
	x.retries++
	x.local.stats.Retries++
	a.aim = nextBackend
	return true
}

// takeSide is an Exchange as the upstream sees it that it waits for.
type takeSide Exchange

// OnTaken goes on with the connection that Open had to wait for.
func (t *takeSide) OnTaken(c *upstream.Conn, err error) {
	x := (*Exchange)(t)
	defer x.rescue()
	x.waited += x.local.reactor.Now() - x.waiter.Since()
	var s session.Stream
	switch {
	case err == nil:
		s = x.try.up.taken(x, c)
	case x.again(err):
		s = x.open()
	}
	if s != nil {
		x.send(s)
	}
}

// refusalsMax bounds how often an exchange that was refused is offered again: once to the backend that refused it,
// whose connection may have been ending, then to others, if there are any.
const refusalsMax = 3

// retry tries once more where that is safe: on another backend when there was no connection, on any connection when the
// backend said that it did not process the request (RFC 9113 §8.7), and on a fresh connection when one of the pool died
// before a byte of the answer, if the request may be repeated (RFC 9110 §9.2.2). All that if the request had no body
// that is gone: none, or one that was kept whole.
func (x *Exchange) retry(code session.Code, cause error) bool {
	a := &x.try
	if a.up == nil || x.toUp.begun() && x.toUp.keep == 0 || x.interims > 0 {
		return false
	}
	u := a.up.upstream
	a.fault = faultOfReset(code, cause)
	switch code {
	case session.ConnectFailed, session.ConnectTimeout:
		if !a.next(x, cause) {
			return false
		}
	case session.Refused:
		if x.refusals++; x.refusals > refusalsMax || u.Retries() == 0 {
			return false
		}
		a.aim = sameBackend
		if x.refusals > 1 && u.Options().Backends.Len() > 1 {
			x.tried.Add(a.backend.Slot())
			a.aim = nextBackend
		}
		x.toUp.rewind()
		x.local.stats.Retries++
	case session.ConnectionLost:
		if !a.reused || !x.Request.Verb.Idempotent() || !x.toUp.ended || x.retries >= u.Retries() {
			return false
		}
		x.toUp.rewind()
		x.retries++
		x.local.stats.Retries++
		a.aim = sameAddress
	default:
		return false
	}
	if s := x.open(); s != nil {
		x.send(s)
	}
	return true
}

// upFailed ends an exchange whose destination is gone, as far as it still matters.
func (x *Exchange) upFailed(f *Fault) {
	switch {
	case x.tunnel && x.answering && x.toDown.ended:
		// What the destination said is delivered first. Nobody is left for what the client says.
		x.toUp.held = x.toUp.held[:0]
		x.discardBody()
		x.toUp.endSent = true
		x.answerSent()
	case x.tunnel && x.answering && f == faultTimeout:
		x.local.stats.TunnelsIdle++
		x.cut(faultTunnelIdle)
	case x.toDown.ended && (x.answering || x.parked || x.working):
		// The answer is here; that it came before the whole request was sent harms nobody.
		x.discardBody()
	case x.working:
		x.lost = f
	case x.answering:
		x.cut(f)
	default:
		x.fail(f)
	}
}

// tellAlert says why a backend ended a secured connection. With TLS 1.3 it looks at our certificate when the handshake
// is done for us.
func (a *attempt) tellAlert(cause error) {
	if a.backend != nil {
		slog.Warn("a backend refused the secured connection", "upstream", a.up.upstream.Name(),
			"backend", a.backend.Address(), "error", cause)
	}
}

// dropUp takes back what is in progress at the destination.
func (x *Exchange) dropUp() {
	x.tunnel = x.tunnel && x.answering
	if x.waiter.Waiting() {
		x.waited += x.local.reactor.Now() - x.waiter.Since()
		x.waiter.Cancel()
	}
	if s := x.try.stream; s != nil {
		x.try.noteConnect(x)
		x.try.drop()
		s.Reset(session.Cancelled)
	}
}

// noteConnect adds the time that x spent on its connection being established, before the first byte of the answer or
// the end of the attempt. What a connection took that had served before is not the time of x.
func (a *attempt) noteConnect(x *Exchange) {
	if a.reused || a.conn == nil || a.firstByte > 0 {
		return
	}
	at, stands := a.conn.ConnectedAt()
	if !stands {
		at = x.local.reactor.Now()
	}
	if at > a.connected {
		x.dialled += at - a.connected
		a.connected = at
	}
}
