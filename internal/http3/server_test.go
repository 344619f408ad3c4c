package http3

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/h3"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/quic"
	"github.com/edge-proxy/edge/session"
)

// play makes a rig with a stage, and a client.
func play(t *testing.T, o session.ServerOptions, o3 ServerOptions) (*rig, *stage, *client) {
	t.Helper()
	s := &stage{}
	g := newRig(t, sim.NewWorld(1), s, o, o3)
	return g, s, g.dial()
}

// One exchange with a body and trailers both ways.
func TestServer_exchange(t *testing.T) {
	g, s, c := play(t, session.ServerOptions{}, ServerOptions{})
	h := request("POST", "/a")
	h.Chunked, h.Length = true, message.LengthUnknown
	hs := c.ask(h, false)
	c.data(hs, make([]byte, 1000), false)
	testutil.Must(t, c.c.SendTrailers(hs, request("", "", "X-T", "up")))
	c.flush()
	c.want()
	p := s.parts[0]
	p.want(t, "POST /a", "data 1000 trailers up")
	if p.proto != message.HTTP30 || p.s.Peer().IP != c.net.Addr() {
		t.Error(p.proto, p.s.Peer())
	}
	g.do(func() {
		_ = p.s.SendHead(answer(103, 0), false)
		_ = p.s.SendHead(answer(200, message.LengthUnknown), false)
		p.send(5000, false)
		trailers := answer(0, 0)
		trailers.Add("X-T", "down")
		_ = p.s.SendTrailers(trailers)
	})
	c.want("0 head 103", "0 head 200", "0 trailers down")
	if c.got[0] != 5000 {
		t.Errorf("%d bytes", c.got[0])
	}
	stats := g.sessions.Stats(g.r)
	if stats.Requests != 1 || stats.H3 != 1 || stats.H3Open != 1 {
		t.Errorf("%+v", stats)
	}
}

// A request keeps the address that rules have judged it by: a move of its client is for the next requests.
func TestServer_aMoveIsForTheNextRequests(t *testing.T) {
	g, s, c := play(t, session.ServerOptions{}, ServerOptions{})
	first, next := c.net.Addr(), []netip.AddrPort{
		netip.MustParseAddrPort("198.51.100.7:7"), netip.MustParseAddrPort("[2001:db8::1]:7"),
	}
	c.ask(request("GET", "/0"), true)
	c.want()
	for i, at := range next {
		g.do(func() { g.ends[first].carried.Moved(at, serverAddr.IP.Addr()) })
		c.ask(request("GET", fmt.Sprintf("/%d", i+1)), true)
		c.want()
	}
	for i, want := range append([]netip.AddrPort{first}, next...) {
		st := s.parts[i].s
		if st.Peer().IP != want || session.PeerIP(st) != want || session.SocketIP(st) != want.Addr() {
			t.Errorf("request %d is of %v, %v and %v, not %v", i, st.Peer(), session.PeerIP(st),
				session.SocketIP(st), want)
		}
	}
	g.do(func() {
		_ = s.parts[0].s.SendHead(answer(204, 0), true)
		if s.parts[0].s.Peer().IP != first {
			t.Error("the end has another address") // of the access log
		}
	})
	c.want("0 head 204 end")
	c.ask(request("GET", "/again"), true) // by a stream that is used again
	c.want()
	if p := s.parts[3].s.Peer().IP; p != next[1] {
		t.Errorf("the last request is of %v", p)
	}
}

// A body that its receiver does not release stops the client at its window, and no other stream.
func TestServer_bodyWaitsForItsReceiver(t *testing.T) {
	g, s, c := play(t, session.ServerOptions{}, ServerOptions{})
	s.first = func(p *part) { p.keep = len(s.parts) == 0 }
	rest := make([]byte, 300<<10)
	h := request("POST", "/")
	h.Length = int64(len(rest))
	hs := c.ask(h, false)
	c.on = func(ev *h3.Event) {
		if ev.Kind == h3.Sendable {
			rest = c.data(hs, rest, true)
		}
	}
	rest = c.data(hs, rest, true)
	g.pass(time.Second)
	slow := s.parts[0]
	if slow.got < 60<<10 || slow.got > 64<<10 {
		t.Fatalf("%d bytes came", slow.got)
	}
	c.ask(request("GET", "/other"), true)
	g.pass(time.Second)
	s.parts[1].want(t, "GET /other end")
	slow.keep = false
	g.do(func() { slow.s.Release(slow.got) })
	g.pass(time.Second)
	slow.want(t, "POST /", "data 307200 end")
}

