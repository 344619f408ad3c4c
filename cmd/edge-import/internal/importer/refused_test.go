package importer_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// What nginx refuses, edge does not let through with the configuration that is imported, whatever the file says.
//
// Each seed is a server of a file that both programs serve. EDGE_SOAK=1 tries more files. EDGE_SEED=N begins with
// another seed.
func TestNginx_nothingThatIsRefusedIsLetThrough(t *testing.T) {
	testutil.OnlyPlain(t)
	d, backend := nginxDialect(t), echo(t, false)
	total := eachFile(t, 40, func(t *testing.T, seed uint64, total *tally) {
		f := &refusedFile{backend: backend, dir: t.TempDir()}
		for i := range uint64(40) {
			f.servers = append(f.servers, newRefusing(seed+i))
		}
		f.compare(t, d, total)
	})
	// What is left are requests for which an if holds that answers nothing: nginx forgets try_files for them.
	if total.differ*100 > total.same {
		t.Errorf("too many requests of which no line is lost are answered otherwise: %+v", total)
	}
}

func soak() bool { return os.Getenv("EDGE_SOAK") != "" }

// seedOf returns the seed that EDGE_SEED says, or the usual one.
func seedOf(t *testing.T, usual uint64) uint64 {
	if text := os.Getenv("EDGE_SEED"); text != "" {
		if _, err := fmt.Sscan(text, &usual); err != nil {
			t.Fatal(err)
		}
	}
	return usual
}

// eachFile calls f with the seeds of one file after the other: of a single one, unless EDGE_SOAK asks for more. It
// returns the count of requests, of which enough have to be refused and enough let through.
func eachFile(t *testing.T, seeds uint64, f func(t *testing.T, seed uint64, total *tally)) *tally {
	seed, files := seedOf(t, 1), 1
	if soak() {
		files = 100
	}
	total := new(tally)
	for range files {
		t.Run(fmt.Sprintf("seeds %d to %d", seed, seed+seeds-1), func(t *testing.T) { f(t, seed, total) })
		if seed += seeds; t.Failed() {
			break
		}
	}
	t.Logf("%+v", total)
	if total.refused < 100 || total.through < 100 {
		t.Errorf("too few requests are refused by the program, or let through by both: %+v", total)
	}
	return total
}

// tally counts requests.
type tally struct {
	refused int // by the program
	through int // let through by both
	closed  int // let through by the program, and refused by edge
	same    int // the status is the same, where no line is lost
	differ  int
}

// statuses are those that a request gets of the program and of edge, and what they mean.
type statuses struct {
	there, here      int
	refused, through bool // by the program, and by edge
	carried          bool // no line is lost that is about it
}

// compare asks both programs and counts the requests. One that only the program refuses is an error.
func (c *tally) compare(t *testing.T, seed uint64, text string, list []*request, ask func(r *request) statuses) {
	wrong := false
	for _, r := range list {
		a, differ := ask(r), c.differ
		c.add(a.refused, a.through, a.carried, a.there, a.here)
		said := fmt.Sprintf("seed %d: %s %s%s %v from %s: %d there, %d here", seed, r.method, r.host, r.path, r.header,
			r.from, a.there, a.here)
		if a.refused && a.through {
			t.Error(said)
			wrong = true
		} else if c.differ != differ {
			t.Log(said)
			wrong = true
		}
	}
	if wrong {
		t.Log(text)
	}
}

// add counts a request that is not let through where the program refuses it. carried says that no line is lost that is
// about it.
func (c *tally) add(refused, through, carried bool, a, b int) {
	switch {
	case b == http.StatusBadRequest:
		b = a // edge refuses a path that servers read in several ways
	case b == http.StatusMethodNotAllowed && (a == http.StatusMovedPermanently || a == http.StatusNotFound):
		a = b // edge answers other methods before it looks for a file
	case a == http.StatusUnauthorized && (b < 200 || b >= 400):
		b = a // rules refuse before filters ask for a password
	}
	switch {
	case refused:
		c.refused++
	case through && a < 400:
		c.through++
	case a < 400:
		c.closed++
	}
	if carried && a == b {
		c.same++
	} else if carried {
		c.differ++
	}
}

// carried reports for each part of a file, which begins with a mark, whether all of it is in the result.
func carried(t *testing.T, program, path, text, mark string) (list []bool) {
	write(t, path, text)
	p := planOfFile(t, program, path)
	p.Text(plan.TextOnly)
	begins := []int{}
	for i, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, mark) {
			begins, list = append(begins, i+1), append(list, true)
		}
	}
	for _, f := range p.Findings() {
		named := strings.Contains(f.Why, "edge looks for no file before") // nor is there one
		if at, _ := slices.BinarySearch(begins, f.Line+1); f.Lost && at > 0 && !named {
			list[at-1] = false
		}
	}
	return list
}

