package session_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

// script is a connection on a kernel that costs nothing, whose far end the test plays frame by frame.
type script struct {
	server *session.Server // that listen made
	t      testing.TB
	l      *sim.Loop
	e      *engine.Engine
	r      *engine.Reactor
	fd     poller.FD
	dec    *hpack.Decoder
}

// part is an exchange that the test plays: it writes down what it hears.
type part struct {
	session.Stream
	heard  []string
	keep   bool // does not release
	panics bool
	onSend func()
}

func (p *part) note(f string, v ...any) { p.heard = append(p.heard, fmt.Sprintf(f, v...)) }

func end(end bool) string {
	if end {
		return " end"
	}
	return ""
}

func (p *part) OnHead(_ session.Stream, h *message.Head, e bool) {
	if h.Status > 0 {
		p.note("head %d%s%s", h.Status, map[bool]string{true: " tunnel"}[h.Tunnel], end(e))
		return
	}
	p.note("head %s %s%s", h.MethodBytes(), h.Path(), end(e))
}

func (p *part) OnData(s session.Stream, b []byte, e bool) {
	p.note("data %d%s", len(b), end(e))
	if p.panics {
		panic(errors.New("a receiver panics"))
	}
	if !p.keep {
		s.Release(len(b))
	}
}

func (p *part) OnTrailers(_ session.Stream, h *message.Head) { p.note("trailers %s", h.Get("x-t")) }

func (p *part) OnSendable(session.Stream) {
	if p.onSend != nil {
		p.onSend()
	}
}

func (p *part) OnReset(_ session.Stream, code session.Code, _ error) { p.note("reset %v", code) }

func (p *part) want(t testing.TB, want ...string) {
	t.Helper()
	if got := strings.Join(p.heard, ", "); got != strings.Join(want, ", ") {
		t.Fatalf("heard %q, not %q", got, want)
	}
	p.heard = nil
}

// stage is a service whose exchanges the test plays.
type stage struct {
	parts   []*part
	refused []int
}

func (g *stage) Accept(_ *engine.Reactor, s session.Stream) session.Receiver {
	g.parts = append(g.parts, &part{Stream: s})
	return g.parts[len(g.parts)-1]
}

func (g *stage) Refused(_ *engine.Reactor, _ poller.Addr, status int, _ error) {
	g.refused = append(g.refused, status)
}

func newScript(t testing.TB, o engine.Options) *script {
	t.Helper()
	s := &script{t: t, l: sim.NewLoop(), dec: hpack.NewDecoder(4096, nil)}
	o.Reactors, o.Kernel = 1, func(int) (poller.Kernel, error) { return s.l, nil }
	e, err := engine.New(o)
	testutil.Must(t, err)
	s.e, s.r = e, e.Reactors()[0]
	return s
}

// listen makes a server and one client of it, which has sent its preface and settings.
func (s *script) listen(service session.Service, o session.ServerOptions, settings string) {
	s.t.Helper()
	o.H2C = true
	s.server = session.NewServer(s.e, service, o)
	addr := poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:80")}
	_, err := s.e.Listen(engine.ListenOptions{Addr: addr}, s.server.Accept)
	testutil.Must(s.t, err)
	s.fd = s.l.Offer(3, poller.Addr{IP: netip.MustParseAddrPort("192.0.2.7:5555")})
	s.r.Tick()
	s.recv(frame(frame([]byte(preface), frameSettings, 0, 0, settings), frameSettings, flagAck, 0, ""))
}

// listening is a script with a client of a stage.
func listening(t testing.TB, o session.ServerOptions, settings string) (*script, *stage) {
	t.Helper()
	s, g := newScript(t, engine.Options{}), &stage{}
	s.listen(g, o, settings)
	return s, g
}

// dialled is a script with the connection of a Mux: see dial.
func dialled(t testing.TB, settings string) (*script, *muxOwner) {
	t.Helper()
	s, o := newScript(t, engine.Options{}), &muxOwner{}
	s.dial(o, settings)
	return s, o
}

