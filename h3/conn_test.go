package h3

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/quic"
)

func TestServer_exchange(t *testing.T) {
	s := newScript(t, Server, Options{})
	s.send(s.oneWay(0), "00 04 00")
	s.sendEnd(s.request(0), get("accept", "*/*"))
	s.want("Settings", "HeadDone 0 GET / end")
	if s.head.Proto != message.HTTP30 || !s.head.HTTPS || s.head.Get("accept") != "*/*" {
		t.Errorf("%+v", s.head)
	}
	s.respond(0, makeResponse(200, "Server", "edge"), false)
	s.data(0, "hello", true)
	s.wantWire("HEADERS 0 :status=200 server=edge", `DATA 0 "hello"`, "END 0", "STREAM 3 type 0",
		"SETTINGS 0680008c800801")
	if s.c.Streams() != 0 || Opened(&s.c) != 1 {
		t.Error(s.c.Streams(), Opened(&s.c))
	}
}

func TestServer_body(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	q := s.request(0)
	s.send(q, headers(":method", "POST", ":scheme", "https", ":path", "/a?b", ":authority", "h", "content-length", "8"))
	s.want("HeadDone 0 POST /a?b")
	if s.head.Length != 8 {
		t.Error(s.head.Length)
	}
	s.send(q, data("hello"), "21 01 ff") // a frame of an unknown type
	s.want(`Data 0 "hello"`)
	s.send(q, "00 03 61")
	s.want(`Data 0 "a"`)
	s.send(q, "62 63")
	s.want(`Data 0 "bc"`)
	s.sendEnd(q, headers("x-checksum", "1"))
	s.want("Trailers 0 x-checksum=1 end")
	s.respond(0, makeResponse(204), true)
	s.wantWire("HEADERS 0 :status=204", "END 0")
}

func TestServer_emptyEnd(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	q := s.request(0)
	s.send(q, get())
	s.want("HeadDone 0 GET /")
	s.sendEnd(q)
	s.want(`Data 0 "" end`)
	s.respond(0, makeResponse(200), true)
	s.wantWire("HEADERS 0 :status=200", "END 0")
}

func TestClient_exchange(t *testing.T) {
	s := scriptFor(t, Client, Options{})
	s.ask(makeRequest("GET", "/x", "example.org", "Accept", "*/*"), true)
	s.wantWire("HEADERS 0 :method=GET :scheme=http :authority=example.org :path=/x accept=*/*", "END 0")
	q := s.request(0)
	s.send(q, headers(":status", "103", "link", "</a>"))
	s.send(q, headers(":status", "200", "content-length", "5"))
	s.want("HeadDone 0 103", "HeadDone 0 200")
	s.sendEnd(q, data("hello"))
	s.want(`Data 0 "hello" end`)
	if s.c.Streams() != 0 || !s.stream[0].Dead() {
		t.Error("the exchange is not over")
	}
}

