package server

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/discovery"
	"github.com/edge-proxy/edge/internal/config"
	wanted "github.com/edge-proxy/edge/internal/config/acme"
	"github.com/edge-proxy/edge/internal/discovery/dns"
	"github.com/edge-proxy/edge/internal/discovery/locator"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/testutil/dnsserver"
	"github.com/edge-proxy/edge/internal/tls/certs/issue"
	"github.com/edge-proxy/edge/internal/tls/certs/issue/acme"
)

// everywhere is a service at one port of all addresses of the machine. It answers with the address it was asked at.
type everywhere struct {
	port  uint16
	conns sync.Map // *atomic.Int64 by address: how many connections were made
	ended sync.Map // and how many have ended
}

func listenEverywhere(t *testing.T) *everywhere {
	t.Helper()
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	testutil.Must(t, err)
	e := &everywhere{port: uint16(l.Addr().(*net.TCPAddr).Port)}
	h := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			at, _, _ := net.SplitHostPort(r.Context().Value(http.LocalAddrContextKey).(net.Addr).String())
			fmt.Fprintf(w, "%s for %s", at, r.Host)
		}),
		ConnState: func(c net.Conn, state http.ConnState) {
			at, _, _ := net.SplitHostPort(c.LocalAddr().String())
			switch state {
			case http.StateNew:
				count(&e.conns, at).Add(1)
			case http.StateClosed:
				count(&e.ended, at).Add(1)
			}
		},
	}
	go h.Serve(l) //nolint:errcheck // ends with the listener
	t.Cleanup(func() { h.Close() })
	return e
}

func count(m *sync.Map, at string) *atomic.Int64 {
	n, _ := m.LoadOrStore(at, new(atomic.Int64))
	return n.(*atomic.Int64)
}

