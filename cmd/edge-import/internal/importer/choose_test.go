package importer_test

import (
	"cmp"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// wish is a condition, and whether a request meets it.
type wish struct {
	cond  *plan.Cond
	holds func(r *http.Request) bool
	vague bool // more may be refused
}

var choosePaths = []string{"/", "/p", "/p/", "/p/q", "/p/q/x.php", "/pq", "/P", "/r/1", "/other", "/x.php", "/r.git/a"}

var chooseHosts = []string{"a.test", "b.x.test", "c.x.test", "x.test", "z.test"}

// wishes are the conditions of the model.
func wishes() (list []wish) {
	add := func(c *plan.Cond, holds func(r *http.Request) bool) { list = append(list, wish{c, holds, false}) }
	for _, host := range chooseHosts {
		add(plan.HostIs(host), func(r *http.Request) bool { return r.Host == host })
	}
	add(plan.HostIs("*.x.test"), func(r *http.Request) bool { return strings.HasSuffix(r.Host, ".x.test") })
	add(plan.HostIs("*.test", "z"), func(r *http.Request) bool { return strings.HasSuffix(r.Host, ".test") })
	for _, path := range []string{"/p", "/p/", "/p/q", "/r/1", "/"} {
		add(plan.PathIs(path), func(r *http.Request) bool { return r.URL.Path == path })
	}
	for _, prefix := range []string{"/p", "/p/q", "/r", ""} {
		below := func(r *http.Request) bool {
			return r.URL.Path == prefix || strings.HasPrefix(r.URL.Path, prefix+"/")
		}
		add(plan.PathIs(prefix+"/*"), below)
		add(plan.PathIs(prefix+"/*"), below)
	}
	begins := plan.Path{Pattern: "/p/*", Text: `path starts_with "/p"`, Loss: "paths such as /pq"}
	add(begins.Cond(), func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/p") })
	lower := plan.Path{Pattern: "/p/*", Text: `lower(path) starts_with "/p/"`, Loss: "paths such as /P"}
	add(lower.Cond(), func(r *http.Request) bool { return strings.HasPrefix(strings.ToLower(r.URL.Path), "/p/") })
	add(plan.Path{Pattern: "/p/*", Below: true}.Cond(), func(r *http.Request) bool {
		return strings.HasPrefix(r.URL.Path, "/p/")
	})
	for _, text := range []string{`\.php$`, `\.git`, `^/p`, `^/[pr]/`} {
		re := regexp.MustCompile(text)
		add(plan.PathMatches(re), func(r *http.Request) bool { return re.MatchString(r.URL.Path) })
	}
	for _, method := range []string{"POST", "GET"} {
		add(plan.Compare("method", "==", method), func(r *http.Request) bool { return r.Method == method })
	}
	add(plan.Test(`header.x == "1" or header.x == "3"`), func(r *http.Request) bool { return r.Header.Get("X") == "1" })
	add(plan.Beside(`header.x ~ "(?i)a"`, `header.x == "a"`), func(r *http.Request) bool {
		return r.Header.Get("X") == "a"
	})
	list[len(list)-1].vague = true
	add(plan.Unknown, func(r *http.Request) bool { return r.Header.Get("X") == "b" })
	return list
}

// anyWish combines some of them.
func anyWish(r *rand.Rand, all []wish, depth int) wish {
	if depth == 0 || r.IntN(3) == 0 {
		return all[r.IntN(len(all))]
	}
	a, b := anyWish(r, all, depth-1), anyWish(r, all, depth-1)
	vague := a.vague || b.vague
	switch r.IntN(6) {
	case 0:
		return wish{plan.Not(a.cond), func(q *http.Request) bool { return !a.holds(q) }, a.vague}
	case 1, 2:
		return wish{plan.Any(a.cond, b.cond), func(q *http.Request) bool { return a.holds(q) || b.holds(q) }, vague}
	}
	return wish{plan.All(a.cond, b.cond), func(q *http.Request) bool { return a.holds(q) && b.holds(q) }, vague}
}

// world is some sites and what they do with requests.
type world struct {
	sites    []*plan.Site
	steps    [][]deed // of each site
	branches [][]wish
	to       [][]string // "refused", "moved", or the name of an origin
	guards   [][][]deed // of each branch
	vague    bool
}

// deed is what becomes of the requests that meet a condition: "refused", or "moved".
type deed struct {
	wish
	answer string
}

var here = []plan.Place{{File: "f", Line: 1}}

// anyDeed draws a step.
func anyDeed(r *rand.Rand, all []wish, depth int) (plan.Step, deed) {
	d := deed{anyWish(r, all, depth), "refused"}
	do := plan.Deny(403)
	switch r.IntN(4) {
	case 0:
		do = plan.Use("staff")
	case 1:
		d.answer, do = "moved", plan.Redirect("http://elsewhere.test/", 302)
	}
	return plan.Step{When: d.cond, Do: []plan.Action{do}, What: "step", From: here}, d
}

// anyWorld draws some sites. The origins are at the addresses.
func anyWorld(r *rand.Rand, addresses []string) *world {
	w, all := &world{}, wishes()
	for _, hosts := range [][]string{nil, {"a.test"}, {"*.x.test", "x.test"},
		{"*.test", "c.x.test"}}[:1+r.IntN(4)] {
		s := &plan.Site{Hosts: hosts}
		var steps []deed
		var branches []wish
		var guards [][]deed
		var to []string
		for range max(0, r.IntN(6)-2) {
			step, d := anyDeed(r, all, 2)
			s.Steps, steps = append(s.Steps, step), append(steps, d)
			w.vague = w.vague || d.vague
		}
		last := r.IntN(6)
		for i := range last + 1 {
			c := anyWish(r, all, 2)
			if i == last {
				c = wish{plan.Always, func(*http.Request) bool { return true }, false}
			}
			t := &plan.Target{Name: fmt.Sprint("t", i), End: plan.Deny(403)}
			name, own := "refused", []deed(nil)
			switch r.IntN(8) {
			case 0:
			case 1:
				name, t.End = "moved", plan.Redirect("http://elsewhere.test/", 302)
			default:
				at := r.IntN(len(addresses))
				name, t.End = fmt.Sprint(at), plan.Dest("http://"+addresses[at])
			}
			switch r.IntN(6) {
			case 0:
				for range 1 + r.IntN(2) {
					step, d := anyDeed(r, all, 1)
					t.Steps, own = append(t.Steps, step), append(own, d)
					w.vague = w.vague || d.vague
				}
			case 1:
				t.Keys = append(t.Keys, plan.Setting{Name: "websocket", Value: "false"})
			}
			b := plan.Branch{When: c.cond, To: t, What: fmt.Sprint("branch ", i), From: here}
			s.Branches = append(s.Branches, b)
			branches, to, guards = append(branches, c), append(to, name), append(guards, own)
		}
		for _, c := range branches {
			w.vague = w.vague || c.vague
		}
		w.sites = append(w.sites, s)
		w.steps, w.branches = append(w.steps, steps), append(w.branches, branches)
		w.to, w.guards = append(w.to, to), append(w.guards, guards)
	}
	return w
}

func (w *world) String() string {
	var b strings.Builder
	for i, s := range w.sites {
		fmt.Fprintln(&b, "site", s.Hosts)
		for _, d := range w.steps[i] {
			fmt.Fprintln(&b, "   ", d.answer, "if", d.cond)
		}
		for j, branch := range s.Branches {
			fmt.Fprintln(&b, "   ", j, branch.When, "to", w.to[i][j])
			for _, d := range w.guards[i][j] {
				fmt.Fprintln(&b, "        ", d.answer, "if", d.cond)
			}
		}
	}
	return b.String()
}

// answer is what the program does with a request: the name of an origin, "refused", "moved", or "" where nothing takes
// it.
func (w *world) answer(q *http.Request) string {
	at, longest := 0, ""
	for i, s := range w.sites {
		for _, h := range s.Hosts {
			found := h == q.Host || strings.HasPrefix(h, "*") && strings.HasSuffix(q.Host, h[1:])
			if found && (h == q.Host || len(h) > len(longest) && longest != q.Host) {
				at, longest = i, h
			}
		}
	}
	first := func(list []deed) string {
		for _, d := range list {
			if d.holds(q) {
				return d.answer
			}
		}
		return ""
	}
	if answer := first(w.steps[at]); answer != "" {
		return answer
	}
	for i, c := range w.branches[at] {
		if c.holds(q) {
			return cmp.Or(first(w.guards[at][i]), w.to[at][i])
		}
	}
	return ""
}

// modelRandom begins at the same place each time, but for EDGE_SEED=N and EDGE_SOAK=1.
func modelRandom(t *testing.T) *rand.Rand {
	seed := seedOf(t, 0)
	if soak() {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// numbered starts n origins that answer with their numbers, and returns their addresses.
func numbered(t *testing.T, n int) (addresses []string) {
	for i := range n {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, i) }))
		t.Cleanup(s.Close)
		addresses = append(addresses, s.Listener.Addr().String())
	}
	return addresses
}

