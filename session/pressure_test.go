package session_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

// A client that opens the window of its stream by a byte now and then keeps the answer waiting as one that opens it
// never does: the stream is reset after SendTimeout, less what its bytes are worth.
func TestServer_h2DribbledWindow(t *testing.T) {
	s, g := listening(t, session.ServerOptions{SendTimeout: time.Minute}, setting(4, 0))
	s.recv(append(ask(1, true, blockGet), ask(3, true, blockGet)...))
	s.do(func() {
		for _, p := range g.parts {
			_ = p.SendHead(answer(200, 1000), false)
			_, _ = p.SendData(make([]byte, 1000), true)
			sent := 0
			p.onSend = func() {
				n, _ := p.SendData(make([]byte, 1000-sent), true)
				sent += n
			}
		}
	})
	for range 2 {
		s.pass(25 * time.Second)
		s.recv(frame(nil, frameWindow, 0, 1, "\x00\x00\x00\x01"))
		s.recv(frame(nil, frameWindow, 0, 3, "\x00\x00\x00\xc8")) // 200 bytes are worth 833 ms
	}
	s.pass(10100 * time.Millisecond)
	g.parts[0].want(t, "head GET / end", "reset timed out")
	g.parts[1].want(t, "head GET / end")
	s.pass(2 * time.Second)
	g.parts[1].want(t, "reset timed out")
}

// One that takes its answer at the least rate, in pieces, is not cut off.
func TestServer_h2SlowReader(t *testing.T) {
	s, g := listening(t, session.ServerOptions{SendTimeout: time.Minute}, setting(4, 0))
	s.recv(ask(1, true, blockGet))
	p := g.parts[0]
	sent := 0
	p.onSend = func() {
		n, _ := p.SendData(make([]byte, 60000-sent), true)
		sent += n
	}
	s.do(func() {
		_ = p.SendHead(answer(200, 60000), false)
		p.onSend()
	})
	for range 6 {
		s.pass(40 * time.Second)
		s.recv(frame(nil, frameWindow, 0, 1, "\x00\x00\x27\x10"))
	}
	if p.want(t, "head GET / end"); sent != 60000 {
		t.Fatal(sent)
	}
}

// A client of HTTP/1 that takes its answer in crumbs is cut off as well.
func TestServer_dribblingReader(t *testing.T) {
	s, g := newScript(t, engine.Options{SendLow: 1000}), &stage{}
	s.listenH1(g, session.ServerOptions{SendTimeout: time.Minute})
	s.recv([]byte("GET / HTTP/1.1\r\nHost: h\r\n\r\n"))
	p := g.parts[0]
	p.onSend = func() { _, _ = p.SendData(make([]byte, 1000), false) }
	s.l.SendMax = 1000
	s.do(func() {
		_ = p.SendHead(answer(200, 1<<20), false)
		_, _ = p.SendData(make([]byte, 2000), false)
	})
	for took := time.Duration(0); len(p.heard) == 1; took += 20 * time.Second {
		if took > 2*time.Minute {
			t.Fatal("it is not cut off")
		}
		s.pass(20 * time.Second)
		s.l.Sock(s.fd).Sent = nil
		s.l.Drained(s.fd)
		s.do(func() {})
	}
	p.want(t, "head GET / end", "reset timed out")
}

// While body bytes are owed nothing more is read, wherever the last read ended: here amid the head of the next chunk.
func TestServer_owedBytesPauseReading(t *testing.T) {
	s, g := newScript(t, engine.Options{}), &stage{}
	s.listenH1(g, session.ServerOptions{})
	s.recv([]byte("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"))
	p := g.parts[0]
	p.keep = true
	s.recv([]byte("5\r\nfirst\r\n6"))
	s.l.Inject(s.fd, []byte("\r\nsecond\r\n5"))
	s.do(func() {})
	p.want(t, "head POST /", "data 5")
	s.do(func() { p.Release(5) })
	s.do(func() {})
	p.want(t, "data 6")
}

