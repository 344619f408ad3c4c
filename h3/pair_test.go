package h3

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/quic"
)

// pair is a client and a server that speak HTTP/3 with each other.
type pair struct {
	*wire
	client, server peer
}

// peer is one end of a pair. What it sends goes on when there is room.
type peer struct {
	p     *pair
	end   *end
	c     Conn
	head  message.Head
	bytes map[*Stream][]byte  // that came
	left  map[*Stream]*sender // bodies that are sent
	on    func(ev Event)
}

type sender struct {
	body     []byte
	trailers *message.Head
}

func newPair(t testing.TB, mine, far Options, client, server quic.Options) *pair {
	p := &pair{wire: newWire(t, client, server)}
	for i, x := range []*peer{quic.Client: &p.client, quic.Server: &p.server} {
		x.p, x.end, x.bytes, x.left = p, p.ends[i], map[*Stream][]byte{}, map[*Stream]*sender{}
		x.end.on = x.take
	}
	p.client.c.Init(Client, &p.client.end.q, &mine)
	p.server.c.Init(Server, &p.server.end.q, &far)
	p.connect()
	return p
}

func (x *peer) take(in *quic.Event) {
	for {
		n, ev := x.c.Next(in, &x.head, x.p.now)
		in.Body = in.Body[n:]
		switch ev.Kind {
		case NeedMore:
			return
		case HeadDone:
			x.bytes[ev.Stream] = nil // it may have been another exchange's
		case Data:
			x.bytes[ev.Stream] = append(x.bytes[ev.Stream], ev.Body...)
			x.c.Release(ev.Stream, len(ev.Body))
		case Sendable:
			x.send(ev.Stream)
		}
		if x.on != nil {
			x.on(ev)
		}
	}
}

func (x *peer) body(s *Stream, b []byte, trailers *message.Head) {
	x.left[s] = &sender{b, trailers}
	x.send(s)
}

func (x *peer) send(s *Stream) {
	w := x.left[s]
	n, err := x.c.SendData(s, w.body, w.trailers == nil)
	testutil.Must(x.p.t, err)
	if w.body = w.body[n:]; len(w.body) == 0 && w.trailers != nil {
		testutil.Must(x.p.t, x.c.SendTrailers(s, w.trailers))
	}
}

