package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/backend/discovery"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/test/quicpeer"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/quic"
	"github.com/edge-proxy/edge/session"
)

// greetConfig is that of a type of destinations that answer by themselves.
type greetConfig struct {
	Text string `edge:"text" doc:"What is said." required:"true" example:"hello"`
	Fail string `edge:"fail" doc:"What fails." enum:"make panic nothing open stream neither typed"`
}

// greeter is a destination. It counts its greetings over reloads.
type greeter struct {
	*greetConfig
	said    *atomic.Int32
	counter *plugin.Counter
}

func newGreeter(c *greetConfig, b *plugin.Build) (proxy.Destination, error) {
	switch c.Fail {
	case "make":
		return nil, errors.New("it does not want to")
	case "panic":
		panic(errors.New("it must not"))
	case "nothing":
		return nil, nil
	}
	said, err := plugin.Keep(b, "said", func() (*atomic.Int32, error) { return new(atomic.Int32), nil })
	return &greeter{c, said, b.Counter("greeted")}, err
}

// Open answers with the text, the method, and the field that a route adds to requests.
func (g *greeter) Open(x *proxy.Exchange, _ session.Receiver) proxy.Opening {
	switch g.Fail {
	case "open":
		panic(errors.New("it cannot greet"))
	case "stream":
		return proxy.Opening{Err: errors.New("there is nobody")}
	case "neither":
		return proxy.Opening{}
	case "typed":
		var e *proxy.Error
		return proxy.Opening{Err: e}
	}
	g.said.Add(1)
	g.counter.Add(x)
	return proxy.Opening{Verdict: new(proxy.Respond(200, g.Text+" "+string(x.Path())+" "+x.Request.Get("X-By")))}
}

func init() {
	plugin.Register(plugin.Destinations, "test_greet", "Greets.", newGreeter)
}

const greetings = quiet + `
listeners = [{ name = "one", listen = "127.0.0.1:0" }]
routes = [
	{ pattern = "/a/*", dest = "hello", headers.request.X-By = "{method}", rewrite.strip_prefix = "/a" },
	{ pattern = "/b", dest = "hello", rules = [{ when = 'query.end == "1"', dest = "bye" }] },
	{ pattern = "/broken", dest = "broken" },
	{ pattern = "/empty", dest = "empty" },
	{ pattern = "/neither", dest = "neither" },
	{ pattern = "/typed", dest = "typed" },
]
[destinations]
hello = { type = "test_greet", text = "hello" }
bye = { type = "test_greet", text = "bye" }
default = { type = "test_greet", text = "anything" }
broken = { type = "test_greet", text = "x", fail = "open" }
empty = { type = "test_greet", text = "x", fail = "stream" }
neither = { type = "test_greet", text = "x", fail = "neither" }
typed = { type = "test_greet", text = "x", fail = "typed" }
`

// A destination of a module takes requests as an upstream does: of routes, of rules, and those that no route takes. A
// panic and an error of it are answers, and what it keeps and counts outlives a reload.
func TestPlugins_destinations(t *testing.T) {
	s := serve(t, parse(t, greetings), Options{})
	ask := func(path string) (int, string) {
		resp, body := testutil.Get(t, http.DefaultClient, urlOf(t, s, "one")+path)
		return resp.StatusCode, string(body)
	}
	for path, want := range map[string]string{
		"/a/x": "hello /a/x GET", "/b": "hello /b ", "/b?end=1": "bye /b ", "/other": "anything /other ",
	} {
		if status, body := ask(path); status != 200 || body != want {
			t.Errorf("%s: got %d %q, want %q", path, status, body, want)
		}
	}
	for path, want := range map[string]int{"/broken": 500, "/empty": 502, "/neither": 500, "/typed": 500} {
		if status, body := ask(path); status != want {
			t.Errorf("%s: got %d %q, want %d", path, status, body, want)
		}
	}
	mustApply(t, s, parse(t, strings.Replace(greetings, `text = "hello"`, `text = "moin"`, 1)))
	if _, body := ask("/b"); body != "moin /b " {
		t.Errorf("after a reload: %q", body)
	}
	want := `edge_plugin_total{kind="destination",name="hello",result="greeted",type="test_greet"} 3`
	wantSeries(t, scrape(t, s), want)
}

