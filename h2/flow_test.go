package h2

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
)

func window(v uint32) http2.Setting {
	return http2.Setting{ID: http2.SettingInitialWindowSize, Val: v}
}

// RFC 9113 §6.9.2: a change of the initial window can make what is left negative.
func TestConn_sendWindowMayBecomeNegative(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	s.framer.WriteSettings(window(10))
	s.get(1, true)
	s.recv()
	s.respond(1, makeResponse(200), false)
	if n := s.data(1, strings.Repeat("x", 20), true); n != 10 {
		t.Fatal(n)
	}
	s.framer.WriteSettings(window(4))
	s.recv()
	if got := s.stream[1].sendWindow; got != -6 {
		t.Errorf("window %d", got)
	}
	s.framer.WriteWindowUpdate(1, 6)
	s.recv()
	if s.c.NextSendable() != nil {
		t.Error("sendable with a window of 0")
	}
	s.events = nil
	s.framer.WriteWindowUpdate(1, 3)
	s.recv()
	s.want("Sendable")
	if got := s.c.NextSendable(); got != s.stream[1] {
		t.Fatal("not sendable")
	}
	if n := s.data(1, strings.Repeat("x", 10), true); n != 3 {
		t.Error(n)
	}
	s.framer.WriteSettings(window(1000))
	s.recv()
	s.want("Settings", "Sendable")
	if got := s.c.NextSendable(); got != s.stream[1] || s.data(1, "1234567", true) != 7 {
		t.Error("SETTINGS did not open the window")
	}
	if s.c.Streams() > 0 {
		t.Error("the stream is open")
	}
}

func TestConn_framesAsLargeAsThePeerTakes(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	s.reader.SetMaxReadFrameSize(1 << 20)
	s.framer.WriteSettings(window(1<<20), http2.Setting{ID: http2.SettingMaxFrameSize, Val: 20000})
	s.framer.WriteWindowUpdate(0, 1<<20)
	s.get(1, true)
	s.recv()
	s.wire()
	large := makeResponse(200, "A", strings.Repeat("~", 30000))
	s.respond(1, large, false)
	s.data(1, strings.Repeat("x", 50000), true)
	got := s.wire()
	if len(got) != 4 || !strings.HasPrefix(got[0], "HEADERS 1 :status=200 a=~~~") {
		t.Fatalf("%d frames", len(got))
	}
	if want := "DATA 1 20000 bytes|DATA 1 20000 bytes|DATA 1 10000 bytes end"; strings.Join(got[1:], "|") != want {
		t.Error(got[1:])
	}
}

// The window of a stream opens as bytes are released, half of it at a time, and doubles while that is fast.
func TestConn_receiveWindow(t *testing.T) {
	s := scriptFor(t, Server, Options{StreamWindowMax: 200000})
	s.get(1, false)
	s.recv()
	s.wire()
	fill := func(n int) {
		for ; n > 0; n -= min(n, maxFrame) {
			s.framer.WriteData(1, false, make([]byte, min(n, maxFrame)))
		}
		s.recv()
		s.events = nil
	}
	fill(60000)
	s.c.Release(s.stream[1], 32766)
	s.wantWire()
	s.c.Release(s.stream[1], 1)
	s.wantWire("WINDOW_UPDATE 1 98302") // 32767 and as much again as the window
	s.now += int64(time.Second)
	fill(40000)
	s.c.Release(s.stream[1], 70000)
	s.wantWire("WINDOW_UPDATE 1 67233") // slow: no more than was released
	s.c.Release(s.stream[1], 70000)
	if s.stream[1].owed != 0 || s.c.Owed() != 0 {
		t.Error("more was released than was owed, and that counts")
	}
}

// A stream above its window is reset, a connection above its window ends.
func TestConn_peerIgnoresWindows(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	s.get(1, false)
	for range 5 {
		s.framer.WriteData(1, false, make([]byte, maxFrame))
	}
	s.recv()
	if s.events[len(s.events)-1] != "Reset 1 FLOW_CONTROL_ERROR" {
		t.Error(s.events)
	}
	s = scriptFor(t, Server, Options{Budget: 1 << 17, ReadStall: time.Hour})
	for id := uint32(1); id < 20 && s.c.fault == nil; id += 2 {
		s.get(id, false)
		for range 3 {
			s.framer.WriteData(id, false, make([]byte, maxFrame))
		}
		in := s.in.Bytes()
		s.in.Reset()
		s.feed(append([]byte(nil), in...))
	}
	if s.events[len(s.events)-1] != "Fault FLOW_CONTROL_ERROR" || s.c.owed > 1<<17 {
		t.Errorf("%v, %d owed", s.events, s.c.owed)
	}
}

