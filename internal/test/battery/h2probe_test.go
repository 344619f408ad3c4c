package battery

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// h2script is what a client sends on one stream.
type h2script struct {
	head h2fields // nil: there is none
	end  bool     // the head ends the stream
	then []part
}

func hGet(pairs ...string) h2script { return h2script{head: h2base("GET").plus(pairs...), end: true} }
func hHead(f h2fields) h2script     { return h2script{head: f, end: true} }
func hRaw(parts ...part) h2script   { return h2script{then: parts} }
func hPost(body string, pairs ...string) h2script {
	return h2script{head: h2base("POST").plus(pairs...), then: []part{pData(body, true)}}
}

// hParts is a POST whose body comes as told.
func hParts(pairs []string, parts ...part) h2script {
	return h2script{head: h2base("POST").plus(pairs...), then: parts}
}

type h2case struct {
	name, rfc string
	send      h2script
	h2verdict
}

// h2verdict is what must follow.
type h2verdict struct {
	is     h2fate
	codes  []http2.ErrCode // error codes of RST_STREAM or GOAWAY, one of which is right
	status []int

	target    string   // that the origin sees; "": /{id}
	authority string   // at the origin
	method    string   // that the origin sees; "": that of the head
	body      string   // at the origin
	lines     []string // at the origin, each the line of a field
	trail     []string // at the origin: these trailers and no others
	never     []string // text that the origin does not see, in any case
	begins    bool     // the origin may see the beginning, since the fault comes later
	whole     bool     // the origin may see a whole request, since the fault comes after it
}

type h2fate int

const (
	h2Passes    h2fate = iota
	h2Malformed        // the stream is reset, perhaps after a 4xx (RFC 9113 §8.1.1); the connection goes on
	h2Refused          // answered by edge, or reset; the connection goes on
	h2Either           // passes or is refused: the RFC leaves it open, and both are safe
	h2Dies             // GOAWAY, and the connection ends
	h2Left             // the client itself has reset the stream
	h2AfterEnd         // a fault after a request that was fine and may be answered
	h2Excess           // above a limit: passes, is refused, or ends the connection; never in half
)

func passes() h2verdict { return h2verdict{is: h2Passes, status: []int{200}} }
func malformed() h2verdict {
	return h2verdict{is: h2Malformed, codes: []http2.ErrCode{http2.ErrCodeProtocol}}
}
func malformedAs(codes ...http2.ErrCode) h2verdict { return h2verdict{is: h2Malformed, codes: codes} }
func refused(status ...int) h2verdict {
	return h2verdict{is: h2Refused, status: status, codes: []http2.ErrCode{http2.ErrCodeProtocol}}
}
func passesOr(status ...int) h2verdict {
	return h2verdict{is: h2Either, status: append(status, 200), codes: []http2.ErrCode{http2.ErrCodeProtocol}}
}
func dies(codes ...http2.ErrCode) h2verdict { return h2verdict{is: h2Dies, codes: codes} }
func left() h2verdict                       { return h2verdict{is: h2Left, begins: true} }

func (v h2verdict) as(target string) h2verdict     { v.target = target; return v }
func (v h2verdict) at(authority string) h2verdict  { v.authority = authority; return v }
func (v h2verdict) with(body string) h2verdict     { v.body = body; return v }
func (v h2verdict) seen(lines ...string) h2verdict { v.lines = lines; return v }
func (v h2verdict) trails(lines ...string) h2verdict {
	v.trail = append([]string{}, lines...)
	return v
}
func (v h2verdict) not(s ...string) h2verdict { v.never = s; return v }
func (v h2verdict) late() h2verdict           { v.begins = true; return v }

// later is a fault after a whole request: the answer to that may be quicker.
func (v h2verdict) later() h2verdict {
	v.begins, v.whole, v.status = true, true, append(v.status, 200)
	return v.or(http2.ErrCodeNo)
}
func (v h2verdict) or(codes ...http2.ErrCode) h2verdict {
	v.codes = append(v.codes, codes...)
	return v
}

// h2lane is one edge process with one event loop between clients of HTTP/2 and an origin of either version.
type h2lane struct {
	*testutil.Process
	recorder
	edge string
	n    int
}

// h2start starts an edge. more is put into the table of the listener.
func h2start(t *testing.T, upstream, more string) (*testutil.Process, string) {
	t.Helper()
	return startEdge(t, upstream, "protocols = [\"h1\", \"h2\"]\nh2.idle_timeout = \"5m\"\n"+more, "")
}

func newH2Lane(t *testing.T, o recorder, more string) *h2lane {
	t.Helper()
	l := &h2lane{recorder: o}
	l.Process, l.edge = h2start(t, o.upstream(), more)
	return l
}