// A destination that cannot be made refuses the configuration, with its place, and the present one goes on.
func TestPlugins_refused(t *testing.T) {
	s := serve(t, parse(t, greetings), Options{})
	for fail, want := range map[string]string{
		"make":    `test.toml:13:1: destination "hello": it does not want to`,
		"panic":   `test.toml:13:1: destination "hello": destinations of type "test_greet": panic: it must not`,
		"nothing": `destinations of type "test_greet": New has returned neither a destination nor an error`,
	} {
		text := strings.Replace(greetings, `text = "hello"`, `text = "hello", fail = "`+fail+`"`, 1)
		wantRefused(t, s, parse(t, text), want)
	}
	if resp, body := testutil.Get(t, http.DefaultClient, urlOf(t, s, "one")+"/b"); string(body) != "hello /b " {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
}

// recordConfig is that of a type of log sinks that keep what they get.
type recordConfig struct {
	Name string `edge:"name" doc:"Of the one that keeps it." required:"true" example:"one"`
	Fail string `edge:"fail" doc:"What fails." enum:"make panic error close"`
}

// recorder is a log sink.
type recorder struct {
	*recordConfig
	lines  chan string
	closed chan struct{}
}

var recorders = make(chan *recorder, 10) // that were made

func newRecorder(c *recordConfig, _ *plugin.Build) (io.Writer, error) {
	if c.Fail == "make" {
		return nil, errors.New("it cannot be reached")
	}
	r := &recorder{c, make(chan string), make(chan struct{})}
	recorders <- r
	return r, nil
}

// Write blocks until the lines are taken.
func (r *recorder) Write(p []byte) (int, error) {
	switch r.Fail {
	case "panic":
		panic(errors.New("it must not"))
	case "error":
		return 0, errors.New("it is full")
	}
	select {
	case r.lines <- string(p):
	case <-r.closed:
	}
	return len(p), nil
}

// Close panics when it is called twice, as that of others may.
func (r *recorder) Close() error {
	close(r.closed)
	if r.Fail == "close" {
		panic(errors.New("it does not end"))
	}
	return nil
}

func init() { plugin.Register(plugin.LogSinks, "test_record", "Keeps lines.", newRecorder) }

const recorded = `
log.output = ["kept"]
[log_sinks]
kept = { type = "test_record", name = "one" }
route = { type = "test_record", name = "two" }
[[listeners]]
name = "one"
listen = "127.0.0.1:0"
[[routes]]
pattern = "/*"
dest = "status:204"
[[routes]]
pattern = "/two"
dest = "status:204"
access_log = "route"
`

// A log sink of a module gets the lines of what names it, and blocks nobody. It outlives a reload that does not change
// it.
func TestPlugins_logSinks(t *testing.T) {
	s := serve(t, parse(t, recorded), Options{})
	one, two := <-recorders, <-recorders
	if one.Name != "one" {
		one, two = two, one
	}
	ask := func(path string) { testutil.Get(t, http.DefaultClient, urlOf(t, s, "one")+path) }
	read := func(r *recorder) string {
		t.Helper()
		select {
		case line := <-r.lines:
			return line
		case <-time.After(testutil.Patience):
			t.Fatal("there is no line")
			return ""
		}
	}
	ask("/one")
	ask("/two") // though nobody takes the line before
	if line := read(one); !strings.Contains(line, `"path":"/one"`) || !strings.HasSuffix(line, "}\n") {
		t.Errorf("got %s", line)
	}
	wantPart(t, read(two), `"path":"/two"`)
	mustApply(t, s, parse(t, strings.Replace(recorded, `"two"`, `"three"`, 1)))
	three := <-recorders
	ask("/one")
	ask("/two")
	if line := read(one); !strings.Contains(line, `"path":"/one"`) || three.Name != "three" {
		t.Errorf("%s got %s", three.Name, line)
	}
	wantPart(t, read(three), `"path":"/two"`)
	wantPart(t, scrape(t, s), `{output="kept"}`)
	testutil.Must(t, s.Stop())
	for _, r := range []*recorder{one, two, three} {
		<-r.closed
	}
}

// A log sink that cannot be made refuses the configuration; one that panics or refuses loses its lines, and no more.
func TestPlugins_brokenLogSinks(t *testing.T) {
	text := strings.Replace(recorded, `name = "one" }`, `name = "one", fail = "make" }`, 1)
	if _, err := New(parse(t, text), Options{}); err == nil ||
		!strings.Contains(err.Error(), `test.toml:4:1: log sink "kept": it cannot be reached`) {
		t.Errorf("got %v", err)
	}
	for _, fail := range []string{"panic", "error"} {
		s := serve(t, parse(t, strings.Replace(recorded, `name = "one" }`, `name = "one", fail = "`+fail+`" }`, 1)),
			Options{})
		<-recorders
		<-recorders
		testutil.Get(t, http.DefaultClient, urlOf(t, s, "one")+"/one")
		testutil.Eventually(t, testutil.Patience, func() bool {
			return strings.Contains(scrape(t, s), `edge_log_lost_total{output="kept"} 1`)
		}, fail)
	}
}

// A log sink whose Close panics ends alone. One that a reload took away is closed once, though the server ends before
// its time has come.
func TestPlugins_closedLogSinks(t *testing.T) {
	s := serve(t, parse(t, strings.Replace(recorded, `name = "one" }`, `name = "one", fail = "close" }`, 1)), Options{})
	<-recorders
	<-recorders
	out := &sink{path: "gone", writer: &recorder{&recordConfig{}, nil, make(chan struct{})}}
	s.logs.linger(out)
	err := s.Stop()
	wantErr(t, err, "access log kept: panic: it does not end")
	if err := out.close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
}

// preferConfig is that of a type of balance methods that pick one backend while it is open.
type preferConfig struct {
	Place int    `edge:"place" doc:"Of the backend." min:"0" max:"9"`
	Fail  string `edge:"fail" doc:"What fails." enum:"make pick new"`
}

// preferring is a picker. It counts its picks over reloads.
type preferring struct {
	*preferConfig
	counter *plugin.Counter
}

func newPrefer(c *preferConfig, b *plugin.Build) (*balance.Method, error) {
	if c.Fail == "make" {
		return nil, errors.New("it does not want to")
	}
	counter := b.Counter("picked")
	return &balance.Method{New: func(int, int) balance.Picker {
		if c.Fail == "new" {
			panic(errors.New("there is none"))
		}
		return preferring{c, counter}
	}}, nil
}

func (p preferring) Pick(v *balance.View, _ *balance.Local, q *balance.Request) int {
	if p.Fail == "pick" {
		panic(errors.New("it must not"))
	}
	for i := range v.Len() {
		if i = (i + p.Place) % v.Len(); v.Open(i) && !q.Tried.Has(i) {
			p.counter.Inc()
			return i
		}
	}
	return -1
}

func init() { plugin.Register(plugin.BalanceMethods, "test_prefer", "Prefers one.", newPrefer) }

const preferred = quiet + `
balance_methods = { mine = { type = "test_prefer", place = 1 }, of_route = { type = "test_prefer", place = 2 } }
listeners = [{ name = "one", listen = "127.0.0.1:0" }]
routes = [
	{ pattern = "/*", dest = "all" },
	{ pattern = "/route", dest = "all", load_balancing = "of_route" },
]
[upstreams.all]
load_balancing = "mine"
backends = [{ address = "%s" }, { address = "%s" }, { address = "%s" }]
`

// A balance method of a module picks for upstreams and routes that name it; a reload that changes its keys has another
// one in its place. One that fails picks nobody.
func TestPlugins_balanceMethods(t *testing.T) {
	var backends []any
	for _, name := range []string{"a", "b", "c"} {
		addr, _ := origin(t, name)
		backends = append(backends, addr)
	}
	text := fmt.Sprintf(preferred, backends...)
	s := serve(t, parse(t, text), Options{})
	asks := func(when string, want map[string]string) {
		t.Helper()
		for path, want := range want {
			for range 3 {
				resp, body := testutil.Get(t, http.DefaultClient, urlOf(t, s, "one")+path)
				got, _, _ := strings.Cut(string(body), " ")
				if resp.StatusCode == 200 && got != want || resp.StatusCode != 200 && want != "" {
					t.Errorf("%s: %s: got %d %q, want %q", when, path, resp.StatusCode, got, want)
				}
			}
		}
	}
	asks("at first", map[string]string{"/": "b", "/route": "c"})
	for _, change := range []struct{ old, next, all, route string }{
		{"place = 1", "place = 0", "a", "c"},
		{"place = 2", `place = 0, fail = "pick"`, "b", ""},
		{"place = 1", `place = 0, fail = "new"`, "", "c"},
	} {
		mustApply(t, s, parse(t, strings.Replace(text, change.old, change.next, 1)))
		asks(change.next, map[string]string{"/": change.all, "/route": change.route})
	}
	counted := `edge_plugin_total{kind="balance method",name="mine",result="picked",type="test_prefer"} 9`
	wantSeries(t, scrape(t, s), counted)
	wantRefused(t, s, parse(t, strings.Replace(text, "place = 1", `fail = "make"`, 1)),
		`balance method "mine": it does not want to`)
}

// doorConfig is that of a type of connection filters.
type doorConfig struct {
	Refuse string `edge:"refuse" doc:"What it says no to." enum:"none all secured panic make"`
}

var met = make(chan session.ConnInfo, 100) // connections that a test_door was asked about

func newDoor(c *doorConfig, _ *plugin.Build) (*session.ConnFilter, error) {
	if c.Refuse == "make" {
		return nil, errors.New("it does not want to")
	}
	return &session.ConnFilter{
		Accept: func(conn session.ConnInfo) bool {
			met <- conn
			if c.Refuse == "panic" {
				panic(errors.New("it must not"))
			}
			return c.Refuse != "all"
		},
		Secure: func(conn session.ConnInfo) bool {
			met <- conn
			return c.Refuse != "secured"
		},
	}, nil
}

func init() { plugin.Register(plugin.ConnectionFilters, "test_door", "Says no.", newDoor) }

// A connection filter of a module is asked before TLS and after it, and closes what it does not want. A reload changes
// it.
func TestPlugins_connectionFilters(t *testing.T) {
	ca := testutil.NewAuthority(t)
	text := quiet + secured(t, ca, t.TempDir()) + `connection_filters = ["door"]
[[listeners]]
name = "plain"
listen = "127.0.0.1:0"
connection_filters = ["door"]
[[listeners]]
name = "open"
listen = "127.0.0.1:0"
[connection_filters.door]
type = "test_door"
refuse = "none"
` + all200
	s := serve(t, parse(t, text), Options{})
	asked := func() (all []session.ConnInfo) {
		for {
			select {
			case c := <-met:
				all = append(all, c)
			default:
				return all
			}
		}
	}
	fails := func(c *http.Client, url string) bool {
		defer c.CloseIdleConnections()
		resp, err := c.Get(url)
		if err == nil {
			resp.Body.Close()
		}
		return err != nil
	}
	plain := &http.Client{Transport: &http.Transport{}, Timeout: testutil.Patience}
	if fails(asHTTPS(t, ca, true), secureURL(t, s)) {
		t.Error("a connection is refused")
	}
	if all := asked(); len(all) != 2 || all[0].TLS != nil || all[0].Listener != "web" || !all[0].Peer.IP.IsValid() ||
		all[1].Local != all[0].Local || all[1].TLS.ServerName != "example.org" || all[1].TLS.ALPN != "h2" {
		t.Errorf("it was asked about %+v", all)
	}
	if fails(plain, urlOf(t, s, "open")) || len(asked()) != 0 {
		t.Error("the filter is asked about another listener")
	}
	for _, c := range []struct {
		refuse         string
		plain, secured bool // it fails
	}{{"all", true, true}, {"secured", false, true}, {"panic", true, true}, {"none", false, false}} {
		next := strings.Replace(text, `"none"`, `"`+c.refuse+`"`, 1)
		mustApply(t, s, parse(t, next))
		wantEqual(t, fails(plain, urlOf(t, s, "plain")), c.plain, "%s: a plain connection fails", c.refuse)
		if got := fails(asHTTPS(t, ca, false), secureURL(t, s)); got != c.secured {
			t.Errorf("%s: a connection with TLS fails: %v, want %v", c.refuse, got, c.secured)
		}
		asked()
	}
	wantRefused(t, s, parse(t, strings.Replace(text, `"none"`, `"make"`, 1)),
		`connection filter "door": it does not want to`)
	want := `edge_plugin_total{kind="connection filter",name="door",result="refused",type="test_door"} `
	if page := scrape(t, s); !strings.Contains(page, want) || strings.Contains(page, want+"0") {
		t.Errorf("no %s in\n%s", want, page)
	}
}

// RFC 9000 §21.3: the source of an Initial may be forged. A connection filter, which may count by addresses, is asked
// about a connection of QUIC once its client has proved its address: after a Retry at once, else after the handshake.
func TestPlugins_connectionFiltersOverQUIC(t *testing.T) {
	for retry, proved := range map[string]bool{"never": false, "always": true} {
		t.Run(retry, func(t *testing.T) {
			ca := testutil.NewAuthority(t)
			text := quiet + secured(t, ca, t.TempDir()) + withH3 + `connection_filters = ["door"]
h3.retry = "` + retry + `"
[connection_filters.door]
type = "test_door"
refuse = "none"
` + all200
			s := start(t, Options{}, "%s", text)
			dial := func() *quicpeer.Socket {
				return quicpeer.DialSocket(t, strings.TrimPrefix(secureURL(t, s), "https://"), &tls.Config{
					RootCAs: ca.Pool, ServerName: "example.org", NextProtos: []string{"h3"},
					MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519}, // one datagram
				}, quic.Options{}, nil)
			}
			c := dial()
			begun := func() bool { return s.Conns() > 0 && (len(met) > 0 || !proved) }
			if !c.Until(testutil.Patience, begun) || len(met) > 0 != proved { // the client has not answered yet
				t.Fatalf("it was asked %d times during the handshake", len(met))
			}
			if !c.Until(testutil.Patience, func() bool { return len(met) == 2 }) {
				t.Fatalf("it was asked %d times", len(met))
			}
			first, second := <-met, <-met
			if first.TLS != nil || second.TLS == nil || first.Listener != "web" || first.Peer != second.Peer {
				t.Errorf("it was asked about %+v and %+v", first, second)
			}
			apply(t, s, "%s", strings.Replace(text, `"none"`, `"all"`, 1))
			if c = dial(); c.Until(testutil.Patience, func() bool { return false }) || !c.Closed || len(met) != 1 {
				t.Errorf("it is not refused, or by %d questions", len(met))
			}
			<-met
		})
	}
}

