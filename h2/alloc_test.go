package h2

import (
	"runtime"
	"testing"
	"unsafe"

	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
)

// exchanger runs whole exchanges between two ends, without pipes.
type exchanger struct {
	client, server   Conn
	head, req, res   message.Head
	toServer, toPeer []byte
	body             []byte
	now              int64
}

func newExchanger(body int, o *Options) *exchanger {
	x := &exchanger{body: make([]byte, body), now: 1e9}
	x.client.Init(Client, o, x.now)
	x.server.Init(Server, o, x.now)
	x.req = *makeRequest("GET", "/index.html", "example.org", "user-agent", "Mozilla/5.0 (X11; Linux x86_64)",
		"accept", "text/html,*/*;q=0.8", "accept-encoding", "gzip, br", "cookie", "session=0123456789abcdef0123456789")
	x.res = *makeResponse(200, "server", "edge", "content-type", "text/plain", "date", "Fri, 20 Nov 2026 11:00:00 GMT")
	x.res.Length = int64(body)
	for range 10 {
		x.exchange()
	}
	return x
}

// exchange is a request with trailers allowed and an answer with a body, both through the wire.
func (x *exchanger) exchange() (ok bool) {
	s, err := x.client.Open(x.now)
	if err != nil {
		panic(err)
	}
	x.toServer, _ = x.client.AppendHead(x.toServer, s, &x.req, true)
	for in := x.toServer; ; {
		n, ev := x.server.Next(in, &x.head, x.now)
		in = in[n:]
		if ev.Kind == NeedMore {
			break
		}
		if ev.Kind == HeadDone {
			x.toPeer, _ = x.server.AppendHead(x.toPeer, ev.Stream, &x.res, false)
			x.toPeer, _, _ = x.server.AppendData(x.toPeer, ev.Stream, x.body, true)
		}
	}
	x.toServer = x.toServer[:0]
	for in := x.toPeer; ; {
		n, ev := x.client.Next(in, &x.head, x.now)
		in = in[n:]
		if ev.Kind == NeedMore {
			break
		}
		if ev.Kind == Data {
			x.client.Release(ev.Stream, len(ev.Body))
			ok = ev.End
		}
	}
	x.toPeer = x.toPeer[:0]
	return ok && x.client.Streams() == 0 && x.server.Streams() == 0
}

func TestConn_exchangeAllocatesNothing(t *testing.T) {
	if invariant.On {
		t.Skip("the checks allocate")
	}
	for _, body := range []int{1, 128, 40000} {
		x := newExchanger(body, &Options{Arena: new(Arena)})
		if !x.exchange() {
			t.Fatal("no answer")
		}
		if n := testutil.Allocs(300, func() { x.exchange() }); n != 0 {
			t.Errorf("body of %d: %v allocations an exchange", body, n)
		}
	}
}

// Heads in parts, trailers, a stream that is blocked and one that is reset.
func TestConn_rareWaysAllocateNothing(t *testing.T) {
	if invariant.On {
		t.Skip("the checks allocate")
	}
	s := scriptFor(t, Server, Options{})
	block := s.encode(":method", "POST", ":scheme", "http", ":path", "/", ":authority", "h", "cookie", "a", "x", "y",
		"cookie", "b")
	var in []byte
	res, large := makeResponse(200), make([]byte, 1<<17)
	id, out := uint32(1), make([]byte, 0, 1<<18)
	run := func() {
		in = append(appendFrame(in[:0], 9, frameHeaders, 0, id), block[:9]...)
		in = append(appendFrame(in, len(block)-9, frameContinuation, flagEndHeaders, id), block[9:]...)
		in = append(appendFrame(in, 2, frameHeaders, flagEndHeaders|flagEndStream, id), 0x80|32, 0x80|32)
		in = appendWindowUpdate(in, 0, 1<<10)
		for b := in; ; {
			n, ev := s.c.Next(b, &s.head, s.now)
			b = b[n:]
			if ev.Kind == NeedMore {
				break
			}
			if ev.Kind == HeadDone {
				out, _ = s.c.AppendHead(out[:0], ev.Stream, res, false)
				out, _, _ = s.c.AppendData(out, ev.Stream, large, false)
				s.c.NextSendable()
				s.c.Block(ev.Stream)
			}
			if ev.Kind == Trailers {
				s.c.Reset(ev.Stream, Cancel)
			}
		}
		out = s.c.AppendControl(out)
		id += 2
	}
	run()
	if n := testutil.Allocs(150, run); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if s.c.fault != nil {
		t.Error(s.c.fault)
	}
}

// What a connection and a stream take. Conn: it points to the tables of HPACK, which are made when they are filled.
func TestSizes(t *testing.T) {
	if n := unsafe.Sizeof(Stream{}); n > 224 {
		t.Errorf("a Stream takes %d bytes", n)
	}
	if n := unsafe.Sizeof(Conn{}); n > 1024 {
		t.Errorf("a Conn takes %d bytes", n)
	}
	t.Logf("Conn %d, Stream %d, Event %d", unsafe.Sizeof(Conn{}), unsafe.Sizeof(Stream{}), unsafe.Sizeof(Event{}))
}

// An idle connection after some exchanges with a browser's heads: what stands in doc.go.
func TestConn_idleMemory(t *testing.T) {
	const conns = 200
	kept := make([]*exchanger, conns)
	o := &Options{Arena: new(Arena)}
	newExchanger(100, o)
	before := testutil.Heap()
	for i := range kept {
		kept[i] = newExchanger(100, o)
		kept[i].forget()
	}
	each := (testutil.Heap() - before) / conns / 2 // two ends
	t.Logf("%d bytes", each)
	if each > 4<<10 {
		t.Errorf("an idle connection takes %d bytes", each)
	}
	runtime.KeepAlive(kept)
}

// forget leaves nothing but the two connections.
func (x *exchanger) forget() {
	x.toServer, x.toPeer, x.body, x.head, x.req, x.res = nil, nil, nil, message.Head{}, message.Head{}, message.Head{}
}

func BenchmarkConn_exchange(b *testing.B) {
	x := newExchanger(128, &Options{Arena: new(Arena)})
	b.ReportAllocs()
	for b.Loop() {
		x.exchange()
	}
}

func BenchmarkConn_data(b *testing.B) {
	x := newExchanger(60000, &Options{Arena: new(Arena)})
	b.ReportAllocs()
	b.SetBytes(60000)
	for b.Loop() {
		x.exchange()
	}
}