// An answer that its client does not take waits outside of the connection, and is cut off after SendTimeout.
func TestServer_answerWaitsForItsClient(t *testing.T) {
	const size = 1 << 20
	for _, takes := range []bool{true, false} {
		g, s, c := play(t, session.ServerOptions{SendTimeout: 20 * time.Second}, ServerOptions{})
		c.keep = true
		hs := c.ask(request("GET", "/"), true)
		c.want()
		p := s.parts[0]
		g.do(func() {
			_ = p.s.SendHead(answer(200, size), false)
			p.send(size, true)
			if !p.s.Congested() {
				t.Error("a mebibyte is sent at once")
			}
		})
		g.pass(10 * time.Second)
		if n := c.got[0]; n < 60<<10 || n > 64<<10 {
			t.Errorf("the client got %d bytes of its window", n)
		}
		if held := g.ends[c.net.Addr()].q.Held(); held > 0 {
			t.Errorf("%d bytes are kept for a window that is closed", held)
		}
		if takes {
			c.keep = false
			c.release(hs)
			c.flush()
			c.want("0 head 200", "0 data 1048576 end")
			p.want(t, "GET / end")
			continue
		}
		g.pass(15 * time.Second)
		p.want(t, "GET / end", "reset timed out")
		c.want("0 head 200", "0 reset H3_REQUEST_CANCELLED")
		if st := g.sessions.Stats(g.r); st.Timeouts != 1 {
			t.Errorf("%+v", st)
		}
	}
}

// The window of congestion is shared by urgency, in turns where it is the same. The connection keeps no more than it
// needs.
func TestServer_turnsByPriority(t *testing.T) {
	w := sim.NewWorld(1)
	w.Net.Rate, w.Net.Queue = 1<<20, 64<<10
	w.Net.Latency = 10 * time.Millisecond
	s := &stage{}
	g := newRig(t, w, s, session.ServerOptions{}, ServerOptions{})
	g.far.StreamWindow, g.far.StreamWindowMax, g.far.Budget = 8<<20, 8<<20, 8<<20
	c := g.dial()
	const size = 400 << 10
	var order []uint64
	other := 0 // what stream 4 has by the end of stream 0
	c.on = func(ev *h3.Event) {
		if ev.Kind == h3.Data {
			c.got[ev.Stream.ID] += len(ev.Body)
			c.c.Release(ev.Stream, len(ev.Body))
			if ev.End {
				order = append(order, ev.Stream.ID)
			}
			if ev.End && ev.Stream.ID == 0 {
				other = c.got[4]
			}
		}
	}
	for _, priority := range []string{"u=5, i", "u=5, i", "u=3", "u=3", "u=1", "u=7"} {
		c.ask(request("GET", "/", "Priority", priority), true)
	}
	g.pass(time.Second)
	waits := 0
	q := &g.ends[c.net.Addr()].q
	g.do(func() {
		for _, p := range s.parts[:5] {
			_ = p.s.SendHead(answer(200, size), false)
			p.send(size, true)
		}
		if q.Held() > 128<<10 {
			t.Errorf("%d bytes are kept", q.Held())
		}
		last := s.parts[5]
		_ = last.s.SendHead(answer(200, 1), false)
		if !last.s.Congested() {
			t.Error("the connection takes more than its window")
		}
		last.onSend = func() {
			waits++
			last.send(1, true)
		}
	})
	g.run(func() bool { return len(order) == 6 })
	order = slices.DeleteFunc(order, func(id uint64) bool { return id == 20 }) // has a turn now and then
	if !slices.Equal(order[:3], []uint64{16, 8, 12}) || other < size/2 || waits != 1 {
		t.Errorf("the answers came as %d, %d bytes of another one, the last waited %d times", order, other, waits)
	}
}

