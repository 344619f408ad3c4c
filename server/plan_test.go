package server

import (
	"bufio"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/changes"
	"github.com/edge-proxy/edge/internal/testutil"
	"github.com/edge-proxy/edge/upstream"
)

// A Diff says that connections to backends end where a reload makes another pool, and nowhere else: each key of the
// reference page is tried.
func TestDiff_touchesThePoolsThatEnd(t *testing.T) {
	t.Parallel()
	page, err := os.Open(filepath.Join(testutil.Root(t), "docs", "configuration.md"))
	try(t, err)
	defer page.Close()
	header := regexp.MustCompile("^## (?:`(\\[+)(routes|upstreams.NAME)\\])?")
	tried, ended := 0, 0
	section := ""
	for lines := bufio.NewScanner(page); lines.Scan(); {
		if m := header.FindStringSubmatch(lines.Text()); m != nil {
			section = m[2]
		}
		row := referenceRow.FindStringSubmatch(lines.Text())
		if section == "" || row == nil {
			continue
		}
		example := referenceExample.FindStringSubmatch(row[2])
		if example == nil {
			continue
		}
		base := quiet + "routes = [{ name = \"r\", pattern = \"/*\", dest = \"u\" }]\n[upstreams.u]\n" +
			"backends = [{ address = \"127.0.0.1:1\" }]\n"
		if section == "routes" {
			base = quiet + "upstreams.u.backends = [{ address = \"127.0.0.1:1\" }]\n[[routes]]\nname = \"r\"\n" +
				"pattern = \"/*\"\ndest = \"u\"\n"
		}
		next, _ := config.Parse("test.toml", []byte(base+row[1]+" = "+example[1]+"\n"))
		if next == nil {
			continue // it needs more than itself
		}
		s, err := New(parse(t, base), Options{StateDir: t.TempDir()})
		try(t, err)
		before := s.pools()
		d, err := s.Apply(next)
		after := s.pools()
		_ = s.Stop()
		if err != nil {
			continue // a file that it names does not exist
		}
		tried++
		ends := slices.ContainsFunc(before, func(u *upstream.Upstream) bool { return !slices.Contains(after, u) })
		told := slices.ContainsFunc(d.Entries, func(e changes.Entry) bool { return len(e.Touches) > 0 })
		if ends != told {
			t.Errorf("%s = %s in [%s]: the pool ends: %v, told %v: %+v", row[1], example[1], section, ends, told,
				d.Entries)
		}
		if ends {
			ended++
		}
	}
	if tried < 40 || ended < 10 {
		t.Errorf("%d keys were tried, by %d of them the pool ended", tried, ended)
	}
}

// pools returns the pools of connections.
func (s *Server) pools() []*upstream.Upstream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.upstreams.now.upstreams))
}

// A plan counts the connections that it touches, and changes nothing.
func TestPlan_countsConnections(t *testing.T) {
	addr, _ := origin(t, "a")
	const file = quiet + `[[listeners]]
name = "web"
listen = ["127.0.0.1:0"%s]
[[routes]]
name = "r"
pattern = "/*"
dest = "u"
[upstreams.u]
%s
backends = [{ address = %q }]
`
	second := testutil.FreeAddr(t)
	s := start(t, Options{}, file, `, "`+second+`"`, "", addr)
	c := &http.Client{Transport: &http.Transport{}}
	defer c.CloseIdleConnections()
	if status, _ := getBy(t, c, "http://"+second+"/"); status != 200 {
		t.Fatalf("status %d", status)
	}
	next := parse(t, "global.worker_threads = 3\n"+fmt.Sprintf(file, "", "pool.idle = 7", addr))
	var got strings.Builder
	d := s.Plan(next)
	try(t, d.Render(&got))
	want := "~ global: worker_threads\n~ listener web: listen\n    - " + second +
		"\n    connections of clients (1): served to their end\n~ upstream u: pool.idle\n" +
		"    connections to backends: idle ones (1) are closed, busy ones (0) are drained\n" +
		"after a restart or an upgrade alone: worker_threads\nconnections of clients: none is closed\n"
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
	wantStatus(t, c, "http://"+second+"/", 200, "after the plan")
	if d := apply(t, s, file, `, "`+second+`"`, "", addr); !d.Empty() {
		t.Errorf("the plan has changed something: %+v", d)
	}
}
