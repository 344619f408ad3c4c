package importer_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// What HAProxy refuses, edge does not let through with the configuration that is imported, whatever the file says.
//
// Each seed is a frontend of a file that both programs serve. EDGE_SOAK=1 tries more files, EDGE_SEED=N others.
func TestHAProxy_nothingThatIsRefusedIsLetThrough(t *testing.T) {
	d, backend, hash := haproxyDialect(t), echo(t, false), hashed(t)
	total := eachFile(t, 12, func(t *testing.T, seed uint64, total *tally) {
		compareFronts(t, d, backend, hash, seed, total)
	})
	if total.closed > total.through {
		t.Errorf("too few requests are let through by both: %+v", total)
	}
}

// compareFronts serves the frontends of 12 seeds with both programs.
func compareFronts(t *testing.T, d *dialect, backend, hash string, seed uint64, total *tally) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "addresses"), "# some\n127.0.0.2\n")
	write(t, filepath.Join(dir, "map"), "/a 0\n/a/x 1\n/ax 1\nh.test 1\nx.test 0\nno.test 7\n")
	theirs, ours := proxyHead+hash+"\n", proxyHead+hash+"\n"
	var fronts []*askedFront
	for n := range uint64(12) {
		f := &askedFront{seed: seed + n, rand: rand.New(rand.NewPCG(seed+n, 7)), theirs: freePort(t), ours: freePort(t)}
		f.write(backend, dir)
		theirs += strings.ReplaceAll(f.text, "PORT", f.theirs)
		ours += strings.ReplaceAll(f.text, "PORT", f.ours)
		fronts = append(fronts, f)
	}
	d.start(t, dir, theirs)
	d.startEdge(t, dir, ours)
	whole := carried(t, "haproxy", filepath.Join(dir, "asked.cfg"), ours, "frontend ")
	for i, f := range fronts {
		f.whole = whole[i]
		f.compare(t, total)
	}
}

const proxyHead = `defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  timeout tarpit 2ms
userlist staff
  user u password `

// askedFront is a frontend of HAProxy with its backends, made from a seed.
type askedFront struct {
	seed         uint64
	rand         *rand.Rand
	text         string
	theirs, ours string
	whole        bool // no line of it is lost
}

func (f *askedFront) one(of ...string) string { return of[f.rand.IntN(len(of))] }

func (f *askedFront) write(backend, dir string) {
	var b strings.Builder
	fmt.Fprintf(&b, "frontend f%d\n  bind 127.0.0.1:PORT\n", f.seed)
	for i := range 3 {
		for range 1 + f.rand.IntN(2) {
			fmt.Fprintf(&b, "  acl a%d %s\n", i, f.criterion())
		}
	}
	if f.rand.IntN(4) == 0 {
		fmt.Fprintf(&b, "  tcp-request content %s %s\n", f.one("reject", "reject", "accept"), f.condition())
	}
	for range f.rand.IntN(4) {
		b.WriteString("  " + f.rule() + "\n")
	}
	for range f.rand.IntN(3) {
		name := fmt.Sprintf("b%d-", f.seed) + f.one("0", "1", "0", "1", "%[url_param(q)]", "%[path,map_beg(MAP)]",
			"%[req.hdr(host),lower,map(MAP,1)]", "%[rand(2)]")
		fmt.Fprintf(&b, "  use_backend %s %s\n", name, f.condition())
	}
	fmt.Fprintf(&b, "  default_backend b%d-0\n", f.seed)
	for i := range 2 {
		fmt.Fprintf(&b, "backend b%d-%d\n", f.seed, i)
		for n := range 3 {
			fmt.Fprintf(&b, "  acl a%d %s\n", n, f.criterion())
		}
		for range f.rand.IntN(3) {
			b.WriteString("  " + f.rule() + "\n")
		}
		fmt.Fprintf(&b, "  server s %s\n", backend)
	}
	f.text = strings.NewReplacer("FILE", dir+"/addresses", "MAP", dir+"/map").Replace(b.String())
}

// rule returns a line about requests.
func (f *askedFront) rule() string {
	return "http-request " + f.one("deny", "deny", "deny", "deny deny_status 404", "tarpit", "reject", "allow",
		"return status 204", "return status 403", "redirect location /elsewhere", "set-header X-Set yes",
		"replace-path ^/a/(.*) /b/\\1", "replace-path ^/ax /b.php", "auth realm R") + " " + f.condition()
}

