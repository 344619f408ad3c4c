package tlsconn

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/quic"
)

// flightSize is handshakeSize over QUIC, where there is no goroutine of ours between two flights.
// TestHeldQUIC_isWhatItTakes measures it.
const flightSize = 20 << 10

// drainTime is how long a handshake may take in a drain once it is computed. A client sends requests together with its
// Finished, and they are answered.
const drainTime = 800 * time.Millisecond

// QUIC is a connection of QUIC whose handshake is going on, by tls.QUICConn: the handler of its engine.Conn until then.
// Its carrier gives it the bytes of the handshake. Each flight of the client has a turn, and a goroutine that ends with
// what there is to answer; between two of them crypto/tls keeps a goroutine of its own.
//
//	reactor    OnCrypto … ClientHello whole ─ turn ─┐          ┌ codec, OnCrypto … ─ turn ─┐          ┌ codec, accept
//	goroutine                                       └ computes ┘                           └ computes ┘
//
// Owned by its Conn's reactor, but for what mu guards, and for tls and layer while there is a goroutine: they are its.
//
//	phase == begun => tls != nil, until it is closed
//	due => the client owes us bytes: not busy, and no turn is awaited or on its way
//	crowd is in silent or awaited => due
//	busy => it is begun, and worker says whether there is a turn
//	it has failed or phase == succeeded => not listed
type QUIC struct {
	seat
	codec *quic.Conn
	flush func()
	tls   *tls.QUICConn
	level quic.Level // of the bytes that are awaited
	in    []byte     // that have come and were not computed
	due   bool

	busy   bool    // the goroutine has not ended; guarded by mu, as flight
	flight *flight // it has, and task is to take this
}

// ServerQUIC makes handshakes of connections of QUIC, of which q is the codec: what it returns is the handler of the
// engine.Conn that they have. accept is called once the handshake is done, as by Server. flush is called, outside of
// OnCrypto, when the codec has something to send or to tell. Of o it uses Config, whose NextProtos are a must, Choose,
// Asked and Failed.
func (h *Handshaker) ServerQUIC(
	o ServerOptions,
) func(q *quic.Conn, accept func(c *engine.Conn) engine.Handler, flush func()) *QUIC {
	config := o.configOfQUIC()
	return func(q *quic.Conn, accept func(c *engine.Conn) engine.Handler, flush func()) *QUIC {
		s := &QUIC{codec: q, flush: flush}
		s.owner, s.config, s.server, s.accept, s.end = h, config, &o, accept, s.fail
		s.more.L = &s.mu
		s.task.Run = s.run
		return s
	}
}

// OnOpen starts the deadline.
func (s *QUIC) OnOpen(c *engine.Conn) {
	if invariant.On {
		defer s.check()
	}
	s.conn, s.network = c, networkOf(c.Peer().IP.Addr())
	s.due = true
	s.hold(len(s.in))
	if s.open() {
		s.look()
	}
}

// OnCrypto takes bytes of the handshake, which may come before OnOpen, and judges them when a message is whole. p is
// borrowed until return. It is called between two events of the codec, and not after accept.
func (s *QUIC) OnCrypto(l quic.Level, p []byte) {
	if invariant.On {
		defer s.check()
	}
	switch {
	case s.failure != nil:
	case l != s.level:
		s.fail(tls.AlertError(alertUnexpectedMessage))
	case s.phase == unconnected:
		s.in = append(s.in, p...)
	default:
		s.in = append(s.in, p...)
		s.hold(len(p))
		s.look()
	}
}

// look asks for a turn when a message has become whole.
func (s *QUIC) look() {
	most := heldMax
	if s.level == quic.Initial {
		most = helloMax
	}
	whole, size := messages(s.in)
	switch {
	case max(size, len(s.in)) > most:
		s.fail(ErrHelloSize)
	case whole == 0 || !s.due:
	case s.phase == connected:
		if s.due = false; s.ask() {
			s.begin()
		}
	default:
		s.due = false
		s.crowd.Remove()
		if s.owner.turns.ask(&s.seat, true, s.conn.Reactor().Now()) {
			s.work(false)
		}
	}
}

// messages returns how many bytes whole messages of the handshake have at the front of b, and the size of the first.
func messages(b []byte) (whole, first int) {
	for len(b)-whole >= messageHeaderSize {
		h := b[whole:]
		size := messageHeaderSize + int(h[1])<<16 + int(h[2])<<8 + int(h[3])
		if whole == 0 {
			first = size
		}
		if size > len(h) {
			break
		}
		whole += size
	}
	return whole, first
}

