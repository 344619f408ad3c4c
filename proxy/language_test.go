package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/exchange/forwarding"
	"github.com/edge-proxy/edge/internal/exchange/variables"
	"github.com/edge-proxy/edge/internal/match/geo"
	"github.com/edge-proxy/edge/internal/match/table"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/warm"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/proxy"
)

// scopeOf returns what texts of the tests may name.
func scopeOf(t testing.TB) *lang.Scope {
	t.Helper()
	office := netip.MustParsePrefix("192.0.2.0/24")
	s, err := variables.Scope(lang.Names{
		Lists:     map[string]lang.List{"office": {Kind: lang.IP, HasAddr: office.Contains}},
		Variables: variables.Geo(geo.Databases{database(t)}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// database knows one network.
func database(t testing.TB) geo.Database {
	t.Helper()
	place, has := geo.AppendPlace(nil, &[geo.ASN]string{geo.Country: "US"}, 64496)
	m := table.NewMap("geo", table.Options{})
	u, err := m.Prepare(table.Source{Inline: []table.Entry{{Key: "192.0.2.0/24", Value: string(place)}}})
	if err != nil {
		t.Fatal(err)
	}
	u.Commit()
	return geo.Database{Map: m, Fields: has}
}

func whenOf(t testing.TB, text string) *lang.Condition {
	t.Helper()
	c, err := scopeOf(t).Condition(text, lang.Request)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return c
}

func templateOf(t testing.TB, text string) *lang.Template {
	t.Helper()
	c, err := scopeOf(t).Template(text, lang.Request)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return c
}

// setFields is proxy.SetFields of texts.
func setFields(request, response map[string]string) *proxy.Filter {
	scope, err := variables.Scope(lang.Names{})
	if err != nil {
		panic(err)
	}
	compiled := func(fields map[string]string, in lang.Phases) map[string]*lang.Template {
		all := make(map[string]*lang.Template)
		for name, text := range fields {
			t, err := scope.LooseTemplate(text, in)
			if err != nil {
				panic(err)
			}
			all[name] = t
		}
		return all
	}
	return proxy.SetFields(compiled(request, lang.Request), compiled(response, lang.Answer))
}

// says is a filter that puts what a template is into a field of the answer.
func says(t testing.TB, name, text string) *proxy.Filter {
	say, err := scopeOf(t).Template(text, lang.Answer)
	if err != nil {
		t.Fatal(err)
	}
	return &proxy.Filter{Name: name, NamesMatch: say.NamesMatch(), Response: func(x *proxy.Exchange) proxy.Verdict {
		x.Response.Set(name, string(say.Append(nil, proxy.View(x))))
		return proxy.Next
	}}
}

// Conditions of routes see what routing sees, however the request is spelled.
func TestRoute_when(t *testing.T) {
	r := newRig(t, func(*engine.Engine) []proxy.Route {
		local := `client.ip in {127.0.0.0/8} and listener == "test" and not has(tls.version) and path == "/own"`
		named := func(name, when string) proxy.Route {
			return proxy.Route{Name: name, When: whenOf(t, when), To: proxy.Answer(200, "", name),
				Filters: []*proxy.Filter{says(t, "X-Match", "{match.1}")}}
		}
		version := named("version", `path ~ "^/api/v([0-9]+)/"`)
		version.Path = "/api"
		return []proxy.Route{
			{Name: "all", To: proxy.Answer(200, "", "all")},
			named("admin", `path starts_with "/admin"`), named("guest", `header.x-role == "guest"`),
			named("host", `host == "a.example" and port == 81`), version,
			named("local", local),
		}
	})
	w := testutil.Dial(t, r.addr())
	for _, c := range []struct{ target, fields, want, match string }{
		{"/", "", "all", ""},
		{"/admin", "", "admin", ""},
		{"/%61dmin", "", "admin", ""},
		{"/x/../admin", "", "admin", ""},
		{"/x", "X-Role: user\r\nX-Role: guest\r\n", "guest", ""},
		{"/api/v17/x", "", "version", "17"},
		{"/api/%7617/x", "", "version", "17"},
		{"/api/x", "", "all", ""},
		{"http://a.example:81/x", "", "host", ""},
		{"/own?path=/admin", "", "local", ""},
	} {
		host := "h"
		if strings.HasPrefix(c.target, "http:") {
			host = "a.example:81"
		}
		w.Send("GET " + c.target + " HTTP/1.1\r\nHost: " + host + "\r\n" + c.fields + "\r\n")
		resp, body := w.ReadResponse("GET")
		if body != c.want || resp.Header.Get("X-Match") != c.match {
			t.Errorf("%s %s: %q %q, want %q %q", c.target, c.fields, body, resp.Header.Get("X-Match"), c.want, c.match)
		}
	}
	// What some origins take for /admin is no way around the condition.
	for _, target := range []string{"//admin", "/x%2f..%2fadmin", "/\\admin"} {
		if resp, body := r.ask(t, "GET", target); resp.StatusCode != 400 {
			t.Errorf("%s: %s %q", target, resp.Status, body)
		}
	}
}

// The groups are those of the route that was chosen, on each stream its own.
func TestRoute_matchOfManyRoutes(t *testing.T) {
	g := warm.NewRouted(t, "GET /a/one HTTP/1.1\r\nHost: h\r\n\r\n", &proxy.Listener{},
		func(origin *upstream.Upstream) []proxy.Route {
			to := proxy.To(origin, nil)
			match := func(x *proxy.Exchange) proxy.Verdict {
				v := proxy.View(x)
				// Another "~" takes the groups until the next View.
				whenOf(t, `path ~ "^/(.)" and match.1 == "a"`).Holds(v)
				got := string(templateOf(t, "{match.0} {match.1} {match.2}").Append(nil, proxy.View(x)))
				if got != "/a/one a one" {
					t.Errorf("got %q", got)
				}
				return proxy.Next
			}
			return []proxy.Route{
				{Name: "x", When: whenOf(t, `path ~ "^/(a)/on(e)$" and header.x == "1" and path ~ "(/)a"`), To: to},
				{Name: "a", Path: "/a", When: whenOf(t, `path ~ "^/(a)/(one)$"`), To: to,
					Filters: []*proxy.Filter{{NamesMatch: true, Request: match, Response: match}}},
			}
		})
	if !strings.HasPrefix(g.First, "HTTP/1.1 200") {
		t.Fatal(g.First)
	}
}

// A filter with a condition is asked once an exchange, and its bodies pass as they come.
func TestFilter_when(t *testing.T) {
	var asked atomic.Int64
	rec := &recorder{}
	f := rec.filter("f", true)
	f.Blocking = proxy.PhaseRequest
	f.When = func(x *proxy.Exchange) bool {
		asked.Add(1)
		return x.Request.Get("X-Run") != "" || x.Query("run") != ""
	}
	r := filterRig(t, f)
	for _, c := range []struct {
		target string
		ran    bool
	}{{"/", false}, {"/?run=1", true}, {"/trailers", false}, {"/dead", false}, {"/own", false}} {
		asked.Store(0)
		rec.take()
		resp, body := r.post(t, c.target, "hello")
		r.settled(t)
		if n := asked.Load(); n != 1 {
			t.Errorf("%s: asked %d times", c.target, n)
		}
		if notes := rec.take(); len(notes) > 0 != c.ran {
			t.Errorf("%s: ran %q", c.target, notes)
		}
		if c.target == "/" && (body != "hello" || resp.Header.Get("X-Seen") != "5 []" || resp.ContentLength != 5) {
			t.Errorf("got %q %v", body, resp.Header)
		}
	}
}

// A condition that panics fails the exchange: the filter may be what keeps others out.
func TestFilter_whenPanics(t *testing.T) {
	ran := false
	r := filterRig(t, &proxy.Filter{When: func(*proxy.Exchange) bool { panic(fmt.Errorf("oh")) },
		Request: func(*proxy.Exchange) proxy.Verdict { ran = true; return proxy.Next }})
	if resp, _ := r.post(t, "/", "hello"); resp.StatusCode != 500 || ran {
		t.Errorf("got %s, ran: %v", resp.Status, ran)
	}
}

func TestRoute_without(t *testing.T) {
	rec := &recorder{}
	r := newRig(t, func(*engine.Engine) []proxy.Route {
		return []proxy.Route{{To: proxy.Answer(200, "", "")},
			{Path: "/a", Without: []string{"one"}, To: proxy.Answer(200, "", "")}}
	}, rec.filter("one", false), rec.filter("two", false))
	r.post(t, "/", "")
	if notes := strings.Join(rec.take(), " "); !strings.Contains(notes, "one") || !strings.Contains(notes, "two") {
		t.Error(notes)
	}
	r.post(t, "/a", "")
	if notes := strings.Join(rec.take(), " "); strings.Contains(notes, "one") || !strings.Contains(notes, "two") {
		t.Error(notes)
	}
	_, err := proxy.NewSnapshot([]proxy.Route{{Without: []string{"none"}, To: proxy.Answer(200, "", "")}}, nil)
	if err == nil || !strings.Contains(err.Error(), `"none"`) {
		t.Error(err)
	}
}

// claimsOf are claims that are written out.
type claimsOf map[string][]string

func (c claimsOf) Claim(name string, dst [][]byte) [][]byte {
	for _, value := range c[name] {
		dst = append(dst, []byte(value))
	}
	return dst
}

// Texts and the user stay with an exchange, on a worker too, and go with it.
func TestSetText(t *testing.T) {
	set := &proxy.Filter{Blocking: proxy.PhaseRequest, Request: func(x *proxy.Exchange) proxy.Verdict {
		if v := proxy.View(x); whenOf(t, `has(local.tier) or has(auth.user) or has(auth.claim.sub)`).Holds(v) {
			t.Error("texts of another exchange")
		}
		proxy.SetUser(x, "ann")
		proxy.SetClaims(x, claimsOf{"sub": {"ann@x.org"}, "aud": {"a", "b"}})
		for i := range proxy.TextsMax {
			proxy.SetText(x, fmt.Sprint("n", i), []byte("v"))
		}
		if proxy.SetText(x, "tier", []byte("gold")) || !proxy.SetText(x, "n0", []byte("gold")) {
			t.Error("too many texts, or too few")
		}
		return proxy.Next
	}}
	text := "{auth.user} {local.n0} {local.n1} {local.tier ?? \"-\"} {request.id == request_id} " +
		"{auth.claim.sub} {auth.claim.aud} {auth.claim.aud == \"b\"} {has(auth.claim.exp)}"
	r := filterRig(t, set, says(t, "X-Says", text))
	for range 3 {
		if resp, _ := r.post(t, "/", ""); resp.Header.Get("X-Says") != "ann gold v - true ann@x.org a, b true false" {
			t.Error(resp.Header)
		}
	}
}

// Texts that are cut are counted, on reactors and on workers.
func TestStats_language(t *testing.T) {
	long, err := scopeOf(t).Template(`{replace(header.x-long, "a", "`+strings.Repeat("0", 200)+`")}`, lang.Request)
	if err != nil {
		t.Fatal(err)
	}
	cut := func(x *proxy.Exchange) proxy.Verdict {
		long.Append(nil, proxy.View(x))
		return proxy.Next
	}
	r := filterRig(t, &proxy.Filter{Request: cut}, &proxy.Filter{Request: cut, Blocking: proxy.PhaseRequest})
	for range 2 {
		r.get(t, "/own", "X-Long", strings.Repeat("a", 1000))
	}
	if n := r.stats().Language.Cut; n != 2 {
		t.Errorf("reactors have cut %d texts, want 2", n)
	}
	byWorkers := func() bool { return r.proxy.WorkerLanguage().Cut == 2 }
	testutil.Eventually(t, testutil.Patience, byWorkers, "workers have cut two")
}

// At the end the variables of the answer are known.
func TestView_ofTheLog(t *testing.T) {
	got := make(chan string, 1)
	text := "{status} {answer.source} {attempts} " +
		"{route == \"all\" ? text(bytes.in) + \"/\" + text(bytes.out) : \"-\"} {upstream.status ?? 0} " +
		"{error.source ?? \"-\"}:{error.kind ?? \"-\"} {has(upstream.addr)} {upstream.time < duration} {target} {route}"
	say, err := scopeOf(t).Template(text, lang.Log)
	if err != nil {
		t.Fatal(err)
	}
	r := filterRig(t, &proxy.Filter{
		UpstreamRequest: func(x *proxy.Exchange) { x.Request.SetTarget("/other") },
		Log:             func(x *proxy.Exchange, _ *observe.Record) { got <- string(say.Append(nil, proxy.View(x))) },
	})
	for target, want := range map[string]string{
		"/x?q": "200 upstream 1 5/5 200 -:- true true /x?q all", "/own": "200 own 0 - 0 -:- false false /own own",
		"/dead/x": "502 own 1 - 0 backend:connect true false /dead/x dead",
	} {
		r.post(t, target, "hello")
		if s := <-got; s != want {
			t.Errorf("%s: %q, want %q", target, s, want)
		}
	}
}

// plan are claims of one value.
type plan struct{ is []byte }

func (p *plan) Claim(_ string, dst [][]byte) [][]byte { return append(dst, p.is) }

// Conditions of routes and filters, and texts, allocate nothing.
func TestView_warmAllocatesNothing(t *testing.T) {
	on := &proxy.Listener{Trusted: &forwarding.Trust{Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}}
	when := whenOf(t, `header.user-agent ~ "(?i)(bot|crawl|spider)[/ ]v?\d+" or client.ip in list.office and `+
		`request.id != "" and local.a == "1" and auth.claim.plan == "gold" and geo.country in {"US"} and geo.asn > 1`)
	say := templateOf(t, "{match.1} {client.ip} {geo.country} {geo.asn} {request.id} {auth.claim.plan} {local.a}")
	user := &plan{[]byte("gold")}
	held := 0
	var dst []byte
	f := &proxy.Filter{
		NamesMatch: true,
		When:       proxy.Holds(when),
		Response: func(x *proxy.Exchange) proxy.Verdict {
			held++
			dst = say.Append(dst[:0], proxy.View(x))
			return proxy.Next
		},
	}
	set := &proxy.Filter{Request: func(x *proxy.Exchange) proxy.Verdict {
		proxy.SetText(x, "a", []byte("1"))
		proxy.SetClaims(x, user)
		return proxy.Next
	}}
	g := warm.NewRouted(t, warm.Browser, on, func(origin *upstream.Upstream) []proxy.Route {
		return []proxy.Route{{To: proxy.Answer(404, "", "")}, {
			When: whenOf(t, `path ~ "^/articles/([0-9]+)/"`), To: proxy.To(origin, nil),
			Filters: []*proxy.Filter{set, f},
		}}
	})
	allocs := testutil.Allocs(1000, g.Exchange)
	if allocs != 0 || held < 1000 || !strings.HasPrefix(string(dst), "2026 192.0.2.7 US 64496 ") {
		t.Errorf("%v allocations, held %d times, %q", allocs, held, dst)
	}
}

// A filter with a condition on the path cannot be stepped around by a spelling that origins read as that path.
func TestFilter_whenOfTwofoldPaths(t *testing.T) {
	guard := &proxy.Filter{When: proxy.Holds(whenOf(t, `path starts_with "/admin"`)), Request: respond}
	r := filterRig(t, guard, &proxy.Filter{When: proxy.Holds(whenOf(t, `method == "POST" and random(2) == 1`))})
	for target, want := range map[string]int{
		"/admin/x": 499, "/%61dmin": 499, "/x/../admin": 499, "/own/../admin": 499,
		"//admin": 400, "/x%2f..%2fadmin": 400, "/a//../admin": 400, "/%5cadmin": 400, "/\\admin": 400,
		"//public": 200, "/public%2fx": 200, "/x?y=//admin": 200,
	} {
		if resp, body := r.post(t, target, "hello"); resp.StatusCode != want {
			t.Errorf("%s: %s %q, want %d", target, resp.Status, body, want)
		}
	}
}

// No field, and no spelling of one, says what a client is or where it asked: not of a peer that is not trusted, and not
// over HTTP/2, where ":authority" stands beside Host.
func TestView_ofForgedFields(t *testing.T) {
	text := "{client.ip}|{peer.ip}|{scheme}|{host}|{port}|{header.x-a}|{query.q}|{cookie.c}|{tls.sni}|{cert.verified}"
	role := `{header.x-role == "guest"} {header.x-role != "guest"}`
	r := filterRig(t, says(t, "X-Says", text), says(t, "X-Role", role))
	w := testutil.Dial(t, r.addr())
	w.Send("GET http://a.example/?q=1&%71=2&q=3 HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 10.0.0.1\r\n" +
		"X-Forwarded-Proto: https\r\nX-Forwarded-Host: b.example\r\nForwarded: for=10.0.0.1;proto=https\r\n" +
		"X-A: 1\r\nx_a: 2\r\nx-A: 3\r\nX-Role: admin\r\nX-Role: guest\r\nCookie: c=1; c=2\r\nCookie: c=3\r\n" +
		"Client-Cert: x\r\nSNI: x\r\n\r\n")
	resp, _ := w.ReadResponse("GET")
	want := "127.0.0.1|127.0.0.1|http|a.example|80|1, 3|1, 2, 3|1, 2, 3||false"
	if got := resp.Header.Get("X-Says"); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := resp.Header.Get("X-Role"); got != "true false" {
		t.Errorf("%q", got)
	}
}

// Exchanges that are under way at once on one reactor have groups and texts of their own.
func TestRoute_matchOfOthers(t *testing.T) {
	waiting := make(chan proxy.Ref, 1)
	hold := &proxy.Filter{NamesMatch: true, Request: func(x *proxy.Exchange) proxy.Verdict {
		name := templateOf(t, "{match.1}").Append(nil, proxy.View(x))
		proxy.SetText(x, "name", name)
		if string(name) == "first" {
			waiting <- x.Ref()
			return proxy.Park
		}
		return proxy.Next
	}}
	r := newRigWith(t, engine.Options{Reactors: 1}, func(*engine.Engine) []proxy.Route {
		return []proxy.Route{{When: whenOf(t, `path ~ "^/a/(.*)$"`), To: proxy.Answer(200, "", "ok"),
			Filters: []*proxy.Filter{hold, says(t, "X-Says", "{match.1} {local.name}")}}}
	})
	first, second := testutil.Dial(t, r.addr()), testutil.Dial(t, r.addr())
	first.Send("GET /a/first HTTP/1.1\r\nHost: h\r\n\r\n")
	ref := <-waiting
	second.Send("GET /a/second HTTP/1.1\r\nHost: h\r\n\r\n")
	resp, _ := second.ReadResponse("GET")
	ref.Resume(proxy.Next)
	other, _ := first.ReadResponse("GET")
	if a, b := other.Header.Get("X-Says"), resp.Header.Get("X-Says"); a != "first first" || b != "second second" {
		t.Errorf("%q and %q", a, b)
	}
}

// What a path has beyond that of the route has two readings as well.
func TestFilter_whenOfTwofoldRest(t *testing.T) {
	guard := &proxy.Filter{When: proxy.Holds(whenOf(t, `rest starts_with "/admin"`)), Request: respond}
	origin := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(origin.Close)
	r := newRig(t, func(e *engine.Engine) []proxy.Route {
		leads := to(e, origin.Listener.Addr().String())
		return []proxy.Route{{Path: "/api", To: leads, Filters: []*proxy.Filter{guard}}}
	})
	for target, want := range map[string]int{
		"/api/admin/x": 499, "/api/%61dmin": 499, "/api/x": 200, "/api//x": 200,
		"/api//admin": 400, "/api/x%2f..%2fadmin": 400, "/api/%5cadmin": 400,
	} {
		if resp, body := r.post(t, target, "hello"); resp.StatusCode != want {
			t.Errorf("%s: %s %q, want %d", target, resp.Status, body, want)
		}
	}
}

// Two conditions with the same text, of which each has a list of its own, are not one.
func TestRoute_whenOfTwoScopes(t *testing.T) {
	in := func(prefix string) *lang.Condition {
		s, err := variables.Scope(lang.Names{Lists: map[string]lang.List{
			"l": {Kind: lang.IP, HasAddr: netip.MustParsePrefix(prefix).Contains},
		}})
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.Condition("client.ip in list.l", lang.Request)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	_, err := proxy.NewSnapshot([]proxy.Route{
		{Path: "/a", When: in("127.0.0.0/8"), To: proxy.Answer(200, "", "a")},
		{Path: "/b", When: in("192.0.2.0/24"), To: proxy.Answer(200, "", "b")},
	}, nil)
	if err == nil || !strings.Contains(err.Error(), "scope") {
		t.Error(err)
	}
}

// A filter that looks at no request is asked before the request is sent on, so that a spelling of the path does not
// keep its fields from an answer.
func TestFilter_whenOfAnswers(t *testing.T) {
	admin := proxy.Holds(whenOf(t, `path starts_with "/admin"`))
	for name, guard := range map[string]*proxy.Filter{
		"Response": {When: admin, Response: func(x *proxy.Exchange) proxy.Verdict {
			x.Response.Set("X-Guard", "1")
			return proxy.Next
		}},
		"UpstreamRequest": {When: admin, UpstreamRequest: func(x *proxy.Exchange) { x.Request.Set("X-Added", "1") }},
	} {
		r := filterRig(t, guard)
		for target, want := range map[string]int{
			"/admin": 200, "/x": 200, "//x": 200, "//admin": 400, "/%5cadmin": 400,
		} {
			resp, _ := r.post(t, target, "hello")
			guarded := resp.Header.Get("X-Guard") == "1" || strings.HasSuffix(resp.Header.Get("X-Seen"), "]1")
			if resp.StatusCode != want || guarded != (target == "/admin") {
				t.Errorf("%s: %s: %s, guarded: %v", name, target, resp.Status, guarded)
			}
		}
	}
}

// A filter of a worker reads how much has come while more comes.
func TestView_onAWorkerWhileTheBodyComes(t *testing.T) {
	c, err := scopeOf(t).Condition(`bytes.in > 100m or bytes.out > 100m or duration > 1h or attempts > 9`, lang.Answer)
	if err != nil {
		t.Fatal(err)
	}
	l := testutil.Serve(t, func(conn net.Conn) { // it begins to answer when the head has come
		defer conn.Close()
		req, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
		io.Copy(io.Discard, req.Body)
		io.WriteString(conn, "ok")
	})
	began, sent := make(chan bool), make(chan bool)
	f := &proxy.Filter{Blocking: proxy.PhaseResponse, Response: func(x *proxy.Exchange) proxy.Verdict {
		began <- true
		for more := true; more; {
			c.Holds(proxy.View(x))
			select {
			case <-sent:
				more = false
			default:
			}
		}
		return proxy.Next
	}}
	r := newRig(t, func(e *engine.Engine) []proxy.Route {
		return []proxy.Route{{To: to(e, l.Addr().String()), Filters: []*proxy.Filter{f}}}
	})
	w := testutil.Dial(t, r.addr())
	w.Send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 20000\r\n\r\n")
	<-began
	for range 20 {
		w.Send(strings.Repeat("x", 1000))
	}
	close(sent)
	if resp, body := w.ReadResponse("POST"); resp.StatusCode != 200 || body != "ok" {
		t.Error(resp.Status, body)
	}
}
