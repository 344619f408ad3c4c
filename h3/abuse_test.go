package h3

import (
	"errors"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/quic"
)

// Each abuse has a budget: that many are harmless, one more ends the connection, and time gives some back.
func TestServer_budgets(t *testing.T) {
	for _, c := range []struct {
		name  string
		burst int
		fault *Error
		count func(st *Stats) uint64
		do    func(s *script, i int)
	}{
		{"streams reset at once", 400, errRapidReset, func(st *Stats) uint64 { return st.RapidReset },
			func(s *script, i int) {
				q := s.request(uint64(4 * i))
				s.send(q, get())
				s.recv()
				s.far.q.Reset(q, 0)
				s.far.q.Done(q)
			}},
		{"streams reset before their head", 400, errRapidReset, func(st *Stats) uint64 { return st.RapidReset },
			func(s *script, i int) {
				q := s.request(uint64(4 * i))
				s.far.q.Reset(q, 0)
				s.far.q.Done(q)
			}},
		{"malformed heads", 200, errMadeYouReset, func(st *Stats) uint64 { return st.MadeYouReset },
			func(s *script, i int) {
				q := s.request(uint64(4 * i))
				s.sendEnd(q, get("te", "gzip"))
				s.recv()
				s.far.q.Done(q)
			}},
		{"unknown frames", 1000, errUnknownFlood, func(st *Stats) uint64 { return st.UnknownFlood },
			func(s *script, i int) { s.send(s.oneWay(0), "21 00") }},
		{"unknown streams", 1000, errUnknownFlood, func(st *Stats) uint64 { return st.UnknownFlood },
			func(s *script, i int) {
				q := s.oneWay(1 + i)
				s.send(q, "21")
				s.recv()
				s.far.q.Done(q)
			}},
		{"one-way streams that end at once", 1000, errUnknownFlood, func(st *Stats) uint64 { return st.UnknownFlood },
			func(s *script, i int) {
				q := s.oneWay(1 + i)
				s.sendBytes(q, nil, true)
				s.recv()
				s.far.q.Done(q)
			}},
		{"one-way streams that are reset", 1000, errUnknownFlood, func(st *Stats) uint64 { return st.UnknownFlood },
			func(s *script, i int) {
				q := s.oneWay(1 + i)
				s.far.q.Reset(q, 0)
				s.recv()
				s.far.q.Done(q)
			}},
		{"requests after GOAWAY", 1000, errUnknownFlood, func(st *Stats) uint64 { return st.UnknownFlood },
			func(s *script, i int) {
				if i == 0 {
					s.c.Shutdown(s.w.now)
					s.c.Expire(s.c.Deadline())
				}
				q := s.request(uint64(4 * i))
				s.sendEnd(q, get())
				s.recv()
				s.far.q.Done(q)
			}},
		{"GOAWAY", 1000, errUnknownFlood, func(st *Stats) uint64 { return st.UnknownFlood },
			func(s *script, i int) { s.send(s.oneWay(0), "07 01 00") }},
		{"cancellations of streams", 1000, errUnknownFlood, func(st *Stats) uint64 { return st.UnknownFlood },
			func(s *script, i int) {
				if i == 0 {
					s.send(s.oneWay(1), "03")
				}
				s.send(s.oneWay(1), "41")
			}},
		{"PRIORITY_UPDATE", 1000, errPriorityFlood, func(st *Stats) uint64 { return st.PriorityFlood },
			func(s *script, i int) { s.send(s.oneWay(0), frame(framePriorityUpdate, "\x00u=1")) }},
		{"empty DATA", 100, errEmptyFlood, func(st *Stats) uint64 { return st.EmptyFlood },
			func(s *script, i int) {
				if i == 0 {
					s.send(s.request(0), get())
				}
				s.send(s.request(0), "00 00")
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, sent := scriptFor(t, Server, Options{}), 0
			taken := func(most int) (n int) {
				for ; n < most && s.last.Kind != Fault; n++ {
					now := s.w.now
					c.do(s, sent)
					sent++
					s.recv()
					s.lag += s.w.now - now // no time passes for c
				}
				return n
			}
			if n := taken(c.burst); s.last.Kind == Fault {
				t.Fatalf("%v after %d", s.last.Err, n)
			}
			s.w.now += 1e9 + 50e6
			n := taken(c.burst)
			if n != c.burst/10+1 || !errors.Is(s.last.Err, c.fault) || c.count(s.c.Stats()) != 1 ||
				s.c.Stats().Faults != 1 {
				t.Errorf("%v after %d, %+v", s.last.Err, n, *s.c.Stats())
			}
		})
	}
}

