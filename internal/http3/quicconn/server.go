package quicconn

import (
	"crypto/rand"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/quic"
)

// Options of a Server. The zero value is good. Immutable after NewServer.
type Options struct {
	Secret Secret // zero: NewServer makes a random Secret
	// Generation is the number of the process among those that have taken over from each other.
	Generation int
	// CloseCode is the code of the application by which connections end that are not at fault.
	CloseCode uint64
}

// Bounds that are not options.
const (
	// MailMax is how many bytes of datagrams may be on their way to a reactor from others.
	MailMax = 1 << 20

	handshakeMost = time.Minute // the Handshaker gives up before
	answersEach   = 100         // answers to datagrams without a connection, of each reactor a second
	retriesEach   = 10_000      // Retry packets of each reactor a second, counted apart
)

// Accept is how connections begin.
type Accept struct {
	Begin func(c *engine.Conn) engine.Handler // see Secure
	QUIC  quic.Options                        // but for Arena, NewID, Random and HandshakeTimeout
	// Scarce is how many streams a connection may have that comes while memory is short.
	Scarce int
	Retry  Retry
	// Crowded reports whether so many handshakes are in progress on a reactor that RetryAuto validates addresses; nil:
	// never. It runs on that reactor.
	Crowded func(r *engine.Reactor) bool
}

// Server is QUIC at one address, with one port for each reactor.
// Safe for any goroutine.
type Server struct {
	keys       keys
	generation int
	accept     atomic.Pointer[Accept] // for new connections; nil: there are none
	doors      []door                 // by Reactor.Index
	links      int                    // to the process before; set before there are datagrams
	linked     atomic.Int32           // of them are open
}

// door finds the connections of the datagrams that come to one reactor.
// Owned by its reactor, but for mailed.
type door struct {
	local
	server  *Server
	current *Conn  // whose batch has begun
	link    *link  // to the process before; nil: none of this reactor is open
	initial []byte // a copy of the datagram that begins a connection, for its memory

	answers answers // Version Negotiation, resets and refusals
	retries answers
	tokens  tokens
	mailed  atomic.Int64 // bytes of datagrams on their way here
	_       [64]byte     // reactors count at the same time
}

// answers counts answers to datagrams without a connection, whose senders may be forged.
type answers struct {
	n     int   // in the second that began at since
	since int64 // as Reactor.Now
}

// allow reports whether one more may leave, and counts it.
func (a *answers) allow(most int, now int64) bool {
	if now-a.since >= int64(time.Second) {
		*a = answers{since: now}
	}
	if a.n == most {
		return false
	}
	a.n++
	return true
}

// NewServer makes a Server for the reactors of e.
func NewServer(e *engine.Engine, o Options) *Server {
	if o.Secret == (Secret{}) {
		rand.Read(o.Secret[:]) //nolint:errcheck // never fails
	}
	s := &Server{
		keys: newKeys(&o.Secret), generation: o.Generation % generations, doors: make([]door, len(e.Reactors())),
	}
	for i, r := range e.Reactors() {
		l := &s.doors[i]
		var seed [32]byte
		rand.Read(seed[:]) //nolint:errcheck // never fails
		l.server, l.reactor, l.code = s, r, o.CloseCode
		l.maker, l.tokens.aead = newIDMaker(&s.keys, s.generation, i%reactorsMax, seed), s.keys.retry
		l.random = l.maker.random.Uint64
		l.byID, l.byFirst = make(map[uint64]*Conn), make(map[quic.ID]*Conn)
	}
	return s
}

// Use sets how connections begin from now on.
func (s *Server) Use(a Accept) { s.accept.Store(&a) }

// Port makes the handler of a port, for engine.ListenDatagrams. Of several of one reactor the first sends.
func (s *Server) Port(p *engine.Port) engine.PortHandler {
	l := &s.doors[p.Reactor().Index()]
	if l.port == nil || l.port.Listener() != p.Listener() {
		l.stats = l.counted() // the port before does not count any more
		l.port = p
		l.maker.resetFor(p.Listener().Addr().String())
	}
	return l
}

// Stats returns the counters on r. On r only.
func (s *Server) Stats(r *engine.Reactor) Stats { return s.doors[r.Index()].counted() }

// counted returns the counters of the door and of its port.
func (l *door) counted() Stats {
	all := l.stats
	if l.port != nil {
		all.Unsent += l.port.Lost()
	}
	return all
}

// Codec returns the counters of the codec on r. On r only.
func (s *Server) Codec(r *engine.Reactor) quic.Stats { return s.doors[r.Index()].arena.Stats }

