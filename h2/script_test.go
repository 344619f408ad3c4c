package h2

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
)

// script is a dialogue with one Conn: what it receives is written by a Framer of the reference, what it sends
// is read by another one.
type script struct {
	t    testing.TB
	c    Conn
	o    Options
	now  int64
	head message.Head

	in     bytes.Buffer // to c
	framer *http2.Framer
	enc    *hpack.Encoder
	block  bytes.Buffer

	out    bytes.Buffer // of c, not yet read
	reader *http2.Framer

	events []string
	last   Event
	stream map[uint32]*Stream
}

// scriptFor begins a dialogue with a Conn whose handshake is done.
func scriptFor(t testing.TB, role Role, o Options) *script {
	s := newScript(t, role, o)
	if role == Server {
		s.in.WriteString(preface)
	}
	s.framer.WriteSettings()
	s.framer.WriteSettingsAck()
	s.recv()
	s.events = nil
	s.wire()
	return s
}

func newScript(t testing.TB, role Role, o Options) *script {
	s := &script{t: t, o: o, now: 1e9, stream: map[uint32]*Stream{}}
	if s.o.Arena == nil {
		s.o.Arena = new(Arena)
	}
	s.framer = http2.NewFramer(&s.in, nil)
	s.framer.AllowIllegalWrites = true
	s.enc = hpack.NewEncoder(&s.block)
	s.reader = http2.NewFramer(nil, &s.out)
	s.reader.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	s.c.Init(role, &s.o, s.now)
	return s
}

// encode encodes name, value, name, value…
func (s *script) encode(fields ...string) []byte {
	s.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		s.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(s.block.Bytes())
}

// headers has the peer send a head.
func (s *script) headers(id uint32, end bool, fields ...string) {
	s.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, EndStream: end, EndHeaders: true, BlockFragment: s.encode(fields...),
	})
}

// get has the peer send a request.
func (s *script) get(id uint32, end bool, more ...string) {
	s.headers(id, end, append([]string{
		":method", "GET", ":scheme", "http", ":path", "/", ":authority", "example.org",
	}, more...)...)
}

// recv gives what the peer has sent to the Conn.
func (s *script) recv() {
	s.t.Helper()
	in := bytes.Clone(s.in.Bytes())
	s.in.Reset()
	if rest := s.feed(in); len(rest) > 0 {
		s.t.Errorf("%d bytes were not read", len(rest))
	}
}

func (s *script) feed(in []byte) (rest []byte) {
	s.t.Helper()
	for {
		n, ev := s.c.Next(in, &s.head, s.now)
		if n > len(in) {
			s.t.Fatalf("used %d of %d", n, len(in))
		}
		in = in[n:]
		if ev.Kind == NeedMore {
			return in
		}
		s.note(ev)
	}
}

// note writes an event down as "HeadDone 1 GET / end".
func (s *script) note(ev Event) {
	s.last = ev
	text := ev.Kind.String()
	if ev.Stream != nil {
		text += fmt.Sprint(" ", ev.Stream.ID)
		s.stream[ev.Stream.ID] = ev.Stream
	}
	switch ev.Kind {
	case HeadDone:
		if s.head.Status > 0 {
			text += fmt.Sprint(" ", s.head.Status)
		} else {
			text += fmt.Sprintf(" %s %s", s.head.MethodBytes(), s.head.Bytes(s.head.Target))
		}
	case Data:
		if len(ev.Body) > 64 {
			text += fmt.Sprintf(" %d bytes", len(ev.Body))
		} else {
			text += fmt.Sprintf(" %q", ev.Body)
		}
	case Reset, Fault, GoAway:
		text += " " + ev.Code.String()
	}
	if ev.End {
		text += " end"
	}
	s.events = append(s.events, text)
}

// want checks the events since the last want.
func (s *script) want(events ...string) {
	s.t.Helper()
	got := strings.Join(s.events, "\n")
	if want := strings.Join(events, "\n"); got != want {
		s.t.Errorf("events\n%s\nwant\n%s", got, want)
	}
	s.events = nil
}

// wire returns what the Conn has sent since the last call, a line for each frame.
func (s *script) wire() []string {
	s.t.Helper()
	s.out.Write(s.c.AppendControl(nil))
	if bytes.HasPrefix(s.out.Bytes(), []byte(preface)) {
		s.out.Next(len(preface))
	}
	var lines []string
	for s.out.Len() > 0 {
		f, err := s.reader.ReadFrame()
		if err != nil {
			s.t.Fatalf("the reference cannot read what we sent: %v", err)
		}
		lines = append(lines, line(f))
	}
	return lines
}