// Every fault of the connection, by what the peer sends on its control stream (which has begun), another one-way stream
// or the stream of a request.
func TestConn_faults(t *testing.T) {
	body := get("content-length", "5")
	for _, c := range []struct {
		name   string
		role   Role
		stream string // control, other, request
		end    bool
		sends  []string
		want   *Error
	}{
		{"second SETTINGS", Server, "control", false, []string{"04 00"}, errFrameUnexpected},
		{"DATA on the control stream", Server, "control", false, []string{"00 01 61"}, errFrameUnexpected},
		{"HEADERS on it", Server, "control", false, []string{get()}, errFrameUnexpected},
		{"PUSH_PROMISE on it", Client, "control", false, []string{"05 01 00"}, errFrameUnexpected},
		{"PRIORITY of HTTP/2", Server, "control", false, []string{"02 01 00"}, errFrameUnexpected},
		{"CANCEL_PUSH", Server, "control", false, []string{"03 01 00"}, errPush},
		{"CANCEL_PUSH to a client", Client, "control", false, []string{"03 01 00"}, errPush},
		{"MAX_PUSH_ID to a client", Client, "control", false, []string{"0d 01 00"}, errFrameUnexpected},
		{"MAX_PUSH_ID that falls", Server, "control", false, []string{"0d 01 07 0d 01 06"}, errPush},
		{"MAX_PUSH_ID with more", Server, "control", false, []string{"0d 02 07 07"}, errPayload},
		{"GOAWAY with nothing", Server, "control", false, []string{"07 00"}, errPayload},
		{"GOAWAY with half a number", Server, "control", false, []string{"07 01 40"}, errPayload},
		{"GOAWAY of no request", Client, "control", false, []string{"07 01 01"}, errGoAwayID},
		{"GOAWAY that grows", Client, "control", false, []string{"07 01 04 07 01 08"}, errGoAwayID},
		{"GOAWAY of a client that grows", Server, "control", false, []string{"07 01 04 07 01 08"}, errGoAwayID},
		{"PRIORITY_UPDATE to a client", Client, "control", false, []string{"800f0700 01 00"}, errFrameUnexpected},
		{"PRIORITY_UPDATE of a push", Server, "control", false, []string{"800f0701 01 00"}, errPriorityID},
		{"PRIORITY_UPDATE of no request", Server, "control", false, []string{"800f0700 01 02"}, errPriorityID},
		{"PRIORITY_UPDATE above the limit", Server, "control", false, []string{"800f0700 02 42 00"}, errPriorityID},
		{"PRIORITY_UPDATE without a number", Server, "control", false, []string{"800f0700 01 40"}, errPayload},
		{"a large frame", Server, "control", false, []string{"07 44 01"}, errControlSize},
		{"its end", Server, "control", true, []string{""}, errClosedCritical},

		{"no SETTINGS", Server, "other", false, []string{"00 07 01 00"}, errMissingSettings},
		{"unknown frame before SETTINGS", Server, "other", false, []string{"00 21 00"}, errMissingSettings},
		{"half a setting", Server, "other", false, []string{"00 04 01 06"}, errPayload},
		{"setting of HTTP/2", Server, "other", false, []string{"00 04 02 03 01"}, errSetting},
		{"setting twice", Server, "other", false, []string{"00 04 04 06 01 06 01"}, errSetting},
		{"setting out of range", Client, "other", false, []string{"00 04 02 08 02"}, errSetting},
		{"second control stream", Server, "both", false, []string{"00 04 00"}, errStreamCreation},
		{"second encoder stream", Server, "twice", false, []string{"02"}, errStreamCreation},
		{"second decoder stream", Server, "twice", false, []string{"03"}, errStreamCreation},
		{"push stream of a client", Server, "other", false, []string{"01 00"}, errStreamCreation},
		{"push stream of a server", Client, "other", false, []string{"01 00"}, errPush},
		{"end of the encoder stream", Server, "other", true, []string{"02"}, errClosedCritical},
		{"end of the decoder stream", Server, "other", true, []string{"03"}, errClosedCritical},
		{"insertion", Server, "other", false, []string{"02 c0 01 61"}, errEncoderStream},
		{"capacity", Client, "other", false, []string{"02 20"}, errEncoderStream},
		{"acknowledgement of a section", Server, "other", false, []string{"03 80"}, errDecoderStream},
		{"increment", Server, "other", false, []string{"03 44 01"}, errDecoderStream},
		{"endless integer", Server, "other", false, []string{"03 7f 80808080808080808080"}, errDecoderStream},

		{"DATA before the head", Server, "request", false, []string{data("x")}, errFrameUnexpected},
		{"SETTINGS on a request", Server, "request", false, []string{"04 00"}, errFrameUnexpected},
		{"GOAWAY on a request", Server, "request", false, []string{"07 01 00"}, errFrameUnexpected},
		{"PRIORITY_UPDATE on a request", Server, "request", false, []string{"800f0700 01 00"}, errFrameUnexpected},
		{"PUSH_PROMISE of a client", Server, "request", false, []string{"05 01 00"}, errFrameUnexpected},
		{"PUSH_PROMISE", Client, "request", false, []string{"05 01 00"}, errPush},
		{"CONTINUATION", Server, "request", false, []string{"09 00"}, errFrameUnexpected},
		{"frame after the trailers", Server, "request", false, []string{get(), headers("a", "b"), data("x")},
			errFrameUnexpected},
		{"HEADERS in a tunnel", Server, "request", false,
			[]string{headers(":method", "CONNECT", ":authority", "a:1"), headers("a", "b")}, errFrameUnexpected},
		{"DATA that is cut", Server, "request", true, []string{body, "00 05 61 62"}, errFrameCut},
		{"HEADERS that are cut", Server, "request", true, []string{"01 05 00 00"}, errFrameCut},
		{"the head of a frame that is cut", Server, "request", true, []string{get(), "00 40"}, errFrameCut},
		{"an unknown frame that is cut", Server, "request", true, []string{get(), "21 02 00"}, errFrameCut},
		{"no section", Server, "request", false, []string{"01 00"}, errDecompression},
		{"reference to the dynamic table", Server, "request", false, []string{"01 03 00 00 80"}, errDecompression},
		{"more fields than 10 times the limit", Server, "request", false,
			[]string{frame(frameHeaders, "\x00\x00"+strings.Repeat("\xd1", 1001))}, errHeaderBomb},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t, c.role, Options{})
			q := s.oneWay(0)
			if c.stream != "other" {
				s.send(q, "00 04 00")
			}
			switch c.stream {
			case "both":
				q = s.oneWay(1)
			case "twice":
				s.send(s.oneWay(1), c.sends...)
				q = s.oneWay(2)
			case "request":
				if c.role == Client {
					s.recv()
					s.ask(makeRequest("GET", "/", "h"), true)
				}
				q = s.request(0)
			}
			if c.end {
				s.sendEnd(q, c.sends...)
			} else {
				s.send(q, c.sends...)
			}
			s.recv()
			if !errors.Is(s.last.Err, c.want) || s.last.Kind != Fault || !s.c.Done() {
				t.Errorf("%q, %v, want %v", s.events, s.last.Err, c.want)
			}
			if said := s.wire(); !slices.Contains(said, "CLOSE "+c.want.Code.String()) {
				t.Errorf("the peer was told %q", said)
			}
		})
	}
}

