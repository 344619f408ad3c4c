package h2

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// flood repeats what the peer sends until the connection ends with want, and returns how often that was. In between
// nothing that is pending may grow beyond what the peer has sent.
func (s *script) flood(want *Error, most int, send func(i int)) int {
	s.t.Helper()
	for i := range most {
		send(i)
		in := s.in.Len()
		s.recv()
		if out := len(s.c.ctl); out > 4*in+64 {
			s.t.Fatalf("%d bytes make %d", in, out)
		}
		s.c.AppendControl(nil)
		s.events = nil
		if s.c.fault != nil {
			if s.c.fault != want || s.last.Kind != Fault || s.last.Code != EnhanceYourCalm {
				s.t.Errorf("ended by %v", s.c.fault)
			}
			return i + 1
		}
	}
	s.t.Errorf("%d times and no end", most)
	return most
}

// harmless takes what the peer has sent the nth time, which must not end the connection.
func (s *script) harmless(n int) {
	s.t.Helper()
	s.recv()
	s.c.AppendControl(nil)
	if s.c.fault != nil {
		s.t.Fatalf("after %d: %v", n, s.c.fault)
	}
}

func counted(t *testing.T, name string, n uint64) {
	t.Helper()
	if n != 1 {
		t.Errorf("%s: %d counted", name, n)
	}
}

// CVE-2023-44487: streams are opened and reset at once.
func TestAbuse_rapidReset(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	n := s.flood(errRapidReset, 1000, func(i int) {
		s.get(uint32(2*i+1), true)
		s.framer.WriteRSTStream(uint32(2*i+1), http2.ErrCodeCancel)
	})
	if n != 401 {
		t.Errorf("ended after %d", n)
	}
	counted(t, "RapidReset", s.c.Stats().RapidReset)
	// Forty a second are not abuse.
	s = scriptFor(t, Server, Options{})
	for i := range 2000 {
		s.now += int64(time.Second) / 40
		s.get(uint32(2*i+1), true)
		s.framer.WriteRSTStream(uint32(2*i+1), http2.ErrCodeCancel)
		s.recv()
	}
	if s.c.fault != nil {
		t.Error(s.c.fault)
	}
}

// Frames that good clients send at high rates are paid for by their exchanges.
func TestAbuse_busyClients(t *testing.T) {
	for name, c := range map[string]struct {
		before, after func(s *script, id uint32)
		reset         bool
	}{
		"a window for each stream, answers without data": {func(s *script, id uint32) {
			s.framer.WriteWindowUpdate(id, 10<<20)
			s.framer.WriteWindowUpdate(0, 1)
			s.framer.WriteRawFrame(http2.FramePriority, 0, id, []byte{0, 0, 0, 0, 1})
		}, nil, false},
		"calls ended by a reset behind the answer": {nil, func(s *script, id uint32) {
			s.framer.WriteRSTStream(id, http2.ErrCodeCancel)
		}, false},
		"uploads declined by us": {nil, func(s *script, id uint32) {
			for range 20 {
				s.framer.WriteData(id, false, []byte("on its way"))
			}
			s.framer.WriteRSTStream(id, http2.ErrCodeCancel)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := scriptFor(t, Server, Options{})
			for i := range 3000 {
				id := uint32(2*i + 1)
				s.get(id, false)
				if c.before != nil {
					c.before(s, id)
				}
				s.recv()
				s.respond(id, makeResponse(204), true)
				if c.reset {
					s.c.Reset(s.stream[id], NoError)
				}
				if c.after == nil {
					s.framer.WriteData(id, true, nil)
				} else {
					c.after(s, id)
				}
				s.harmless(i)
			}
		})
	}
}

