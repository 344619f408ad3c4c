package config

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/forward/retry"
)

// Types of the keys below. The comment after each is the Go type of its values.
var (
	typeConditions = schema.Type{Name: "list of conditions", Parse: parseConditions}    // []string
	typeBudget     = schema.Type{Name: "percentage", Parse: parseBudget, Unit: "%"}     // int; below 0: off
	Percent        = schema.Type{Name: "percentage", Parse: parsePercent, Unit: "%"}    // int
	typeShare      = schema.Type{Name: "percentage or 0", Parse: parseShare, Unit: "%"} // int
	typeHedge      = schema.Type{Name: "time", Parse: parseHedge, Number: schema.Duration.Number}
)

// Conditions returns what is tried again, as On says it.
func (r *Retry) Conditions() []string {
	switch {
	case r.On != nil:
		return r.On
	case r.PerTry > 0:
		return []string{"connect", "refused_stream", "reset", "timeout"}
	}
	return []string{"connect", "refused_stream", "reset"}
}

// resolveFailovers finds the upstreams that others fail over to. A failover that comes back to where it began is
// refused: requests would go in circles.
func resolveFailovers(r *resolver) {
	next := make(map[string]*upstreamEntry) // by the name of the upstream: the entry that it fails over to
	for _, e := range r.doc.upstreams {
		if e.Failover == "" || e.Failed("failover") {
			continue
		}
		at, to := e.At("failover"), r.parseDest(e.Failover, e.At("failover"))
		if to.Kind != DestUpstream {
			r.rep.Errorf(at, "write the name of an upstream, or addresses",
				"failover leads to an upstream alone, not to %s", syntax.Quote(e.Failover))
			continue
		}
		if !r.rep.OK() {
			continue // it may be none
		}
		name := r.c.Upstreams[to.Upstream].Name
		r.c.Upstreams[r.names[e.Name]].Failover = name
		for _, other := range r.doc.upstreams {
			if other.Name == name {
				next[e.Name] = other
			}
		}
	}
	reportCircle(r, next)
}

// reportCircle reports the first circle of failovers, at its last entry in the file.
func reportCircle(r *resolver, next map[string]*upstreamEntry) {
	for i := len(r.doc.upstreams) - 1; i >= 0; i-- {
		first := r.doc.upstreams[i]
		path, seen := first.Name, map[string]bool{}
		for e := next[first.Name]; e != nil && !seen[e.Name]; e = next[e.Name] {
			path += " -> " + e.Name
			if e != first {
				seen[e.Name] = true
				continue
			}
			if next[first.Name] == first {
				r.rep.Errorf(first.At("failover"), "name another one", "upstream %q fails over to itself", first.Name)
				return
			}
			at, back := first.At("failover"), next[first.Name].At("failover")
			r.rep.Conflictf(at, back, "leave one of them out",
				"failovers form a circle: %s; the failover of %q is at %s", path,
				next[first.Name].Name, back.RelativeTo(at))
			return
		}
	}
}

// checkHedge reports hedging that begins when per_try has ended the first attempt.
func checkHedge(r *resolver, e *upstreamEntry) {
	if e.Retry.PerTry == 0 || e.Retry.Hedge < e.Retry.PerTry || e.Failed("retry.per_try") {
		return
	}
	for _, path := range []string{"retry.hedge_after", "retry.per_try"} {
		if e.Has(path) { // else both are in [upstream_defaults], which is checked like an upstream
			r.rep.Warnf(schema.CodeNoEffect, e.At(path), "make hedge_after shorter than per_try",
				"no request is hedged after %v: per_try ends its first attempt after %v", e.Retry.Hedge, e.Retry.PerTry)
			return
		}
	}
}

// parseConditions reads a list of conditions of retries. A status may be a number.
func parseConditions(d *schema.Decoder, k *schema.Key, n *syntax.Node) (any, bool) {
	numbersAsTexts(n.Children)
	return readConditions(d, k, n)
}

var readConditions = schema.ListOf("a condition", func(_ []string, s string) (condition, wrong, hint string) {
	if _, err := retry.Parse(s); err != nil {
		return s, syntax.Quote(s) + " is no condition of a retry", cmp.Or(syntax.DidYouMean(s, retry.Words()),
			"conditions are "+syntax.Alternatives(retry.Words()[:4])+", statuses and grpc:STATUS")
	}
	return s, "", ""
})

func numbersAsTexts(list []*syntax.Node) {
	for _, n := range list {
		if n.Kind == syntax.KindInt {
			n.Kind, n.Text = syntax.KindString, strconv.FormatInt(n.Integer, 10)
		}
	}
}

// parseBudget reads "20%" or a word.
func parseBudget(d *schema.Decoder, k *schema.Key, n *syntax.Node) (any, bool) {
	if slices.Contains(k.Words, n.Text) {
		return -1, true
	}
	return parsePercent(d, k, n)
}

// parseShare reads a percentage, or a 0.
func parseShare(d *schema.Decoder, k *schema.Key, n *syntax.Node) (any, bool) {
	if n.Text == "0" || n.Text == "0%" {
		return 0, true
	}
	if n.Kind != syntax.KindString && n.Kind != syntax.KindInt {
		d.Report.Errorf(n.Value, "write "+k.Example, "%q must be a percentage, or 0", n.Key)
		return nil, false
	}
	return parsePercent(d, k, n)
}

// parseHedge reads a time, or "" for none.
func parseHedge(d *schema.Decoder, k *schema.Key, n *syntax.Node) (any, bool) {
	if n.Kind == syntax.KindString && n.Text == "" {
		return time.Duration(0), true
	}
	return schema.Duration.Parse(d, k, n)
}

// parsePercent reads "20%".
func parsePercent(d *schema.Decoder, k *schema.Key, n *syntax.Node) (any, bool) {
	if n.Kind == syntax.KindInt {
		d.Report.Errorf(n.Value, "write "+syntax.Quote(n.Text+"%"), "%q is a percentage, which ends with %%", n.Key)
		return nil, false
	}
	sample := k.Default
	if !strings.HasSuffix(sample, `%"`) {
		sample = k.Example
	}
	s, ok := d.String(n, "a percentage such as "+sample)
	if !ok {
		return nil, false
	}
	digits, percent := strings.CutSuffix(s, "%")
	v, err := strconv.ParseUint(digits, 10, 8)
	if err != nil || !percent || v < 1 || v > 100 {
		d.Report.Errorf(n.Value, "write "+sample, "%s is not a percentage from 1%% to 100%%", syntax.Quote(s))
		return nil, false
	}
	return int(v), true
}