func TestConn_resetOfCriticalStreams(t *testing.T) {
	for _, first := range []string{"00 04 00", "02", "03"} {
		s := newScript(t, Server, Options{})
		s.send(s.oneWay(0), first)
		s.recv()
		s.far.q.Reset(s.oneWay(0), 1)
		if s.recv(); !errors.Is(s.last.Err, errClosedCritical) {
			t.Errorf("%s: %v", first, s.last.Err)
		}
	}
	s := scriptFor(t, Server, Options{})
	s.far.q.Stop(s.peer[3], 1)
	if s.recv(); !errors.Is(s.last.Err, errClosedCritical) {
		t.Error(s.last.Err)
	}
}

// What is unknown changes nothing.
func TestServer_ignores(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	s.send(s.oneWay(0), "21 03 010203", "4021 00", "0d 01 05", "0d 01 05", "c000000000000040 01 ff")
	s.send(s.oneWay(1), "40 40 01 02 03")
	s.send(s.oneWay(2), "02")
	s.send(s.oneWay(3), "03 44 7f 80 01 40")
	s.sendEnd(s.request(0), "21 02 0000", get(), "21 00", "4040 01 00")
	s.want("HeadDone 0 GET /", `Data 0 "" end`)
	s.wantWire("STOP 6 H3_STREAM_CREATION_ERROR")
}