// runEdge runs edge with a text that has it listen at an address.
func runEdge(t *testing.T, text []byte, addr string) *testutil.Process {
	file := filepath.Join(t.TempDir(), "edge.toml")
	write(t, file, string(text))
	edge := testutil.Binary(t, "./cmd/edge")
	run := testutil.Start(t, testutil.Command{Path: edge, Args: []string{"run", "-c", file}})
	run.WaitPort(addr)
	return run
}

// Of any sites, edge refuses what the program refuses, and does the same with all else unless a finding says that it
// does not.
func TestWrite_choosesAsTheProgram(t *testing.T) {
	addresses, r := numbered(t, 4), modelRandom(t)
	for range 40 {
		w := anyWorld(r, addresses)
		p := &plan.Plan{Program: "model", File: "f"}
		addr := testutil.FreeAddr(t)
		p.Block("[global]").Set("grace_period", `"0s"`, plan.Place{})
		p.Add("[[listeners]]").Set("listen", plan.String(addr), plan.Place{})
		staff := p.Add("[filters.staff]")
		staff.Set("type", `"basic_auth"`, plan.Place{})
		hash := "$2y$04$abcdefghijklmnopqrstuudMegMbPN37MbpdEfAtP66w1z0RBCtLG"
		staff.Set("users", "{ u = "+plan.String(hash)+" }", plan.Place{})
		p.Write(w.sites)
		text := p.Text(plan.TextOnly)
		run := runEdge(t, text, addr)
		for range 150 {
			method, path := []string{"GET", "POST"}[r.IntN(2)], choosePaths[r.IntN(len(choosePaths))]
			q, err := http.NewRequest(method, "http://"+addr+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			q.Host = chooseHosts[r.IntN(len(chooseHosts))]
			q.Header.Set("X", []string{"", "1", "a", "A", "b"}[r.IntN(5)])
			want := w.answer(q)
			got := asked(t, q)
			if want == "refused" && got != "refused" || p.Losses() == 0 && !w.vague && got != want {
				t.Fatalf("%s %s%s X=%q: %q, want %q\n%v\n%v\n%s", q.Method, q.Host, q.URL.Path, q.Header.Get("X"),
					got, want, w, p.Findings(), text)
			}
		}
		run.Stop()
	}
}

// asked is the answer to a request: see world.answer.
func asked(t *testing.T, q *http.Request) string {
	r, err := http.DefaultTransport.RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, _ := io.ReadAll(r.Body)
	switch r.StatusCode {
	case 401, 403:
		return "refused"
	case 302:
		return "moved"
	case 404:
		return ""
	}
	return string(body)
}
