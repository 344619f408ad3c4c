package examples_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// Two answers become one, over HTTP/1 and HTTP/2; where one is missing, the answer says so. Each sub-request has a
// record in the log, which names its parent.
func TestSubrequest(t *testing.T) {
	one, two := origin(t, "tea"), origin(t, "seven")
	dir, addr := t.TempDir(), testutil.FreeAddr(t)
	conf := "http.listen = %q\nlog.output = [\"access.log\"]\n[upstreams]\n" +
		"products = { backends = [{ address = %q }] }\nstock = { backends = [{ address = %q }] }\n"
	path := filepath.Join(dir, "conf.toml")
	for want, stock := range map[string]string{
		`200 {"product":"tea /products/1","left":"seven /count/products/1"}`: two,
		"502 ": testutil.FreeAddr(t),
	} {
		if err := os.WriteFile(path, fmt.Appendf(nil, conf, addr, one, stock), 0o644); err != nil {
			t.Fatal(err)
		}
		p := testutil.Start(t, testutil.Command{Path: testutil.Binary(t, "./examples/subrequest"),
			Args: []string{"-c", path}, Dir: dir})
		p.WaitLine(`"msg":"listening"`)
		for _, c := range []*http.Client{testutil.H2C(t), {Transport: &http.Transport{DisableKeepAlives: true}}} {
			resp, body := testutil.Get(t, c, "http://"+addr+"/products/1")
			if got := fmt.Sprint(resp.StatusCode, " ", body); !strings.HasPrefix(got, want) {
				t.Errorf("got %s, want %s", got, want)
			}
			c.CloseIdleConnections()
		}
		p.Signal(os.Interrupt) // the client of HTTP/2 keeps its connection
		ends(t, p)
	}
	lines, err := os.ReadFile(filepath.Join(dir, "access.log"))
	if err != nil {
		t.Fatal(err)
	}
	parents, children := map[string]bool{}, map[string]int{}
	for line := range strings.Lines(string(lines)) {
		var r struct {
			ID, Parent, Path string
			Status           int
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if r.Parent == "" {
			parents[r.ID] = true
		} else {
			children[r.Parent]++
		}
	}
	for id, n := range children {
		if !parents[id] || n != 2 {
			t.Errorf("%d records name %s as their parent\n%s", n, id, lines)
		}
	}
	if len(parents) != 4 || len(children) != 4 {
		t.Errorf("%d requests, %d with sub-requests\n%s", len(parents), len(children), lines)
	}
}
