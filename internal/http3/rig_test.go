package http3

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h3"
	"github.com/edge-proxy/edge/internal/test/quicpeer"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/quic"
	"github.com/edge-proxy/edge/session"
)

var serverAddr = poller.Addr{IP: netip.MustParseAddrPort("192.0.2.1:443")}

// rig is a Server on one reactor in a World, and its clients. In place of TLS both ends have secrets that are known: a
// handshake costs nothing.
type rig struct {
	t        testing.TB
	w        *sim.World
	e        *engine.Engine
	r        *engine.Reactor
	sessions *session.Server
	server   *Server
	arena    quic.Arena
	quic     quic.Options // of the server
	far      quic.Options // of the next client
	farCodec h3.Options   // likewise
	ends     map[netip.AddrPort]*end
	clients  map[netip.AddrPort]*client
	ids      uint64
}

func newRig(t testing.TB, w *sim.World, s session.Service, o session.ServerOptions, o3 ServerOptions) *rig {
	t.Helper()
	g := &rig{t: t, w: w, ends: map[netip.AddrPort]*end{}, clients: map[netip.AddrPort]*client{}}
	kernel := func(int) (poller.Kernel, error) { return w.Kernel(0), nil }
	e, err := engine.New(engine.Options{Reactors: 1, Kernel: kernel})
	testutil.Must(t, err)
	g.e, g.r = e, e.Reactors()[0]
	w.Add(g.r)
	t.Cleanup(e.Stop)
	g.sessions = session.NewServer(e, s, o)
	g.server = NewServer(e, g.sessions, o3)
	g.quic = g.options(g.server.QUIC(), &g.arena)
	_, err = e.ListenDatagrams(engine.ListenOptions{Addr: serverAddr},
		func(*engine.Port) engine.PortHandler { return g })
	testutil.Must(t, err)
	return g
}

// options completes o.
func (g *rig) options(o quic.Options, a *quic.Arena) quic.Options {
	o.Arena = a
	quicpeer.SetKnownRandom(&o, g.ids, &g.ids)
	return o
}

// OnDatagrams gives datagrams to their connections.
func (g *rig) OnDatagrams(p *engine.Port, b *poller.Batch) {
	var touched []*end
	for i := range b.Len() {
		d := b.At(i)
		for s := range d.Segments() {
			x := g.ends[d.Peer]
			if x == nil {
				if x = g.accept(p, d, s); x == nil {
					continue
				}
			}
			x.q.Receive(s, quic.Path{Local: d.Local, Peer: d.Peer}, g.r.Now())
			x.events()
			if !slices.Contains(touched, x) {
				touched = append(touched, x)
			}
		}
	}
	for _, x := range touched {
		x.endBatch()
	}
}

func (g *rig) accept(p *engine.Port, d *poller.Datagram, s []byte) *end {
	h, ok := quic.Parse(s)
	if !ok || h.Kind != quic.InitialPacket {
		return nil
	}
	x := &end{g: g, port: p, peer: d.Peer}
	x.timer.Run = x.onTime
	testutil.Must(g.t, x.q.InitServer(&g.quic, &h, quic.Path{Local: d.Local, Peer: d.Peer}, g.r.Now()))
	shaking := func(*engine.Conn) engine.Handler { return engine.NopHandler{} }
	if !p.Accept(d.Peer, d.Local, &x.carried, x, shaking) {
		return nil
	}
	g.ends[d.Peer] = x
	return x
}

// end is the carrier of one connection, as quicconn.Conn is.
type end struct {
	g       *rig
	port    *engine.Port
	carried engine.Carried
	q       quic.Conn
	c       *conn
	timer   engine.Timer
	again   engine.Task
	peer    netip.AddrPort
	dropped bool
	closed  quic.Closure
}

func (x *end) QUIC() *quic.Conn   { return &x.q }
func (x *end) Conn() *engine.Conn { return x.carried.Conn() }
func (x *end) Wake()              { x.carried.AskFlush() }

