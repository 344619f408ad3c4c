package dynamic_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/tally"
	"github.com/edge-proxy/edge/internal/discovery/dns"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/route/target"
	"github.com/edge-proxy/edge/internal/server/dynamic"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// rig is a proxy with one route, which leads where the field X-To of a request says.
type rig struct {
	t       testing.TB
	engine  *engine.Engine
	proxy   *proxy.Proxy
	to      *dynamic.Destinations
	url     string
	client  *http.Client
	records records
}

// local lets names below "test" have addresses of this machine, on any port.
var local = []string{"http://*.test:*", "https://*.test:*", "h2c://*.test:*", "http://127.0.0.7:*", "127.0.0.0/8"}

func newRig(t testing.TB, names fakeNames, allow []string, change func(*dynamic.Options)) *rig {
	t.Helper()
	testutil.CheckLeaks(t)
	g := &rig{t: t, client: &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true}, Timeout: testutil.Patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	g.records.reasons = make([]string, 0, 8192) // enough: what grows would be counted as an allocation
	var err error
	if g.engine, err = engine.New(engine.Options{Reactors: 2}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.engine.Stop)
	o := dynamic.Options{Names: names, GRPC: true}
	if o.Template, err = target.ParseTemplate("{header:X-To}"); err == nil {
		o.Allow, err = target.ParseList(allow...)
	}
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&o)
	}
	g.to = dynamic.New(g.engine, o)
	t.Cleanup(g.to.Close)
	r := proxy.Route{GRPC: proxy.On}
	g.to.Lead(&r)
	s, err := proxy.NewSnapshot([]proxy.Route{r}, nil)
	if err != nil {
		t.Fatal(err)
	}
	g.proxy = proxy.New(g.engine, s)
	service := g.proxy.Service(&proxy.Listener{Log: []proxy.AccessLog{&g.records, &g.records}})
	srv := session.NewServer(g.engine, service, session.ServerOptions{H2C: true})
	l, err := g.engine.Listen(engine.ListenOptions{
		Addr: poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:0")},
	}, srv.Accept)
	if err != nil {
		t.Fatal(err)
	}
	g.engine.Start()
	g.url = "http://" + l.Addr().String()
	return g
}

// ask asks for a destination and returns the status and the body of the answer.
func (g *rig) ask(to string) (int, string) {
	g.t.Helper()
	resp, body := testutil.Do(g.t, g.client, g.request(to))
	return resp.StatusCode, body
}

func (g *rig) request(to string) *http.Request {
	req, err := http.NewRequest("GET", g.url, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	req.Host = "shop.example"
	req.Header["X-To"] = []string{to}
	return req
}

// stats returns the counters of all reactors.
func (g *rig) stats() (sum dynamic.Stats) {
	g.t.Helper()
	for _, r := range g.engine.Reactors() {
		done := make(chan struct{})
		r.Post(&engine.Task{Run: func(r *engine.Reactor) {
			one := g.to.Stats(r)
			tally.Add(&sum, &one)
			close(done)
		}})
		<-done
	}
	return sum
}

// records keeps the reasons of requests.
type records struct {
	mu      sync.Mutex
	reasons []string
}

func (l *records) Append(r *observe.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reasons = append(l.reasons, r.Reason)
}

func (l *records) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reasons[len(l.reasons)-1]
}

// fakeNames answers for a name in full, and says what was asked for the nth time.
type fakeNames func(ctx context.Context, host string) (dns.Answer, error)

func (f fakeNames) Addresses(ctx context.Context, host string, _ func(dns.Answer)) (dns.Answer, error) {
	return f(ctx, host)
}

func (f fakeNames) Services(context.Context, string) (dns.Services, error) {
	panic("nobody asks for services")
}

// at has every name stand for these addresses for an hour.
func at(ips ...string) fakeNames {
	return func(context.Context, string) (dns.Answer, error) { return answer(time.Hour, ips...), nil }
}

func answer(ttl time.Duration, ips ...string) dns.Answer {
	a := dns.Answer{TTL: ttl}
	for _, ip := range ips {
		a.Addrs = append(a.Addrs, netip.MustParseAddr(ip))
	}
	return a
}

// portOfAll returns a port for origins on several addresses: none that the kernel gives to connections, which may have
// it on one of them.
func portOfAll(t testing.TB) (port string) {
	t.Helper()
	_, port, err := net.SplitHostPort(testutil.FreeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// origin is a server that answers with its name and the Host that it got, at an address.
func origin(t testing.TB, address, name string) (port string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if to := r.Header.Get("X-Redirect"); to != "" {
			http.Redirect(w, r, to, http.StatusFound)
			return
		}
		w.Header().Set("X-Protocol", r.Proto)
		fmt.Fprintf(w, "%s %s", name, r.Host)
	}))
	s.Listener.Close() //nolint:errcheck // it is not used
	s.Listener = l
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return l.Addr().String()[strings.LastIndexByte(l.Addr().String(), ':')+1:]
}

// silence keeps warnings out of the output of the test.
func silence(t *testing.T) { testutil.EventLog(t, slog.DiscardHandler) }
