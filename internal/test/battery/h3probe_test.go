package battery

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/net/http2"

	"github.com/edge-proxy/edge/h3"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/quic"
)

// h3script is what a scribe makes of the parts of a case in place of frames of HTTP/2.
type h3script struct {
	begun   bool // a head was written
	end     bool // the stream ends
	reset   *http2.ErrCode
	foreign bool // HTTP/3 has nothing like it

	control string // what the control stream begins with, if that is no good one
	others  []h3other
}

// h3other is a one-way stream beside the stream of a case.
type h3other struct {
	text       string
	onControl  bool // it is more of the control stream
	end, reset bool
	stop       bool // it is none: edge's own control stream is to end
}

func (c *h3client) speakOther(o h3other) {
	if o.stop {
		c.until(func() bool { return c.streams[3] != nil })
		c.Conn.Stop(c.streams[3].Stream, uint64(h3.NoError))
		return
	}
	s := c.control
	if !o.onControl {
		s = c.open(quic.OneWay)
	}
	c.send(s, o.text, o.end)
	if c.Flush(); o.reset {
		c.Conn.Reset(s.Stream, uint64(h3.NoError))
	}
}

func (o *h3script) head(s *scribe, f h2fields, end bool) {
	if o.begun && !end {
		o.foreign = true // its end is no part of HEADERS: see h3orderCases
	}
	o.begun = true
	s.out.WriteString(h3frame(h3Headers, s.section(f)))
	o.end = o.end || end
}

// section encodes the fields of a case.
func (s *scribe) section(f h2fields) string {
	filled := h2fields{}
	for _, p := range f {
		if p[0] == ":scheme" && (p[1] == "http" || p[1] == "https") { // the right one is the other
			p[1] = map[string]string{"http": "https", "https": "http"}[p[1]]
		}
		filled = append(filled, [2]string{s.fill(p[0]), s.fill(p[1])})
	}
	return h3section(filled, s.literal)
}

func (o *h3script) data(s *scribe, text string, end bool) {
	s.out.WriteString(h3frame(h3Data, text))
	o.end = o.end || end
}

// write has s write the parts of a case.
func (p *h2case) write(s *scribe) {
	if p.send.head != nil {
		s.head(p.send.head, p.send.end)
	}
	for _, f := range p.send.then {
		f(s)
	}
}

// h3lane is one edge process with one event loop between clients of HTTP/3 and an origin of either version.
type h3lane struct {
	*h2lane
	authority *testutil.Authority
	other     *h3client // whose requests go on beside all cases
}

func newH3Lane(t *testing.T, o recorder, more string) *h3lane {
	t.Helper()
	l := &h3lane{h2lane: &h2lane{recorder: o}, authority: testutil.NewAuthority(t)}
	dir := t.TempDir()
	l.authority.IssueTo(t, dir, "battery", nil, "battery.test")
	base := filepath.Join(dir, "battery")
	listener := fmt.Sprintf("protocols = [\"h1\", \"h2\", \"h3\"]\nh3.idle_timeout = \"5m\"\ntls = \"auto\"\n"+
		"cert = %q\nkey = %q\n", base+".pem", base+".key")
	l.Process, l.edge = startEdge(t, o.upstream(), listener+more, "")
	l.other = l.dial(t)
	return l
}

func (l *h3lane) dial(t *testing.T) *h3client {
	t.Helper()
	return h3dial(t, l.edge, l.authority, h3greeting)
}

var h3groups = append(slices.Clone(h2messages), h2group{"order", h3orderCases, ""},
	h2group{"frames", h3frameCases, ""}, h2group{"control", h3controlCases, ""},
	h2group{"compression", h3compressionCases, ""})

// h3others are cases that end otherwise than over HTTP/2 without TLS.
var h3others = map[string]h2verdict{
	":scheme https in plain": passesOr(400, 421), // here it is http over TLS, which harms nobody
}

func TestBatteryH3(t *testing.T) {
	runCases(t, func(t *testing.T) {
		for _, g := range h3groups {
			t.Run(g.name, func(t *testing.T) { h3run(t, g.table(), g.more) })
		}
		for _, g := range h2replyGroups {
			t.Run(g.name, func(t *testing.T) { h3runReplies(t, g.table()) })
		}
	})
}

