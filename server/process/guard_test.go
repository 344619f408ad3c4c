package process

import (
	"testing"
	"time"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/server"
	"github.com/edge-proxy/edge/server/metrics"
)

// An upgrade that is under way delays the judgement of a reload: what it would take back could not be applied.
func TestGuard_duringAnUpgrade(t *testing.T) {
	cfg, report := config.Options{}.Parse("edge.toml", []byte("http.listen = \"127.0.0.1:0\"\n"))
	if !report.OK() {
		t.Fatal(report.Errors)
	}
	s, err := server.New(cfg, server.Options{})
	try(t, err)
	defer s.Stop()
	g := &guard{errors: 20, least: 10, begun: time.Now()}
	r := newReloads(s, nil, cfg, &Options{})
	r.upgrades, r.guard = newUpgrades(nil, nil), g
	for _, present := range []*attempt{{}, nil} {
		r.upgrades.mu.Lock()
		r.upgrades.present = present
		r.upgrades.mu.Unlock()
		r.judge(g)
		r.mu.Lock()
		if waits := r.guard == g; waits != (present != nil) {
			t.Errorf("during an upgrade: %v, waits: %v", present != nil, waits)
		}
		r.mu.Unlock()
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
		got := g.find(c.now)
		if got == nil && c.want != "" || got != nil && got.route != c.want {
			t.Errorf("%s: %+v, want %q", name, got, c.want)
		}
	}
}
