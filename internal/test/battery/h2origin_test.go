package battery

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// arrived is a request as an origin of either version got it.
type arrived struct {
	method, target, authority string
	lines                     []string // name in lower case: value
	body                      string
	trailers                  []string
}

// record is what an origin saw since it was last asked.
type record struct {
	seen  []*arrived
	wrong []string
	raw   string
	heads int // that came, of whole requests and others
}

func (r *record) targets() (targets []string) {
	for _, a := range r.seen {
		targets = append(targets, a.target)
	}
	return targets
}

// recorder is an origin of either version.
type recorder interface {
	record(t *testing.T) *record
	upstream() string // its lines of a configuration
}

// h1recorder is the origin of HTTP/1.
type h1recorder struct {
	*origin
	began int
}

func (o *h1recorder) upstream() string { return backendAt(o.addr) }

func (o *h1recorder) record(t *testing.T) *record {
	t.Helper()
	seen, wrong, raw := o.take(t)
	r := &record{wrong: wrong, raw: raw}
	o.note(func() { r.heads, o.began = o.origin.began-o.began, o.origin.began })
	for _, m := range seen {
		a := &arrived{method: m.word(0), target: m.word(1), authority: m.get("Host"), body: m.body}
		for _, f := range m.fields {
			a.lines = append(a.lines, strings.ToLower(f[0])+": "+f[1])
		}
		for _, f := range m.trailers {
			a.trailers = append(a.trailers, strings.ToLower(f[0])+": "+f[1])
		}
		r.seen = append(r.seen, a)
	}
	return r
}

// h2origin speaks HTTP/2 by prior knowledge, tolerates no fault, and answers each request with its path unless there is
// a play for it. guarded by mu.
type h2origin struct {
	addr string

	mu       sync.Mutex
	began    int
	ended    int
	heads    int
	seen     []*arrived
	wrong    []string
	raw      strings.Builder
	plays    map[string]*h2play
	resets   map[string]http2.ErrCode // of edge, by path
	goaways  []http2.ErrCode          // of edge
	conns    int
	settings string // what it says at the beginning
	shut     bool   // opens no windows
}

// h2play is how it answers one request.
type h2play struct {
	early bool // at the head
	do    func(s *h2exchange)
	hold  chan bool // another goroutine answers as usual when it is closed
}

// h2exchange is one stream of it.
type h2exchange struct {
	*arrived
	c        *h2serving
	id       uint32
	held     bool
	finished bool
	played   bool
	length   string
}

// h2serving is one connection of it.
type h2serving struct {
	net.Conn
	o       *h2origin
	mu      sync.Mutex // writes
	blocks  headerBlocks
	streams map[uint32]*h2exchange
}

func newH2Origin(t *testing.T) *h2origin {
	o := &h2origin{plays: map[string]*h2play{}, resets: map[string]http2.ErrCode{}}
	o.addr = testutil.Serve(t, o.serve).Addr().String()
	return o
}

func (o *h2origin) upstream() string { return backendAt(o.addr) + "protocol = \"h2\"\n" }

func (o *h2origin) note(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
}

func (o *h2origin) fault(format string, args ...any) {
	o.note(func() { o.wrong = append(o.wrong, fmt.Sprintf(format, args...)) })
}

func (o *h2origin) record(t *testing.T) *record {
	t.Helper()
	testutil.Eventually(t, testutil.Patience, func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.began == o.ended
	}, "a request is neither whole nor given up")
	o.mu.Lock()
	defer o.mu.Unlock()
	r := &record{seen: o.seen, wrong: o.wrong, raw: o.raw.String(), heads: o.heads}
	o.seen, o.wrong, o.heads = nil, nil, 0
	o.raw.Reset()
	return r
}

func (c *h2serving) write(frames string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	io.WriteString(c, frames)
}

func (o *h2origin) serve(nc net.Conn) {
	c := &h2serving{Conn: nc, o: o, streams: map[uint32]*h2exchange{}}
	c.blocks.dec = hpack.NewDecoder(4096, nil)
	defer c.close()
	var settings string
	o.note(func() { o.conns++; settings = o.settings })
	c.write(h2frame(http2.FrameSettings, 0, 0, settings))
	preface := make([]byte, len(h2preface))
	if _, err := io.ReadFull(c, preface); err != nil || string(preface) != h2preface {
		if err == nil {
			o.fault("preface %q", preface)
		}
		return
	}
	in := http2.NewFramer(nil, c)
	in.SetMaxReadFrameSize(16384)
	for {
		f, err := in.ReadFrame()
		if err != nil {
			if _, is := err.(http2.ConnectionError); is {
				o.fault("edge sent a frame that is %v: %v", err, in.ErrorDetail())
			}
			return
		}
		c.take(f)
	}
}

func (c *h2serving) close() {
	c.Close()
	for _, s := range c.streams {
		c.end(s)
	}
}

// end counts the end of a request, once.
func (c *h2serving) end(s *h2exchange) {
	if !s.finished {
		s.finished = true
		c.o.note(func() { c.o.ended++ })
	}
}

