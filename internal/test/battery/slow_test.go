package battery

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// shortTime is the one short timeout of a case in which a client is late: the one that the case tests.
const shortTime = 250 * time.Millisecond

// inProcess is a lane whose edge is a proxy in this process: edge.toml cannot shorten all that is in its options. What
// they leave open is longer than patience.
func inProcess(t *testing.T, o session.ServerOptions) *lane {
	t.Helper()
	for _, d := range []*time.Duration{
		&o.HeaderTimeout, &o.BodyTimeout, &o.SendTimeout, &o.IdleTimeout, &o.HalfCloseWait,
	} {
		if *d == 0 {
			*d = 5 * time.Minute
		}
	}
	l := &lane{origin: newOrigin(t)}
	s := &edge.Server{
		Addr: "127.0.0.1:0", Routes: []proxy.Route{{Path: "/", To: edge.Backends(l.addr)}},
		Grace: time.Second, Session: o,
	}
	s.Engine.Reactors = 1
	testutil.Must(t, s.Start())
	t.Cleanup(func() { s.Shutdown(t.Context()) })
	l.edge = s.ListenAddr()
	return l
}

func (l *lane) dial(t *testing.T) net.Conn {
	t.Helper()
	c := testutil.Dial(t, l.edge).Conn()
	c.SetDeadline(time.Now().Add(patience))
	return c
}

// drip writes piece by piece; the first error ends it, since edge may have answered and closed.
func drip(c net.Conn, pieces []string, every time.Duration) error {
	tick := time.NewTicker(max(every, time.Microsecond))
	defer tick.Stop()
	for _, p := range pieces {
		if _, err := io.WriteString(c, p); err != nil {
			return err
		}
		if every > 0 {
			<-tick.C
		}
	}
	return nil
}

func byteByByteCases(t *testing.T) {
	t.Parallel()
	l := newLane(t)
	for _, c := range []struct{ name, rfc, send, method, body string }{
		{"GET", "9112 2.2", req("X: y\r\n"), "GET", ""},
		{"HEAD", "9112 2.2", "HEAD /{id} HTTP/1.1\r\n" + host + "\r\n", "HEAD", ""},
		{"an empty line in front", "9112 2.2", "\r\n" + req(""), "GET", ""},
		{"a length", "9112 6.2", post("Content-Length: 5\r\n", "hello"), "POST", "hello"},
		{"chunks", "9112 7.1", chunked("5;a=b\r\nhello\r\n0\r\n\r\n"), "POST", "hello"},
		{"chunks and a trailer", "9112 7.1.2", chunked("5\r\nhello\r\n0\r\nX: y\r\n\r\n"), "POST", "hello"},
		{"Expect", "9110 10.1.1", post("Expect: 100-continue\r\nContent-Length: 5\r\n", "hello"), "POST", "hello"},
		{"absolute form", "9112 3.2.2", "GET http://battery.test/{id} HTTP/1.1\r\n" + host + "\r\n", "GET", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			judge(t, c.rfc, func() error {
				return l.passes(t, strings.Split(strings.ReplaceAll(c.send, "{id}", l.next()), ""), c.body)
			})
		})
	}
}

// passes sends a request in pieces and wants it to pass.
func (l *lane) passes(t *testing.T, pieces []string, body string) error {
	t.Helper()
	c := l.dial(t)
	go drip(c, pieces, 0)
	h := listen(c, methodOf(strings.Join(pieces, "")), 1)
	c.Close()
	if len(h.answers) != 1 || h.answers[0].status() != 200 {
		return fmt.Errorf("the client got %s", h)
	}
	seen, wrong, _ := l.take(t)
	if len(seen) != 1 || wrong != nil || seen[0].body != body {
		return fmt.Errorf("the origin saw %d requests, %q", len(seen), wrong)
	}
	return nil
}

