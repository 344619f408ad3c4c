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
	typePercent    = schema.Type{Name: "percentage or \"off\"", Parse: parsePercent} // int; below 0: off
)

// resilienceKeys are the keys of an upstream about failures of its backends, and those of the defaults of all.
func resilienceKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "retry.attempts", Type: schema.Int, Default: "2", Min: "0", Max: "100", Example: "1",
			Into: schema.Into(func(e *upstreamEntry) *int { return &e.Retry.Attempts }),
			Doc:  "Further attempts after the first, for what provably was not processed or may be sent twice."},
		{Path: "retry.on", Type: typeConditions, Example: `["connect", "refused_stream", "reset", "503"]`,
			Into: schema.Into(func(e *upstreamEntry) *[]string { return &e.Retry.On }),
			Doc: "What is tried again: `connect`, `refused_stream`, `reset` (no answer came), `timeout` (none in " +
				"time), statuses such as `503`, `5xx`, and `grpc:unavailable` and the like. What may have been " +
				"processed is repeated only if its method is idempotent; a `grpc:` condition says that calls may " +
				"be. Else `connect`, `refused_stream`, `reset`, and `timeout` where `per_try` is set."},
		{Path: "retry.budget", Type: typePercent, Default: `"20%"`, Example: `"10%"`,
			Into: schema.Into(func(e *upstreamEntry) *int { return &e.Retry.Budget }),
			Doc: "How many retries there are for each good answer of the last second, beside three. Where none is " +
				"left, the failure is the answer. `off`: any number."},
		{Path: "retry.per_try", Type: schema.Duration, Default: `"0s"`, Min: "0s", Max: "24h", Example: `"5s"`,
			Into: schema.Into(func(e *upstreamEntry) *time.Duration { return &e.Retry.PerTry }),
			Doc: "Time of one attempt, from connecting to the head of the answer, where another may follow. 0: " +
				"`timeouts.connect` and `timeouts.first_byte` alone."},
		{Path: "retry.buffer", Type: schema.Size, Default: `"64k"`, Min: "0", Max: "16m", Example: `"1m"`,
			Into: schema.Into(func(e *upstreamEntry) *int64 { return &e.Retry.Buffer }),
			Doc: "Bytes of a request body that are kept until the answer begins, so that it can be sent again. A " +
				"longer one is sent once. 0: none is kept."},
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

// parsePercent reads "20%".
func parsePercent(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	s, ok := d.String(n, `a percentage such as "20%"`)
	if !ok {
		return nil, false
	}
	if s == "off" {
		return -1, true
	}
	digits, percent := strings.CutSuffix(s, "%")
	v, err := strconv.ParseUint(digits, 10, 8)
	if err != nil || !percent || v < 1 || v > 100 {
		d.Report.Errorf(n.Value, `write "20%" or "off"`, "%s is not a percentage from 1%% to 100%%", syntax.Quote(s))
		return nil, false
	}
	return int(v), true
}
