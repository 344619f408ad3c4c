package config

import (
	"cmp"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
	"github.com/edge-proxy/edge/config/value"
	"github.com/edge-proxy/edge/message"
)

// HealthCheck says how the backends of an upstream are checked.
type HealthCheck struct {
	Type         string // http, tcp, grpc, or agent: nothing but what Agent says
	Interval     time.Duration
	FastInterval time.Duration // from the first contrary result until it is decided
	DownInterval time.Duration // of a backend that is down
	Timeout      time.Duration
	Rise, Fall   int
	Start        string // up, down or checked: before the first check
	Port         int    // 0: that of the backend
	// PassiveCounts has requests that are answered take the place of checks.
	PassiveCounts bool `json:",omitempty"`

	Method, Path   string
	Host           string        // empty: the address of the backend
	Headers        []Header      `json:",omitempty"`
	ExpectedStatus []StatusRange // that pass
	Body           string        `json:",omitempty"` // that the answer has to hold
	Send, Expect   string        `json:",omitempty"` // of a check by TCP; bytes
	Service        string        `json:",omitempty"` // of a check by gRPC

	Agent HealthAgent `json:",omitzero"` // that runs beside each backend
}

// HealthAgent says how the agent of a backend is asked.
type HealthAgent struct {
	Port     int // 0: there is none
	Interval time.Duration
	Send     string `json:",omitempty"` // bytes
}

// StatusRange is a range of statuses, both ends included.
type StatusRange struct{ From, To int }

// healthEntry is [health_check], or that of an upstream.
type healthEntry struct {
	schema.Given
	HealthCheck
	enabled bool
	headers []Header
}

func healthSection() *schema.Section {
	return &schema.Section{
		Path: "health_check", Switch: "enabled", Bare: "path",
		Doc: "Checks of backends. The section turns them on for all upstreams, those that a `dest` spells out among " +
			"them. Its keys are the defaults of `health_check` of an upstream. See [health](health.md).",
		New:  schema.Make[healthEntry],
		Keys: healthKeys(),
	}
}

func upstreamHealthSection() *schema.Section {
	return &schema.Section{
		Path: "upstreams.NAME.health_check", Defaults: "health_check", Switch: "enabled", Bare: "path",
		Doc: "Checks of the backends of this upstream. The table turns them on; `health_check = false` turns off " +
			"those of `[health_check]`.",
		New: func(parent schema.Target, _ *syntax.Node) schema.Target {
			e := &healthEntry{}
			parent.(*upstreamEntry).health = e
			return e
		},
		Keys: healthKeys(),
	}
}