// Faults of one exchange: it is reset, the next one goes on.
func TestServer_malformed(t *testing.T) {
	request := func(more ...string) []string { return []string{get(more...)} }
	for _, c := range []struct {
		name  string
		sends []string
		end   bool
		want  error
		says  []string
	}{
		{"no :path", []string{headers(":method", "GET", ":scheme", "https", ":authority", "h")}, true, nil, nil},
		{"connection", request("connection", "close"), true, nil, nil},
		{"upper case", []string{frame(frameHeaders, fieldSection()+"\xd1\xd7\xc1\x50\x01h\x21A\x01b")}, true, nil, nil},
		{"no head", nil, true, errIncomplete, []string{"RESET 0 H3_REQUEST_INCOMPLETE"}},
		{"too little data", []string{get("content-length", "5"), data("four")}, true, errLengthMismatch, nil},
		{"no data", []string{get("content-length", "5")}, true, nil, nil},
		{"too much data", []string{get("content-length", "5"), data("sixsix")}, false, errLengthMismatch,
			[]string{"RESET 0 H3_MESSAGE_ERROR", "STOP 0 H3_MESSAGE_ERROR"}},
		{"trailers before all data", []string{get("content-length", "5"), headers("a", "b")}, false,
			errLengthMismatch, nil},
		{"pseudo-field in trailers", []string{get(), headers(":path", "/")}, true, nil, nil},
		{"a long target", []string{headers(":method", "GET", ":scheme", "https", ":authority", "h", ":path",
			"/"+strings.Repeat("a", 9000))}, true, ErrTargetTooLong, []string{"HEADERS 0 :status=414", "END 0"}},
		{"a long field", request("x", strings.Repeat("é", 8200)), true, ErrHeadTooLarge,
			[]string{"HEADERS 0 :status=431", "END 0"}},
		{"a long section", request("x", strings.Repeat("é", 17000)), false, ErrHeadTooLarge,
			[]string{"STOP 0 H3_NO_ERROR", "HEADERS 0 :status=431", "END 0"}},
		{"many fields", request(slices.Repeat([]string{"x", "y"}, 101)...), true, ErrTooManyFields,
			[]string{"HEADERS 0 :status=431", "END 0"}},
		{"expectation", request("expect", "tea"), true, ErrExpectation,
			[]string{"HEADERS 0 :status=417", "END 0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := scriptFor(t, Server, Options{})
			q := s.request(0)
			if c.end {
				s.sendEnd(q, c.sends...)
			} else {
				s.send(q, c.sends...)
			}
			s.recv()
			if s.last.Kind != Reset || c.want != nil && !errors.Is(s.last.Err, c.want) || s.c.Streams() != 0 {
				t.Fatalf("%q, %v, want %v", s.events, s.last.Err, c.want)
			}
			says := c.says
			if says == nil {
				says = []string{"RESET 0 H3_MESSAGE_ERROR"}
			}
			if got := s.wire(); !slices.Equal(got, says) && c.says != nil || !slices.Contains(got, says[0]) {
				t.Errorf("sent %q, want %q", got, says)
			}
			s.events = nil
			s.sendEnd(s.request(4), get())
			s.want("HeadDone 4 GET / end")
		})
	}
}

func TestServer_resets(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	s.send(s.request(0), get())
	s.want("HeadDone 0 GET /")
	s.far.q.Reset(s.request(0), uint64(RequestCancelled))
	s.want("Reset 0 H3_REQUEST_CANCELLED")
	s.wantWire("RESET 0 H3_REQUEST_CANCELLED")

	s.send(s.request(4), get())
	s.recv()
	s.respond(4, makeResponse(200), false)
	s.far.q.Stop(s.request(4), uint64(RequestCancelled))
	s.want("HeadDone 4 GET /", "Reset 4 H3_REQUEST_CANCELLED")
	if _, err := s.c.SendData(s.stream[4], nil, true); err != ErrDead {
		t.Error(err)
	}
	s.wire()
	s.send(s.request(8), get())
	s.want("HeadDone 8 GET /")
	s.c.Reset(s.stream[8], InternalError)
	s.wantWire("RESET 8 H3_INTERNAL_ERROR", "STOP 8 H3_INTERNAL_ERROR")
}

func TestServer_stopRequest(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	q := s.request(0)
	s.send(q, headers(":method", "POST", ":scheme", "https", ":path", "/", ":authority", "h"), data("abc"))
	s.want("HeadDone 0 POST /", `Data 0 "abc"`)
	s.respond(0, makeResponse(200), false)
	s.data(0, "no", true)
	s.c.StopRequest(s.stream[0])
	s.wantWire("STOP 0 H3_NO_ERROR", "HEADERS 0 :status=200", `DATA 0 "no"`, "END 0")
	s.far.q.Send(q, []byte("more"), false)
	s.want()
}

