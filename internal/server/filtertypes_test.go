package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/changes"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
)

// noteConfig is that of a type of filters that write their names into a field of the answer.
type noteConfig struct {
	As   string `edge:"as" doc:"What is written in place of the name."`
	Fail string `edge:"fail" doc:"What New says." enum:"error panic nothing"`
}

func newNote(c *noteConfig, b *plugin.Build) (*proxy.Filter, error) {
	switch c.Fail {
	case "error":
		return nil, errors.New("it does not want to")
	case "panic":
		panic("it must not")
	case "nothing":
		return nil, nil
	}
	name := b.Name
	if c.As != "" {
		name = c.As
	}
	counter := b.Counter("noted")
	return &proxy.Filter{Response: func(x *proxy.Exchange) proxy.Verdict {
		counter.Add(x)
		x.Response.Set("X-Filters", strings.TrimSpace(x.Response.Get("X-Filters")+" "+name))
		return proxy.Next
	}}, nil
}

// tallyConfig is a type of filters that count over reloads, and let requests for /wait wait.
type tallyConfig struct {
	Identity string `edge:"identity" doc:"Of what it counts." default:"one"`
}

type sum struct{ seen, closed atomic.Int32 }

func (t *sum) Close() { t.closed.Add(1) }

var (
	tallies = make(chan *sum, 100) // that were made
	waiting = make(chan proxy.Ref, 1)
)

func newTally(c *tallyConfig, b *plugin.Build) (*proxy.Filter, error) {
	of, err := plugin.Keep(b, c.Identity, func() (*sum, error) {
		t := &sum{}
		tallies <- t
		return t, nil
	})
	return &proxy.Filter{Request: func(x *proxy.Exchange) proxy.Verdict {
		of.seen.Add(1)
		if string(x.Path()) == "/wait" {
			waiting <- x.Ref()
			return proxy.Park
		}
		return proxy.Next
	}}, err
}

func init() {
	plugin.Register(plugin.Filters, "test_note", "Notes its name.", newNote)
	plugin.Register(plugin.Filters, "test_tally", "Counts.", newTally)
}

const noteRoutes = quiet + `
filters.a = { type = "test_note" }
filters.b = { type = "test_note", as = "B" }
filters.c = { type = "test_note" }
filters.d = { type = "test_note", when = 'path == "/some"' }
defaults.filters = ["b", "d", "mine"]
listeners = [
	{ name = "one", listen = "127.0.0.1:0" },
	{ name = "two", listen = "127.0.0.1:0", filters = ["a", "!d"] },
]
routes = [
	{ pattern = "/*", dest = "status:204" },
	{ pattern = "/own", dest = "status:204", filters = ["c", "!mine"] },
	{ pattern = "/moved", dest = "status:204", filters = ["!b", "b", "a"] },
	{ pattern = "/none", dest = "status:204", filters = ["!b", "!d", "!mine", "!a"] },
]
`

// Filters run in the order listener, [defaults], route, and each list takes out what runs before it.
func TestFilterTypes_order(t *testing.T) {
	mine := &proxy.Filter{Response: func(x *proxy.Exchange) proxy.Verdict {
		x.Response.Set("X-Filters", x.Response.Get("X-Filters")+" mine")
		return proxy.Next
	}}
	s := serve(t, parse(t, noteRoutes, "mine"), Options{Filters: map[string]*proxy.Filter{"mine": mine}})
	for _, c := range []struct{ listener, path, want string }{
		{"one", "/", "B mine"},
		{"one", "/some", "B d mine"},
		{"one", "/own", "B c"},
		{"one", "/moved", "mine B a"},
		{"one", "/none", ""},
		{"two", "/", "a B mine"},
		{"two", "/some", "a B mine"},
		{"two", "/own", "a B c"},
		{"two", "/moved", "a mine B"},
		{"two", "/none", ""},
	} {
		resp, _ := testutil.Get(t, http.DefaultClient, urlOf(t, s, c.listener)+c.path)
		wantEqual(t, strings.TrimSpace(resp.Header.Get("X-Filters")), c.want, "%s %s", c.listener, c.path)
	}
	wantCounter(t, s, 5, "edge_filter_total", "a", "noted", "test_note")
	wantCounter(t, s, 1, "edge_filter_total", "d", "noted", "test_note")
}

