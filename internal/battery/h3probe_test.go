package battery

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"github.com/edge-proxy/edge/h3"
	"github.com/edge-proxy/edge/internal/testutil"
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
	l.Process, l.edge = startEdge(t, o.upstream(), listener+more)
	l.other = l.dial(t)
	return l
}

func (l *h3lane) dial(t *testing.T) *h3client {
	t.Helper()
	return h3dial(t, l.edge, l.authority, h3greeting)
}

// h3counted are the cases that ran.
var h3counted atomic.Int64

// h3groups run side by side: the cases of HTTP/2 that are about messages, and others about frames and streams.
var h3groups = []struct {
	name  string
	table func() []h2case
	more  string // of the listener
}{
	{"names", h2nameCases, ""},
	{"values", h2valueCases, ""},
	{"pseudo", h2pseudoCases, ""},
	{"path", h2pathCases, ""},
	{"authority", h2authorityCases, ""},
	{"method", h2methodCases, ""},
	{"hop", h2hopCases, ""},
	{"length", h2lengthCases, ""},
	{"trailers", h2trailerCases, ""},
	{"noTunnels", h2noTunnelCases, "websocket = false"},
	{"order", h3orderCases, ""},
	{"frames", h3frameCases, ""},
	{"control", h3controlCases, ""},
	{"compression", h3compressionCases, ""},
}

// h3others are cases that end otherwise than over HTTP/2 without TLS.
var h3others = map[string]h2verdict{
	":scheme https in plain": passesOr(400, 421), // here it is http over TLS, which harms nobody
}

func TestBatteryH3(t *testing.T) {
	testutil.Binary(t, "./cmd/edge") // before the clocks of the cases run
	t.Run("cases", func(t *testing.T) {
		for _, g := range h3groups {
			t.Run(g.name, func(t *testing.T) { h3run(t, g.table(), g.more) })
		}
		for _, g := range h2replyGroups {
			t.Run(g.name, func(t *testing.T) { h3runReplies(t, g.table()) })
		}
	})
	t.Logf("%d cases", h3counted.Load())
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
					h3counted.Add(1)
					for _, bytewise := range []bool{false, true} {
						if err := l.probe(t, &c, bytewise); err != nil {
							t.Fatalf("byte by byte %v: %v", bytewise, err)
						}
					}
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
			h3counted.Add(1)
			if err := l.reply(t, o, &r, ask); err != nil {
				t.Error(err)
			}
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
	g := &got{status: a.status, body: a.body.String(), whole: a.ended && !a.reset, interims: a.interims}
	g.text = fmt.Sprintf("%s; next: %s; %v %v", &a.h2answer, &next.h2answer, c.wrong, c.gone)
	if g.next = next.body.String(); next.status != 200 || !next.ended || c.gone != nil {
		g.next = "GOAWAY, or no answer"
	}
	for _, f := range a.trailers {
		g.trailers = append(g.trailers, f[0]+": "+f[1])
	}
	if c.wrong != nil {
		g.status = 0
	}
	return g
}