// CVE-2025-8671: the peer makes us send the RST_STREAM, in every way there is.
func TestAbuse_madeYouReset(t *testing.T) {
	for name, send := range map[string]func(s *script, id uint32){
		"window by 0": func(s *script, id uint32) { s.framer.WriteWindowUpdate(id, 0) },
		"overflow":    func(s *script, id uint32) { s.framer.WriteWindowUpdate(id, 1<<31-1) },
		"priority":    func(s *script, id uint32) { s.framer.WriteRawFrame(http2.FramePriority, 0, id, []byte("123")) },
		"data behind the end": func(s *script, id uint32) {
			s.framer.WriteData(id, true, nil)
			s.framer.WriteData(id, false, []byte("x"))
		},
		"headers behind the end": func(s *script, id uint32) {
			s.framer.WriteData(id, true, nil)
			s.headers(id, true, "a", "b")
		},
		"more than the length": func(s *script, id uint32) { s.framer.WriteData(id, false, []byte("too much")) },
		"malformed trailers":   func(s *script, id uint32) { s.headers(id, true, "A", "b") },
	} {
		t.Run(name, func(t *testing.T) {
			s := scriptFor(t, Server, Options{})
			n := s.flood(errMadeYouReset, 1000, func(i int) {
				if strings.HasSuffix(name, "the end") {
					s.get(uint32(2*i+1), false)
				} else {
					s.get(uint32(2*i+1), false, "content-length", "1")
				}
				send(s, uint32(2*i+1))
			})
			if n != 201 {
				t.Errorf("ended after %d", n)
			}
			counted(t, "MadeYouReset", s.c.Stats().MadeYouReset)
		})
	}
	t.Run("malformed heads", func(t *testing.T) {
		s := scriptFor(t, Server, Options{})
		s.flood(errMadeYouReset, 1000, func(i int) { s.get(uint32(2*i+1), true, "connection", "close") })
	})
	t.Run("too many streams", func(t *testing.T) {
		s := scriptFor(t, Server, Options{MaxStreams: 3})
		s.flood(errMadeYouReset, 1000, func(i int) { s.get(uint32(2*i+1), true) })
		if s.c.Streams() != 3 {
			t.Errorf("%d streams", s.c.Streams())
		}
	})
}

// CVE-2024-24549 and kin: a header block without an end.
func TestAbuse_continuationFlood(t *testing.T) {
	for name, piece := range map[string][]byte{"empty": nil, "one byte": []byte("x"), "full": make([]byte, maxFrame)} {
		t.Run(name, func(t *testing.T) {
			s := scriptFor(t, Server, Options{})
			s.framer.WriteHeaders(http2HeadersParam(1, true, false, nil))
			n := s.flood(errContinuationFlood, 100, func(int) { s.framer.WriteContinuation(1, false, piece) })
			if n > maxContinuations+1 || s.c.block != nil {
				t.Errorf("ended after %d, %d bytes kept", n, cap(s.c.block))
			}
			counted(t, "ContinuationFlood", s.c.Stats().ContinuationFlood)
		})
	}
}

// A header block that is begun and never ended holds its buffer for HeadTimeout.
func TestAbuse_headNeverEnds(t *testing.T) {
	for name, send := range map[string]func(s *script){
		"no CONTINUATION": func(s *script) { s.framer.WriteHeaders(http2HeadersParam(1, true, false, nil)) },
		"half a frame":    func(s *script) { s.in.WriteString("\x00\x00\xff\x01\x05\x00\x00\x00\x01half") },
		"half a head":     func(s *script) { s.in.WriteString("\x00\x00") },
	} {
		t.Run(name, func(t *testing.T) {
			s := scriptFor(t, Server, Options{HeadTimeout: time.Second})
			send(s)
			in := s.in.Bytes()
			in = s.feed(in)
			s.now += int64(time.Second) / 2
			s.feed(in) // what is there is looked at again: no new time
			s.now = s.c.Deadline()
			s.expire()
			s.want("Fault PROTOCOL_ERROR")
			if s.now != 2e9 {
				t.Errorf("ended at %d", s.now)
			}
			counted(t, "HeadTimeout", s.c.Stats().HeadTimeout)
		})
	}
	s := newScript(t, Server, Options{HeadTimeout: time.Second})
	s.now += 1e9
	s.expire()
	s.want("Fault PROTOCOL_ERROR") // no preface
}

// An HPACK bomb: a large entry of the table, referred to again and again, a byte each.
func TestAbuse_hpackBomb(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	large := strings.Repeat("x", 4000)
	block := s.encode(":method", "GET", ":scheme", "http", ":path", "/", ":authority", "h", "a", large)
	ref := s.encode("a", large)
	if len(ref) != 1 {
		t.Fatalf("the reference takes %d bytes", len(ref))
	}
	for range 90 {
		block = append(block, ref...)
	}
	n := s.flood(errMadeYouReset, 1000, func(i int) {
		if i == 1 { // the table has it now
			block = append(block[:0], s.encode(":method", "GET")...)
			for range 90 {
				block = append(block, ref...)
			}
		}
		s.framer.WriteHeaders(http2HeadersParam(uint32(2*i+1), true, true, block))
	})
	if n != 201 || s.c.Stats().HeadTooLarge < 200 {
		t.Errorf("ended after %d, %d too large", n, s.c.Stats().HeadTooLarge)
	}
	if got := cap(s.o.Arena.render); got > 128<<10 {
		t.Errorf("%d bytes for a head", got)
	}
}

