package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// visitors are clients that connect, ask once and leave, again and again.
type visitors struct {
	stop    context.CancelFunc
	clients sync.WaitGroup
	served  atomic.Int64
	cut     atomic.Int64 // were connected, and got no answer
	fault   atomic.Value // of the last one that was cut
}

// visit begins with n visitors that ask at once, and as many that are silent at first, for up to lateMost.
func visit(network, addr string, n int, lateMost time.Duration) *visitors {
	ctx, stop := context.WithCancel(context.Background())
	v := &visitors{stop: stop}
	for i := range 2 * n {
		if i >= n && lateMost == 0 {
			break
		}
		v.clients.Go(func() {
			for ctx.Err() == nil {
				conn, err := new(net.Dialer).DialContext(ctx, network, addr)
				if err != nil {
					<-time.After(rand.N(2 * time.Millisecond)) // nobody listens
					continue
				}
				if i >= n {
					<-time.After(rand.N(lateMost))
				}
				if _, err := askOnce(conn, ""); err != nil {
					v.fault.Store(err)
					v.cut.Add(1)
				} else {
					v.served.Add(1)
				}
			}
		})
	}
	return v
}

// askOnce asks on a fresh connection, with a field of its own, and closes it.
func askOnce(conn net.Conn, field string) (*http.Response, error) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(testutil.Patience)) //nolint:errcheck // the read says so
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n", field); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0) //nolint:errcheck // no TIME_WAIT: there are many
	}
	return resp, err
}

func (v *visitors) leave(t *testing.T) {
	t.Helper()
	v.stop()
	v.clients.Wait()
	if v.cut.Load() > 0 {
		t.Errorf("%d were cut, the last by: %v; %d were served", v.cut.Load(), v.fault.Load(), v.served.Load())
	}
}

// closingFile has one listener that stays and one that comes and goes.
const closingFile = quiet + `
routes = [{ pattern = "/*", dest = "status:200" }]
[[listeners]]
name = "stays"
listen = "127.0.0.1:0"
%s
`

// A reload drops an address, and another one adds it again: at once, while the sockets close, and after that. No client
// that was connected is turned away, whether it speaks at once or late.
func TestApply_dropsAndAddsAnAddressUnderClients(t *testing.T) {
	t.Parallel()
	times, clients, servedLeast := 8, 16, int64(0)
	if os.Getenv("EDGE_SOAK") != "" {
		times, clients, servedLeast = 200, 32, 100_000
	}
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			addr, listen := testutil.FreeAddr(t), ""
			if network == "unix" {
				addr = testutil.SocketPath(t)
				listen = "unix:"
			}
			with := fmt.Sprintf("[[listeners]]\nname = \"goes\"\nlisten = %q\n", listen+addr)
			s := start(t, Options{}, closingFile, with)
			v := visit(network, addr, clients, 900*time.Millisecond)
			begun, reloads := time.Now(), 0
			for i := 0; i < times || v.served.Load() < servedLeast; i++ {
				served := v.served.Load()
				testutil.Eventually(t, testutil.Patience, func() bool { return v.served.Load() > served+20 })
				apply(t, s, closingFile, "")
				if i%4 == 3 { // to its end
					testutil.Eventually(t, testutil.Patience, s.allClosed)
				} else if i%2 == 1 {
					served = v.served.Load()
					testutil.Eventually(t, testutil.Patience, func() bool {
						return v.served.Load() > served+20 || s.allClosed()
					})
				}
				apply(t, s, closingFile, with)
				reloads += 2
			}
			v.leave(t)
			t.Logf("%d served over %d reloads in %v, %d cut", v.served.Load(), reloads, time.Since(begun), v.cut.Load())
			n := counter(s, "edge_listener_requests_total", "goes")
			if served := float64(v.served.Load()); n > served || n < served-float64(times*clients) {
				t.Errorf("%v requests counted, %v served", n, served)
			}
		})
	}
}

// allClosed reports whether no listener that a reload took away has a socket left.
func (s *Server) allClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.listeners.closing {
		if !s.listeners.has(l) && !l.open.Closed() {
			return false
		}
	}
	return true
}

// The sockets of an address that is named again with other options close beside the new ones. Whichever of them takes a
// connection, what the file says now holds.
func TestApply_closingSocketsServeThePresentConfiguration(t *testing.T) {
	const listener = "[[listeners]]\nname = \"goes\"\nlisten = %q\nuser_timeout = %q\nlimits.header_size = %q\n"
	addr := testutil.FreeAddr(t)
	s := start(t, Options{}, closingFile, fmt.Sprintf(listener, addr, "7s", "32k"))
	apply(t, s, closingFile, "")
	apply(t, s, closingFile, fmt.Sprintf(listener, addr, "8s", "1k"))
	if s.listeners.closingOf("tcp4 "+addr) == nil && s.allClosed() {
		t.Log("the machine is slow: the old sockets are closed already")
	}
	for range 40 {
		conn, err := net.Dial("tcp", addr)
		testutil.Must(t, err)
		resp, err := askOnce(conn, "X: "+strings.Repeat("x", 2<<10)+"\r\n")
		if err != nil || resp.StatusCode != 431 {
			t.Fatalf("%v, %v: the head is larger than the listener takes now", resp, err)
		}
	}
}

