package h2

import (
	"strings"
	"testing"
	"time"
)

// lingering is a server that has answered a request whose body comes.
func lingering(t *testing.T, more ...string) *script {
	s := scriptFor(t, Server, Options{LingerTime: time.Second})
	s.get(1, false, more...)
	s.framer.WriteData(1, false, make([]byte, 1000))
	s.recv()
	s.want("HeadDone 1 GET /", "Data 1 1000 bytes")
	s.respond(1, makeResponse(413), true)
	s.c.Linger(s.stream[1])
	s.wantWire("HEADERS 1 :status=413 end")
	if s.c.Owed() != 0 || s.c.Streams() != 1 {
		t.Fatal(s.c.Owed(), s.c.Streams())
	}
	return s
}

func TestLinger_untilTheEnd(t *testing.T) {
	s := lingering(t)
	s.framer.WriteData(1, false, make([]byte, 5000))
	s.framer.WriteData(1, true, nil)
	s.recv()
	s.want()
	s.wantWire("PING")
	if s.c.Streams() != 0 || s.c.Deadline() != 0 {
		t.Fatal(s.c.Streams(), s.c.Deadline())
	}
}

func TestLinger_untilTheTimeIsUp(t *testing.T) {
	s := lingering(t)
	s.framer.WriteData(1, false, make([]byte, 5000))
	s.recv()
	s.now += int64(time.Second)
	if s.c.Deadline() != s.now {
		t.Fatal(s.c.Deadline(), s.now)
	}
	s.expire()
	s.want()
	s.wantWire("RST_STREAM 1 NO_ERROR")
	if s.c.Streams() != 0 || s.c.Deadline() != 0 {
		t.Fatal(s.c.Streams(), s.c.Deadline())
	}
}

// Discarded bytes open the windows again.
func TestLinger_untilItIsTooMuch(t *testing.T) {
	s := lingering(t)
	for range lingerMax / maxFrame {
		s.framer.WriteData(1, false, make([]byte, maxFrame))
		s.recv()
	}
	if got := strings.Join(s.wire(), " "); strings.Contains(got, "RST") || !strings.Contains(got, "WINDOW_UPDATE 1") {
		t.Fatal(got)
	}
	s.framer.WriteData(1, false, make([]byte, 2))
	s.recv()
	s.want()
	s.wantWire() // curl 7.88 drops an answer that comes together with it
	s.now += int64(resetAfter)
	if s.c.Deadline() != s.now {
		t.Fatal(s.c.Deadline(), s.now)
	}
	s.expire()
	s.want()
	s.wantWire("RST_STREAM 1 NO_ERROR")
}

// A stream whose peer sends too much is reset before others that linger for longer.
func TestLinger_oneOfSeveral(t *testing.T) {
	s := lingering(t)
	s.get(3, false)
	s.recv()
	s.want("HeadDone 3 GET /")
	s.respond(3, makeResponse(413), true)
	s.c.Linger(s.stream[3])
	for range lingerMax/maxFrame + 1 {
		s.framer.WriteData(3, false, make([]byte, maxFrame))
		s.recv()
	}
	s.wire()
	s.now += int64(resetAfter)
	if s.c.Deadline() != s.now {
		t.Fatal(s.c.Deadline(), s.now)
	}
	s.expire()
	s.want()
	if s.wantWire("RST_STREAM 3 NO_ERROR"); s.c.Streams() != 1 {
		t.Fatal(s.c.Streams())
	}
}

// The end of a lingering stream is never reported, whatever ended it.
func TestLinger_endsUnheard(t *testing.T) {
	for _, c := range []struct {
		name, wire string
		send       func(s *script)
	}{
		{"trailers", "PING", func(s *script) {
			s.framer.WriteData(1, false, make([]byte, 9000))
			s.headers(1, true, "x-t", "1")
		}},
		{"the peer's reset", "", func(s *script) { s.framer.WriteRSTStream(1, 0) }},
		{"more than announced", "RST_STREAM 1 PROTOCOL_ERROR", func(s *script) {
			s.framer.WriteData(1, true, make([]byte, 9001))
		}},
		{"our reset", "RST_STREAM 1 CANCEL", func(s *script) { s.c.Reset(s.stream[1], Cancel) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := lingering(t, "content-length", "10000")
			c.send(s)
			s.recv()
			s.want()
			if got := strings.Join(s.wire(), ", "); got != c.wire {
				t.Fatal(got)
			}
			if s.c.Streams() != 0 || s.c.lingering.first != nil {
				t.Fatal("lingers on")
			}
		})
	}
}
