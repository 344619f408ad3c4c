package filter_test

import (
	"testing"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/filter"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/warm"
	"github.com/edge-proxy/edge/proxy"
)

// ask is a type of filters that look for a field and count.
type ask struct {
	Field string `edge:"field" doc:"The field." default:"X-Please"`
}

func newAsk(c *ask, b *plugin.Build) (*proxy.Filter, error) {
	c, err := plugin.Completed(c, b)
	if err != nil {
		return nil, err
	}
	seen := b.Counter("seen")
	return &proxy.Filter{Request: func(x *proxy.Exchange) proxy.Verdict {
		seen.Add(x)
		if x.Request.Get(c.Field) != "" {
			return proxy.Respond(403, "")
		}
		return proxy.Next
	}}, nil
}

func init() { plugin.Register(plugin.Filters, "xask", "Looks for a field.", newAsk) }

// made returns the filter made in Go, and as a file has it.
func made(t testing.TB) (inGo, registered *proxy.Filter) {
	t.Helper()
	inGo, err := newAsk(&ask{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg, rep := config.Parse("edge.toml", []byte("[filters.a]\ntype = \"xask\"\n"))
	if cfg == nil {
		t.Fatal(rep.Errors)
	}
	var store plugin.Store
	b := &plugin.Build{Name: "a", Reactors: 1, Kept: store.Claim()}
	if registered, err = filter.Make(&cfg.Defined[0].Table, b); err != nil {
		t.Fatal(err)
	}
	return inGo, registered
}

// A filter of a configuration costs what one made in Go does: no allocation for a request.
func TestType_allocatesNothing(t *testing.T) {
	testutil.OnlyPlain(t)
	inGo, registered := made(t)
	for name, f := range map[string]*proxy.Filter{"in Go": inGo, "registered": registered} {
		rig := warm.New(t, warm.Browser, &proxy.Listener{}, f)
		if n := testutil.Allocs(100, rig.Exchange); n != 0 {
			t.Errorf("%s: %v allocations for a request", name, n)
		}
	}
}

func BenchmarkType(b *testing.B) {
	inGo, registered := made(b)
	for name, f := range map[string][]*proxy.Filter{"none": nil, "in-go": {inGo}, "registered": {registered}} {
		b.Run(name, func(b *testing.B) {
			rig := warm.New(b, warm.Browser, &proxy.Listener{}, f...)
			b.ReportAllocs()
			for b.Loop() {
				rig.Exchange()
			}
		})
	}
}