// A stream that is reset makes room for others at once, not when the client has said that it knows.
func TestServer_resetMakesRoom(t *testing.T) {
	s := &stage{}
	g := newRig(t, sim.NewWorld(1), s, session.ServerOptions{}, ServerOptions{})
	g.far.StreamWindow, g.far.StreamWindowMax, g.far.Budget = 8<<20, 8<<20, 8<<20
	c := g.dial()
	for range 2 {
		c.ask(request("GET", "/"), true)
	}
	g.pass(time.Second)
	g.w.Net.Latency = time.Second / 5
	sent := 0
	g.do(func() {
		for _, p := range s.parts {
			_ = p.s.SendHead(answer(200, 1<<20), false)
			p.send(1<<20, true)
		}
		s.parts[1].onSend = func() {
			n, _ := s.parts[1].s.SendData(make([]byte, 1<<20), true)
			sent += n
		}
	})
	g.w.Net.Latency = 0
	c.ask(request("GET", "/"), true) // the codec looks for streams that may send, and there is no room
	g.w.Net.Latency = time.Second / 5
	g.pass(10 * time.Millisecond)
	if sent > 0 || len(s.parts) != 3 {
		t.Fatal("there was room", sent, len(s.parts))
	}
	g.do(func() { s.parts[0].s.Reset(session.Cancelled) })
	g.pass(10 * time.Millisecond)
	if sent == 0 {
		t.Error("no room was made")
	}
}

// How each side ends an exchange early, and what the other hears.
func TestServer_resets(t *testing.T) {
	for _, test := range []struct {
		name  string
		end   bool // of the request
		does  func(g *rig, p *part, c *client, hs *h3.Stream)
		hears string // the receiver
		gets  []string
	}{
		{"the client cancels", true, func(_ *rig, _ *part, c *client, hs *h3.Stream) {
			c.c.Reset(hs, h3.RequestCancelled)
		}, "reset cancelled", nil},
		{"the client fails", false, func(_ *rig, _ *part, c *client, hs *h3.Stream) {
			c.c.Reset(hs, h3.InternalError)
		}, "reset aborted", nil},
		{"the server refuses", true, func(_ *rig, p *part, _ *client, _ *h3.Stream) { p.s.Reset(session.Refused) },
			"", []string{"0 reset H3_REQUEST_REJECTED"}},
		{"the server fails", false, func(_ *rig, p *part, _ *client, _ *h3.Stream) {
			_ = p.s.SendHead(answer(200, 100), false)
			p.s.Reset(session.ConnectionLost)
		}, "", []string{"0 reset H3_INTERNAL_ERROR"}},
		{"the answer is done before the request", false, func(_ *rig, p *part, _ *client, _ *h3.Stream) {
			_ = p.s.SendHead(answer(200, 3), false)
			p.send(3, true)
		}, "", []string{"0 head 200", "0 data 3 end"}},
		{"the client leaves", true, func(_ *rig, _ *part, c *client, _ *h3.Stream) { c.c.Close(h3.NoError) },
			"reset cancelled", []string{"closed H3_NO_ERROR"}},
		{"the body is shorter than its length", false, func(_ *rig, _ *part, c *client, hs *h3.Stream) {
			c.data(hs, make([]byte, 5), true)
		}, "reset malformed", []string{"0 reset H3_MESSAGE_ERROR"}},
		{"the engine ends the connection", true, func(g *rig, _ *part, c *client, _ *h3.Stream) {
			g.ends[c.net.Addr()].Conn().Close(engine.ErrTimeout)
		}, "reset connection lost", []string{"closed H3_NO_ERROR"}},
		{"the client breaks HTTP", true, func(_ *rig, _ *part, c *client, _ *h3.Stream) {
			qs, _ := c.q.Open(quic.OneWay)
			c.q.Send(qs, []byte{0}, false) // a second control stream
		}, "reset malformed", []string{"closed H3_STREAM_CREATION_ERROR"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			g, s, c := play(t, session.ServerOptions{}, ServerOptions{})
			h := request("POST", "/")
			if h.Length = 1000; test.end {
				h.Length = 0
			}
			hs := c.ask(h, test.end)
			c.want()
			p := s.parts[0]
			g.do(func() { test.does(g, p, c, hs) })
			c.flush()
			c.want(test.gets...)
			want := []string{"POST /" + ended(test.end)}
			if test.hears != "" {
				want = append(want, test.hears)
			}
			p.want(t, want...)
			x := g.ends[c.net.Addr()]
			if x.c.Streams() != 0 || x.c.codec.Streams() != 0 {
				t.Errorf("%d streams are left", x.c.Streams())
			}
			if over := strings.HasPrefix(strings.Join(test.gets, ""), "closed"); over != x.dropped {
				t.Errorf("the connection is over: %v", x.dropped)
			}
		})
	}
}

