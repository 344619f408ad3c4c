package h2

import (
	"bufio"
	"bytes"
	"net/http"
	"net/url"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/edge-proxy/edge/message"
)

// The peer sends any bytes. Nothing panics, no more bytes are used than came, our output is bounded by the input and
// readable by the reference's framer, and heads can be written as HTTP/1.
func FuzzConn_server(f *testing.F) {
	for _, in := range seeds(Server) {
		f.Add(in, uint16(7))
	}
	f.Fuzz(func(t *testing.T, in []byte, cut uint16) {
		fuzzConn(t, Server, append([]byte(preface), in...), int(cut))
	})
}

func FuzzConn_client(f *testing.F) {
	for _, in := range seeds(Client) {
		f.Add(in, uint16(7))
	}
	f.Fuzz(func(t *testing.T, in []byte, cut uint16) { fuzzConn(t, Client, in, int(cut)) })
}

// seeds are dialogues that come far.
func seeds(role Role) (all [][]byte) {
	add := func(send func(s *script)) {
		s := newScript(nil, role, Options{})
		s.framer.WriteSettings(window(100))
		s.framer.WriteSettingsAck()
		send(s)
		all = append(all, bytes.Clone(s.in.Bytes()))
	}
	head := func(s *script, id uint32, end bool, more ...string) {
		if role == Server {
			s.get(id, end, more...)
		} else {
			s.headers(id, end, append([]string{":status", "200"}, more...)...)
		}
	}
	add(func(s *script) { head(s, 1, true) })
	add(func(s *script) {
		head(s, 1, false, "content-length", "5", "cookie", "a", "cookie", "b")
		s.framer.WriteDataPadded(1, false, []byte("hello"), make([]byte, 3))
		s.headers(1, true, "x", "y")
		head(s, 3, true, "priority", "u=1")
	})
	add(func(s *script) {
		block := s.encode(":method", "CONNECT", ":authority", "h:1")
		s.framer.WriteHeaders(http2HeadersParam(1, false, false, block[:3]))
		s.framer.WriteContinuation(1, true, block[3:])
		s.framer.WriteData(1, false, []byte("tunnel"))
	})
	add(func(s *script) {
		s.framer.WritePing(false, [8]byte{})
		s.framer.WriteWindowUpdate(0, 1<<20)
		head(s, 1, false)
		s.framer.WriteWindowUpdate(1, 1)
		s.framer.WriteRSTStream(1, http2.ErrCodeCancel)
		s.framer.WriteData(1, false, []byte("late"))
		s.framer.WriteGoAway(1, http2.ErrCodeNo, nil)
	})
	add(func(s *script) {
		s.framer.WriteRawFrame(http2.FramePriority, 0, 1, []byte{0, 0, 0, 3, 9})
		s.framer.WriteRawFrame(http2.FrameType(framePriorityUpdate), 0, 0, []byte{0, 0, 0, 1, 'u', '=', '2'})
		head(s, 1, true, "connection", "close")
		head(s, 3, true)
	})
	return all
}

// fuzzed is a Conn with a caller that answers, releases and sends.
type fuzzed struct {
	t        *testing.T
	c        Conn
	head     message.Head
	out      []byte
	answer   *message.Head
	body     []byte
	releases bool
	given    int // what the caller gave to send, with its frames
}

func fuzzConn(t *testing.T, role Role, in []byte, cut int) {
	total, now := len(in), int64(1e9)
	f := &fuzzed{t: t, answer: makeResponse(200), body: make([]byte, 300), releases: total%3 > 0}
	f.c.Init(role, &Options{Arena: new(Arena), MaxStreams: 5, Budget: 1 << 17}, now)
	if role == Client {
		req := makeRequest("GET", "/", "h")
		for range 3 {
			s, _ := f.c.Open(now)
			f.out, _ = f.c.AppendHead(f.out, s, req, true)
		}
	}
	f.out = f.c.AppendControl(f.out)
	f.given = len(f.out)
	limit := min(1+cut, len(in))
	for steps, more := 0, true; more; steps++ {
		n, ev := f.c.Next(in[:limit], &f.head, now)
		if n < 0 || n > limit {
			t.Fatalf("used %d of %d", n, limit)
		}
		in, limit = in[n:], limit-n
		if steps > 20*total+1000 {
			t.Fatal("events without end")
		}
		if ev.Kind == NeedMore {
			if f.c.fault == nil && limit > frameHead+maxFrame {
				t.Fatal("a whole frame was there")
			}
			now += 1e6
			more, limit = limit < len(in), min(limit+1+cut, len(in))
		}
		f.take(ev)
		f.out = f.c.AppendControl(f.out)
		check(t, &f.c)
	}
	if most := 2*f.given + 4*total + 200; len(f.out) > most {
		t.Fatalf("%d bytes make %d", total, len(f.out))
	}
	for ev := f.c.Expire(now + 1e12); ev.Kind != NeedMore; ev = f.c.Expire(now + 1e12) {
		check(t, &f.c)
	}
	readByReference(t, role, f.c.AppendControl(f.out))
}

// take handles an event as a caller does.
func (f *fuzzed) take(ev Event) {
	switch ev.Kind {
	case HeadDone:
		if f.c.role == Server {
			checkHTTP1(f.t, &f.head)
			f.respond(ev.Stream)
		}
	case Data:
		if !ev.Stream.Dead() && f.releases {
			f.c.Release(ev.Stream, len(ev.Body))
		}
	case Sendable:
		for s := f.c.NextSendable(); s != nil; s = f.c.NextSendable() {
			if s.Ended() {
				f.t.Fatal("a stream that has ended is sendable")
			}
			if f.send(s, f.body[:100]) == 0 {
				break
			}
		}
	case Fault:
		if ev.Err == nil {
			f.t.Fatal("a fault without a reason")
		}
	}
}

