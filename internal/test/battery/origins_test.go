package battery

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// reply is one case of an origin that answers as it should not, or as it may.
type reply struct {
	name string
	rfc  string
	play play
	outcome
}

// outcome is what must follow. Nothing of what an origin says may hold "evil" and reach a client.
type outcome struct {
	is      fate
	status  []int
	body    string
	request string // the request, if not a GET
	keeps   bool   // edge may use the connection to the origin again
	closes  bool   // the connection to the client
	lax     bool   // what follows the first answer is open
	tells   []string
	hides   []string
}

type fate int

const (
	fails fate = iota // 502, and the client's connection stays
	cut               // the head came through, the body is visibly incomplete; or 502
	comes             // a whole answer
	cutOr             // either of the last two
)

func bad() outcome                   { return outcome{is: fails, status: []int{502}} }
func severed() outcome               { return outcome{is: cut, status: []int{200, 502}} }
func whole(body string) outcome      { return outcome{is: comes, status: []int{200}, body: body} }
func badOr(o outcome) outcome        { o.is, o.status = cutOr, append(o.status, 502); return o }
func (o outcome) kept() outcome      { o.keeps = true; return o }
func (o outcome) code(n int) outcome { o.status = []int{n}; return o }
func (o outcome) to(request string) outcome {
	o.request = request
	return o
}
func (o outcome) showing(s ...string) outcome { o.tells = s; return o }
func (o outcome) hiding(s ...string) outcome  { o.hides = s; return o }
func (o outcome) ends() outcome               { o.closes = true; return o }

func says(parts ...string) play { return play{say: parts} }
func (p play) then(end string) play {
	return play{early: p.early, say: p.say, end: end}
}
func (p play) atOnce() play { return play{early: true, say: p.say, end: p.end} }

func replies(t *testing.T, table []reply) {
	t.Parallel()
	l := newLane(t)
	for _, r := range table {
		t.Run(r.name, func(t *testing.T) {
			judge(t, r.rfc, func() error {
				return twice(r.bytewise(), func(bytewise bool) error { return l.reply(t, &r, bytewise) })
			})
		})
	}
}

// bytewise reports whether the case makes sense byte by byte: bytes after a whole answer that come later may meet the
// next request on their connection, and then they cannot be told from its answer.
func (r *reply) bytewise() bool {
	n := 0
	for _, s := range r.play.say {
		n += len(s)
	}
	return n <= dripMax && r.play.cue == nil && (r.keeps || r.is == fails || r.is == cut)
}

func (l *lane) reply(t *testing.T, r *reply, bytewise bool) error {
	t.Helper()
	id := l.next()
	p := new(play)
	*p = r.play
	p.say = nil
	for _, s := range r.play.say {
		p.say = append(p.say, pieces(s, bytewise)...)
	}
	p.closed = make(chan bool, 1)
	if r.keeps && p.end == "" {
		p.end = "serve"
	}
	l.note(func() { l.plays["/"+id] = p })
	if p.cue != nil { // what was said is relayed first
		time.AfterFunc(100*time.Millisecond, func() { close(p.cue) })
	}
	request := r.request
	if request == "" {
		request = req("")
	}
	request = strings.ReplaceAll(request, "{id}", id)
	request += "GET /next-" + id + " HTTP/1.1\r\n" + host + "\r\n"
	h := l.talk(t, []string{request}, methodOf(request), 2, false)
	if !r.keeps && p.end != "close" && p.end != "reset" && p.end != "serve" {
		if err := p.left(); err != nil {
			return fmt.Errorf("%w; the client got %s", err, h)
		}
	}
	lost := l.victim(id)
	seen, wrong, raw := l.take(t)
	if lost != nil {
		return fmt.Errorf("%w; the client got %s", lost, h)
	}
	if n := times(seen, "POST", "/"+id); n > 1 {
		return fmt.Errorf("the origin got a POST %d times", n)
	}
	if wrong != nil {
		return fmt.Errorf("the origin saw %q", wrong)
	}
	if err := r.check(h, id); err != nil {
		return fmt.Errorf("%w\nclient: %s\norigin: %q", err, h, raw)
	}
	return nil
}

// times counts the requests of this method and target.
func times(seen []*message, method, target string) (n int) {
	for _, m := range seen {
		if m.word(0) == method && m.word(1) == target {
			n++
		}
	}
	return n
}