// h2origins are an origin of either version.
var h2origins = []struct {
	name string
	make func(t *testing.T) recorder
}{
	{"h1", func(t *testing.T) recorder { return &h1recorder{origin: newOrigin(t)} }},
	{"h2c", func(t *testing.T) recorder { return newH2Origin(t) }},
}

// h2group is a table of cases.
type h2group struct {
	name  string
	table func() []h2case
	more  string // of the listener
}

// h2messages are cases about messages, which HTTP/3 has too.
var h2messages = []h2group{
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
}

var h2groups = append(slices.Clone(h2messages), h2group{"frames", h2frameCases, ""},
	h2group{"compression", h2compressionCases, ""})

func TestBatteryH2(t *testing.T) {
	runCases(t, func(t *testing.T) {
		for _, g := range h2groups {
			t.Run(g.name, func(t *testing.T) { h2run(t, g.table(), g.more) })
		}
		for _, g := range h2replyGroups {
			t.Run(g.name, func(t *testing.T) { h2runReplies(t, g.table()) })
		}
	})
}

// h2run runs a table before an origin of either version, each case in one piece, and then byte by byte with header
// blocks of other codes and in several frames.
func h2run(t *testing.T, table []h2case, more string) {
	t.Parallel()
	for _, o := range h2origins {
		t.Run(o.name, func(t *testing.T) {
			l := newH2Lane(t, o.make(t), more)
			for _, c := range table {
				t.Run(c.name, func(t *testing.T) {
					judge(t, c.rfc, func() error {
						return twice(true, func(bytewise bool) error { return l.probe(t, &c, bytewise) })
					})
				})
			}
		})
	}
}

func (l *h2lane) probe(t *testing.T, p *h2case, bytewise bool) error {
	t.Helper()
	l.n++
	id := fmt.Sprintf("c%d", l.n)
	c := h2dial(t, l.edge)
	defer c.Close()
	s := newScribe(id, bytewise)
	s.out.WriteString(h2preface + h2frame(http2.FrameSettings, 0, 0, ""))
	begin := s.out.Len()
	p.write(s)
	end := s.out.Len()
	if p.send.head == nil {
		s.literal = true // the case may have changed the table of edge
	}
	s.stream = 101 // cases may have used others
	s.head(h2base("GET").set(":path", "/next-{id}"), true)
	text := s.out.String()
	mine := pieces(text[begin:end], bytewise && end-begin < dripMax)
	sent := c.send(slices.Concat([]string{text[:begin]}, mine, []string{text[end:]}))
	c.until(func() bool {
		return (c.answer(1).done() || p.is == h2Left) && c.answer(101).done() || c.over()
	})
	if p.is == h2Dies {
		c.until(c.over)
	} else if !c.over() {
		<-sent
		c.ping()
	}
	c.Close()
	<-sent
	lost := h2victim(t, l.edge, id)
	r := l.record(t)
	return p.judge(&told{
		mine: c.answer(1), next: c.answer(101), wrong: c.wrong, gone: c.gone, over: c.over(), closed: c.closed(),
		end: c.end,
	}, r, id, lost)
}

// told is what a client has seen of a case.
type told struct {
	mine, next   *h2answer
	wrong        []string
	gone         *http2.ErrCode
	over, closed bool
	apart        bool // case and next request wait for nothing of each other
	end          error
}

// judge compares what client, origin and victim saw with the verdict.
func (p *h2case) judge(c *told, r *record, id string, lost error) error {
	said := fmt.Sprintf("\nclient: %s; next: %s; %q, GOAWAY %v, end %v\norigin: %q", c.mine, c.next, c.wrong, c.gone,
		c.end, r.raw)
	if lost != nil {
		return fmt.Errorf("%w%s", lost, said)
	}
	if r.wrong != nil || c.wrong != nil {
		return fmt.Errorf("edge sent what it must not: %q %q%s", r.wrong, c.wrong, said)
	}
	if err := p.check(c, r, id); err != nil {
		return fmt.Errorf("%w%s", err, said)
	}
	for _, n := range append(p.never, "\x00", "smuggled") {
		if strings.Contains(strings.ToLower(r.raw), strings.ToLower(n)) && !strings.Contains(p.body, n) {
			return fmt.Errorf("the origin saw %q%s", n, said)
		}
	}
	return nil
}

