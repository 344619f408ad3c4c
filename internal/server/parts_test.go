package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"weak"

	"github.com/edge-proxy/edge/backend/registry"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/discovery/locator"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

var errPart = errors.New("the part fails")

// failing is a part that fails at a step: "prepare" when it has prepared, "commit" in the place of its commit, and
// "committed" after it.
type failing struct {
	part
	step string
}

func (f failing) prepare() error {
	err := f.part.prepare()
	if err == nil && f.step == "prepare" {
		err = errPart
	}
	return err
}

func (f failing) commit() error {
	if f.step == "commit" {
		return errPart
	}
	err := f.part.commit()
	if err == nil && f.step == "committed" {
		err = errPart
	}
	return err
}

// notebook is a registry that knows names.
type notebook struct {
	mu    sync.Mutex
	names map[string]bool
}

// leaf is one entry of a notebook. It can be withdrawn once, as a lease.
type leaf struct {
	of   *notebook
	name string
	torn bool
}

func (p *leaf) Put(_ context.Context, e *registry.Entry) (string, error) {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	if p.torn {
		return "", errors.New("it was withdrawn")
	}
	p.name = e.Name
	p.of.names[e.Name] = true
	return e.Address, nil
}

func (p *leaf) Withdraw(context.Context) error {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	p.torn = true
	delete(p.of.names, p.name)
	return nil
}

func (n *notebook) knows(names ...string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range names {
		if !n.names[name] {
			return false
		}
	}
	return len(n.names) == len(names)
}

// askers ask for a body without end.
type askers struct {
	t      *testing.T
	ctx    context.Context
	cancel context.CancelFunc
	want   string // how each body begins
	each   sync.WaitGroup
	served atomic.Int64
}

// more waits until more requests are served.
func (a *askers) more() {
	served := a.served.Load()
	testutil.Eventually(a.t, testutil.Patience, func() bool { return a.served.Load() > served+20 || a.t.Failed() })
}

// ask sends requests to a path at an address, one after the other: each on a connection of its own, or as many on one
// as that takes.
func (a *askers) ask(addr, path string, alone bool) {
	a.each.Go(func() {
		for a.ctx.Err() == nil {
			if err := a.visit(addr, path, alone); err != nil {
				a.t.Errorf("%s%s: %v", addr, path, err)
				return
			}
		}
	})
}

func (a *askers) visit(addr, path string, alone bool) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	c.(*net.TCPConn).SetLinger(0) //nolint:errcheck // no TIME_WAIT: there are many
	for r := bufio.NewReader(c); a.ctx.Err() == nil; {
		if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path); err != nil {
			return err
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return err
		}
		if err := a.check(resp); err != nil || alone || resp.Close {
			return err
		}
	}
	return nil
}

// check counts an answer that is as it ought to be.
func (a *askers) check(resp *http.Response) error {
	body, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != 200 || !strings.HasPrefix(string(body), a.want)) {
		err = fmt.Errorf("status %d, %q", resp.StatusCode, body)
	}
	if err == nil {
		a.served.Add(1)
	}
	return err
}

// twoFiles are a configuration and another one that differs from it in everything that parts make.
type twoFiles struct {
	old, next  *config.Config
	again      func() *config.Config // reads next once more
	goes, path string                // an address of old alone, and the Unix socket of next alone
	log        string                // of next alone
}