// A request that cannot be decoded is told with the status that HTTP/1 would have answered.
func TestServer_malformed(t *testing.T) {
	big := strings.Repeat("x", 5000)
	for _, test := range []struct {
		h      *message.Head
		status int
		gets   []string
	}{
		{request("GET", "/", "x-a", "\x01"), 400, []string{"0 reset H3_MESSAGE_ERROR"}},
		{request("GET", "/", "x-a", big), 431, []string{"0 head 431 end"}},
		{request("GET", "/"+big), 414, []string{"0 head 414 end"}},
		{request("GET", "/", "expect", "a miracle"), 417, []string{"0 head 417 end"}},
	} {
		o := session.ServerOptions{Limits: h1.Limits{FieldBytes: 4000, RequestLine: 4000}}
		g, s, c := play(t, o, ServerOptions{})
		c.ask(test.h, true)
		c.want(test.gets...)
		if len(s.parts) != 0 || !slices.Equal(s.refused, []int{test.status}) {
			t.Errorf("%d: %d exchanges, refused %d", test.status, len(s.parts), s.refused)
		}
		if st := g.sessions.Stats(g.r); st.Malformed != 1 || g.server.H3Stats(g.r).Streams != 1 {
			t.Errorf("%+v", st)
		}
	}
}

// A head that does not come to its end in time is refused as over HTTP/1. The receiver knows nothing of it.
func TestServer_slowHead(t *testing.T) {
	g, s, c := play(t, session.ServerOptions{HeaderTimeout: 5 * time.Second}, ServerOptions{})
	qs, err := c.q.Open(quic.TwoWay)
	testutil.Must(t, err)
	c.q.Send(qs, []byte{1, 20, 0}, false)
	c.flush()
	g.pass(4 * time.Second)
	if x := g.ends[c.net.Addr()]; x.c.Idle() || len(s.refused) != 0 {
		t.Error("idle amid a head", s.refused)
	}
	g.pass(2 * time.Second)
	if len(s.parts) != 0 || !slices.Equal(s.refused, []int{408}) {
		t.Errorf("%d exchanges, refused %d", len(s.parts), s.refused)
	}
}

// An answer whose head the client does not take gives way to another one.
func TestServer_headSize(t *testing.T) {
	s := &stage{}
	g := newRig(t, sim.NewWorld(1), s, session.ServerOptions{}, ServerOptions{})
	g.farCodec = h3.Options{HeadBytes: 500, FieldCount: 3}
	c := g.dial()
	c.ask(request("GET", "/"), true)
	c.want()
	g.do(func() {
		large := answer(200, 0)
		large.Add("x-a", strings.Repeat("x", 2000))
		if err := s.parts[0].s.SendHead(large, true); err != session.ErrHeadSize {
			t.Error(err)
		}
		_ = s.parts[0].s.SendHead(answer(502, 0), true)
	})
	c.want("0 head 502 end")
}

// upgrade makes the head of a request for a WebSocket.
func upgrade() *message.Head {
	h := request("GET", "/chat", "Upgrade", "websocket")
	h.Upgrade = true
	h.Protocol = message.Span{At: h.Fields[0].ValueAt, Len: h.Fields[0].ValueLen}
	return h
}

// A tunnel that is refused: the client is told to send no more, and gets all of the answer, whatever its window.
func TestServer_refusedTunnel(t *testing.T) {
	for _, window := range []int{0, 4} {
		s := &stage{}
		g := newRig(t, sim.NewWorld(1), s, session.ServerOptions{}, ServerOptions{})
		g.far.StreamWindow = window
		c := g.dial()
		c.want()
		hs := c.ask(upgrade(), false)
		c.data(hs, []byte("early"), false)
		c.want()
		g.do(func() { _ = s.parts[0].s.SendHead(answer(403, 0), true) })
		c.want("0 head 403 end")
		s.parts[0].want(t, "GET /chat end")
		if x := g.ends[c.net.Addr()]; x.c.codec.Streams() != 0 || c.c.Streams() != 0 {
			t.Error("a stream is left")
		}
	}
}