// dial makes the connection of a Mux, whose origin has sent its settings unless that is "-".
func (s *script) dial(o *muxOwner, settings string) {
	s.t.Helper()
	o.gone = make(chan error, 1)
	s.l.OnConnect = func(f poller.FD, _ poller.Addr) { s.fd = f }
	o.mux.Init(o, &o.head, &o.opts)
	testutil.Must(s.t, o.mux.Dial(s.r, poller.Addr{IP: netip.MustParseAddrPort("10.0.0.1:80")}, nil))
	s.r.Tick()
	if settings != "-" {
		s.recv(frame(frame(nil, frameSettings, 0, 0, settings), frameSettings, flagAck, 0, ""))
		s.frames()
	}
}

func setting(id uint16, v uint32) string {
	return string(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(nil, id), v))
}

// do runs f on the reactor.
func (s *script) do(f func()) {
	s.r.Post(&engine.Task{Run: func(*engine.Reactor) { f() }})
	s.r.Tick()
}

// recv lets b come from the far end.
func (s *script) recv(b []byte) {
	s.l.Inject(s.fd, b)
	for s.l.Sock(s.fd).Unread() > 0 {
		s.r.Tick()
	}
}

// pass lets time pass: the reactor ticks at least once a second, and once at the end.
func (s *script) pass(d time.Duration) {
	for ; d > 0; d -= time.Second {
		s.l.Advance(int64(min(d, time.Second)))
		s.l.Wake()
		s.r.Tick()
	}
	s.l.Wake()
	s.r.Tick()
}

// frames returns what was sent since, a line for each frame; SETTINGS and WINDOW_UPDATE aside.
func (s *script) frames() []string {
	s.t.Helper()
	sent := s.l.Sock(s.fd).Sent
	sent = []byte(strings.TrimPrefix(string(sent), preface))
	s.l.Sock(s.fd).Sent = nil
	var lines []string
	for len(sent) >= 9 {
		n := int(sent[0])<<16 | int(sent[1])<<8 | int(sent[2])
		kind, flags, id := sent[3], sent[4], binary.BigEndian.Uint32(sent[5:])
		p := sent[9 : 9+n]
		sent = sent[9+n:]
		ended := end(flags&flagEnd != 0)
		switch kind {
		case frameData:
			lines = append(lines, fmt.Sprintf("data %d: %d%s", id, n, ended))
		case frameHeaders:
			fields, err := s.dec.DecodeFull(p)
			testutil.Must(s.t, err)
			var list []string
			for _, f := range fields {
				list = append(list, f.Name+"="+f.Value)
			}
			lines = append(lines, fmt.Sprintf("head %d: %s%s", id, strings.Join(list, " "), ended))
		case frameReset:
			lines = append(lines, fmt.Sprintf("reset %d: %v", id, http2.ErrCode(binary.BigEndian.Uint32(p))))
		case frameGoAway:
			code := http2.ErrCode(binary.BigEndian.Uint32(p[4:]))
			lines = append(lines, fmt.Sprintf("goaway %d: %v", binary.BigEndian.Uint32(p), code))
		case framePing:
			if flags&flagAck == 0 {
				lines = append(lines, "ping")
			}
		}
	}
	return lines
}

func (s *script) want(want ...string) {
	s.t.Helper()
	if got := strings.Join(s.frames(), ", "); got != strings.Join(want, ", ") {
		s.t.Fatalf("sent %q, not %q", got, want)
	}
}

func request(method, path string) message.Head {
	var h message.Head
	h.SetMethod(method)
	h.SetTarget(path)
	h.SetAuthority("h")
	return h
}

func ask(id uint32, end bool, block string) []byte {
	flags := byte(flagEndHeaders)
	if end {
		flags |= flagEnd
	}
	return frame(nil, frameHeaders, flags, id, block)
}

const getLine = ":method=GET :scheme=http :authority=h :path=/"

func answer(status uint16, length int64) *message.Head {
	return &message.Head{Status: status, Length: length}
}