// interimsMax is how many interim answers a client is sent.
const interimsMax = 8

func (r *reply) check(h *heard, id string) error {
	if len(h.interims) > interimsMax {
		return fmt.Errorf("the client got %d interim answers", len(h.interims))
	}
	if len(h.answers) == 0 {
		if r.is == cut && strings.Contains(r.request, "HTTP/1.0") && h.closed() {
			return nil // the end of the connection is all that can tell
		}
		return fmt.Errorf("no answer")
	}
	a := h.answers[0]
	if !slices.Contains(r.status, a.status()) {
		return fmt.Errorf("status %d, want one of %v", a.status(), r.status)
	}
	for _, s := range append(r.hides, "evil", "\x00") {
		if strings.Contains(strings.ToLower(h.raw), strings.ToLower(s)) {
			return fmt.Errorf("the client got %q", s)
		}
	}
	for _, s := range r.tells {
		if !strings.Contains(h.raw, s) {
			return fmt.Errorf("the client misses %q", s)
		}
	}
	if r.lax && (a.status() == 502 || a.body == "" || a.body == r.body) {
		return nil
	}
	incomplete := len(h.answers) == 1 && (h.cut || h.end != nil && !h.closed())
	if a.status() != 502 && r.is == cut {
		if !incomplete {
			return fmt.Errorf("the answer does not look incomplete")
		}
		return nil
	}
	if a.status() != 502 && a.body != r.body {
		return fmt.Errorf("the client got the body %q, want %q", a.body, r.body)
	}
	if r.closes {
		if len(h.answers) != 1 || !h.closed() {
			return fmt.Errorf("the connection does not end behind the answer")
		}
		return nil
	}
	if len(h.answers) != 2 || h.answers[1].body != "/next-"+id {
		return fmt.Errorf("the next request got no answer of its own")
	}
	return nil
}

const ok = "HTTP/1.1 200 OK\r\n"

func originStatusLineCases(t *testing.T) {
	line := func(text string) play { return says(text + "\r\nContent-Length: 4\r\n\r\nevil") }
	good := func(text string) play { return says(text + "\r\nContent-Length: 4\r\n\r\ngood") }
	replies(t, []reply{
		{"as it should be", "9112 4", good("HTTP/1.1 200 OK"), whole("good").kept()},
		{"no reason", "9112 4", good("HTTP/1.1 200 "), whole("good").kept()},
		{"no space behind the code", "9112 4", good("HTTP/1.1 200"), badOr(whole("good")).kept()},
		{"a reason of non-ASCII", "9112 4", good("HTTP/1.1 200 \xe9t\xe9"), whole("good").kept()},
		{"status 299", "9110 15", good("HTTP/1.1 299 x"), whole("good").code(299).kept()},
		{"status 999", "9110 15", good("HTTP/1.1 999 x"), badOr(whole("good").code(999)).kept()},
		{"status 20", "9110 15", line("HTTP/1.1 20 OK"), bad()},
		{"status 2", "9110 15", line("HTTP/1.1 2 OK"), bad()},
		{"status 1000", "9110 15", line("HTTP/1.1 1000 OK"), bad()},
		{"status 2000", "9110 15", line("HTTP/1.1 2000 OK"), bad()},
		{"status 2x0", "9110 15", line("HTTP/1.1 2x0 OK"), bad()},
		{"status 099", "9110 15", line("HTTP/1.1 099 OK"), bad()},
		{"status 000", "9110 15", line("HTTP/1.1 000 OK"), bad()},
		{"status -20", "9110 15", line("HTTP/1.1 -20 OK"), bad()},
		{"status +200", "9110 15", line("HTTP/1.1 +200 OK"), bad()},
		{"status 0x0", "9110 15", line("HTTP/1.1 0xc OK"), bad()},
		{"status with a space", "9110 15", line("HTTP/1.1 2 00 OK"), bad()},
		{"no status", "9112 4", line("HTTP/1.1 OK"), bad()},
		{"nothing behind the version", "9112 4", line("HTTP/1.1"), bad()},
		{"two spaces", "9112 4", line("HTTP/1.1  200 OK"), bad()},
		{"a tab", "9112 4", line("HTTP/1.1\t200 OK"), bad()},
		{"a tab behind the code", "9112 4", line("HTTP/1.1 200\tOK"), bad()},
		{"no space", "9112 4", line("HTTP/1.1200 OK"), bad()},
		{"space in front", "9112 4", line(" HTTP/1.1 200 OK"), bad()},
		{"an empty line in front", "9112 2.2", good("\r\nHTTP/1.1 200 OK"), badOr(whole("good"))},
		{"version 2.0", "9112 2.3", line("HTTP/2.0 200 OK"), bad()},
		{"version 0.9", "9112 2.3", line("HTTP/0.9 200 OK"), bad()},
		{"version 1.2", "9110 2.5", good("HTTP/1.2 200 OK"), badOr(whole("good")).kept()},
		{"version in lower case", "9112 2.3", line("http/1.1 200 OK"), bad()},
		{"ICY", "9112 4", line("ICY 200 OK"), bad()},
		{"HTTP/0.9", "9112 2.3", says("<html>evil</html>").then("close"), bad()},
		{"a TLS alert", "9112 4", says("\x15\x03\x01\x00\x02\x02\x46evil").then("close"), bad()},
		{"SSH", "9112 4", says("SSH-2.0-evil\r\n"), bad()},
		{"garbage", "9112 4", says("\xde\xad\xbe\xef evil \r\n\r\n"), bad()},
		{"NULs", "9112 4", says("\x00\x00\x00\x00evil\r\n\r\n"), bad()},
		{"NUL in the reason", "9112 4", line("HTTP/1.1 200 O\x00K"), bad()},
		{"CR in the reason", "9112 2.2", line("HTTP/1.1 200 O\rK"), bad()},
		{"LF behind it", "9112 2.2", says("HTTP/1.1 200 OK\nContent-Length: 4\r\n\r\ngood"), whole("good").kept()},
		{"LF for all", "9112 2.2", says("HTTP/1.1 200 OK\nContent-Length: 4\n\ngood"), whole("good").kept()},
		{"LF for all, interim answers", "9112 2.2", says("HTTP/1.1 103 Early Hints\nLink: a\n\n" +
			"HTTP/1.1 200 OK\nContent-Length: 4\n\ngood"), whole("good").kept()},
		{"a request", "9112 4", says("GET /evil HTTP/1.1\r\nHost: x\r\n\r\n"), bad()},
	})
}