// Many tiny references: a field for each byte.
func TestAbuse_manyTinyReferences(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	block := s.encode(":method", "GET", ":scheme", "http", ":path", "/", ":authority", "h", "a", "b")
	ref := s.encode("a", "b")
	for len(block) < maxFrame {
		block = append(block, ref...)
	}
	s.flood(errHeaderBomb, 1, func(int) { s.framer.WriteHeaders(http2HeadersParam(1, true, true, block[:maxFrame])) })
	counted(t, "HeaderBomb", s.c.Stats().HeaderBomb)
	if cap(s.o.Arena.render) > 64<<10 {
		t.Error("the fields were kept")
	}
}

// Frames that have no effect, or little: some are harmless, a flood ends the connection and is counted.
func TestAbuse_floods(t *testing.T) {
	get := func(s *script) { s.get(1, true) }
	open := func(s *script) { s.get(1, false) }
	ask := func(s *script) { s.request(makeRequest("GET", "/", "h"), true) }
	reset := func(s *script, _ int) { s.framer.WriteRSTStream(1, http2.ErrCodeCancel) }
	priorities := func(st *Stats) uint64 { return st.PriorityFlood }
	settings := func(st *Stats) uint64 { return st.SettingsFlood }
	empty := func(st *Stats) uint64 { return st.EmptyFrameFlood }
	strays := func(st *Stats) uint64 { return st.StrayFlood }
	windows := func(st *Stats) uint64 { return st.WindowUpdateFlood }
	for name, c := range map[string]struct {
		role  Role
		want  *Error
		most  int
		count func(st *Stats) uint64
		begin func(s *script)
		send  func(s *script, i int)
	}{
		"SETTINGS, CVE-2019-9515": {Server, errSettingsFlood, 100, settings, nil, func(s *script, _ int) {
			s.framer.WriteSettings()
		}},
		"many settings in a frame": {Server, errSettingsFlood, 1, settings, nil, func(s *script, _ int) {
			many := make([]http2.Setting, maxSettings+1)
			for i := range many {
				many[i] = http2.Setting{ID: 0x1234}
			}
			s.framer.WriteSettings(many...)
		}},
		"PRIORITY, CVE-2019-9513": {Server, errPriorityFlood, 2000, priorities, nil, func(s *script, i int) {
			s.framer.WriteRawFrame(http2.FramePriority, 0, uint32(2*i+1), []byte{0, 0, 0, 0, 1})
		}},
		"PRIORITY_UPDATE": {Server, errPriorityFlood, 2000, priorities, nil, func(s *script, _ int) {
			s.framer.WriteRawFrame(http2.FrameType(framePriorityUpdate), 0, 0, []byte{0, 0, 0, 1, 'u', '=', '1'})
		}},
		"frames of an unknown type": {Server, errPriorityFlood, 2000, priorities, nil, func(s *script, _ int) {
			s.framer.WriteRawFrame(0x99, 0, 0, nil)
		}},
		"DATA without content, CVE-2019-9518": {Server, errEmptyFrameFlood, 200, empty, open, func(s *script, _ int) {
			s.framer.WriteData(1, false, nil)
		}},
		"DATA that is padding alone": {Server, errEmptyFrameFlood, 200, empty, open, func(s *script, _ int) {
			s.framer.WriteDataPadded(1, false, nil, make([]byte, 200))
		}},
		"WINDOW_UPDATE": {Server, errWindowUpdateFlood, 3000, windows, get, func(s *script, i int) {
			s.framer.WriteWindowUpdate(uint32(i&1), 1)
		}},
		"RST_STREAM of a closed stream":               {Server, errStrayFlood, 3000, strays, get, reset},
		"RST_STREAM of a closed stream, by an origin": {Client, errStrayFlood, 3000, strays, ask, reset},
		"DATA on a stream that we have reset": {Server, errStrayFlood, 12000, strays, func(s *script) {
			s.get(1, false)
			s.recv()
			s.c.Reset(s.stream[1], Cancel)
		}, func(s *script, _ int) { s.framer.WriteData(1, false, []byte("x")) }},
	} {
		t.Run(name, func(t *testing.T) {
			s := scriptFor(t, c.role, Options{})
			if c.begin != nil {
				c.begin(s)
			}
			s.flood(c.want, c.most, func(i int) { c.send(s, i) })
			counted(t, name, c.count(s.c.Stats()))
		})
	}
}