// A smaller window than the default holds from the acknowledgement on.
func TestConn_smallStreamWindow(t *testing.T) {
	s := newScript(t, Server, Options{StreamWindow: 1000})
	s.in.WriteString(preface)
	s.framer.WriteSettings()
	s.get(1, false)
	s.framer.WriteData(1, false, make([]byte, 5000))
	s.framer.WriteSettingsAck()
	s.get(3, false)
	s.framer.WriteData(3, false, make([]byte, 1001))
	s.recv()
	s.want("Settings", "HeadDone 1 GET /", "Data 1 5000 bytes", "HeadDone 3 GET /", "Reset 3 FLOW_CONTROL_ERROR")
	if got := s.stream[1].recvWindow; got != 1000-5000 {
		t.Errorf("window %d", got)
	}
}

// RFC 9218: by urgency, streams of the same one in turns, and the least urgent now and then.
// A stream that has ended holds up no other, also when it was blocked before.
func TestConn_endTakesABlockedStreamOutOfTheOrder(t *testing.T) {
	s := scriptFor(t, Client, Options{})
	for range 2 {
		s.c.Block(s.request(makeRequest("POST", "/", "h"), false))
	}
	s.data(1, "", true)
	if st := s.c.NextSendable(); st != s.stream[3] {
		t.Fatal(st)
	}
	if st := s.c.NextSendable(); st != nil {
		t.Fatal(st.ID)
	}
}

// Uploads that nobody reads leave room in the window of the connection for those that are read.
func TestConn_stuckUploadsLeaveRoom(t *testing.T) {
	s := scriptFor(t, Client, Options{})
	s.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	s.framer.WriteWindowUpdate(0, 1<<20-defaultWindow)
	s.recv()
	for range 3 {
		st := s.request(makeRequest("POST", "/", "h"), false)
		if n := s.data(st.ID, strings.Repeat("x", 1<<20), true); n < 8<<10 || n == 1<<20 {
			t.Fatal(n, "bytes left")
		}
	}
	small := s.request(makeRequest("POST", "/", "h"), false)
	if n := s.data(small.ID, strings.Repeat("x", 5000), true); n != 5000 {
		t.Fatal(n, "of 5000 bytes left")
	}
	s.events = nil
	if s.c.NextSendable() != nil {
		t.Fatal("who has more than its share is to send")
	}
	s.framer.WriteWindowUpdate(1, 1<<20) // the first one is read after all: no bound but the connection's
	s.framer.WriteWindowUpdate(0, 1<<19)
	s.recv()
	if st := s.c.NextSendable(); st == nil || s.data(st.ID, strings.Repeat("x", 1<<17), true) != 1<<17 {
		t.Fatal("it does not go on")
	}
}

// An origin that opens the window of the connection late, and those of streams never, gets all there is.
func TestConn_reserveStopsNoUpload(t *testing.T) {
	for _, part := range []int{2, 4} { // from a half on, as most do, or from a quarter, as nginx does
		s := scriptFor(t, Client, Options{})
		s.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: windowMax})
		s.recv()
		st := s.request(makeRequest("POST", "/", "h"), false)
		left, body := defaultWindow, strings.Repeat("x", 1<<20)
		for len(body) > 0 {
			n := s.data(st.ID, body, true)
			if left -= n; n == 0 {
				t.Fatalf("%d bytes are left behind, with a window of %d", len(body), left)
			}
			if body = body[n:]; left < defaultWindow/part {
				s.framer.WriteWindowUpdate(0, uint32(defaultWindow-left))
				left = defaultWindow
				s.recv()
			}
		}
	}
}

// Bytes that a reset stream owed are room for the others at once: they may have used up the window.
func TestConn_resetOpensTheWindowOfTheConnection(t *testing.T) {
	const budget = 128 << 10
	s := scriptFor(t, Server, Options{Budget: budget})
	for id := uint32(1); id < 9; id += 2 {
		s.get(id, false)
		s.recv()
		for n := 30000; n > 0; n -= 10000 {
			s.framer.WriteData(id, false, make([]byte, 10000))
		}
		s.recv()
	}
	if s.c.recvWindow >= budget/8 {
		t.Fatalf("a window of %d is left", s.c.recvWindow)
	}
	for id := uint32(1); id < 9; id += 2 {
		s.c.Reset(s.stream[id], Cancel)
	}
	if s.c.recvWindow < budget/2-budget/8 {
		t.Fatalf("a window of %d", s.c.recvWindow)
	}
}

