package h2

import (
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/edge-proxy/edge/internal/stream/section"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
)

// oddHead is a head of anything, with fields that are sent and some that are not.
func oddHead(rng *rand.Rand) *message.Head {
	h := &message.Head{Proto: message.HTTP11, Length: int64(rng.IntN(2000) - 1000), Trailers: rng.IntN(2) == 0}
	h.SetMethod([]string{"GET", "POST", "HEAD", "CONNECT", "ODD"}[rng.IntN(5)])
	h.SetTarget("/" + strings.Repeat("t", rng.IntN(50)))
	h.SetAuthority("h" + strings.Repeat(".a", rng.IntN(9)))
	h.Status = []uint16{103, 200, 204, 304, 500}[rng.IntN(5)]
	names := []string{
		"Content-Length", "Accept", "Connection", "Sec-WebSocket-Key", "X-Other", "Cookie", "TE", "Host", "Upgrade",
	}
	for i := range rng.IntN(9) {
		h.Add(names[rng.IntN(len(names))], strings.Repeat("1", 1+rng.IntN(20)))
		if rng.IntN(5) == 0 {
			h.Fields[i].Flags |= message.Dropped
		}
	}
	return h
}

// The counted size is that of the fields sent, as the reference counts it. A head at the limit is sent, one above
// it is not.
func TestListSize_isThatOfWhatIsSent(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for range 3000 {
		h, role, kind := oddHead(rng), Role(rng.IntN(2)), section.Response
		s := scriptFor(t, role, Options{})
		var st *Stream
		if role == Client {
			if kind = section.Request; h.Verb == message.VerbGet && rng.IntN(2) == 0 {
				s.c.flag |= peerExtended
				h.Upgrade, h.Protocol = true, h.Target
			}
			var err error
			if st, err = s.c.Open(s.now); err != nil {
				t.Fatal(err)
			}
		} else {
			s.headers(1, true, ":method", []string{"GET", "HEAD"}[rng.IntN(2)], ":scheme", "http", ":path", "/",
				":authority", "a")
			s.recv()
			if st = s.stream[1]; rng.IntN(4) == 0 {
				s.respond(1, &message.Head{Status: 200, Length: message.LengthUnknown}, false)
				kind = section.Trailers
			}
		}
		s.wire()
		send := func() ([]byte, error) {
			if kind == section.Trailers {
				return s.c.AppendTrailers(nil, st, h)
			}
			return s.c.AppendHead(nil, st, h, false)
		}
		size := section.Size(h, kind, st.asked, s.c.scheme(h))
		if size > 0 {
			s.c.peerList = uint32(size - 1)
			if b, err := send(); err != ErrListSize || len(b) > 0 || s.c.Stats().PeerListSize != 1 {
				t.Fatalf("%d bytes of a list of %d above the limit: %v", len(b), size, err)
			}
		}
		s.c.peerList = uint32(size)
		b, err := send()
		testutil.Must(t, err)
		s.out.Write(b)
		f, err := s.reader.ReadFrame()
		testutil.Must(t, err)
		sent := 0
		if f, ok := f.(*http2.MetaHeadersFrame); ok { // else trailers of which nothing is left
			for _, field := range f.Fields {
				sent += int(field.Size())
			}
		}
		if most := len(h.Base) + 32*len(h.Fields) + 512; sent != size || sent > most {
			t.Fatalf("%d were sent, %d counted, %d at the most: %v", sent, size, most, f)
		}
	}
}

func longHead(n int) *message.Head {
	h := &message.Head{Status: 200, Length: message.LengthUnknown}
	h.SetMethod("GET")
	h.SetTarget("/")
	h.SetAuthority("h")
	h.Add("X-Long", strings.Repeat("x", n))
	return h
}

// try sends a head as large as n on a new stream.
func (s *script) try(n int) (*Stream, error) {
	s.t.Helper()
	st, err := s.c.Open(s.now)
	testutil.Must(s.t, err)
	b, err := s.c.AppendHead(nil, st, longHead(n), true)
	s.out.Write(b)
	return st, err
}

// Each value holds from when it came until the next one comes; a stream that is refused leaves no trace.
func TestListSize_settings(t *testing.T) {
	s := scriptFor(t, Client, Options{})
	want := func(n int, err error) {
		t.Helper()
		st, got := s.try(n)
		if got != err {
			t.Fatalf("%d: %v, not %v", n, got, err)
		}
		if s.c.Reset(st, Cancel); err != nil && len(s.wire()) > 0 {
			t.Fatal("something was sent")
		}
		s.wire()
	}
	want(1<<20, nil) // no value is no limit
	s.framer.WriteSettings(http2.Setting{ID: settingListMax, Val: 1000})
	s.recv()
	s.wire()
	want(900, ErrListSize)
	want(100, nil)
	s.framer.WriteSettings(http2.Setting{ID: settingWindow, Val: 1000})
	s.recv()
	s.wire()
	want(900, ErrListSize)
	s.framer.WriteSettings(http2.Setting{ID: settingListMax, Val: 1<<32 - 1})
	s.recv()
	s.wire()
	want(1<<20, nil)
	s.framer.WriteSettings(http2.Setting{ID: settingListMax, Val: 0})
	s.recv()
	s.wire()
	want(1, ErrListSize)
}

// Until the settings of a server have come, a head that many servers would refuse waits for them; others leave at once.
func TestListSize_beforeTheSettings(t *testing.T) {
	s := newScript(t, Client, Options{})
	s.wire()
	_, err := s.try(listUnsettled - 300)
	testutil.Must(t, err)
	if lines := s.wire(); len(lines) != 1 || !strings.HasPrefix(lines[0], "HEADERS 1 ") {
		t.Fatal(lines)
	}
	st, err := s.try(listUnsettled)
	if err != ErrUnsettled || s.c.Stats().PeerListSize != 0 {
		t.Fatal(err)
	}
	s.wantWire()
	s.framer.WriteSettings()
	s.recv()
	b, err := s.c.AppendHead(nil, st, longHead(listUnsettled), true)
	if err != nil || st.ID != 3 {
		t.Fatal(err, st.ID)
	}
	s.out.Write(b)
	s.wire()
}

// A client that says it takes next to nothing is answered all the same.
func TestListSize_leastOfAClient(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	s.framer.WriteSettings(http2.Setting{ID: settingListMax, Val: 0})
	s.get(1, true)
	s.recv()
	if _, err := s.c.AppendHead(nil, s.stream[1], longHead(listLeast), true); err != ErrListSize {
		t.Fatal(err)
	}
	s.wire()
	s.respond(1, longHead(listLeast-200), true)
	if lines := s.wire(); len(lines) != 1 || !strings.HasPrefix(lines[0], "HEADERS 1 :status=200 ") {
		t.Fatal(lines)
	}
}