// OnDatagrams finds the connection of each datagram: engine.PortHandler.
func (l *door) OnDatagrams(_ *engine.Port, b *poller.Batch) {
	defer l.endCurrent() // a panic must not leave a connection without its end
	for i := range b.Len() {
		m := b.At(i)
		path := quic.Path{Local: m.Local, Peer: m.Peer}
		for left := m.Data; ; {
			d := left
			if m.Segment > 0 && len(d) > m.Segment {
				d = d[:m.Segment:m.Segment]
			}
			if l.stats.Received++; l.reactor.Index() < reactorsMax {
				l.take(d, path, asCame)
			} else { // an id has no number for it
				l.server.doors[l.reactor.Index()%reactorsMax].mail(l, d, path, asCame)
			}
			if left = left[len(d):]; len(left) == 0 {
				break
			}
		}
	}
}

// way is how a datagram has come to a reactor.
type way uint8

const (
	asCame   way = iota // to a port, of this reactor or of another that ids cannot name
	byMail              // from another reactor, which looked at its id
	byLink              // from the process that has taken over from this one
	outwards            // from another reactor, for the process before
)

// take gives a datagram to its connection.
func (l *door) take(d []byte, p quic.Path, came way) {
	h, ok := quic.Parse(d)
	if !ok {
		l.stats.Unknown++
		return
	}
	c := l.find(&h)
	switch {
	case c != nil:
		if l.current != c {
			l.endCurrent()
			l.current = c
		}
		c.codec.Receive(d, p, l.now())
		c.events()
	case h.Kind == quic.InitialPacket && came == asCame: // others begin no connection
		l.begin(d, &h, p)
	case h.Kind == quic.UnknownPacket && h.Version != 0:
		l.negotiate(d, &h, p)
	case len(h.Dest) != quic.IDLen:
		l.stats.Unknown++
	default:
		l.elsewhere(d, &h, p, came)
	}
}

// find returns the connection of a packet.
func (l *door) find(h *quic.Header) *Conn {
	if len(h.Dest) == quic.IDLen {
		if c := l.byID[keyOf(h.Dest)]; c != nil {
			return c
		}
	}
	if h.Kind == quic.OneRTTPacket || len(l.byFirst) == 0 {
		return nil
	}
	id, _ := quic.MakeID(h.Dest)
	return l.byFirst[id]
}

// begin begins a connection with its first packet, or asks the client to prove its address first.
func (l *door) begin(d []byte, h *quic.Header, p quic.Path) {
	a := l.server.accept.Load()
	if len(d) < quic.DatagramSize || len(h.Dest) < firstLeast || a == nil || l.port == nil {
		l.stats.Unknown++
		return
	}
	full := l.port.Listener().Full()
	token, first := l.tokens.open(h, p.Peer, l.now())
	absent := token == tokenAbsent
	asks := absent && a.asks(l.reactor, full)
	if token == tokenGood || absent && !asks && !full {
		l.accept(a, d, h, &first, p)
		return
	}
	l.pass(d, h, p) // it may belong to a handshake of the process before, whose client ignores the answer
	switch {
	case asks:
		l.retry(h, p)
	case absent: // an idle connection must not end for an address that may be forged
		l.stats.Refused++
		l.refuse(h, p, quic.ConnectionRefused)
	default:
		l.stats.BadTokens++
		l.refuse(h, p, quic.InvalidToken)
	}
}

// asks reports whether clients have to prove their addresses now.
func (a *Accept) asks(r *engine.Reactor, full bool) bool {
	switch a.Retry {
	case RetryAlways:
		return true
	case RetryNever:
		return false
	}
	return full || a.Crowded != nil && a.Crowded(r)
}

// retry asks a client to come again with a token (RFC 9000 §8.1.2). Nothing is kept.
func (l *door) retry(h *quic.Header, p quic.Path) {
	var room []byte
	if l.retries.allow(retriesEach, l.now()) {
		room = l.port.Reserve(quic.DatagramSize)
	}
	if room == nil {
		l.stats.Unknown++
		return
	}
	b := l.maker.next()
	id, _ := quic.MakeID(b[:])
	token := l.tokens.seal(&l.maker, p.Peer, h.Dest, &id, l.now())
	l.stats.Retries++
	l.send(quic.AppendRetry(room, h, &id, token), p)
}

