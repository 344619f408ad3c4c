package session_test

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

// frame appends an HTTP/2 frame.
func frame(dst []byte, kind, flags byte, id uint32, payload string) []byte {
	n := len(payload)
	dst = append(dst, byte(n>>16), byte(n>>8), byte(n), kind, flags)
	dst = binary.BigEndian.AppendUint32(dst, id)
	return append(dst, payload...)
}

// The frames of these tests.
const (
	frameData, frameHeaders, frameReset, frameSettings, framePing, frameGoAway, frameWindow = 0, 1, 3, 4, 6, 7, 8

	flagEnd, flagAck, flagEndHeaders = 1, 1, 4

	preface   = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	blockGet  = "\x82\x84\x86\x01\x01h" // GET / http, :authority h
	blockPost = "\x83\x84\x86\x01\x01h" // POST
	blockOK   = "\x88"                  // 200
)

// bare is a service that answers at once, with a body, out of memory of its own.
type bare struct {
	head message.Head
	body []byte
}

func (b *bare) Accept(*engine.Reactor, session.Stream) session.Receiver { return b }
func (b *bare) Refused(*engine.Reactor, poller.Addr, int, error)        {}
func (b *bare) OnReset(session.Stream, session.Code, error)             {}
func (b *bare) OnTrailers(s session.Stream, _ *message.Head)            {}
func (b *bare) OnSendable(session.Stream)                               {}
func (b *bare) OnData(s session.Stream, p []byte, _ bool)               { s.Release(len(p)) }
func (b *bare) OnHead(s session.Stream, _ *message.Head, _ bool) {
	b.head.Status, b.head.Length = 200, int64(len(b.body))
	if s.SendHead(&b.head, false) == nil {
		_, _ = s.SendData(b.body, true)
	}
}

// loopServer is a server on a kernel that costs nothing, with one client that has sent its preface.
func loopServer(t testing.TB, service session.Service) (*sim.Loop, *engine.Reactor, poller.FD) {
	t.Helper()
	s := newScript(t, engine.Options{})
	s.listen(service, session.ServerOptions{}, "")
	return s.l, s.r, s.fd
}

// A warm exchange of a server allocates nothing, makes no timer move and costs a read and a write; so do four at once.
func TestServer_warmH2ExchangeAllocatesNothing(t *testing.T) {
	if invariant.On {
		t.Skip("checks allocate")
	}
	for _, at := range []int{1, 4} {
		b := &bare{body: make([]byte, 128)}
		l, r, fd := loopServer(t, b)
		var in []byte
		id := uint32(1)
		exchange := func() {
			in = in[:0]
			for range at {
				in = frame(in, frameHeaders, flagEndHeaders|flagEnd, id, blockGet)
				id += 2
			}
			in = frame(in, frameWindow, 0, 0, string([]byte{0, 0, byte(at * 128 >> 8), byte(at * 128)}))
			l.Inject(fd, in)
			r.Tick()
			if len(l.Sock(fd).Sent) < at*128 {
				t.Fatalf("%d bytes came", len(l.Sock(fd).Sent))
			}
			l.Sock(fd).Sent = l.Sock(fd).Sent[:0]
		}
		for range 100 {
			exchange()
		}
		before := l.Calls()
		if n := testutil.Allocs(1000, exchange); n != 0 {
			t.Errorf("%d at a time: %v allocations", at, n)
		}
		if c := l.Calls().Minus(before); c.IO() != 2*1001 {
			t.Errorf("%d at a time: %+v", at, c)
		}
	}
}

// Sixteen exchanges in a read, as h2load has them; the time is of one.
func BenchmarkServer_warmH2(b *testing.B) {
	const at = 16
	l, r, fd := loopServer(b, &bare{body: make([]byte, 128)})
	var in []byte
	id := uint32(1)
	credit := string([]byte{0, 0, byte(at * 128 >> 8), at * 128 & 0xff})
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%at > 0 {
			continue
		}
		in = in[:0]
		for range at {
			in = frame(in, frameHeaders, flagEndHeaders|flagEnd, id, blockGet)
			if id += 2; id > 1<<31-1 {
				b.Fatal("out of streams")
			}
		}
		l.Inject(fd, frame(in, frameWindow, 0, 0, credit))
		r.Tick()
		l.Sock(fd).Sent = l.Sock(fd).Sent[:0]
	}
}

// once is a receiver of a Mux that lets go of what it is given.
type once struct{ ended int }

func (o *once) OnHead(_ session.Stream, _ *message.Head, end bool) { o.note(end) }
func (o *once) OnData(s session.Stream, p []byte, end bool)        { s.Release(len(p)); o.note(end) }
func (o *once) OnTrailers(session.Stream, *message.Head)           { o.note(true) }
func (o *once) OnSendable(session.Stream)                          {}
func (o *once) OnReset(session.Stream, session.Code, error)        {}
func (o *once) note(end bool) {
	if end {
		o.ended++
	}
}

// So does one of a Mux.
func TestMux_warmExchangeAllocatesNothing(t *testing.T) {
	if invariant.On {
		t.Skip("checks allocate")
	}
	s, o := dialled(t, "")
	l, r, fd := s.l, s.r, s.fd
	receiver := &once{}
	h := message.Head{}
	h.SetMethod("GET")
	h.SetTarget("/")
	h.SetAuthority("h")
	var in []byte
	id := uint32(1)
	task := engine.Task{Run: func(*engine.Reactor) {
		h.Length = 0
		testutil.Must(t, o.mux.Open(receiver).SendHead(&h, true))
	}}
	exchange := func() {
		ended := receiver.ended
		r.Post(&task)
		r.Tick()
		in = frame(in[:0], frameHeaders, flagEndHeaders, id, blockOK)
		in = frame(in, frameData, flagEnd, id, "0123456789")
		id += 2
		l.Inject(fd, in)
		r.Tick()
		if receiver.ended != ended+1 {
			t.Fatal("no answer")
		}
		l.Sock(fd).Sent = l.Sock(fd).Sent[:0]
	}
	for range 100 {
		exchange()
	}
	if n := testutil.Allocs(1000, exchange); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// An idle HTTP/2 connection without TLS: what the codec needs to remember, and no buffer.
func TestServer_memoryOfAnIdleH2Connection(t *testing.T) {
	l, r, _ := loopServer(t, &bare{body: make([]byte, 128)})
	const n = 1000
	hello := frame(frame([]byte(preface), frameSettings, 0, 0, ""), frameSettings, flagAck, 0, "")
	hello = frame(hello, frameHeaders, flagEndHeaders|flagEnd, 1, blockGet)
	before := testutil.Heap()
	for range n {
		fd := l.Offer(3, poller.Addr{IP: netip.MustParseAddrPort("192.0.2.7:5555")})
		r.Tick()
		l.Inject(fd, hello)
		r.Tick()
		l.Sock(fd).Sent = nil
	}
	each := int(testutil.Heap()-before) / n
	runtime.KeepAlive(l)
	runtime.KeepAlive(r)
	t.Logf("%d bytes", each)
	if each > 3<<10 {
		t.Errorf("an idle connection holds %d bytes", each)
	}
}
