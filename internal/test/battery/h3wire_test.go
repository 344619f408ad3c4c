package battery

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/edge-proxy/edge/h3"
	"github.com/edge-proxy/edge/h3/qpack"
	"github.com/edge-proxy/edge/internal/test/quicpeer"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/quic"
)

// The types of frames and of one-way streams (RFC 9114 §7.2, §6.2).
const (
	h3Data, h3Headers, h3Settings, h3GoAway = 0x0, 0x1, 0x4, 0x7

	h3Control = "\x00"
)

// h3greeting is what a good control stream begins with.
var h3greeting = h3Control + h3frame(h3Settings, "")

// h3int is an integer of QUIC.
func h3int(n uint64) string { return string(quic.AppendInteger(nil, n)) }

// h3frame is a frame with these bytes, whatever they mean.
func h3frame(typ uint64, payload string) string {
	return h3int(typ) + h3int(uint64(len(payload))) + payload
}

// h3names are names of the static table that fields refer to (RFC 9204 appendix A).
var h3names = map[string]int{
	":authority": 0, ":path": 1, "content-length": 4, "cookie": 5, ":method": 15, ":scheme": 22,
}

// h3section is a field section (RFC 9204 §4.5): literals, or references and Huffman codes.
func h3section(f h2fields, literal bool) string {
	block := "\x00\x00"
	for _, p := range f {
		if literal {
			block += hpackInt(3, 0x20, len(p[0])) + p[0] + hpackString(p[1])
			continue
		}
		if i, ok := h3names[p[0]]; ok {
			block += hpackInt(4, 0x50, i)
		} else {
			name := string(hpack.AppendHuffmanString(nil, p[0]))
			block += hpackInt(3, 0x28, len(name)) + name
		}
		value := string(hpack.AppendHuffmanString(nil, p[1]))
		block += hpackInt(7, 0x80, len(value)) + value
	}
	return block
}

// h3alike has the code of HTTP/2 for each code of HTTP/3 that means the same. Other codes are themselves.
var h3alike = map[h3.Code]http2.ErrCode{
	h3.NoError: http2.ErrCodeNo, h3.MessageError: http2.ErrCodeProtocol,
	h3.RequestRejected: http2.ErrCodeRefusedStream, h3.RequestCancelled: http2.ErrCodeCancel,
	h3.ExcessiveLoad: http2.ErrCodeEnhanceYourCalm, h3.InternalError: http2.ErrCodeInternal,
}

func h3code(n uint64) http2.ErrCode {
	if c, ok := h3alike[h3.Code(n)]; ok {
		return c
	}
	return http2.ErrCode(n)
}

// transportFault is added to a code of QUIC itself.
const transportFault = 1 << 20

// h3stream is one stream of a h3client.
type h3stream struct {
	h2answer
	*quic.Stream
	in      string // that came of a frame which is not whole
	stopped bool   // edge wants no more
	stop    http2.ErrCode

	out string // that windows have not let go
	end bool   // the end follows it
}

// h3client is the raw end of a connection of HTTP/3 to edge. It reads strictly, and writes what it is told.
type h3client struct {
	*quicpeer.Socket
	t       *testing.T
	control *h3stream
	streams map[uint64]*h3stream
	dec     qpack.Decoder
	wrong   []string
	gone    *http2.ErrCode // of CONNECTION_CLOSE, or of a GOAWAY
	mute    bool           // windows are not opened
}

// h3dial makes a connection whose control stream begins with these bytes.
func h3dial(t *testing.T, addr string, authority *testutil.Authority, control string) *h3client {
	t.Helper()
	c := &h3client{t: t, streams: map[uint64]*h3stream{}}
	c.dec.Init(qpack.DecoderOptions{ListMax: 1 << 20})
	config := &tls.Config{
		RootCAs: authority.Pool, ServerName: "battery.test", NextProtos: []string{"h3"}, MinVersion: tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{tls.X25519}, // the cheapest
	}
	c.Socket = quicpeer.DialSocket(t, addr, config, quic.Options{}, c.onEvent)
	if !c.until(func() bool { return c.Established }) {
		t.Fatalf("no handshake: %v, %+v", c.Err, c.Conn.Closed())
	}
	c.control = c.open(quic.OneWay)
	c.send(c.control, control, false)
	return c
}

func (c *h3client) until(cond func() bool) bool { return c.Until(patience, cond) }

