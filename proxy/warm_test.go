package proxy_test

import (
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/sim"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

const (
	smallRequest   = "GET /small HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n"
	browserRequest = "GET /articles/2026/11/how-a-request-travels?utm_source=feed HTTP/1.1\r\n" +
		"Host: www.example.com\r\n" +
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) " +
		"Chrome/131.0.0.0 Safari/537.36\r\n" +
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n" +
		"Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n" +
		"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
		"Referer: https://www.example.com/articles/2026/11/\r\n" +
		"Cookie: session=4f8a2c1e9b7d4a6f8e3c5b1a9d7f2e4c; theme=dark; consent=1\r\n" +
		"Connection: keep-alive\r\n" +
		"Upgrade-Insecure-Requests: 1\r\n" +
		"Sec-Fetch-Dest: document\r\n" +
		"Sec-Fetch-Mode: navigate\r\n" +
		"Cache-Control: max-age=0\r\n\r\n"
)

var smallAnswer = "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Fri, 20 Nov 2026 10:00:00 GMT\r\n" +
	"Content-Type: text/plain\r\nContent-Length: 128\r\n\r\n" + strings.Repeat("x", 128)

// warm is a proxy on a kernel that costs next to nothing, with one client and one origin.
type warm struct {
	loop     *sim.Loop
	reactor  *engine.Reactor
	down, up poller.FD
	request  []byte
	answer   []byte
	trips    int
	last     string // what the client got last
}

func newWarm(t testing.TB, request string, route proxy.Route) *warm {
	t.Helper()
	w := &warm{loop: sim.NewLoop(), request: []byte(request), answer: []byte(smallAnswer)}
	e, err := engine.New(engine.Options{
		Reactors: 1,
		Kernel:   func(int) (poller.Kernel, error) { return w.loop, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if route.To == nil {
		route.To = to(e, "10.0.0.1:80")
	}
	s, err := proxy.NewSnapshot([]proxy.Route{route}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := proxy.New(e, s)
	srv := session.NewServer(e, p.Service(&proxy.Listener{}), session.ServerOptions{})
	var door poller.FD
	addr := poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:80")}
	if _, err := e.Listen(engine.ListenOptions{Addr: addr}, srv.Accept); err != nil {
		t.Fatal(err)
	}
	door = 3
	w.loop.OnConnect = func(fd poller.FD, _ poller.Addr) { w.up = fd }
	w.reactor = e.Reactors()[0]
	w.down = w.loop.Offer(door, poller.Addr{IP: netip.MustParseAddrPort("192.0.2.7:5555")})
	w.reactor.Tick()
	w.loop.Pump = w.pump
	for w.trips < 100 {
		w.reactor.Tick()
	}
	return w
}

// pump plays the origin when it was asked, else the client.
func (w *warm) pump() {
	if w.up != 0 {
		if up := w.loop.Sock(w.up); len(up.Sent) > 0 {
			up.Sent = up.Sent[:0]
			w.loop.Inject(w.up, w.answer)
			return
		}
	}
	down := w.loop.Sock(w.down)
	if len(down.Sent) > 0 {
		w.trips++
		if w.trips < 100 {
			w.last = string(down.Sent)
		}
		down.Sent = down.Sent[:0]
	} else if w.trips > 0 {
		return
	}
	if down.Unread() == 0 {
		w.loop.Inject(w.down, w.request)
	}
}

func (w *warm) exchange() {
	for start := w.trips; w.trips == start; {
		w.reactor.Tick()
	}
}

// A warm exchange costs four calls beside waiting, registers nothing and allocates nothing.
func TestProxy_warmExchangeCosts4CallsAndNoAllocation(t *testing.T) {
	for name, request := range map[string]string{"small": smallRequest, "browser": browserRequest} {
		w := newWarm(t, request, proxy.Route{})
		if !strings.HasPrefix(w.last, "HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(w.last, strings.Repeat("x", 128)) {
			t.Fatalf("%s: got %q", name, w.last)
		}
		before, trips := w.loop.Calls(), w.trips
		allocs := testing.AllocsPerRun(1000, w.exchange)
		c := w.loop.Calls().Minus(before)
		if n := w.trips - trips; allocs != 0 || c.IO() != 4*n || c.Add != 0 || c.Del != 0 {
			t.Errorf("%s: %v allocations, %d exchanges with %+v", name, allocs, n, c)
		}
	}
}

func benchmarkWarm(b *testing.B, request string) {
	w := newWarm(b, request, proxy.Route{})
	b.ReportAllocs()
	start := cpuTime(b)
	for b.Loop() {
		w.exchange()
	}
	b.ReportMetric(float64(cpuTime(b)-start)/float64(b.N), "cpu-ns/op")
}

// cpuTime is what this process has used of the processor, in ns: unlike time it does not count what others took.
func cpuTime(b *testing.B) int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

func BenchmarkProxy_warm(b *testing.B)        { benchmarkWarm(b, smallRequest) }
func BenchmarkProxy_warmBrowser(b *testing.B) { benchmarkWarm(b, browserRequest) }