// A WebSocket: bytes both ways, those that come before the tunnel opens too, and an end of each.
func TestServer_tunnel(t *testing.T) {
	g, s, c := play(t, session.ServerOptions{}, ServerOptions{})
	c.want() // SETTINGS
	hs := c.ask(upgrade(), false)
	c.data(hs, []byte("early"), false)
	c.want()
	p := s.parts[0]
	p.want(t, "GET /chat end")
	g.do(func() {
		head := answer(101, 0)
		head.Tunnel = true
		_ = p.s.SendHead(head, false)
		p.send(7, false)
	})
	c.want("0 head 101")
	c.data(hs, []byte("late"), true)
	c.want()
	if p.want(t, "data 9 end"); c.got[0] != 7 {
		t.Errorf("%d bytes came", c.got[0])
	}
	g.do(func() { p.send(1, true) })
	c.want("0 data 8 end")
	if st := g.sessions.Stats(g.r); st.Tunnels != 1 || g.ends[c.net.Addr()].c.codec.Streams() != 0 {
		t.Errorf("%+v", st)
	}
}

// A connection ends that says nothing, and one without an exchange; one with an exchange goes on.
func TestServer_idle(t *testing.T) {
	o := session.ServerOptions{HeaderTimeout: 5 * time.Second, IdleTimeout: time.Hour}
	g, s, c := play(t, o, ServerOptions{IdleTimeout: 20 * time.Second})
	c.ask(request("GET", "/"), true)
	g.pass(50 * time.Second)
	c.want()
	g.do(func() { _ = s.parts[0].s.SendHead(answer(204, 0), true) })
	g.pass(19 * time.Second)
	c.want("0 head 204 end")
	if a := session.ActivityOf(g.ends[c.net.Addr()].c, nil); a.Kind != session.KindH3 || !a.Idle || a.Requests != 1 {
		t.Errorf("%+v", a)
	}
	g.pass(time.Second)
	c.want("goaway", "goaway", "closed H3_NO_ERROR")
	g.begin().mute = true
	g.pass(6 * time.Second)
	if st := g.sessions.Stats(g.r); st.H3 != 2 || st.H3Open != 0 {
		t.Errorf("%+v", st)
	}
}

// A drain: GOAWAY at once, and again; idle connections end late in it, exchanges go on to their end, and tunnels are
// told.
func TestServer_drain(t *testing.T) {
	g, s, c := play(t, session.ServerOptions{}, ServerOptions{})
	g.w.Net.Latency = 10 * time.Millisecond
	idle, tunnel := g.dial(), g.dial()
	c.ask(request("GET", "/"), true)
	c.want()
	tunnel.ask(upgrade(), false)
	tunnel.want()
	g.do(func() {
		head := answer(101, 0)
		head.Tunnel = true
		_ = s.parts[1].s.SendHead(head, false)
	})
	tunnel.want("0 head 101")
	for _, want := range [][]string{{"goaway", "goaway", "closed H3_NO_ERROR"}, nil} {
		if g.e.Drain(time.Millisecond) { // it has the clock of the machine: the last third begins at once
			t.Error("a busy connection is over")
		}
		idle.want(want...)
	}
	g.pass(time.Second)
	tunnel.want("goaway", "0 reset H3_REQUEST_CANCELLED", "goaway", "closed H3_NO_ERROR")
	c.want("goaway", "goaway")
	g.do(func() { _ = s.parts[0].s.SendHead(answer(204, 0), true) })
	c.want("0 head 204 end")
	g.pass(leaveTime)
	c.want("closed H3_NO_ERROR")
	if st := g.sessions.Stats(g.r); st.DrainedH3 != 1 || st.DrainedTunnels != 1 || st.H3Open != 0 || g.e.Conns() != 0 {
		t.Errorf("%+v, %d connections", st, g.e.Conns())
	}
}

// A drain ends a connection at once that has no exchange and has read its answers, whether its client is there or not:
// all that wait for the UDP port wait for it. A client that was just answered has time to read if it is there.
func TestServer_drainEndsIdleAtOnce(t *testing.T) {
	const at = 300 * time.Millisecond // what is at once
	for name, test := range map[string]struct {
		asks bool
		idle time.Duration // before the drain
		gone bool
		ends time.Duration
	}{
		"no request":              {false, 2 * time.Second, false, at},
		"no request, gone":        {false, 2 * time.Second, true, at},
		"just opened":             {false, 0, false, 1500 * time.Millisecond},
		"answered":                {true, 2 * time.Second, false, at},
		"answered, gone":          {true, 2 * time.Second, true, at},
		"just answered":           {true, 100 * time.Millisecond, false, leaveTime + 1500*time.Millisecond},
		"just answered, and gone": {true, 100 * time.Millisecond, true, at},
	} {
		t.Run(name, func(t *testing.T) {
			g, s, c := play(t, session.ServerOptions{}, ServerOptions{})
			x := g.ends[c.net.Addr()]
			if test.asks {
				c.ask(request("GET", "/"), true)
				c.want()
				g.do(func() { _ = s.parts[0].s.SendHead(answer(204, 0), true) })
				c.want("0 head 204 end")
			}
			if g.pass(test.idle); test.gone {
				c.net.Handle = func(p *sim.DatagramPeer) { p.Take() }
			}
			begun := g.r.Now()
			g.do(func() { x.c.OnDrainBegin(nil) })
			for g.e.Conns() > 0 && g.r.Now()-begun < int64(time.Minute) {
				g.pass(50 * time.Millisecond)
			}
			if d := time.Duration(g.r.Now() - begun); d > test.ends || d < test.ends/3 && test.ends > at {
				t.Errorf("it ends after %v", d)
			}
		})
	}
}

