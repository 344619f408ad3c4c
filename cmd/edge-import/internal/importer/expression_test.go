package importer_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// chosenExpressions are regular expressions that are carried, with the mark of their locations.
var chosenExpressions = []string{
	`~ /\.git`, `~ \.php$`, `~ \.(php|JSK)$`, `~ ^/c/.*\.php$`, `~ ^/[^/]+/b/`, `~ (^|/)\.`, `~ /x`, `~ ^/a/[a-z]+$`,
	`~ ^/(a|c)/.*x`, `~ x|y`, `~ " "`, `~ ^/a/.+/x`, `~ %`, `~ 20`, `~ ^/(a|c)(/|$)`, `~ ^/c/(.*)/x`, `~ "/[a-z]{3}"`,
	`~* \.(php|jsk)$`, `~* ^/A/X`, `~* [a-c]x$`, `~* /D/.*X`, `~* ^/a/[^x]*$`, `~* ^/(?:b|c)/`, `~ ^/a/x$`, `~ ^/b/`,
	`~ /\.(?!git)`, `~* /\.(?!gi).*`, `~ ^/(?:a/(?!x)|c/y)`, `~ ^/(?!a)`, `~ /(?!y\.php)`,
}

// spellings are paths of requests, some of which have others that mean the same.
var spellings = []string{
	"/", "/x", "/X", "/a", "/a/", "/a/x", "/A/X", "/a/b/", "/a/b/x", "/a/b/y.php", "/a/b/y.PHP", "/b/x", "/c/y.php",
	"/c/y.php%0A", "/c/y.php%0A%0A", "/c/%0Ay.php", "/c/y.php%0Ax", "/c/d/.git/config", "/c/d/%2egit", "/%2E", "/.x",
	"/.git", "/.g", "/c/.GIT/x", "/a%2Fb/x", "//a/x", "/a//b/x", "/a/./b/../x", "/a/b/%2e%2e/x", "/a%20b",
	"/a/%20/x", "/a/%2525", "/%25/x", "/a/20", "/a/%41%78", "/c/y.jsk", "/c/y.JSK", "/c/y.j%C5%BFk",
	"/c/y.j%C5%BF%E2%84%AA", "/%C3%A9/b/x", "/a/%C3%A9", "/a/%FF/x", "//a/%5C/x", "//c/%5C/x", "/c/d/%5Cx",
	"/c/d%5Cb//x", "/%5C.git", "/c/%2F%2Fx", "/a/abc", "/b/abc/20/x", "/a/x%00", "/c//x", "/c/d//x",
}

// nginx and edge choose the same location for each spelling of a path, but for those that edge refuses because some
// read them in another way. EDGE_SOAK=1 tries more files, EDGE_SEED=N others.
func TestNginx_expressionsTakeTheSame(t *testing.T) {
	testutil.OnlyPlain(t)
	d := nginxDialect(t)
	seed, files := seedOf(t, 1), 1
	if soak() {
		files = 50
	}
	same, refused := 0, 0
	for range files {
		servers := map[string]string{} // texts, by their names
		for range 20 {
			servers[fmt.Sprintf("s%d.test", seed)] = choosing(rand.New(rand.NewPCG(seed, 0)))
			seed++
		}
		there, here, _ := d.serveBoth(t, t.TempDir(), func(port string) string { return answering(port, servers) })
		for name, locations := range servers {
			for _, path := range spellings {
				r := &request{method: "GET", host: name, path: path, header: http.Header{}}
				switch a, b := there(r), here(r); {
				case a == b:
					same++
				case b == 400, a == 400: // nginx refuses a zero byte
					refused++
				default:
					t.Errorf("%s: %d there, %d here\n%s", path, a, b, locations)
				}
			}
		}
		if t.Failed() {
			break
		}
	}
	t.Logf("%d answers are the same, %d are 400 for one alone", same, refused)
	if same < 5*refused {
		t.Errorf("%d answers are the same, and %d are 400 for one alone", same, refused)
	}
}

// answering returns a file with servers on a port, by their names.
func answering(port string, servers map[string]string) string {
	var b strings.Builder
	b.WriteString("events {}\nhttp {\n  access_log off; keepalive_requests 100000;\n" +
		"  server { listen 127.0.0.1:" + port + " default_server; server_name none.test; return 404; }\n")
	for name, locations := range servers {
		fmt.Fprintf(&b, "  server {\n    listen 127.0.0.1:%s;\n    server_name %s;\n%s  }\n", port, name, locations)
	}
	return b.String() + "}\n"
}

// choosing returns locations, each of which answers with a status of its own.
func choosing(rand *rand.Rand) string {
	status := 230
	var b strings.Builder
	used := map[string]bool{}
	add := func(location string) {
		if !used[location] {
			used[location] = true
			fmt.Fprintf(&b, "    location %s { return %d; }\n", location, status)
			status++
		}
	}
	add("/")
	for range 1 + rand.IntN(3) {
		mark := []string{"", "", "^~ ", "= "}[rand.IntN(4)]
		path := []string{"/a/", "/a/b/", "/c/", "/c/d/", "/b/"}[rand.IntN(5)]
		if used["^~ "+path] || used[path] {
			continue
		}
		add(mark + path)
	}
	for range 1 + rand.IntN(4) {
		add(chosenExpressions[rand.IntN(len(chosenExpressions))])
	}
	return b.String()
}