// refusedFile is a file of nginx with a server for each seed.
type refusedFile struct {
	servers []*refusing
	backend string
	dir     string
}

// text returns the file for a port.
func (f *refusedFile) text(port string) string {
	var b strings.Builder
	b.WriteString("events {}\nhttp {\n  access_log off; keepalive_requests 100000;\n" +
		"  server { listen 127.0.0.1:" + port + " default_server; server_name none.test; return 404; }\n")
	for _, s := range f.servers {
		b.WriteString(strings.NewReplacer("PORT", port, "BACKEND", f.backend, "USERS", f.dir+"/users",
			"PLAIN", f.dir+"/plain", "FILES", f.dir+"/files").Replace(s.text))
	}
	return b.String() + "}\n"
}

// compare asks both programs the same.
func (f *refusedFile) compare(t *testing.T, d *dialect, total *tally) {
	write(t, filepath.Join(f.dir, "users"), "u:"+hashed(t)+"\n")
	write(t, filepath.Join(f.dir, "plain"), "u:{PLAIN}p\n")
	for _, name := range []string{"index.html", "x", "a/index.html", "a/x", "a/a/x", "a/b/index.html", "a/b/x",
		"a/b/y.php", "c/index.html", "c/y.php", "c/d/x", "b/x", "A/x", "a*b/x",
		"a/Y.PHP", "a/z x", "ax", "c/y.php\n", "a/é", "a/bx/c", "c/dx", "c/yx/z", "c/%25x"} {
		write(t, filepath.Join(f.dir, "files", name), "file")
	}
	there, here, ours := d.serveBoth(t, f.dir, f.text)
	whole := carried(t, "nginx", filepath.Join(f.dir, "asked.conf"), ours, "  server {")[1:]
	for i, s := range f.servers {
		total.compare(t, s.seed, s.text, s.requests(), func(r *request) statuses {
			a, b := there(r), here(r)
			if b == http.StatusNotFound && (strings.Contains(r.path, "%2F") || strings.Contains(r.path, "/./")) {
				b = a // no file has such a name
			}
			refused := a < 200 || a >= 400 && a < 500 && a != 404 && a != 405 // these two: a file that is not there
			return statuses{a, b, refused, b >= 200 && b < 400, whole[i]}
		})
	}
}

// clientOf returns a function that sends a request to a port of this machine and returns the status; -1: no answer.
func clientOf(t *testing.T, port string) func(r *request) int {
	listens(t, port)
	transports := map[string]*http.Transport{}
	for _, from := range []string{"", "127.0.0.2", "127.0.1.1"} {
		dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		transports[from] = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", "127.0.0.1:"+port)
		}}
		t.Cleanup(transports[from].CloseIdleConnections)
	}
	return func(r *request) int {
		req, err := http.NewRequestWithContext(t.Context(), r.method, "http://"+r.host+r.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = r.header.Clone()
		resp, err := transports[r.from].RoundTrip(req)
		if err != nil {
			return -1
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return -1
		}
		return resp.StatusCode
	}
}

// refusing is a server of nginx that refuses some requests, made from a seed.
type refusing struct {
	seed uint64
	rand *rand.Rand
	text string
	used map[string]bool // locations
	kind uint64          // what it is about
}

// What a server is about. One that has all of it is closed for more than one reason, and hides what is open.
const (
	aboutAddresses = iota
	aboutMethods
	aboutExpressions
	aboutPatterns // expressions that answer or lead to a backend
	aboutAll
	kinds
)

func newRefusing(seed uint64) *refusing {
	s := &refusing{seed: seed, rand: rand.New(rand.NewPCG(seed, 0)), used: map[string]bool{}, kind: seed % kinds}
	s.text = "  server {\n    listen 127.0.0.1:PORT;\n    root FILES;\n    server_name " + s.host() + ";\n"
	if s.kind == aboutAll && s.rand.IntN(3) == 0 {
		s.text += s.tests("    ", 2)
	}
	if s.about(aboutAddresses, 3) {
		s.text += s.guards("    ")
	}
	if s.kind == aboutExpressions || s.kind == aboutPatterns {
		s.used["/"] = true
		s.text += "    location / { proxy_pass http://BACKEND; }\n"
	}
	for range 2 + s.rand.IntN(4) {
		s.text += s.location("    ", "/", 0)
	}
	for _, name := range []string{"@one", "@two"} {
		s.text += "    location " + name + " {\n" + s.body("      ", name) + "    }\n"
	}
	s.text += "  }\n"
	return s
}