// begin begins to compute: the first turn has come.
func (s *QUIC) begin() {
	s.seat.begin(flightSize)
	s.tls = tls.QUICServer(&tls.QUICConfig{TLSConfig: s.config})
	s.tls.SetTransportParameters(s.codec.AppendParameters(nil))
	s.work(true)
}

// work starts a goroutine that computes what has come: there is a turn.
func (s *QUIC) work(first bool) {
	whole, _ := messages(s.in)
	in := s.in[:whole:whole]
	s.in = s.in[whole:]
	s.mu.Lock()
	s.busy, s.worker = true, hasTurn
	s.mu.Unlock()
	s.owner.counts.computing.Add(1)
	go s.compute(first, s.level, in)
}

// compute is the goroutine of one flight.
func (s *QUIC) compute(first bool, l quic.Level, in []byte) {
	var f flight
	if first {
		f.err = s.tls.Start(context.WithValue(context.Background(), seatKey{}, &s.seat))
	}
	if f.err == nil {
		f.err = s.tls.HandleData(levels[l], in)
	}
	if f.err == nil {
		f.take(s.tls)
	}
	for _, known := range []error{ErrDenied, ErrPanic} {
		if errors.Is(f.err, known) { // crypto/tls puts an alert around it
			f.err = known
		}
	}
	if f.done || f.err != nil {
		f.name = s.conclude(f.err, s.tls.ConnectionState)
	}
	s.mu.Lock()
	s.busy, s.flight = false, &f
	s.post()
	holds, closed := s.worker == hasTurn, s.closed
	s.worker = hasNoTurn
	s.mu.Unlock()
	if closed {
		s.tls.Close() //nolint:errcheck // it tells why the handshake has ended
	}
	s.owner.pass(holds)
}

// flight is what crypto/tls has to say to a flight of the client.
type flight struct {
	events []tls.QUICEvent
	done   bool // the handshake is
	err    error
	name   string // that the client asked for, where it ends
}

// take takes the events, and a ticket at the end.
func (f *flight) take(c *tls.QUICConn) {
	f.events = make([]tls.QUICEvent, 0, 8)
	for e := c.NextEvent(); e.Kind != tls.QUICNoEvent; e = c.NextEvent() {
		e.Data = bytes.Clone(e.Data) // it is good until the next call
		f.events = append(f.events, e)
		if e.Kind == tls.QUICHandshakeDone {
			f.done = true
			f.err = guarded(func() error { return c.SendSessionTicket(tls.QUICSessionTicketOptions{}) })
		}
	}
}

// levels are the levels of the codec as crypto/tls has them: it has one of early data, too.
var levels = [...]tls.QUICEncryptionLevel{
	tls.QUICEncryptionLevelInitial, tls.QUICEncryptionLevelHandshake, tls.QUICEncryptionLevelApplication,
}

// run is what the reactor does when a turn has come, or a flight was computed. A panic of accept costs this connection
// only.
func (s *QUIC) run(r *engine.Reactor) {
	if invariant.On {
		defer s.check()
	}
	defer func() {
		if v := recover(); v != nil {
			r.Panicked(v)
			s.conn.Close(engine.ErrPanic)
		}
	}()
	s.mu.Lock()
	f, granted := s.flight, s.granted
	s.flight, s.granted, s.posted = nil, false, false
	s.mu.Unlock()
	over := s.failure != nil || !s.conn.Open()
	switch {
	case granted && over:
		s.owner.giveTurn()
	case granted && s.phase == awaitingTurn:
		s.begin()
	case granted:
		s.work(false)
	case over:
		s.release()
	default:
		s.answer(f)
	}
}

// answer gives the codec what was computed.
func (s *QUIC) answer(f *flight) {
	if f.err == nil {
		f.err = s.give(f.events)
	}
	switch {
	case f.err != nil:
		s.failFor(f.err, f.name)
	case f.done:
		s.finish()
	default:
		w := s.owner.crowdOf(&s.seat)
		w.stand(&w.awaited, &s.seat, s.conn.Reactor().Now())
		s.due = true
		if s.look(); s.failure == nil {
			s.flush()
		}
	}
}

