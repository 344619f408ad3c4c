//go:build apps

package apps

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// TestPrometheus has it at the root; below a prefix that it knows; and below one that edge takes away, of which only
// its links know.
func TestPrometheus(t *testing.T) {
	for _, c := range []struct{ name, below, direct, route, flags string }{
		{"Prometheus", "", "", `pattern = "/"`, ""},
		{"Prometheus below /prom/", "/prom", "/prom", `pattern = "/prom/*"`, "--web.external-url=/prom/"},
		{
			"Prometheus, prefix taken away", "/prom", "",
			"pattern = \"/prom/*\"\nrewrite = { strip_prefix = \"/prom\" }",
			"--web.external-url=/prom/ --web.route-prefix=/",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := begin(t, c.name)
			path := a.need("prometheus", "prometheus")
			a.versionOf(path, "--version")
			address, dir := testutil.FreeAddr(t), t.TempDir()
			a.write(filepath.Join(dir, "prometheus.yml"), fmt.Sprintf("global: { scrape_interval: 200ms }\n"+
				"scrape_configs: [{ job_name: self, metrics_path: %s/metrics, static_configs: [{ targets: [%q] }] }]\n",
				c.direct, address))
			a.start(testutil.Command{Path: path, Dir: dir, Args: append([]string{
				"--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.listen-address=" + address,
			}, strings.Fields(c.flags)...)}).WaitLine("Server is ready")
			a.front(address, "[[routes]]\n%s\ndest = %q\n", c.route, address)
			a.below(c.below, c.direct)
			askPrometheus(a, c.below)
		})
	}
}

func askPrometheus(a *app, below string) {
	direct := a.ways[0]
	testutil.Eventually(a, testutil.Minutes, func() bool {
		return strings.Contains(string(direct.do(a.T, request{path: "/api/v1/query?query=up"}).body), `"1"`)
	}, "it has asked itself")
	a.ask("the root", all, get("/"))
	a.ask("the page", all, get("/graph"))
	a.ask("a page that is not there", all, get("/nothing"))
	a.ask("ready", all, get("/-/ready"))
	a.ask("a query that is wrong", all, get("/api/v1/query?query=up%7B"))
	a.ask("labels, compressed", all, get("/api/v1/label/job/values", "Accept-Encoding", "gzip"))
	a.ask("a query", all, func(t *testing.T, w *way) string {
		r := w.do(t, request{path: "/api/v1/query?query=up"})
		return regexp.MustCompile(`\d+\.\d+|\d{10}`).ReplaceAllString(string(r.body), "now")
	})
	a.ask("a query by POST", all, func(t *testing.T, w *way) string {
		form := url.Values{"query": {`count(up{job="self"}) + 0 * time()`}, "time": {"1e9"}}
		return w.do(t, request{
			method: "POST", path: "/api/v1/query", body: strings.NewReader(form.Encode()),
			fields: []string{"Content-Type", "application/x-www-form-urlencoded"},
		}).tell(w)
	})
	a.ask("names of metrics", all, func(t *testing.T, w *way) string {
		r := w.do(t, request{path: "/metrics"})
		return r.header.Get("Content-Type") + strings.Join(
			regexp.MustCompile(`(?m)^# TYPE prometheus_(?:build|ready).*$`).FindAllString(string(r.body), -1), "\n")
	})
	a.ask("what its page loads", all, func(t *testing.T, w *way) string { return loads(t, w, below) })
}

// loads goes from the root to the page, and asks for all that the page loads. below is the prefix of its links.
func loads(t *testing.T, w *way, below string) string {
	page := w.do(t, request{path: "/"})
	for range 5 {
		if page.status < 300 {
			break
		}
		page = w.do(t, request{path: strings.TrimPrefix(page.header.Get("Location"), below)})
	}
	links := regexp.MustCompile(`(?:src|href)="([^"]+\.(?:js|css|ico)[^"]*)"`).FindAllSubmatch(page.body, -1)
	if len(links) == 0 {
		t.Errorf("the page loads nothing: %s", page.tell(w))
	}
	var told strings.Builder
	for _, link := range links {
		r := w.do(t, request{path: strings.TrimPrefix(string(link[1]), below)})
		if r.status != 200 {
			t.Errorf("%s: %d", link[1], r.status)
		}
		told.WriteString(r.tell(w))
	}
	return told.String()
}