// listenH1 makes a server and one client of it that has sent nothing yet.
func (s *script) listenH1(service session.Service, o session.ServerOptions) {
	s.t.Helper()
	srv := session.NewServer(s.e, service, o)
	addr := poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:80")}
	if _, err := s.e.Listen(engine.ListenOptions{Addr: addr}, srv.Accept); err != nil {
		s.t.Fatal(err)
	}
	s.another()
}

// another lets a further client connect, which sends from now on.
func (s *script) another() {
	s.fd = s.l.Offer(3, poller.Addr{IP: netip.MustParseAddrPort("192.0.2.9:5555")})
	s.do(func() {})
	s.do(func() {}) // it is registered when it has lived through a tick
}

// press makes the pressure p.
func (s *script) press(p engine.Pressure) {
	s.t.Helper()
	s.do(func() {
		for s.r.Pressure() < p {
			s.r.Account(64 << 10)
		}
		for s.r.Pressure() > p {
			s.r.Account(-4 << 10)
		}
	})
}

// Under pressure the streams go that the client has kept waiting for a second, be it for its window or for its body;
// streams that wait for us stay.
func TestServer_h2ReliefUnderPressure(t *testing.T) {
	s, g := newScript(t, engine.Options{Memory: 16 << 20}), &stage{}
	s.listen(g, session.ServerOptions{}, setting(4, 0))
	stall := func(i int) {
		s.do(func() {
			_ = g.parts[i].SendHead(answer(200, 10), false)
			_, _ = g.parts[i].SendData(make([]byte, 10), true)
		})
	}
	s.recv(ask(1, true, blockGet))
	s.recv(ask(3, true, blockGet))
	s.recv(ask(5, false, blockPost))
	s.recv(ask(7, true, blockGet))
	stall(0)
	s.pass(2 * time.Second)
	stall(1)
	s.frames()
	s.press(engine.PressureAccept)
	s.pass(100 * time.Millisecond)
	g.parts[0].want(t, "head GET / end", "reset timed out")
	g.parts[1].want(t, "head GET / end")
	g.parts[2].want(t, "head POST /", "reset timed out")
	g.parts[3].want(t, "head GET / end")
	s.want("reset 1: CANCEL", "head 5: :status=408 content-length=0 end")
	s.pass(2 * time.Second)
	g.parts[1].want(t, "reset timed out")
	g.parts[3].want(t)
}

// A head of HTTP/2 that comes in part is in the account, and its connection goes where memory is short.
func TestServer_h2HeadInPartUnderPressure(t *testing.T) {
	s, g := newScript(t, engine.Options{Memory: 16 << 20}), &stage{}
	s.listen(g, session.ServerOptions{}, "")
	before := s.r.Stats().BufBytes
	s.recv(frame(nil, frameHeaders, 0, 1, strings.Repeat("x", 10<<10)))
	if n := s.r.Stats().BufBytes - before; n < 10<<10 {
		t.Errorf("%d bytes are accounted for 10 KiB of a head", n)
	}
	s.pass(2 * time.Second)
	s.frames()
	s.press(engine.PressureAccept)
	s.pass(100 * time.Millisecond)
	s.want("goaway 0: NO_ERROR") // the client may ask elsewhere
	if n, st := s.server.H2Stats(s.r), s.server.Stats(s.r); n.HeadTimeout != 0 || n.Faults != 0 || st.GivenUp != 1 {
		t.Errorf("%d heads late, %d faults, %d given up", n.HeadTimeout, n.Faults, st.GivenUp)
	}
}

// A connection of HTTP/2 with many exchanges gets no more of them under pressure, one with few does; one that comes
// then is told of fewer streams.
func TestServer_h2FewerStreamsUnderPressure(t *testing.T) {
	s, g := newScript(t, engine.Options{Memory: 16 << 20}), &stage{}
	s.listen(g, session.ServerOptions{}, "")
	for id := range 16 {
		s.recv(ask(uint32(2*id+1), true, blockGet))
	}
	s.frames()
	s.press(engine.PressureAccept)
	s.recv(ask(33, true, blockGet))
	s.want("reset 33: REFUSED_STREAM")
	s.do(func() { _ = g.parts[0].SendHead(answer(204, 0), true) })
	s.frames()
	s.recv(ask(35, true, blockGet))
	s.want()
	if len(g.parts) != 17 {
		t.Fatalf("%d exchanges began", len(g.parts))
	}
	s.press(engine.PressureCache)
	s.another()
	s.recv([]byte(preface))
	if sent := string(s.l.Sock(s.fd).Sent); !strings.Contains(sent, setting(3, 16)) {
		t.Fatalf("%q does not say that there are 16 streams", sent)
	}
}