// A client that has vanished with an answer on its way to it has five seconds, and not as long as probes are apart.
func TestServer_drainOfAnAnswerThatNobodyTakes(t *testing.T) {
	g, s, c := play(t, session.ServerOptions{}, ServerOptions{})
	c.ask(request("GET", "/"), true)
	c.want()
	c.net.Handle = func(p *sim.DatagramPeer) { p.Take() }
	g.do(func() { _ = s.parts[0].s.SendHead(answer(204, 0), true) })
	begun := g.r.Now()
	g.do(func() { g.ends[c.net.Addr()].c.OnDrainBegin(nil) })
	for g.e.Conns() > 0 && g.r.Now()-begun < int64(time.Minute) {
		g.pass(50 * time.Millisecond)
	}
	if d := time.Duration(g.r.Now() - begun); d < leaveTime*9/10 || d > leaveTime*11/10 {
		t.Errorf("it ends after %v", d)
	}
}

// A client that is to leave closes the connection itself once it has read its answer, which it acknowledges before:
// CONNECTION_CLOSE would take the rest from it.
func TestServer_drainLeavesTimeToRead(t *testing.T) {
	g, s, c := play(t, session.ServerOptions{}, ServerOptions{})
	c.ask(request("GET", "/"), true)
	c.want()
	g.do(func() { g.ends[c.net.Addr()].c.OnDrainBegin(nil) })
	g.pass(time.Second)
	c.want("goaway", "goaway")
	g.do(func() { _ = s.parts[0].s.SendHead(answer(204, 0), true) })
	c.want("0 head 204 end")
	g.pass(leaveTime * 9 / 10)
	if len(c.heard) > 0 || g.e.Conns() != 1 {
		t.Errorf("%v, %d connections", c.heard, g.e.Conns())
	}
	g.pass(leaveTime / 5)
	c.want("closed H3_NO_ERROR")
}

// The engine ends connections that are idle: for newcomers, and late in a drain. A connection with an exchange is not
// idle, nor is one whose answer is still on its way.
func TestServer_yieldsAndParts(t *testing.T) {
	g, s, c := play(t, session.ServerOptions{}, ServerOptions{})
	x := g.ends[c.net.Addr()]
	c.ask(request("GET", "/"), true)
	c.want()
	if x.c.Idle() {
		t.Error("idle within an exchange")
	}
	g.do(func() {
		_ = s.parts[0].s.SendHead(answer(200, 3), false)
		if s.parts[0].send(3, true); x.c.Idle() {
			t.Error("idle before the client has the answer")
		}
	})
	ended := g.w.Now()
	c.want("0 head 200", "0 data 3 end")
	if !x.c.Idle() || x.c.IdleSince(x.Conn()) > ended {
		t.Errorf("idle %v, since %d, at %d", x.c.Idle(), x.c.IdleSince(x.Conn()), ended)
	}
	g.do(func() { x.c.OnYield(x.Conn()) })
	c.want("goaway", "goaway", "closed H3_NO_ERROR")
	other := g.dial()
	x = g.ends[other.net.Addr()]
	g.do(func() { x.c.OnPart(x.Conn()) })
	other.want("goaway", "goaway", "closed H3_NO_ERROR")
	if st := g.sessions.Stats(g.r); st.DrainedH3 != 1 || st.H3Open != 0 {
		t.Errorf("%+v", st)
	}
}

