package config

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/internal/base/yield"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/message"
)

// HealthCheck says how the backends of an upstream are checked.
type HealthCheck struct {
	// Kind of check. `http`: a request, in the version of HTTP and with the TLS of the upstream; `tcp`: a connection,
	// and bytes on it; `grpc`: a call of the health service (`grpc.health.v1`); `agent`: nothing but the agent's word.
	Type string `edge:"type" enum:"http tcp grpc agent" default:"http" example:"grpc" show:"always"`
	// Time between the beginnings of two checks while the backend is up, up to a tenth shorter at random.
	Interval time.Duration `edge:"interval" default:"5s" min:"10ms" max:"1h" example:"10s" show:"always"`
	// Time between checks after a result that contradicts the state, until `rise` or `fall` decide; `interval` where
	// that is shorter.
	FastInterval time.Duration `edge:"fast_interval" default:"1s" min:"10ms" max:"1h" example:"500ms"`
	// Time between checks while the backend is down; after 10 minutes it doubles each time, up to 1m. 0: `interval`.
	DownInterval time.Duration `edge:"down_interval" default:"0s" min:"0s" max:"1h" example:"10s"`
	// Time for a check, from connecting to the last byte that it reads. At most `interval`.
	Timeout time.Duration `edge:"timeout" default:"1s" min:"1ms" max:"1h" example:"2s" show:"always"`
	// Passed checks in a row after which a backend is up again.
	Rise int `edge:"rise" default:"2" min:"1" max:"1000" example:"1" show:".type=http .type=tcp .type=grpc"`
	// Failed checks in a row after which a backend is down.
	Fall int `edge:"fall" default:"3" min:"1" max:"1000" example:"2" show:".type=http .type=tcp .type=grpc"`
	// State of a new backend before its first check, which decides alone: `up`; `checked`: down, and checked within a
	// second; `down`: the same, but `rise` checks have to pass.
	Start string `edge:"start" enum:"up down checked" default:"up" example:"checked"`
	// Port that checks connect to. 0: the backend's own port.
	Port int `edge:"port" default:"0" min:"0" max:"65535" example:"8081"`
	// Let requests take the place of checks: a backend that is up, has answered requests within `interval` and failed
	// none of them is not checked.
	PassiveCounts bool        `edge:"passive_counts" example:"true" json:",omitempty"`
	Agent         HealthAgent `edge:"agent" json:",omitzero"` // that runs beside each backend
	// Path that an `http` check asks for, with a query where there is one.
	Path string `edge:"path" kind:"target" default:"/" example:"/healthz" show:".type=http"`
	// Method of an `http` check. The request has no body.
	Method string `edge:"method" enum:"GET HEAD OPTIONS POST" default:"GET" example:"HEAD" show:".type=http"`
	// Host field that `http` and `grpc` checks send; default: as the upstream, or the address of the backend.
	Host string `edge:"host" kind:"host" example:"api.internal"`
	// Statuses that pass an `http` check: a number, a range, or a list of both. Redirects are not followed.
	// Example: [200, "300-399"]
	ExpectedStatus []StatusRange `edge:"expected_status" default:"200-299"`
	// Text that an `http` check has to find in the first 64 KiB of the answer.
	Body string `edge:"body" example:"alive" json:",omitempty"`
	// Bytes that a `tcp` check sends first, as text, or as `hex:` and hexadecimal digits.
	// Example: "PING\r\n"
	Send string `edge:"send" kind:"bytes" secret:"true" json:",omitempty"`
	// Bytes that a `tcp` check has to get, anywhere in the first 64 KiB. Default: a connection is enough.
	// Example: "+PONG"
	Expect string `edge:"expect" kind:"bytes" json:",omitempty"`
	// Service whose status a `grpc` check asks for. Default: the whole server.
	Service string `edge:"service" example:"orders.v1.Orders" json:",omitempty"`

	Headers []Header `json:",omitempty"`
}

// HealthAgent says how the agent of a backend is asked.
type HealthAgent struct {
	// Port of an agent beside each backend, which answers with a line for the state of the backend: `75%`, `drain`,
	// `maint`, `down`, `up`, `ready`. 0: there is none. See [agents](health.md#agents).
	Port int `edge:"port" default:"0" min:"0" max:"65535" example:"9777"`
	// Time from asking an agent to asking it again. The agent has `timeout` to answer. 0: as `interval`.
	Interval time.Duration `edge:"interval" default:"0s" min:"0s" max:"1h" example:"2s" show:".port"`
	// Bytes to send to an agent first, as text, or as `hex:` and hexadecimal digits.
	// Example: "api\n"
	Send string `edge:"send" kind:"bytes" secret:"true" json:",omitempty"`
}

// StatusRange is a range of statuses, both ends included.
type StatusRange struct{ From, To int }

// String returns the range as a file has it.
func (s StatusRange) String() string {
	if s.From == s.To {
		return strconv.Itoa(s.From)
	}
	return fmt.Sprintf("%d-%d", s.From, s.To)
}

// healthEntry is [health_check], or health_check of an upstream.
type healthEntry struct {
	schema.Given
	// Check backends; with `false` none is checked.
	Enabled bool `edge:"enabled" default:"true" example:"false"`
	HealthCheck
	// Fields that `http` and `grpc` checks send. `User-Agent` is `edge-health` unless it is among them.
	// Example: { X-Check = "edge" }
	Fields []Header `edge:"headers" after:"host" kind:"headers"`
}

// The types of the keys of checks. The comment after each is the Go type of its values.
var (
	typeStatuses = schema.Type{Name: "status, range or list", Parse: parseStatuses} // []StatusRange
	typeBytes    = schema.Type{Name: "string or hex:…", Parse: parseBytes}          // string
	typeTarget   = schema.Type{Name: "path", Parse: schema.TextOf("a path", targetOf)}
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

// targetOf reads a path as a request line has it.
func targetOf(s string) (target, wrong, hint string) {
	switch valid := message.ValidTarget([]byte(s)); {
	case valid && s[0] == '/':
		return s, "", ""
	case valid && !strings.Contains(s, "://"):
		hint = "did you mean " + syntax.Quote("/"+s) + "?"
	default:
		hint = "a path begins with a slash, and is percent-encoded"
	}
	return s, syntax.Quote(s) + " is no path", hint
}

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
	http, relays := r.c.usedUpstreams(r.leads)
	for i := range yield.Over(len(r.c.Upstreams)) {
		u := &r.c.Upstreams[i]
		if u.Template != "" {
			continue // its backends come and go with requests
		}
		u.HealthCheck = healthOf(r, u, own[u.Name])
		if u.HealthCheck != nil && relays[u.Name] && !http[u.Name] && !r.doc.health.Has("type") &&
			(own[u.Name] == nil || !own[u.Name].Has("type")) {
			u.HealthCheck.Type = "tcp"
		}
	}
}

// healthOf returns how the backends of u are checked, nil when they are not. e is what the upstream says itself, nil
// when it says nothing.
func healthOf(r *resolver, u *Upstream, e *healthEntry) *HealthCheck {
	if e != nil {
		r.file.Fill(e)
		e.Enabled = e.Enabled || !e.Has("enabled") // a table of its own turns checks on
		finishHealth(r, e)
	} else if e = r.doc.health; e.Node() == nil {
		return nil
	}
	if !e.Enabled {
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
	for _, h := range e.Fields {
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
