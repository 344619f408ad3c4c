package h2

import (
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/edge-proxy/edge/message"
)

// Faults of frames, by section of RFC 9113: what the peer sends after its preface, and the error that it gets.
func TestConn_faults(t *testing.T) {
	raw := func(kind frameType, flags uint8, id uint32, payload string) func(*script) {
		return func(s *script) {
			s.framer.WriteRawFrame(http2.FrameType(kind), http2.Flags(flags), id, []byte(payload))
		}
	}
	after := func(steps ...func(*script)) func(*script) {
		return func(s *script) {
			for _, f := range steps {
				f(s)
			}
		}
	}
	open := func(s *script) { s.get(1, false) }
	end := func(s *script) { s.get(1, true) }
	answered := func(s *script) {
		s.get(1, true)
		s.recv()
		s.respond(1, makeResponse(200), true)
	}
	reset := func(s *script) { s.framer.WriteRSTStream(1, http2.ErrCodeCancel) }
	for name, c := range map[string]struct {
		send func(*script)
		want string // the last frame that the peer gets
	}{
		"4.1 reserved bit": {after(open, raw(frameData, 0, 1|1<<31, "x")), "SETTINGS ack"},
		"4.1 unknown type": {raw(0x42, 0xff, 7, "what"), "SETTINGS ack"},
		"4.2 too large": {
			raw(frameData, 0, 1, strings.Repeat("x", maxFrame+1)), "GOAWAY 0 FRAME_SIZE_ERROR",
		},
		"4.3 bad block": {
			raw(frameHeaders, flagEndHeaders, 1, "\xff\xff\xff\xff\xff\xff"), "GOAWAY 1 COMPRESSION_ERROR",
		},
		"4.3 bad block, closed": {
			after(end, reset, raw(frameHeaders, flagEndHeaders, 1, "\xff\xff\xff\xff\xff")),
			"GOAWAY 1 COMPRESSION_ERROR",
		},
		"4.3 something between": {
			after(raw(frameHeaders, 0, 1, ""), raw(framePing, 0, 0, "12345678")), "GOAWAY 0 PROTOCOL_ERROR",
		},
		"4.3 unknown between": {
			after(raw(frameHeaders, 0, 1, ""), raw(0x42, 0, 0, "")), "GOAWAY 0 PROTOCOL_ERROR",
		},
		"4.3 another's continuation": {
			after(raw(frameHeaders, 0, 1, ""), raw(frameContinuation, 0, 3, "")), "GOAWAY 0 PROTOCOL_ERROR",
		},
		"5.1 DATA, idle":           {raw(frameData, 0, 1, "x"), "GOAWAY 0 PROTOCOL_ERROR"},
		"5.1 RST_STREAM, idle":     {raw(frameRST, 0, 1, "0000"), "GOAWAY 0 PROTOCOL_ERROR"},
		"5.1 WINDOW_UPDATE, idle":  {raw(frameWindowUpdate, 0, 1, "0000"), "GOAWAY 0 PROTOCOL_ERROR"},
		"5.1 CONTINUATION, idle":   {raw(frameContinuation, 0, 1, ""), "GOAWAY 0 PROTOCOL_ERROR"},
		"5.1 PRIORITY, idle":       {raw(framePriority, 0, 1, "00000"), "SETTINGS ack"},
		"5.1 DATA, half closed":    {after(end, raw(frameData, 0, 1, "x")), "RST_STREAM 1 STREAM_CLOSED"},
		"5.1 HEADERS, half closed": {after(end, open), "RST_STREAM 1 STREAM_CLOSED"},
		"5.1 WINDOW_UPDATE, half":  {after(end, raw(frameWindowUpdate, 0, 1, "\x00\x00\x00\x01")), "SETTINGS ack"},
		"5.1 DATA, ended":          {after(answered, raw(frameData, 0, 1, "x")), "GOAWAY 1 STREAM_CLOSED"},
		"5.1 HEADERS, ended":       {after(answered, open), "GOAWAY 1 STREAM_CLOSED"},
		"5.1 WINDOW_UPDATE, ended": {
			after(answered, raw(frameWindowUpdate, 0, 1, "\x00\x00\x00\x01")), "HEADERS 1 :status=200 end",
		},
		"5.1 RST_STREAM, ended":      {after(answered, reset), "HEADERS 1 :status=200 end"},
		"5.1 DATA, peer reset":       {after(open, reset, raw(frameData, 0, 1, "x")), "RST_STREAM 1 STREAM_CLOSED"},
		"5.1 HEADERS, peer reset":    {after(open, reset, open), "RST_STREAM 1 STREAM_CLOSED"},
		"5.1 RST_STREAM, peer reset": {after(open, reset, reset), "SETTINGS ack"},
		"5.1.1 even":                 {func(s *script) { s.get(2, true) }, "GOAWAY 0 PROTOCOL_ERROR"},
		"5.1.1 lower":                {func(s *script) { s.get(5, true); s.get(3, true) }, "GOAWAY 5 PROTOCOL_ERROR"},
		"5.1.1 passed over, DATA": {
			after(func(s *script) { s.get(5, true) }, raw(frameData, 0, 3, "")), "RST_STREAM 3 STREAM_CLOSED",
		},
		"5.3.1 depends on itself": {
			after(open, raw(framePriority, 0, 1, "\x00\x00\x00\x01\x00")), "RST_STREAM 1 PROTOCOL_ERROR",
		},
		"5.3.1 HEADERS on itself": {func(s *script) {
			s.framer.WriteHeaders(http2.HeadersFrameParam{
				StreamID: 1, EndHeaders: true, BlockFragment: s.encode(":method", "GET"),
				Priority: http2.PriorityParam{StreamDep: 1, Weight: 1},
			})
		}, "RST_STREAM 1 PROTOCOL_ERROR"},
		"6.1 stream 0": {raw(frameData, 0, 0, "x"), "GOAWAY 0 PROTOCOL_ERROR"},
		"6.1 padding": {
			after(open, raw(frameData, flagPadded, 1, "\x01")), "GOAWAY 1 PROTOCOL_ERROR",
		},
		"6.1 padding, empty": {after(open, raw(frameData, flagPadded, 1, "")), "GOAWAY 1 FRAME_SIZE_ERROR"},
		"6.1 padding alone":  {after(open, raw(frameData, flagPadded, 1, "\x01\x00")), "SETTINGS ack"},
		"6.2 stream 0":       {raw(frameHeaders, flagEndHeaders, 0, ""), "GOAWAY 0 PROTOCOL_ERROR"},
		"6.2 padding": {
			raw(frameHeaders, flagEndHeaders|flagPadded, 1, "\x02\x00"), "GOAWAY 0 PROTOCOL_ERROR",
		},
		"6.2 no room for priority": {
			raw(frameHeaders, flagEndHeaders|flagPriority, 1, "123"), "GOAWAY 0 FRAME_SIZE_ERROR",
		},
		"6.3 stream 0": {raw(framePriority, 0, 0, "00000"), "GOAWAY 0 PROTOCOL_ERROR"},
		"6.3 length": {
			after(open, raw(framePriority, 0, 1, "000000")), "RST_STREAM 1 FRAME_SIZE_ERROR",
		},
		"6.4 stream 0":         {raw(frameRST, 0, 0, "0000"), "GOAWAY 0 PROTOCOL_ERROR"},
		"6.4 length":           {after(open, raw(frameRST, 0, 1, "000")), "GOAWAY 1 FRAME_SIZE_ERROR"},
		"6.5 ack with payload": {raw(frameSettings, flagAck, 0, "000000"), "GOAWAY 0 FRAME_SIZE_ERROR"},
		"6.5 ack without SETTINGS": {
			after(raw(frameSettings, flagAck, 0, ""), raw(frameSettings, flagAck, 0, "")), "GOAWAY 0 PROTOCOL_ERROR",
		},
		"6.5 stream": {raw(frameSettings, 0, 1, ""), "GOAWAY 0 PROTOCOL_ERROR"},
		"6.5 length": {raw(frameSettings, 0, 0, "00000"), "GOAWAY 0 FRAME_SIZE_ERROR"},
		"6.5.2 push": {
			raw(frameSettings, 0, 0, "\x00\x02\x00\x00\x00\x02"), "GOAWAY 0 PROTOCOL_ERROR",
		},
		"6.5.2 window": {
			raw(frameSettings, 0, 0, "\x00\x04\x80\x00\x00\x00"), "GOAWAY 0 FLOW_CONTROL_ERROR",
		},
		"6.5.2 frame below": {
			raw(frameSettings, 0, 0, "\x00\x05\x00\x00\x3f\xff"), "GOAWAY 0 PROTOCOL_ERROR",
		},
		"6.5.2 frame above": {
			raw(frameSettings, 0, 0, "\x00\x05\x01\x00\x00\x00"), "GOAWAY 0 PROTOCOL_ERROR",
		},
		"6.5.2 unknown": {raw(frameSettings, 0, 0, "\x12\x34\x00\x00\x00\x00"), "SETTINGS ack"},
		"6.5.2 RFC 8441 §3 no number": {
			raw(frameSettings, 0, 0, "\x00\x08\x00\x00\x00\x02"), "GOAWAY 0 PROTOCOL_ERROR",
		},
		"6.5.2 RFC 8441 §3 taken back": {
			raw(frameSettings, 0, 0, "\x00\x08\x00\x00\x00\x01\x00\x08\x00\x00\x00\x00"), "GOAWAY 0 PROTOCOL_ERROR",
		},
		"6.6 PUSH_PROMISE": {
			raw(framePush, flagEndHeaders, 1, "\x00\x00\x00\x02"), "GOAWAY 0 PROTOCOL_ERROR",
		},
		"6.7 PING":     {raw(framePing, 0, 0, "12345678"), "PING ack"},
		"6.7 PING ack": {raw(framePing, flagAck, 0, "12345678"), "SETTINGS ack"},
		"6.7 stream":   {raw(framePing, 0, 1, "12345678"), "GOAWAY 0 PROTOCOL_ERROR"},
		"6.7 length":   {raw(framePing, 0, 0, "1234567"), "GOAWAY 0 FRAME_SIZE_ERROR"},
		"6.8 stream":   {raw(frameGoAway, 0, 1, "00000000"), "GOAWAY 0 PROTOCOL_ERROR"},
		"6.8 length":   {raw(frameGoAway, 0, 0, "0000"), "GOAWAY 0 FRAME_SIZE_ERROR"},
		"6.8 last stream grows": {
			after(raw(frameGoAway, 0, 0, "\x00\x00\x00\x00\x00\x00\x00\x00"),
				raw(frameGoAway, 0, 0, "\x00\x00\x00\x05\x00\x00\x00\x00")),
			"SETTINGS ack",
		},
		"6.9 by 0": {raw(frameWindowUpdate, 0, 0, "\x00\x00\x00\x00"), "GOAWAY 0 PROTOCOL_ERROR"},
		"6.9 by 0, stream": {
			after(open, raw(frameWindowUpdate, 0, 1, "\x00\x00\x00\x00")), "RST_STREAM 1 PROTOCOL_ERROR",
		},
		"6.9 length": {raw(frameWindowUpdate, 0, 0, "\x00\x00\x00"), "GOAWAY 0 FRAME_SIZE_ERROR"},
		"6.9.1 overflow": {
			raw(frameWindowUpdate, 0, 0, "\x7f\xff\xff\xff"), "GOAWAY 0 FLOW_CONTROL_ERROR",
		},
		"6.9.1 overflow, stream": {
			after(open, raw(frameWindowUpdate, 0, 1, "\x7f\xff\xff\xff")), "RST_STREAM 1 FLOW_CONTROL_ERROR",
		},
		"6.9.2 overflow by SETTINGS": {
			after(open, raw(frameWindowUpdate, 0, 1, "\x7f\xff\x00\x00"),
				raw(frameSettings, 0, 0, "\x00\x04\x7f\xff\xff\xff")),
			"GOAWAY 1 FLOW_CONTROL_ERROR",
		},
		"6.10 without HEADERS": {raw(frameContinuation, flagEndHeaders, 1, ""), "GOAWAY 0 PROTOCOL_ERROR"},
		"6.10 behind END_HEADERS": {
			after(open, raw(frameContinuation, flagEndHeaders, 1, "")), "GOAWAY 1 PROTOCOL_ERROR",
		},
		"RFC 9218 §7.1 stream": {
			raw(framePriorityUpdate, 0, 1, "\x00\x00\x00\x01u=1"), "GOAWAY 0 PROTOCOL_ERROR",
		},
		"RFC 9218 §7.1 of stream 0": {
			raw(framePriorityUpdate, 0, 0, "\x00\x00\x00\x00u=1"), "GOAWAY 0 PROTOCOL_ERROR",
		},
		"RFC 9218 §7.1 length":          {raw(framePriorityUpdate, 0, 0, "\x00\x00"), "GOAWAY 0 FRAME_SIZE_ERROR"},
		"RFC 9218 §7.1 before the head": {raw(framePriorityUpdate, 0, 0, "\x00\x00\x00\x01u=1"), "SETTINGS ack"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t, Server, Options{})
			s.in.WriteString(preface)
			s.framer.WriteSettings()
			s.framer.WriteSettingsAck()
			s.recv()
			if strings.HasPrefix(name, "6.5 ack without") {
				s.in.Reset()
			}
			c.send(s)
			s.recv()
			lines := s.wire()
			if got := lines[len(lines)-1]; got != c.want && !strings.Contains(strings.Join(lines, "\n"), c.want) {
				t.Errorf("got %q, want %q", lines, c.want)
			}
			if fault := strings.HasPrefix(c.want, "GOAWAY"); fault != (s.last.Kind == Fault) || fault != s.c.Done() {
				t.Errorf("fault %v, events %q", !fault, s.events)
			}
		})
	}
}