// condition returns what a line asks.
func (f *askedFront) condition() string {
	text := f.one("if", "if", "unless")
	for i := range 1 + f.rand.IntN(3) {
		if i > 0 {
			text += f.one("", "", " or", " ||")
		}
		text += " " + f.one("", "", "!")
		if f.rand.IntN(2) == 0 {
			text += f.one("a0", "a1", "a2", "METH_GET", "LOCALHOST", "METH_POST")
		} else {
			text += "{ " + f.criterion() + " }"
		}
	}
	return text
}

// criterion returns a fetch with its values.
func (f *askedFront) criterion() string {
	return f.one("path /a /a/x", "path -i /A/X", "path_beg /a", "path_beg /a/ /c/", "path_beg -i /A",
		"path_end .php", "path_end -i .php", "path_sub x", "path_dir img", "path_reg ^/[ab]", `path_reg \.php$`,
		"path -m reg -i ^/A/", "path,lower /a/x", "path_len gt 3", "query q=1", "url_sub q=1", "url_param(q) 1",
		"url_param(q) -m found", "hdr(X) yes", "hdr(X) -m sub es", "hdr(X) -m beg y", "hdr(X) -i YES",
		"hdr(X) -m found", "hdr_reg(X) ^(yes|no)$", "req.fhdr(X) yes", "req.fhdr(X) -m end yes", "hdr(host) h.test",
		"hdr(host) -i h.test", "hdr_end(host) -i .h.test", "hdr_dom(host) -i www", "hdr_beg(host) www.",
		"hdr_reg(host) -i ^www", "req.hdr(host),field(1,:),lower h.test", "hdr_val(X-N) gt 3", "src 127.0.0.2",
		"src 127.0.0.0/24", "src -f FILE", "method GET", "method POST PUT", "cook(c) 1", "cook(c) -m found", "ssl_fc",
		"http_auth(staff)", "always_true", "rand(2) gt 5", "rand(2) lt 5")
}

// compare asks both programs the same.
func (f *askedFront) compare(t *testing.T, total *tally) {
	there, here := clientOf(t, f.theirs), clientOf(t, f.ours)
	var list []*request
	for _, path := range []string{"/", "/a", "/a/x", "/ax", "/A/x", "/b.php", "/a/b.PHP", "/%61/x", "/c/img/x", "/img",
		"/c/", "/x%2ephp", "/a/..", "/a/../b", "/c/./img/.."} {
		for range 4 {
			r := &request{method: f.one("GET", "GET", "POST", "PUT", "HEAD"), header: http.Header{},
				path: path + f.one("", "", "?q=1", "?q=2", "?q=2&q=1", "?q=2&q=1", "?a=1;q=1", "?q=%31",
					"??q=1"),
				host: f.one("h.test", "h.test", "H.Test", "www.h.test", "h.test:8080", "x.test", "h.test."),
				from: f.one("", "", "127.0.0.2", "127.0.1.1")}
			f.fields(r)
			list = append(list, r)
		}
	}
	total.compare(t, f.seed, f.text, list, func(r *request) statuses {
		// Other spellings of a path or a host count as the same here, and do not there; of a query with several
		// parameters of one name HAProxy looks at each, edge at the first where nothing is refused.
		odd := strings.ContainsAny(r.path, "%;&") || strings.Contains(r.path, "??") || strings.Contains(r.path, "/.") ||
			r.host[:1] == "H" || strings.Contains(r.host, ":") || strings.HasSuffix(r.host, ".")
		a, b := there(r), here(r)
		// Other statuses come from the file itself.
		return statuses{a, b, a < 200 || a >= 400 && a <= 500, b == 200, f.whole && !odd}
	})
}

// fields gives a request some of the fields that criteria look at.
func (f *askedFront) fields(r *request) {
	for _, field := range []struct{ name, value string }{
		{"X", f.one("", "", "yes", "no", "a, yes", "YES")}, {"X-N", f.one("", "", "3", "4", "x")},
		{"Cookie", f.one("", "", "c=1", "c=2; d=1")}, {"Authorization", f.one("", "Basic dTpw", "Basic dTp4")},
	} {
		if field.value != "" {
			r.header.Set(field.name, field.value)
		}
	}
}