// accept makes a connection. first is the id of the client's first Initial where p has proved its address, else none.
func (l *door) accept(a *Accept, d []byte, h *quic.Header, first *quic.ID, p quic.Path) {
	c := &Conn{local: &l.local, options: a.QUIC}
	c.timer.Run, c.rest.Run = c.onTime, c.runRest
	c.options.Arena, c.options.NewID, c.options.Random = &l.arena, c.newID, l.random
	c.options.HandshakeTimeout = handshakeMost
	if l.reactor.Pressure() >= engine.PressureCache {
		c.options.Streams = a.Scarce
	}
	c.options.Retried = *first
	if c.codec.InitServer(&c.options, h, p, l.now()) != nil {
		c.forget()
		return
	}
	l.initial = append(l.initial[:0], d...)                       // it is opened in its place
	if c.codec.Receive(l.initial, p, l.now()); !c.codec.Opens() { // noise would have a handshake's time
		c.forget()
		if len(h.Dest) == quic.IDLen { // it may belong to a handshake of another reactor or process
			l.elsewhere(d, h, p, asCame)
		} else {
			l.stats.Unknown++
		}
		return
	}
	if !l.port.Accept(p.Peer, p.Local, &c.carried, c, a.Begin) {
		c.forget()
		l.stats.Refused++
		l.refuse(h, p, quic.ConnectionRefused)
		return
	}
	c.first, _ = quic.MakeID(h.Dest)
	l.byFirst[c.first] = c
	l.endCurrent()
	l.current = c
	c.events()
}

// elsewhere sends a datagram to the process or the reactor that its id names, or says that there is no such connection.
func (l *door) elsewhere(d []byte, h *quic.Header, p quic.Path, came way) {
	generation, to := l.server.keys.placeOf(h.Dest)
	switch doors := l.server.doors; {
	case generation != l.server.generation:
		if l.pass(d, h, p) {
			return
		}
	case to < len(doors) && &doors[to] != l && came != byMail:
		doors[to].mail(l, d, p, byMail)
		return
	}
	room := l.roomToAnswer(h.Kind == quic.OneRTTPacket)
	if room == nil {
		l.stats.Unknown++
		return
	}
	token := l.maker.token(h.Dest)
	l.stats.Resets++
	var noise [24]byte
	l.maker.fill(noise[:])
	l.send(quic.AppendReset(room, len(d), &token, &noise), p)
}

// negotiate tells a client which version there is (RFC 9000 §6).
func (l *door) negotiate(d []byte, h *quic.Header, p quic.Path) {
	room := l.roomToAnswer(len(d) >= quic.DatagramSize)
	if room == nil {
		l.stats.Unknown++
		return
	}
	l.stats.Versions++
	l.send(quic.AppendVersions(room, h), p)
}

// refuse tells a client that it gets no connection, so that it tries TCP at once.
func (l *door) refuse(h *quic.Header, p quic.Path, code quic.Code) {
	if room := l.roomToAnswer(true); room != nil {
		l.send(quic.AppendRefusal(room, h, code), p)
	}
}

// roomToAnswer returns room for the answer to a datagram without a connection, if it may have one: senders may be
// forged, and the kernel may take nothing now.
func (l *door) roomToAnswer(may bool) []byte {
	if !may || l.port == nil || !l.answers.allow(answersEach, l.now()) {
		return nil
	}
	return l.port.Reserve(quic.DatagramSize)
}

// send sends an answer, if there is one.
func (l *door) send(d []byte, p quic.Path) {
	if len(d) > 0 {
		l.port.Commit(d, p.Peer, p.Local)
		l.stats.Sent++
	}
}

// endCurrent ends the batch of the connection that had the last datagram.
func (l *door) endCurrent() {
	if c := l.current; c != nil {
		l.current = nil
		c.endBatch()
	}
}

// mail is a datagram on its way to another reactor.
type mail struct {
	engine.Task
	to   *door
	path quic.Path
	data []byte
	came way
}

// mailKept is the longest datagram that most clients send, and a bit more.
const mailKept = 2 << 10

// mails are unused. All reactors share them: the reactor that fills a mail is not the reactor that empties it.
var mails sync.Pool

// mail sends a copy of d to l, from the reactor of from.
func (l *door) mail(from *door, d []byte, p quic.Path, came way) {
	if n := int64(len(d)); l.mailed.Add(n) > MailMax {
		l.mailed.Add(-n)
		from.stats.MailLost++
		return
	}
	from.stats.Mailed++
	m, _ := mails.Get().(*mail)
	if m == nil {
		m = &mail{}
		m.Run = m.arrive
	}
	m.to, m.path, m.data, m.came = l, p, append(m.data[:0], d...), came
	l.reactor.Post(&m.Task)
}

// arrive gives the datagram to its connection.
func (m *mail) arrive(*engine.Reactor) {
	l := m.to
	l.mailed.Add(-int64(len(m.data)))
	if m.came == outwards {
		l.passHere(m.data, m.path)
	} else {
		l.take(m.data, m.path, m.came)
		l.endCurrent()
	}
	if m.to = nil; cap(m.data) <= mailKept {
		mails.Put(m)
	}
}