// A server that has answered whole stops the request: the client goes on with the answer.
func TestClient_stopped(t *testing.T) {
	s := scriptFor(t, Client, Options{})
	st := s.ask(makeRequest("POST", "/", "h"), false)
	s.data(0, "abc", false)
	s.recv()
	q := s.request(0)
	s.far.q.Stop(q, uint64(NoError))
	s.want()
	if n := s.data(0, "def", false); n != 3 || st.Dead() {
		t.Error(n, st.Dead())
	}
	s.sendEnd(q, headers(":status", "413"), data("x"))
	s.want("HeadDone 0 413", `Data 0 "x" end`)
	if !st.Dead() || s.c.Streams() != 0 {
		t.Error("the exchange is not over")
	}
	// The answer is whole, and the request waits for a window: what is left of it is not missed.
	s = newScriptWith(t, Client, Options{}, quic.Options{}, quic.Options{StreamWindow: 100})
	st = s.ask(makeRequest("POST", "/", "h"), false)
	q = s.request(0)
	s.sendEnd(q, headers(":status", "413"))
	s.recv()
	s.data(0, strings.Repeat("x", 200), false)
	s.events = nil
	s.onEvent = func(ev Event) {
		if n := s.data(0, "def", true); ev.Kind != Sendable || n != 3 || !st.Dead() {
			t.Error(ev, n)
		}
	}
	s.far.q.Stop(q, uint64(NoError))
	s.want("Sendable 0")
}

func TestClient_faults(t *testing.T) {
	for _, c := range []struct {
		name  string
		sends []string
		end   bool
		want  string
	}{
		{"no answer", nil, true, "Reset 0 H3_MESSAGE_ERROR"},
		{"status 101", []string{headers(":status", "101")}, false, "Reset 0 H3_MESSAGE_ERROR"},
		{"interim answer that ends", []string{headers(":status", "100")}, true, "Reset 0 H3_MESSAGE_ERROR"},
		{"too little", []string{headers(":status", "200", "content-length", "3"), data("ab")}, true,
			"HeadDone 0 200\nReset 0 H3_MESSAGE_ERROR"},
		{"many interim answers", slices.Repeat([]string{headers(":status", "103")}, 33), false,
			strings.Repeat("HeadDone 0 103\n", 32) + "Reset 0 H3_MESSAGE_ERROR"},
		{"a large answer", []string{headers(":status", "200", "x", strings.Repeat("é", 9000))}, false,
			"Reset 0 H3_MESSAGE_ERROR"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := scriptFor(t, Client, Options{})
			s.ask(makeRequest("GET", "/", "h"), true)
			if c.end {
				s.sendEnd(s.request(0), c.sends...)
			} else {
				s.send(s.request(0), c.sends...)
			}
			s.want(c.want)
		})
	}
}

func TestServer_shutdown(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	s.send(s.request(0), get())
	s.want("HeadDone 0 GET /")
	s.c.Shutdown(s.w.now)
	s.wantWire("GOAWAY 4611686018427387900")
	s.sendEnd(s.request(4), get())
	s.want("HeadDone 4 GET / end")
	s.w.now = s.c.Deadline()
	s.expire()
	s.wantWire("GOAWAY 8")
	s.sendEnd(s.request(8), get())
	s.want()
	s.wantWire("RESET 8 H3_REQUEST_REJECTED")
	s.respond(4, makeResponse(200), true)
	s.sendEnd(s.request(0))
	s.want(`Data 0 "" end`)
	s.respond(0, makeResponse(200), true)
	if s.c.Done() {
		t.Error("done before the answers have come")
	}
	s.recv()
	s.w.wait(50e6)
	if !s.c.Done() || !s.c.GoingAway() {
		t.Error("not done")
	}
	s.c.Close(NoError)
	s.want()
	if said := s.wire(); !slices.Contains(said, "CLOSE H3_NO_ERROR") {
		t.Error(said)
	}
}

// A GOAWAY that has no stream yet is sent as soon as there is one.
func TestServer_shutdownBeforeControl(t *testing.T) {
	s := newScript(t, Server, Options{})
	s.wire()
	for {
		qs, err := s.mine.q.Open(quic.OneWay)
		if err != nil {
			break
		}
		s.mine.q.Send(qs, []byte{0x21}, true)
	}
	s.recv()
	s.wire()
	s.c.Init(Server, &s.mine.q, &s.o)
	s.c.Shutdown(s.w.now)
	s.wantWire()
	for id, qs := range s.peer {
		if id&2 != 0 && id != 3 { // that is a control stream still
			s.far.q.Done(qs)
		}
	}
	s.recv()
	lines := strings.Join(s.wire(), "\n")
	if _, last, _ := strings.Cut(lines, "SETTINGS"); !strings.HasSuffix(last, fmt.Sprintf("\nGOAWAY %d", idMax)) {
		t.Errorf("%q", lines)
	}
}

