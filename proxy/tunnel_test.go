package proxy_test

import (
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
)

// setTunnel starts a stage whose queues are short.
func setTunnel(t *testing.T, o stageOptions) *stage {
	t.Helper()
	o.engine.SendLow, o.engine.SendMax = 16<<10, 64<<10
	return setStage(t, o)
}

// keptLog keeps what a test looks at. Safe for any goroutine.
type keptLog struct {
	mu      sync.Mutex
	records []observe.Record // guarded by mu
}

func (l *keptLog) Append(r *observe.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := *r // what it borrows is not looked at
	kept.Fields = slices.Clone(r.Fields)
	l.records = append(l.records, kept)
}

// want waits for the n-th record and compares it.
func (l *keptLog) want(t *testing.T, n, status int, reason string) observe.Record {
	t.Helper()
	var r observe.Record
	testutil.Eventually(t, testutil.Patience, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.records) < n {
			return false
		}
		r = l.records[n-1]
		return true
	}, "no log record")
	if r.Status != status || r.Reason != reason {
		t.Fatalf("logged %d %q, want %d %q", r.Status, r.Reason, status, reason)
	}
	return r
}

const (
	upgradeX = "GET /x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
	switchX  = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: X\r\n\r\n"
)

var routeX = proxy.Route{Tunnels: proxy.Tunnels{Protocols: []string{"x"}}}

// open brings a tunnel about.
func (s *stage) open() (down, up *testutil.Wire) {
	s.t.Helper()
	down = s.client()
	down.Send(upgradeX)
	up = s.accept()
	if head := up.ReadHead(); !strings.HasSuffix(head, "\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n") {
		s.t.Fatalf("%q", head)
	}
	up.Send(switchX)
	head := down.ReadHead()
	if !strings.HasPrefix(head, "HTTP/1.1 101 Switching Protocols\r\n") ||
		!strings.HasSuffix(head, "\r\nConnection: Upgrade\r\nUpgrade: X\r\n\r\n") {
		s.t.Fatalf("%q", head)
	}
	return down, up
}

// What the client sent before it was answered waits, is no request, and comes first when the tunnel opens.
func TestTunnel_earlyBytesWait(t *testing.T) {
	s := setTunnel(t, stageOptions{route: routeX})
	down, up := s.request(upgradeX + "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n")
	up.Send(switchX + "early too")
	down.ReadHead()
	down.Want("early too")
	up.Want("GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n")
	down.Close()
	up.WantEnd()
	up.Close()
	s.settled(t)
	if r := s.log.want(t, 1, 101, ""); r.BytesIn != int64(len("GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n")) {
		t.Fatalf("%+v", r)
	}
}

// The same bytes after an upgrade that was refused are not taken for a request: the connection ends.
func TestTunnel_earlyBytesOfARefusedUpgrade(t *testing.T) {
	s := setTunnel(t, stageOptions{route: routeX})
	down, up := s.request(upgradeX + "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n")
	up.Send(okay)
	if head := down.ReadHead(); !strings.Contains(head, "\r\nConnection: close\r\n") {
		t.Fatalf("%q", head)
	}
	down.Want("ok")
	down.WantEnd()
	if n := s.stats().Exchanges; n != 1 {
		t.Fatalf("%d exchanges", n)
	}
}

// Without such bytes a refusal is an answer like any other.
func TestTunnel_refused(t *testing.T) {
	s := setTunnel(t, stageOptions{route: routeX})
	down, up := s.request(upgradeX)
	s.finish(up, down, "GET")
	down.Send(getA)
	up.ReadHead()
	s.finish(up, down, "GET")
}

func TestTunnel_resetIsPassedOn(t *testing.T) {
	s := setTunnel(t, stageOptions{route: routeX})
	down, up := s.open()
	down.Reset()
	up.WantEnd()
	down, up = s.open()
	up.Reset()
	down.WantEnd()
	s.settled(t)
	s.log.want(t, 1, 101, "client:gone")
	s.log.want(t, 2, 101, "backend:lost")
}