func noise(n int) []byte {
	r := rand.New(rand.NewPCG(uint64(n), 3))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// Bodies both ways, with trailers, over windows that are smaller than they are.
func TestPair_echo(t *testing.T) {
	for _, window := range []int{0, 100, 5000} {
		o := quic.Options{StreamWindow: window}
		p := newPair(t, Options{}, Options{}, o, o)
		sizes := []int{0, 1, 63, 64, 1000, 16383, 16384, 100_000, 700_000}
		server, client := &p.server, &p.client
		if window == 100 {
			sizes = sizes[:7]
		}
		server.on = func(ev Event) {
			switch ev.Kind {
			case HeadDone:
				h := makeResponse(200, "X-Target", string(server.head.Bytes(server.head.Target)))
				testutil.Must(t, server.c.SendHead(ev.Stream, h, false))
			case Trailers:
				server.body(ev.Stream, server.bytes[ev.Stream], makeResponse(0, "X-Sum", server.head.Get("x-sum")))
			}
		}
		answers := 0
		client.on = func(ev Event) {
			switch {
			case ev.Kind == HeadDone && client.head.Get("x-target") != "/echo":
				t.Error(client.head.Get("x-target"))
			case ev.Kind == Trailers:
				answers++
				if want := noise(len(client.bytes[ev.Stream])); client.head.Get("x-sum") != "77" ||
					!bytes.Equal(want, client.bytes[ev.Stream]) {
					t.Error("another body came back")
				}
			case ev.Kind == Reset || ev.Kind == Fault:
				t.Error(ev)
			}
		}
		got := []int{}
		for _, n := range sizes {
			s, err := client.c.Open(p.now)
			testutil.Must(t, err)
			testutil.Must(t, client.c.SendHead(s, makeChunked("POST", "/echo", "h"), false))
			client.body(s, noise(n), makeResponse(0, "X-Sum", "77"))
			got = append(got, n)
		}
		for rounds := 0; answers < len(sizes) && rounds < 2000; rounds++ {
			p.pump()
			p.wait(10e6)
		}
		if answers != len(sizes) || !slices.Equal(got, sizes) {
			t.Fatalf("window %d: %d of %d answers", window, answers, len(sizes))
		}
		p.wait(100e6)
		for _, x := range []*peer{client, server} {
			if x.c.Streams() != 0 || x.end.q.Held() != 0 {
				t.Errorf("%d streams, %d bytes held", x.c.Streams(), x.end.q.Held())
			}
		}
	}
}

func makeChunked(method, target, host string, fields ...string) *message.Head {
	h := makeRequest(method, target, host, fields...)
	h.Chunked, h.Length = true, message.LengthUnknown
	return h
}

// A client that gives up, a server that does, and the end of the connection in order.
func TestPair_endings(t *testing.T) {
	p := newPair(t, Options{}, Options{}, quic.Options{}, quic.Options{})
	server, client := &p.server, &p.client
	var kinds []string
	note := func(name string) func(Event) {
		return func(ev Event) {
			if ev.Kind != Settings { // there is room for another stream
				kinds = append(kinds, strings.TrimSpace(name+" "+ev.Kind.String()+" "+codeOf(ev)))
			}
		}
	}
	want := func(what ...string) {
		t.Helper()
		p.pump()
		if slices.Sort(kinds); !slices.Equal(kinds, what) {
			t.Errorf("%q, want %q", kinds, what)
		}
		kinds = nil
	}
	var asked *Stream
	ask := func() *Stream {
		s, err := client.c.Open(p.now)
		testutil.Must(t, err)
		testutil.Must(t, client.c.SendHead(s, makeChunked("POST", "/", "h"), false))
		p.pump()
		return s
	}
	client.on = note("client")
	server.on = func(ev Event) {
		if ev.Kind == HeadDone {
			asked = ev.Stream
		}
		note("server")(ev)
	}
	s := ask()
	client.c.Reset(s, RequestCancelled)
	want("server HeadDone", "server Reset H3_REQUEST_CANCELLED")
	s = ask()
	server.c.Reset(asked, InternalError)
	want("client Reset H3_INTERNAL_ERROR", "server HeadDone")
	if !s.Dead() {
		t.Error("the stream lives on")
	}
	s = ask()
	server.c.Shutdown(p.now)
	want("client GoAway", "server HeadDone")
	p.now = server.c.Deadline()
	server.c.Expire(p.now)
	testutil.Must(t, server.c.SendHead(asked, makeResponse(204), true))
	server.c.StopRequest(asked)
	want("client GoAway", "client HeadDone")
	if !s.Dead() || client.c.Streams() != 0 {
		t.Error("STOP_SENDING has not ended the request")
	}
	p.wait(100e6)
	if !server.c.Done() || !client.c.Done() {
		t.Error("not done", server.c.Done(), client.c.Done())
	}
	client.c.Close(NoError)
	want("server Fault H3_NO_ERROR")
}

// codeOf is the code of an event that has one.
func codeOf(ev Event) string {
	if ev.Kind == Reset || ev.Kind == Fault {
		return ev.Code.String()
	}
	return ""
}

// exchanger makes the same exchange again and again.
type exchanger struct {
	*pair
	ask, answer *message.Head
	body        []byte
	done        int
}

func newExchanger(t testing.TB, size int) *exchanger {
	x := &exchanger{pair: newPair(t, Options{Arena: new(Arena)}, Options{Arena: new(Arena)}, quic.Options{},
		quic.Options{}), body: noise(size)}
	x.client.bytes, x.server.bytes = nil, nil
	x.ask = makeRequest("GET", "/products/spring/catalogue.html", "www.example.com",
		"user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0",
		"accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
		"accept-encoding", "gzip, deflate, br, zstd", "accept-language", "en-GB,en;q=0.9,de;q=0.8")
	x.answer = makeResponse(200, "content-type", "text/html; charset=utf-8", "server", "edge",
		"date", "Mon, 21 Oct 2013 20:13:21 GMT", "etag", `"686897696a7c876b7e"`)
	x.answer.Length, x.answer.Chunked = int64(size), false
	for _, p := range []*peer{&x.client, &x.server} {
		p.end.on = func(in *quic.Event) { x.take(p, in) }
	}
	return x
}

func (x *exchanger) take(p *peer, in *quic.Event) {
	for {
		n, ev := p.c.Next(in, &p.head, x.now)
		in.Body = in.Body[n:]
		switch {
		case ev.Kind == NeedMore:
			return
		case ev.Kind == HeadDone && p == &x.server:
			if err := p.c.SendHead(ev.Stream, x.answer, false); err != nil {
				x.t.Fatal(err)
			}
			if n, err := p.c.SendData(ev.Stream, x.body, true); n < len(x.body) || err != nil {
				x.t.Fatal(n, err)
			}
		case ev.Kind == Data:
			if p.c.Release(ev.Stream, len(ev.Body)); ev.End {
				x.done++
			}
		}
	}
}

func (x *exchanger) exchange() {
	s, err := x.client.c.Open(x.now)
	if err == nil {
		err = x.client.c.SendHead(s, x.ask, true)
	}
	if err != nil {
		x.t.Fatal(err)
	}
	before := x.done
	if x.pump(); x.done != before+1 {
		x.t.Fatal("no answer")
	}
}

func TestConn_exchangesAllocateNothing(t *testing.T) {
	for _, size := range []int{100, 10_000} {
		x := newExchanger(t, size)
		for range 3000 {
			x.exchange()
		}
		if n := testutil.Allocs(300, x.exchange); n != 0 {
			t.Errorf("%d bytes: %v allocations", size, n)
		}
	}
}

func BenchmarkConn_exchange(b *testing.B) {
	x := newExchanger(b, 128)
	b.ReportAllocs()
	for b.Loop() {
		x.exchange()
	}
}
