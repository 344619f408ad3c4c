package battery

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// probe is one case of a client that sends something. {id} stands for the name of the case on
// the wire.
type probe struct {
	name string
	rfc  string
	send string
	verdict
}

// verdict is what must follow.
type verdict struct {
	may    may
	status []int // when it is refused, or answered by edge itself

	target string   // that the origin sees; "": /{id}
	method string   // that the origin sees; "": that of send
	body   string   // that the origin sees
	closes bool     // the connection, after the answer
	more   string   // the target of a second request in the case
	rest   bool     // the bytes after the case are refused
	eager  bool     // closes where bytes after the case have come before the answer
	ends   bool     // the connection ends or goes on: both are fine
	alone  bool     // nothing is sent after the case
	fin    bool     // the client ends its sending side
	sees   []string // text that the origin sees
	trail  []string // lines of the trailers that come to the origin
	never  []string // text that the origin does not see, in any case
	client []string // text that the client gets
	hides  []string // text that the client does not get
}

type may int

const (
	mustPass may = iota
	mustRefuse
	mayBoth   // pass or be refused: the RFC leaves it open, and both are safe
	mayAnswer // edge answers by itself, and the origin sees nothing
	mustLose  // the client ends too early: the origin sees no whole request, and nobody gets a 200
)

func pass() verdict                { return verdict{may: mustPass, status: []int{200}} }
func refuse(status ...int) verdict { return verdict{may: mustRefuse, status: status} }
func either(status ...int) verdict { return verdict{may: mayBoth, status: status} }
func answer(status ...int) verdict { return verdict{may: mayAnswer, status: status} }

// incomplete is a request that the client ends before it is whole.
func incomplete() verdict { return verdict{may: mustLose, alone: true, fin: true} }

func (v verdict) and(target string) verdict     { v.more = target; return v }
func (v verdict) closeEager() verdict           { v.eager = true; return v }
func (v verdict) mayEnd() verdict               { v.ends = true; return v }
func (v verdict) trails(s ...string) verdict    { v.trail = s; return v }
func (v verdict) then400() verdict              { v.rest = true; return v }
func (v verdict) as(target string) verdict      { v.target = target; return v }
func (v verdict) of(method string) verdict      { v.method = method; return v }
func (v verdict) with(body string) verdict      { v.body = body; return v }
func (v verdict) close() verdict                { v.closes = true; return v }
func (v verdict) only() verdict                 { v.alone = true; return v }
func (v verdict) half() verdict                 { v.alone, v.fin = true, true; return v }
func (v verdict) seen(s ...string) verdict      { v.sees = s; return v }
func (v verdict) not(s ...string) verdict       { v.never = s; return v }
func (v verdict) tells(s ...string) verdict     { v.client = s; return v }
func (v verdict) keepsBack(s ...string) verdict { v.hides = s; return v }

const host = "Host: battery.test\r\n"

// req is a request without a body and with these lines of fields.
func req(fields string) string { return "GET /{id} HTTP/1.1\r\n" + host + fields + "\r\n" }

// post is a request with these lines of fields, and what follows its head.
func post(fields, body string) string {
	return "POST /{id} HTTP/1.1\r\n" + host + fields + "\r\n" + body
}

// chunked is a request whose body is in chunks, as given.
func chunked(body string) string { return post("Transfer-Encoding: chunked\r\n", body) }

// first is a request with this request line.
func first(line string) string { return line + "\r\n" + host + "\r\n" }

// dripMax bounds what is sent byte by byte as well.
const dripMax = 1000

// probes runs a table on a lane of its own.
func probes(t *testing.T, table []probe) {
	t.Parallel()
	l := newLane(t)
	for _, p := range table {
		t.Run(p.name, func(t *testing.T) {
			judge(t, p.rfc, func() error {
				return twice(len(p.send) <= dripMax, func(bytewise bool) error { return l.probe(t, p, bytewise) })
			})
		})
	}
}

func (l *lane) probe(t *testing.T, p probe, bytewise bool) error {
	t.Helper()
	id := l.next()
	send := strings.ReplaceAll(p.send, "{id}", id)
	if p.eager {
		p.closes, p.ends = !bytewise, bytewise
	}
	if !p.alone {
		send += "GET /next-" + id + " HTTP/1.1\r\n" + host + "\r\n"
	}
	enough := 2
	if p.more != "" {
		enough = 3
	}
	if p.may == mustPass && p.alone && !p.closes {
		enough = 1
	}
	h := l.talk(t, pieces(send, bytewise), methodOf(send), enough, p.fin)
	lost := l.victim(id)
	seen, wrong, raw := l.take(t)
	if lost != nil {
		return fmt.Errorf("%w; the client got %s", lost, h)
	}
	if wrong != nil {
		return fmt.Errorf("the origin saw %q; the client got %s", wrong, h)
	}
	if p.may == mayBoth && len(h.answers) > 0 {
		t.Logf("edge says %d", h.answers[0].status())
	}
	if err := p.check(h, seen, id); err != nil {
		return fmt.Errorf("%w\nclient: %s\norigin: %q", err, h, raw)
	}
	for _, s := range append(p.never, "\x00") {
		if strings.Contains(strings.ToLower(raw), strings.ToLower(s)) {
			return fmt.Errorf("the origin saw %q in %q", s, raw)
		}
	}
	return nil
}