// A reload keeps what filters count, and closes what no configuration keeps when the last request is over that may use
// it.
func TestFilterTypes_reloadKeeps(t *testing.T) {
	const routes = quiet + "http = { name = \"web\", listen = \"127.0.0.1:0\" }\n[[routes]]\npattern = \"/*\"\n" +
		"dest = \"status:204\"\n"
	const with = routes + "filters = [\"t\"]\n[filters.t]\ntype = \"test_tally\"\n"
	s := serve(t, parse(t, with), Options{})
	of := <-tallies
	get(t, s, "web", "/")
	apply(t, s, "%s", with+"identity = \"one\"\n[filters.unused]\ntype = \"test_note\"\nfail = \"error\"\n")
	get(t, s, "web", "/")
	if n := of.seen.Load(); n != 2 || len(tallies) > 0 {
		t.Errorf("%d requests were counted over a reload, want 2", n)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if resp, err := http.Get(urlOf(t, s, "web") + "/wait"); err == nil {
			_ = resp.Body.Close()
		}
	}()
	ref := <-waiting
	d := apply(t, s, "%s", with+"identity = \"two\"\n")
	next := <-tallies
	changed := func(e changes.Entry) bool {
		return e.Title() == "filter t" && e.Action == changes.Changed && slices.Equal(e.Keys, []string{"identity"})
	}
	if !slices.ContainsFunc(d.Entries, changed) {
		t.Errorf("the reload tells %+v", d.Entries)
	}
	get(t, s, "web", "/")
	if next.seen.Load() != 1 || of.seen.Load() != 3 {
		t.Errorf("the filter with another identity counts for the first one")
	}
	for range 5 {
		runtime.GC()
	}
	wantEqual(t, of.closed.Load(), 0, "closed before the request was over that uses it")
	ref.Resume(proxy.Next)
	<-done
	apply(t, s, "%s", routes)
	testutil.Eventually(t, testutil.Patience, func() bool {
		runtime.GC()
		get(t, s, "web", "/")
		return of.closed.Load() == 1 && next.closed.Load() == 1
	})
}

// What a server keeps is closed when it stops.
func TestFilterTypes_stopCloses(t *testing.T) {
	s := serve(t, parse(t, quiet+"http.listen = \"127.0.0.1:0\"\ndefaults.filters = [\"t\"]\n"+
		"filters.t.type = \"test_tally\"\n[[routes]]\npattern = \"/*\"\ndest = \"status:204\"\n"), Options{})
	of := <-tallies
	if err := s.Stop(); err != nil || of.closed.Load() != 1 {
		t.Errorf("closed %d times, %v; want 1", of.closed.Load(), err)
	}
}

// A filter that cannot be made refuses the reload, with the place of its section, and the present configuration goes
// on.
func TestFilterTypes_newFails(t *testing.T) {
	const routes = quiet + "http = { name = \"web\", listen = \"127.0.0.1:0\" }\n[[routes]]\npattern = \"/*\"\n" +
		"dest = \"status:204\"\nfilters = [\"n\", \"t\"]\n[filters.t]\ntype = \"test_tally\"\n"
	s := serve(t, parse(t, routes+"[filters.n]\ntype = \"test_note\"\n"), Options{})
	of := <-tallies
	for fail, want := range map[string]string{
		"error":   `test.toml:10:1: filter "n": it does not want to`,
		"panic":   `test.toml:10:1: filter "n": filters of type "test_note": panic: it must not`,
		"nothing": `test.toml:10:1: filter "n": filters of type "test_note": New has returned neither`,
	} {
		text := strings.Replace(routes, `"n", "t"`, `"t", "n"`, 1)
		text = strings.Replace(text, `"test_tally"`, `"test_tally"`+"\nidentity = \""+fail+`"`, 1)
		wantRefused(t, s, parse(t, text+"[filters.n]\ntype = \"test_note\"\nfail = \""+fail+"\"\n"), want)
		if begun := <-tallies; begun.closed.Load() != 1 {
			t.Errorf("%s: what the other filter kept for it is not closed", fail)
		}
		resp, _ := testutil.Get(t, http.DefaultClient, urlOf(t, s, "web")+"/")
		wantEqual(t, resp.Header.Get("X-Filters"), "n", "%s: the present filter does not run", fail)
	}
	if of.seen.Load() != 3 || of.closed.Load() != 0 {
		t.Errorf("counted %d, closed %d times; want 3 and 0", of.seen.Load(), of.closed.Load())
	}
}