// check compares what client and origin saw with the verdict.
func (p *h2case) check(c *told, r *record, id string) error {
	target := p.target
	if target == "" {
		target = "/{id}"
	}
	target = strings.ReplaceAll(target, "{id}", id)
	p = p.decided(c)
	targets := r.targets()
	var mine *arrived
	want := []string{"/victim-" + id}
	if i := slices.Index(targets, target); i >= 0 {
		mine = r.seen[i]
		targets = slices.Delete(targets, i, i+1)
	}
	if p.is == h2AfterEnd && c.over {
		targets = slices.DeleteFunc(targets, func(t string) bool { return t == "/next-"+id })
	} else if p.is != h2Dies || c.apart && slices.Contains(targets, "/next-"+id) {
		want = append(want, "/next-"+id)
	} else if i := slices.Index(targets, "/next-"+id); i >= 0 {
		return fmt.Errorf("what is behind a fault of the connection came to the origin")
	}
	slices.Sort(targets)
	slices.Sort(want)
	if !slices.Equal(targets, want) {
		return fmt.Errorf("the origin saw %q beside the case, want %q", targets, want)
	}
	if p.is == h2AfterEnd && c.over {
		if c.gone == nil || !slices.Contains(p.codes, *c.gone) || !c.closed {
			return fmt.Errorf("want GOAWAY with one of %v and the end", p.codes)
		}
		return nil
	}
	if next := c.next; p.is != h2Dies && (next.status != 200 || next.body.String() != "/next-"+id ||
		!next.ended) {
		return fmt.Errorf("the next request got no answer of its own")
	}
	if p.is != h2Dies && (c.over || c.gone != nil) {
		return fmt.Errorf("the connection did not go on")
	}
	a := c.mine
	if p.is == h2AfterEnd {
		if a.reset && !slices.Contains(p.codes, a.code) || !a.reset && a.status != 200 {
			return fmt.Errorf("want an answer, or a reset with one of %v", p.codes)
		}
		return nil
	}
	if p.is == h2Passes || p.is == h2Either && mine != nil {
		return p.checkPassed(a, mine, r, target)
	}
	if mine != nil && !p.whole {
		return fmt.Errorf("the origin saw a whole request of what is refused")
	}
	if r.heads > len(want) && !p.begins {
		return fmt.Errorf("the origin saw %d heads, want %d", r.heads, len(want))
	}
	return p.checkRefused(c)
}

// decided is p where a limit leaves open what follows, and c has seen it.
func (p *h2case) decided(c *told) *h2case {
	if p.is != h2Excess {
		return p
	}
	q := *p
	if q.is = h2Either; c.over {
		q.is, q.codes = h2Dies, []http2.ErrCode{http2.ErrCodeEnhanceYourCalm}
	}
	return &q
}

// checkRefused looks at what the client is told.
func (p *h2case) checkRefused(c *told) error {
	a := c.mine
	if p.is == h2Left {
		return nil
	}
	if p.is == h2Dies {
		if c.gone == nil || !slices.Contains(p.codes, *c.gone) || !c.closed {
			return fmt.Errorf("want GOAWAY with one of %v and the end", p.codes)
		}
		return nil
	}
	if a.status != 0 && a.status/100 != 4 && !slices.Contains(p.status, a.status) {
		return fmt.Errorf("status %d to what is refused", a.status)
	}
	if a.reset && slices.Contains(p.codes, a.code) {
		return nil
	}
	if p.is == h2Malformed {
		return fmt.Errorf("want a reset with one of %v", p.codes)
	}
	if !a.ended || !slices.Contains(p.status, a.status) || p.is == h2Either && a.status == 200 {
		return fmt.Errorf("want an answer with one of %v, or a reset with one of %v", p.status, p.codes)
	}
	return nil
}

func (p *h2case) checkPassed(a *h2answer, mine *arrived, r *record, target string) error {
	// RFC 9113 §8.1: NO_ERROR after a whole answer declines the rest of the request.
	if mine == nil || a.status != 200 || !a.ended || a.reset && a.code != http2.ErrCodeNo {
		return fmt.Errorf("it did not pass")
	}
	method, authority := p.method, p.authority
	if method == "" {
		method = p.send.head.get(":method")
	}
	if authority == "" {
		authority = "battery.test"
	}
	if mine.method != method || mine.authority != authority || mine.body != p.body {
		return fmt.Errorf("the origin saw %s of %s with %q, want %s of %s with %q", mine.method, mine.authority,
			mine.body, method, authority, p.body)
	}
	if method != "HEAD" && a.body.String() != target {
		return fmt.Errorf("the answer is another's")
	}
	for _, line := range p.lines {
		if !slices.Contains(mine.lines, line) {
			return fmt.Errorf("the origin misses %q", line)
		}
	}
	if p.trail != nil && !slices.Equal(mine.trailers, p.trail) {
		return fmt.Errorf("the origin saw the trailers %q, want %q", mine.trailers, p.trail)
	}
	return nil
}