// A side that reads nothing stops the other one; the tunnel holds no more than its queues.
func TestTunnel_backPressure(t *testing.T) {
	s := setTunnel(t, stageOptions{route: routeX})
	down, up := s.open()
	const total = 64 << 20
	var sent atomic.Int64
	go counted(up.Conn(), total, &sent)
	testutil.Eventually(t, testutil.Patience, func() bool { return s.engine.Stats().BytesOut > 32<<10 })
	if n := s.engine.Stats().BufBytes; n > 2<<20 {
		t.Fatalf("%d bytes in buffers", n)
	}
	if n, err := io.CopyN(io.Discard, down.Conn(), total); err != nil {
		t.Fatal(n, err)
	}
}

// A drain ends tunnels near its end.
func TestTunnel_drain(t *testing.T) {
	s := setTunnel(t, stageOptions{route: routeX})
	down, up := s.open()
	drained := make(chan bool, 1)
	go func() { drained <- s.engine.Drain(2 * time.Second) }()
	down.Send("on")
	up.Want("on")
	down.WantEnd()
	up.WantEnd()
	down.Close()
	<-drained // whether in time is for a machine with nothing else to do: its last part has 25 ms
	s.log.want(t, 1, 101, "edge:drain")
}

// What is asked for and what is answered have to fit.
func TestTunnel_wrongAnswers(t *testing.T) {
	for name, c := range map[string]struct{ request, answer string }{
		"not asked":       {getA, switchX},
		"other protocol":  {upgradeX, strings.Replace(switchX, "X", "y", 1)},
		"no protocol":     {upgradeX, strings.Replace(switchX, "Upgrade: X\r\n", "", 1)},
		"no Connection":   {upgradeX, strings.Replace(switchX, "Connection: upgrade\r\n", "", 1)},
		"not allowed":     {strings.Replace(upgradeX, "Upgrade: x", "Upgrade: y", 1), switchX},
		"h2c":             {strings.Replace(upgradeX, "Upgrade: x", "Upgrade: h2c", 1), switchX},
		"before the body": {"POST" + upgradeX[3:len(upgradeX)-2] + "Content-Length: 5\r\n\r\n", switchX},
	} {
		t.Run(name, func(t *testing.T) {
			s := setTunnel(t, stageOptions{route: routeX})
			down, up := s.request(c.request)
			up.Send(c.answer)
			s.wantStatus(down, "GET", 502, "edge; error=http_protocol_error")
			s.settled(t)
		})
	}
}

// Of several protocols only one that is allowed is asked for; h2c and its settings never are.
func TestTunnel_whatIsAskedFor(t *testing.T) {
	s := setTunnel(t, stageOptions{route: routeX})
	const asks = "Connection: upgrade\r\nUpgrade: "
	for fields, want := range map[string]string{
		"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n": "",
		asks + "h2c , \tX, websocket\r\n": asks + "x\r\n",
		asks + "WebSocket\r\n":            asks + "websocket\r\n",
		asks + "other/1\r\n":              "",
		"Upgrade: websocket\r\n":          "",
	} {
		down := s.client()
		down.Send("GET / HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n")
		up := s.accept()
		head := strings.ToLower(up.ReadHead())
		if !strings.HasSuffix(head, "\r\n"+strings.ToLower(want)+"\r\n") || strings.Contains(head, "http2") ||
			strings.Contains(head, "h2c") || want == "" && strings.Contains(head, "pgrade") {
			t.Errorf("%q: %q", fields, head)
		}
		up.Send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		s.wantStatus(down, "GET", 200, "")
		down.Close()
	}
}

func TestTunnel_protocolsAreChecked(t *testing.T) {
	for _, p := range []string{"h2c", "H2", "HTTP/2.0", ""} {
		r := proxy.Route{To: proxy.Answer(200, "", ""), Tunnels: proxy.Tunnels{Protocols: []string{p}}}
		if _, err := proxy.NewSnapshot([]proxy.Route{r}, nil); err == nil {
			t.Errorf("%q is allowed", p)
		}
	}
}

