package metrics

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/h3"
	"github.com/edge-proxy/edge/internal/forward/admission"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/server/dynamic"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/internal/upstream/health"
	"github.com/edge-proxy/edge/proxy"
)

// haveRows are parts of other structs that have rows of their own.
var haveRows = []reflect.Type{reflect.TypeFor[h2.Stats](), reflect.TypeFor[h3.Stats](), reflect.TypeFor[QUIC]()}

// numbers calls f for every number of a struct, with its path.
func numbers(s reflect.Value, f func(path string, v reflect.Value)) {
	for _, field := range reflect.VisibleFields(s.Type()) {
		switch v := s.FieldByIndex(field.Index); {
		case field.Anonymous: // its fields are visible themselves
		case v.CanUint() || v.CanInt():
			f(field.Name, v)
		case v.Kind() == reflect.Array:
			for i := range v.Len() {
				f(field.Name+"."+strconv.Itoa(i), v.Index(i))
			}
		case v.Kind() == reflect.Struct && !slices.Contains(haveRows, v.Type()):
			numbers(v, func(path string, v reflect.Value) { f(field.Name+"."+path, v) })
		}
	}
}

// showsEach fails unless every counter of an S is shown by one row, every gauge by one or more, and every row shows
// something. elsewhere are the fields that no row shows, each with the reason.
func showsEach[S any](t *testing.T, rows []row, elsewhere map[string]string) {
	t.Helper()
	s := reflect.ValueOf(new(S)).Elem()
	moved, found := make([]bool, len(rows)), make(map[string]bool)
	numbers(s, func(name string, v reflect.Value) {
		n := 0
		if v.CanUint() {
			v.SetUint(1)
		} else {
			v.SetInt(1)
		}
		for i, r := range rows {
			if got := r.reader(s.Type())(s); got != 0 {
				moved[i] = true
				n++
				if v.CanUint() && got != 1 || v.CanUint() != r.counts() {
					t.Errorf("%v: %s %s shows %s as %v", s.Type(), r.name, r.label, name, got)
				}
			}
		}
		v.SetZero()
		found[name] = true
		switch _, other := elsewhere[name]; {
		case other && n > 0:
			t.Errorf("%v: %s is shown by %d rows, and is said to be shown elsewhere", s.Type(), name, n)
		case !other && n == 0:
			t.Errorf("%v: %s is shown by no row: give it one, or a reason here", s.Type(), name)
		case v.CanUint() && n > 1:
			t.Errorf("%v: %s is shown by %d rows, want 1", s.Type(), name, n)
		}
	})
	for i := range rows {
		if !moved[i] {
			t.Errorf("%s %s: nothing moves it", rows[i].name, rows[i].label)
		}
	}
	for name := range elsewhere {
		if !found[name] {
			t.Errorf("%v has no field %s", s.Type(), name)
		}
	}
}

func TestRows_showEveryCounter(t *testing.T) {
	showsEach[engine.Stats](t, engineRows, map[string]string{
		"Dialed": "edge_upstream_dials_total", "DialFailed": "edge_upstream_dials_failed_total",
		"Left": "edge_upstream_given_total", "Adopted": "edge_upstream_given_total",
		"Splices":     "edge_spliced_bytes_total says whether it pays",
		"SlowestTick": "edge_loop_slowest_tick_seconds", "Conns": "edge_connections", "Busy": "edge_loop_busy_ratio",
	})
	showsEach[proxy.Stats](t, proxyRows, map[string]string{
		"Language.Patterns.Visited": "the work for states that are built",
		"Exchanges":                 "edge_listener_requests_total",
		"Answered.0":                "edge_requests_total", "Answered.1": "the same", "Answered.2": "the same",
		"Answered.3": "the same", "Answered.4": "the same", "Answered.5": "the same",
		"Retries": "edge_retries_total",
	})
	showsEach[tlsconn.Stats](t, tlsRows, map[string]string{
		"Started": "what has an end is counted there", "Done": "edge_tls_handshakes_total",
		"Computing": "edge_tls_handshakes_active less edge_tls_handshakes_queued",
	})
	showsEach[Listener](t, listenerRows, nil)
	showsEach[Bare](t, bareRows, nil)
	showsEach[h2.Stats](t, listenerH2Rows, nil)
	showsEach[h3.Stats](t, listenerH3Rows, nil)
	showsEach[QUIC](t, quicRows, map[string]string{
		"Versions":     "such a client comes again with version 1, or was none",
		"Codec.Pages":  "edge_buffer_bytes",
		"Codec.Unread": "acknowledgements are read as far as they are needed",
	})
	showsEach[upstream.Stats](t, upstreamRows, nil)
	showsEach[health.Stats](t, checkRows(), nil)
	const noCheck = "agents decide nothing that checks do"
	showsEach[health.Stats](t, agentRows(), map[string]string{
		"Excused": noCheck, "Doubted": noCheck, "Replaced": noCheck, "Downs": noCheck, "Ups": noCheck, "Down": noCheck,
		"Delayed": "edge_agent_results_total says how many are asked", "Members": "edge_backend_up",
		"Fresh": "each is asked over a connection of its own",
	})
	showsEach[Service](t, ejectionRows(), nil)
	connections := make(map[string]string)
	numbers(reflect.ValueOf(new(upstream.Stats)).Elem(), func(name string, _ reflect.Value) {
		connections["Upstream."+name] = "shown as those of an upstream"
	})
	showsEach[dynamic.Stats](t, dynamicRows, connections)
	showsEach[admission.Stats](t, limitRows, nil)
	showsEach[h2.Stats](t, upstreamH2Rows, map[string]string{"Refused": "backends open no streams"})
}

