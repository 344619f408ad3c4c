package builtin

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/test/filterrig"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/warm"
	"github.com/edge-proxy/edge/proxy"
)

// gateOf makes a gate for a file, and its filter.
func gateOf(t *testing.T, file string) (*gate, *proxy.Filter) {
	t.Helper()
	c, err := plugin.Completed(&Maintenance{File: file, Except: []string{"/healthz"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	g, err := newGate(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return g, g.filter(c, nil)
}

// A request that comes a second after the last look waits for the next one, and goes by it.
func TestGate_looksForARequestAfterAPause(t *testing.T) {
	file := filepath.Join(t.TempDir(), "closed")
	g, f := gateOf(t, file)
	rig, client := filterrig.New(t, f), filterrig.Clients(t)["HTTP/1"]
	for _, want := range []int{503, 200, 503} {
		if want == 503 {
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		} else if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		g.looked.Store(math.MinInt64 / 2)
		if resp, _ := testutil.Get(t, client, rig.URL); resp.StatusCode != want {
			t.Errorf("%d, want %d", resp.StatusCode, want)
		}
	}
}

// A look that fails, as where a directory was taken away, changes nothing.
func TestGate_keepsWhatItKnows(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "closed")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	g, f := gateOf(t, file)
	var said testutil.Output
	g.log = func(msg string, _ ...any) { _, _ = said.Write([]byte(msg)) }
	rig, client := filterrig.New(t, f), filterrig.Clients(t)["HTTP/1"]
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // the directory is a file: ENOTDIR
		t.Fatal(err)
	}
	for range 2 {
		g.looked.Store(math.MinInt64 / 2)
		if resp, _ := testutil.Get(t, client, rig.URL); resp.StatusCode != 503 {
			t.Error(resp.Status)
		}
	}
	if got := said.String(); got != "the file of a maintenance filter cannot be looked for: it goes by what it knew" {
		t.Errorf("the log has %q", got)
	}
}

func TestGate_allocatesNothing(t *testing.T) {
	g, f := gateOf(t, filepath.Join(t.TempDir(), "closed"))
	g.looked.Store(math.MaxInt64) // no look is due
	rig := warm.New(t, warm.Browser, &proxy.Listener{}, f)
	if n := testutil.Allocs(1000, rig.Exchange); n != 0 {
		t.Errorf("open: %v allocations", n)
	}
	g.shut.Store(true)
	g.except = append(g.except, "/articles/2026/11/how-a-request-travels")
	if n := testutil.Allocs(1000, rig.Exchange); n != 0 {
		t.Errorf("closed: %v allocations", n)
	}
}