const drainFile = "%s[http]\nlisten = %q\n[[routes]]\npattern = \"/*\"\ndest = \"status:200\"\n"

// A client that connects while a drain begins is answered, and told that the connection closes.
func TestDrain_servesThoseThatConnectMeanwhile(t *testing.T) {
	t.Parallel()
	addr := testutil.FreeAddr(t)
	s := start(t, Options{}, drainFile, quiet, addr)
	v := visit("tcp", addr, 8, 0)
	testutil.Eventually(t, testutil.Patience, func() bool { return v.served.Load() > 100 })
	silent, err := net.Dial("tcp", addr)
	testutil.Must(t, err)
	done := make(chan bool, 1)
	go func() { done <- s.Drain(testutil.Patience) }()
	testutil.Eventually(t, testutil.Patience, s.engine.Draining)
	if conn, err := net.Dial("tcp", addr); err == nil { // else the machine stood still for more than a second
		if resp, err := askOnce(conn, ""); err != nil || !resp.Close {
			t.Errorf("while draining: %v, %v", resp, err)
		}
	}
	if resp, err := askOnce(silent, ""); err != nil || !resp.Close {
		t.Errorf("who was connected before: %v, %v", resp, err)
	}
	if !<-done {
		t.Error("the drain did not end")
	}
	v.leave(t)
}

// A process that begins while another one closes its sockets waits for the address.
func TestStart_waitsForAnAddressThatIsBeingClosed(t *testing.T) {
	addr := testutil.FreeAddr(t)
	first := start(t, Options{}, drainFile, quiet, addr)
	ended := make(chan bool, 1)
	go func() { ended <- first.Drain(testutil.Patience) }()
	testutil.Eventually(t, testutil.Patience, first.engine.Draining)
	for {
		begun := time.Now()
		s, err := New(parse(t, fmt.Sprintf(drainFile, quiet, addr)), Options{})
		testutil.Must(t, err)
		t.Cleanup(func() { _ = s.Stop() })
		err = s.Start()
		if err == nil {
			break
		}
		if took := time.Since(begun); took < vacancyWait { // else the machine stands still for so long
			t.Fatalf("after %v: %v", took, err)
		}
	}
	if !<-ended {
		t.Error("the first one has not ended")
	}
}

// upgrader is a backend that opens a WebSocket where it is asked to, and else calls answer.
func upgrader(t *testing.T, answer func()) *httptest.Server {
	t.Helper()
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			answer()
			return
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
		_ = rw.Flush()
		_, _ = io.Copy(io.Discard, rw)
	}))
	t.Cleanup(o.Close)
	return o
}

// A drain is told apart by what its connections are used for, and by the routes of the tunnels. WebSockets hear 1001
// before they are cut, idle connections see the end, and both are counted.
func TestServer_draining(t *testing.T) {
	t.Parallel()
	busy, goOn := make(chan struct{}), make(chan struct{})
	o := upgrader(t, func() {
		close(busy)
		<-goOn
	})
	s := start(t, Options{}, quiet+`
listeners = [{ name = "web", listen = "127.0.0.1:0", protocols = ["h1", "h2"], limits.header_timeout = "10m" }]
upstreams.ws.backends = [{ address = %q }]
routes = [
	{ name = "chat", pattern = "/chat", dest = "ws" },
	{ name = "feed", pattern = "/feed", dest = "ws" },
	{ pattern = "/ok", dest = "status:204" },
	{ pattern = "/*", dest = "ws" },
]
`, o.Listener.Addr().String())
	addr := s.Addresses()[0].Addr.String()
	var sockets []*testutil.Wire
	for _, path := range []string{"/chat", "/feed", "/chat"} {
		w := testutil.Dial(t, addr)
		w.Send("GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		w.ReadHead()
		sockets = append(sockets, w)
	}
	idle, asking := testutil.Dial(t, addr), testutil.Dial(t, addr)
	asking.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-busy
	if status, _ := getBy(t, testutil.H2C(t), "http://"+addr+"/ok"); status != 204 {
		t.Error(status)
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return s.Conns() == 6 })
	d := s.Draining()
	want := Draining{Idle: 1, Busy: 1, H2: 1, Tunnels: 3, Routes: map[string]int{"chat": 2, "feed": 1}}
	if !reflect.DeepEqual(d, want) {
		t.Errorf("%+v", d)
	}
	text := d.String() + "; " + d.TunnelRoutes()
	if text != "1 idle, 1 busy, 1 of HTTP/2, 3 with tunnels; chat 2, feed 1" {
		t.Error(text)
	}
	var drain sync.WaitGroup
	drain.Go(func() { s.Drain(1500 * time.Millisecond) }) // whether in time is for a machine with nothing else to do
	for _, w := range sockets {
		w.Want("\x88\x02\x03\xe9")
		w.WantEnd()
		w.Close()
	}
	idle.WantEnd()
	idle.Close()
	close(goOn)
	asking.ReadAll()
	asking.Close()
	drain.Wait()
	for kind, n := range map[string]float64{"idle": 1, "tunnel": 3} {
		wantCounter(t, s, n, "edge_drain_closed_total", "web", kind)
	}
}
