package micro

import (
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/sim"
	"github.com/edge-proxy/edge/observe"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
	"github.com/edge-proxy/edge/upstream"
)

const (
	warmGroup = "a warm exchange through the proxy, without system calls"
	warmWhat  = "request and answer of 128 bytes, both connections warm, on a simulated kernel that costs a few " +
		"nanoseconds a call; cpu-ns/op is the processor time of this process"
	warmUp = 100 // exchanges before the clock starts
)

var warmAnswer = "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Fri, 20 Nov 2026 10:00:00 GMT\r\n" +
	"Content-Type: text/plain\r\nContent-Length: 128\r\n\r\n" + strings.Repeat("x", 128)

// The whole exchange has no like elsewhere: what is compared is its price with a log.
var warmEntries = []Entry{
	{"warm/small/edge+log", warmGroup, warmWhat + ", with an access log: JSON lines to nowhere", "",
		warm(smallHead, true)},
	{"warm/small/edge", warmGroup, warmWhat, "warm/small/edge+log", warm(smallHead, false)},
	{"warm/browser/edge+log", warmGroup, warmWhat + ", with an access log: JSON lines to nowhere", "",
		warm(browserHead, true)},
	{"warm/browser/edge", warmGroup, warmWhat, "warm/browser/edge+log", warm(browserHead, false)},
}

// rig is a proxy on a simulated kernel, with one client and one origin. Owned by one goroutine.
//
//	client ── down ── proxy ── up ── origin       pump plays both ends
type rig struct {
	loop     *sim.Loop
	reactor  *engine.Reactor
	down, up poller.FD
	request  []byte
	answer   []byte
	trips    int
}

func newRig(b *testing.B, request []byte, on *proxy.Listener) *rig {
	g := &rig{loop: sim.NewLoop(), request: request, answer: []byte(warmAnswer)}
	e, err := engine.New(engine.Options{
		Reactors: 1,
		Kernel:   func(int) (poller.Kernel, error) { return g.loop, nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	origin := upstream.New(e, upstream.Options{
		Name: "origin", Backends: []upstream.Backend{{Address: "10.0.0.1:80"}},
	})
	routes, err := proxy.NewSnapshot([]proxy.Route{{Name: "all", To: proxy.To(origin)}}, nil)
	if err != nil {
		b.Fatal(err)
	}
	server := session.NewServer(e, proxy.New(e, routes).Service(on), session.ServerOptions{})
	addr := poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:80")}
	if _, err := e.Listen(engine.ListenOptions{Addr: addr}, server.Accept); err != nil {
		b.Fatal(err)
	}
	g.loop.OnConnect = func(fd poller.FD, _ poller.Addr) { g.up = fd }
	g.reactor = e.Reactors()[0]
	const door = 3 // the first descriptor of a Loop
	g.down = g.loop.Offer(door, poller.Addr{IP: netip.MustParseAddrPort("192.0.2.7:5555")})
	g.reactor.Tick()
	g.loop.Pump = g.pump
	for g.trips < warmUp {
		g.exchange()
	}
	return g
}

// pump plays the origin when it was asked, else the client.
func (g *rig) pump() {
	if g.up != 0 {
		if up := g.loop.Sock(g.up); len(up.Sent) > 0 {
			up.Sent = up.Sent[:0]
			g.loop.Inject(g.up, g.answer)
			return
		}
	}
	down := g.loop.Sock(g.down)
	if len(down.Sent) > 0 {
		g.trips++
		down.Sent = down.Sent[:0]
	} else if g.trips > 0 {
		return
	}
	if down.Unread() == 0 {
		g.loop.Inject(g.down, g.request)
	}
}

func (g *rig) exchange() {
	for start := g.trips; g.trips == start; {
		g.reactor.Tick()
	}
}

func warm(request []byte, logged bool) func(b *testing.B) {
	return func(b *testing.B) {
		var log *observe.AccessLog
		on := &proxy.Listener{Name: "web"}
		if logged {
			sink, err := observe.Open(observe.Options{
				Writer: io.Discard, Events: slog.New(slog.DiscardHandler), // what is dropped is reported below
			})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = sink.Close() }()
			log = sink.AccessLog(observe.FormatJSON)
			on.Log = []proxy.AccessLog{log}
		}
		g := newRig(b, request, on)
		b.ReportAllocs()
		var before int64
		for b.Loop() {
			if before == 0 {
				before = cpuTime(b)
			}
			g.exchange()
		}
		b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
		if log != nil {
			b.ReportMetric(float64(log.Dropped())/float64(b.N), "dropped/op")
		}
	}
}

// cpuTime is what this process has used of the processor, in nanoseconds: unlike time it does not
// count what other processes took.
func cpuTime(b *testing.B) int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