func TestConn_order(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	priority := []string{"u=5", "", "u=1, i", "i, u=1", "u=9, i", "u=7"}
	for i, p := range priority {
		if p == "" {
			s.get(uint32(2*i+1), true)
		} else {
			s.get(uint32(2*i+1), true, "priority", p)
		}
	}
	s.recv()
	for i := range priority {
		s.respond(uint32(2*i+1), makeResponse(200), false)
		s.c.Block(s.stream[uint32(2*i+1)])
	}
	turns := func(n int) (ids []string) {
		for range n {
			st := s.c.NextSendable()
			ids = append(ids, fmt.Sprint(st.ID))
			s.c.Block(st)
		}
		return ids
	}
	if got := strings.Join(turns(4), " "); got != "5 7 5 7" {
		t.Error(got)
	}
	if got := strings.Join(turns(16), " "); !strings.Contains(got, "11") {
		t.Errorf("the least urgent starves: %s", got)
	}
	for _, id := range []uint32{5, 7} {
		s.framer.WriteRawFrame(http2.FrameType(framePriorityUpdate), 0, 0, append([]byte{0, 0, 0, byte(id)}, "u=6"...))
	}
	s.recv()
	s.c.order.picks = 0
	if got := strings.Join(turns(4), " "); got != "3 9 3 9" {
		t.Error(got)
	}
	s.c.Reset(s.stream[3], Cancel)
	s.c.Reset(s.stream[9], Cancel)
	if got := strings.Join(turns(2), " "); got != "1 1" {
		t.Error(got)
	}
}

// When the connection's window is used up, those that wait for it do not wait in vain, and those that wait for the
// caller may send what needs no window.
// RFC 9218 §10: answers that are of no use in parts are sent one after another.
func TestConn_orderOfSerialStreams(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	for i, p := range []string{"u=3, i", "u=3", "", "u=3", "i=?0"} { // 1 3 5 7 9
		id := uint32(2*i + 1)
		if p == "" {
			s.get(id, true)
		} else {
			s.get(id, true, "priority", p)
		}
		s.recv()
		s.respond(id, makeResponse(200), false)
	}
	for _, id := range []uint32{9, 1, 7, 5, 3} {
		s.c.Block(s.stream[id])
	}
	var ids []string
	for range 40 {
		st := s.c.NextSendable()
		ids = append(ids, fmt.Sprint(st.ID))
		switch len(ids) {
		case 3, 5, 20:
			s.c.Reset(st, Cancel)
		default:
			s.c.Block(st)
		}
	}
	want := "3 3 3 7 7 9 9 9 9 9 9 9 9 9 9 5 9 9 9 9 1 5"
	if got := strings.Join(ids, " "); !strings.HasPrefix(got, want) {
		t.Error(got)
	}
}

func TestConn_orderWithoutWindow(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	s.framer.WriteSettings(window(1 << 20))
	for id := uint32(1); id <= 5; id += 2 {
		s.get(id, true)
	}
	s.recv()
	for id := uint32(1); id <= 5; id += 2 {
		s.respond(id, makeResponse(200), false)
	}
	if n := s.data(1, strings.Repeat("x", 100000), true); n != defaultWindow {
		t.Fatal(n)
	}
	if n := s.data(3, "hello", true); n != 0 {
		t.Fatal(n)
	}
	s.c.Block(s.stream[5])
	if got := s.c.NextSendable(); got != s.stream[5] {
		t.Error("who waits for the caller is not first")
	}
	if s.c.NextSendable() != nil {
		t.Error("nobody can send")
	}
	s.events = nil
	s.framer.WriteWindowUpdate(0, 100)
	s.recv()
	s.want("Sendable")
	if a, b := s.c.NextSendable(), s.c.NextSendable(); a != s.stream[1] || b != s.stream[3] {
		t.Error("out of turn")
	}
}

// Graceful, twice: what is on its way when the first GOAWAY is sent is still served.
func TestConn_shutdown(t *testing.T) {
	for name, trigger := range map[string]func(s *script){
		"after a round trip": func(s *script) { s.framer.WritePing(true, [8]byte([]byte(pingGoAway))); s.recv() },
		"after a second":     func(s *script) { s.now = s.c.Deadline(); s.expire() },
	} {
		t.Run(name, func(t *testing.T) {
			s := scriptFor(t, Server, Options{})
			s.get(1, true)
			s.recv()
			s.c.Shutdown(s.now)
			s.c.Shutdown(s.now)
			s.wantWire("GOAWAY 2147483647 NO_ERROR", "PING")
			s.get(3, true)
			s.recv()
			trigger(s)
			s.wantWire("GOAWAY 3 NO_ERROR")
			s.get(5, false)
			s.framer.WriteData(5, true, []byte("x"))
			s.recv()
			s.want("HeadDone 1 GET / end", "HeadDone 3 GET / end")
			s.wantWire()
			s.respond(1, makeResponse(200), true)
			if s.c.Done() {
				t.Error("done too early")
			}
			s.respond(3, makeResponse(200), true)
			if !s.c.Done() || s.c.Deadline() != 0 {
				t.Error("not done")
			}
		})
	}
}

