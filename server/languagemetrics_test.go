package server

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/language"
	"github.com/edge-proxy/edge/internal/testutil"
)

// What conditions and templates cost, and what becomes of the files of lists, is counted, over reloads too.
func TestMetrics_language(t *testing.T) {
	t.Parallel()
	dir, tables := t.TempDir(), language.NewTables()
	list := filepath.Join(dir, "list.txt")
	rename(t, list, "10.0.0.0/8\n10.0.0.1\n")
	load := func(more string) *config.Config {
		t.Helper()
		cfg := parseBy(t, config.Options{Tables: tables}, quiet+fmt.Sprintf(`
global.worker_threads = 2
lists.net = { file = "%s", refresh = "100ms" }
lists.still.values = ["10.0.0.0/8"]
listeners = [{ name = "web", listen = "127.0.0.1:0" }]
routes = [{ pattern = "/*", dest = "status:204" }]
[maps.net]
values = { a = "b" }
%s
[[rules]]
when = 'path ~ "^/[a-z]+(/x[0-9]+)*$"'
headers.response = { X-Many = '{replace(header.x, "a", "01234567890123456789012345678901234567890123456789")}' }
`, list, more))
		return cfg
	}
	s := serve(t, load(""), Options{})
	page := func(want ...string) bool {
		page := scrape(t, s)
		for _, line := range want {
			if !strings.Contains(page, line) {
				return false
			}
		}
		return true
	}
	askFor(t, "GET", urlOf(t, s, "web")+"/abc/x17", "X: "+strings.Repeat("a", 2000))
	testutil.Eventually(t, testutil.Patience, func() bool {
		return page("edge_texts_cut_total 1\n", "edge_regex_tables 1\n", `edge_list_entries{kind="list",name="net"} 2`,
			`edge_list_entries{kind="list",name="still"} 1`, `edge_list_entries{kind="map",name="net"} 1`,
			`edge_list_refreshes_total{kind="list",name="still",result="unchanged"} 0`)
	}, "what the request has cost is counted")
	const failed = `edge_list_refreshes_total{kind="list",name="net",result="failed"} `
	rename(t, list, "nonsense\n")
	testutil.Eventually(t, testutil.Patience, func() bool { return !page(failed + "0\n") }, "a failure is counted")
	rename(t, list, "10.0.0.0/8\n")
	testutil.Eventually(t, testutil.Patience, func() bool {
		return page(`edge_list_entries{kind="list",name="net"} 1`) &&
			!page(`edge_list_refreshes_total{kind="list",name="net",result="changed"} 0`+"\n")
	}, "the new content is counted")
	mustApply(t, s, load("[lists.more]\nvalues = '10.0.0.1'"))
	testutil.Eventually(t, testutil.Patience, func() bool { // a page is as old as 200 ms
		return page(`edge_list_entries{kind="list",name="more"} 1`, "edge_texts_cut_total 1\n")
	}, "the new list is there")
	if page(failed + "0\n") {
		t.Error("a reload has forgotten the failure")
	}
}