// A client of HTTP/1 gives way under pressure when it keeps us waiting: for the rest of a head, for a body, for the
// room for its answer, as a tunnel too. One that waits for us, or for nothing, stays.
func TestServer_reliefUnderPressure(t *testing.T) {
	for _, c := range []struct {
		name, sends string
		plays       func(s *script, p *part)
		gone        bool
	}{
		{"idle", "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
			func(_ *script, p *part) { _ = p.SendHead(answer(204, 0), true) }, false},
		{"waits for its answer", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", nil, false},
		{"a part of a head", "GET / HTTP/1.1\r\nHost: h\r\n", nil, true},
		{"a part of a body", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc", nil, true},
		{"does not read", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", func(s *script, p *part) {
			s.l.SendMax = 1
			_ = p.SendHead(answer(200, 1<<20), false)
			_, _ = p.SendData(make([]byte, 200<<10), false)
		}, true},
		{"asks on and does not read", strings.Repeat("GET / HTTP/1.1\r\nHost: h\r\n\r\n", 3),
			func(s *script, p *part) {
				s.l.SendMax = 1
				_ = p.SendHead(answer(200, 200<<10), false)
				_, _ = p.SendData(make([]byte, 200<<10), true)
			}, true},
		{"a tunnel that does not read", "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
			func(s *script, p *part) {
				s.l.SendMax = 1
				h := answer(101, 0)
				h.Tunnel = true
				_ = p.SendHead(h, false)
				_, _ = p.SendData(make([]byte, 200<<10), false)
			}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, g := newScript(t, engine.Options{Memory: 16 << 20}), &stage{}
			s.listenH1(g, session.ServerOptions{})
			s.l.Inject(s.fd, []byte(c.sends))
			s.do(func() {})
			if c.plays != nil {
				s.do(func() { c.plays(s, g.parts[0]) })
			}
			s.pass(1100 * time.Millisecond)
			s.press(engine.PressureAccept)
			s.pass(100 * time.Millisecond)
			if gone := !s.l.Sock(s.fd).Open || s.l.Sock(s.fd).FIN; gone != c.gone {
				t.Fatalf("gone: %v, want %v", gone, c.gone)
			}
		})
	}
}

// However many requests come in one read, others have their turn: those that are answered at once take as long as the
// answers are.
func TestServer_turnsAreBoundedByWork(t *testing.T) {
	const requests = 10000
	h1 := []byte(strings.Repeat("GET / HTTP/1.1\r\nHost: h\r\n\r\n", requests))
	var h2 []byte
	for id := range requests {
		h2 = append(h2, ask(uint32(2*id+1), true, blockGet)...)
	}
	for _, c := range []struct {
		name   string
		sends  []byte
		listen func(s *script, g session.Service)
	}{
		{"HTTP/1", h1, func(s *script, g session.Service) { s.listenH1(g, session.ServerOptions{}) }},
		{"HTTP/2", h2, func(s *script, g session.Service) { s.listen(g, session.ServerOptions{}, "") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, g := newScript(t, engine.Options{ReadSize: 1 << 20, ReadMax: 4 << 20, SendMax: 4 << 20}), &counting{}
			c.listen(s, g)
			s.l.Inject(s.fd, c.sends)
			most, last := 0, 0
			for g.answered < requests {
				s.do(func() {})
				if most = max(most, g.answered-last); g.answered == last {
					t.Fatalf("%d answered, and nothing goes on", g.answered)
				}
				last = g.answered
			}
			if most > 1000 {
				t.Fatalf("%d requests in one tick", most)
			}
		})
	}
}