// healthKeys are the keys of a check.
func healthKeys() []*schema.Key {
	return append([]*schema.Key{
		{Path: "enabled", Type: schema.Bool, Default: "true", Example: "false",
			Into: schema.Into(func(e *healthEntry) *bool { return &e.enabled }),
			Doc:  "Whether backends are checked."},
		{Path: "type", Type: schema.Choice, Default: `"http"`, Enum: []string{"http", "tcp", "grpc", "agent"},
			Example: `"grpc"`,
			Into:    schema.Into(func(e *healthEntry) *string { return &e.Type }),
			Doc: "What a check does: `http` a request, in the version of HTTP and with the TLS of the upstream; " +
				"`tcp` a connection, and bytes on it; `grpc` a call of the health service (`grpc.health.v1`); " +
				"`agent` nothing but what `agent` says."},
		{Path: "interval", Type: schema.Duration, Default: `"5s"`, Min: "10ms", Max: "1h", Example: `"10s"`,
			Into: schema.Into(func(e *healthEntry) *time.Duration { return &e.Interval }),
			Doc: "Time from the beginning of a check to that of the next one, while the backend is up. Each is up " +
				"to a tenth shorter, at random."},
		{Path: "fast_interval", Type: schema.Duration, Default: `"1s"`, Min: "10ms", Max: "1h", Example: `"500ms"`,
			Into: schema.Into(func(e *healthEntry) *time.Duration { return &e.FastInterval }),
			Doc: "The same after a result that contradicts the state, until `rise` or `fall` decide; `interval` " +
				"where that is shorter."},
		{Path: "down_interval", Type: schema.Duration, Default: `"0s"`, Min: "0s", Max: "1h", Example: `"10s"`,
			Into: schema.Into(func(e *healthEntry) *time.Duration { return &e.DownInterval }),
			Doc: "The same while the backend is down. After 10 minutes it doubles with each check, up to a minute. " +
				"0: as `interval`."},
		{Path: "timeout", Type: schema.Duration, Default: `"1s"`, Min: "1ms", Max: "1h", Example: `"2s"`,
			Into: schema.Into(func(e *healthEntry) *time.Duration { return &e.Timeout }),
			Doc:  "Time for a check, from connecting to the end of what it reads. At most `interval`."},
		{Path: "rise", Type: schema.Int, Default: "2", Min: "1", Max: "1000", Example: "1",
			Into: schema.Into(func(e *healthEntry) *int { return &e.Rise }),
			Doc:  "Passed checks in a row after which a backend is up again."},
		{Path: "fall", Type: schema.Int, Default: "3", Min: "1", Max: "1000", Example: "2",
			Into: schema.Into(func(e *healthEntry) *int { return &e.Fall }),
			Doc:  "Failed checks in a row after which it is down."},
		{Path: "start", Type: schema.Choice, Default: `"up"`, Enum: []string{"up", "down", "checked"},
			Example: `"checked"`,
			Into:    schema.Into(func(e *healthEntry) *string { return &e.Start }),
			Doc: "What a new backend is before its first check, which decides alone: `up`; `checked`: down, and " +
				"checked within a second; `down`: the same, but `rise` checks have to pass."},
		{Path: "port", Type: schema.Int, Default: "0", Min: "0", Max: "65535", Example: "8081",
			Into: schema.Into(func(e *healthEntry) *int { return &e.Port }),
			Doc:  "The port that checks connect to. 0: that of the backend."},
		{Path: "passive_counts", Type: schema.Bool, Default: "false", Example: "true",
			Into: schema.Into(func(e *healthEntry) *bool { return &e.PassiveCounts }),
			Doc: "Whether requests take the place of checks: a backend that is up, has answered requests within " +
				"`interval` and failed none of them is not checked."},
		{Path: "agent.port", Type: schema.Int, Default: "0", Min: "0", Max: "65535", Example: "9777",
			Into: schema.Into(func(e *healthEntry) *int { return &e.Agent.Port }),
			Doc: "Where an agent beside each backend listens, which says in a line what the backend is to get: " +
				"`75%`, `drain`, `maint`, `down`, `up`, `ready`. 0: there is none. See [agents](health.md#agents)."},
		{Path: "agent.interval", Type: schema.Duration, Default: `"0s"`, Min: "0s", Max: "1h", Example: `"2s"`,
			Into: schema.Into(func(e *healthEntry) *time.Duration { return &e.Agent.Interval }),
			Doc:  "Time from asking an agent to asking it again. It has `timeout` to answer. 0: as `interval`."},
		{Path: "agent.send", Type: typeBytes, Secret: true, Example: `"api\n"`,
			Into: schema.Into(func(e *healthEntry) *string { return &e.Agent.Send }),
			Doc:  "What an agent is sent first, as text, or as `hex:` and hexadecimal digits."},
	}, askedKeys()...)
}