func TestClient_goAway(t *testing.T) {
	s := scriptFor(t, Client, Options{})
	s.ask(makeRequest("GET", "/0", "h"), true)
	s.ask(makeRequest("GET", "/4", "h"), false)
	s.ask(makeRequest("GET", "/8", "h"), true)
	late, err := s.c.Open(s.w.now)
	testutil.Must(t, err)
	s.send(s.oneWay(0), "07 01 04")
	s.want("GoAway", "Reset 8 H3_REQUEST_REJECTED", "Reset 4 H3_REQUEST_REJECTED")
	if err := s.c.SendHead(late, makeRequest("GET", "/", "h"), true); err != ErrGoingAway {
		t.Error(err)
	}
	s.c.Reset(late, RequestCancelled)
	if _, err := s.c.Open(s.w.now); err != ErrGoingAway || s.c.Done() {
		t.Error(err)
	}
	s.sendEnd(s.request(0), headers(":status", "200"))
	s.want("HeadDone 0 200 end")
	s.w.wait(50e6)
	if !s.c.Done() {
		t.Error("not done")
	}
}

func TestClient_room(t *testing.T) {
	s := newScriptWith(t, Client, Options{MaxStreams: 3}, quic.Options{}, quic.Options{Streams: 2})
	if s.c.Room() != 2 {
		t.Fatal(s.c.Room())
	}
	first, _ := s.c.Open(s.w.now)
	if s.c.Room() != 1 {
		t.Error(s.c.Room())
	}
	if s.c.Reset(first, RequestCancelled); s.c.Room() != 2 {
		t.Error(s.c.Room())
	}
	s.ask(makeRequest("GET", "/", "h"), true)
	s.ask(makeRequest("GET", "/", "h"), true)
	if _, err := s.c.Open(s.w.now); err != ErrNoRoom {
		t.Error(err)
	}
	s.sendEnd(s.request(0), headers(":status", "200"))
	s.recv()
	s.events = nil
	s.far.q.Done(s.request(0))
	s.want("Settings")
	if s.c.Room() != 1 {
		t.Error(s.c.Room())
	}
}

func TestConn_settings(t *testing.T) {
	s := newScript(t, Client, Options{})
	big := makeRequest("GET", "/", "h", "x", strings.Repeat("a", 9000))
	st, err := s.c.Open(s.w.now)
	testutil.Must(t, err)
	if err := s.c.SendHead(st, big, true); err != errUnsettled {
		t.Error(err)
	}
	if s.c.ExtendedConnect() {
		t.Error("extended CONNECT before the settings")
	}
	s.send(s.oneWay(0), "00 04 05 06 50 00 08 01 21 00")
	s.recv()
	if err := s.c.SendHead(st, big, true); err != ErrListSize || !s.c.ExtendedConnect() {
		t.Error(err, s.c.ExtendedConnect())
	}
}

// A WebSocket over HTTP/3 is a GET with Upgrade on both sides of the codec.
func TestConn_extendedConnect(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	s.send(s.request(0), headers(":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":path", "/chat",
		":authority", "h"), data("ab"))
	s.want("HeadDone 0 GET /chat", `Data 0 "ab"`)
	if !s.head.Upgrade || string(s.head.Peek(message.Upgrade)) != "websocket" {
		t.Errorf("%+v", s.head)
	}
	if err := s.c.SendHead(s.stream[0], makeResponse(200), false); err != errNotSwitched {
		t.Error(err)
	}
	answer := makeResponse(101)
	answer.Tunnel, answer.Upgrade = true, true
	s.respond(0, answer, false)
	s.data(0, "cd", false)
	s.wantWire("HEADERS 0 :status=200", `DATA 0 "cd"`)

	s = newScript(t, Client, Options{})
	s.send(s.oneWay(0), "00 04 02 08 01")
	s.recv()
	h := makeRequest("GET", "/chat", "h")
	h.Upgrade = true
	h.AddBytes(message.Upgrade, "Upgrade", []byte("websocket"))
	h.Protocol = message.Span{At: h.Fields[0].ValueAt, Len: h.Fields[0].ValueLen}
	s.events = nil
	s.ask(h, false)
	s.send(s.request(0), headers(":status", "200"), data("x"))
	s.want("HeadDone 0 101", `Data 0 "x"`)
	if !s.head.Tunnel || !s.head.Upgrade {
		t.Errorf("%+v", s.head)
	}
	if lines := s.wire(); !slices.Contains(lines,
		"HEADERS 0 :method=CONNECT :scheme=http :authority=h :path=/chat :protocol=websocket") {
		t.Error(lines)
	}
}