func (x *end) Again() {
	if x.again.Run == nil {
		x.again.Run = func(*engine.Reactor) {
			x.again.Run = nil
			x.events()
			x.endBatch()
		}
		x.g.r.Defer(&x.again)
	}
}

func (x *end) events() {
	for {
		ev := x.q.Next()
		switch {
		case ev.Kind == quic.Crypto && ev.Level == quic.Initial:
			quicpeer.SetKnownSecrets(x.g.t, &x.q, &x.g.clients[x.peer].q, quic.Server)
			x.q.SendCrypto(quic.Initial, []byte("hello"))
			x.q.SendCrypto(quic.Handshake, []byte("finished"))
			continue
		case ev.Kind == quic.Crypto:
			x.q.HandshakeDone()
			x.c = x.g.server.newConn(x)
			x.Conn().SetHandler(x.c)
			x.c.OnOpen(x.Conn())
			continue
		case ev.Kind == quic.Closed:
			x.closed = x.q.Closed()
		}
		open := !x.dropped && x.Conn().Open()
		kind := ev.Kind
		if open && x.c != nil && kind != quic.Established && kind != quic.IDRetired {
			x.c.OnEvent(&ev)
		}
		if kind == quic.Closed && open {
			x.Conn().Close(engine.ErrClosed)
		}
		if kind == quic.None {
			return
		}
	}
}

func (x *end) endBatch() {
	if x.c != nil && !x.dropped && x.Conn().Open() {
		x.c.EndBatch()
	}
	if x.dropped {
		x.OnFlush()
		return
	}
	x.Wake()
}

func (x *end) OnFlush() {
	for x.q.Pending() {
		room := x.port.Reserve(quic.DatagramMax)
		if room == nil {
			if !x.dropped {
				x.carried.AwaitRoom()
			}
			break
		}
		d, p := x.q.AppendDatagram(room, x.g.r.Now())
		if len(d) == 0 {
			break
		}
		x.port.Commit(d, p.Peer, p.Local)
	}
	if !x.dropped {
		x.carried.SetHeld(x.q.Held())
	}
	if at := x.q.Deadline(); at != 0 && !x.q.Over() {
		x.g.r.Arm(&x.timer, at)
	}
}

func (x *end) onTime(r *engine.Reactor) {
	x.q.Expire(r.Now())
	x.events()
	x.endBatch()
}

func (x *end) OnDrop() {
	x.dropped = true
	x.q.Close(uint64(h3.NoError))
	x.events()
	x.OnFlush()
}

// client is a far side: h3 on a connection of QUIC. It writes down what it hears.
type client struct {
	g      *rig
	net    *sim.DatagramPeer
	q      quic.Conn
	arena  quic.Arena
	o      quic.Options
	c      h3.Conn
	head   message.Head
	in     quic.Event // both are fields so that nothing is allocated
	ev     h3.Event
	heard  []string
	got    map[uint64]int // bytes
	owed   map[uint64]int // bytes that are not released, where keep
	keep   bool
	mute   bool // says nothing, not even SETTINGS
	on     func(ev *h3.Event)
	armed  int64
	stable bool // the handshake is done
}

// dial makes a client whose handshake is done.
func (g *rig) dial() *client {
	g.t.Helper()
	x := g.begin()
	g.run(func() bool { return x.stable && g.ends[x.net.Addr()].c != nil })
	return x
}

// begin makes a client.
func (g *rig) begin() *client {
	x := &client{g: g, net: g.w.DialDatagrams(serverAddr), got: map[uint64]int{}, owed: map[uint64]int{}}
	g.clients[x.net.Addr()] = x
	x.o = g.options(g.far, &x.arena)
	x.net.Handle = func(*sim.DatagramPeer) { x.receive() }
	testutil.Must(g.t, x.q.InitClient(&x.o, x.path(), g.w.Now()))
	x.c.Init(h3.Client, &x.q, &g.farCodec)
	x.q.SendCrypto(quic.Initial, []byte("hello"))
	x.flush()
	return x
}