func (c *h3client) open(kind quic.StreamKind) *h3stream {
	qs, err := c.Conn.Open(kind)
	testutil.Must(c.t, err)
	s := &h3stream{Stream: qs}
	qs.Owner = s
	c.streams[qs.ID] = s
	return s
}

// send sends bytes on s as windows allow.
func (c *h3client) send(s *h3stream, text string, end bool) {
	s.out, s.end = s.out+text, end
	n := c.Conn.Send(s.Stream, []byte(s.out), s.end)
	s.out = s.out[n:]
}

func (c *h3client) fault(format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}

func (c *h3client) onEvent(ev *quic.Event) {
	if ev.Kind == quic.Closed {
		if how := c.Conn.Closed(); how.ByPeer && how.App {
			code := h3code(how.Code)
			c.gone = &code
		} else if how.ByPeer {
			code := http2.ErrCode(transportFault + how.Code)
			c.gone = &code
		}
	}
	if ev.Stream == nil {
		return
	}
	s, ok := ev.Stream.Owner.(*h3stream)
	if !ok {
		s = &h3stream{Stream: ev.Stream}
		ev.Stream.Owner = s
		c.streams[s.ID] = s
	}
	switch ev.Kind {
	case quic.Data:
		if s.in += string(ev.Body); !c.mute {
			c.Conn.Release(ev.Stream, len(ev.Body))
		}
		c.read(s, ev.End)
	case quic.Reset:
		s.reset, s.code = true, h3code(ev.Code)
	case quic.Stopped:
		s.stopped, s.stop = true, h3code(ev.Code)
	case quic.Sendable:
		c.send(s, "", s.end)
	}
}

// read takes whole frames from what came on a stream.
func (c *h3client) read(s *h3stream, end bool) {
	if s.ID&2 != 0 { // of edge, since a test's are one way
		if end {
			c.fault("the end of a control stream")
		}
		if c.streams[s.ID].status++; s.status == 1 && !strings.HasPrefix(s.in, h3Control+"\x04") {
			c.fault("a one-way stream that begins with %q", s.in)
		}
		return
	}
	for {
		typ, n := quic.ReadInteger([]byte(s.in))
		size, m := quic.ReadInteger([]byte(s.in[n:]))
		if n == 0 || m == 0 || uint64(len(s.in)-n-m) < size {
			break
		}
		payload := s.in[n+m : n+m+int(size)]
		s.in = s.in[n+m+int(size):]
		switch {
		case typ == h3Headers:
			s.takeFields(c.fields(payload), c.fault)
		case typ != h3Data || s.status < 200 || s.trailers != nil:
			c.fault("frame %#x where it must not be", typ)
		default:
			s.body.WriteString(payload)
		}
	}
	if end {
		if s.in != "" || s.status < 200 {
			c.fault("the end of a stream with %q after status %d", s.in, s.status)
		}
		s.finish(c.fault)
	}
}

// fields decodes a section.
func (c *h3client) fields(block string) (f h2fields) {
	b := []byte(block)
	n, err := c.dec.Begin(b)
	for b = b[n:]; err == nil && len(b) > 0; b = b[n:] {
		k, x, e := c.dec.Next(b)
		if n, err = k, e; err == nil {
			value := strings.TrimSuffix(strings.TrimPrefix(string(x.Line[x.NameLen:]), ": "), "\r\n")
			f = append(f, [2]string{string(x.Line[:x.NameLen]), value})
		}
	}
	if err != nil {
		c.fault("field section %q: %v", block, err)
	}
	return f
}

// get asks for a target, and returns the stream of the answer.
func (c *h3client) get(target string) *h3stream {
	s := c.open(quic.TwoWay)
	head := h2base("GET").set(":scheme", "https").set(":path", target)
	c.send(s, h3frame(h3Headers, h3section(head, true)), true)
	return s
}

// victim proves that the client of a connection gets its own answer.
func (c *h3client) victim(id string) error {
	s := c.get("/victim-" + id)
	c.until(s.done)
	if s.status != 200 || !s.ended || s.body.String() != "/victim-"+id || c.wrong != nil {
		return fmt.Errorf("the victim got %s, %q, %v", &s.h2answer, c.wrong, c.gone)
	}
	c.close(s)
	return nil
}

// close is done with a stream.
func (c *h3client) close(s *h3stream) {
	delete(c.streams, s.ID)
	c.Conn.Done(s.Stream)
}

func (c *h3client) leave() { c.Leave(uint64(h3.NoError)) }