func TestServer_sniffsAPrefaceByteByByte(t *testing.T) {
	s, g := listening(t, session.ServerOptions{}, "")
	fd := s.l.Offer(3, poller.Addr{IP: netip.MustParseAddrPort("192.0.2.7:5556")})
	s.r.Tick()
	s.fd = fd
	all := append(frame([]byte(preface), frameSettings, 0, 0, ""), ask(1, true, blockGet)...)
	for i := range all {
		s.recv(all[i : i+1])
	}
	if len(g.parts) != 1 {
		t.Fatal("no request")
	}
	g.parts[0].want(t, "head GET / end")
}

func TestServer_h2AnswersInOneFrameWhatEndsWithItsHead(t *testing.T) {
	s, g := listening(t, session.ServerOptions{}, "")
	s.recv(append(ask(1, true, blockGet), ask(3, true, blockGet)...))
	s.frames()
	s.do(func() { _ = g.parts[0].SendHead(answer(200, 0), true) })
	s.want("head 1: :status=200 content-length=0 end")
	s.do(func() { _ = g.parts[1].SendHead(answer(200, 3), false) })
	s.want("head 3: :status=200 content-length=3")
	s.do(func() { _, _ = g.parts[1].SendData([]byte("abc"), true) })
	s.want("data 3: 3 end")
}

func TestServer_h2AnswersToHEADAnd304HaveNoContent(t *testing.T) {
	s, g := listening(t, session.ServerOptions{}, "")
	s.recv(append(ask(1, true, "\x42\x04HEAD\x84\x86\x01\x01h"), ask(3, true, blockGet)...))
	s.frames()
	s.do(func() {
		_ = g.parts[0].SendHead(answer(200, 5), false)
		_, _ = g.parts[0].SendData([]byte("lost!"), true)
		h := answer(304, 5)
		_ = g.parts[1].SendHead(h, true)
	})
	s.want("head 1: :status=200 content-length=5 end", "head 3: :status=304 end")
}

func TestServer_h2PassesInterimHeadsAndTrailers(t *testing.T) {
	s, g := listening(t, session.ServerOptions{}, "")
	s.recv(ask(1, false, blockPost))
	s.recv(frame(nil, frameData, 0, 1, "body"))
	s.recv(ask(1, true, "\x00\x03x-t\x01v"))
	s.frames()
	p := g.parts[0]
	p.want(t, "head POST /", "data 4", "trailers v")
	s.do(func() {
		_ = p.SendHead(&message.Head{Status: 103}, false)
		_ = p.SendHead(answer(200, message.LengthUnknown), false)
		_, _ = p.SendData([]byte("x"), false)
		var h message.Head
		h.Add("x-t", "w")
		_ = p.SendTrailers(&h)
	})
	s.want("head 1: :status=103", "head 1: :status=200", "data 1: 1", "head 1: x-t=w end")
	p.want(t)
}

// RFC 9113 §8.1: a server that has answered whole declines the rest by RST_STREAM with NO_ERROR.
func TestServer_h2DeclinesTheRestOfARequestThatIsAnswered(t *testing.T) {
	s, g := listening(t, session.ServerOptions{}, "")
	s.recv(ask(1, false, blockPost))
	s.frames()
	s.do(func() { _ = g.parts[0].SendHead(answer(403, 0), true) })
	s.want("head 1: :status=403 content-length=0 end")
	s.recv(frame(nil, frameData, 0, 1, "late"))
	s.recv(ask(3, true, blockGet))
	s.want()
	g.parts[0].want(t, "head POST /")
	g.parts[1].want(t, "head GET / end")
	s.pass(11 * time.Second)
	s.want("reset 1: NO_ERROR")
	g.parts[0].want(t)
}

