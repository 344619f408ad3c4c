package process

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/process/versions"
	"github.com/edge-proxy/edge/internal/server/metrics"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// An upgrade that is under way delays the judgement of a reload: what it would take back could not be applied.
func TestGuard_duringAnUpgrade(t *testing.T) {
	cfg, report := config.Options{}.Parse("edge.toml", []byte("http.listen = \"127.0.0.1:0\"\n"))
	s := serverOf(t, cfg, report)
	g := &guard{errors: 20, least: 10, begun: time.Now()}
	r := newReloads(s, onStderr(), cfg, &Options{})
	r.upgrades, r.guard = newUpgrades(nil, nil), g
	for _, present := range []*attempt{{}, nil} {
		r.upgrades.mu.Lock()
		r.upgrades.current = present
		r.upgrades.mu.Unlock()
		r.checkRoutes(g)
		r.mu.Lock()
		if waits := r.guard == g; waits != (present != nil) {
			t.Errorf("during an upgrade: %v, waits: %v", present != nil, waits)
		}
		r.mu.Unlock()
	}
}

// A reload that changes nothing leaves the look at the one before it alone, with the keys that wait for an upgrade. One
// that cannot be taken back is no more looked at, and the log says why.
func TestGuard_reloads(t *testing.T) {
	const text = "global.rollback.errors = \"20%%\"\nglobal.worker_threads = %d\nhttp.listen = \"127.0.0.1:0\"\n"
	parse := func(n int) (*config.Config, *config.Report, *config.Files) {
		src := fmt.Appendf(nil, text, n)
		cfg, report := config.Options{}.Parse("edge.toml", src)
		return cfg, report, &config.Files{Main: "edge.toml", Texts: []schema.Text{{Path: "edge.toml", Text: src}}}
	}
	cfg, report, files := parse(1)
	s := serverOf(t, cfg, report)
	threads := 1
	r := newReloads(s, onStderr(), cfg, &Options{Load: func(o Reading) (*config.Config, *config.Report) {
		cfg, report, files := parse(threads)
		*o.Record = *files
		return cfg, report
	}, Files: files})
	defer r.stop()
	r.upgrades = newUpgrades(nil, nil)
	r.begin()
	threads = 2
	testutil.Must(t, r.reload("first").Err)
	r.mu.Lock()
	g := r.guard
	r.mu.Unlock()
	testutil.Must(t, r.reload("same").Err)
	r.mu.Lock()
	if g == nil || r.guard != g || !slices.Contains(g.diff.Restart, "worker_threads") {
		t.Fatalf("%+v, after a reload of the same: %+v", g, r.guard)
	}
	var log testutil.Output
	testutil.EventLog(t, slog.NewTextHandler(&log, nil))
	g.back = 99
	r.undoReload(g, &failing{"shop", 10, 10})
	r.mu.Unlock()
	if !strings.Contains(log.String(), versions.ErrUnknown.Error()) {
		t.Errorf("the log does not say why: %s", log.String())
	}
}

// onReload calls itself when the log says that a configuration was reloaded.
type onReload func()

func (onReload) Enabled(context.Context, slog.Level) bool { return true }
func (f onReload) WithAttrs([]slog.Attr) slog.Handler     { return f }
func (f onReload) WithGroup(string) slog.Handler          { return f }

func (f onReload) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "configuration reloaded" {
		f()
	}
	return nil
}

// Requests that meet a new configuration while the reload still logs and keeps it count as those after it.
func TestGuard_requestsDuringAReload(t *testing.T) {
	status := 404
	load := func(o Reading) (*config.Config, *config.Report) {
		src := fmt.Appendf(nil, "global.rollback = { errors = \"20%%\", requests = 10 }\n"+
			"http.listen = \"127.0.0.1:0\"\n[[routes]]\n"+
			"name = \"shop\"\npattern = \"/*\"\ndest = \"status:%d\"\n", status)
		*o.Record = config.Files{Main: "edge.toml", Texts: []schema.Text{{Path: "edge.toml", Text: src}}}
		return config.Options{}.Parse("edge.toml", src)
	}
	files := &config.Files{}
	cfg, report := load(Reading{Record: files})
	s := serverOf(t, cfg, report)
	testutil.Must(t, s.Start())
	r := newReloads(s, onStderr(), cfg, &Options{Load: load, Files: files})
	defer r.stop()
	r.upgrades = newUpgrades(nil, nil)
	r.begin()
	testutil.EventLog(t, onReload(func() {
		for range 10 {
			resp, err := http.Get("http://" + s.Addresses()[0].Addr.String())
			testutil.Must(t, err)
			resp.Body.Close()
		}
	}))
	status = 503
	testutil.Must(t, r.reload("test").Err)
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.guard
	if r.guard = nil; g == nil { // it does not judge after the end of the test
		t.Fatal("the reload is not looked at")
	}
	if worst := g.worstRoute(s.Outcomes()); worst == nil || *worst != (failing{"shop", 10, 10}) {
		t.Errorf("what fails: %+v", worst)
	}
}

func TestGuard_find(t *testing.T) {
	type outcomes = map[string]metrics.Outcomes
	of := func(requests, failed uint64) metrics.Outcomes {
		return metrics.Outcomes{Requests: requests, Failed: failed}
	}
	for name, c := range map[string]struct {
		earlier, before, now outcomes
		want                 string
	}{
		"none":              {nil, nil, outcomes{"a": of(100, 0)}, ""},
		"at the bound":      {nil, nil, outcomes{"a": of(100, 20)}, ""},
		"beyond it":         {nil, nil, outcomes{"a": of(100, 21)}, "a"},
		"too few":           {nil, nil, outcomes{"a": of(9, 9)}, ""},
		"the worst":         {nil, nil, outcomes{"a": of(100, 30), "b": of(10, 9), "c": of(1000, 800)}, "b"},
		"counted since":     {nil, outcomes{"a": of(1000, 0)}, outcomes{"a": of(1010, 10)}, "a"},
		"only before":       {nil, outcomes{"a": of(1000, 900)}, outcomes{"a": of(1100, 900)}, ""},
		"before as well":    {nil, outcomes{"a": of(100, 50)}, outcomes{"a": of(200, 100)}, ""},
		"long before":       {outcomes{"a": of(100, 50)}, outcomes{"a": of(200, 50)}, outcomes{"a": of(300, 100)}, "a"},
		"few before":        {nil, outcomes{"a": of(9, 9)}, outcomes{"a": of(109, 50)}, "a"},
		"another one fails": {nil, outcomes{"a": of(100, 50)}, outcomes{"a": of(200, 100), "b": of(10, 10)}, "b"},
		"counts that fell":  {nil, outcomes{"a": of(100, 0)}, outcomes{"a": of(50, 50)}, ""},
	} {
		g := guard{errors: 20, least: 10, earlier: c.earlier, before: c.before}
		got := g.worstRoute(c.now)
		if got == nil && c.want != "" || got != nil && got.route != c.want {
			t.Errorf("%s: %+v, want %q", name, got, c.want)
		}
	}
}

// onStderr is an event log that has nothing to open again.
func onStderr() *eventLog { return &eventLog{out: &eventOutput{path: "stderr"}} }