func (x *client) path() quic.Path {
	return quic.Path{Local: x.net.Addr().Addr(), Peer: serverAddr.IP}
}

func (x *client) receive() {
	for _, d := range x.net.Take() {
		x.q.Receive(d.Data, x.path(), x.g.w.Now())
		x.events()
	}
	x.flush()
}

func (x *client) events() {
	for {
		x.in = x.q.Next()
		switch {
		case x.in.Kind == quic.Crypto && x.in.Level == quic.Initial:
			quicpeer.SetKnownSecrets(x.g.t, &x.q, &x.g.ends[x.net.Addr()].q, quic.Client)
			continue
		case x.in.Kind == quic.Crypto:
			x.q.SendCrypto(quic.Handshake, []byte("finished"))
			x.q.HandshakeDone()
			continue
		case x.in.Kind == quic.Established:
			x.stable = true
			continue
		case x.in.Kind == quic.Closed:
			k := x.q.Closed()
			x.note("closed %v", h3.Code(k.Code))
		}
		kind := x.in.Kind
		for !x.mute {
			n := 0
			if n, x.ev = x.c.Next(&x.in, &x.head, x.g.w.Now()); x.ev.Kind == h3.NeedMore {
				break
			}
			x.in.Body = x.in.Body[n:]
			x.take(&x.ev)
		}
		if kind == quic.None {
			return
		}
	}
}

func (x *client) note(f string, v ...any) { x.heard = append(x.heard, fmt.Sprintf(f, v...)) }

func (x *client) take(ev *h3.Event) {
	if x.on != nil {
		x.on(ev)
		return
	}
	switch ev.Kind {
	case h3.HeadDone:
		x.note("%d head %d%s", ev.Stream.ID, x.head.Status, ended(ev.End))
	case h3.Data:
		id := ev.Stream.ID
		x.got[id] += len(ev.Body)
		if x.owed[id] += len(ev.Body); !x.keep {
			x.release(ev.Stream)
		}
		if ev.End {
			x.note("%d data %d end", id, x.got[id])
		}
	case h3.Trailers:
		x.note("%d trailers %s", ev.Stream.ID, x.head.Get("x-t"))
	case h3.Reset:
		x.note("%d reset %v", ev.Stream.ID, ev.Code)
	case h3.GoAway:
		x.note("goaway")
	}
}

func (x *client) release(s *h3.Stream) {
	x.c.Release(s, x.owed[s.ID])
	x.owed[s.ID] = 0
}

func (x *client) flush() {
	now := x.g.w.Now()
	for {
		d, _ := x.q.AppendDatagram(make([]byte, 0, 2*quic.DatagramMax), now)
		if len(d) == 0 {
			break
		}
		x.net.Send(d)
	}
	at := x.q.Deadline()
	if at == 0 || x.q.Over() || x.armed != 0 && x.armed <= at {
		return
	}
	x.armed = at
	x.g.w.At(at, func() {
		if x.armed != at {
			return
		}
		x.armed = 0
		if d := x.q.Deadline(); d != 0 && d <= x.g.w.Now() {
			x.q.Expire(x.g.w.Now())
			x.events()
		}
		x.flush()
	})
}

// ask sends the head of a request.
func (x *client) ask(h *message.Head, end bool) *h3.Stream {
	x.g.t.Helper()
	s, err := x.c.Open(x.g.w.Now())
	if err == nil {
		err = x.c.SendHead(s, h, end)
	}
	testutil.Must(x.g.t, err)
	x.flush()
	return s
}

// data sends p, as far as there is room, and returns the rest.
func (x *client) data(s *h3.Stream, p []byte, end bool) []byte {
	x.g.t.Helper()
	n, err := x.c.SendData(s, p, end)
	testutil.Must(x.g.t, err)
	x.flush()
	return p[n:]
}