// listConfig is that of a type of discoverers that know their backends.
type listConfig struct {
	Addresses []string `edge:"addresses" doc:"Of the backends." required:"true" example:"10.0.0.7:80"`
	Fail      string   `edge:"fail" doc:"What fails." enum:"make panic"`
}

// listSource is a source. It counts over reloads how often sources were run.
type listSource struct {
	*listConfig
	runs *atomic.Int32
}

var listRuns = make(chan int32, 100)

func newList(c *listConfig, b *plugin.Build) (discovery.Source, error) {
	if c.Fail == "make" {
		return nil, errors.New("it does not want to")
	}
	runs, err := plugin.Keep(b, "runs", func() (*atomic.Int32, error) { return new(atomic.Int32), nil })
	return &listSource{c, runs}, err
}

func (s *listSource) Run(ctx context.Context, publish func([]backend.Spec, error)) error {
	listRuns <- s.runs.Add(1)
	if s.Fail == "panic" {
		panic(errors.New("it must not"))
	}
	var list []backend.Spec
	for _, address := range s.Addresses {
		list = append(list, backend.Spec{Address: address, Weight: 1})
	}
	publish(list, nil)
	<-ctx.Done()
	return nil
}

func init() { plugin.Register(plugin.Discoverers, "test_list", "Knows backends.", newList) }