// askedKeys are the keys about what a check asks.
func askedKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "path", Type: typeTarget, Default: `"/"`, Example: `"/healthz"`,
			Into: schema.Into(func(e *healthEntry) *string { return &e.Path }),
			Doc:  "Of `http`: the path, with a query where there is one."},
		{Path: "method", Type: schema.Choice, Default: `"GET"`, Enum: []string{"GET", "HEAD", "OPTIONS", "POST"},
			Example: `"HEAD"`,
			Into:    schema.Into(func(e *healthEntry) *string { return &e.Method }),
			Doc:     "Of `http`: the method. The request has no body."},
		{Path: "host", Type: value.TypeHost, Example: `"api.internal"`,
			Into: schema.Into(func(e *healthEntry) *string { return &e.Host }),
			Doc:  "Of `http` and `grpc`: the Host; else that of the upstream, or the address of the backend."},
		{Path: "headers", Type: value.TypeHeaders, Example: `{ X-Check = "edge" }`,
			Into: schema.Into(func(e *healthEntry) *[]Header { return &e.headers }),
			Doc: "Of `http` and `grpc`: fields of the request. `User-Agent` is `edge-health` unless it is among " +
				"them."},
		{Path: "expected_status", Type: typeStatuses, Default: `"200-299"`, Example: `[200, "300-399"]`,
			Into: schema.Into(func(e *healthEntry) *[]StatusRange { return &e.ExpectedStatus }),
			Doc: "Of `http`: the statuses that pass: a number, a range, or a list of both. Redirects are not " +
				"followed."},
		{Path: "body", Type: schema.String, Example: `"alive"`,
			Into: schema.Into(func(e *healthEntry) *string { return &e.Body }),
			Doc:  "Of `http`: text that has to be in the first 64 KiB of the answer."},
		{Path: "send", Type: typeBytes, Secret: true, Example: `"PING\r\n"`,
			Into: schema.Into(func(e *healthEntry) *string { return &e.Send }),
			Doc:  "Of `tcp`: what is sent first, as text, or as `hex:` and hexadecimal digits."},
		{Path: "expect", Type: typeBytes, Example: `"+PONG"`,
			Into: schema.Into(func(e *healthEntry) *string { return &e.Expect }),
			Doc:  "Of `tcp`: what has to come, anywhere in the first 64 KiB. Without it a connection is enough."},
		{Path: "service", Type: schema.String, Example: `"orders.v1.Orders"`,
			Into: schema.Into(func(e *healthEntry) *string { return &e.Service }),
			Doc:  "Of `grpc`: the service whose status is asked for. Without it, the status of the whole server."},
	}
}

// The types of the keys of checks. The comment after each is the Go type of its values.
var (
	typeStatuses = schema.Type{Name: "status, range or list", Parse: parseStatuses} // []StatusRange
	typeBytes    = schema.Type{Name: "string or hex:…", Parse: parseBytes}          // string
	typeTarget   = schema.Type{Name: "path", Parse: parseTarget}                    // string
)

// parseStatuses reads 200, "200-299", or a list of both.
func parseStatuses(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	var all []StatusRange
	list := []*syntax.Node{n}
	if n.Kind == syntax.KindList {
		list = n.Children
	}
	right := n.Kind != syntax.KindList || d.Filled(n)
	for _, c := range list {
		s, ok := statusRange(c)
		if !ok {
			d.Report.Errorf(c.Value, `write 200, "200-299", or a list of both`, "%s is no status from 100 to 599",
				syntax.Quote(c.Text))
		}
		all, right = append(all, s), right && ok
	}
	return all, right
}

func statusRange(n *syntax.Node) (s StatusRange, ok bool) {
	if n.Kind != syntax.KindInt && n.Kind != syntax.KindString {
		return s, false
	}
	from, to, found := strings.Cut(n.Text, "-")
	if !found {
		to = from
	}
	a, err := strconv.ParseUint(strings.TrimSpace(from), 10, 16)
	b, err2 := strconv.ParseUint(strings.TrimSpace(to), 10, 16)
	return StatusRange{int(a), int(b)}, err == nil && err2 == nil && a >= 100 && b <= 599 && a <= b
}

// parseBytes reads a text, in which escapes stand for control characters, or hexadecimal digits.
func parseBytes(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	if n.Kind != syntax.KindString || n.Text == "" {
		return d.String(n, "a string")
	}
	digits, found := strings.CutPrefix(n.Text, "hex:")
	if !found {
		return n.Text, true
	}
	b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
	if err != nil || len(b) == 0 {
		d.Report.Errorf(n.Value, `write one such as "hex:0d0a"`, "%q has no hexadecimal digits by twos", n.Key)
		return "", false
	}
	return string(b), true
}

// parseTarget reads a path as a request line has it.
func parseTarget(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	s, ok := d.String(n, "a path")
	if ok && (s[0] != '/' || !message.ValidTarget([]byte(s))) {
		hint := "a path begins with a slash, and is percent-encoded"
		if s[0] != '/' && message.ValidTarget([]byte(s)) && !strings.Contains(s, "://") {
			hint = "did you mean " + syntax.Quote("/"+s) + "?"
		}
		d.Report.Errorf(n.Value, hint, "%s is no path", syntax.Quote(s))
		return s, false
	}
	return s, ok
}