func (s *refusing) host() string { return fmt.Sprintf("s%d.test", s.seed) }

// about reports whether a server of a kind has a directive here: one in two, or of those about all of it one in n.
func (s *refusing) about(kind uint64, n int) bool {
	return s.kind == kind && s.rand.IntN(2) == 0 || s.kind == aboutAll && s.rand.IntN(n) == 0
}

// one returns one of several.
func (s *refusing) one(of ...string) string { return of[s.rand.IntN(len(of))] }

// location returns a location inside another one, whose path is above, or nothing where there is one already.
func (s *refusing) location(indent, above string, depth int) string {
	mark := s.one("", "", "", "", "= ", "^~ ", "~ ", "~* ")
	switch s.kind {
	case aboutAddresses, aboutMethods:
		mark = ""
	case aboutExpressions:
		mark = s.one("", "", "^~ ", "~ ", "~ ", "~* ")
	case aboutPatterns:
		mark = s.one("", "", "= ", "^~ ", "~ ", "~ ", "~ ", "~* ", "~* ")
	}
	path, id := "", ""
	if s.kind == aboutPatterns && strings.HasPrefix(mark, "~") {
		path = s.one(`/\.git`, `\.php$`, `\.(php|JSK)$`, `^/c/.*\.php$`, `^/[^/]+/b/`, `(^|/)\.`, `/x`, `^/a/[a-z]+$`,
			`^/(a|c)/.*x`, `/d/.`, `/\.(?!git)`, `x|y`, `[^a-z]x$`, ` `, `^/a/.+/x`, `^/.*/.*/`, `"^/.{4}$"`, `%`, `20`,
			`^/(a|c)(/|$)`, `^/a`, `^/c/d`, `^/(a|c/y)`, `b\*|b/`, `^/c/(.*)/x`, `/(?i)X$`)
		id = mark + path
	} else if strings.HasPrefix(mark, "~") {
		path = s.one(`^/a/`, `^/a/b/`, `/\.git`, `\.php$`, `^/c/.*\.php$`, `^/(a|c)/`, `^/a/b$`, `^/c/d`, `^/a/x$`,
			`^/a`, `^/a/b`, `^/c/.`)
		id = mark + path
	} else {
		path = above + s.one("", "a/", "a/b/", "a/b", "c/", "c/d/", "b/", "x", "a*b/", "a", "c/d")
		id = strings.TrimPrefix(mark, "^~ ") + path
	}
	if s.used[id] || path == "/" && mark == "= " && above != "/" {
		return ""
	}
	s.used[id] = true
	text := indent + "location " + mark + path + " {\n" + s.body(indent+"  ", mark)
	if depth < 2 && mark != "= " && !strings.HasPrefix(mark, "~") {
		for range s.rand.IntN(3) {
			text += s.location(indent+"  ", path, depth+1)
		}
	}
	return text + indent + "}\n"
}

// body returns what is inside a location.
func (s *refusing) body(indent, mark string) string {
	text := ""
	switch {
	case s.kind == aboutPatterns:
		if s.rand.IntN(4) == 0 {
			text = s.tests(indent, 1)
		}
		return text + indent + s.one("deny all;", "return 403;", "return 204;", "return 302 /elsewhere;",
			"proxy_pass http://BACKEND;", "proxy_pass http://BACKEND;") + "\n"
	case s.kind == aboutExpressions && strings.HasPrefix(mark, "~"):
		text += indent + s.one("deny all;", "deny 127.0.0.1; allow all;", "allow all;", "") + "\n"
	case s.kind != aboutMethods && s.rand.IntN(3) == 0, s.kind == aboutAddresses && s.rand.IntN(2) == 0:
		text += s.guards(indent)
	}
	if s.about(aboutMethods, 4) {
		text += indent + "limit_except " + s.one("GET", "POST", "GET POST") + " { " +
			s.one("deny all;", "allow 127.0.0.1; deny all;", "deny 127.0.0.2;",
				`auth_basic "x"; auth_basic_user_file USERS;`) + " }\n"
	}
	if s.about(aboutMethods, 3) {
		text += s.tests(indent, 3)
	}
	named := "try_files $uri.none " + s.one("@one", "@two") + ";"
	if strings.HasPrefix(mark, "@") {
		named = "proxy_pass http://BACKEND;"
	}
	switch s.rand.IntN(10) {
	case 0:
		return text + indent + "return " + s.one("200", "403", "444", "204") + ";\n"
	case 1, 2:
		return text + indent + named + "\n"
	case 3:
		return text + indent + s.one("internal; ", "") + "proxy_pass http://BACKEND;\n"
	case 4:
		return text
	}
	return text + indent + "proxy_pass http://BACKEND;\n"
}