func originHeadCases(t *testing.T) {
	field := func(lines string) play { return says(ok + lines + "Content-Length: 4\r\n\r\nevil") }
	length := func(lines string) play { return says(ok + lines + "\r\nevil") }
	replies(t, []reply{
		{"NUL in a value", "9110 5.5", field("X: \x00\r\n"), bad()},
		{"NUL in a name", "9110 5.1", field("X\x00: y\r\n"), bad()},
		{"CR in a value", "9112 2.2", field("X: a\rSet-Cookie: b\r\n"), bad()},
		{"CR in a name", "9112 2.2", field("X\rY: z\r\n"), bad()},
		{"LF in a value", "9112 2.2", says(ok + "X: a\nX-Y: b\r\nContent-Length: 4\r\n\r\ngood"),
			whole("good").kept().showing("\r\nX: a\r\nX-Y: b\r\n")},
		{"LF behind a field", "9112 2.2", says(ok + "X: a\nContent-Length: 4\r\n\r\ngood"),
			whole("good").kept().showing("\r\nX: a\r\n")},
		{"LF and a fold", "9112 5.2", field("X: a\n b\n"), bad()},
		{"LF between two lengths", "9112 6.3", length("Content-Length: 4\nContent-Length: 5\n"), bad()},
		{"BEL in a value", "9110 5.5", field("X: \x07\r\n"), bad()},
		{"space before colon", "9112 5.1", field("X : y\r\n"), bad()},
		{"space before the colon of the length", "9112 5.1", length("Content-Length : 4\r\n"), bad()},
		{"space in a name", "9112 5.1", field("X Y: z\r\n"), bad()},
		{"no colon", "9112 5", field("X\r\n"), bad()},
		{"no name", "9112 5", field(": x\r\n"), bad()},
		{"a fold", "9112 5.2", field("X: y\r\n z\r\n"), bad()},
		{"a fold at the front", "9112 5.2", field(" X: y\r\n"), bad()},
		{"Content-Length of letters", "9112 6.3", length("Content-Length: four\r\n"), bad()},
		{"Content-Length below zero", "9112 6.3", length("Content-Length: -4\r\n"), bad()},
		{"Content-Length with plus", "9112 6.3", length("Content-Length: +4\r\n"), bad()},
		{"Content-Length in hex", "9112 6.3", length("Content-Length: 0x4\r\n"), bad()},
		{"Content-Length of nothing", "9112 6.3", length("Content-Length:\r\n"), bad()},
		{"Content-Length of two numbers", "9112 6.3", length("Content-Length: 4 4\r\n"), bad()},
		{"Content-Length too large", "9112 6.3", length("Content-Length: 18446744073709551620\r\n"), bad()},
		{"two different lengths", "9112 6.3", length("Content-Length: 4\r\nContent-Length: 5\r\n"), bad()},
		{"two lengths in a list", "9112 6.3", length("Content-Length: 4, 5\r\n"), bad()},
		{"two equal lengths", "9112 6.3",
			says(ok + "Content-Length: 4\r\nContent-Length: 4\r\n\r\ngood"), badOr(whole("good")).kept()},
		{"length and coding", "9112 6.3",
			length("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"), bad()},
		{"coding and length", "9112 6.3",
			says(ok + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n4\r\nevil\r\n0\r\n\r\n"), bad()},
		{"TE: chunked twice", "9112 6.1", length("Transfer-Encoding: chunked, chunked\r\n"), bad()},
		{"TE in two fields", "9112 6.1", length("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), bad()},
		{"TE: gzip", "9112 6.3", length("Transfer-Encoding: gzip\r\n").then("close"), bad()},
		{"TE: gzip, chunked", "9112 6.3", length("Transfer-Encoding: gzip, chunked\r\n"), bad()},
		{"TE: xchunked", "9112 6.3", length("Transfer-Encoding: xchunked\r\n").then("close"), bad()},
		{"TE: identity", "9112 7", length("Transfer-Encoding: identity\r\n").then("close"), bad()},
		{"TE of nothing", "9112 6.1", length("Transfer-Encoding:\r\n").then("close"), bad()},
		{"TE in HTTP/1.0", "9112 6.1",
			says("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n").then("close"), bad()},
		{"a head of 100 KiB", "9110 5.4", field("X: " + strings.Repeat("a", 100<<10) + "\r\n"), bad()},
		{"a head of 1000 fields", "9110 5.4", field(strings.Repeat("X: y\r\n", 1000)), bad()},
		{"an endless head", "9110 5.4", says(ok + strings.Repeat("X: evil\r\n", 1<<18)), bad()},
		{"what Connection names", "9110 7.6.1",
			says(ok + "Connection: X-Gone\r\nX-Gone: x4242\r\nContent-Length: 4\r\n\r\ngood"),
			whole("good").kept().hiding("4242", "X-Gone")},
		{"Keep-Alive", "9110 7.6.1",
			says(ok + "Connection: keep-alive\r\nKeep-Alive: timeout=4242\r\nContent-Length: 4\r\n\r\ngood"),
			whole("good").kept().hiding("4242")},
		{"Proxy-Connection", "9110 7.6.1",
			says(ok + "Proxy-Connection: x4242\r\nContent-Length: 4\r\n\r\ngood"), whole("good").kept().hiding("4242")},
		{"Upgrade without 101", "9110 7.8",
			says(ok + "Upgrade: h2c\r\nContent-Length: 4\r\n\r\ngood"), whole("good").kept().hiding("h2c")},
		{"Date is added", "9110 6.6.1",
			says(ok + "Content-Length: 4\r\n\r\ngood"), whole("good").kept().showing("\r\nDate: ")},
		{"Date is kept", "9110 6.6.1",
			says(ok + "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 4\r\n\r\ngood"),
			whole("good").kept().showing("1994")},
		{"Connection: close is edge's alone", "9112 9.6",
			says(ok + "Connection: close\r\nContent-Length: 4\r\n\r\ngood").then("close"), whole("good")},
	})
}

func originBodyCases(t *testing.T) {
	chunks := func(body string) play { return says(ok + "Transfer-Encoding: chunked\r\n\r\n" + body) }
	// later sends the body after a head that has arrived, so that the head is relayed.
	later := func(body string) play { return says(ok+"Transfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n", body) }
	const fours = "Content-Length: 4\r\n\r\n"
	head := "HEAD /{id} HTTP/1.1\r\n" + host + "\r\n"
	save := "POST /{id} HTTP/1.1\r\n" + host + "Content-Length: 2\r\n\r\nok"
	replies(t, []reply{
		{"chunked", "9112 7.1", chunks("4\r\ngood\r\n0\r\n\r\n"), whole("good").kept()},
		{"extensions", "9112 7.1.1", chunks("4;x=evil\r\ngood\r\n0;evil\r\n\r\n"), whole("good").kept()},
		{"to the end", "9112 6.3", says(ok + "\r\ngood").then("close"), whole("good")},
		{"to the end, half closed", "9112 6.3", says(ok + "\r\ngood").then("half"), whole("good")},
		{"HTTP/1.0", "9112 6.3", says("HTTP/1.0 200 OK\r\n\r\ngood").then("close"), whole("good").showing("Via: 1.0 ")},
		{"to the end, for HTTP/1.0", "9112 9.3", says(ok + "\r\ngood").then("close"),
			whole("good").to(first("GET /{id} HTTP/1.0")).ends()},
		{"chunked, for HTTP/1.0", "9112 7.1", chunks("4\r\ngood\r\n0\r\n\r\n"),
			whole("good").kept().to(first("GET /{id} HTTP/1.0")).ends().hiding("chunked")},
		{"chunked, for HTTP/1.0 with keep-alive", "9112 7.1", chunks("4\r\ngood\r\n0\r\n\r\n"),
			whole("good").kept().to(first("GET /{id} HTTP/1.0\r\nConnection: keep-alive")).ends().hiding("chunked")},
		{"LF behind a size", "9112 7.1", chunks("4\nevil\r\n0\r\n\r\n"), severed()},
		{"LF behind a chunk", "9112 7.1", chunks("4\r\ngood\n0\r\n\r\n"), severed()},
		{"LF for the end", "9112 7.1", chunks("4\r\ngood\r\n0\n\n"), severed()},
		{"LF in an extension", "9112 7.1.1", chunks("4;a\nb\r\nevil\r\n0\r\n\r\n"), severed()},
		{"CR behind a size", "9112 7.1", chunks("4\revil\r\n0\r\n\r\n"), severed()},
		{"no hex", "9112 7.1", chunks("x\r\nevil\r\n0\r\n\r\n"), severed()},
		{"a prefix", "9112 7.1", chunks("0x4\r\nevil\r\n0\r\n\r\n"), severed()},
		{"a minus", "9112 7.1", chunks("-4\r\nevil\r\n0\r\n\r\n"), severed()},
		{"blanks behind a size", "9112 7.1", chunks("4  \r\ngood\r\n0 \t\r\n\r\n"), whole("good").kept()},
		{"blanks and LF behind a size", "9112 7.1", chunks("4 \nevil\r\n0\r\n\r\n"), severed()},
		{"a blank before a size", "9112 7.1", chunks(" 4\r\nevil\r\n0\r\n\r\n"), severed()},
		{"a blank in a size", "9112 7.1", chunks("0 4\r\nevil\r\n0\r\n\r\n"), severed()},
		{"NUL behind a size", "9112 7.1", chunks("4\x00\r\nevil\r\n0\r\n\r\n"), severed()},
		{"2^64 and four", "9112 7.1", chunks("10000000000000004\r\nevil\r\n0\r\n\r\n"), severed()},
		{"a chunk too long", "9112 7.1", chunks("4\r\ngood+evil\r\n0\r\n\r\n"), severed()},
		{"a chunk too short", "9112 7.1", chunks("5\r\ngood\r\n0\r\n\r\n"), severed()},
		{"endless extension", "9112 7.1.1", chunks("4;" + strings.Repeat("evil", 1<<14)), severed()},
		{"no hex, later", "9112 7.1", later("x\r\nevil\r\n0\r\n\r\n"), severed()},
		{"LF behind a size, later", "9112 7.1", later("4\nevil\r\n0\r\n\r\n"), severed()},
		{"overflow, later", "9112 7.1", later("fffffffffffffffff\r\nevil"), severed()},
		{"gone in a chunk", "9112 8", chunks("8\r\ngood").then("close"), severed()},
		{"gone in a size", "9112 8", chunks("4\r\ngood\r\n1").then("close"), severed()},
		{"gone between chunks", "9112 8", chunks("4\r\ngood\r\n").then("close"), severed()},
		{"gone before the end", "9112 8", chunks("4\r\ngood\r\n0\r\n").then("close"), severed()},
		{"gone in a trailer", "9112 8", chunks("4\r\ngood\r\n0\r\nX: ").then("close"), severed()},
		{"half closed in a chunk", "9112 8", chunks("8\r\ngood").then("half"), severed()},
		{"reset in a chunk", "9112 8", chunks("8\r\ngood").then("reset"), severed()},
		{"too little", "9112 8", says(ok + "Content-Length: 8\r\n\r\ngood").then("close"), severed()},
		{"too little, half closed", "9112 8", says(ok + "Content-Length: 8\r\n\r\ngood").then("half"), severed()},
		{"too little, reset", "9112 8", says(ok + "Content-Length: 8\r\n\r\ngood").then("reset"), severed()},
		{"nothing of a length", "9112 8", says(ok + "Content-Length: 8\r\n\r\n").then("close"), severed()},
		{"to the end, reset", "9112 8", says(ok + "\r\ngood").then("reset"), severed()},
		{"too much", "9112 6.3", says(ok + fours + "goodevil"), whole("good")},
		{"cut off, for HTTP/1.0", "9112 8",
			play{say: chunks("4\r\ngood\r\n").say, cue: make(chan bool), end: "close"},
			severed().to(first("GET /{id} HTTP/1.0"))},
		{"too little, for HTTP/1.0", "9112 8", says(ok + "Content-Length: 8\r\n\r\ngood").then("close"),
			severed().to(first("GET /{id} HTTP/1.0"))},
		{"CRLF after a length", "9112 6.3", says(ok + fours + "good\r\n"), whole("good")},
		{"CRLF after a length, POST", "9112 6.3", says(ok + fours + "good\r\n"), whole("good").to(save)},
		{"CRLF after a length, for HTTP/1.0", "9112 6.3", says(ok + fours + "good\r\n"),
			whole("good").to(first("GET /{id} HTTP/1.0")).ends()},
		{"too much of chunks", "9112 7.1", chunks("4\r\ngood\r\n0\r\n\r\nevil"), whole("good")},
		{"two answers", "9112 9.2", says(ok + fours + "good" + ok + fours + "evil"), whole("good")},
		{"three answers", "9112 9.2",
			says(ok + fours + "good" + ok + fours + "evil" + ok + fours + "evil"), whole("good")},
		{"an answer to HEAD with a body", "9110 9.3.2", says(ok + fours + "evil"), whole("").to(head)},
		{"an answer to HEAD in chunks", "9110 9.3.2", chunks("4\r\nevil\r\n0\r\n\r\n"), whole("").to(head)},
		{"an answer to HEAD with a length alone", "9110 9.3.2",
			says(ok + fours), whole("").to(head).kept().showing("Content-Length: 4\r\n")},
		{"204 with a body", "9110 15.3.5", says("HTTP/1.1 204 No\r\n\r\nevil"), whole("").code(204)},
		{"204 with a length", "9110 8.6",
			says("HTTP/1.1 204 No\r\nContent-Length: 4\r\n\r\nevil"), whole("").code(204)},
		{"204 with length zero", "9110 8.6",
			says("HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n"), badOr(whole("").code(204)).kept()},
		{"204 in chunks", "9112 6.1",
			says("HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n"),
			whole("").code(204)},
		{"204 with an empty chunk, POST", "9112 6.3",
			says("HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), whole("").code(204).to(save)},
		{"304 with a body", "9110 15.4.5", says("HTTP/1.1 304 No\r\n\r\nevil"), whole("").code(304)},
		{"304 with a length and a body", "9110 15.4.5",
			says("HTTP/1.1 304 No\r\n" + fours + "evil"), whole("").code(304)},
		{"304 with a length alone", "9110 15.4.5", says("HTTP/1.1 304 No\r\n" + fours), whole("").code(304).kept()},
		{"trailers", "9110 6.5",
			chunks("4\r\ngood\r\n0\r\nX-Sum: 1\r\n\r\n"), whole("good").kept().showing("X-Sum: 1")},
		{"trailers for who asks", "9110 6.5", chunks("4\r\ngood\r\n0\r\nX-Sum: 4242\r\n\r\n"),
			whole("good").kept().to(req("Connection: TE\r\nTE: trailers\r\n")).showing("\r\n0\r\nX-Sum: 4242\r\n\r\n")},
		{"trailers for HTTP/1.0", "9110 6.5", chunks("4\r\ngood\r\n0\r\nX-Sum: 4242\r\n\r\n"),
			whole("good").kept().to(first("GET /{id} HTTP/1.0")).ends().hiding("4242")},
		{"a trailer of framing", "9110 6.5.1",
			chunks("4\r\ngood\r\n0\r\nContent-Length: 4242\r\n\r\n"),
			badOr(whole("good")).kept().hiding("4242").maybeCut()},
		{"a trailer of coding", "9110 6.5.1",
			chunks("4\r\ngood\r\n0\r\nTransfer-Encoding: x4242\r\n\r\n"),
			badOr(whole("good")).kept().hiding("4242").maybeCut()},
		{"a trailer of a cookie", "9110 6.5.1",
			chunks("4\r\ngood\r\n0\r\nSet-Cookie: x=4242\r\n\r\n"),
			badOr(whole("good")).kept().hiding("4242").maybeCut()},
		{"a trailer of the connection", "9110 6.5.1",
			chunks("4\r\ngood\r\n0\r\nConnection: x4242\r\n\r\n"),
			badOr(whole("good")).kept().hiding("4242").maybeCut()},
		{"a trailer that Connection names", "9110 7.6.1",
			says(ok + "Connection: x-gone\r\nTransfer-Encoding: chunked\r\n\r\n" +
				"4\r\ngood\r\n0\r\nX-Gone: 4242\r\nX: y\r\n\r\n"),
			whole("good").kept().hiding("4242").showing("X: y\r\n")},
		{"a trailer with NUL", "9112 7.1.2", chunks("4\r\ngood\r\n0\r\nX: \x00\r\n\r\n"), severed()},
		{"a trailer with LF", "9112 7.1.2", chunks("4\r\ngood\r\n0\r\nX: y\n\r\n"), severed()},
		{"a trailer without colon", "9112 7.1.2", chunks("4\r\ngood\r\n0\r\nevil\r\n\r\n"), severed()},
		{"endless trailers", "9110 6.5",
			chunks("4\r\ngood\r\n0\r\n" + strings.Repeat("X: evil\r\n", 1<<16)), severed()},
	})
}

// maybeCut: nothing is asked beyond what is hidden.
func (o outcome) maybeCut() outcome { o.lax = true; return o }

func originOrderCases(t *testing.T) {
	const fours = "Content-Length: 4\r\n\r\n"
	const final = ok + fours + "good"
	const websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
	body := post("Content-Length: 5\r\n", "hello")
	replies(t, []reply{
		{"gone at once", "9112 9.5", says("").then("close"), bad()},
		{"gone behind a byte", "9112 9.5", says("H").then("close"), bad()},
		{"gone in the status line", "9112 8", says("HTTP/1.1 20").then("close"), bad()},
		{"gone behind the status line", "9112 8", says(ok).then("close"), bad()},
		{"gone in the head", "9112 8", says(ok + "Content-Le").then("close"), bad()},
		{"gone before the empty line", "9112 8", says(ok + "Content-Length: 4\r\n").then("close"), bad()},
		{"half closed in the head", "9112 8", says(ok + "Content-Le").then("half"), bad()},
		{"half closed at once", "9112 9.5", says("").then("half"), bad()},
		{"reset at once", "9112 9.5", says("").then("reset"), bad()},
		{"reset in the head", "9112 9.5", says(ok + "Content-Le").then("reset"), bad()},
		{"reset behind the answer", "9112 9.5", says(final).then("reset"), badOr(whole("good"))},
		{"gone at once, POST", "9112 9.3.1", says("").then("close"), bad().to(body)},
		{"reset at once, POST", "9112 9.3.1", says("").then("reset"), bad().to(body)},
		{"gone in the head, POST", "9112 9.3.1", says(ok + "Content-Le").then("close"), bad().to(body)},
		{"gone at once, POST without a body", "9112 9.3.1", says("").then("close"), bad().to(post("", ""))},
		{"gone at once, POST in chunks", "9112 9.3.1", says("").then("close"),
			bad().to(chunked("5\r\nhello\r\n0\r\n\r\n"))},
		{"100", "9110 15.2.1", says("HTTP/1.1 100 Continue\r\n\r\n" + final), whole("good").kept()},
		{"103", "9110 15.2",
			says("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", final),
			whole("good").kept().showing("103 ", "</a>")},
		{"102", "9110 15.2", says("HTTP/1.1 102 Processing\r\n\r\n", final), whole("good").kept()},
		{"103 for HTTP/1.0", "9110 15.2", says("HTTP/1.1 103 Early Hints\r\n\r\n", final),
			whole("good").kept().to(first("GET /{id} HTTP/1.0")).ends().hiding("103 ")},
		{"six interim heads", "9110 15.2",
			says(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 6) + final), whole("good").kept()},
		{"twenty interim heads", "9110 15.2",
			says(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 20) + final), whole("good").kept()},
		{"100 behind twenty others", "9110 10.1.1",
			says(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 20) + "HTTP/1.1 100 Continue\r\n\r\n" + final).
				atOnce().then("rest"),
			whole("good").kept().to(post("Expect: 100-continue\r\nContent-Length: 5\r\n", "hello")).
				showing("100 Continue")},
		{"a thousand interim heads", "9110 15.2",
			says(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 1000) + final), bad()},
		{"an interim head with a length", "9110 8.6",
			says("HTTP/1.1 103 x\r\n" + fours + final), badOr(whole("good")).kept()},
		{"an interim head with a coding", "9112 6.1",
			says("HTTP/1.1 103 x\r\nTransfer-Encoding: chunked\r\n\r\n" + final), badOr(whole("good")).kept()},
		{"an interim head with NUL", "9110 5.5", says("HTTP/1.1 103 x\r\nX: \x00\r\n\r\n" + final), bad()},
		{"an interim head alone", "9110 15.2", says("HTTP/1.1 100 Continue\r\n\r\n").then("close"), bad()},
		{"an unasked 101", "9110 15.2.2", says("HTTP/1.1 101 Switching Protocols\r\n\r\nevil"), bad()},
		{"an unasked 101 with Upgrade", "9110 15.2.2",
			says("HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: evil\r\n\r\nevil"), bad()},
		{"an unasked 101 behind 100", "9110 15.2.2",
			says("HTTP/1.1 100 x\r\n\r\nHTTP/1.1 101 x\r\nUpgrade: evil\r\n\r\n"), bad()},
		{"an unasked 101 to POST", "9110 15.2.2", says("HTTP/1.1 101 x\r\nUpgrade: evil\r\n\r\n"), bad().to(body)},
		{"a 101 to Upgrade: h2c", "9113 3.1", says("HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nevil"),
			bad().to(req("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n")).
				mayEnd()},
		{"a 101 that was asked for", "9110 7.8",
			says("HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").then("close"),
			whole("").code(101).to(req(websocket)).ends().showing("Upgrade: websocket\r\n")},
		{"a 101 to another protocol", "9110 7.8",
			says("HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: evil\r\n\r\nevil"),
			bad().to(req(websocket)).mayEnd()},
		{"a 101 without Upgrade", "9110 15.2.2",
			says("HTTP/1.1 101 x\r\n\r\nevil"), bad().to(req(websocket)).mayEnd()},
		{"a 101 to HTTP/1.0", "9110 7.8", says("HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\nevil"),
			bad().to(first("GET /{id} HTTP/1.0\r\n" + strings.TrimSuffix(websocket, "\r\n"))).mayEnd()},
		{"before the body is read", "9112 9.3", says(final).atOnce().then("rest"), whole("good").to(body).kept()},
		{"before the body is sent", "9112 9.3", says(final).atOnce().then("rest"),
			whole("good").kept().to(post("Content-Length: 500000\r\n", strings.Repeat("x", 500000))).mayEnd()},
		{"before the body, then gone", "9112 9.3", says(final).atOnce().then("close"),
			badOr(whole("good")).to(post("Content-Length: 500000\r\n", strings.Repeat("x", 500000))).mayEnd()},
	})
}

// mayEnd: the connection to the client may close after the answer.
func (o outcome) mayEnd() outcome { o.lax = true; return o }
