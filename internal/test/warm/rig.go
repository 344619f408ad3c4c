package warm

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// Small is the least request.
const Small = "GET /small HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n"

// Browser is a request with the fields that a browser sends.
const Browser = "GET /articles/2026/11/how-a-request-travels?utm_source=feed HTTP/1.1\r\n" +
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

// answer is what the origin says.
var (
	body   = strings.Repeat("x", 128)
	answer = []byte("HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Fri, 20 Nov 2026 10:00:00 GMT\r\n" +
		"Content-Type: text/plain\r\nContent-Length: 128\r\n\r\n" + body)
)

const (
	exchanges = 100 // before a Rig counts as warm
	door      = 3   // the first descriptor of a sim.Loop
)

// Rig is a proxy with a client and an origin.
type Rig struct {
	Loop  *sim.Loop
	Trips int    // exchanges so far
	First string // what the client got first
	Proxy *proxy.Proxy
	Other []byte // what the client sends every other time; nil: the same request
	Cut   int    // bytes of the answer that the origin writes apart, before the rest; 0: it writes all at once

	kernel   poller.Kernel // Loop, unless another one stands before it
	reactor  *engine.Reactor
	down, up poller.FD
	request  []byte
	rest     []byte // of the answer
}

// New makes a Rig whose client sends request again and again, through a route with these filters.
func New(t testing.TB, request string, on *proxy.Listener, filters ...*proxy.Filter) *Rig {
	t.Helper()
	return NewRouted(t, request, on, all(filters))
}

func all(filters []*proxy.Filter) func(*upstream.Upstream) []proxy.Route {
	return func(origin *upstream.Upstream) []proxy.Route {
		return []proxy.Route{{Name: "all", To: proxy.To(origin, nil), Filters: filters}}
	}
}

// NewRouted is New with routes to the origin of the caller's own.
func NewRouted(t testing.TB, request string, on *proxy.Listener, routes func(*upstream.Upstream) []proxy.Route) *Rig {
	t.Helper()
	g := &Rig{request: []byte(request)}
	e, service := g.build(t, on, routes)
	g.listen(t, e, session.NewServer(e, service, session.ServerOptions{}).Accept)
	g.Loop.OnConnect = func(fd poller.FD, _ poller.Addr) { g.up = fd }
	g.Loop.Pump = g.pump
	for g.Trips < exchanges {
		g.Exchange()
	}
	return g
}

// build makes the proxy, on one reactor.
func (g *Rig) build(
	t testing.TB, on *proxy.Listener, routes func(*upstream.Upstream) []proxy.Route,
) (*engine.Engine, session.Service) {
	t.Helper()
	if g.kernel == nil {
		g.Loop = sim.NewLoop()
		g.kernel = g.Loop
	}
	e, err := engine.New(engine.Options{
		Reactors: 1,
		Kernel:   func(int) (poller.Kernel, error) { return g.kernel, nil },
	})
	testutil.Must(t, err)
	g.reactor = e.Reactors()[0]
	origin := upstream.New(e, upstream.Options{
		Name: "origin", Backends: backend.Of("10.0.0.1:80"),
	})
	s, err := proxy.NewSnapshot(routes(origin), nil)
	testutil.Must(t, err)
	g.Proxy = proxy.New(e, s)
	return e, g.Proxy.Service(on)
}

// listen makes the client's connection.
func (g *Rig) listen(t testing.TB, e *engine.Engine, accept func(*engine.Conn) engine.Handler) {
	t.Helper()
	addr := poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:80")}
	if _, err := e.Listen(engine.ListenOptions{Addr: addr}, accept); err != nil {
		t.Fatal(err)
	}
	g.down = g.Loop.Offer(door, poller.Addr{IP: clientAddr})
	g.reactor.Tick()
}

var clientAddr = netip.MustParseAddrPort("192.0.2.7:5555")

// Exchange runs the reactor until the client has its next answer.
func (g *Rig) Exchange() {
	for start := g.Trips; g.Trips == start; {
		g.reactor.Tick()
	}
}

// pump plays the origin when it was asked, else the client.
func (g *Rig) pump() {
	if g.up != 0 {
		if up := g.Loop.Sock(g.up); len(up.Sent) > 0 {
			up.Sent = up.Sent[:0]
			first := answer
			if g.Cut > 0 {
				first, g.rest = answer[:g.Cut], answer[g.Cut:]
			}
			g.Loop.Inject(g.up, first)
			return
		}
		if len(g.rest) > 0 {
			g.Loop.Inject(g.up, g.rest)
			g.rest = nil
			return
		}
	}
	down := g.Loop.Sock(g.down)
	switch {
	case len(down.Sent) > 0:
		if g.Trips++; g.Trips == 1 {
			g.First = string(down.Sent)
		}
		down.Sent = down.Sent[:0]
	case g.Trips > 0:
		return
	}
	if down.Unread() == 0 {
		request := g.request
		if g.Other != nil && g.Trips%2 == 1 {
			request = g.Other
		}
		g.Loop.Inject(g.down, request)
	}
}

// origins are the connections to an origin that answers several requests at once.
type origins struct {
	ups      []poller.FD
	answered int // requests
}

func (o *origins) connected(fd poller.FD, _ poller.Addr) { o.ups = append(o.ups, fd) }

// answer answers what was asked.
func (o *origins) answer(l *sim.Loop) {
	for _, fd := range o.ups {
		if up := l.Sock(fd); len(up.Sent) > 0 && up.Unread() == 0 {
			up.Sent = up.Sent[:0]
			o.answered++
			l.Inject(fd, answer)
		}
	}
}

// reading reports whether the proxy has not read all that the origin said; what it reads in a tick leaves in it.
func (o *origins) reading(l *sim.Loop) bool {
	return slices.ContainsFunc(o.ups, func(fd poller.FD) bool { return l.Sock(fd).Unread() > 0 })
}