func cutAnywhereCases(t *testing.T) {
	t.Parallel()
	l := newLane(t)
	for _, c := range []struct{ name, rfc, send, body string }{
		{"GET", "9112 2.2", req("X: y\r\nConnection: keep-alive\r\n"), ""},
		{"a length", "9112 6.2", post("Content-Length: 5\r\n", "hello"), "hello"},
		{"chunks", "9112 7.1", chunked("5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n"), "hello"},
	} {
		t.Run(c.name, func(t *testing.T) {
			judge(t, c.rfc, func() error {
				send := strings.ReplaceAll(c.send, "{id}", l.next())
				for i := 1; i < len(send); i++ {
					if err := l.passes(t, []string{send[:i], send[i:]}, c.body); err != nil {
						return fmt.Errorf("cut behind %q: %w", send[:i], err)
					}
				}
				return nil
			})
		})
	}
}

// late is a client that is too slow for one time of edge.
type late struct {
	name, rfc string
	send      string
	drips     bool   // bytes after it, each before any timeout between two reads is over, without an end
	status    int    // 0: closed without an answer
	first     string // a whole request before it, which is answered
}

func lateCases(t *testing.T) {
	t.Parallel()
	head := session.ServerOptions{HeaderTimeout: shortTime}
	lates(t, head, []late{
		{name: "silent", rfc: "9112 9.5"},
		{name: "a byte of a head", rfc: "9110 15.5.9", send: "G", status: 408},
		{name: "half a request line", rfc: "9110 15.5.9", send: "GET / HT", status: 408},
		{name: "half a head", rfc: "9110 15.5.9", send: "GET / HTTP/1.1\r\nHost: b", status: 408},
		{name: "a head without its end", rfc: "9110 15.5.9", send: "GET / HTTP/1.1\r\nHost: b\r\n", status: 408},
		{name: "half a second head", rfc: "9110 15.5.9", first: req(""), send: "GET / HT", status: 408},
		{name: "a head byte by byte", rfc: "9110 15.5.9", send: "GET /", drips: true, status: 408},
		{name: "a field byte by byte", rfc: "9110 15.5.9", send: "GET / HTTP/1.1\r\nX: ", drips: true, status: 408},
		{
			name: "a second head byte by byte", rfc: "9110 15.5.9",
			first: req(""), send: "GET /", drips: true, status: 408,
		},
	})
	lates(t, session.ServerOptions{IdleTimeout: shortTime}, []late{
		{name: "silent behind an answer", rfc: "9112 9.5", first: req("")},
	})
	lates(t, session.ServerOptions{BodyTimeout: shortTime}, []late{
		{name: "no body", rfc: "9110 15.5.9", send: post("Content-Length: 5\r\n", ""), status: 408},
		{name: "half a body", rfc: "9110 15.5.9", send: post("Content-Length: 5\r\n", "he"), status: 408},
		{name: "no chunk", rfc: "9110 15.5.9", send: chunked(""), status: 408},
		{name: "half a chunk", rfc: "9110 15.5.9", send: chunked("5\r\nhe"), status: 408},
		{name: "half a size", rfc: "9110 15.5.9", send: chunked("5"), status: 408},
		{name: "no last chunk", rfc: "9110 15.5.9", send: chunked("5\r\nhello\r\n"), status: 408},
		{name: "half a trailer", rfc: "9110 15.5.9", send: chunked("5\r\nhello\r\n0\r\nX: "), status: 408},
	})
	head.H2C = true
	lates(t, head, []late{
		{name: "silent where HTTP/2 is allowed", rfc: "9112 9.5"},
		{name: "a byte that may begin HTTP/2", rfc: "9110 15.5.9", send: "P", status: 408},
		{name: "half a method where HTTP/2 is allowed", rfc: "9110 15.5.9", send: "PO", status: 408},
	})
}

func lates(t *testing.T, o session.ServerOptions, cases []late) {
	l := inProcess(t, o)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { judge(t, c.rfc, func() error { return l.late(t, &c) }) })
	}
}

