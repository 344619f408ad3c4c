package quicconn

import (
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/quic"
)

// Session is the handler of a connection once its handshake is done. Its methods run on the reactor of the connection,
// never nested.
type Session interface {
	engine.Handler
	// OnEvent takes each event of the codec, but for events of the handshake, of ids and of paths. None is the end of a
	// datagram. Closed is told too; only OnClose comes afterwards. The Body is borrowed until return.
	OnEvent(ev *quic.Event)
	// EndBatch comes after the events of some datagrams, or of a time that has come.
	EndBatch()
}

// Conn is one connection of QUIC: the engine.Carrier of its engine.Conn, which it outlives to answer late datagrams.
// Owned by its reactor.
//
//	local.byID has c by each of ids; first is not empty => local.byFirst has c by it
//	session != nil => shake == nil: the handshake is done
//	dropped: the engine.Conn is over => shake == nil and session == nil
type Conn struct {
	local   *local
	carried engine.Carried
	codec   quic.Conn
	options quic.Options
	shake   *tlsconn.QUIC
	session Session

	ids     []uint64
	first   quic.ID // that the client chose for its first packets, until the handshake is confirmed
	timer   engine.Timer
	armed   int64 // when timer fires; 0: it is not armed
	rest    engine.Task
	resting bool // rest was deferred
	dropped bool
}

const (
	// ClosingMax is how many connections of a reactor may wait for their ends at one time. Above it a connection is
	// forgotten at once, and a client that has not heard of the end gets a stateless reset.
	ClosingMax = 4096

	alertUnexpectedMessage = 10 // RFC 8446 §6

	flushMax = 64 // datagrams of a connection in one tick: others share the port
)

// local is the state that the connections of one reactor share.
// Owned by its reactor.
type local struct {
	reactor *engine.Reactor
	port    *engine.Port // nil: the reactor has none yet
	maker   idMaker
	random  func() uint64 // of maker, for the codecs
	code    uint64        // of the application, for connections that end without a fault

	byID    map[uint64]*Conn
	byFirst map[quic.ID]*Conn // by ids that clients chose, until handshakes are confirmed
	closing int               // connections that are over for the engine and not for the codec
	arena   quic.Arena
	charged int // bytes of the arena that are accounted, of all connections: more than an engine.Charge may be
	stats   Stats
	event   quic.Event // that is worked on: sessions are told of it by its address
}

func (l *local) now() int64 { return l.reactor.Now() }

// charge accounts for the memory that the connections hold for their clients.
func (l *local) charge() {
	n := l.arena.Lent()
	l.reactor.Account(n - l.charged)
	l.charged = n
}

// Of returns the Conn that carries c; nil where c is no connection of QUIC.
func Of(c *engine.Conn) *Conn {
	q, _ := engine.CarrierOf(c).(*Conn)
	return q
}

// QUIC is the codec.
func (c *Conn) QUIC() *quic.Conn { return &c.codec }

// Conn is the connection of the engine.
func (c *Conn) Conn() *engine.Conn { return c.carried.Conn() }

// Wake sends the datagrams of the codec in this tick.
func (c *Conn) Wake() { c.carried.AskFlush() }

// Again asks the codec for events in this tick, or in the next one: a stream that was reset may have made room for
// others.
func (c *Conn) Again() {
	if !c.resting {
		c.resting = true
		c.local.reactor.Defer(&c.rest)
	}
}

// Secure makes handlers of connections that begin: h has their handshakes, with o, and accept makes the handler that
// follows, a Session.
func Secure(
	h *tlsconn.Handshaker, o tlsconn.ServerOptions, accept func(*engine.Conn) engine.Handler,
) func(*engine.Conn) engine.Handler {
	shake := h.ServerQUIC(o)
	return func(ec *engine.Conn) engine.Handler {
		c := Of(ec)
		c.shake = shake(&c.codec, func(ec *engine.Conn) engine.Handler {
			next := accept(ec)
			c.session, _ = next.(Session)
			c.shake = nil // an idle connection keeps nothing of its handshake
			return next
		}, c.turn)
		return c.shake
	}
}

// IfRetried begins a connection by yes where its client has proved its address by the token of a Retry, else by no.
func IfRetried(yes, no func(*engine.Conn) engine.Handler) func(*engine.Conn) engine.Handler {
	return func(ec *engine.Conn) engine.Handler {
		if Of(ec).options.Retried != (quic.ID{}) {
			return yes(ec)
		}
		return no(ec)
	}
}

// newID makes an id by which the client reaches c.
func (c *Conn) newID() (id quic.ID, token [16]byte) {
	l := c.local
	b := l.maker.next()
	for l.byID[keyOf(b[:])] != nil { // 56 bits are random: once in a lifetime
		b = l.maker.next()
	}
	c.ids = append(c.ids, keyOf(b[:]))
	l.byID[keyOf(b[:])] = c
	id, _ = quic.MakeID(b[:])
	return id, l.maker.token(b[:])
}