func TestConn_preface(t *testing.T) {
	for _, in := range []string{"GET / HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", "\x16\x03\x01"} {
		s := newScript(t, Server, Options{})
		s.feed([]byte(in))
		s.want("Fault PROTOCOL_ERROR")
	}
	s := newScript(t, Server, Options{})
	s.feed([]byte(preface))
	s.framer.WritePing(false, [8]byte{})
	s.recv()
	s.want("Fault PROTOCOL_ERROR") // the first frame has to be SETTINGS
	s = newScript(t, Client, Options{})
	s.headers(1, true, ":status", "200")
	s.recv()
	s.want("Fault PROTOCOL_ERROR")
}

// Frames that were on their way when we reset a stream are ignored, and their windows given back.
func TestConn_ignoresWhatWasOnItsWay(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	s.get(1, false)
	s.recv()
	s.c.Reset(s.stream[1], Cancel)
	window := s.c.recvWindow
	s.framer.WriteData(1, false, make([]byte, 1000))
	s.headers(1, true, "a", "b")
	s.framer.WriteWindowUpdate(1, 5)
	s.framer.WriteRSTStream(1, http2.ErrCodeCancel)
	s.get(3, true, "a", "b")
	s.recv()
	s.want("HeadDone 1 GET /", "HeadDone 3 GET / end")
	s.wantWire("RST_STREAM 1 CANCEL")
	if s.c.recvWindow != window-1000 {
		t.Errorf("window %d, was %d", s.c.recvWindow, window)
	}
	// A stream that is reset in the middle of a DATA frame.
	s.get(5, false)
	s.framer.WriteData(5, true, []byte("0123456789"))
	s.get(7, true)
	in := append([]byte(nil), s.in.Bytes()...)
	s.in.Reset()
	cut := strings.Index(string(in), "0123") + 4
	s.feed(in[:cut])
	s.c.Reset(s.stream[5], Cancel)
	if rest := s.feed(in[cut:]); len(rest) > 0 {
		t.Error("bytes are left")
	}
	s.want("HeadDone 5 GET /", `Data 5 "0123"`, "HeadDone 7 GET / end")
}