// check compares what client and origin saw with the verdict.
func (p *probe) check(h *heard, seen []*message, id string) error {
	var targets []string
	for _, m := range seen {
		targets = append(targets, m.word(1))
	}
	if p.may == mustLose {
		return p.checkLost(h, targets, id)
	}
	if len(h.answers) == 0 {
		return fmt.Errorf("no answer")
	}
	got := h.answers[0].status()
	if !slices.Contains(p.status, got) {
		return fmt.Errorf("status %d, want one of %v", got, p.status)
	}
	for _, s := range p.client {
		if !strings.Contains(h.raw, s) {
			return fmt.Errorf("the client misses %q", s)
		}
	}
	for _, s := range p.hides {
		if strings.Contains(h.raw, s) {
			return fmt.Errorf("the client got %q", s)
		}
	}
	refused := p.may == mustRefuse || p.may == mayBoth && got != 200
	var want []string
	switch {
	case refused:
		if err := checkRefused(h); err != nil {
			return err
		}
	case p.may == mayAnswer:
		if t := strings.ReplaceAll(p.target, "{id}", id); t != "" && slices.Contains(targets, t) {
			want = append(want, t)
		}
		if len(h.answers) == 2 {
			want = append(want, "/next-"+id)
		}
	default:
		var err error
		if want, err = p.checkPassed(h, seen, id); err != nil {
			return err
		}
	}
	if want = append(want, "/victim-"+id); !slices.Equal(targets, want) {
		return fmt.Errorf("the origin saw %q, want %q", targets, want)
	}
	return nil
}

// checkLost: the connection ended, and nothing was taken for a whole request.
func (p *probe) checkLost(h *heard, targets []string, id string) error {
	if !slices.Equal(targets, []string{"/victim-" + id}) {
		return fmt.Errorf("the origin saw %q of a request that was not whole", targets)
	}
	if !h.closed() || len(h.answers) > 1 || len(h.answers) == 1 && h.answers[0].status() < 400 {
		return fmt.Errorf("half a request was not refused: %v", h.end)
	}
	return nil
}

// checkRefused: one answer, which says that the connection closes, and then it does.
func checkRefused(h *heard) error {
	if len(h.answers) != 1 {
		return fmt.Errorf("%d answers to what is refused", len(h.answers))
	}
	if !h.closed() {
		return fmt.Errorf("the connection is not closed: %v", h.end)
	}
	if h.answers[0].get("Date") == "" {
		return fmt.Errorf("the answer has no Date")
	}
	if h.answers[0].get("Connection") != "close" {
		return fmt.Errorf("the answer does not say that the connection closes")
	}
	return nil
}

// checkPassed: the request came to the origin as it should, and so did the next one.
func (p *probe) checkPassed(h *heard, seen []*message, id string) ([]string, error) {
	if len(seen) == 0 {
		return nil, fmt.Errorf("the origin saw nothing")
	}
	target, method := p.target, p.method
	if target == "" {
		target = "/{id}"
	}
	if method == "" {
		method = methodOf(p.send)
	}
	target = strings.ReplaceAll(target, "{id}", id)
	m := seen[0]
	if m.word(0) != method || m.body != p.body {
		return nil, fmt.Errorf("the origin saw %s with %q, want %s with %q", m.word(0), m.body, method, p.body)
	}
	if method != "HEAD" && h.answers[0].body != target {
		return nil, fmt.Errorf("the answer has %q, want %q", h.answers[0].body, target)
	}
	for _, s := range p.sees {
		if !strings.Contains(m.raw, strings.ReplaceAll(s, "{id}", id)) {
			return nil, fmt.Errorf("the origin misses %q", s)
		}
	}
	var trailers []string
	for _, f := range m.trailers {
		trailers = append(trailers, f[0]+": "+f[1])
	}
	if p.trail != nil && !slices.Equal(trailers, p.trail) {
		return nil, fmt.Errorf("the origin saw the trailers %q, want %q", trailers, p.trail)
	}
	if p.more != "" {
		if len(h.answers) != 3 || h.answers[1].body != p.more || h.answers[2].body != "/next-"+id {
			return nil, fmt.Errorf("not three answers of their own")
		}
		return []string{target, p.more, "/next-" + id}, nil
	}
	if p.rest {
		if len(h.answers) != 2 || h.answers[1].status() != 400 || h.answers[1].get("Connection") != "close" {
			return nil, fmt.Errorf("what is behind it is not refused")
		}
		return []string{target}, nil
	}
	if p.closes || p.ends && len(h.answers) == 1 {
		if len(h.answers) != 1 || !h.closed() {
			return nil, fmt.Errorf("%d answers, then %v; want the end behind the first", len(h.answers), h.end)
		}
		return []string{target}, nil
	}
	if p.alone {
		return []string{target}, nil
	}
	if len(h.answers) != 2 || h.answers[1].body != "/next-"+id {
		return nil, fmt.Errorf("the next request got no answer of its own")
	}
	return []string{target, "/next-" + id}, nil
}