// answerers returns the addresses that answer, and what they call the host.
func answerers(t *testing.T, s *Server, path string) string {
	t.Helper()
	seen := map[string]bool{}
	var all []string
	for range 12 {
		status, body := get(t, s, "web", path)
		if status != 200 {
			body = fmt.Sprint(status)
		}
		if !seen[body] {
			seen[body] = true
			all = append(all, body)
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// An upstream is what its names and files say, beside the backends that it names itself, through changes and reloads.
func TestDiscovery_upstreamFollowsItsSources(t *testing.T) {
	testutil.CheckLeaks(t)
	e, dns := listenEverywhere(t), dnsserver.Start(t)
	dns.Answer("web.test.", "A 1 127.0.0.11", "A 1 127.0.0.12")
	dns.Answer("_http._tcp.test.", fmt.Sprintf("SRV 1 0 0 %d one.test.", e.port))
	dns.Answer("one.test.", "A 1 127.0.0.21")
	path := filepath.Join(t.TempDir(), "users.txt")
	write := func(text string) {
		t.Helper()
		testutil.Must(t, os.WriteFile(path+".new", []byte(text), 0o600))
		testutil.Must(t, os.Rename(path+".new", path))
	}
	write(fmt.Sprintf("127.0.0.31:%d\n", e.port))
	file := func(discover string) string {
		return quiet + fmt.Sprintf(`
http = { name = "web", listen = "127.0.0.1:0" }
upstream_defaults = { resolver = %q, load_balancing = "round_robin" }
upstreams.api = { backends = [{ address = "127.0.0.1:%d" }], discover = [%s], host = "backend" }
routes = [
	{ pattern = "/*", dest = "api" },
	{ pattern = "/srv", dest = "srv+dns://_http._tcp.test" },
]
`, dns.Addr, e.port, discover)
	}
	all := fmt.Sprintf(`"dns://web.test:%d", "srv+dns://_http._tcp.test", "file://%s"`, e.port, path)
	s := start(t, Options{}, "%s", file(all))
	becomes := func(path, want string) {
		t.Helper()
		want = strings.ReplaceAll(want, "PORT", fmt.Sprint(e.port))
		var got string
		defer func() {
			if t.Failed() {
				t.Logf("%s, want %s", got, want)
			}
		}()
		testutil.Eventually(t, testutil.Patience, func() bool { got = answerers(t, s, path); return got == want })
	}
	static, files := "127.0.0.1 for 127.0.0.1:PORT", "127.0.0.31 for 127.0.0.31:PORT"
	srv := "127.0.0.21 for one.test:PORT"
	if want := strings.ReplaceAll(srv, "PORT", fmt.Sprint(e.port)); !strings.HasPrefix(answerers(t, s, "/srv"),
		"127.0.0.21 for 127.0.0.1:") || !strings.Contains(answerers(t, s, "/"), want) {
		t.Errorf("at once: %s, %s", answerers(t, s, "/srv"), answerers(t, s, "/"))
	}
	becomes("/", static+", 127.0.0.11 for web.test:PORT, 127.0.0.12 for web.test:PORT, "+srv+", "+files)
	dns.Answer("web.test.", "A 1 127.0.0.12", "A 1 127.0.0.13")
	write(fmt.Sprintf("127.0.0.31:%d\n127.0.0.32:%[1]d\n", e.port))
	files += ", 127.0.0.32 for 127.0.0.32:PORT"
	becomes("/", static+", 127.0.0.12 for web.test:PORT, 127.0.0.13 for web.test:PORT, "+srv+", "+files)
	dns.Fail("", dnsserver.ServFail)
	apply(t, s, "%s", file(fmt.Sprintf(`"dns://web.test:%d", "file://%s"`, e.port, path)))
	becomes("/", static+", 127.0.0.12 for web.test:PORT, 127.0.0.13 for web.test:PORT, "+files) // though DNS fails
	apply(t, s, "%s", strings.Replace(file(fmt.Sprintf(`"dns://web.test:%d", "file://%s"`, e.port, path)),
		"host =", "stale_ok = \"1s\", host =", 1)) // what another runner found grows stale
	becomes("/", static+", "+files)
	dns.Fail("", dnsserver.None)
	becomes("/", static+", 127.0.0.12 for web.test:PORT, 127.0.0.13 for web.test:PORT, "+files)
	apply(t, s, "%s", strings.Replace(file(""), "discover = [], ", "", 1))
	becomes("/", static)
}

// A start waits a second for DNS at most, and serves as soon as it answers.
func TestDiscovery_startWithDeadDNS(t *testing.T) {
	e, dns := listenEverywhere(t), dnsserver.Start(t)
	dns.Fail("", dnsserver.Drop)
	dns.Answer("web.test.", "A 1 127.0.0.11")
	begun := time.Now()
	s := start(t, Options{}, quiet+web+`
upstream_defaults.resolver = %q
upstreams.found.discover = ["dns://web.test:%[2]d", "srv+dns://web.test"]
upstreams.named.backends = [{ address = "web.test:%[2]d" }, { address = "other.test:%[2]d" }]
routes = [
	{ pattern = "/*", dest = "found" },
	{ pattern = "/named", dest = "named" },
]
`, dns.Addr, e.port)
	if took := time.Since(begun); took > firstLookup+500*time.Millisecond {
		t.Errorf("started after %s", took)
	}
	for _, path := range []string{"/", "/named"} {
		if status, _ := get(t, s, "web", path); status != 503 {
			t.Errorf("%s: status %d without DNS", path, status)
		}
	}
	dns.Fail("", dnsserver.None)
	for _, path := range []string{"/", "/named"} {
		testutil.Eventually(t, testutil.Patience, func() bool {
			status, _ := get(t, s, "web", path)
			return status == 200
		}, path)
	}
}

// changing is a source that adds and removes members.
type changing struct {
	port  uint16
	stays []string
	times *atomic.Int64
}

func (c *changing) Run(ctx context.Context, publish func([]backend.Spec, error)) error {
	rng := rand.New(rand.NewPCG(1, 2))
	others := make([]bool, 200)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		var list []backend.Spec
		for _, at := range c.stays {
			list = append(list, backend.Spec{Address: fmt.Sprintf("%s:%d", at, c.port)})
		}
		for i, in := range others {
			if in {
				list = append(list, backend.Spec{Address: fmt.Sprintf("127.0.2.%d:%d", i, c.port)})
			}
		}
		publish(list, nil)
		c.times.Add(1)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		i := rng.IntN(len(others))
		others[i] = !others[i]
	}
}

// While a hundred members come and go each second, no request fails, and those that stay keep their connections.
func TestDiscovery_storm(t *testing.T) {
	e, times := listenEverywhere(t), new(atomic.Int64)
	stays := []string{"127.0.1.1", "127.0.1.2", "127.0.1.3"}
	o := Options{Sources: map[string]discovery.Maker{"storm": func(l *locator.Locator) (discovery.Source, error) {
		return &changing{e.port, stays, times}, nil
	}}}
	cfg := parseBy(t, config.Options{Sources: []string{"storm"}}, quiet+`
global.worker_threads = 2
http = { name = "web", listen = "127.0.0.1:0" }
upstreams.api.discover = "storm://any"
routes = [{ pattern = "/*", dest = "api" }]
`)
	s := serve(t, cfg, o)
	var requests, toStay atomic.Int64
	load := func(until int64) {
		var clients sync.WaitGroup
		for range 4 {
			clients.Go(func() {
				c := &http.Client{Transport: &http.Transport{}}
				defer c.CloseIdleConnections()
				for times.Load() < until {
					resp, err := c.Get(urlOf(t, s, "web"))
					if err != nil {
						t.Error(err)
						return
					}
					body, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil || resp.StatusCode != 200 {
						t.Errorf("%d %q %v", resp.StatusCode, body, err)
						return
					}
					requests.Add(1)
					if strings.HasPrefix(string(body), "127.0.1.") {
						toStay.Add(1)
					}
				}
			})
		}
		clients.Wait()
	}
	first := int64(testutil.Rounds(100))
	load(first)
	runtime.GC()
	goroutines := runtime.NumGoroutine()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	load(first + int64(testutil.Rounds(300)))
	runtime.GC()
	runtime.ReadMemStats(&after)
	made, ended := int64(0), int64(0)
	for _, at := range stays {
		made, ended = made+count(&e.conns, at).Load(), ended+count(&e.ended, at).Load()
	}
	t.Logf("%d requests, %d to members that stay over %d connections, heap %d kB and then %d", requests.Load(),
		toStay.Load(), made, before.HeapAlloc>>10, after.HeapAlloc>>10)
	// Each of 4 clients may need a connection to each of them on each of 2 reactors, once.
	if ended > 0 || made > int64(4*len(stays)*2) || toStay.Load() == 0 {
		t.Errorf("%d requests to members that stay took %d connections, %d of which ended", toStay.Load(), made, ended)
	}
	if n := runtime.NumGoroutine(); n > goroutines+400 { // net/http has one for each idle connection
		t.Errorf("%d goroutines, %d before", n, goroutines)
	}
	if after.HeapAlloc > before.HeapAlloc+16<<20 {
		t.Errorf("%d bytes of heap, %d before", after.HeapAlloc, before.HeapAlloc)
	}
}

// counted is a source of one backend, which counts how often it is run.
type counted struct {
	address string
	runs    *atomic.Int64
}

func (c *counted) Run(ctx context.Context, publish func([]backend.Spec, error)) error {
	c.runs.Add(1)
	publish([]backend.Spec{{Address: c.address}}, nil)
	<-ctx.Done()
	return ctx.Err()
}

// A reload that adds or removes a source lets the others run on; one that changes a key about all of them does not.
func TestDiscovery_sourcesRunOn(t *testing.T) {
	testutil.CheckLeaks(t)
	e, runs := listenEverywhere(t), map[string]*atomic.Int64{"127.0.3.1": {}, "127.0.3.2": {}, "127.0.3.3": {}}
	o := Options{Sources: map[string]discovery.Maker{"at": func(l *locator.Locator) (discovery.Source, error) {
		return &counted{fmt.Sprintf("%s:%d", l.Host, e.port), runs[l.Host]}, nil
	}}}
	read := func(keys string) *config.Config {
		t.Helper()
		cfg := parseBy(t, config.Options{Sources: []string{"at"}}, quiet+`
global.worker_threads = 2
http = { name = "web", listen = "127.0.0.1:0" }
routes = [{ pattern = "/*", dest = "api" }]
[upstreams.api]
load_balancing = "round_robin"
`+keys)
		return cfg
	}
	s := serve(t, read(`discover = ["at://127.0.3.1", "at://127.0.3.2"]`), o)
	for _, step := range []struct {
		keys string
		want string // addresses, each with how often its source was run
	}{
		{`discover = ["at://127.0.3.1", "at://127.0.3.2"]`, "127.0.3.1 1, 127.0.3.2 1"},
		{`discover = ["at://127.0.3.3", "at://127.0.3.1", "at://127.0.3.2"]`, "127.0.3.1 1, 127.0.3.2 1, 127.0.3.3 1"},
		{`discover = ["at://127.0.3.3", "at://127.0.3.1"]`, "127.0.3.1 1, 127.0.3.3 1"},
		{`discover = ["at://127.0.3.2", "at://127.0.3.1"]`, "127.0.3.1 1, 127.0.3.2 2"},
		{"stale_ok = \"1m\"\ndiscover = [\"at://127.0.3.1\", \"at://127.0.3.2\"]", "127.0.3.1 2, 127.0.3.2 3"},
	} {
		mustApply(t, s, read(step.keys))
		var got []string
		for one := range strings.SplitSeq(answerers(t, s, "/"), ", ") {
			at, _, _ := strings.Cut(one, " ")
			got = append(got, fmt.Sprint(at, " ", runs[at].Load()))
		}
		wantEqual(t, strings.Join(got, ", "), step.want, "%s", step.keys)
	}
}

// A source that the program does not have is an error of the configuration, and so is one that it cannot make.
func TestDiscovery_sourcesThatAreNotThere(t *testing.T) {
	text := "upstreams.api.discover = \"mine://x\"\nroutes = [{ pattern = \"/*\", dest = \"api\" }]\n"
	_, report := config.Options{Sources: []string{"mines"}}.Parse("test.toml", []byte(text))
	if report.OK() || !strings.Contains(report.Errors[0].Hint, `did you mean "mines"`) {
		t.Errorf("%+v", report.Errors)
	}
	cfg := parseBy(t, config.Options{Sources: []string{"mine"}}, quiet+text)
	for _, makers := range []map[string]discovery.Maker{
		{"mine": func(*locator.Locator) (discovery.Source, error) { return nil, nil }},
		{"mine": func(*locator.Locator) (discovery.Source, error) { return nil, os.ErrInvalid }},
		{},
	} {
		if s, err := New(cfg, Options{Sources: makers}); err == nil || !strings.Contains(err.Error(), "upstream api") {
			t.Errorf("%v, %v", s, err)
		}
	}
}

// Options.Lookup is asked for the names of sources as for those of backends.
func TestDiscovery_byLookup(t *testing.T) {
	e := listenEverywhere(t)
	s := start(t, Options{Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.41")}, nil
	}}, quiet+web+`
routes = [{ pattern = "/*", dest = "dns://any.test:%d" }]
`, e.port)
	wantPrefix(t, answerers(t, s, "/"), "127.0.0.41 for ")
}

// Each address of a host name is a backend, whose load counts by itself: while one is busy the other one is asked.
func TestDiscovery_addressesOfANameAreBackends(t *testing.T) {
	busy, end := make(chan struct{}), make(chan struct{})
	var first sync.Once
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	testutil.Must(t, err)
	origin := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at, _, _ := net.SplitHostPort(r.Context().Value(http.LocalAddrContextKey).(net.Addr).String())
		if at == "127.0.0.51" {
			first.Do(func() {
				close(busy)
				<-end
			})
		}
		fmt.Fprint(w, at)
	})}
	go origin.Serve(l) //nolint:errcheck // ends with the listener
	defer origin.Close()
	s := start(t, Options{Lookup: func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.51"), netip.MustParseAddr("127.0.0.52")}, nil
	}}, quiet+web+`
upstream_defaults = { load_balancing = "least_conn" }
upstreams.api = { backends = [{ address = "any.test:%[1]d" }] }
routes = [{ pattern = "/api", dest = "api" }, { pattern = "/*", dest = "any.test:%[1]d" }]
`, l.Addr().(*net.TCPAddr).Port)
	for _, path := range []string{"/api", "/"} {
		busy, end, first = make(chan struct{}), make(chan struct{}), sync.Once{}
		var asked sync.WaitGroup
		for waits := false; !waits; {
			answered := make(chan struct{})
			asked.Go(func() {
				get(t, s, "web", path)
				close(answered)
			})
			select {
			case <-busy:
				waits = true
			case <-answered:
			}
		}
		for range 12 {
			if _, at := get(t, s, "web", path); at != "127.0.0.52" {
				t.Errorf("%s: %s answers while it is busy with another request", path, at)
			}
		}
		close(end)
		asked.Wait()
	}
}

