package config

import (
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
	"github.com/edge-proxy/edge/proxy/retry"
)

// Types of the keys below. The comment after each is the Go type of its values.
var (
	typeConditions = schema.Type{Name: "list of conditions", Parse: parseConditions} // []string
	typeBudget     = schema.Type{Name: "percentage or \"off\"", Parse: parseBudget}  // int; below 0: off
	typePercent    = schema.Type{Name: "percentage", Parse: parsePercent}            // int
	typeShare      = schema.Type{Name: "percentage or 0", Parse: parseShare}         // int
	typeHedge      = schema.Type{Name: "time", Parse: parseHedge, Number: schema.Duration.Number}
)

// resilienceKeys are the keys of an upstream about failures of its backends, and those of the defaults of all.
func resilienceKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "retry.attempts", Type: schema.Int, Default: "2", Min: "0", Max: "100", Example: "1",
			Into: schema.Into(func(e *upstreamEntry) *int { return &e.Retry.Attempts }),
			Doc:  "Retries of one request: attempts after the first one. See [resilience](resilience.md)."},
		{Path: "retry.on", Type: typeConditions, Example: `["connect", "refused_stream", "reset", "503"]`,
			Into: schema.Into(func(e *upstreamEntry) *[]string { return &e.Retry.On }),
			Doc: "What is tried again: `connect`, `refused_stream`, `reset` (the connection was lost before an " +
				"answer), `timeout` (no answer in time), statuses such as `503`, `5xx`, and `grpc:unavailable` and " +
				"the like. What may have been processed is repeated only if its method is idempotent; a `grpc:` " +
				"condition says that calls may be repeated. Without the key: `connect`, `refused_stream`, `reset`, " +
				"and `timeout` where `per_try` is set."},
		{Path: "retry.budget", Type: typeBudget, Default: `"20%"`, Example: `"10%"`,
			Into: schema.Into(func(e *upstreamEntry) *int { return &e.Retry.Budget }),
			Doc: "How many retries each good answer adds to the budget, which begins with three. When it is empty, " +
				"the client gets the failure. `off`: no bound."},
		{Path: "retry.per_try", Type: schema.Duration, Default: `"0s"`, Min: "0s", Max: "24h", Example: `"5s"`,
			Into: schema.Into(func(e *upstreamEntry) *time.Duration { return &e.Retry.PerTry }),
			Doc: "Time of one attempt, from connecting to the head of the answer, where a retry may follow. 0: no " +
				"bound but `timeouts.connect` and `timeouts.first_byte`."},
		{Path: "retry.hedge_after", Type: typeHedge, Default: `""`, Min: "0s", Max: "1m",
			Example: `"50ms"`,
			Into:    schema.Into(func(e *upstreamEntry) *time.Duration { return &e.Retry.Hedge }),
			Doc: "A request without an answer after this time, and after the time that 95 of 100 answers take, is " +
				"sent to another backend as well; the first answer is taken. Only requests that may be repeated, " +
				"and at most 5 for each 100 good answers. Over HTTP/1 each costs a connection. Empty or 0: none is."},
		{Path: "retry.buffer", Type: schema.Size, Default: `"64k"`, Min: "0", Max: "16m", Example: `"1m"`,
			Into: schema.Into(func(e *upstreamEntry) *int64 { return &e.Retry.Buffer }),
			Doc: "Bytes of a request body that are kept until the answer begins, so that it can be sent again. A " +
				"longer one is sent once. 0: none is kept."},
		{Path: "breaker.max_requests", Type: schema.Int, Default: "0", Min: "0", Max: "1000000", Example: "2000",
			Into: schema.Into(func(e *upstreamEntry) *int { return &e.Breaker.MaxRequests }),
			Doc: "Requests under way at one backend, for the whole process, those of tunnels aside. One that is full " +
				"is passed over; where all are, further requests wait. 0: no limit. See [overload](overload.md)."},
		{Path: "breaker.max_retries", Type: schema.Int, Default: "0", Min: "0", Max: "1000000", Example: "20",
			Into: schema.Into(func(e *upstreamEntry) *int { return &e.Breaker.MaxRetries }),
			Doc: "Requests that are tried again and under way, at all backends together. Others get the failure. 0: " +
				"no limit but `retry.budget`."},
		{Path: "breaker.adaptive", Type: schema.Bool, Default: "false", Example: "true",
			Into: schema.Into(func(e *upstreamEntry) *bool { return &e.Breaker.Adaptive }),
			Doc: "Find by latency how many requests all backends together take at a time, and let [further ones]" +
				"(overload.md#the-adaptive-limit) wait."},
		{Path: "outlier.errors", Type: schema.Int, Default: "5", Min: "2", Max: "1000", Example: "10",
			Into: schema.Into(func(e *upstreamEntry) *int { return &e.Outlier.Errors }),
			Doc: "The least failures in a row that eject a backend: no answer; or 502, 503 and 504, from two routes " +
				"or over a second. It takes up to 40 where the others had fewer than 250 good requests in " +
				"`window`, or fail too: see [ejection](resilience.md#ejection). Any key of `outlier` turns " +
				"ejection on, also of backends that answer much worse than the others."},
		{Path: "outlier.window", Type: schema.Duration, Default: `"10s"`, Min: "1s", Max: "10m", Example: `"30s"`,
			Into: schema.Into(func(e *upstreamEntry) *time.Duration { return &e.Outlier.Window }),
			Doc:  "The time over which backends are compared."},
		{Path: "outlier.eject", Type: schema.Duration, Default: `"30s"`, Min: "1s", Max: "1h", Example: `"1m"`,
			Into: schema.Into(func(e *upstreamEntry) *time.Duration { return &e.Outlier.Eject }),
			Doc: "How long a backend is ejected, less up to a fifth at random; twice as long each time that it " +
				"fails again, up to ten times as long."},
		{Path: "outlier.max_ejected", Type: typePercent, Default: `"50%"`, Example: `"30%"`,
			Into: schema.Into(func(e *upstreamEntry) *int { return &e.Outlier.MaxEjected }),
			Doc:  "How many of the backends are ejected at a time: at least one, but never the last that is up."},
	}
}