// inTime is f when it was quick enough. A case that fails after half of a short timeout of edge may have been late
// itself, on a machine that stalled, and is tried again.
func inTime(f func() error) error {
	for end := time.Now().Add(patience); ; {
		begun := time.Now()
		if err := f(); err == nil || time.Since(begun) < shortTime/2 || begun.After(end) {
			return err
		}
	}
}

func (l *lane) late(t *testing.T, p *late) error {
	t.Helper()
	id := l.next()
	var c net.Conn
	var in *bufio.Reader
	err := inTime(func() error {
		c = l.dial(t)
		if in = bufio.NewReader(c); p.first == "" {
			return nil
		}
		io.WriteString(c, strings.ReplaceAll(p.first, "{id}", id))
		if m, err := readAnswer(in, "GET"); err != nil || m.status() != 200 {
			return fmt.Errorf("the first request: %v %w", m, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	go func() {
		piece, every := []string{strings.ReplaceAll(p.send, "{id}", id)}, 30*time.Millisecond
		for drip(c, piece, every) == nil && p.drips {
			piece = []string{"x"}
		}
	}()
	m, err := readAnswer(in, "GET")
	switch {
	case p.status == 0 && err != io.EOF:
		return fmt.Errorf("%v, want the end", err)
	case p.status != 0 && (err != nil || m.status() != p.status):
		return fmt.Errorf("%v %v, want %d", m, err, p.status)
	}
	if p.status != 0 {
		if _, err := in.ReadByte(); err == nil {
			return errors.New("more behind the answer")
		}
	}
	c.Close()
	if err := inTime(func() error { return l.victim(id) }); err != nil {
		return err
	}
	_, _, raw := l.take(t)
	if strings.Contains(raw, "GET / HT") {
		return fmt.Errorf("the origin saw %q", raw)
	}
	return nil
}

// stages are the points of a request at which a client leaves.
var stages = []struct {
	name, rfc, send string
	whole           bool // the request is
}{
	{"before a byte", "9112 8", "", false},
	{"in the request line", "9112 8", "GET /{id} HT", false},
	{"in the head", "9112 8", "GET /{id} HTTP/1.1\r\nHost: b", false},
	{"before the empty line", "9112 8", "GET /{id} HTTP/1.1\r\nHost: battery.test\r\n", false},
	{"behind a head with a length", "9112 8", post("Content-Length: 5\r\n", ""), false},
	{"in a body", "9112 8", post("Content-Length: 5\r\n", "hel"), false},
	{"in a size", "9112 8", chunked("5"), false},
	{"in a chunk", "9112 8", chunked("5\r\nhel"), false},
	{"before the last chunk", "9112 8", chunked("5\r\nhello\r\n"), false},
	{"in a trailer", "9112 8", chunked("5\r\nhello\r\n0\r\nX"), false},
	{"behind a request", "9112 9.6", req(""), true},
	{"behind a request with a body", "9112 9.6", post("Content-Length: 5\r\n", "hello"), true},
	{"in the second request", "9112 9.6", req("") + "GET /", true},
}

func leaversCases(t *testing.T) {
	t.Parallel()
	l := inProcess(t, session.ServerOptions{})
	for _, how := range []string{"FIN", "RST", "half close"} {
		for _, s := range stages {
			t.Run(how+" "+s.name, func(t *testing.T) {
				judge(t, s.rfc, func() error { return l.leave(t, how, s.send, s.whole) })
			})
		}
	}
}

func (l *lane) leave(t *testing.T, how, send string, whole bool) error {
	t.Helper()
	id := l.next()
	c := l.dial(t).(*net.TCPConn)
	io.WriteString(c, strings.ReplaceAll(send, "{id}", id))
	switch how {
	case "FIN":
		c.Close()
	case "RST":
		c.SetLinger(0)
		c.Close()
	default:
		c.CloseWrite()
		h := listen(c, "GET", 1)
		if whole && (len(h.answers) != 1 || h.answers[0].body != "/"+id) {
			return fmt.Errorf("the client got %s", h)
		}
		if !whole && (len(h.answers) != 0 && h.answers[0].status() < 400 || !h.closed() && len(h.answers) == 0) {
			return fmt.Errorf("the client got %s", h)
		}
	}
	if err := l.victim(id); err != nil {
		return err
	}
	seen, wrong, _ := l.take(t) // waits until the origin has been told
	if wrong != nil {
		return fmt.Errorf("the origin saw %q", wrong)
	}
	for _, m := range seen {
		if !whole && m.word(1) == "/"+id {
			return errors.New("the origin saw half a request as a whole one")
		}
	}
	return nil
}

// abandonedCases: a client that leaves while the origin works ends its request.
func abandonedCases(t *testing.T) {
	t.Parallel()
	l := inProcess(t, session.ServerOptions{HalfCloseWait: shortTime})
	for _, c := range []struct {
		name, rfc string
		say       string // by the origin, before the client leaves
		how       string
	}{
		{"RST before the answer", "9112 9.5", "", "RST"},
		{"FIN before the answer", "9112 9.5", "", "FIN"},
		{"half close before an answer that never comes", "9112 9.5", "", "half"},
		{"RST in the answer", "9112 9.5", ok + "Content-Length: 100\r\n\r\nhalf", "RST"},
		{"RST in chunks", "9112 9.5", ok + "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", "RST"},
		{"RST behind 103", "9112 9.5", "HTTP/1.1 103 Early Hints\r\n\r\n", "RST"},
	} {
		t.Run(c.name, func(t *testing.T) {
			judge(t, c.rfc, func() error { return l.abandon(t, c.say, c.how) })
		})
	}
}

func (l *lane) abandon(t *testing.T, say, how string) error {
	t.Helper()
	id := l.next()
	p := &play{say: []string{say}, closed: make(chan bool, 1)}
	l.note(func() { l.plays["/"+id] = p })
	c := l.dial(t).(*net.TCPConn)
	io.WriteString(c, strings.ReplaceAll(req(""), "{id}", id))
	if say != "" {
		if _, err := c.Read(make([]byte, 1)); err != nil {
			return err
		}
	} else {
		testutil.Eventually(t, patience, func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return times(l.seen, "GET", "/"+id) > 0
		}, "the origin has the request")
	}
	switch how {
	case "half":
		c.CloseWrite()
	case "RST":
		c.SetLinger(0)
		fallthrough
	default:
		c.Close()
	}
	if err := p.left(); err != nil {
		return err
	}
	l.take(t)
	return l.victim(id)
}

// greedyCases (RFC 9110 17.5) sends what no limit allows; the peak of the process's memory is bounded.
func greedyCases(t *testing.T) {
	t.Parallel()
	l := newLane(t)
	testutil.Must(t, l.victim("warm"))
	l.take(t)
	const last = "0\r\n\r\n"
	mib := func(n int) string { return strings.Repeat("a", n<<20) }
	for _, p := range []probe{
		{"a chunk extension of 16 MiB", "9112 7.1.1", chunked("5;" + mib(16) + "\r\nhello\r\n" + last), refuse(400)},
		{"trailers of 16 MiB", "9110 6.5",
			chunked("5\r\nhello\r\n0\r\n" + strings.Repeat("X: aaaaaaaaaaaa\r\n", 1<<20) + "\r\n"),
			refuse(400, 431)},
		{"a trailer of 16 MiB", "9110 6.5", chunked("5\r\nhello\r\n0\r\nX: " + mib(16) + "\r\n\r\n"), refuse(400, 431)},
		{"bytes in chunks with 1 KiB of extension", "9112 7.1.1",
			chunked(strings.Repeat("1;"+strings.Repeat("a", 1<<10)+"\r\nx\r\n", 16<<10) + last), refuse(400)},
		{"bytes in chunks with 250 bytes of extension", "9112 7.1.1",
			chunked(strings.Repeat("1;"+strings.Repeat("a", 249)+"\r\nx\r\n", 64<<10) + last), refuse(400)},
		{"a field of 10 MiB", "9110 5.4", req("X: " + mib(10) + "\r\n"), refuse(431)},
		{"a name of 10 MiB", "9110 5.4", req(mib(10) + ": x\r\n"), refuse(431)},
		{"a line without colon of 10 MiB", "9110 5.4", req(mib(10)), refuse(400, 431)},
		{"a million fields", "9110 5.4", req(strings.Repeat("X: y\r\n", 1e6)), refuse(431)},
		{"a million fields without an end", "9110 5.4",
			"GET / HTTP/1.1\r\n" + strings.Repeat("X: y\r\n", 1e6), refuse(431)},
		{"a request line of 10 MiB", "9112 3", first("GET /" + mib(10) + " HTTP/1.1"), refuse(414)},
		{"a method of 10 MiB", "9112 3", first(mib(10) + " / HTTP/1.1"), refuse(400, 414, 501)},
		{"a version of 10 MiB", "9112 3", first("GET / HTTP/1.1" + mib(10)), refuse(400, 414, 505)},
		{"a million empty lines", "9112 2.2", strings.Repeat("\r\n", 1e6), refuse(400)},
		{"10 MiB of NUL", "9112 3", strings.Repeat("\x00", 10<<20), refuse(400, 414)},
		{"10 MiB of LF", "9112 2.2", strings.Repeat("\n", 10<<20), refuse(400)},
		{"a Host of 16 KiB", "9112 3.2",
			"GET / HTTP/1.1\r\nHost: " + strings.Repeat("a", 15<<10) + "\r\n\r\n", either(200, 400, 431).as("/")},
	} {
		t.Run(p.name, func(t *testing.T) {
			judge(t, p.rfc, func() error {
				err := l.probe(t, p, false)
				if err != nil && len(err.Error()) > 1000 {
					err = errors.New(err.Error()[:1000])
				}
				return err
			})
		})
	}
	t.Run("memory", func(t *testing.T) {
		judge(t, "9112 3", func() error {
			if peak := l.peak(t); peak > 96<<10 {
				return fmt.Errorf("the process took %d KiB at its peak", peak)
			}
			return nil
		})
	})
}

// peak returns the most memory that the process had, in KiB.
func (l *lane) peak(t *testing.T) (kib int) {
	t.Helper()
	text := testutil.ReadFile(t, fmt.Sprintf("/proc/%d/status", l.PID()))
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	fmt.Sscan(rest, &kib)
	return kib
}

// limitsCases are those of a listener's file: what is at a limit passes, what is above does not.
func limitsCases(t *testing.T) {
	t.Parallel()
	l := newTunedLane(t, "limits.body_size = \"100k\"\nlimits.header_size = \"1k\"\nlimits.header_count = 4\n", "")
	const most, large = 100 << 10, 1 << 20
	sized := func(n int) string {
		return post(fmt.Sprintf("Content-Length: %d\r\n", n), strings.Repeat("x", n))
	}
	pieces := func(n int) string { return chunked(fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", n, strings.Repeat("x", n))) }
	// filled is a request whose head has n bytes.
	filled := func(n int) string {
		head := strings.ReplaceAll(req("X: \r\n"), "{id}", "c00")
		return strings.Replace(req("X: \r\n"), "X: ", "X: "+strings.Repeat("a", n-len(head)), 1)
	}
	refused := answer(413).tells("Connection: close\r\n").only().close()
	for _, p := range []probe{
		{"a body at the limit", "9110 15.5.14", sized(most), pass().with(strings.Repeat("x", most))},
		{"chunks at the limit", "9110 15.5.14", pieces(most), pass().with(strings.Repeat("x", most))},
		{"a body above", "9110 15.5.14", sized(most + 1), refused},
		{"a body far above", "9110 15.5.14", sized(large), refused},
		{"a body above that waits for 100", "9110 10.1.1",
			post("Expect: 100-continue\r\nContent-Length: 1000000000\r\n", ""), refused.keepsBack(" 100 ")},
		{"chunks above", "9110 15.5.14", pieces(most + 1), answer(413)},
		{"chunks far above", "9110 15.5.14", pieces(large), answer(413).only().close()},
		{"a head at the limit", "9110 5.4", filled(1 << 10), pass()},
		{"a head above", "9110 5.4", filled(1<<10 + 1), refuse(431)},
		{"fields at the limit", "9110 5.4", req("A: b\r\nA: b\r\nA: b\r\n"), pass()},
		{"fields above", "9110 5.4", req("A: b\r\nA: b\r\nA: b\r\nA: b\r\n"), refuse(431)},
	} {
		t.Run(p.name, func(t *testing.T) {
			judge(t, p.rfc, func() error {
				l.n = 9 + l.n%90 // names of one length
				err := l.probe(t, p, false)
				if err != nil && len(err.Error()) > 1000 {
					err = errors.New(err.Error()[:1000])
				}
				return err
			})
		})
	}
}

// pipelinedCases: RFC 9112 9.3.2, 20 000 requests whose answers nobody reads. Edge stops reading, keeps
// little, and when somebody reads at last, every answer is there and in order.
func pipelinedCases(t *testing.T) {
	t.Parallel()
	l := newLane(t)
	judge(t, "9112 9.3.2", func() error {
		const requests = 20_000
		pad := strings.Repeat("p", 2000)
		c := l.dial(t)
		c.SetDeadline(time.Time{})
		go func() {
			for i := range requests {
				fmt.Fprintf(c, "GET /%d-%s HTTP/1.1\r\n%s\r\n", i, pad, host)
			}
		}()
		stopped := func() bool {
			l.mu.Lock()
			n := l.began
			l.mu.Unlock()
			<-time.After(300 * time.Millisecond)
			l.mu.Lock()
			defer l.mu.Unlock()
			return n > 0 && l.began == n
		}
		testutil.Eventually(t, testutil.Patience, stopped, "edge stops reading")
		l.mu.Lock()
		begun := l.began
		l.mu.Unlock()
		if begun >= requests {
			return fmt.Errorf("the origin got all %d requests although nobody reads", begun)
		}
		if err := l.victim("pipelined"); err != nil {
			return err
		}
		if peak := l.peak(t); peak > 96<<10 {
			return fmt.Errorf("the process took %d KiB at its peak", peak)
		}
		in := bufio.NewReader(c)
		for i := range requests {
			c.SetReadDeadline(time.Now().Add(patience))
			m, err := readAnswer(in, "GET")
			if err != nil || m.body != fmt.Sprintf("/%d-%s", i, pad) {
				return fmt.Errorf("answer %d: %w", i, err)
			}
		}
		l.take(t)
		return nil
	})
}

// silentCases: RFC 9112 9.5, many connections that say nothing cost little, and nobody else waits.
func silentCases(t *testing.T) {
	t.Parallel()
	l := newLane(t)
	judge(t, "9112 9.5", func() error {
		n := 300
		if os.Getenv("EDGE_SOAK") != "" {
			n = 9000
		}
		for range n {
			l.dial(t)
		}
		for _, id := range []string{"a", "b", "c"} {
			if err := l.victim(id); err != nil {
				return err
			}
		}
		if peak := l.peak(t); peak > 96<<10 {
			return fmt.Errorf("the process took %d KiB at its peak", peak)
		}
		return nil
	})
}