func twoFilesOf(t *testing.T, ca *testutil.Authority) (f twoFiles) {
	t.Helper()
	dir := t.TempDir()
	ca.IssueTo(t, dir, "old", nil, "example.org")
	ca.IssueTo(t, dir, "next", nil, "example.org")
	one, _ := origin(t, "one")
	two, _ := origin(t, "two")
	f.goes, f.path, f.log = testutil.FreeAddr(t), testutil.SocketPath(t), filepath.Join(dir, "next.log")
	parse := func(log, pair, listener, names, upstreams string) *config.Config {
		text := fmt.Sprintf("global.worker_threads = 2\nlog.output = %q\n[https]\nname = \"web\"\n"+
			"listen = \"127.0.0.1:0\"\ncert = %q\nkey = %q\n[[listeners]]\nname = \"stays\"\n"+
			"listen = \"127.0.0.1:0\"\n[[listeners]]\n%s\n%s%s[[routes]]\npattern = \"/kept/*\"\ndest = \"kept\"\n",
			log, filepath.Join(dir, pair+".pem"), filepath.Join(dir, pair+".key"), listener, names, upstreams)
		return parseBy(t, config.Options{Registries: []string{"book"}}, text)
	}
	const named = "[[register]]\nto = \"book://x\"\nlistener = \"stays\"\nlinger = \"0s\"\nname = "
	f.old = parse(filepath.Join(dir, "old.log"), "old", fmt.Sprintf("name = \"goes\"\nlisten = %q", f.goes),
		named+"\"a\"\n"+named+"\"b\"\n", fmt.Sprintf("[upstreams.kept]\nbackends = [{ address = %q }]\n"+
			"sticky.cookie = \"c\"\n[[routes]]\npattern = \"/*\"\ndest = %[1]q\n"+
			"[[routes]]\npattern = \"/by/*\"\ndest = \"http://{path:2}\"\nallow_dest = \"http://%[1]s\"\n", one))
	f.again = func() *config.Config {
		return parse(f.log, "next", fmt.Sprintf("name = \"comes\"\nlisten = \"unix:%s\"", f.path),
			named+"\"a\"\n"+named+"\"c\"\n", fmt.Sprintf("[upstreams.kept]\nbackends = [{ address = %q }]\n"+
				"outlier.errors = 3\n[upstreams.new]\nbackends = [{ address = %q }]\nsticky.cookie = \"d\"\n"+
				"health_check = { path = \"/\", interval = \"1s\" }\nbreaker.max_requests = 100\n"+
				"[[routes]]\npattern = \"/*\"\ndest = \"new\"\n"+
				"[[routes]]\npattern = \"/by/*\"\ndest = \"http://{path:2}\"\nallow_dest = \"http://%[1]s\"\n",
				two, strings.Replace(two, "127.0.0.1", "two.test", 1)))
	}
	f.next = f.again()
	return f
}

// replaced is a Server of twoFiles with clients that ask all the while.
type replaced struct {
	twoFiles
	*Server
	*askers
	book                    *notebook
	prepared, taken, undone int // by the program
	client                  *http.Client
	serial                  string // of the certificate of old
	failures                int    // of reloads
}

