package battery

import (
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/edge-proxy/edge/h3"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/quic"
)

// h3flood is one attack over HTTP/3. It is repeated until the connection ends, which it has to.
type h3flood struct {
	name, rfc string
	streams   bool // each time on a stream of its own
	do        func(c *h3client, s *h3stream)
}

// h3request is a good head of HTTP/3 with these fields added.
func h3request(method string, pairs ...string) string {
	return h3frame(h3Headers, h3section(h2base(method).set(":scheme", "https").plus(pairs...), false))
}

func h3floods() []h3flood {
	get, post := h3request("GET"), h3request("POST")
	each := func(text string, end bool, code *h3.Code) func(c *h3client, s *h3stream) {
		return func(c *h3client, s *h3stream) {
			if c.send(s, text, end); code != nil {
				c.Flush()
				c.Conn.Reset(s.Stream, uint64(*code))
				c.Conn.Stop(s.Stream, uint64(*code))
			}
		}
	}
	repeat := func(before, text string) func(c *h3client, s *h3stream) {
		return func(c *h3client, s *h3stream) {
			c.send(s, before+strings.Repeat(text, floodFrames), false)
		}
	}
	more := func(text string) func(c *h3client, s *h3stream) {
		return func(c *h3client, _ *h3stream) { c.send(c.control, strings.Repeat(text, floodFrames), false) }
	}
	oneWay := func(text string) func(c *h3client, s *h3stream) {
		return func(c *h3client, _ *h3stream) {
			if c.until(func() bool { return c.Closed || c.Conn.RoomFor(quic.OneWay) > 0 }) && !c.Closed {
				c.send(c.open(quic.OneWay), text, true)
			}
		}
	}
	cancelled, no := h3.RequestCancelled, h3.NoError
	return []h3flood{
		{"rapid reset", "9114 10.5", true, each(get, false, &cancelled)},
		{"rapid reset with NO_ERROR", "9114 10.5", true, each(get, false, &no)},
		{"rapid reset in bodies", "9114 10.5", true, each(post+h3frame(h3Data, "hello"), false, &cancelled)},
		{"made to reset by upper case", "9114 4.2", true, each(h3request("GET", "X", "y"), true, nil)},
		{"made to reset by a length", "9114 4.1.2", true, each(h3request("POST", "content-length", "1")+
			h3frame(h3Data, "xx"), true, nil)},
		{"made to reset by trailers", "9114 4.3", true, each(post+h3frame(h3Headers, h3section(h2pairs(":path", "/"),
			false)), true, nil)},
		{"made to reset by nothing", "9114 4.1", true, each("", true, nil)},
		{"heads that are too large", "9114 4.2.2", true, each("\x01\x80\x10\x00\x00", false, nil)},
		{"a field section of many entries", "9114 10.5.1", true, each(h3frame(h3Headers, "\x00\x00"+
			strings.Repeat("\xd1", 30000)), true, nil)},
		{"empty DATA", "9114 10.5", true, repeat(post, "\x00\x00")},
		{"unknown frames", "9114 10.5", true, repeat(post, "\x21\x00")},
		{"unknown frames before the head", "9114 10.5", true, repeat("", "\x21\x01x")},
		{"unknown frames of the control stream", "9114 10.5", false, more("\x21\x00")},
		{"GOAWAY", "9114 10.5", false, more(h3frame(h3GoAway, "\x00"))},
		{"MAX_PUSH_ID", "9114 10.5", false, more(h3frame(0xd, "\x08"))},
		{"PRIORITY_UPDATE", "9218 7.2", false, more(h3frame(0xf0700, "\x00u=1"))},
		{"one-way streams of an unknown type", "9114 10.5", false, oneWay("\x21x")},
		{"one-way streams of nothing", "9114 10.5", false, oneWay("")},
		{"streams that are cancelled for QPACK", "9204 4.4.2", false, func(c *h3client, _ *h3stream) {
			if c.streams[6] == nil { // the second one-way stream that it opens
				c.send(c.open(quic.OneWay), "\x03", false)
			}
			c.send(c.streams[6], strings.Repeat("\x41", floodFrames), false)
		}},
	}
}

// The same attacks over HTTP/3: the connection ends by H3_EXCESSIVE_LOAD, few requests come to the origin, and neither
// memory nor processor time grows with the number of frames.
func TestBatteryH3_floods(t *testing.T) {
	testutil.Binary(t, "./cmd/edge")
	for _, o := range h2origins {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			l := newH3Lane(t, o.make(t), "")
			l.boundMemory(t, l.other.victim, func() {
				for _, f := range h3floods() {
					t.Run(f.name, func(t *testing.T) {
						l.attack(t, l.other.victim, func(string) { l.flood(t, &f) })
					})
				}
			})
		})
	}
}

// hasSent reports whether no stream waits for a window.
func (c *h3client) hasSent() bool {
	for _, s := range c.streams {
		if s.out != "" {
			return false
		}
	}
	return true
}

func (l *h3lane) flood(t *testing.T, f *h3flood) {
	t.Helper()
	c := l.dial(t)
	times := 0
	for room := true; room && !c.Closed && times < floodFrames; times++ {
		var s *h3stream
		if f.streams {
			room = c.until(func() bool { return c.Closed || c.Conn.RoomFor(quic.TwoWay) > 0 })
			if c.Closed || !room {
				break
			}
			s = c.open(quic.TwoWay)
		}
		f.do(c, s)
		c.until(func() bool { return c.Closed || c.hasSent() })
	}
	c.until(func() bool { return c.Closed })
	c.leave()
	if c.gone == nil || *c.gone != http2.ErrCodeEnhanceYourCalm || c.wrong != nil {
		t.Errorf("the connection ended with %v after %d times: %+v, %q", c.gone, times, c.Conn.Closed(), c.wrong)
	}
}