// The peer's GOAWAY: streams above its last one were not processed, the others come to their end.
func TestConn_peerGoAway(t *testing.T) {
	s := scriptFor(t, Client, Options{})
	for range 3 {
		s.request(makeRequest("GET", "/", "h"), true)
	}
	early, _ := s.c.Open(s.now)
	s.framer.WriteGoAway(1<<31-1, http2.ErrCodeNo, nil)
	s.recv()
	if s.c.Room() != 0 {
		t.Error("room for more")
	}
	if _, err := s.c.Open(s.now); err != ErrGoingAway {
		t.Error(err)
	}
	if _, err := s.c.AppendHead(nil, early, makeRequest("GET", "/", "h"), true); err != ErrGoingAway {
		t.Error(err)
	}
	s.c.Reset(early, Cancel)
	s.framer.WriteGoAway(3, http2.ErrCodeNo, []byte("enough"))
	s.headers(1, true, ":status", "200")
	s.headers(3, true, ":status", "200")
	s.recv()
	s.want("GoAway NO_ERROR", "GoAway NO_ERROR", "Reset 5 REFUSED_STREAM", "HeadDone 1 200 end", "HeadDone 3 200 end")
	if !s.c.Done() {
		t.Error("not done")
	}
	s.framer.WriteGoAway(5, http2.ErrCodeNo, nil)
	s.recv()
	s.want("Fault PROTOCOL_ERROR")
}

func TestConn_roomIsThePeers(t *testing.T) {
	s := scriptFor(t, Client, Options{MaxStreams: 5})
	if got := s.c.Room(); got != 5 {
		t.Error(got)
	}
	s.framer.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 2})
	s.recv()
	s.request(makeRequest("GET", "/", "h"), true)
	b, _ := s.c.Open(s.now)
	if _, err := s.c.Open(s.now); err != ErrNoRoom {
		t.Error(err)
	}
	s.c.Reset(b, Cancel)
	if s.c.Room() != 1 {
		t.Error(s.c.Room())
	}
	s.c.lastOwn = idMax
	if s.c.Room() != 0 {
		t.Error("numbers are used up")
	}
}

// Streams get their numbers when their heads are sent, since the peer sees that order.
func TestConn_numbersGrowAsHeadsAreSent(t *testing.T) {
	s := scriptFor(t, Client, Options{})
	a, _ := s.c.Open(s.now)
	b, _ := s.c.Open(s.now)
	for _, st := range []*Stream{b, a} {
		out, err := s.c.AppendHead(nil, st, makeRequest("GET", "/", "h"), true)
		testutil.Must(t, err)
		s.out.Write(out)
	}
	if b.ID != 1 || a.ID != 3 || len(s.wire()) != 2 {
		t.Error(a.ID, b.ID)
	}
}

func TestConn_sendsInOrder(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	s.get(1, false)
	s.recv()
	st := s.stream[1]
	if _, _, err := s.c.AppendData(nil, st, []byte("x"), false); err != errOrder {
		t.Error("data before the head:", err)
	}
	if _, err := s.c.AppendTrailers(nil, st, new(message.Head)); err != errOrder {
		t.Error("trailers before the head:", err)
	}
	s.respond(1, makeResponse(100), false)
	s.respond(1, makeResponse(200), false)
	if _, err := s.c.AppendHead(nil, st, makeResponse(200), false); err != errOrder {
		t.Error("two heads:", err)
	}
	out, err := s.c.AppendTrailers(nil, st, new(message.Head))
	s.out.Write(out)
	if err != nil {
		t.Error(err)
	}
	s.wantWire("HEADERS 1 :status=100", "HEADERS 1 :status=200", `DATA 1 "" end`)
	if _, _, err := s.c.AppendData(nil, st, []byte("x"), false); err != errOrder {
		t.Error("data behind the end:", err)
	}
	s.c.Reset(st, NoError)
	s.c.Reset(st, NoError)
	s.c.Release(st, 1)
	if _, _, err := s.c.AppendData(nil, st, []byte("x"), false); err != errDead {
		t.Error("data on a dead stream:", err)
	}
	s.wantWire("RST_STREAM 1 NO_ERROR")
}
