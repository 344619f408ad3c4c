package rules_test

import (
	"slices"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/filter/ratelimit"
	"github.com/edge-proxy/edge/internal/filter/rules"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/warm"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/cache"
)

// looking are rules that look and do nothing: two of them by regular expressions, one of these on User-Agent.
var looking = []rules.Rule{
	{When: when(`header.user-agent ~ "(?i)(bot|crawl|spider)[/ ]v?\d+"`), Deny: 403},
	{When: when(`path ~ "^/admin/v[0-9]+/"`), Deny: 403},
	{When: when(`method == "POST" and path starts_with "/login"`), Tag: "login"},
	{When: when(`client.ip in {10.9.0.0/16 10.10.0.0/16}`), Drop: true},
	{When: when(`cookie.beta == "1"`), RequestFields: one("X-Beta", "1")},
}

// rewriting are rules that change what is sent on.
var rewriting = []rules.Rule{
	{Rewrite: text("{path}")},
	{Query: &rules.Query{Set: one("from", "{client.ip}")}},
	{RequestFields: one("X-Path", "{path}"), AnswerFields: oneLate("X-Status", "{status}")},
}

func warmRig(t testing.TB, list []rules.Rule) *warm.Rig {
	var filters []*proxy.Filter
	if list != nil {
		none := func(*proxy.Exchange) proxy.Verdict { return proxy.Next }
		filters = append(filters, filterOf(t, list, proxy.PhaseRequest))
		if list[0].On != 0 {
			filters = append(filters, rules.Switches(1).Gate(&proxy.Filter{Request: none, Response: none}, false))
		}
	}
	return warm.New(t, warm.Browser, &proxy.Listener{}, filters...)
}

// switching are rules that turn the switch of a filter on and off.
var switching = []rules.Rule{{On: 1}, {When: when(`has(query.off)`), Off: 1}, {On: 2}}

// limiting are rules with a limit that all requests stay within, by address and by a group.
var limiting = []rules.Rule{
	{Limit: &ratelimit.Config{Rate: plugin.Rate{Count: 1_000_000, Per: time.Second}}},
	{When: when(`path ~ "^/(.)"`), Limit: &ratelimit.Config{Key: text("{match.1}"),
		Rate: plugin.Rate{Count: 1_000_000, Per: time.Second}}},
}

func TestRules_allocateNothing(t *testing.T) {
	for name, list := range map[string][]rules.Rule{
		"look": looking, "rewrite": rewriting, "switch": switching, "limit": limiting,
		"choose": {{Cache: new(cache.Choice)}},
	} {
		r := warmRig(t, list)
		for range 20 {
			r.Exchange()
		}
		if n := testutil.Allocs(50, r.Exchange); n != 0 {
			t.Errorf("rules that %s allocate %.0f times a request", name, n)
		}
	}
}

func BenchmarkRules(b *testing.B) {
	for _, c := range []struct {
		name string
		list []rules.Rule
	}{
		{"none", nil}, {"3 switch", switching}, {"5 look", looking}, {"3 rewrite", rewriting}, {"2 limit", limiting},
		{"5 look and 3 rewrite", slices.Concat(looking, rewriting)},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := warmRig(b, c.list)
			for range 20 {
				r.Exchange()
			}
			b.ReportAllocs()
			for b.Loop() {
				r.Exchange()
			}
		})
	}
}