// Rows of one name have labels of one name, and the first says what they count.
func TestRows_familiesAgree(t *testing.T) {
	help, label := make(map[string]string), make(map[string]string)
	for _, r := range slices.Concat(engineRows, proxyRows, tlsRows, handshakeRows(), certificateRows, listenerRows,
		bareRows, listenerH2Rows, listenerH3Rows, quicRows, upstreamRows, upstreamH2Rows, checkRows(), agentRows(),
		ejectionRows(), dynamicRows, limitRows) {
		name := ""
		for _, l := range r.labels() {
			name += l.Name + " "
		}
		if _, known := help[r.name]; !known {
			help[r.name], label[r.name] = r.help, name
		}
		if help[r.name] == "" || label[r.name] != name {
			t.Errorf("%s: help %q, labels %q and %q", r.name, help[r.name], label[r.name], name)
		}
	}
}

// A counter of what a reload takes away stays and goes on with its successor, a gauge does not.
func TestCounters_retire(t *testing.T) {
	c := New(1)
	c.RegisterListener("web", true)
	c.RegisterUpstream("api", true)
	c.RegisterUpstream("api", true)
	want := func(name string, want float64) {
		t.Helper()
		got := 0.0
		c.Registry.Each(func(s observe.Sample) {
			if s.Name == name {
				got += s.Value
			}
		})
		if got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	fill := func(s *Sample) *Sample {
		s.Listener("web").Requests, s.Listener("web").Conns, s.Listener("web").Codec.Streams = 1, 2, 3
		s.Listener("web").H3Codec.Streams, s.Listener("web").QUIC.Retries = 7, 8
		s.Upstream("api").Taken, s.Upstream("api").Waiting, s.Upstream("api").H2.Streams = 4, 5, 6
		return s
	}
	check := func(requests, conns, streams, h3Streams, retries, taken, waiting, upStreams float64) {
		t.Helper()
		want("edge_listener_requests_total", requests)
		want("edge_connections", conns)
		want("edge_listener_h2_streams_total", streams)
		want("edge_listener_h3_streams_total", h3Streams)
		want("edge_quic_retries_total", retries)
		want("edge_upstream_reuse_total", taken)
		want("edge_upstream_waiting", waiting)
		want("edge_upstream_h2_streams_total", upStreams)
	}
	check(0, 0, 0, 0, 0, 0, 0, 0)
	c.Show(fill(NewSample()))
	check(1, 2, 3, 7, 8, 4, 5, 6)
	c.Retire(fill(NewSample()))
	c.Show(NewSample())
	check(1, 0, 3, 7, 8, 4, 0, 6)
	c.Show(fill(NewSample()))
	check(2, 2, 6, 14, 16, 8, 5, 12)
}

// Each backend has a line while it is there, up to a thousand of an upstream; the rest have one together.
func TestCounters_backends(t *testing.T) {
	c := New(1)
	lines := func() (all map[string]float64) {
		all = make(map[string]float64)
		c.Registry.Each(func(s observe.Sample) {
			if strings.HasPrefix(s.Name, "edge_backend_") {
				all[strings.TrimPrefix(s.Name, "edge_backend_")+" "+s.Labels[1].Value+" "+s.Labels[0].Value] = s.Value
			}
		})
		return all
	}
	s := NewSample()
	s.AddBackend("api", "a:1", true, 2)
	s.AddBackend("api", "b:1", false, 3)
	s.AddBackend("web", "a:1", true, 0.5)
	c.Show(s)
	want := map[string]float64{
		"up api a:1": 1, "up api b:1": 0, "up web a:1": 1,
		"weight api a:1": 2, "weight api b:1": 3, "weight web a:1": 0.5,
	}
	if got := lines(); !maps.Equal(got, want) {
		t.Errorf("%v", got)
	}
	s = NewSample()
	for i := range backendsMax + 20 {
		s.AddBackend("api", strconv.Itoa(i), i%2 == 0, 4)
	}
	c.Show(s)
	got := lines()
	if len(got) != 2*(backendsMax+1) || got["up api other"] != 10 || got["weight api other"] != 80 {
		t.Errorf("%d lines, others: up %v, weight %v", len(got), got["up api other"], got["weight api other"])
	}
	c.Show(NewSample())
	if got := lines(); len(got) != 0 {
		t.Errorf("without backends: %v", got)
	}
}
