package battery

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// h2fields are the fields of a head or of trailers, as they go on the wire.
type h2fields [][2]string

func h2pairs(pairs ...string) (f h2fields) {
	for i := 0; i < len(pairs); i += 2 {
		f = append(f, [2]string{pairs[i], pairs[i+1]})
	}
	return f
}

func (f h2fields) plus(pairs ...string) h2fields {
	return append(append(h2fields{}, f...), h2pairs(pairs...)...)
}

func (f h2fields) without(name string) (rest h2fields) {
	for _, p := range f {
		if p[0] != name {
			rest = append(rest, p)
		}
	}
	return rest
}

// set replaces the value of one field, where it stands.
func (f h2fields) set(name, value string) h2fields {
	f = f.plus()
	for i := range f {
		if f[i][0] == name {
			f[i][1] = value
		}
	}
	return f
}

func (f h2fields) all(name string) (values []string) {
	for _, p := range f {
		if p[0] == name {
			values = append(values, p[1])
		}
	}
	return values
}

func (f h2fields) get(name string) string { return strings.Join(f.all(name), ", ") }

// h2frame is a frame with these bytes, whatever they mean.
func h2frame(typ http2.FrameType, flags http2.Flags, stream uint32, payload string) string {
	n := len(payload)
	return string([]byte{
		byte(n >> 16), byte(n >> 8), byte(n), byte(typ), byte(flags),
		byte(stream >> 24), byte(stream >> 16), byte(stream >> 8), byte(stream),
	}) + payload
}