// counting is a service that answers at once.
type counting struct {
	bare
	answered int
}

func (g *counting) Accept(*engine.Reactor, session.Stream) session.Receiver {
	g.answered++
	return &g.bare
}

// pressing is a service that answers each request at once; the first one brings the pressure to its last step.
type pressing struct{ stage }

func (g *pressing) Accept(r *engine.Reactor, s session.Stream) session.Receiver {
	for len(g.parts) == 0 && r.Pressure() < engine.PressureShed {
		r.Account(64 << 10)
	}
	return &prompt{g.stage.Accept(r, s).(*part)}
}

// prompt answers at the head of the request.
type prompt struct{ *part }

func (p *prompt) OnHead(s session.Stream, h *message.Head, end bool) {
	p.part.OnHead(s, h, end)
	_ = s.SendHead(answer(204, 0), true)
}

// A request that finds the pressure at its last step is taken if it is the only one of its connection, until relief
// had its chance.
func TestServer_h2OneStreamBeforeRelief(t *testing.T) {
	s := newScript(t, engine.Options{Memory: 16 << 20})
	g := &pressing{}
	s.listen(g, session.ServerOptions{}, "")
	s.recv(append(ask(1, true, blockGet), ask(3, true, blockGet)...))
	s.want("head 1: :status=204 end", "head 3: :status=204 end")
	s.recv(ask(5, true, blockGet))
	s.want("reset 5: REFUSED_STREAM")
	if p := s.r.Pressure(); p != engine.PressureShed || len(g.parts) != 2 {
		t.Fatal(p, len(g.parts))
	}
}

// lone is the owner of one Client.
type lone struct {
	client session.Client
	opts   session.ClientOptions
	head   message.Head
}

func (*lone) OnIdle(*session.Client)        {}
func (*lone) OnGone(*session.Client, error) {}

// Under pressure an origin of HTTP/1 gives way that does not take what a request sends; one that takes it and has not
// answered yet does not.
func TestClient_reliefUnderPressure(t *testing.T) {
	for _, c := range []struct {
		name string
		body int
		want []string
	}{{"takes nothing", 200 << 10, []string{"reset timed out"}}, {"has not answered", 1000, nil}} {
		t.Run(c.name, func(t *testing.T) {
			s, o, p := newScript(t, engine.Options{Memory: 16 << 20}), &lone{}, &part{}
			s.l.OnConnect = func(f poller.FD, _ poller.Addr) { s.fd = f }
			o.client.Init(o, &o.head, &o.opts)
			s.do(func() {
				if err := o.client.Dial(s.r, poller.Addr{IP: netip.MustParseAddrPort("10.0.0.1:80")}, nil); err != nil {
					t.Error(err)
				}
			})
			if c.body > 1000 {
				s.l.SendMax = 1
			}
			s.do(func() {
				h := request("POST", "/")
				h.Length = int64(c.body)
				p.Stream = o.client.Open(p)
				_ = p.SendHead(&h, false)
				_, _ = p.SendData(make([]byte, c.body), true)
			})
			s.pass(1100 * time.Millisecond)
			s.press(engine.PressureAccept)
			s.pass(100 * time.Millisecond)
			p.want(t, c.want...)
		})
	}
}

// Of the exchanges of a connection to an origin of HTTP/2 that one goes whose request the origin does not take.
func TestMux_reliefUnderPressure(t *testing.T) {
	s, o := newScript(t, engine.Options{Memory: 16 << 20}), &muxOwner{}
	s.dial(o, setting(4, 10))
	post := request("POST", "/")
	post.Length = 20
	stuck, waits := s.open(o, post, false), s.open(o, request("GET", "/"), true)
	s.do(func() { _, _ = stuck.SendData(make([]byte, 20), false) })
	s.pass(1100 * time.Millisecond)
	s.frames()
	s.press(engine.PressureAccept)
	s.pass(100 * time.Millisecond)
	stuck.want(t, "reset timed out")
	waits.want(t)
	s.want("reset 1: CANCEL")
}
