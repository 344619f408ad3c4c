package h3

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/h3/qpack"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/quic"
)

// script is a dialogue with one Conn: the other end is a connection of QUIC, on whose streams the test writes bytes and
// reads frames.
type script struct {
	lag  int64 // how late the clock of c is
	t    testing.TB
	w    *wire
	c    Conn
	o    Options
	role Role
	head message.Head

	mine, far *end
	cut       int // bytes of an event that the Conn is given at once; 0: all
	events    []string
	last      Event
	stream    map[uint64]*Stream

	peer    map[uint64]*quic.Stream // streams of the far end
	got     map[uint64][]byte       // what came on them, not yet read
	typed   map[uint64]bool
	ended   map[uint64]bool
	said    []string
	onEvent func(ev Event)
}

// scriptFor begins a dialogue whose handshake is done. The control stream of the peer, with SETTINGS, is stream 2 or 3.
func scriptFor(t testing.TB, role Role, o Options) *script {
	s := newScript(t, role, o)
	s.send(s.oneWay(0), "00 04 00")
	s.recv()
	s.events = nil
	s.wire()
	return s
}

func newScript(t testing.TB, role Role, o Options) *script {
	return newScriptWith(t, role, o, quic.Options{OneWayStreams: 200}, quic.Options{})
}

func newScriptWith(t testing.TB, role Role, o Options, mine, far quic.Options) *script {
	s := &script{t: t, o: o, role: role, stream: map[uint64]*Stream{}, peer: map[uint64]*quic.Stream{},
		got: map[uint64][]byte{}, typed: map[uint64]bool{}, ended: map[uint64]bool{}}
	if s.o.Arena == nil {
		s.o.Arena = new(Arena)
	}
	if role == Client {
		s.w = newWire(t, mine, far)
		s.mine, s.far = s.w.ends[quic.Client], s.w.ends[quic.Server]
	} else {
		s.w = newWire(t, far, mine)
		s.mine, s.far = s.w.ends[quic.Server], s.w.ends[quic.Client]
	}
	s.c.Init(role, &s.mine.q, &s.o)
	s.mine.on, s.far.on = s.onMine, s.onFar
	s.w.connect()
	return s
}

// onMine gives an event of QUIC to the Conn.
func (s *script) onMine(ev *quic.Event) {
	for body := ev.Body; ; {
		in := *ev
		if in.Body = body; s.cut > 0 && len(body) > s.cut {
			in.Body, in.End = body[:s.cut], false
		}
		for {
			n, e := s.c.Next(&in, &s.head, s.w.now-s.lag)
			if n > len(in.Body) {
				s.t.Fatalf("used %d of %d", n, len(in.Body))
			}
			in.Body, body = in.Body[n:], body[n:]
			if e.Kind == NeedMore {
				break
			}
			s.note(e)
		}
		if len(in.Body) > 0 {
			s.t.Fatalf("%d bytes were not used", len(in.Body))
		}
		if len(body) == 0 {
			return
		}
		if st, ok := ev.Stream.Owner.(*Stream); !ok || st.flag&dead != 0 {
			return // no more events of it would come
		}
	}
}

// onFar keeps what the Conn has sent.
func (s *script) onFar(ev *quic.Event) {
	switch ev.Kind {
	case quic.Data:
		id := ev.Stream.ID
		s.peer[id] = ev.Stream
		s.got[id] = append(s.got[id], ev.Body...)
		s.ended[id] = s.ended[id] || ev.End
		s.far.q.Release(ev.Stream, len(ev.Body))
	case quic.Reset:
		s.peer[ev.Stream.ID] = ev.Stream
		s.said = append(s.said, fmt.Sprintf("RESET %d %v", ev.Stream.ID, Code(ev.Code)))
	case quic.Stopped:
		s.said = append(s.said, fmt.Sprintf("STOP %d %v", ev.Stream.ID, Code(ev.Code)))
	case quic.Closed:
		s.said = append(s.said, fmt.Sprintf("CLOSE %v", Code(s.far.q.Closed().Code)))
	}
}

// note writes an event down as "HeadDone 0 GET / end".
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
	case Trailers:
		for i := range s.head.Fields {
			text += fmt.Sprintf(" %s=%s", s.head.Name(i), s.head.Value(i))
		}
	case Reset, Fault:
		text += " " + ev.Code.String()
	}
	if ev.End {
		text += " end"
	}
	s.events = append(s.events, text)
	if s.onEvent != nil {
		s.onEvent(ev)
	}
}

// oneWay opens, or finds, one-way stream n of the peer.
func (s *script) oneWay(n int) *quic.Stream {
	id := uint64(4*n + 3)
	if s.role == Server {
		id = uint64(4*n + 2)
	}
	return s.peerStream(id, quic.OneWay)
}

// request finds the stream of an exchange at the far end, and opens it there where the Conn is a server.
func (s *script) request(id uint64) *quic.Stream { return s.peerStream(id, quic.TwoWay) }

func (s *script) peerStream(id uint64, k quic.StreamKind) *quic.Stream {
	s.t.Helper()
	for s.peer[id] == nil {
		qs, err := s.far.q.Open(k)
		testutil.Must(s.t, err)
		s.peer[qs.ID] = qs
	}
	return s.peer[id]
}

// send has the peer send bytes: hexadecimal where p is spaced so, and frames of other functions.
func (s *script) send(qs *quic.Stream, parts ...string) {
	s.t.Helper()
	s.sendBytes(qs, join(s.t, parts), false)
}

// sendEnd is send for the last bytes of a stream.
func (s *script) sendEnd(qs *quic.Stream, parts ...string) {
	s.t.Helper()
	s.sendBytes(qs, join(s.t, parts), true)
}

