package importer_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// What Caddy refuses, edge does not let through with the configuration that is imported, whatever the file says.
//
// Each seed is a site of a file that both programs serve. EDGE_SOAK=1 tries more files. EDGE_SEED=N begins with
// another seed.
func TestCaddy_nothingThatIsRefusedIsLetThrough(t *testing.T) {
	testutil.OnlyPlain(t)
	d, backend := caddyOf(caddy(t)), echo(t, false)
	eachFile(t, 40, func(t *testing.T, seed uint64, total *tally) {
		var sites []*refusingSite
		for i := range uint64(40) {
			sites = append(sites, newRefusingSite(t, seed+i, backend))
		}
		compareSites(t, d, sites, total)
	})
}

// compareSites asks both programs the same.
func compareSites(t *testing.T, d *dialect, sites []*refusingSite, total *tally) {
	dir := t.TempDir()
	there, here, ours := d.serveBoth(t, dir, func(port string) string {
		all := "{\n\tadmin off\n\tauto_https off\n}\n"
		for _, s := range sites {
			all += fmt.Sprintf("http://s%d.test:%s {\n%s}\n", s.seed, port, s.text)
		}
		return all
	})
	whole := carried(t, "caddy", filepath.Join(dir, "asked.caddy"), ours, "http://s")
	for i, s := range sites {
		total.compare(t, s.seed, s.text, s.requests(), func(r *request) statuses {
			a, b := there(r), here(r)
			return statuses{a, b, a >= 400, b >= 200 && b < 400, whole[i] && comparable(r, a, b)}
		})
	}
}

// comparable reports whether edge can answer with the status of Caddy. Paths have other spellings for both: Caddy
// compares them in any case and with one slash in place of several. Edge does so where requests are refused alone, and
// answers 400 where the readings of a path lead to several routes. It drops requests before filters ask who sends them.
func comparable(r *request, there, here int) bool {
	spelled := strings.ToLower(r.path) != r.path || strings.Contains(r.path, "//") || strings.Contains(r.path, "%2F")
	return !spelled && here != http.StatusBadRequest && (there != http.StatusUnauthorized || here != -1)
}

// refusingSite is a site of Caddy that refuses some requests, made from a seed.
type refusingSite struct {
	seed    uint64
	rand    *rand.Rand
	backend string
	users   string // the lines of basic_auth
	text    string
	names   int // of matchers
}

func newRefusingSite(t *testing.T, seed uint64, backend string) *refusingSite {
	s := &refusingSite{seed: seed, rand: rand.New(rand.NewPCG(seed, 0)), backend: backend,
		users: "{\nu " + hashed(t) + "\n}"}
	s.text = s.block(0)
	return s
}

// one returns one of several.
func (s *refusingSite) one(of ...string) string { return of[s.rand.IntN(len(of))] }

// block returns directives.
func (s *refusingSite) block(depth int) (text string) {
	for range 1 + s.rand.IntN(5-depth) {
		text += s.directive(depth)
	}
	return text + s.one("", "reverse_proxy "+s.backend+"\n", "reverse_proxy "+s.backend+"\n", "respond ok\n")
}

func (s *refusingSite) path() string {
	return s.one("/a", "/a/*", "/a/b", "/a*", "/a/b/*", "*.x", "*/.*", "/a/*/x", "/B/c", "/c/*", "*/b/*", "/v/a/*",
		"/x d", "/", "/b", "/b*", "/a/a/*", "/x")
}

// matcher returns the definition of a matcher with a name, and the name; or a path, or nothing.
func (s *refusingSite) matcher() (definition, name string) {
	switch s.rand.IntN(4) {
	case 0:
		return "", "/" + strings.TrimLeft(strings.ReplaceAll(s.path(), " ", ""), "*/") + " "
	case 1:
		return "", ""
	}
	line := func() string {
		return s.one("path "+s.path(), "path "+s.path()+" "+s.path(), "not path "+s.path(), "method POST",
			"not method GET", "remote_ip 127.0.0.1",
			"remote_ip 127.0.0.2", "not remote_ip 127.0.0.1/32", "header X-Key s",
			"not header X-Key s", "header X-Key *", "query q=1", "query r=1", "vars x y", "not vars x y",
			"protocol http", "not host s*.test")
	}
	s.names++
	name = fmt.Sprintf("@m%d", s.names)
	switch s.rand.IntN(4) {
	case 0:
		name += " "
		definition = name + s.one("path_regexp ^/a/", "path_regexp \\.x$", "header_regexp X-Key ^s", "expression 1==2")
		return definition + "\n", name
	case 1:
		return name + " " + line() + "\n", name + " "
	}
	return name + " {\n" + line() + "\n" + line() + "\n}\n", name + " "
}