// failoverKey is the key of an upstream that says where its requests go when its backends are gone.
func failoverKey() *schema.Key {
	return &schema.Key{Path: "failover", Type: schema.String, Example: `"10.0.9.1:8080"`,
		Into: schema.Into(func(e *upstreamEntry) *string { return &e.Failover }),
		Doc: "The upstream, or addresses as in `dest`, for requests that no backend of this upstream can take. See " +
			"[resilience](resilience.md#failover)."}
}

// resolveFailovers finds the upstreams that others fail over to. One that comes back to where it began is refused:
// requests would go in circles.
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
			r.rep.Conflictf(at, back, "leave one of them out", "failovers form a circle: %s; that of %q is at %s", path,
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
func parseConditions(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	all := []string{}
	for _, c := range n.Children {
		if c.Kind == syntax.KindInt {
			c.Kind, c.Text = syntax.KindString, strconv.FormatInt(c.Integer, 10)
		}
	}
	right := d.Each(n, "a condition", func(c *syntax.Node, s string) bool {
		if _, err := retry.Parse(s); err != nil {
			hint := syntax.DidYouMean(s, retry.Words())
			if hint == "" {
				hint = "conditions are " + syntax.Alternatives(retry.Words()[:4]) + ", statuses and grpc:STATUS"
			}
			d.Report.Errorf(c.Value, hint, "%s is no condition of a retry", syntax.Quote(s))
			return false
		}
		all = append(all, s)
		return true
	})
	return all, right
}

// parseBudget reads "20%" or "off".
func parseBudget(d *schema.Decoder, k *schema.Key, n *syntax.Node) (any, bool) {
	if n.Kind == syntax.KindString && n.Text == "off" {
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