// A panic of a receiver costs its exchange: what came in the same datagram for others is not lost.
func TestServer_panicCostsOneStream(t *testing.T) {
	g, s, c := play(t, session.ServerOptions{}, ServerOptions{})
	s.first = func(p *part) { p.panics = len(s.parts) == 0 }
	h := request("POST", "/")
	h.Length = 5
	for range 2 {
		hs, err := c.c.Open(g.w.Now())
		testutil.Must(t, err)
		testutil.Must(t, c.c.SendHead(hs, h, false))
		_, err = c.c.SendData(hs, []byte("hello"), true)
		testutil.Must(t, err)
	}
	c.flush()
	c.want("0 reset H3_INTERNAL_ERROR")
	s.parts[0].want(t, "POST /", "data 5 end", "reset connection lost")
	s.parts[1].want(t, "POST /", "data 5 end")
	if n := g.r.Stats().Panics; n != 1 {
		t.Errorf("%d panics", n)
	}
}

// Heads that a client does not finish are in the account of the reactor, and go first where memory is short.
func TestServer_accountsForHeadsInParts(t *testing.T) {
	const heads, size = 16, 30 << 10
	g, s, c := play(t, session.ServerOptions{}, ServerOptions{})
	before := g.r.Stats().BufBytes
	part := append(quic.AppendInteger([]byte{1}, size), make([]byte, size-1)...)
	for range heads {
		qs, err := c.q.Open(quic.TwoWay)
		testutil.Must(t, err)
		if n := c.q.Send(qs, part, false); n < len(part) {
			t.Fatalf("%d bytes of %d were taken", n, len(part))
		}
		c.flush()
		g.pass(100 * time.Millisecond)
	}
	accounted := g.r.Stats().BufBytes - before
	if accounted < heads*size || accounted > 2*heads*size {
		t.Errorf("%d bytes are accounted for %d heads of %d bytes", accounted, heads, size)
	}
	c.ask(request("GET", "/a"), true)
	c.want()
	c.mute = true // its codec knows nothing of the heads
	g.pass(2 * time.Second)
	var pressed int64
	g.do(func() {
		for ; g.r.Pressure() < engine.PressureAccept; pressed += 64 << 10 {
			g.r.Account(64 << 10)
		}
		g.r.Account(1 << 20) // more than all heads are
		pressed += 1 << 20
	})
	g.pass(100 * time.Millisecond)
	g.do(func() { g.r.Account(-int(pressed)) })
	if n := g.r.Stats().BufBytes - before; n > heads*size/8 {
		t.Errorf("%d bytes are accounted after the heads were given up", n)
	}
	if st := g.sessions.Stats(g.r); len(s.parts) != 1 || st.GivenUp == 0 || st.H3Open != 1 {
		t.Errorf("%d exchanges, %+v", len(s.parts), st)
	}
	s.parts[0].want(t, "GET /a end")
}

// A connection without an exchange that has many streams of QUIC ends where memory is short; one that has few stays.
func TestServer_idleStreamsUnderPressure(t *testing.T) {
	g, _, c := play(t, session.ServerOptions{}, ServerOptions{})
	g.dial()
	c.mute = true
	var last *quic.Stream
	for range 128 {
		qs, err := c.q.Open(quic.TwoWay)
		testutil.Must(t, err)
		last = qs
	}
	c.q.Send(last, []byte{1}, false) // opens all before it
	c.flush()
	g.pass(2 * time.Second)
	g.do(func() {
		for g.r.Pressure() < engine.PressureAccept {
			g.r.Account(64 << 10)
		}
		g.r.Account(1 << 20)
	})
	g.pass(100 * time.Millisecond)
	if st := g.sessions.Stats(g.r); st.H3 != 2 || st.H3Open != 1 {
		t.Errorf("%d connections of %d are open", st.H3Open, st.H3)
	}
}

// Under pressure a connection with an exchange gets no other one, and the client may ask elsewhere.
func TestServer_shedsUnderPressure(t *testing.T) {
	g, s, c := play(t, session.ServerOptions{}, ServerOptions{})
	c.ask(request("GET", "/a"), true)
	c.want()
	g.do(func() {
		for g.r.Pressure() < engine.PressureShed {
			g.r.Account(64 << 10)
		}
	})
	c.ask(request("GET", "/b"), true)
	c.want("4 reset H3_REQUEST_REJECTED")
	if st := g.sessions.Stats(g.r); len(s.parts) != 1 || st.H3Shed != 1 || st.Shed != 0 {
		t.Errorf("%d exchanges, %+v", len(s.parts), st)
	}
}