// h3run runs a table before an origin of either version, each case in one piece, and then byte by byte with other codes
// of field sections.
func h3run(t *testing.T, table []h2case, more string) {
	t.Parallel()
	for _, o := range h2origins {
		t.Run(o.name, func(t *testing.T) {
			l := newH3Lane(t, o.make(t), more)
			for _, c := range table {
				if s := newH3Scribe("", false); !c.isH3(s) {
					continue
				}
				t.Run(c.name, func(t *testing.T) {
					if v, ok := h3others[c.name]; ok {
						c.h2verdict = v
					}
					judge(t, c.rfc, func() error {
						return twice(true, func(bytewise bool) error { return l.probe(t, &c, bytewise) })
					})
				})
			}
		})
	}
}

func newH3Scribe(id string, literal bool) *scribe {
	s := newScribe(id, literal)
	s.over = &h3script{control: h3greeting}
	return s
}

// isH3 reports whether HTTP/3 can say it.
func (p *h2case) isH3(s *scribe) bool {
	p.write(s)
	return !s.over.foreign
}

// speak sends what s has written, in one piece or byte by byte; late has the end of the stream come alone then.
func (c *h3client) speak(on *h3stream, s *scribe, bytewise, late bool) {
	text := s.out.String()
	if bytewise && len(text) > 0 && len(text) < dripMax {
		alone := len(text)
		if !late {
			alone--
		}
		for i := range alone {
			c.send(on, text[i:i+1], false)
			c.Flush()
		}
		text = text[alone:]
	}
	if text != "" || s.over.end {
		c.send(on, text, s.over.end)
	}
	if s.over.reset != nil {
		c.Flush()
		code := h3.RequestCancelled
		if *s.over.reset == http2.ErrCodeNo {
			code = h3.NoError
		}
		c.Conn.Reset(on.Stream, uint64(code))
	}
}

func (l *h3lane) probe(t *testing.T, p *h2case, bytewise bool) error {
	t.Helper()
	l.n++
	id := fmt.Sprintf("c%d", l.n)
	s := newH3Scribe(id, bytewise)
	p.write(s)
	c := h3dial(t, l.edge, l.authority, s.over.control)
	defer c.leave()
	mine := c.open(quic.TwoWay)
	c.speak(mine, s, bytewise, p.begins || p.is == h2Passes)
	for _, o := range s.over.others {
		c.speakOther(o)
	}
	next := c.get("/next-" + id)
	c.until(func() bool { return (mine.done() || p.is == h2Left || p.is == h2Dies) && next.done() })
	if p.is == h2Dies {
		c.until(func() bool { return c.Closed })
	}
	if mine.reset && mine.stopped && mine.code != mine.stop {
		c.fault("reset with %v, but stopped with %v", mine.code, mine.stop)
	}
	if !c.Closed {
		c.leave()
	}
	lost := l.other.victim(id)
	return p.judge(&told{
		mine: &mine.h2answer, next: &next.h2answer, wrong: c.wrong, gone: c.gone, over: c.gone != nil,
		closed: c.gone != nil, apart: true,
	}, l.record(t), id, lost)
}

// h3runReplies has origins of HTTP/2 answer clients of HTTP/3 as they should not.
func h3runReplies(t *testing.T, table []h2reply) {
	t.Parallel()
	o := newH2Origin(t)
	l := newH3Lane(t, o, "")
	ask := func(r *h2reply, id string) *got { return l.ask(t, r, id) }
	for _, r := range table {
		t.Run(r.name, func(t *testing.T) {
			judge(t, r.rfc, func() error { return l.reply(t, o, &r, ask) })
		})
	}
}

func (l *h3lane) ask(t *testing.T, r *h2reply, id string) *got {
	t.Helper()
	c := l.dial(t)
	defer c.leave()
	s, a := newH3Scribe(id, false), c.open(quic.TwoWay)
	s.head(h2base(r.verb()).plus("te", "trailers"), true)
	c.speak(a, s, false, false)
	c.until(a.done)
	next := c.get("/next-" + id)
	c.until(next.done)
	return gotOf(&a.h2answer, &next.h2answer, c.wrong, c.gone, c.Conn.Closed())
}