// An answer pays for a reset, content for a frame without it, and a stream that has lasted costs nothing.
func TestServer_earns(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	for i := range 500 {
		q := s.request(uint64(4 * i))
		s.send(q, get(), "00 00", data("x"))
		s.recv()
		if i%2 == 0 {
			s.respond(q.ID, makeResponse(200), false)
		} else {
			s.w.now += 300e6
		}
		s.far.q.Reset(q, 0)
		s.far.q.Stop(q, 0)
		s.recv()
		s.far.q.Done(q)
	}
	if s.last.Kind == Fault || s.c.Streams() != 0 {
		t.Error(s.last, s.c.Streams())
	}
}

// A head that comes octet by octet, on all streams at once, is joined in no more memory than HeadBytes each.
func TestServer_headsInParts(t *testing.T) {
	s := scriptFor(t, Server, Options{HeadBytes: 8 << 10})
	head := get("x", strings.Repeat("é", 2000))[1:]
	for i := range 10 {
		s.sendBytes(s.request(uint64(4*i)), []byte(head[:len(head)-1]), false)
	}
	s.recv()
	for i := range 10 {
		if st := s.c.streams.First(); len(st.block) > 8<<10 {
			t.Errorf("stream %d keeps %d bytes", i, len(st.block))
		}
	}
	for i := range 10 {
		s.sendBytes(s.request(uint64(4*i)), []byte(head[len(head)-1:]), true)
	}
	s.recv()
	if len(s.events) != 10 || s.last.Kind != HeadDone {
		t.Errorf("%q", s.events)
	}
	if n := keptBuffers(s.o.Arena); n != 10 {
		t.Errorf("%d buffers came back", n)
	}
}

// Heads that stay in parts have a limit together: what is above it is reset, and whole heads are still taken.
func TestServer_manyHeadsInParts(t *testing.T) {
	s := scriptFor(t, Server, Options{HeadBytes: 8 << 10})
	part := []byte(frame(frameHeaders, strings.Repeat("x", 8<<10)))[1:]
	for i := range 100 {
		s.sendBytes(s.request(uint64(4*i)), part[:len(part)-1], false)
		s.recv()
		if s.c.joined > joinedMax*8<<10 {
			t.Fatalf("%d bytes after %d heads", s.c.joined, i)
		}
	}
	if n := s.c.Stats().HeadTooLarge; n != 84 || s.c.Streams() != 16 || s.last.Err != errHeadsInParts {
		t.Error(n, s.c.Streams(), s.last.Err)
	}
	s.sendEnd(s.request(400), get())
	if s.recv(); s.last.Kind != HeadDone {
		t.Error(s.last)
	}
	s.w.now += 11e9
	if n := s.c.Lent(); n < 16*(8<<10+streamSize) {
		t.Errorf("%d bytes are told to be held for 16 heads of 8 KiB", n)
	}
	if s.expire(); s.c.joined != 0 || s.c.Streams() != 1 || s.c.Lent() != streamSize {
		t.Error(s.c.joined, s.c.Streams())
	}
}

// What the codec reads itself opens the windows of QUIC again.
func TestServer_releases(t *testing.T) {
	s := newScriptWith(t, Server, Options{}, quic.Options{Budget: 16 << 10, StreamWindow: 8 << 10}, quic.Options{})
	s.send(s.oneWay(0), "00 04 00")
	for i := range 40 {
		q := s.request(uint64(4 * i))
		s.sendEnd(q, get("x", strings.Repeat("é", 500)), frame(0x21, strings.Repeat("x", 2000)))
		s.recv()
		s.respond(q.ID, makeResponse(200), true)
		s.recv()
		s.far.q.Done(q)
	}
	s.events = nil
	q := s.request(160)
	s.send(q, get())
	for range 40 {
		s.send(q, frame(frameData, strings.Repeat("x", 1000)))
		s.recv()
		if s.last.Kind == Data {
			s.c.Release(s.last.Stream, 1000)
		}
	}
	if s.last.Kind != Data {
		t.Errorf("%q", s.events)
	}
}
