package report

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/server/admin"
	"github.com/edge-proxy/edge/internal/server/metrics"
)

// A burst is a route with many failures, in number and in share, within the time.
func TestWatch(t *testing.T) {
	settings := &Sentry{Failures: 20, Within: time.Minute, Share: 20}
	type counted = map[string]metrics.Outcomes
	for name, c := range map[string]struct {
		looks []counted
		want  string
	}{
		"none at the first look": {[]counted{{"a": {Requests: 100, Failed: 100}}}, ""},
		"many":                   {[]counted{{}, {"a": {Requests: 30, Failed: 20}}}, "a 20/30"},
		"few":                    {[]counted{{}, {"a": {Requests: 19, Failed: 19}}}, ""},
		"a small share":          {[]counted{{}, {"a": {Requests: 100, Failed: 20}}}, ""},
		"a share that is above":  {[]counted{{}, {"a": {Requests: 99, Failed: 20}}}, "a 20/99"},
		"before":                 {[]counted{{"a": {Requests: 50, Failed: 50}}, {"a": {Requests: 60, Failed: 60}}}, ""},
		"slowly": {[]counted{{}, {"a": {Requests: 5, Failed: 5}}, {"a": {Requests: 10, Failed: 10}},
			{"a": {Requests: 15, Failed: 15}}, {"a": {Requests: 20, Failed: 20}}}, "a 20/20"},
		"too slowly": {[]counted{{}, {"a": {Requests: 3, Failed: 3}}, {"a": {Requests: 6, Failed: 6}},
			{"a": {Requests: 9, Failed: 9}}, {"a": {Requests: 12, Failed: 12}}, {"a": {Requests: 15, Failed: 15}},
			{"a": {Requests: 18, Failed: 18}}, {"a": {Requests: 21, Failed: 21}}}, ""},
		"no route": {[]counted{{}, {"": {Requests: 20, Failed: 20}, "b": {Requests: 900}}}, " 20/20"},
	} {
		w := &watch{settings: settings, requests: func(context.Context) ([]admin.Request, error) { return nil, nil }}
		got := ""
		for _, one := range c.looks {
			w.outcomes = func() map[string]metrics.Outcomes { return one }
			got = ""
			for _, b := range w.look(t.Context(), time.Now()) {
				got += fmt.Sprintf("%s %d/%d", b.route, b.Failed, b.Requests)
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// Nothing is said of a backend that a field of the request names.
func TestContextOf_dynamic(t *testing.T) {
	c := contextOf(&admin.Request{Upstream: "http://{header:x-tenant}.svc", Reason: "backend:connect", Attempts: 1,
		Explained: "The backend refused the connection: hidden.svc:80.",
		Tries:     []admin.Try{{Attempt: 1, Backend: "hidden.svc:80", Outcome: "backend:connect"}}}, false)
	if text := fmt.Sprint(c); strings.Contains(text, "hidden") || c["reason"] != "backend:connect" {
		t.Error(text)
	}
}

// The requests of a burst are those that ended lately, whenever they began, and no connections of TCP services. Answers
// of a backend have no reason, and that may be the most frequent one.
func TestWatch_remember(t *testing.T) {
	now := time.Now()
	failed := func(ended, took time.Duration, change func(r *admin.Request)) admin.Request {
		r := admin.Request{Status: 500, Began: now.Add(-ended - took), Took: admin.Duration(took), Protocol: "HTTP/2"}
		change(&r)
		return r
	}
	reason := func(text string) func(r *admin.Request) { return func(r *admin.Request) { r.Reason = text } }
	for name, c := range map[string]struct {
		list []admin.Request
		want string
	}{
		"long": {[]admin.Request{failed(time.Second, time.Hour, reason("backend:timeout"))}, "backend:timeout 1"},
		"TCP":  {[]admin.Request{failed(1, 1, func(r *admin.Request) { r.Protocol, r.Reason = "TCP", "x" })}, " 0"},
		"none": {[]admin.Request{failed(1, 1, reason("")), failed(2, 1, reason("")), failed(3, 1, reason("x"))}, " 3"},
	} {
		b := &burst{}
		w := &watch{settings: &Sentry{Within: 10 * time.Second},
			requests: func(context.Context) ([]admin.Request, error) { return c.list, nil }}
		w.remember(t.Context(), []*burst{b}, now)
		if got := fmt.Sprint(b.reason, " ", len(b.requests)); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// A burst tells of the last three failures of its route, and of the reason that most have.
func TestBurst_event(t *testing.T) {
	now := time.Now()
	one := func(route, reason string, status int, age time.Duration) admin.Request {
		return admin.Request{ID: fmt.Sprint(age), Route: route, Reason: reason, Status: status, Began: now.Add(-age),
			Client: "192.0.2.7", Explained: "Because of " + reason + ".", Took: admin.Duration(time.Second),
			Phases: []admin.Phase{{Name: "connect", Took: admin.Duration(time.Millisecond)}, {Name: "end", At: 5e6}},
			Tries:  []admin.Try{{Attempt: 1, Backend: "10.0.0.1:80", Outcome: reason}}}
	}
	list := []admin.Request{one("b", "x", 502, 1), one("a", "rare", 503, 2), one("a", "often", 502, 3),
		one("a", "", 499, 4), one("a", "often", 502, 5), one("a", "often", 502, 6),
		one("a", "rare", 502, time.Hour), one("a", "rare", 502, time.Hour), one("a", "rare", 502, time.Hour)}
	counts := []map[string]metrics.Outcomes{{}, {"a": {Requests: 40, Failed: 30}}}
	look := func(err error) *burst {
		i := -1
		w := &watch{settings: &Sentry{Failures: 20, Within: time.Minute, Share: 20},
			outcomes: func() map[string]metrics.Outcomes { i++; return counts[i] },
			requests: func(context.Context) ([]admin.Request, error) { return list, err }}
		w.look(t.Context(), now)
		return w.look(t.Context(), now)[0]
	}
	b := look(nil)
	e := b.event(b.kind(), &Sentry{Within: time.Minute})
	if e.Message != "30 of 40 requests of route a failed within 1m0s" ||
		strings.Join(e.Fingerprint, " ") != "burst a often" || e.Tags["reason"] != "often" || len(e.Contexts) != 4 {
		t.Errorf("%+v", e)
	}
	for n, id := range map[int]string{1: "2ns", 2: "3ns", 3: "5ns"} {
		c := e.Contexts[fmt.Sprint("request ", n)]
		if c["id"] != id || c["phases"] != "connect 1ms, end at 5ms" ||
			c["tries"] != fmt.Sprintf("1: 10.0.0.1:80 %s", c["reason"]) || c["client"] != nil {
			t.Errorf("request %d: %v", n, c)
		}
	}
	if e := b.event(b.kind(), &Sentry{ClientIP: true}); e.Contexts["request 1"]["client"] != "192.0.2.7" {
		t.Errorf("%v", e.Contexts)
	}
	b = look(errors.New("none is remembered"))
	if c := b.event(b.kind(), &Sentry{}).Contexts; c["burst"]["unknown"] != "none is remembered" || len(c) != 1 {
		t.Errorf("%v", c)
	}
}