const takenRoutes = quiet + `
filters.quota = { type = "test_note" }
defaults.filters = ["auth", "waf", "quota"]
listeners = [{ name = "one", listen = "127.0.0.1:0" }]
routes = [
	{ pattern = "/*", dest = "status:204", filters = ["!waf"] },
	{ pattern = "/q", dest = "status:204", filters = ["!quota"] },
]
`

// What a list takes out is named as in the file, whatever a program calls its filters.
func TestFilterTypes_takenOutByTheNameInTheFile(t *testing.T) {
	auth := &proxy.Filter{Name: "quota", Request: func(*proxy.Exchange) proxy.Verdict { return proxy.Respond(401, "") }}
	waf := &proxy.Filter{Name: "mine"}
	s := serve(t, parse(t, takenRoutes, "auth", "waf"),
		Options{Filters: map[string]*proxy.Filter{"auth": auth, "waf": waf}})
	for _, path := range []string{"/", "/q"} {
		if resp, _ := testutil.Get(t, http.DefaultClient, urlOf(t, s, "one")+path); resp.StatusCode != 401 {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
}

// Filters that a program has are named in a configuration: for all requests or for those of a route, and a reload takes
// them in and out.
func TestFilters_byName(t *testing.T) {
	note := func(name string) *proxy.Filter {
		return &proxy.Filter{Name: name, Response: func(x *proxy.Exchange) proxy.Verdict {
			x.Response.Set("X-Filters", strings.TrimSpace(x.Response.Get("X-Filters")+" "+name))
			return proxy.Next
		}}
	}
	o := Options{Filters: map[string]*proxy.Filter{"one": note("one"), "two": note("two")}}
	const routes = quiet + "http.listen = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/*\"\ndest = \"status:200\"\n" +
		"filters = [\"two\"]\n[[routes]]\npattern = \"/plain\"\ndest = \"status:200\"\n"
	s := serve(t, parse(t, "defaults.filters = [\"one\"]\n"+routes, "one", "two"), o)
	check := func(want map[string]string) {
		t.Helper()
		for path, filters := range want {
			resp, _ := testutil.Get(t, http.DefaultClient, "http://"+s.Addresses()[0].Addr.String()+path)
			wantEqual(t, resp.Header.Get("X-Filters"), filters, "%s", path)
		}
	}
	check(map[string]string{"/": "one two", "/plain": "one"})
	d, err := s.Apply(parse(t, routes, "one", "two"))
	if err != nil || len(d.Changed) != 1 || d.Changed[0] != "filters" {
		t.Error(d, err)
	}
	check(map[string]string{"/": "two", "/plain": ""})
	// A configuration that was not parsed for this program does not get as far as to serve.
	cfg := parse(t, "defaults.filters = [\"three\"]\n"+routes, "three", "two")
	wantRefused(t, s, cfg, `no filter is called "three"`)
}

// A filter sends requests to upstreams of the configuration, by their names, whatever a reload makes of them.
func TestFilters_chooseUpstreamsByName(t *testing.T) {
	origin := func(name string) string {
		o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, name+" "+r.Header.Get("Via"))
		}))
		t.Cleanup(o.Close)
		return o.Listener.Addr().String()
	}
	log := logged(t, 100)
	choose := &proxy.Filter{Request: func(x *proxy.Exchange) proxy.Verdict {
		x.SetDestination(proxy.Named(x.Query("to")))
		return proxy.Next
	}}
	parse := func(one, two string) *config.Config {
		t.Helper()
		text := "http.listen = \"127.0.0.1:0\"\n[upstreams.one]\nbackends = [{ address = \"" + one + "\" }]\n" +
			"[upstreams.two]\nbackends = [{ address = \"" + two + "\" }]\n[[routes]]\npattern = \"/*\"\n" +
			"dest = \"status:404\"\nfilters = [\"choose\"]\n"
		cfg, report := config.Options{Filters: []string{"choose"}}.Parse("test.toml", []byte(quiet+text))
		if !report.OK() || len(report.Warnings) > 0 {
			t.Fatal(report.Errors, report.Warnings)
		}
		return cfg
	}
	one, two := origin("one"), origin("two")
	s := serve(t, parse(one, two), Options{Filters: map[string]*proxy.Filter{"choose": choose}})
	check := func(want map[string]string) {
		t.Helper()
		for name, text := range want {
			resp, body := testutil.Get(t, http.DefaultClient, "http://"+s.Addresses()[0].Addr.String()+"/?to="+name)
			wantPrefix(t, fmt.Sprint(resp.StatusCode, " ", body), text, "%s", name)
		}
	}
	check(map[string]string{"one": "200 one 1.1 edge", "two": "200 two 1.1 edge", "three": "503 "})
	lines := log.with("no connection to a backend")
	if len(lines) == 0 || lines[0]["error"] != `no destination is called "three"` {
		t.Error(lines)
	}
	mustApply(t, s, parse(two, one))
	check(map[string]string{"one": "200 two 1.1 edge", "two": "200 one 1.1 edge"})
}