func (f *fuzzed) respond(s *Stream) {
	f.answer.Status, f.answer.Tunnel = 200, f.head.Upgrade || f.head.Verb == message.VerbConnect
	if f.head.Upgrade {
		f.answer.Status = 101
	}
	var err error
	if f.out, err = f.c.AppendHead(f.out, s, f.answer, false); err != nil {
		f.t.Fatal(err)
	}
	f.given += 100
	f.send(s, f.body)
}

func (f *fuzzed) send(s *Stream, p []byte) int {
	out, n, err := f.c.AppendData(f.out, s, p, true)
	if err != nil && err != errFaulted {
		f.t.Fatal(err)
	}
	f.out, f.given = out, f.given+n+frameHead
	return n
}

// checkHTTP1 wants a request, written as HTTP/1, to be one message for net/http, which asks for the same.
func checkHTTP1(t *testing.T, h *message.Head) {
	wire := appendHTTP1(nil, h)
	for i := range h.Fields {
		if h.Fields[i].Flags != 0 || !message.ValidName(h.Name(i)) || !message.ValidValue(h.Value(i)) {
			t.Fatalf("%q: field %d", wire, i)
		}
	}
	if !message.ValidTarget(h.Bytes(h.Target)) {
		t.Fatalf("%q", wire)
	}
	if h.Length != 0 || h.Verb == message.VerbConnect || h.Target.Len > 1 && h.Base[h.Target.At+1] == '/' {
		return // net/http takes two slashes for a host
	}
	b := bufio.NewReaderSize(bytes.NewReader(wire), len(wire)+16)
	r, err := http.ReadRequest(b)
	if err != nil {
		if _, bad := url.ParseRequestURI(string(h.Bytes(h.Target))); bad != nil {
			return // net/url has its own idea of percent signs
		}
		t.Fatalf("%q: %v", wire, err)
	}
	if b.Buffered() > 0 || r.Method != string(h.MethodBytes()) || r.RequestURI != string(h.Bytes(h.Target)) {
		t.Fatalf("%q asks for something else", wire)
	}
}

// check checks the properties that always hold.
func check(t *testing.T, c *Conn) {
	if c.streams.count > c.open || c.open < 0 {
		t.Fatalf("%d in the table, %d open", c.streams.count, c.open)
	}
	var owed int64
	for _, s := range c.streams.slots {
		if s != nil {
			owed += s.owed
			if s.flag&dead != 0 {
				t.Fatal("a dead stream in the table")
			}
		}
	}
	if owed != c.owed {
		t.Fatalf("%d owed, %d counted", owed, c.owed)
	}
}

// readByReference has the reference read what we sent: every frame, every header block.
func readByReference(t *testing.T, role Role, out []byte) {
	if role == Client {
		if !bytes.HasPrefix(out, []byte(preface)) {
			t.Fatal("no preface")
		}
		out = out[len(preface):]
	}
	r := http2.NewFramer(nil, bytes.NewReader(out))
	r.SetMaxReadFrameSize(maxFrameSent)
	dec := hpack.NewDecoder(4096, nil)
	for at := 0; at < len(out); at++ {
		f, err := r.ReadFrame()
		if err != nil {
			if err.Error() != "EOF" {
				t.Fatalf("the reference: %v", err)
			}
			return
		}
		switch f := f.(type) {
		case *http2.HeadersFrame:
			if !f.HeadersEnded() {
				t.Fatal("a small head in parts")
			}
			if _, err := dec.DecodeFull(f.HeaderBlockFragment()); err != nil {
				t.Fatalf("the reference: %v", err)
			}
		}
	}
}

// Frames that the reference writes are read as what they are: a request with any fields is either the same
// here or refused.
func FuzzConn_requestsOfNet(f *testing.F) {
	f.Add("GET", "/", "example.org", "accept", "*/*", []byte("body"))
	f.Add("POST", "/a?b", "h:1", "content-length", "4", []byte("body"))
	f.Add("OPTIONS", "*", "[::1]", "cookie", "a=b", []byte{})
	f.Add("GET", "/ HTTP/1.1\r\nX: y", "a@b", "transfer-encoding", "chunked", []byte("0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, method, path, host, name, value string, body []byte) {
		body = body[:min(len(body), maxFrame)]
		s := scriptFor(t, Server, Options{})
		s.headers(1, false, ":method", method, ":scheme", "https", ":path", path, ":authority", host, name, value)
		in := bytes.Clone(s.in.Bytes())
		s.in.Reset()
		if len(in) > maxFrame || len(s.feed(in)) > 0 {
			return
		}
		if s.last.Kind != HeadDone {
			if s.last.Kind != Reset && s.last.Kind != Fault {
				t.Fatalf("neither a head nor a reason: %v", s.events)
			}
			return
		}
		h := &s.head
		if string(h.MethodBytes()) != method || string(h.Bytes(h.Target)) != path && method != "CONNECT" {
			t.Fatalf("%q %q became %q %q", method, path, h.MethodBytes(), h.Bytes(h.Target))
		}
		if name != "te" && name != "" && name[0] != ':' && h.Get(name) != value {
			t.Fatalf("%q: %q became %q", name, value, h.Get(name))
		}
		checkHTTP1(t, h)
		length := h.Length
		s.events = nil
		s.framer.WriteData(1, true, body)
		in = bytes.Clone(s.in.Bytes())
		s.in.Reset()
		s.feed(in)
		if s.last.Kind == Data && length >= 0 && length != int64(len(body)) && !h.Upgrade && method != "CONNECT" {
			t.Fatalf("%d announced, %d came", length, len(body))
		}
	})
}