// Answers leave in the order that requests, and PRIORITY_UPDATE later on, ask for.
func TestServer_priority(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	s.send(s.request(0), get("priority", "u=5"))
	s.send(s.request(4), get("priority", "u=1"))
	s.send(s.request(8), get())
	s.recv()
	var order []uint64
	s.far.on = func(ev *quic.Event) {
		if s.onFar(ev); ev.Kind == quic.Data && !slices.Contains(order, ev.Stream.ID) {
			order = append(order, ev.Stream.ID)
		}
	}
	answer := func(want ...uint64) {
		t.Helper()
		for _, id := range []uint64{0, 8, 4} {
			s.data(id, strings.Repeat("x", 3000), false)
		}
		if s.recv(); !slices.Equal(order, want) {
			t.Errorf("%v, want %v", order, want)
		}
		order = nil
	}
	for _, id := range []uint64{0, 8, 4} {
		s.respond(id, makeResponse(200), false)
	}
	answer(4, 8, 0)
	s.send(s.oneWay(0), frame(framePriorityUpdate, "\x04u=5, i"), frame(framePriorityUpdate, "\x00u=0"),
		frame(framePriorityUpdate, "\x40\x40u=0"))
	s.recv()
	answer(0, 8, 4)
	s.send(s.oneWay(0), frame(framePriorityUpdate, "\x04"), frame(framePriorityUpdate, "\x00"))
	s.recv()
	answer(0, 4, 8)
}

func TestServer_headTimeout(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	s.send(s.request(0), "01 20 00 00")
	s.sendEnd(s.request(4), get())
	s.want("HeadDone 4 GET / end")
	s.w.now = s.c.Deadline()
	s.expire()
	s.want("Reset H3_REQUEST_INCOMPLETE")
	s.wantWire("RESET 0 H3_REQUEST_INCOMPLETE", "STOP 0 H3_REQUEST_INCOMPLETE")
	if s.c.Deadline() != 0 || s.c.Stats().HeadTimeout != 1 {
		t.Error(s.c.Deadline(), s.c.Stats().HeadTimeout)
	}
}

// Where memory is short the heads go that have been late for longest, and requests that are here stay.
func TestServer_relievesLateHeads(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	for id := range uint64(3) {
		s.send(s.request(4*id), "01 20 00 00")
		s.recv()
		s.w.now += 1e9
	}
	s.sendEnd(s.request(12), get())
	s.want("HeadDone 12 GET / end")
	for ev := s.c.Relieve(s.w.now, 2*time.Second); ev.Kind != NeedMore; ev = s.c.Relieve(s.w.now, 2*time.Second) {
		s.note(ev)
	}
	s.want("Reset H3_REQUEST_REJECTED", "Reset H3_REQUEST_REJECTED")
	if n := s.c.Streams(); n != 2 {
		t.Errorf("%d exchanges are left", n)
	}
}

// Memory that is short is no fault of the peer: heads that go for it are not counted as late, however many they are,
// and do not end the connection.
func TestServer_relievesAnyNumberOfHeads(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	given := 0
	for id := range uint64(500) {
		s.send(s.request(4*id), "01 20 00 00")
		s.recv()
		for ev := s.c.Relieve(s.w.now, 0); ev.Kind != NeedMore; ev = s.c.Relieve(s.w.now, 0) {
			if ev.Kind != Reset {
				t.Fatalf("after %d heads: %v", given, ev.Err)
			}
			given++
		}
	}
	if st := s.c.Stats(); given != 500 || st.HeadTimeout != 0 || st.Malformed != 0 {
		t.Errorf("%d were given up, %d count as late, %d as malformed", given, st.HeadTimeout, st.Malformed)
	}
}