// CVE-2019-9512. Data pays for PING: that is how gRPC measures a path.
func TestAbuse_pingFlood(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	s.flood(errPingFlood, 1000, func(int) { s.framer.WritePing(false, [8]byte{}) })
	counted(t, "PingFlood", s.c.Stats().PingFlood)
	s = scriptFor(t, Server, Options{})
	s.get(1, false)
	for range 5000 {
		s.framer.WriteData(1, false, []byte("x"))
		s.framer.WritePing(false, [8]byte{})
		s.recv()
		s.c.Release(s.stream[1], 1)
		s.c.AppendControl(nil)
	}
	if s.c.fault != nil {
		t.Error(s.c.fault)
	}
}

// HEADERS without fields.
func TestAbuse_emptyHeaders(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	s.flood(errMadeYouReset, 1000, func(i int) {
		s.framer.WriteHeaders(http2HeadersParam(uint32(2*i+1), false, true, nil))
	})
	if s.c.Streams() != 0 {
		t.Error("they are open")
	}
}

// CVE-2019-9511: a window opened byte by byte would make a frame of each byte.
func TestAbuse_windowOfOneByte(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	s.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
	s.get(1, true)
	s.recv()
	s.respond(1, makeResponse(200), false)
	large := make([]byte, 100000)
	sent := 0
	for i := 0; s.c.fault == nil && i < 1000; i++ {
		_, n, _ := s.c.AppendData(nil, s.stream[1], large, true)
		sent += n
		s.framer.WriteWindowUpdate(1, 1)
		s.recv()
		s.c.NextSendable()
	}
	if s.c.fault != errTinyWindow || sent > 250 {
		t.Errorf("%v after %d bytes", s.c.fault, sent)
	}
	if s.last.Kind != Fault {
		t.Error("the caller is not told")
	}
	counted(t, "TinyWindow", s.c.Stats().TinyWindow)
}

// Small messages that are on their way when their stream is reset are no flood, as many as its window lets through.
func TestAbuse_smallMessagesOnTheirWay(t *testing.T) {
	s := scriptFor(t, Client, Options{})
	st := s.request(makeRequest("POST", "/", "h"), false)
	s.headers(1, false, ":status", "200")
	s.recv()
	s.c.Reset(st, Cancel)
	s.events = nil
	for range defaultWindow / 10 {
		s.framer.WriteData(1, false, make([]byte, 10))
	}
	s.recv()
	s.want()
}

// A peer that asks for much and reads nothing: streams opened and never read.
func TestAbuse_streamsNeverRead(t *testing.T) {
	s := scriptFor(t, Server, Options{StallTimeout: 10 * time.Second})
	s.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	for i := range 128 {
		s.get(uint32(2*i+1), true)
	}
	s.recv()
	if s.c.Streams() != 128 {
		t.Fatal(s.c.Streams())
	}
	for i := range 128 {
		s.now += int64(time.Millisecond)
		s.c.Tick(s.now)
		s.respond(uint32(2*i+1), makeResponse(200), false)
		if n := s.data(uint32(2*i+1), "hello", true); n != 0 {
			t.Fatal("sent without a window")
		}
	}
	s.events = nil
	if d := s.c.Deadline(); d != 11e9+1e6 {
		t.Errorf("deadline %d", d)
	}
	s.now = s.c.Deadline()
	s.expire()
	s.want("Reset 1 CANCEL")
	s.now += int64(time.Second)
	s.expire()
	if s.c.Streams() != 0 || s.c.Stats().StalledPeer != 128 {
		t.Errorf("%d streams, %d counted", s.c.Streams(), s.c.Stats().StalledPeer)
	}
}

// The same, stopped by the window of the connection.
func TestAbuse_stalledPeer(t *testing.T) {
	s := scriptFor(t, Server, Options{StallTimeout: 10 * time.Second})
	s.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	s.get(1, true)
	s.recv()
	s.respond(1, makeResponse(200), false)
	if n := s.data(1, strings.Repeat("x", 1<<17), true); n != defaultWindow {
		t.Fatal(n)
	}
	s.events = nil
	s.now = s.c.Deadline()
	s.expire()
	s.want("Fault ENHANCE_YOUR_CALM")
	if s.now != 11e9 {
		t.Errorf("ended at %d", s.now)
	}
	counted(t, "StalledPeer", s.c.Stats().StalledPeer)
}