func (s *script) sendBytes(qs *quic.Stream, b []byte, end bool) {
	s.t.Helper()
	if n := s.far.q.Send(qs, b, end); n < len(b) {
		s.t.Fatalf("the peer has room for %d of %d bytes", n, len(b))
	}
}

// join makes bytes of parts: frames begin with "!", all else is hexadecimal.
func join(t testing.TB, parts []string) (b []byte) {
	t.Helper()
	for _, p := range parts {
		if rest, ok := strings.CutPrefix(p, "!"); ok {
			b = append(b, rest...)
			continue
		}
		var v byte
		digits := strings.ReplaceAll(p, " ", "")
		for i := 0; i+1 < len(digits); i += 2 {
			_, err := fmt.Sscanf(digits[i:i+2], "%02x", &v)
			testutil.Must(t, err)
			b = append(b, v)
		}
	}
	return b
}

// frame makes a frame for send.
func frame(kind uint64, payload string) string {
	b := quic.AppendInteger(quic.AppendInteger(nil, kind), uint64(len(payload)))
	return "!" + string(b) + payload
}

// headers makes a HEADERS frame of name, value, name, value…
func headers(fields ...string) string { return frame(frameHeaders, fieldSection(fields...)) }

func fieldSection(fields ...string) string {
	var e qpack.Encoder
	b := e.Begin(nil)
	for f := range slices.Chunk(fields, 2) {
		b = e.AppendField(b, message.Lookup(f[0]), []byte(f[0]), []byte(f[1]), false)
	}
	return string(b)
}

// get makes the HEADERS frame of a request.
func get(more ...string) string {
	return headers(append([]string{
		":method", "GET", ":scheme", "https", ":path", "/", ":authority", "example.org",
	}, more...)...)
}

func data(p string) string { return frame(frameData, p) }

// recv carries what was sent.
func (s *script) recv() {
	s.t.Helper()
	s.w.pump()
}

// want carries what was sent and checks the events since the last want.
func (s *script) want(events ...string) {
	s.t.Helper()
	s.recv()
	if got, want := strings.Join(s.events, "\n"), strings.Join(events, "\n"); got != want {
		s.t.Errorf("events\n%s\nwant\n%s", got, want)
	}
	s.events = nil
}

// wire returns what the Conn has sent since the last call, a line for each frame, by streams.
func (s *script) wire() []string {
	s.t.Helper()
	s.recv()
	var ids []uint64
	for id := range s.got {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	lines := s.said
	s.said = nil
	for _, id := range ids {
		b := s.got[id]
		if id&2 != 0 && !s.typed[id] && len(b) > 0 {
			lines = append(lines, fmt.Sprintf("STREAM %d type %d", id, b[0]))
			b, s.typed[id] = b[1:], true
		}
		for len(b) > 0 {
			kind, length, n := parseHead(b)
			if n == 0 || length > uint64(len(b)-n) {
				break // comes later
			}
			lines = append(lines, s.line(id, kind, b[n:n+int(length)]))
			b = b[n+int(length):]
		}
		if s.got[id] = b; s.ended[id] && len(b) == 0 {
			lines = append(lines, fmt.Sprintf("END %d", id))
			delete(s.got, id)
		}
	}
	return lines
}

func (s *script) line(id, kind uint64, p []byte) string {
	s.t.Helper()
	switch kind {
	case frameData:
		if len(p) > 300 {
			return fmt.Sprintf("DATA %d %d bytes", id, len(p))
		}
		return fmt.Sprintf("DATA %d %q", id, p)
	case frameSettings:
		return fmt.Sprintf("SETTINGS %x", p)
	case frameGoAway:
		v, _ := quic.ReadInteger(p)
		return fmt.Sprintf("GOAWAY %d", v)
	case frameHeaders:
		var d qpack.Decoder
		d.Init(qpack.DecoderOptions{})
		text := fmt.Sprintf("HEADERS %d", id)
		n, err := d.Begin(p)
		for p = p[n:]; err == nil && len(p) > 0; p = p[n:] {
			k, f, e := d.Next(p)
			n, err = k, e
			text += fmt.Sprintf(" %s=%s", f.Name(), f.Value())
		}
		testutil.Must(s.t, err)
		return text
	}
	return fmt.Sprintf("frame 0x%x on %d", kind, id)
}

func (s *script) wantWire(lines ...string) {
	s.t.Helper()
	if got, want := strings.Join(s.wire(), "\n"), strings.Join(lines, "\n"); got != want {
		s.t.Errorf("sent\n%s\nwant\n%s", got, want)
	}
}

// respond answers a stream.
func (s *script) respond(id uint64, h *message.Head, end bool) {
	s.t.Helper()
	testutil.Must(s.t, s.c.SendHead(s.stream[id], h, end))
}

func (s *script) data(id uint64, p string, end bool) int {
	s.t.Helper()
	n, err := s.c.SendData(s.stream[id], []byte(p), end)
	testutil.Must(s.t, err)
	return n
}

// ask opens a stream of a client.
func (s *script) ask(h *message.Head, end bool) *Stream {
	s.t.Helper()
	st, err := s.c.Open(s.w.now)
	testutil.Must(s.t, err)
	testutil.Must(s.t, s.c.SendHead(st, h, end))
	s.stream[st.ID] = st
	s.recv()
	return st
}

func (s *script) expire() {
	for ev := s.c.Expire(s.w.now); ev.Kind != NeedMore; ev = s.c.Expire(s.w.now) {
		s.note(ev)
	}
}