// What comes of such a request to its end is no reason for a reset.
func TestServer_h2TakesTheRestOfARequestThatIsAnswered(t *testing.T) {
	s, g := listening(t, session.ServerOptions{}, "")
	s.recv(ask(1, false, blockPost))
	s.frames()
	s.recv(frame(nil, frameData, 0, 1, "early"))
	s.do(func() { _ = g.parts[0].SendHead(answer(403, 0), true) })
	s.want("head 1: :status=403 content-length=0 end")
	for range 4 {
		s.recv(frame(nil, frameData, 0, 1, strings.Repeat("x", 16<<10)))
	}
	s.recv(frame(nil, frameData, 1, 1, ""))
	s.pass(11 * time.Second)
	if got := strings.Join(s.frames(), ", "); strings.Contains(got, "reset") {
		t.Fatal(got)
	}
	g.parts[0].want(t, "head POST /", "data 5")
}

func TestServer_h2SlowBodyIsAnswered408(t *testing.T) {
	s, g := listening(t, session.ServerOptions{BodyTimeout: 5 * time.Second, BodyRate: -1}, "")
	s.recv(append(ask(1, false, blockPost), ask(3, true, blockGet)...))
	s.frames()
	s.pass(4 * time.Second)
	s.recv(frame(nil, frameData, 0, 1, "more"))
	s.pass(4 * time.Second)
	s.want()
	s.pass(2 * time.Second)
	s.want("head 1: :status=408 content-length=0 end")
	g.parts[0].want(t, "head POST /", "data 4", "reset timed out")
	s.pass(6 * time.Second)
	s.want("reset 1: NO_ERROR")
	g.parts[1].want(t, "head GET / end")
}

func TestServer_h2ResetsAStreamThatTheClientDoesNotTake(t *testing.T) {
	s, g := newScript(t, engine.Options{}), &stage{}
	s.listen(g, session.ServerOptions{SendTimeout: 5 * time.Second}, setting(4, 3)) // a window of 3 bytes
	s.recv(append(ask(1, true, blockGet), ask(3, true, blockGet)...))
	s.frames()
	for _, p := range g.parts {
		s.do(func() {
			_ = p.SendHead(answer(200, 10), false)
			if n, err := p.SendData([]byte("0123456789"), true); n != 3 || err != nil || !p.Congested() {
				t.Fatal(n, err)
			}
		})
	}
	s.frames()
	p := g.parts[1]
	p.onSend = func() { _, _ = p.SendData([]byte("3456789"), true) }
	s.recv(frame(nil, frameWindow, 0, 3, "\x00\x00\x00\x07"))
	s.want("data 3: 7 end")
	s.pass(6 * time.Second)
	s.want("reset 1: CANCEL")
	g.parts[0].want(t, "head GET / end", "reset timed out")
}

func TestServer_h2EndsAnIdleConnectionWithGOAWAY(t *testing.T) {
	s, g := listening(t, session.ServerOptions{H2: session.H2Options{IdleTimeout: 5 * time.Second}}, "")
	s.recv(ask(1, true, blockGet))
	s.pass(8 * time.Second)
	s.frames()
	s.do(func() { _ = g.parts[0].SendHead(answer(200, 0), true) })
	s.frames()
	s.pass(4 * time.Second)
	s.want()
	s.pass(2 * time.Second)
	s.want("goaway 1: NO_ERROR")
	if !s.l.Sock(s.fd).FIN && s.l.Sock(s.fd).Open {
		t.Fatal("still open")
	}
}

func TestServer_h2OldConnectionTakesLeave(t *testing.T) {
	s, g := listening(t, session.ServerOptions{H2: session.H2Options{MaxAge: 10 * time.Second}}, "")
	s.recv(ask(1, true, blockGet))
	s.frames()
	s.pass(8 * time.Second)
	s.want()
	s.pass(6 * time.Second)
	s.want("goaway 2147483647: NO_ERROR", "ping", "goaway 1: NO_ERROR")
	s.do(func() { _ = g.parts[0].SendHead(answer(200, 0), true) })
	s.want("head 1: :status=200 content-length=0 end")
	s.pass(time.Second)
	if !s.l.Sock(s.fd).FIN && s.l.Sock(s.fd).Open {
		t.Fatal("still open")
	}
}