func serveTwoFiles(t *testing.T) *replaced {
	t.Helper()
	ca := testutil.NewAuthority(t)
	r := &replaced{twoFiles: twoFilesOf(t, ca), book: &notebook{names: make(map[string]bool)}}
	r.Server = serve(t, r.old, Options{
		Lookup: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		},
		Registries: map[string]registry.Maker{
			"book": func(*locator.Locator) (registry.Registry, error) { return &leaf{of: r.book}, nil },
		},
		Prepare: func(*config.Config) (commit, undo func(), err error) {
			r.prepared++
			return func() { r.taken++ }, func() { r.undone++ }, nil
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	r.askers = &askers{t: t, ctx: ctx, cancel: cancel, want: "one "}
	stays := strings.TrimPrefix(urlOf(t, r.Server, "stays"), "http://")
	r.ask(stays, "/", false)
	r.ask(stays, "/kept/", true)
	r.ask(r.goes, "/by/"+r.old.Upstreams[0].Backends[0].String(), false)
	r.ask(r.goes, "/", true)
	r.client = asHTTPS(t, ca, true)
	r.client.Transport.(*http.Transport).TLSClientConfig.ClientSessionCache = nil // a session keeps its certificate
	url := secureURL(t, r.Server)
	resp, _ := testutil.Get(t, r.client, url)
	r.serial = certificateOf(resp)
	r.each.Go(func() {
		for ctx.Err() == nil {
			resp, err := r.client.Get(url)
			if err == nil {
				err = r.check(resp)
				resp.Body.Close()
			}
			if err != nil || certificateOf(resp) != r.serial {
				t.Errorf("over TLS: %v, or another certificate", err)
				return
			}
			r.client.CloseIdleConnections()
		}
	})
	return r
}

func certificateOf(resp *http.Response) string {
	return resp.TLS.PeerCertificates[0].SerialNumber.String()
}

// fail applies next with a part that fails at a step, and looks whether old is whole.
func (r *replaced) fail(i int, step string) {
	t, p, before := r.t, r.parts[i], r.Addresses()
	what := fmt.Sprintf("%s in %s", step, reflect.TypeOf(p).Elem().Name())
	r.parts[i] = failing{p, step}
	_, err := r.Apply(r.next)
	r.parts[i] = p
	if r.failures++; !errors.Is(err, errPart) {
		t.Fatalf("%s: %v", what, err)
	}
	if now := r.Addresses(); !slices.Equal(now, before) {
		t.Errorf("it listens on %v, before on %v", now, before)
	}
	if c, err := net.Dial("unix", r.path); err == nil {
		c.Close()
		t.Error("the address of the other configuration is open")
	}
	wantCounter(t, r.Server, float64(r.failures), "edge_config_reloads_total", "failure")
	r.knows("a", "b")
	r.more()
	if t.Failed() {
		t.Fatal(what)
	}
}

// forgetsNext wants that nothing holds a configuration that was applied in vain.
func (r *replaced) forgetsNext() {
	r.t.Helper()
	for i, p := range r.parts {
		next := r.again()
		gone := []func() bool{collected(next), collected(&next.Listeners[0]), collected(&next.Upstreams[0]),
			collected(&next.Routes[0])}
		r.parts[i] = failing{p, "commit"}
		_, err := r.Apply(next)
		if r.parts[i] = p; !errors.Is(err, errPart) {
			r.t.Fatal(err)
		}
		next = nil
		testutil.Eventually(r.t, testutil.Patience, func() bool {
			runtime.GC()
			return !slices.ContainsFunc(gone, func(isGone func() bool) bool { return !isGone() })
		})
	}
}

// collected returns a function that says whether the collector has taken p.
func collected[T any](p *T) func() bool {
	w := weak.Make(p)
	return func() bool { return w.Value() == nil }
}

// knows waits until the registry knows these names alone.
func (r *replaced) knows(names ...string) {
	r.t.Helper()
	testutil.Eventually(r.t, testutil.Patience, func() bool { return r.book.knows(names...) })
}

// A reload that fails in any part, at any step, leaves the configuration before whole: it serves requests before,
// meanwhile and after, none is lost, and registries know what they knew.
func TestReplace_failureOfAnyPartAtAnyStep(t *testing.T) {
	testutil.CheckLeaks(t)
	testutil.EventLog(t, slog.DiscardHandler)
	r := serveTwoFiles(t)
	r.knows("a", "b")
	r.more()
	for i := range r.parts {
		r.fail(i, "prepare")
		r.fail(i, "commit")
		if i < len(r.parts)-1 { // nothing fails after the commit of the last one
			r.fail(i, "committed")
		}
	}
	r.cancel()
	r.each.Wait()
	r.forgetsNext()
	if r.taken != 2 || r.prepared != r.undone+r.taken { // New and Listen
		t.Errorf("of %d that the program prepared %d were taken and %d undone", r.prepared, r.taken, r.undone)
	}
	if text, err := os.ReadFile(r.log); err != nil || len(text) > 0 {
		t.Errorf("the log of the other configuration: %q, %v", text, err)
	}
	mustApply(t, r.Server, r.next)
	r.knows("a", "c")
	if status, body := get(t, r.Server, "stays", "/"); status != 200 || !strings.HasPrefix(body, "two ") {
		t.Errorf("status %d, %q after a reload that did not fail", status, body)
	}
	if resp, _ := testutil.Get(t, r.client, secureURL(t, r.Server)); certificateOf(resp) == r.serial {
		t.Error("the certificate is the one before")
	}
}

// The first requests that take new routes go to the backends of the same configuration, also where an upstream keeps
// its name and the parts have not retired what was before.
func TestApply_newRoutesLeadToNewBackends(t *testing.T) {
	const file = quiet + `
global.worker_threads = 2
http = { name = "web", listen = "127.0.0.1:0" }
upstreams.api.backends = [{ address = %q }]
routes = [{ pattern = "/*", dest = "api", headers.response.X-Route = %q }]
`
	url, route, body := "", "", ""
	o := Options{Prepare: func(*config.Config) (commit, undo func(), err error) {
		return func() { // the routes are the new ones by now
			if url != "" {
				resp, text := testutil.Get(t, http.DefaultClient, url)
				route, body = resp.Header.Get("X-Route"), text
			}
		}, func() {}, nil
	}}
	one, _ := origin(t, "one")
	two, _ := origin(t, "two")
	s := serve(t, parse(t, fmt.Sprintf(file, one, "first")), o)
	url = urlOf(t, s, "web")
	mustApply(t, s, parse(t, fmt.Sprintf(file, two, "second")))
	if route != "second" || !strings.HasPrefix(body, "two ") {
		t.Errorf("the route %q has led to %q", route, body)
	}
}
