package h3

import (
	"fmt"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/message"
)

// The peer sends any bytes on a control stream, another one-way stream and the stream of a request. Nothing panics, a
// request that is passed on is well-formed, and where the bytes are cut makes no difference.
func FuzzConn(f *testing.F) {
	add := func(control, other, request string, cut uint8, client, end bool) {
		f.Add(join(f, []string{control}), join(f, []string{other}), []byte(request), cut, client, end)
	}
	plain := func(frames ...string) string { return string(join(f, frames)) }
	add("00 04 02 08 01", "02", plain(get("content-length", "5"), data("he"), "21 01 00", data("llo"),
		headers("a", "b")), 1, false, true)
	add("00 04 00 07 01 00", "03 41", plain(headers(":method", "CONNECT", ":protocol", "websocket", ":scheme", "https",
		":path", "/", ":authority", "h"), data("x")), 3, false, false)
	add("00 04 02 06 50 00", "21 00", plain(headers(":status", "103"), headers(":status", "200", "content-length", "1"),
		data("x")), 2, true, true)
	add("00 04 00 800f0700 04 00 753d31", "00", plain(get("expect", "tea")), 7, false, true)
	f.Fuzz(func(t *testing.T, control, other, request []byte, cut uint8, client, end bool) {
		if len(control)+len(other)+len(request) > 24<<10 {
			return
		}
		role := Server
		if client {
			role = Client
		}
		whole := fuzzOnce(t, role, control, other, request, end, 0)
		if parts := fuzzOnce(t, role, control, other, request, end, 1+int(cut)); parts != whole {
			t.Fatalf("whole:\n%s\nin parts of %d:\n%s", whole, 1+cut, parts)
		}
	})
}

// fuzzOnce returns what the bytes make: events, and what the Conn sends.
func fuzzOnce(t *testing.T, role Role, control, other, request []byte, end bool, cut int) string {
	s := newScript(t, role, Options{HeadBytes: 4 << 10})
	s.cut = cut
	bodies := map[uint64]string{}
	s.onEvent = func(ev Event) {
		switch ev.Kind {
		case HeadDone:
			if role == Server {
				checkHead(t, &s.head)
				h := makeResponse(200)
				if h.Tunnel = s.head.Upgrade || s.head.Verb == message.VerbConnect; s.head.Upgrade {
					h.Status = 101
				}
				s.respond(ev.Stream.ID, h, false)
				s.data(ev.Stream.ID, "answer", ev.End)
			}
		case Data: // pieces are joined
			s.events = s.events[:len(s.events)-1]
			if bodies[ev.Stream.ID] += string(ev.Body); ev.End {
				s.events = append(s.events, fmt.Sprint("end of data ", ev.Stream.ID))
			}
			s.c.Release(ev.Stream, len(ev.Body))
		case Reset: // how much came before is chance
			if ev.Stream != nil {
				delete(bodies, ev.Stream.ID)
			}
		}
		s.c.check()
	}
	if role == Client {
		s.ask(makeRequest("GET", "/", "h"), true)
	}
	s.sendBytes(s.oneWay(0), control, false)
	s.recv()
	if s.far.q.Closed().ByPeer == false {
		s.sendBytes(s.oneWay(1), other, false)
		s.recv()
	}
	if s.far.q.Closed().ByPeer == false {
		q := s.request(0)
		s.sendBytes(q, request, end)
		s.recv()
	}
	s.w.now += 20e9
	s.expire()
	if n := keptBuffers(s.o.Arena); n > spareBufs {
		t.Fatal(n)
	}
	return strings.Join(append(s.events, s.wire()...), "\n") + fmt.Sprintf("\n%v %d open", bodies, s.c.Streams())
}

// keptBuffers takes the buffers that a keeps, and returns how many they were.
func keptBuffers(a *Arena) (n int) {
	for cap(a.bufs.Take(0)) > 0 {
		n++
	}
	return n
}

// checkHead wants a request that can be written as HTTP/1.
func checkHead(t *testing.T, h *message.Head) {
	t.Helper()
	for i := range h.Fields {
		if !message.ValidName(string(h.Name(i))) || !message.ValidValue(h.Value(i)) {
			t.Fatalf("field %q: %q", h.Name(i), h.Value(i))
		}
	}
	if !message.ValidTarget(h.Bytes(h.Target)) || !message.ValidName(string(h.MethodBytes())) {
		t.Fatalf("%q %q", h.MethodBytes(), h.Bytes(h.Target))
	}
}