// give gives the codec secrets, parameters and bytes for the client.
func (s *QUIC) give(events []tls.QUICEvent) (err error) {
	for i := range events {
		e := &events[i]
		l := quic.Level(slices.Index(levels[:], e.Level))
		switch e.Kind {
		case tls.QUICSetReadSecret:
			if s.level = l; len(s.in) > 0 { // RFC 9001 §4.1.3: no bytes of a level follow when it is over
				return tls.AlertError(alertUnexpectedMessage)
			}
			err = s.codec.SetSecret(l, false, e.Suite, e.Data)
		case tls.QUICSetWriteSecret:
			err = s.codec.SetSecret(l, true, e.Suite, e.Data)
		case tls.QUICWriteData:
			s.codec.SendCrypto(l, e.Data)
		case tls.QUICTransportParameters:
			err = s.codec.SetParameters(e.Data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// finish hands the connection on.
func (s *QUIC) finish() {
	c := s.conn
	s.release()
	s.succeed(c.Reactor().Now())
	s.tls, s.in = nil, nil
	s.codec.HandshakeDone()
	c.Wire().Secure(s.layer, s, nil)
	s.handOn(c)
	s.flush()
}

// fail ends the connection of a client whose name is not known.
func (s *QUIC) fail(reason error) { s.failFor(reason, "") }

// failFor ends the connection, and lets the codec say why.
func (s *QUIC) failFor(reason error, name string) {
	if !s.seat.fail(reason, name) {
		return
	}
	switch reason {
	case ErrTimeout, ErrCrowded, ErrFull, ErrLate:
		s.codec.FailHandshake(quic.ConnectionRefused)
	case ErrHelloSize:
		s.codec.FailHandshake(quic.CryptoBufferExceeded)
	case ErrDenied:
		s.codec.FailHandshake(quic.CryptoError(alertOfDenied(name)))
	default:
		alert := tls.AlertError(alertInternalError)
		errors.As(reason, &alert)
		s.codec.FailHandshake(quic.CryptoError(uint8(alert)))
	}
	s.abandon()
	s.conn.Close(s.failure)
}

// abandon ends the waiting for a turn, and what crypto/tls keeps: at once, or when the goroutine ends.
func (s *QUIC) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed, s.due = true, false
	waited := s.owner.turns.cancel(&s.seat)
	switch {
	case s.worker == awaitsOther:
		s.giveUp()
	case s.worker == awaitsTurn && waited:
		s.resume(false)
	case s.busy:
	default:
		s.release()
		if c := s.tls; c != nil {
			s.tls = nil
			go c.Close() //nolint:errcheck // it waits for the goroutine of crypto/tls
		}
	}
}

// OnClose ends the handshake, for the reason for which the codec is closed, if it is. It may come without OnOpen.
func (s *QUIC) OnClose(c *engine.Conn, _ error) {
	if invariant.On {
		defer s.check()
	}
	if s.conn == nil { // otherwise OnOpen has set it, and a goroutine may read it
		s.conn = c
	}
	if reason := s.ended(); reason != nil && s.listed {
		s.seat.fail(reason, "")
	}
	if s.listed {
		s.owner.leave(&s.seat)
		s.owner.counts.left.Add(1)
	}
	s.abandon()
}

// OnDrainBegin ends a handshake whose client has no flight of ours yet, and others after drainTime: they hold the UDP
// port, for which the next process waits. Where that reads the port already, they have the time that is theirs. It may
// come before OnOpen. engine.DrainBeginner.
func (s *QUIC) OnDrainBegin(c *engine.Conn) {
	if c.Suspended() {
		return
	}
	if s.phase < begun {
		c.Close(nil)
		return
	}
	c.SetTimeout(min(drainTime, time.Duration(s.remaining(c.Reactor().Now()))))
}

// ended returns why the codec is closed; nil: it is not, or for no reason.
func (s *QUIC) ended() error {
	k := s.codec.Closed()
	switch fault := (*quic.Error)(nil); {
	case k.ByPeer && !k.App && quic.Code(k.Code)&^0xff == quic.CryptoError(0):
		return &net.OpError{Op: "remote error", Err: tls.AlertError(k.Code)}
	case k.ByPeer:
		return ErrLeft
	case errors.As(k.Err, &fault):
		return k.Err
	case k.Err != nil: // its time is over
		return ErrTimeout
	}
	return nil
}