// A discoverer of a module finds backends; a reload that changes its keys has another one find others, and one that
// fails loses none.
func TestPlugins_discoverers(t *testing.T) {
	one, _ := origin(t, "one")
	two, _ := origin(t, "two")
	text := quiet + fmt.Sprintf(`
discoverers.list = { type = "test_list", addresses = [%q] }
listeners = [{ name = "one", listen = "127.0.0.1:0" }]
upstreams.all.discover = "list"
routes = [{ pattern = "/*", dest = "all" }]
`, one)
	s := serve(t, parse(t, text), Options{})
	answers := func(want string) {
		t.Helper()
		testutil.Eventually(t, testutil.Patience, func() bool {
			resp, body := testutil.Get(t, http.DefaultClient, urlOf(t, s, "one")+"/")
			return resp.StatusCode == 200 && strings.HasPrefix(string(body), want+" ")
		}, want)
	}
	reload := func(text string) {
		t.Helper()
		mustApply(t, s, parse(t, text))
	}
	answers("one")
	reload(strings.Replace(text, `"/*"`, `"/"`, 1)) // the source runs on
	answers("one")
	reload(strings.Replace(text, one, two, 1))
	answers("two")
	reload(strings.Replace(text, `"] }`, `"], fail = "panic" }`, 1)) // what was found stays
	answers("two")
	wantRefused(t, s, parse(t, strings.Replace(text, `"] }`, `"], fail = "make" }`, 1)),
		`discoverer "list": it does not want to`)
	for want := range int32(3) {
		if got := <-listRuns; got != want+1 {
			t.Errorf("run %d, want %d", got, want+1)
		}
	}
}