// resolveHealth fills in [health_check].
func resolveHealth(r *resolver) {
	r.file.Fill(r.doc.health)
	finishHealth(r, r.doc.health)
}

// resolveChecks gives each upstream its checks, those that a dest spells out too.
func resolveChecks(r *resolver) {
	own := make(map[string]*healthEntry)
	for _, e := range r.doc.upstreams {
		own[e.Name] = e.health
	}
	for i := range r.c.Upstreams {
		u := &r.c.Upstreams[i]
		if u.Template != "" {
			continue // its backends come and go with requests
		}
		u.HealthCheck = healthOf(r, u, own[u.Name])
	}
}

// healthOf returns how the backends of u are checked, nil when they are not. e is what the upstream says itself, nil
// when it says nothing.
func healthOf(r *resolver, u *Upstream, e *healthEntry) *HealthCheck {
	if e != nil {
		r.file.Fill(e)
		e.enabled = e.enabled || !e.Has("enabled") // a table of its own turns checks on
		finishHealth(r, e)
	} else if e = r.doc.health; e.Node() == nil {
		return nil
	}
	if !e.enabled {
		return nil
	}
	check := e.HealthCheck
	if check.Host == "" || check.Host == "keep" {
		check.Host = u.Host
	}
	if check.Host == "keep" || check.Host == "backend" {
		check.Host = ""
	}
	return &check
}

// finishHealth checks e and completes it.
func finishHealth(r *resolver, e *healthEntry) {
	d := r.doc.health
	if e.Timeout > e.Interval {
		switch {
		case e.Has("timeout") && !e.Failed("timeout") && !e.Failed("interval"):
			r.rep.Errorf(e.At("timeout"), "a check ends before the next one begins", "timeout is longer than interval")
		case e != d && d.Has("timeout") && e.Has("interval"):
			r.rep.Errorf(e.At("interval"), "add a timeout", "interval is shorter than the timeout of [health_check]")
		}
		e.Timeout = e.Interval
	}
	finishAgent(r, e)
	e.FastInterval = min(e.FastInterval, e.Interval)
	e.DownInterval = cmp.Or(e.DownInterval, e.Interval)
	for _, h := range e.headers {
		if strings.EqualFold(h.Name, "host") && e.Has("headers") {
			r.rep.Errorf(e.At("headers"), "write host = "+syntax.Quote(h.Value),
				"the Host of a check has a key of its own")
		}
		if h.Value != "" {
			e.Headers = append(e.Headers, h)
		}
	}
	warnIdleHealthKeys(r, e)
}

// finishAgent checks and completes what e says of an agent.
func finishAgent(r *resolver, e *healthEntry) {
	a := &e.Agent
	if a.Interval == 0 && a.Port > 0 {
		a.Interval = e.Interval
	}
	if a.Port > 0 || e == r.doc.health && e.Node() == nil || e.Failed("agent.port") {
		return
	}
	switch {
	case e.Type == "agent" && e.Has("type"):
		r.rep.Errorf(e.At("type"), "write agent = { port = 9777 }", "there is no port of an agent")
	case e.HasAny("agent.") && e.Lacks("agent.port"):
		for _, key := range []string{"agent.interval", "agent.send"} {
			if e.Has(key) {
				r.rep.Warnf(schema.CodeNoEffect, e.Head(key), "write agent = { port = 9777 }",
					"there is no port of an agent")
			}
		}
	}
}

// warnIdleHealthKeys warns of keys that mean nothing for the type of e.
func warnIdleHealthKeys(r *resolver, e *healthEntry) {
	idle := map[string][]string{
		"http": {"send", "expect", "service"},
		"tcp":  {"path", "method", "host", "headers", "expected_status", "body", "service"},
		"grpc": {"path", "method", "expected_status", "body", "send", "expect"},
		"agent": {
			"path", "method", "host", "headers", "expected_status", "body", "send", "expect", "service", "port",
			"fast_interval", "down_interval", "rise", "fall", "start", "passive_counts",
		},
	}
	for _, key := range idle[e.Type] {
		if e.Has(key) && e != r.doc.health {
			r.rep.Warnf(schema.CodeNoEffect, e.Head(key), "", "a check of type %q has no %s", e.Type, key)
		}
	}
}