// The window of the connection is used up while a stream waits for its own, which is then opened.
func TestAbuse_stalledPeerOpensStreamsOnly(t *testing.T) {
	s := scriptFor(t, Server, Options{StallTimeout: 10 * time.Second})
	s.get(1, true)
	s.get(3, true)
	s.recv()
	s.respond(1, makeResponse(200), false)
	s.respond(3, makeResponse(200), false)
	s.stream[3].sendWindow = 0
	s.data(3, "hello", true)
	if n := s.data(1, strings.Repeat("x", defaultWindow), true); n != defaultWindow {
		t.Fatal(n)
	}
	s.framer.WriteWindowUpdate(3, 100)
	s.recv()
	s.events = nil
	s.now = s.c.Deadline()
	s.expire()
	s.want("Fault ENHANCE_YOUR_CALM")
}

// A stream that nobody reads holds its share of the budget, and no other stream is stopped by it.
func TestAbuse_stalledReader(t *testing.T) {
	s := scriptFor(t, Client, Options{Budget: 256 << 10, ReadStall: time.Second})
	for range 5 {
		s.request(makeRequest("GET", "/", "h"), true)
	}
	fill := func(id uint32, n int) {
		for ; n > 0; n -= min(n, maxFrame) {
			s.framer.WriteData(id, false, make([]byte, min(n, maxFrame)))
		}
	}
	for i := range 5 {
		s.headers(uint32(2*i+1), false, ":status", "200")
	}
	s.recv()
	fill(1, 60000)
	fill(3, 60000)
	s.recv()
	if s.c.recvWindow < 90<<10 {
		t.Errorf("two streams that nobody reads leave a window of %d", s.c.recvWindow)
	}
	for range 50 { // another one is read
		fill(5, 10000)
		s.recv()
		s.c.Release(s.stream[5], 10000)
	}
	s.now += int64(time.Second)
	s.c.Tick(s.now)
	s.events = nil
	fill(7, 30000) // more than half of the budget
	s.recv()
	s.want("Data 7 16384 bytes", "Reset 1 CANCEL", "Data 7 13616 bytes")
	if s.c.Stats().StalledReader != 1 || s.c.Owed() != 90000 {
		t.Errorf("%d counted, %d owed", s.c.Stats().StalledReader, s.c.Owed())
	}
}

func TestConn_settingsTimeout(t *testing.T) {
	s := newScript(t, Client, Options{SettingsTimeout: time.Second})
	s.now = s.c.Deadline()
	s.expire()
	s.want("Fault SETTINGS_TIMEOUT")
	counted(t, "SettingsTimeout", s.c.Stats().SettingsTimeout)
}

func TestConn_keepAlive(t *testing.T) {
	s := scriptFor(t, Client, Options{PingInterval: time.Second, PingTimeout: time.Second})
	s.now = s.c.Deadline()
	s.expire()
	s.wantWire("PING")
	s.framer.WritePing(true, [8]byte([]byte(pingAlive)))
	s.recv()
	s.now = s.c.Deadline()
	s.expire()
	s.wantWire("PING")
	s.now = s.c.Deadline()
	s.expire()
	s.want("Fault NO_ERROR")
	counted(t, "PingTimeout", s.c.Stats().PingTimeout)
}

// A client that resets more requests at once than the history knows: their answers, which are on their way, are no
// fault of the connection that others share, and no flood.
func TestAbuse_answersToManyResets(t *testing.T) {
	s := scriptFor(t, Client, Options{})
	for range 2 * historyLen {
		s.c.Reset(s.request(makeRequest("GET", "/", "h"), true), Cancel)
	}
	last := s.request(makeRequest("GET", "/", "h"), true).ID
	for id := uint32(1); id < last; id += 2 {
		s.headers(id, false, ":status", "200", "x", "y")
		for range 10 {
			s.framer.WriteData(id, false, []byte("x"))
		}
	}
	s.headers(last, false, ":status", "200", "x", "y")
	s.framer.WriteData(last, true, []byte("x"))
	s.recv()
	s.want(fmt.Sprintf("HeadDone %d 200", last), fmt.Sprintf("Data %d \"x\" end", last))
	s.headers(last+2, true, ":status", "200") // nobody asked for it
	s.recv()
	s.want("Fault PROTOCOL_ERROR")
}
