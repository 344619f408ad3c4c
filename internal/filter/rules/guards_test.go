package rules_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/filter/ratelimit"
	"github.com/edge-proxy/edge/internal/filter/rules"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/route"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// guarding is a proxy with a guarded place, /api/adm:n and all below it, among others that are open to everybody. The
// origin notes what it is sent.
type guarding struct {
	name     string
	place    string // where the guarded place is at the origin
	folded   bool   // the guard takes upper and lower case for the same
	listener proxy.Listener

	loop    *sim.Loop
	reactor *engine.Reactor
	ups     []poller.FD
	down    poller.FD   // of the client; 0: it has none
	play    func() bool // what the client does next; false: it is done
	over    bool
	sent    []string // paths that the origin got
}

const doorOfLoop = 3 // the first descriptor of a sim.Loop

// newGuarding makes a proxy with rules before the route, and routes.
func newGuarding(t testing.TB, g guarding, before []rules.Rule, routes ...proxy.Route) *guarding {
	t.Helper()
	g.loop = sim.NewLoop()
	e, err := engine.New(engine.Options{
		Reactors: 1, Kernel: func(int) (poller.Kernel, error) { return g.loop, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	to := proxy.To(upstream.New(e, upstream.Options{Backends: backend.Of("10.0.0.1:80")}), nil)
	for i := range routes {
		routes[i].To = to
	}
	snapshot, err := proxy.NewSnapshot(routes, []*proxy.Filter{filterOf(t, before, proxy.PhaseBeforeRoute)})
	if err != nil {
		t.Fatal(err)
	}
	server := session.NewServer(e, proxy.New(e, snapshot).Service(&g.listener), session.ServerOptions{H2C: true})
	addr := poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:80")}
	if _, err := e.Listen(engine.ListenOptions{Addr: addr}, server.Accept); err != nil {
		t.Fatal(err)
	}
	g.reactor = e.Reactors()[0]
	g.loop.OnConnect = func(fd poller.FD, _ poller.Addr) {
		if g.ups = append(g.ups, fd); fd == g.down { // the client's was closed, and the kernel gives its number again
			g.down = 0
		}
	}
	g.loop.Pump = g.pump
	return &g
}

// pump plays the origin where it was asked, else the client.
func (g *guarding) pump() {
	for _, fd := range g.ups {
		up := g.loop.Sock(fd)
		if !up.Open || len(up.Sent) == 0 {
			continue
		}
		_, target, _ := strings.Cut(string(up.Sent), " ")
		target, _, _ = strings.Cut(target, " ")
		path, _, _ := strings.Cut(target, "?")
		g.sent = append(g.sent, path)
		up.Sent = up.Sent[:0]
		g.loop.Inject(fd, []byte("HTTP/1.1 204 No Content\r\n\r\n"))
		return
	}
	g.over = !g.play()
}

// ask asks for each target, over HTTP/1 with a connection for each or over one of HTTP/2, and returns the paths that
// the origin got.
func (g *guarding) ask(h2 bool, targets ...string) []string {
	begin := func(b []byte) {
		g.down = g.loop.Offer(doorOfLoop, poller.Addr{IP: netip.MustParseAddrPort("192.0.2.7:5555")})
		g.ups = slices.DeleteFunc(g.ups, func(fd poller.FD) bool { return fd == g.down })
		g.loop.Inject(g.down, b)
	}
	g.sent, g.over = g.sent[:0], false
	g.play = func() bool {
		if g.down != 0 && g.loop.Sock(g.down).Open {
			g.loop.Finish(g.down)
		}
		g.down = 0
		switch {
		case len(targets) == 0:
			return false
		case h2:
			begin(framesFor(targets))
			targets = nil
		default:
			begin([]byte("GET " + targets[0] + " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"))
			targets = targets[1:]
		}
		return true
	}
	for !g.over {
		g.reactor.Tick()
	}
	return g.sent
}

// framesFor asks for targets over HTTP/2, each on a stream of its own: RFC 9113 §3.4, §6.2.
func framesFor(targets []string) []byte {
	frame := func(dst []byte, kind, flags byte, id int, payload []byte) []byte {
		n := len(payload)
		dst = append(dst, byte(n>>16), byte(n>>8), byte(n), kind, flags, 0, 0, byte(id>>8), byte(id))
		return append(dst, payload...)
	}
	b := frame([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 4, 0, 0, nil)
	for i, target := range targets {
		block := append([]byte{0x82, 0x86, 0x01, 1, 'h', 0x04}, byte(len(target))) // GET, http, h, :path
		b = frame(b, 1, 5, 2*i+1, append(block, target...))
	}
	return b
}

// guardings are all the ways to guard /api/adm:n, each with all the ways to send on what is open.
func guardings(t testing.TB) (all []*guarding) {
	forbid := &proxy.Filter{Request: func(*proxy.Exchange) proxy.Verdict { return proxy.Respond(403, "") }}
	deny := func(text string) []rules.Rule { return []rules.Rule{{When: when(text), Deny: 403}} }
	leading := func(name string, deny []rules.Rule, w *proxy.Rewrite) proxy.Route {
		return proxy.Route{Name: name, Path: "/api", Rewrite: w,
			Filters: []*proxy.Filter{filterOf(t, deny, proxy.PhaseRequest)}}
	}
	const prefix, pattern = `path == "/api/adm:n" or path starts_with "/api/adm:n/"`, `path ~ "^/api/adm:n(/|$)"`
	lowered := []rules.Rule{{Set: one("p", "{path.lower()}")},
		{When: when(`local.p == "/api/adm:n" or local.p starts_with "/api/adm:n/"`), Deny: 403}}
	group := []rules.Rule{{When: when(`path ~ "^/api/(.*)$"`), Set: one("p", "{match.1}")},
		{When: when(`local.p == "adm:n" or local.p starts_with "adm:n/"`), Deny: 403}}
	routed := filterOf(t, group[1:], proxy.PhaseRequest)
	setting := filterOf(t, []rules.Rule{{Set: one("p", "{match.1}")}}, proxy.PhaseRequest)
	asking := filterOf(t, deny(`match.1 == "adm:n" or match.1 starts_with "adm:n/"`), proxy.PhaseRequest)
	for _, sending := range []struct {
		name, place string
		listener    proxy.Listener
		rewrite     *proxy.Rewrite
		rules       []rules.Rule
		moved       []rules.Rule // before the route
	}{
		{name: "as it came", place: "/api/adm:n"},
		{name: "strip_prefix", place: "/adm:n", rewrite: &proxy.Rewrite{StripPrefix: "/api"}},
		{name: "add_prefix", place: "/v1/api/adm:n", rewrite: &proxy.Rewrite{AddPrefix: "/v1"}},
		{name: "both", place: "/v1/adm:n", rewrite: &proxy.Rewrite{StripPrefix: "/api", AddPrefix: "/v1"}},
		{name: "path", place: "/v1/api/adm:n", rewrite: &proxy.Rewrite{Path: text("/v1{path}")}},
		{name: "rest", place: "/adm:n", rewrite: &proxy.Rewrite{Path: text("{rest}")}},
		{name: "rule", place: "/api/adm:n", rules: []rules.Rule{{Rewrite: text("{path}")}}},
		{name: "match", place: "/adm:n", rules: []rules.Rule{
			{When: when(`path ~ "^/api(/.*)$"`), Rewrite: text("{match.1}")}}},
		{name: "before the route", place: "/api/v1/adm:n", moved: []rules.Rule{
			{When: when(`path ~ "^/api(/.*)$"`), Rewrite: text("/api/v1{match.1}")}}},
		{name: "forwarded", place: "/api/adm:n", listener: proxy.Listener{Paths: route.PathsForwarded}},
		{name: "strip", place: "/api/adm:n", listener: proxy.Listener{Parameters: route.ParametersStripped}},
		{name: "stripped prefix", place: "/adm:n", listener: proxy.Listener{Parameters: route.ParametersStripped},
			rewrite: &proxy.Rewrite{StripPrefix: "/api"}},
		{name: "refuse", place: "/adm:n", listener: proxy.Listener{Parameters: route.ParametersRefused},
			rewrite: &proxy.Rewrite{StripPrefix: "/api"}},
	} {
		add := func(guard string, folded bool, before []rules.Rule, routes ...proxy.Route) {
			g := guarding{name: sending.name + ", " + guard, place: sending.place, folded: folded,
				listener: sending.listener}
			all = append(all, newGuarding(t, g, slices.Concat(before, sending.moved), routes...))
		}
		open := leading("open", sending.rules, sending.rewrite)
		grouped := leading("grouped", sending.rules, sending.rewrite)
		grouped.When, grouped.Filters = group[0].When, append([]*proxy.Filter{setting, routed}, grouped.Filters...)
		asked := leading("asked", sending.rules, sending.rewrite)
		asked.When, asked.Filters = group[0].When, append([]*proxy.Filter{asking}, asked.Filters...)
		if sending.moved == nil {
			add("a route", false, nil, open, proxy.Route{Path: "/api/adm:n", Filters: []*proxy.Filter{forbid}})
			add("a rule of the route", false, nil,
				leading("open", slices.Concat(deny(prefix), sending.rules), sending.rewrite))
			add("a group of the route", false, nil, grouped)
			add("a condition on a group of the route", false, nil, asked)
		}
		add("a rule", false, deny(prefix), open)
		add("a pattern", false, deny(pattern), open)
		add("a text", true, lowered, open)
		add("a group", false, group, open)
	}
	return all
}

// Whatever passes a guard, no server that reads what it is sent takes it for a path of the guarded place.
func TestGuards(t *testing.T) {
	all := guardings(t)
	n, seed := testutil.Rounds(100_000), uint64(1)
	if os.Getenv("EDGE_SOAK") != "" {
		n = 10_000_000
		seed, _ = strconv.ParseUint(os.Getenv("EDGE_TEST_SEED"), 10, 64)
	}
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	passed := 0
	for i := 0; i < n; i += batch {
		g, h2 := all[r.IntN(len(all))], r.IntN(2) == 0
		var targets []string
		for range batch {
			targets = append(targets, drawTarget(r))
		}
		sent := g.ask(h2, targets...)
		passed += len(sent)
		for _, path := range sent {
			if reader := g.breached(path); reader != "" {
				t.Fatalf("%s: one of %q was sent as %q, which is %q to some (h2 %v)", g.name, targets, path, reader, h2)
			}
		}
	}
	if passed < n/10 {
		t.Errorf("%d of %d paths passed: too few to tell", passed, n)
	}
}

const batch = 20 // targets at a time

func FuzzGuards(f *testing.F) {
	all := guardings(f)
	for _, s := range []string{"/api//adm:n//../s", `/api/x\y/../adm:n\s`, `/api/adm:n\y%2fz/../s`, "/api/..;/adm:n"} {
		f.Add(s, uint8(1), true)
	}
	f.Fuzz(func(t *testing.T, target string, which uint8, h2 bool) {
		if len(target) > 120 || strings.ContainsAny(target, "# \r\n\x00") || !strings.HasPrefix(target, "/") {
			return
		}
		g := all[int(which)%len(all)]
		for _, path := range g.ask(h2, target) {
			if reader := g.breached(path); reader != "" {
				t.Fatalf("%s: %q was sent as %q, which is %q to some", g.name, target, path, reader)
			}
		}
	})
}

// What honest clients ask for passes all guards.
func TestGuards_honest(t *testing.T) {
	for _, g := range guardings(t) {
		for _, target := range strings.Fields(
			"/api/x//y /api/a//b/../c /api/a/%2e/b /api/p%2Fq /api// /api/x%5Cy /api/a%40b%2C") {
			for _, h2 := range []bool{false, true} {
				if len(g.ask(h2, target)) != 1 {
					t.Errorf("%s refuses %s", g.name, target)
				}
			}
		}
		for _, target := range []string{
			"/api/adm:n", "/api/adm:n/s?q", "/api/%61dm:n/s", "/api/x/../adm:n", "/api/adm%3An",
		} {
			if len(g.ask(false, target)) != 0 {
				t.Errorf("%s lets %s pass", g.name, target)
			}
		}
	}
}

// A limit counts all readings of a path as one, whatever its key has of the path.
func TestGuards_limitsByTextsAndGroups(t *testing.T) {
	limit := func(key string) *ratelimit.Config {
		return &ratelimit.Config{Key: text(key), Rate: plugin.Rate{Count: 1, Per: time.Hour}}
	}
	byFilter, err := ratelimit.New(limit("{match.1}"), nil)
	if err != nil {
		t.Fatal(err)
	}
	login := when(`path ~ "^/api/(.*)$"`)
	for name, g := range map[string]*guarding{
		"a text": newGuarding(t, guarding{}, []rules.Rule{
			{Set: one("p", "{path.lower()}")}, {Limit: limit("{local.p}")}}, proxy.Route{}),
		"a group": newGuarding(t, guarding{}, []rules.Rule{{When: login, Limit: limit("{match.1}")}}, proxy.Route{}),
		"a group of the route": newGuarding(t, guarding{}, nil,
			proxy.Route{When: login, Filters: []*proxy.Filter{byFilter}}),
	} {
		sent := g.ask(false, "/api/login", "/api//login", "/api///login", "/api/%2flogin", "/api/other")
		if strings.Join(sent, " ") != "/api/login /api/other" {
			t.Errorf("%s: the origin got %q", name, sent)
		}
	}
}

// A guard is not asked about all of too many readings, so that no rewrite after it makes the path a harmless one.
func TestGuards_tooManyReadings(t *testing.T) {
	g := newGuarding(t, guarding{}, []rules.Rule{
		{When: when(`path == "/secret"`), Deny: 403}, {Rewrite: text("/open")}}, proxy.Route{})
	if sent := g.ask(false, "/a//b", `/a\b//\../..//%2fa%2f%2f\\//../a/..%5cb/x`); len(sent) != 1 {
		t.Errorf("the origin got %q", sent)
	}
}

// drawTarget makes up a path out of the pieces that servers disagree about.
func drawTarget(r *rand.Rand) string {
	pieces := [...]string{
		"/", "/", "/", "//", "/.", "/..", "/../", "/./", "%2f", "%2F", "%5c", `\`, "%2e", "%2e%2e", ".", "..",
		";", ";x", "%3b", "/;", "/..;", "api", "/api", "adm:n", "/adm:n", "/adm:n/", "%61dm:n", "ADM:N", "s", "x",
		"%", "%25", "v1",
	}
	var b strings.Builder
	if r.IntN(8) > 0 {
		b.WriteString("/api")
	} else {
		b.WriteString("/")
	}
	for range r.IntN(9) {
		b.WriteString(pieces[r.IntN(len(pieces))])
	}
	if r.IntN(10) == 0 {
		b.WriteString("?/../adm:n")
	}
	return b.String()
}

// breached returns what some server takes path for, where that is in the guarded place.
func (g *guarding) breached(path string) string {
	for _, read := range readersOf(path, g.listener.Parameters != 0) {
		if at := read; at == g.place || strings.HasPrefix(at, g.place+"/") ||
			g.folded && (strings.EqualFold(at, g.place) ||
				len(at) > len(g.place) && strings.EqualFold(at[:len(g.place)+1], g.place+"/")) {
			return read
		}
	}
	return ""
}

// readersOf returns the paths that servers make of one: they differ in the bytes that are a slash to them, in when
// they make one slash of several, and in whether they decode a colon. It is written from RFC 3986 §5.2.4 and §6.2.2 in
// the plainest way.
func readersOf(path string, parameters bool) (all []string) {
	for _, slashes := range [][]string{{"/"}, {"/", "%2F"}, {"/", `\`}, {"/", "%2F", `\`, "%5C"}} {
		var segments []string
		segment, cut := "", false
		for _, piece := range append(piecesOf(path)[1:], "/") {
			switch {
			case slices.Contains(slashes, piece):
				segments, segment, cut = append(segments, segment), "", false
			case parameters && (piece == ";" || piece == "%3B" && len(slashes)%2 == 0 && slashes[1] == "%2F"):
				cut = true
			case !cut:
				segment += piece
			}
		}
		all = append(all, "/"+strings.Join(resolved(segments), "/"), "/"+strings.Join(merged(resolved(segments)), "/"),
			"/"+strings.Join(resolved(merged(segments)), "/"))
	}
	for _, path := range all {
		all = append(all, strings.ReplaceAll(path, "%3A", ":"))
	}
	return all
}

// piecesOf returns the characters of a path, those that need no encoding decoded.
func piecesOf(path string) (all []string) {
	for len(path) > 0 {
		var c byte
		if len(path) < 3 || path[0] != '%' {
			all, path = append(all, path[:1]), path[1:]
		} else if _, err := fmt.Sscanf(path[1:3], "%02x", &c); err != nil {
			all, path = append(all, path[:1]), path[1:]
		} else if strings.IndexByte("-._~", c) >= 0 || c < 128 && strings.ContainsRune(
			"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", rune(c)) {
			all, path = append(all, string(c)), path[3:]
		} else {
			all, path = append(all, strings.ToUpper(path[:3])), path[3:]
		}
	}
	return all
}

// merged returns segments without the empty ones, but for the last.
func merged(segments []string) (all []string) {
	for i, s := range segments {
		if s != "" || i == len(segments)-1 {
			all = append(all, s)
		}
	}
	return all
}

// resolved returns segments without dot segments.
func resolved(segments []string) (all []string) {
	for i, s := range segments {
		switch {
		case s == ".." && len(all) > 0:
			all = all[:len(all)-1]
		case s != "." && s != "..":
			all = append(all, s)
			continue
		}
		if i == len(segments)-1 {
			all = append(all, "")
		}
	}
	return all
}