// Heads and data that windows do not allow wait, and go on in the right order.
func TestConn_windows(t *testing.T) {
	s := newScriptWith(t, Server, Options{}, quic.Options{}, quic.Options{StreamWindow: 40})
	s.send(s.oneWay(0), "00 04 00")
	s.sendEnd(s.request(0), get())
	s.recv()
	s.events = nil
	s.wire()
	s.respond(0, makeResponse(200, "x-long", strings.Repeat("é", 100)), false)
	body := strings.Repeat("0123456789", 30)
	sent := 0
	for rounds := 0; sent < len(body) && rounds < 100; rounds++ {
		n := s.data(0, body[sent:], true)
		if sent += n; sent < len(body) {
			s.want("Sendable 0")
		}
	}
	lines, got := s.wire(), ""
	for _, line := range lines[1 : len(lines)-1] {
		piece, err := strconv.Unquote(strings.TrimPrefix(line, "DATA 0 "))
		if got += piece; err != nil {
			t.Error(line)
		}
	}
	if lines[0] != "HEADERS 0 :status=200 x-long="+strings.Repeat("é", 100) || lines[len(lines)-1] != "END 0" ||
		got != body {
		t.Errorf("%q", lines)
	}
	if s.c.Streams() != 0 {
		t.Error("the stream is open")
	}
}

func TestConn_order(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	s.send(s.request(0), get())
	s.recv()
	st := s.stream[0]
	if _, err := s.c.SendData(st, []byte("x"), false); err != errOrder {
		t.Error(err)
	}
	if err := s.c.SendTrailers(st, makeResponse(0)); err != errOrder {
		t.Error(err)
	}
	if err := s.c.SendHead(st, makeResponse(100), true); err != errOrder {
		t.Error(err)
	}
	s.respond(0, makeResponse(103, "Link", "</a>"), false)
	s.respond(0, makeResponse(200), false)
	if err := s.c.SendHead(st, makeResponse(200), false); err != errOrder {
		t.Error(err)
	}
	if err := s.c.SendTrailers(st, makeResponse(0, "X-Sum", "1")); err != nil {
		t.Error(err)
	}
	if _, err := s.c.SendData(st, []byte("x"), false); err != errOrder {
		t.Error(err)
	}
	s.wantWire("HEADERS 0 :status=103 link=</a>", "HEADERS 0 :status=200", "HEADERS 0 x-sum=1", "END 0")
	if !st.Ended() || st.Dead() {
		t.Error(st.Ended(), st.Dead())
	}
}

// A request is stopped while its answer waits for a window: what else came with it is thrown away.
func TestServer_stopRequestEarly(t *testing.T) {
	s := newScriptWith(t, Server, Options{}, quic.Options{}, quic.Options{StreamWindow: 20})
	s.send(s.oneWay(0), "00 04 00")
	s.recv()
	s.events = nil
	s.wire()
	s.onEvent = func(ev Event) {
		if ev.Kind == HeadDone {
			s.respond(0, makeResponse(403, "x-long", strings.Repeat("é", 30)), true)
			if s.c.StopRequest(ev.Stream); ev.Stream.Dead() {
				t.Error("the answer has no room to wait")
			}
		}
	}
	s.send(s.request(0), get(), data("abc"), headers("a", "b"))
	s.want("HeadDone 0 GET /")
	s.wantWire("STOP 0 H3_NO_ERROR", "HEADERS 0 :status=403 x-long="+strings.Repeat("é", 30), "END 0")
	if s.c.Streams() != 0 {
		t.Error("the stream is open")
	}
}

// An answer that waits for its window is over to the caller: STOP_SENDING is no news then.
func TestServer_stoppedAfterTheEnd(t *testing.T) {
	s := newScriptWith(t, Server, Options{}, quic.Options{}, quic.Options{StreamWindow: 2})
	s.sendEnd(s.request(0), get())
	s.want("HeadDone 0 GET / end")
	s.respond(0, &message.Head{Status: 200}, true)
	s.far.q.Stop(s.request(0), uint64(RequestCancelled))
	s.want()
	if s.c.Streams() != 0 {
		t.Error("the stream is still there")
	}
}