// What is left of an answered request keeps a connection that takes leave open no longer than it comes.
func TestServer_h2LeaveBehindARequestThatIsAnswered(t *testing.T) {
	s, g := listening(t, session.ServerOptions{H2: session.H2Options{MaxAge: 2 * time.Second}}, "")
	s.recv(ask(1, false, blockPost))
	s.do(func() { _ = g.parts[0].SendHead(answer(403, 0), true) })
	s.pass(5 * time.Second) // an age of 2 s is noticed a second late at times, and GOAWAY takes another
	s.frames()
	if !s.l.Sock(s.fd).Open {
		t.Fatal("closed before the rest of the request came")
	}
	s.recv(frame(nil, frameData, 1, 1, "rest"))
	if sock := s.l.Sock(s.fd); sock.Open && !sock.FIN {
		t.Fatal("still open")
	}
	g.parts[0].want(t, "head POST /")
}

func TestServer_h2MalformedRequestIsReset(t *testing.T) {
	s, g := listening(t, session.ServerOptions{}, "")
	s.frames()
	s.recv(append(ask(1, true, "\x82\x86\x01\x01h"), ask(3, true, blockGet)...)) // no :path
	s.want("reset 1: PROTOCOL_ERROR")
	if len(g.refused) != 1 || g.refused[0] != 400 || len(g.parts) != 1 {
		t.Fatal(g.refused, len(g.parts))
	}
}

// All that one read asks for leaves in one write.
func TestServer_h2GathersTheAnswersOfATick(t *testing.T) {
	b := &bare{body: make([]byte, 100)}
	s := newScript(t, engine.Options{})
	s.listen(b, session.ServerOptions{}, "")
	s.frames()
	var in []byte
	for i := range 10 {
		in = append(in, ask(uint32(2*i+1), true, blockGet)...)
	}
	before := s.l.Calls()
	s.recv(in)
	if c := s.l.Calls().Minus(before); c.IO() != 2 || len(s.frames()) != 20 {
		t.Fatalf("%+v", c)
	}
}

const blockConnect = "\x42\x07CONNECT\x84\x86\x01\x01h\x00\x09:protocol\x09websocket"

func TestServer_h2Tunnel(t *testing.T) {
	s, g := listening(t, session.ServerOptions{}, "")
	s.recv(ask(1, false, blockConnect))
	s.recv(frame(nil, frameData, 0, 1, "early"))
	s.frames()
	p := g.parts[0]
	p.want(t, "head GET / end")
	s.do(func() { _ = p.SendHead(&message.Head{Status: 101, Tunnel: true}, false) })
	s.want("head 1: :status=200")
	p.want(t, "data 5")
	s.do(func() { _, _ = p.SendData([]byte("hello"), false) })
	s.want("data 1: 5")
	s.recv(frame(nil, frameData, flagEnd, 1, "bye"))
	p.want(t, "data 3 end")
	s.do(func() { _, _ = p.SendData(nil, true) })
	s.want("data 1: 0 end")
	p.want(t)
}

func TestServer_h2TunnelRefused(t *testing.T) {
	s, g := listening(t, session.ServerOptions{}, "")
	s.recv(ask(1, false, blockConnect))
	s.frames()
	s.do(func() { _ = g.parts[0].SendHead(answer(403, 0), true) })
	s.want("head 1: :status=403 content-length=0 end", "reset 1: NO_ERROR")
}