func line(f http2.Frame) string {
	id := f.Header().StreamID
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			return "SETTINGS ack"
		}
		return "SETTINGS"
	case *http2.MetaHeadersFrame:
		text := fmt.Sprintf("HEADERS %d", id)
		for _, h := range f.Fields {
			text += fmt.Sprintf(" %s=%s", h.Name, h.Value)
		}
		return text + endMark(f.StreamEnded())
	case *http2.DataFrame:
		if len(f.Data()) > 32 {
			return fmt.Sprintf("DATA %d %d bytes%s", id, len(f.Data()), endMark(f.StreamEnded()))
		}
		return fmt.Sprintf("DATA %d %q%s", id, f.Data(), endMark(f.StreamEnded()))
	case *http2.RSTStreamFrame:
		return fmt.Sprintf("RST_STREAM %d %s", id, f.ErrCode)
	case *http2.GoAwayFrame:
		return fmt.Sprintf("GOAWAY %d %s", f.LastStreamID, f.ErrCode)
	case *http2.WindowUpdateFrame:
		return fmt.Sprintf("WINDOW_UPDATE %d %d", id, f.Increment)
	case *http2.PingFrame:
		if f.IsAck() {
			return "PING ack"
		}
		return "PING"
	}
	return f.Header().Type.String()
}

func endMark(end bool) string {
	if end {
		return " end"
	}
	return ""
}

func (s *script) wantWire(lines ...string) {
	s.t.Helper()
	got := strings.Join(s.wire(), "\n")
	if want := strings.Join(lines, "\n"); got != want {
		s.t.Errorf("sent\n%s\nwant\n%s", got, want)
	}
}

// respond answers a stream.
func (s *script) respond(id uint32, h *message.Head, end bool) {
	s.t.Helper()
	b, err := s.c.AppendHead(nil, s.stream[id], h, end)
	testutil.Must(s.t, err)
	s.out.Write(b)
}

func (s *script) data(id uint32, p string, end bool) int {
	s.t.Helper()
	b, n, err := s.c.AppendData(nil, s.stream[id], []byte(p), end)
	testutil.Must(s.t, err)
	s.out.Write(b)
	return n
}

// request opens a stream of a client.
func (s *script) request(h *message.Head, end bool) *Stream {
	s.t.Helper()
	st, err := s.c.Open(s.now)
	testutil.Must(s.t, err)
	b, err := s.c.AppendHead(nil, st, h, end)
	testutil.Must(s.t, err)
	s.out.Write(b)
	s.stream[st.ID] = st
	return st
}

func (s *script) expire() {
	for ev := s.c.Expire(s.now); ev.Kind != NeedMore; ev = s.c.Expire(s.now) {
		s.note(ev)
	}
}

// appendHTTP1 writes a request as an encoder of HTTP/1 does, that copies the lines of fields as they lie in Base.
func appendHTTP1(dst []byte, h *message.Head) []byte {
	dst = append(append(append(dst, h.MethodBytes()...), ' '), h.Bytes(h.Target)...)
	dst = append(append(append(dst, " HTTP/1.1\r\nHost: "...), h.Bytes(h.Authority)...), "\r\n"...)
	for i := range h.Fields {
		if f := &h.Fields[i]; f.Flags == 0 && !f.ID.Framing() {
			dst = append(dst, h.Base[f.NameAt:f.ValueAt+f.ValueLen+2]...)
		}
	}
	switch {
	case h.Chunked || h.Length < 0:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	case h.Length > 0 || h.Verb == message.VerbPost:
		dst = fmt.Appendf(dst, "Content-Length: %d\r\n", h.Length)
	}
	if h.Trailers {
		dst = append(dst, "Connection: TE\r\nTE: trailers\r\n"...)
	}
	if h.Upgrade {
		dst = fmt.Appendf(dst, "Connection: Upgrade\r\nUpgrade: %s\r\n", h.Bytes(h.Protocol))
	}
	return append(dst, '\r', '\n')
}

func http2HeadersParam(id uint32, end, endHeaders bool, block []byte) http2.HeadersFrameParam {
	return http2.HeadersFrameParam{StreamID: id, EndStream: end, EndHeaders: endHeaders, BlockFragment: block}
}
