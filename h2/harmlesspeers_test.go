package h2

import (
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// A proxy that carries the calls of many clients on one connection gives some up at any time, before or after the head
// of the answer. Answers pay for it.
func TestAbuse_callsGivenUpAmongOthers(t *testing.T) {
	for name, begun := range map[string]bool{"every second one": false, "the others too, once answered": true} {
		t.Run(name, func(t *testing.T) {
			s := scriptFor(t, Server, Options{})
			for i := range 3000 {
				id := uint32(2*i + 1)
				s.get(id, true)
				s.recv()
				if i%2 == 0 {
					s.respond(id, makeResponse(200), !begun)
				}
				if begun || i%2 == 1 {
					s.framer.WriteRSTStream(id, http2.ErrCodeCancel)
				}
				s.harmless(i)
			}
		})
	}
	t.Run("two of three, never answered", func(t *testing.T) {
		s := scriptFor(t, Server, Options{})
		n := s.flood(errRapidReset, 3000, func(i int) {
			id := uint32(2*i + 1)
			s.get(id, true)
			s.recv()
			if i%3 == 0 {
				s.respond(id, makeResponse(204), true)
			} else {
				s.framer.WriteRSTStream(id, http2.ErrCodeCancel)
			}
		})
		if n < 1190 || n > 1210 {
			t.Errorf("ended after %d", n)
		}
	})
}

// Streams that were in order are not blamed for what ends the connection: GOAWAY has said it. grpc-go makes INTERNAL of
// a stream that is reset with PROTOCOL_ERROR, and UNAVAILABLE of a connection that ends.
func TestConn_faultResetsNoStream(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	s.get(1, true)
	s.get(3, false)
	s.recv()
	s.framer.WritePing(false, [8]byte{})
	s.framer.WriteWindowUpdate(0, 0)
	s.recv()
	if s.c.fault != errWindowZero {
		t.Fatal(s.c.fault)
	}
	s.c.AppendControl(nil)
	resets := s.c.Stats().ResetsOut
	s.c.Reset(s.stream[1], ProtocolError)
	s.c.Reset(s.stream[3], ProtocolError)
	if s.c.Pending() || s.c.Stats().ResetsOut != resets {
		t.Errorf("behind GOAWAY: %q", s.c.AppendControl(nil))
	}
}

// golang.org/x/net opens the windows of the stream and of the connection with every 4 KiB that are read, long after
// they came: a client of it that reads by bufio is no flood, and neither is an origin that does.
func TestAbuse_readersOfFewBytes(t *testing.T) {
	const window = 4 << 20 // of a stream
	t.Run("client", func(t *testing.T) {
		s := scriptFor(t, Server, Options{})
		s.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})
		s.framer.WriteWindowUpdate(0, 1<<30)
		s.get(1, true)
		s.recv()
		s.respond(1, makeResponse(200), false)
		readAtLeisure(t, s, s.stream[1], window)
	})
	t.Run("origin", func(t *testing.T) {
		s := scriptFor(t, Client, Options{})
		s.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})
		s.framer.WriteWindowUpdate(0, 1<<30)
		s.recv()
		readAtLeisure(t, s, s.request(makeRequest("POST", "/", "h"), false), window)
	})
}

// readAtLeisure lets s send a window full on st, which the peer then reads, several times.
func readAtLeisure(t *testing.T, s *script, st *Stream, window int) {
	t.Helper()
	large := make([]byte, 16<<10)
	for range 10 {
		for sent := 0; sent < window; {
			_, n, err := s.c.AppendData(nil, st, large, false)
			if err != nil || n == 0 {
				t.Fatal(n, err)
			}
			sent += n
		}
		for range window / 4096 {
			s.framer.WriteWindowUpdate(st.ID, 4096)
			s.framer.WriteWindowUpdate(0, 4096)
		}
		s.recv()
		if s.c.fault != nil {
			t.Fatal(s.c.fault)
		}
	}
}

// The deadline of a call passes at both ends at once: we answer, and the client resets what it takes for open.
func TestAbuse_resetsThatCrossAnswers(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	for i := range 5000 {
		id := uint32(2*i + 1)
		s.get(id, true)
		s.recv()
		s.respond(id, makeResponse(200), true)
		s.framer.WriteRSTStream(id, http2.ErrCodeCancel)
		s.recv()
		s.c.AppendControl(nil)
		if s.c.fault != nil {
			t.Fatalf("after %d: %v", i, s.c.fault)
		}
	}
}

// A backend that hangs makes all calls of a client pass their deadline: streams that had their place for a while.
func TestAbuse_callsThatWaitInVain(t *testing.T) {
	for _, c := range []struct {
		after time.Duration
		calm  bool
	}{{250 * time.Millisecond, true}, {100 * time.Millisecond, false}} {
		s := scriptFor(t, Server, Options{})
		id := uint32(1)
		for range 40 {
			first := id
			for range 100 {
				s.get(id, true)
				id += 2
			}
			s.recv()
			s.now += int64(c.after)
			for ; first < id; first += 2 {
				s.framer.WriteRSTStream(first, http2.ErrCodeCancel)
			}
			s.recv()
			s.c.AppendControl(nil)
		}
		if calm := s.c.fault == nil; calm != c.calm {
			t.Errorf("given up after %v: %v", c.after, s.c.fault)
		}
	}
}

// The windows of all streams together grow no further than the widest budget allows.
func TestConn_windowsGrowWithinTheBudget(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	const streams = 128
	for i := range streams {
		s.get(uint32(2*i+1), false)
	}
	s.recv()
	for range 6 {
		for i := range streams {
			id := uint32(2*i + 1)
			for range 2 {
				s.framer.WriteData(id, false, make([]byte, maxFrame))
			}
			s.recv()
			s.c.Release(s.stream[id], 2*maxFrame)
		}
		s.c.AppendControl(nil)
	}
	all := int64(0)
	for _, st := range s.stream {
		all += st.windowSize
	}
	if most := int64(s.c.o.budgetMax()) - s.c.half(); all <= streams*defaultWindow || all > most {
		t.Errorf("windows of %d, %d are good", all, most)
	}
	filled := int64(0)
	for id, st := range s.stream {
		for filled += st.recvWindow; st.recvWindow > 0; {
			s.framer.WriteData(id, false, make([]byte, min(st.recvWindow, maxFrame)))
			s.recv()
			s.c.Widen()
		}
	}
	s.events = nil
	s.now += int64(time.Minute)
	s.c.Tick(s.now)
	s.framer.WritePing(false, [8]byte{})
	s.recv()
	s.want()
	if s.c.owed != filled || s.c.fault != nil {
		t.Errorf("%d of %d owed, %v", s.c.owed, filled, s.c.fault)
	}
	for _, st := range s.stream {
		s.c.Reset(st, Cancel)
	}
	if s.c.grown != 0 {
		t.Errorf("%d are left of what grew", s.c.grown)
	}
}

// A budget that Options set is not widened.
func TestConn_budgetThatIsMeant(t *testing.T) {
	s := scriptFor(t, Server, Options{Budget: 100000, ReadStall: time.Second})
	s.get(1, false)
	for range 3 {
		s.framer.WriteData(1, false, make([]byte, maxFrame))
	}
	s.framer.WriteData(1, false, make([]byte, 10000))
	s.recv()
	if s.c.Widen(); !s.c.Tight() || s.c.budget != 100000 {
		t.Errorf("%d of %d owed", s.c.owed, s.c.budget)
	}
}