func (s *refusingSite) directive(depth int) string {
	definition, m := s.matcher()
	all := m
	if all == "" {
		all = "* "
	}
	if depth < 2 && s.rand.IntN(3) == 0 {
		block := s.one("handle "+m, "handle "+m, "route "+m, "handle_path "+s.one("/a/*", "/v/*", "/a*")+" ")
		return definition + block + "{\n" + s.block(depth+1) + "}\n"
	}
	return definition + s.one(
		"respond "+all+s.one("403", "401", "\"no\" 404", "204", "ok", "410"),
		"respond "+all+"403", "respond "+all+"403",
		"error "+all+"403", "abort "+m, "redir "+all+s.one("/a/b", "/else{uri} 301"),
		s.one("header "+all+"X-A 1", "method "+all+"GET", "method "+all+"POST"),
		"request_header "+all+s.one("X-B 1", "X-Key s", "-X-Key", "-x*", "-Authorization"),
		"basic_auth "+m+s.users, "basic_auth "+m+s.users,
		"rewrite "+all+s.one("/a/b", "/c/d?q=1", "/a{uri}", "/x", "/b{path}", "{path}?q=1", "?q=1", "/b/c"),
		"rewrite "+all+s.one("/a/b", "/x", "/v/a", "/b{uri}", "/a/b?{query}"),
		"uri "+all+s.one("strip_prefix /v", "strip_prefix /a", "strip_prefix /a/b", "strip_suffix .x",
			"strip_suffix b", "strip_suffix /b/c"),
		"uri "+all+s.one("replace /b /c", "replace /b /", "replace /a/ /", "replace q r"),
		s.one("route ", "handle ")+m+"{\nheader "+s.one("", "/a/* ", "/b/* ")+"X-C 1\n}",
		"reverse_proxy "+m+s.backend, "reverse_proxy "+m+s.backend,
		"request_body "+m+"{\nmax_size 1MB\n}", "log_skip "+m, "forward_auth "+m+s.backend+" {\nuri /check\n}",
	) + "\n"
}

// requests returns what both programs are asked.
func (s *refusingSite) requests() (list []*request) {
	for _, path := range []string{"/", "/a", "/A/b", "/a/", "/a/b", "/a/b/x", "/a/b/x.x", "//a/b", "/%61/b", "/a%2Fb",
		"/a/.x", "/ab", "/b/c", "/B/c", "/c/d", "/v/a/b", "/v//a/b", "/V/a", "/x", "/x%20d", "/a/./b", "/a/c/../b",
		"/a/B/X", "/c/b/x?q=1", "/a/b?q=1", "/a;x/b", "/a//b", "/v/x.x", "/a/b/.", "/a/b/x.x/%2e", "/a/b/c/..",
		"/a/%62", "/a%2fB", "/a/x/b", "/a/b/x.X", "/a/x.%78", "/a/./b/c", "/b?q=1&r=2"} {
		for i, header := range []http.Header{{}, {"X-Key": {"s"}}, {"X-Key": {"t"}}} {
			r := &request{method: []string{"GET", "POST", "DELETE"}[s.rand.IntN(3)], path: path, header: header,
				host: fmt.Sprintf("s%d.test", s.seed), from: []string{"", "127.0.0.2"}[s.rand.IntN(2)]}
			if i == 1 && s.rand.IntN(2) == 0 {
				header.Set("Authorization", "Basic dTpw") // u:p
			}
			list = append(list, r)
		}
	}
	return list
}