func TestTunnel_connect(t *testing.T) {
	s := setTunnel(t, stageOptions{route: proxy.Route{Methods: []string{"CONNECT", "GET"}}})
	down := s.client()
	down.Send("CONNECT db.example:5432 HTTP/1.1\r\nHost: db.example:5432\r\n\r\n")
	up := s.accept()
	if head := up.ReadHead(); !strings.HasPrefix(head, "CONNECT db.example:5432 HTTP/1.1\r\n") {
		t.Fatalf("%q", head)
	}
	up.Send("HTTP/1.1 200 Established\r\nContent-Length: 3\r\n\r\nraw")
	head := down.ReadHead()
	if !strings.HasPrefix(head, "HTTP/1.1 200 Established\r\n") || strings.Contains(head, "Content-Length") ||
		strings.Contains(head, "Connection") {
		t.Fatalf("%q", head)
	}
	down.Want("raw")
	down.Send("GET / HTTP/1.1\r\n\r\n")
	up.Want("GET / HTTP/1.1\r\n\r\n")
	down.Close()
	up.WantEnd()
	up.Close()
	s.settled(t)

	// A refusal ends the connection: what follows was meant for a tunnel.
	down = s.client()
	up = s.requestOn(down, "CONNECT db.example:5432 HTTP/1.1\r\nHost: db.example:5432\r\n\r\n")
	up.Send("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
	if head := down.ReadHead(); !strings.Contains(head, "\r\nConnection: close\r\n") {
		t.Fatalf("%q", head)
	}
	down.Want("no")
	down.WantEnd()
}

func TestTunnel_connectThroughCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("no curl")
	}
	s := setTunnel(t, stageOptions{route: proxy.Route{Methods: []string{"CONNECT"}}})
	go func() {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		w := testutil.NewWire(t, c)
		w.ReadHead()
		w.Send("HTTP/1.1 200 OK\r\n\r\n")
		w.ReadHead()
		w.Send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\ninside")
		w.Close()
	}()
	out, err := exec.CommandContext(t.Context(), curl, "-sS", "--max-time", "30", "--proxytunnel", "--proxy", s.url,
		"http://inside.example/").CombinedOutput()
	if err != nil || string(out) != "inside" {
		t.Fatalf("%v %s", err, out)
	}
}

func TestTunnel_upgradeThroughCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("no curl")
	}
	s := setTunnel(t, stageOptions{})
	go func() {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		w := testutil.NewWire(t, c)
		w.ReadHead()
		w.Send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nraw bytes")
		w.Close()
	}()
	out, _ := exec.CommandContext(t.Context(), curl, "-sS", "--include", "--no-buffer", "--max-time", "30",
		"-H", "Connection: Upgrade", "-H", "Upgrade: websocket", s.url+"/").CombinedOutput()
	if got := string(out); !strings.HasPrefix(got, "HTTP/1.1 101 Switching Protocols\r\n") ||
		!strings.Contains(got, "Upgrade: websocket\r\n") {
		t.Fatalf("%q", got)
	}
}

// A backend that takes an upgrade might take the content for the new protocol, and leave what answers it in a
// connection that is used again: CVE-2026-58055. So a request with content goes on without.
func TestTunnel_isNotAskedForWithContent(t *testing.T) {
	for name, body := range map[string]string{
		"counted": "Content-Length: 5\r\n\r\nhello",
		"chunked": "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"of none": "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := setTunnel(t, stageOptions{route: routeX})
			down := s.client()
			down.Send("POST /x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n" + body)
			up := s.accept()
			if head := up.ReadHead(); strings.Contains(strings.ToLower(head), "upgrade") {
				t.Fatalf("%q", head)
			}
			if _, rest, _ := strings.Cut(body, "\r\n\r\n"); rest != "" {
				up.Want(rest)
			}
			s.finish(up, down, "POST")
			down.Close()
			down = s.client()
			down.Send("POST /x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n" + body)
			up.ReadHead()
			up.Send(switchX)
			s.wantStatus(down, "POST", 502, "edge; error=http_protocol_error")
		})
	}
	s := setTunnel(t, stageOptions{route: routeX})
	down := s.client()
	down.Send("GET /x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\nContent-Length: 0\r\n\r\n")
	if head := s.accept().ReadHead(); !strings.HasSuffix(head, "\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n") {
		t.Fatalf("%q", head)
	}
}