func be32(n uint32) string {
	return string([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

func h2setting(id http2.SettingID, value uint32) string {
	return string([]byte{byte(id >> 8), byte(id)}) + be32(value)
}

// scribe writes the frames of one connection; or, of one stream of HTTP/3.
type scribe struct {
	out     strings.Builder
	id      string // the case, for {id}
	stream  uint32
	literal bool // fields are literals without Huffman codes, and their blocks come in pieces
	over    *h3script
	enc     *hpack.Encoder
	block   bytes.Buffer
}

func newScribe(id string, literal bool) *scribe {
	s := &scribe{id: id, stream: 1, literal: literal}
	s.enc = hpack.NewEncoder(&s.block)
	return s
}

func (s *scribe) fill(text string) string { return strings.ReplaceAll(text, "{id}", s.id) }

func (s *scribe) frame(typ http2.FrameType, flags http2.Flags, payload string) {
	s.frameOn(s.stream, typ, flags, payload)
}

func (s *scribe) frameOn(stream uint32, typ http2.FrameType, flags http2.Flags, payload string) {
	if s.over != nil {
		s.over.foreign = true
		return
	}
	s.out.WriteString(h2frame(typ, flags, stream, payload))
}

func (s *scribe) encode(f h2fields) string {
	s.block.Reset()
	for _, p := range f {
		name, value := s.fill(p[0]), s.fill(p[1])
		if !s.literal {
			s.enc.WriteField(hpack.HeaderField{Name: name, Value: value})
			continue
		}
		s.block.WriteByte(0)
		s.block.WriteString(hpackString(name) + hpackString(value))
	}
	return s.block.String()
}

// hpackString is a string literal without Huffman code (RFC 7541 §5.2).
func hpackString(text string) string { return hpackInt(7, 0, len(text)) + text }

// hpackInt is an integer with a prefix (RFC 7541 §5.1).
func hpackInt(prefix int, bits byte, n int) string {
	most := 1<<prefix - 1
	if n < most {
		return string([]byte{bits | byte(n)})
	}
	b := []byte{bits | byte(most)}
	for n -= most; n >= 128; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return string(append(b, byte(n)))
}

// head writes a header block, in frames as large as they may be.
func (s *scribe) head(f h2fields, end bool) {
	if s.over != nil {
		s.over.head(s, f, end)
		return
	}
	flags := http2.Flags(0)
	if end {
		flags = http2.FlagHeadersEndStream
	}
	block := s.encode(f)
	size := 16384
	if s.literal {
		size = max(1, len(block)/3+1, len(block)/8+1)
		size = min(size, 16384)
	}
	typ := http2.FrameHeaders
	for len(block) > size {
		s.frame(typ, flags, block[:size])
		block, typ, flags = block[size:], http2.FrameContinuation, 0
	}
	s.frame(typ, flags|http2.FlagHeadersEndHeaders, block)
}

// part is one step of a script.
type part func(s *scribe)

func pHead(end bool, f h2fields) part { return func(s *scribe) { s.head(f, end) } }

func pData(text string, end bool) part {
	flags := http2.Flags(0)
	if end {
		flags = http2.FlagDataEndStream
	}
	return func(s *scribe) {
		if s.over != nil {
			s.over.data(s, s.fill(text), end)
			return
		}
		s.frame(http2.FrameData, flags, s.fill(text))
	}
}

// pRST gives up the stream of the case.
func pRST(code http2.ErrCode) part {
	return func(s *scribe) {
		if s.over != nil {
			s.over.reset = &code
			return
		}
		s.frame(http2.FrameRSTStream, 0, be32(uint32(code)))
	}
}

// pFrame is a frame on the stream of the case.
func pFrame(typ http2.FrameType, flags http2.Flags, payload string) part {
	return func(s *scribe) { s.frame(typ, flags, s.fill(payload)) }
}

// pOn is one on another stream.
func pOn(stream uint32, typ http2.FrameType, flags http2.Flags, payload string) part {
	return func(s *scribe) { s.frameOn(stream, typ, flags, s.fill(payload)) }
}

// pTrailers are trailers that end the stream.
func pTrailers(pairs ...string) part { return pHead(true, h2pairs(pairs...)) }

// h2answer is what came on one stream.
type h2answer struct {
	interims []string
	status   int
	fields   h2fields
	body     strings.Builder
	trailers h2fields
	ended    bool
	reset    bool
	code     http2.ErrCode
}

func (a *h2answer) done() bool { return a != nil && (a.ended || a.reset) }

func (a *h2answer) String() string {
	if a == nil {
		return "nothing"
	}
	body := a.body.String()
	text := fmt.Sprintf("%v %d %q %q %q ended %v", a.interims, a.status, a.fields, body[:min(len(body), 200)],
		a.trailers, a.ended)
	if a.reset {
		text += " reset " + a.code.String()
	}
	return text
}

// headerBlocks puts the header blocks of a connection together.
type headerBlocks struct {
	dec    *hpack.Decoder
	block  []byte
	stream uint32 // of the block
	ends   bool   // the block ends the stream
}

// take takes a frame, and reports whether a block is whole with it.
func (b *headerBlocks) take(f http2.Frame) (whole bool) {
	switch f := f.(type) {
	case *http2.HeadersFrame:
		b.block, b.stream, b.ends = slices.Clone(f.HeaderBlockFragment()), f.StreamID, f.StreamEnded()
		return f.HeadersEnded()
	case *http2.ContinuationFrame:
		b.block = append(b.block, f.HeaderBlockFragment()...)
		return f.HeadersEnded()
	}
	return false
}

// fields decodes a block that is whole.
func (b *headerBlocks) fields(fault func(format string, args ...any)) (f h2fields) {
	list, err := b.dec.DecodeFull(b.block)
	if err != nil {
		fault("header block: %v", err)
	}
	for _, hf := range list {
		f = append(f, [2]string{hf.Name, hf.Value})
	}
	return f
}

// h2client is the raw end of a connection to edge. It reads strictly, and writes what it is told.
type h2client struct {
	net.Conn
	in     *http2.Framer
	blocks headerBlocks

	answers map[uint32]*h2answer
	wrong   []string
	gone    *http2.ErrCode // what GOAWAY says
	last    uint32
	end     error
	pongs   int
	settled bool           // edge has acknowledged the settings
	mute    bool           // windows are not opened
	credit  map[uint32]int // what edge has opened its windows by

	sending atomic.Bool // another goroutine writes
	owed    string      // what waits for its end
}

// say writes what answers edge, when no other goroutine is in the middle of a frame.
func (c *h2client) say(frames string) {
	if c.owed += frames; !c.sending.Load() {
		io.WriteString(c, c.owed)
		c.owed = ""
	}
}

// send writes a script in another goroutine, in pieces; the channel is closed at its end.
func (c *h2client) send(pieces []string) chan bool {
	sent := make(chan bool)
	c.sending.Store(true)
	go func() {
		defer close(sent)
		drip(c, pieces, 0)
		c.sending.Store(false)
	}()
	return sent
}

const h2preface = http2.ClientPreface

func h2dial(t *testing.T, addr string) *h2client {
	t.Helper()
	c := testutil.Dial(t, addr).Conn()
	c.SetDeadline(time.Now().Add(patience))
	h := &h2client{
		Conn: c, in: http2.NewFramer(nil, c), blocks: headerBlocks{dec: hpack.NewDecoder(4096, nil)},
		answers: map[uint32]*h2answer{},
		credit:  map[uint32]int{},
	}
	h.in.SetMaxReadFrameSize(16384)
	return h
}

func (c *h2client) answer(stream uint32) *h2answer {
	a := c.answers[stream]
	if a == nil {
		a = &h2answer{}
		c.answers[stream] = a
	}
	return a
}

func (c *h2client) fault(format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}

// over reports whether the connection has ended.
func (c *h2client) over() bool { return c.end != nil }

// closed reports whether edge has closed it.
func (c *h2client) closed() bool {
	return c.end == io.EOF || errors.Is(c.end, syscall.ECONNRESET) || errors.Is(c.end, io.ErrUnexpectedEOF)
}

// until reads frames until cond holds or the connection ends.
func (c *h2client) until(cond func() bool) bool {
	for !cond() {
		if c.end != nil {
			return false
		}
		f, err := c.in.ReadFrame()
		if err != nil {
			c.end = err
			var wrong http2.ConnectionError
			if errors.As(err, &wrong) {
				c.fault("edge sent a frame that is %v: %v", err, c.in.ErrorDetail())
			}
			continue
		}
		c.take(f)
	}
	return true
}

func (c *h2client) take(f http2.Frame) {
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			c.settled = true
		} else {
			c.say(h2frame(http2.FrameSettings, http2.FlagSettingsAck, 0, ""))
		}
	case *http2.PingFrame:
		if f.IsAck() {
			c.pongs++
		} else {
			c.say(h2frame(http2.FramePing, http2.FlagPingAck, 0, string(f.Data[:])))
		}
	case *http2.GoAwayFrame:
		code := f.ErrCode
		c.gone, c.last = &code, f.LastStreamID
	case *http2.RSTStreamFrame:
		a := c.answer(f.StreamID)
		if a.reset {
			c.fault("stream %d was reset twice", f.StreamID)
		}
		a.reset, a.code = true, f.ErrCode
	case *http2.HeadersFrame, *http2.ContinuationFrame:
		if c.blocks.take(f) {
			c.takeHead()
		}
	case *http2.DataFrame:
		a := c.answer(f.StreamID)
		if a.status < 200 || a.done() {
			c.fault("DATA on stream %d before a head or behind the end", f.StreamID)
		}
		a.body.Write(f.Data())
		if n := uint32(f.Length); n > 0 && !c.mute {
			c.say(h2frame(http2.FrameWindowUpdate, 0, 0, be32(n)) +
				h2frame(http2.FrameWindowUpdate, 0, f.StreamID, be32(n)))
		}
		if f.StreamEnded() {
			a.finish(c.fault)
		}
	case *http2.WindowUpdateFrame:
		c.credit[f.StreamID] += int(f.Increment)
	case *http2.PushPromiseFrame:
		c.fault("PUSH_PROMISE")
	}
}

var (
	h2name   = regexp.MustCompile("^[!#$%&'*+.^_|~0-9a-z`-]+$")
	h2value  = regexp.MustCompile(`^([^\x00-\x20\x7f]([^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f])?)?$`)
	h2status = regexp.MustCompile(`^[1-5][0-9][0-9]$`)
)

// h2hop are the fields that RFC 9113 §8.2.2 forbids.
var h2hop = []string{"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "http2-settings"}

// h2malformed says what is wrong with the fields of a head or of trailers.
func h2malformed(f h2fields, pseudo ...string) error {
	regular := false
	times := map[string]int{}
	for _, p := range f {
		if strings.HasPrefix(p[0], ":") {
			if times[p[0]]++; regular || times[p[0]] > 1 || !slices.Contains(pseudo, p[0]) {
				return fmt.Errorf("pseudo-header field %s where it must not be", p[0])
			}
		} else if regular = true; !h2name.MatchString(p[0]) {
			return fmt.Errorf("field name %q", p[0])
		}
		if !h2value.MatchString(p[1]) {
			return fmt.Errorf("field value %s: %q", p[0], p[1])
		}
		if slices.Contains(h2hop, p[0]) {
			return fmt.Errorf("connection-specific field %s", p[0])
		}
	}
	return nil
}

func (c *h2client) takeHead() {
	f := c.blocks.fields(c.fault)
	a := c.answer(c.blocks.stream)
	switch {
	case a.done():
		c.fault("a head behind the end of stream %d", c.blocks.stream)
	case a.status >= 200:
		if a.takeFields(f, c.fault); !c.blocks.ends {
			c.fault("trailers that do not end the stream")
		}
	default:
		if a.takeFields(f, c.fault); a.status < 200 && c.blocks.ends {
			c.fault("an interim answer that ends the stream")
		}
	}
	if c.blocks.ends {
		a.finish(c.fault)
	}
}

// takeFields takes the fields of a head, or of trailers after it.
func (a *h2answer) takeFields(f h2fields, fault func(format string, args ...any)) {
	if a.status >= 200 {
		a.trailers = f
		if err := h2malformed(f); err != nil {
			fault("trailers: %v", err)
		}
		return
	}
	if err := h2malformed(f, ":status"); err != nil {
		fault("answer: %v", err)
	}
	if !h2status.MatchString(f.get(":status")) || f.get(":status") == "101" {
		fault("status %q", f.get(":status"))
	}
	a.status, _ = strconv.Atoi(f.get(":status"))
	if a.fields = f; a.status < 200 {
		a.interims = append(a.interims, f.get(":status"))
	}
}

// finish holds a length against what came.
func (a *h2answer) finish(fault func(format string, args ...any)) {
	a.ended = true
	if l := a.fields.all("content-length"); len(l) > 1 {
		fault("%d lengths", len(l))
	} else if len(l) == 1 && a.body.Len() > 0 && l[0] != strconv.Itoa(a.body.Len()) {
		fault("Content-Length %s of %d bytes", l[0], a.body.Len())
	}
}

// ping proves that all that edge had to say before was read.
func (c *h2client) ping() bool {
	n := c.pongs
	c.say(h2frame(http2.FramePing, 0, 0, "battery!"))
	return c.until(func() bool { return c.pongs > n })
}

// h2ask opens a connection with these settings, and sends a head on stream 1.
func h2ask(t *testing.T, addr, id, settings string, head h2fields, end bool) (*h2client, *scribe) {
	t.Helper()
	c, s := h2dial(t, addr), newScribe(id, false)
	s.out.WriteString(h2preface + h2frame(http2.FrameSettings, 0, 0, settings))
	s.head(head, end)
	io.WriteString(c, s.out.String())
	s.out.Reset()
	return c, s
}

// h2victim proves that a client on a new connection of HTTP/2 gets its own answer.
func h2victim(t *testing.T, addr, id string) error {
	t.Helper()
	c, _ := h2ask(t, addr, id, "", h2base("GET").set(":path", "/victim-{id}"), true)
	defer c.Close()
	c.until(func() bool { return c.answer(1).done() })
	a := c.answer(1)
	if a.status != 200 || !a.ended || a.body.String() != "/victim-"+id || c.wrong != nil {
		return fmt.Errorf("the victim got %s, %q, %v", a, c.wrong, c.end)
	}
	return nil
}

// h2base is the head of a good request.
func h2base(method string) h2fields {
	return h2pairs(":method", method, ":scheme", "http", ":authority", "battery.test", ":path", "/{id}")
}