// retireID forgets an id that the client uses no more.
func (c *Conn) retireID(id *quic.ID) {
	k := keyOf(id.Bytes())
	for i, one := range c.ids {
		if one == k {
			last := len(c.ids) - 1
			c.ids[i] = c.ids[last]
			c.ids = c.ids[:last]
		}
	}
	delete(c.local.byID, k)
}

// events takes the events of the codec. A panic costs this connection only.
func (c *Conn) events() {
	defer func() {
		if v := recover(); v != nil {
			c.local.reactor.Panicked(v)
			if !c.dropped {
				c.Conn().Close(engine.ErrPanic)
			}
		}
	}()
	ev := &c.local.event
	for {
		*ev = c.codec.Next()
		switch ev.Kind {
		case quic.Crypto:
			if c.shake != nil {
				c.shake.OnCrypto(ev.Level, ev.Body)
			} else { // RFC 9001 §4.4, §6: a client has nothing to say any more
				c.codec.FailHandshake(quic.CryptoError(alertUnexpectedMessage))
			}
			continue
		case quic.Established:
			c.forgetFirst()
			continue
		case quic.IDRetired:
			c.retireID(&ev.ID)
			continue
		case quic.Moved:
			if p := c.codec.Path(); !c.dropped {
				c.carried.Moved(p.Peer, p.Local)
			}
			continue
		}
		over := c.dropped || !c.Conn().Open()
		if c.session != nil && !over {
			c.session.OnEvent(ev)
		}
		switch ev.Kind {
		case quic.Closed:
			if !over {
				c.Conn().Close(c.cause())
			}
		case quic.None:
			return
		}
	}
}

// cause is why the codec is closed, as the engine tells it.
func (c *Conn) cause() error {
	if err := c.codec.Closed().Err; err != nil {
		return err
	}
	return engine.ErrClosed
}

// endBatch ends a batch of datagrams.
func (c *Conn) endBatch() {
	if c.session != nil && !c.dropped && c.Conn().Open() {
		c.session.EndBatch()
	}
	if c.dropped {
		c.send()
		return
	}
	c.Wake()
}

// turn goes on after something from outside has changed the codec: a flight of the handshake was computed.
func (c *Conn) turn() {
	c.events()
	c.endBatch()
}

// OnFlush sends the datagrams of the codec: engine.Carrier.
func (c *Conn) OnFlush() { c.send() }

// send sends datagrams until no more may leave, and tells the engine how many bytes are kept.
func (c *Conn) send() {
	now := c.local.now()
	port := c.local.port
	for n := 0; c.codec.Pending(); n++ {
		if n == flushMax {
			c.Again()
			break
		}
		room := port.Reserve(quic.DatagramMax)
		if room == nil {
			if !c.dropped {
				c.carried.AwaitRoom()
			}
			break
		}
		d, p := c.codec.AppendDatagram(room, now)
		if len(d) == len(room) {
			break
		}
		port.Commit(d, p.Peer, p.Local)
		c.local.stats.Sent++
	}
	if !c.dropped {
		c.carried.SetHeld(c.codec.Held())
	}
	c.local.charge()
	c.arm()
	c.check()
}

func (c *Conn) runRest(*engine.Reactor) {
	c.resting = false
	c.turn()
}

// arm sets the timer for the next time at which the codec has to act. It is not moved to a later one.
func (c *Conn) arm() {
	at := c.codec.Deadline()
	if at != 0 && (c.armed == 0 || at < c.armed) {
		c.armed = at
		c.local.reactor.Arm(&c.timer, at)
	}
}

// onTime acts on the times that have come.
func (c *Conn) onTime(r *engine.Reactor) {
	c.armed = 0
	if at := c.codec.Deadline(); at == 0 || at > r.Now() {
		c.arm()
		return
	}
	c.codec.Expire(r.Now())
	c.events()
	if c.codec.Over() && c.dropped {
		c.forget()
		return
	}
	c.endBatch()
}

// OnDrop says goodbye and lets c wait until the client has heard it: engine.Carrier.
func (c *Conn) OnDrop() {
	l := c.local
	c.dropped = true
	c.shake, c.session = nil, nil
	c.codec.Close(l.code)
	c.events()
	c.send()
	if l.closing++; l.closing > ClosingMax || c.codec.Over() {
		c.forget()
	}
}

// forgetFirst forgets the id that the client chose.
func (c *Conn) forgetFirst() {
	if c.first != (quic.ID{}) {
		delete(c.local.byFirst, c.first)
		c.first = quic.ID{}
	}
}

// forget ends c.
func (c *Conn) forget() {
	c.forgetFirst()
	for _, k := range c.ids {
		delete(c.local.byID, k)
	}
	c.ids = nil
	c.local.reactor.Disarm(&c.timer)
	if c.dropped {
		c.local.closing--
	}
}