// lookoutOf makes a lookout for an authority of a private network, whose names e finds.
func lookoutOf(t *testing.T, e dns.Exchange) *lookout {
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	testutil.Must(t, os.WriteFile(conf, []byte("nameserver 10.0.0.53\noptions timeout:30 attempts:5"), 0o600))
	client := dns.New(dns.Options{ResolvConf: conf, Hosts: os.DevNull, Exchange: e})
	return &lookout{&wanted.ACME{CA: []string{"https://ca.test/dir"}}, &issue.Challenges{}, client,
		[]string{acme.HTTP01, acme.TLSALPN01}}
}

// A name with many addresses takes the time, and the lines of the log, of a few.
func TestLookout_manyAddresses(t *testing.T) {
	s := dnsserver.New()
	records := make([]string, 0, 200)
	for i := range cap(records) {
		records = append(records, fmt.Sprintf("A 30 127.9.9.%d", i))
	}
	s.Answer("a.org.", records...)
	if all := lookoutOf(t, s.Exchange).strays(t.Context(), []string{"a.org"}); len(all) != 2*addressesMost {
		t.Errorf("%d lines: %s", len(all), strings.Join(all, "\n"))
	}
}

// A look at names ends long before their order does, whatever the DNS servers do. One that is given up says nothing:
// a process that ends has not found a name to lead elsewhere.
func TestLookout_hangingDNS(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		l := lookoutOf(t, func(ctx context.Context, _ string, _ netip.AddrPort, _ []byte, _ func([]byte) bool) (
			[]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		begun := time.Now()
		all := l.strays(t.Context(), []string{"a.org", "b.org"})
		if len(all) != 2 || !strings.Contains(all[1], "b.org has no address: ") || time.Since(begun) > lookMax {
			t.Errorf("%q after %s", all, time.Since(begun))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if all := l.strays(ctx, []string{"a.org"}); len(all) > 0 {
			t.Errorf("%q after the end", all)
		}
	})
}