// Streams take turns where the client is slow to read: a small answer does not wait for large ones.
func TestServer_h2TakesTurns(t *testing.T) {
	s, g := listening(t, session.ServerOptions{}, setting(4, 1<<24))
	s.recv(frame(nil, frameWindow, 0, 0, "\x01\x00\x00\x00"))
	s.l.SendMax = 1
	s.frames()
	s.recv(append(append(ask(1, true, blockGet), ask(3, true, blockGet)...), ask(5, true, blockGet)...))
	left := []int{1 << 20, 1 << 20, 1000}
	for i, p := range g.parts {
		send := func() {
			n, err := p.SendData(make([]byte, left[i]), true)
			testutil.Must(t, err)
			left[i] -= n
		}
		p.onSend = send
		s.do(func() { _ = p.SendHead(answer(200, int64(left[i])), false); send() })
	}
	var order []string
	for range 1000 {
		if left[0]+left[1]+left[2] == 0 {
			break
		}
		s.l.SendMax = 32 << 10
		s.l.Drained(s.fd)
		s.r.Tick()
		s.l.Wake()
		s.r.Tick()
		if left[2] == 0 && order == nil {
			order = append(order, fmt.Sprint(left))
			if sent := 2<<20 - left[0] - left[1]; sent > 256<<10 {
				t.Errorf("the small answer came behind %d bytes", sent)
			}
		}
		if d := left[0] - left[1]; d > 128<<10 || d < -128<<10 {
			t.Fatalf("turns are not fair: %v", left)
		}
		s.l.Sock(s.fd).Sent = nil
	}
	if left[0]+left[1]+left[2] != 0 {
		t.Fatal(left)
	}
}

// A client that goes on sending does not get more time for what it does not take.
func TestServer_h2StalledClientGainsNoTimeBySending(t *testing.T) {
	s, g := listening(t, session.ServerOptions{SendTimeout: 5 * time.Second}, setting(4, 3))
	s.recv(ask(1, false, blockPost))
	p := g.parts[0]
	s.do(func() {
		_ = p.SendHead(answer(200, 10), false)
		_, _ = p.SendData([]byte("0123456789"), true)
	})
	for range 4 {
		s.recv(frame(nil, frameData, 0, 1, "more"))
		s.pass(time.Second)
	}
	s.frames()
	s.pass(2 * time.Second)
	s.want("reset 1: CANCEL")
}

// A receiver that panics costs its exchange, not the connection: what came after it in the same read is served.
func TestServer_h2PanicCostsOneStream(t *testing.T) {
	s, g := listening(t, session.ServerOptions{}, "")
	s.recv(ask(1, false, blockPost))
	g.parts[0].panics = true
	s.frames()
	s.recv(append(frame(nil, frameData, 0, 1, "boom"), ask(3, true, blockGet)...))
	s.pass(time.Millisecond)
	s.want("reset 1: INTERNAL_ERROR")
	g.parts[0].want(t, "head POST /", "data 4", "reset connection lost")
	g.parts[1].want(t, "head GET / end")
	s.do(func() { _ = g.parts[1].SendHead(answer(200, 0), true) })
	s.want("head 3: :status=200 content-length=0 end")
	if s.r.Stats().Panics != 1 {
		t.Fatal(s.r.Stats().Panics)
	}
}

// Where memory is short no new exchange begins, and the client may try again.
func TestServer_h2ShedsUnderPressure(t *testing.T) {
	s, g := newScript(t, engine.Options{Memory: 1, SendLow: 2 << 20, SendMax: 4 << 20}), &stage{}
	s.listen(g, session.ServerOptions{}, setting(4, 1<<22))
	s.recv(frame(nil, frameWindow, 0, 0, "\x00\x40\x00\x00"))
	hog := s.fd
	s.fd = s.l.Offer(3, poller.Addr{IP: netip.MustParseAddrPort("192.0.2.8:5555")})
	s.r.Tick()
	s.recv(frame(frame([]byte(preface), frameSettings, 0, 0, ""), frameSettings, flagAck, 0, ""))
	s.frames()
	other := s.fd
	s.fd, s.l.SendMax = hog, 1
	s.recv(ask(1, true, blockGet))
	p := g.parts[0]
	s.do(func() {
		_ = p.SendHead(answer(200, 2<<20), false)
		_, _ = p.SendData(make([]byte, 2<<20), true)
	})
	s.fd, s.l.SendMax = other, 0
	if s.r.Pressure() < engine.PressureShed {
		t.Fatal(s.r.Pressure())
	}
	s.recv(ask(1, true, blockGet))
	s.want("reset 1: REFUSED_STREAM")
	if len(g.parts) != 1 {
		t.Fatal("a request got through")
	}
}