// A frame that is passed over leaves no deadline armed when its head came in two parts.
func TestConn_unknownFrameInParts(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	s.feed([]byte{0, 0, 2, 0xfa})
	if s.c.Deadline() == 0 {
		t.Fatal("the rest of a frame may take for ever")
	}
	s.feed([]byte{0, 0, 2, 0xfa, 0, 0, 0, 0, 0, 'x', 'y'})
	if at := s.c.Deadline(); at != 0 {
		t.Fatal("something is due at", at)
	}
}

// The same bytes whole, one by one and cut anywhere give the same events.
func TestConn_cutAnywhere(t *testing.T) {
	w := newScript(t, Server, Options{})
	w.in.WriteString(preface)
	w.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100})
	w.framer.WriteSettingsAck()
	w.get(1, false, "cookie", "a", "x", strings.Repeat("y", 300), "cookie", "b")
	w.framer.WriteDataPadded(1, false, []byte("hello"), make([]byte, 30))
	block := w.encode(":method", "GET", ":scheme", "http", ":path", "/split", ":authority", "h")
	w.framer.WriteHeaders(http2HeadersParam(3, true, false, block[:3]))
	w.framer.WriteContinuation(3, false, block[3:5])
	w.framer.WriteContinuation(3, true, block[5:])
	w.framer.WriteRawFrame(0x77, 3, 9, []byte("unknown"))
	w.framer.WriteData(1, false, nil)
	w.framer.WritePing(false, [8]byte{1})
	w.framer.WriteWindowUpdate(0, 7)
	w.headers(1, true, "trailer-field", "v")
	w.get(5, false, "content-length", "1")
	w.framer.WriteData(5, true, []byte("xx"))
	w.get(7, true)
	w.framer.WriteRSTStream(7, http2.ErrCodeCancel)
	w.framer.WriteGoAway(0, http2.ErrCodeNo, []byte("bye"))
	w.get(9, false)
	w.framer.WriteData(9, true, []byte(strings.Repeat("z", 500)))
	in := w.in.Bytes()

	play := func(next func(left int) int) (string, []string) {
		s := newScript(t, Server, Options{})
		var kept, events []byte
		for at := 0; at < len(in); {
			n := next(len(in) - at)
			kept = append(kept, in[at:at+n]...)
			at += n
			for {
				n, ev := s.c.Next(kept, &s.head, s.now)
				kept = append(kept[:0:0], kept[n:]...)
				if ev.Kind == NeedMore {
					break
				}
				if ev.Kind == Data { // joined, however it was cut
					events = append(append(events, ev.Body...), endMark(ev.End)...)
					continue
				}
				s.events = nil
				s.note(ev)
				events = append(append(events, s.events[0]...), fieldsOf(&s.head, ev)...)
				events = append(events, '\n')
			}
		}
		return string(events), s.wire()
	}
	whole, wire := play(func(left int) int { return left })
	if strings.Count(whole, "HeadDone") != 5 {
		t.Fatal(whole)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 300 {
		next := func(left int) int { return 1 }
		if i > 0 {
			most := 1 + rng.IntN(200)
			next = func(left int) int { return min(left, 1+rng.IntN(most)) }
		}
		events, sent := play(next)
		if events != whole {
			t.Fatalf("got\n%s\nwant\n%s", events, whole)
		}
		if strings.Join(sent, "\n") != strings.Join(wire, "\n") {
			t.Fatalf("sent\n%q\nwant\n%q", sent, wire)
		}
	}
}

func fieldsOf(h *message.Head, ev Event) string {
	if ev.Kind != HeadDone && ev.Kind != Trailers {
		return ""
	}
	var b strings.Builder
	for i := range h.Fields {
		b.WriteString(" " + string(h.Name(i)) + "=" + string(h.Value(i)))
	}
	return b.String()
}