func (c *h2serving) take(f http2.Frame) {
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if !f.IsAck() {
			c.write(h2frame(http2.FrameSettings, http2.FlagSettingsAck, 0, ""))
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			c.write(h2frame(http2.FramePing, http2.FlagPingAck, 0, string(f.Data[:])))
		}
	case *http2.GoAwayFrame:
		c.o.note(func() { c.o.goaways = append(c.o.goaways, f.ErrCode) })
	case *http2.RSTStreamFrame:
		if s := c.streams[f.StreamID]; s != nil {
			c.o.note(func() { c.o.resets[s.target] = f.ErrCode })
			c.end(s)
		} else {
			c.o.fault("RST_STREAM on the idle stream %d", f.StreamID)
		}
	case *http2.HeadersFrame, *http2.ContinuationFrame:
		if c.blocks.take(f) {
			c.takeHead()
		}
	case *http2.DataFrame:
		s := c.streams[f.StreamID]
		if s == nil || s.finished {
			c.o.fault("DATA on a stream that is not open")
			return
		}
		s.body += string(f.Data())
		c.o.note(func() { c.o.raw.Write(f.Data()) })
		if n := uint32(f.Length); n > 0 && !c.o.isShut() {
			c.write(h2frame(http2.FrameWindowUpdate, 0, 0, be32(n)) +
				h2frame(http2.FrameWindowUpdate, 0, f.StreamID, be32(n)))
		}
		if f.StreamEnded() {
			c.whole(s)
		}
	}
}

func (o *h2origin) isShut() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.shut
}

func (c *h2serving) takeHead() {
	f, ends := c.blocks.fields(c.o.fault), c.blocks.ends
	c.o.note(func() {
		for _, p := range f {
			fmt.Fprintf(&c.o.raw, "%s: %s\n", p[0], p[1])
		}
	})
	if s := c.streams[c.blocks.stream]; s != nil {
		if err := h2malformed(f); err != nil || !ends || s.finished {
			c.o.fault("trailers: %v, end %v", err, ends)
		}
		for _, p := range f {
			s.trailers = append(s.trailers, p[0]+": "+p[1])
		}
		c.whole(s)
		return
	}
	s := &h2exchange{c: c, id: c.blocks.stream, length: f.get("content-length"), arrived: &arrived{
		method: f.get(":method"), target: f.get(":path"), authority: f.get(":authority"),
	}}
	for _, p := range f {
		if !strings.HasPrefix(p[0], ":") {
			s.lines = append(s.lines, p[0]+": "+p[1])
		}
	}
	c.streams[c.blocks.stream] = s
	c.o.note(func() { c.o.began++; c.o.heads++ })
	if err := h2wrongRequest(f); err != nil {
		c.o.fault("%v in %q", err, f)
	}
	if p := c.o.play(s.target); p != nil && p.early {
		s.played = true
		p.do(s)
	}
	if ends {
		c.whole(s)
	}
}

func (o *h2origin) play(target string) *h2play {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.plays[target]
}

// h2wrongRequest returns the fault that a strict origin finds in the head of a request.
func h2wrongRequest(f h2fields) error {
	if err := h2malformed(f, ":method", ":scheme", ":path", ":authority", ":protocol"); err != nil {
		return err
	}
	method, path := f.get(":method"), f.get(":path")
	switch {
	case !requestLine.MatchString(method + " /x HTTP/1.1"):
		return fmt.Errorf("method %q", method)
	case f.get(":authority") == "":
		return fmt.Errorf("no authority")
	case len(f.all("host")) > 0 && f.get("host") != f.get(":authority"):
		return fmt.Errorf("two hosts")
	case method == "CONNECT" && f.get(":protocol") == "":
		if path != "" || f.get(":scheme") != "" {
			return fmt.Errorf("CONNECT with a path or a scheme")
		}
		return nil
	case f.get(":scheme") != "http" && f.get(":scheme") != "https":
		return fmt.Errorf("scheme %q", f.get(":scheme"))
	case !requestLine.MatchString("GET " + path + " HTTP/1.1"):
		return fmt.Errorf("path %q", path)
	case f.get("te") != "" && f.get("te") != "trailers":
		return fmt.Errorf("TE %q", f.get("te"))
	}
	if l := f.all("content-length"); len(l) > 1 || len(l) == 1 && !digits(l[0]) {
		return fmt.Errorf("lengths %q", l)
	}
	return nil
}

func digits(s string) bool {
	_, err := strconv.ParseUint(s, 10, 62)
	return err == nil && strings.Trim(s, "0123456789") == ""
}

// whole takes a request that has come to its end.
func (c *h2serving) whole(s *h2exchange) {
	if s.length != "" && s.length != strconv.Itoa(len(s.body)) {
		c.o.fault("Content-Length %s of %d bytes", s.length, len(s.body))
	}
	c.o.note(func() { c.o.seen = append(c.o.seen, s.arrived) })
	c.end(s)
	if s.played {
		return
	}
	p := c.o.play(s.target)
	switch {
	case p != nil && p.hold != nil:
		go func() {
			<-p.hold
			s.echo()
		}()
	case p != nil:
		p.do(s)
	default:
		s.echo()
	}
}

// say writes frames on the stream.
func (s *h2exchange) say(parts ...part) {
	w := newScribe(strings.TrimPrefix(s.target, "/"), true)
	w.stream = s.id
	for _, p := range parts {
		p(w)
	}
	s.c.write(w.out.String())
}

func (s *h2exchange) echo() {
	switch s.method {
	case "CONNECT":
		s.say(pHead(true, h2pairs(":status", "405")))
	case "HEAD":
		s.say(pHead(true, h2pairs(":status", "200", "content-length", strconv.Itoa(len(s.target)))))
	default:
		s.say(pHead(false, h2pairs(":status", "200", "content-length", strconv.Itoa(len(s.target)))),
			pData(s.target[:len(s.target)/2], false), pData(s.target[len(s.target)/2:], true))
	}
}