// want lets what is on its way arrive, and checks what the client has heard.
func (x *client) want(want ...string) {
	x.g.t.Helper()
	x.g.pass(time.Second / 2)
	if got := strings.Join(x.heard, ", "); got != strings.Join(want, ", ") {
		x.g.t.Fatalf("the client heard %q, not %q", got, want)
	}
	x.heard = nil
}

func ended(end bool) string {
	if end {
		return " end"
	}
	return ""
}

func (g *rig) run(until func() bool) {
	g.t.Helper()
	testutil.Must(g.t, g.w.Run(until, 2_000_000))
}

// pass lets d pass.
func (g *rig) pass(d time.Duration) {
	g.t.Helper()
	over := false
	g.w.After(d, func() {
		over = true
		g.w.Kernel(0).Wake() // else it sleeps on
	})
	g.run(func() bool { return over })
}

// do runs f on the reactor.
func (g *rig) do(f func()) {
	g.t.Helper()
	done := false
	g.r.Post(&engine.Task{Run: func(*engine.Reactor) { f(); done = true }})
	g.w.Kernel(0).Wake()
	g.run(func() bool { return done })
}

// request makes the head of a request without a body.
func request(method, target string, fields ...string) *message.Head {
	h := &message.Head{HTTPS: true}
	h.SetMethod(method)
	h.SetTarget(target)
	h.SetAuthority("example.org")
	for f := range slices.Chunk(fields, 2) {
		h.Add(f[0], f[1])
	}
	return h
}

func answer(status uint16, length int64) *message.Head {
	return &message.Head{Status: status, Length: length}
}

// part is an exchange that the test plays: it writes down what it hears.
type part struct {
	session.NopStream
	s      session.Stream
	proto  message.Proto
	heard  []string
	got    int
	keep   bool // does not release
	panics bool
	onSend func()
}

func (p *part) note(f string, v ...any) { p.heard = append(p.heard, fmt.Sprintf(f, v...)) }

func (p *part) OnHead(_ session.Stream, h *message.Head, e bool) {
	p.proto = h.Proto
	p.note("%s %s%s", h.MethodBytes(), h.Path(), ended(e))
}

func (p *part) OnData(s session.Stream, b []byte, e bool) {
	if p.got += len(b); e {
		p.note("data %d end", p.got)
	}
	if p.panics {
		panic(errors.New("a receiver panics"))
	}
	if !p.keep {
		s.Release(len(b))
	}
}

func (p *part) OnTrailers(_ session.Stream, h *message.Head) {
	p.note("data %d trailers %s", p.got, h.Get("x-t"))
}

func (p *part) OnSendable(session.Stream) {
	if p.onSend != nil {
		p.onSend()
	}
}

func (p *part) OnReset(_ session.Stream, code session.Code, err error) { p.note("reset %v", code) }

// send sends n bytes of an answer, and goes on whenever it may.
func (p *part) send(n int, end bool) {
	body := make([]byte, n)
	p.onSend = func() {
		k, _ := p.s.SendData(body, end)
		body = body[k:]
	}
	p.onSend()
}

func (p *part) want(t testing.TB, want ...string) {
	t.Helper()
	if got := strings.Join(p.heard, ", "); got != strings.Join(want, ", ") {
		t.Fatalf("the receiver heard %q, not %q", got, want)
	}
	p.heard = nil
}

// stage is a service whose exchanges the test plays.
type stage struct {
	parts   []*part
	refused []int
	first   func(p *part) // before its head
}

func (g *stage) Accept(_ *engine.Reactor, s session.Stream) session.Receiver {
	p := &part{s: s}
	if g.first != nil {
		g.first(p)
	}
	g.parts = append(g.parts, p)
	return p
}

func (g *stage) Refused(_ *engine.Reactor, _ poller.Addr, status int, _ error) {
	g.refused = append(g.refused, status)
}