// bearer is what a type of filters makes of the field X-Token: "sub group group".
type bearer struct{ words [][]byte }

func (v *bearer) Claim(name string, dst [][]byte) [][]byte {
	switch {
	case len(v.words) == 0:
	case name == "sub":
		return append(dst, v.words[0])
	case name == "groups":
		return append(dst, v.words[1:]...)
	}
	return dst
}

var bearers = proxy.NewLocal[bearer]()

func init() {
	type none struct{}
	create := func(*none, *plugin.Build) (*proxy.Filter, error) {
		return &proxy.Filter{Request: func(x *proxy.Exchange) proxy.Verdict {
			v := bearers.Of(x)
			for word := range strings.FieldsSeq(x.Request.Get("X-Token")) {
				v.words = append(v.words, []byte(word))
			}
			if len(v.words) > 0 {
				proxy.SetUser(x, string(v.words[0]))
				proxy.SetClaims(x, v)
			}
			return proxy.Next
		}}, nil
	}
	plugin.Register(plugin.Filters, "test_token", "Takes a token for what it says.", create)
}

// What an authentication filter gives is known to the filters after it, to fields and to the log, and to nobody else.
func TestClaims(t *testing.T) {
	t.Parallel()
	lines := filepath.Join(t.TempDir(), "access.log")
	s := start(t, Options{}, `
log.output = "%s"
log.line = "{path} {auth.claim.groups}"
filters.token.type = "test_token"
filters.admins = { type = "test_note", as = "admin", when = 'auth.claim.groups == "admin"' }
filters.nobody = { type = "test_note", as = "nobody", when = 'not has(auth.claim.sub)' }
listeners = [{ name = "web", listen = "127.0.0.1:0" }]
[[routes]]
pattern = "/*"
dest = "status:204"
filters = ["token", "admins", "nobody"]
headers.response = { X-Sub = "{auth.claim.sub}", X-Mail = '{auth.claim["https://x.org/mail"] ?? "none"}' }
`, lines)
	for _, c := range []struct{ path, token, sub, filters string }{
		{"/a", "X-Token: alice dev admin", "alice", "admin"},
		{"/b", "X-Token: bob dev", "bob", ""},
		{"/c", "X-Other: admin", "", "nobody"},
	} {
		resp := askFor(t, "GET", urlOf(t, s, "web")+c.path, c.token)
		sub, filters := resp.Header.Get("X-Sub"), resp.Header.Get("X-Filters")
		if sub != c.sub || filters != c.filters || resp.Header.Get("X-Mail") != "none" {
			t.Errorf("%s: %q %q, want %q %q", c.token, sub, filters, c.sub, c.filters)
		}
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		got, _ := os.ReadFile(lines)
		return strings.Contains(string(got), "/a dev, admin\n") && strings.Contains(string(got), "/c \n")
	}, "the log has the groups")
}