// guards returns directives of the access phase.
func (s *refusing) guards(indent string) (text string) {
	if s.kind == aboutAddresses || s.rand.IntN(3) > 0 {
		for range 1 + s.rand.IntN(4) {
			text += indent + s.one("allow ", "deny ") +
				s.one("all", "all", "127.0.0.1", "127.0.0.0/8", "127.0.0.0/24", "127.0.1.1", "192.0.2.7") + ";\n"
		}
	}
	if s.kind == aboutAddresses {
		return text
	}
	switch s.rand.IntN(4) {
	case 0:
		text += indent + "auth_basic \"x\"; auth_basic_user_file " + s.one("USERS", "USERS", "PLAIN") + ";\n"
	case 1:
		text += indent + "auth_basic off;\n"
	}
	if s.rand.IntN(4) == 0 {
		text += indent + "satisfy any;\n"
	}
	return text
}

// tests returns up to n tests of if that answer.
func (s *refusing) tests(indent string, n int) (text string) {
	for range 1 + s.rand.IntN(n) {
		test := s.one(
			`$request_method = POST`, `$request_method != GET`, `$request_method ~ ^(PUT|DELETE)$`,
			`$request_method !~ "^(GET|HEAD|POST)$"`, `$http_x_key = "s"`, `$http_x_key != "s"`, `$http_x_key = ""`,
			`$http_x_key != ""`, `$http_x_key`, `$http_x_key ~ "^(s|t)$"`, `$http_x_key !~* "^S$"`,
			`$http_x_key ~ "^$"`, `$http_x_other ~ o`, `$http_x_other = "o"`, `$arg_q = "1"`, `$arg_q != "1"`,
			`$remote_addr = 127.0.0.1`, `$remote_addr != 127.0.0.1`, `$cookie_c`, `$http_x_key !~ "^(?!t)."`)
		if s.kind == aboutMethods {
			test = s.one(`$request_method = PUT`, `$request_method = POST`, `$request_method !~ "^(GET|HEAD|POST)$"`)
		}
		answer := s.one("403", "401", "410", "444", "429", "403", "403", "200", "204", "302 /elsewhere")
		if s.rand.IntN(6) == 0 {
			text += indent + "set $ok 0;\n" + indent + "if (" + test + ") { set $ok 1; }\n"
			test = "$ok = " + s.one("0", "1")
		}
		text += indent + "if (" + test + ") { return " + answer + "; }\n"
	}
	if s.rand.IntN(8) == 0 {
		text += indent + "break;\n"
	}
	return text
}

// requests returns what the server is asked.
func (s *refusing) requests() (list []*request) {
	for _, path := range []string{"/", "/x", "/a", "/a/", "/a/x", "/a/a/x", "/a/b", "/a/b/", "/a/b/x", "/a/b/y.php",
		"/c", "/c/", "/c/y.php", "/c/d/x", "/c/d/.git/config", "/b/x", "/A/x", "/a*b/x", "/a/%2egit", "/c/y.php%0A",
		"/a/Y.PHP", "/a/b//x", "/a%2Fb/x", "/c/%0Ay.php", "/a/z%20x", "/c/y.j%C5%BFk", "/%C3%A9/b/x", "/a/%C3%A9",
		"//a/x", "/ax", "/a/bx/c", "/a/b/y.php%00",
		"/c/dx", "/c/yx/z", "/c/d/%5Cx", "/c/%2525x", "/a/./b/../x", "/%2Egit", "/c/d%5Cb//x"} {
		for range 2 {
			r := &request{method: s.one("GET", "GET", "POST", "PUT", "HEAD"), host: s.host(), header: http.Header{}}
			r.path = path + s.one("", "", "?q=1", "?q=2", "?Q=1", "?q=2&q=1", "?q=%31")
			if key := s.one("", "", "s", "t"); key != "" {
				r.header.Set("X-Key", key)
			}
			if s.rand.IntN(3) == 0 {
				r.header.Set("X-Other", "o")
			}
			if s.rand.IntN(4) == 0 {
				r.header.Set("Authorization", s.one("Basic dTpw", "Basic dTpw", "Basic dTp4"))
			}
			r.from = s.one("", "", "127.0.0.2", "127.0.1.1")
			if s.rand.IntN(4) == 0 {
				r.header.Set("Cookie", s.one("c=1", "C=1"))
			}
			list = append(list, r)
		}
	}
	return list
}
