package observe

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func listing(r *Registry) string {
	var b strings.Builder
	r.Each(func(s Sample) { fmt.Fprintf(&b, "%s%s %v %d\n", s.Name, key(s.Labels), s.Value, s.Kind) })
	return b.String()
}

func TestRegistry_ordersAndAddsUp(t *testing.T) {
	var r Registry
	requests := func(route, code string) *Counter {
		return r.Counter("edge_requests_total", "Requests.", Label{"route", route}, Label{"code", code})
	}
	first, second := requests("b", "200"), requests("b", "200") // two reactors
	requests("a", "404").Add(1)
	first.Add(3)
	second.Add(4)
	same := r.Counter("edge_requests_total", "Requests.", Label{"code", "200"}, Label{"route", "b"})
	same.Add(5)
	r.Gauge("edge_connections", "Open.", func() float64 { return 1.5 })
	r.Gauge("edge_connections", "Open.", func() float64 { return 2 })
	r.CounterFunc("edge_accepts_total", "Accepted.", func() uint64 { return 9 }, Label{"listener", "a\"b\\c\nd"})
	want := `edge_accepts_total{listener="a\"b\\c\nd"} 9 0
edge_connections 3.5 1
edge_requests_total{code="200",route="b"} 12 0
edge_requests_total{code="404",route="a"} 1 0
`
	if got := listing(&r); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestRegistry_callersLabelsStay(t *testing.T) {
	var r Registry
	labels := []Label{{"z", "1"}, {"a", "2"}}
	r.Counter("edge_x_total", "X.", labels...)
	if labels[0].Name != "z" {
		t.Error("the caller's labels were sorted in place")
	}
}

func TestRegistry_tooManySeriesBecomeOther(t *testing.T) {
	var r Registry
	for i := range seriesMax + 50 {
		r.Counter("edge_hosts_total", "Requests.", Label{"host", fmt.Sprint(i)}).Add(1)
	}
	series, other := 0, 0.0
	r.Each(func(s Sample) {
		series++
		if s.Labels[0].Value == "other" {
			other += s.Value
		}
	})
	if series != seriesMax+1 || other != 50 {
		t.Errorf("%d series, %v in other; want %d and 50", series, other, seriesMax+1)
	}
}

// Gauges of things that come and go are there while the things are; beyond the limit they are added up.
func TestRegistry_gaugesComeAndGo(t *testing.T) {
	var r Registry
	present := []string{"b", "a", "b"}
	r.Gauge("edge_a", "A.", func() float64 { return 7 })
	r.Gauge("edge_c", "C.", func() float64 { return 8 })
	r.Gauges("edge_b", "B.", func(yield func(value float64, labels ...Label)) {
		for i, name := range present {
			yield(float64(i+1), Label{"of", "x"}, Label{"name", name})
		}
	})
	want := "edge_a 7 1\nedge_b{name=\"a\",of=\"x\"} 2 1\nedge_b{name=\"b\",of=\"x\"} 4 1\nedge_c 8 1\n"
	if got := listing(&r); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	present = nil
	if got := listing(&r); got != "edge_a 7 1\nedge_c 8 1\n" {
		t.Errorf("got\n%s", got)
	}
	for i := range seriesMax + 50 {
		present = append(present, fmt.Sprint(i))
	}
	if got := listing(&r); strings.Count(got, "\n") != seriesMax+1+2 ||
		!strings.Contains(got, fmt.Sprintf("\nedge_b{name=\"other\",of=\"other\"} %d 1\n", 50*seriesMax+50*51/2)) {
		t.Errorf("%d lines", strings.Count(got, "\n"))
	}
}

func TestRegistry_refusesBadNames(t *testing.T) {
	for name, register := range map[string]func(r *Registry){
		"empty name":       func(r *Registry) { r.Counter("", "") },
		"digit first":      func(r *Registry) { r.Counter("1a", "") },
		"dash":             func(r *Registry) { r.Counter("a-b", "") },
		"label":            func(r *Registry) { r.Counter("a", "", Label{"b c", ""}) },
		"label twice":      func(r *Registry) { r.Counter("a", "", Label{"b", "1"}, Label{"b", "2"}) },
		"counter & gauges": func(r *Registry) { r.Counter("a", ""); r.Gauges("a", "", nil) },
		"bad label later": func(r *Registry) {
			r.Gauges("a", "", func(yield func(value float64, labels ...Label)) { yield(1, Label{"b c", ""}) })
			listing(r)
		},
		"counter & gauge": func(r *Registry) { r.Counter("a", ""); r.Gauge("a", "", nil) },
	} {
		t.Run(name, func(t *testing.T) { testutil.Panics(t, name, func() { register(new(Registry)) }) })
	}
}

func TestRegistry_anyGoroutine(t *testing.T) {
	var r Registry
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			c := r.Counter("edge_a_total", "A.")
			for range 1000 {
				c.Add(1)
			}
			listing(&r)
		})
	}
	wg.Wait()
	if got, want := listing(&r), "edge_a_total 4000 0\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSink_register(t *testing.T) {
	var out buffer
	s := open(t, Options{Writer: &out})
	var r Registry
	s.Register(&r, Label{"output", "x"})
	s.Ring().Write([]byte("line\n"))
	closeSink(t, s)
	for _, want := range []string{`edge_log_bytes_total{output="x"} 5 0`, `edge_log_dropped_total{output="x"} 0 0`} {
		if got := listing(&r); !strings.Contains(got, want+"\n") {
			t.Errorf("got\n%s\nwant %s in it", got, want)
		}
	}
}

func TestCounter_sizeIsACacheLine(t *testing.T) {
	if n := unsafe.Sizeof(Counter{}); n != 64 {
		t.Errorf("%d bytes, want 64", n)
	}
}

func BenchmarkCounter_add(b *testing.B) {
	c := new(Counter)
	for b.Loop() {
		c.Add(1)
	}
}

func BenchmarkCounter_loadAndStore(b *testing.B) {
	v := new(atomic.Uint64)
	for b.Loop() {
		v.Store(v.Load() + 1)
	}
}

// Two goroutines, each with a counter of its own.
func BenchmarkCounter_neighbours(b *testing.B) {
	both := func(add [2]func(uint64)) func(*testing.B) {
		return func(b *testing.B) {
			var wg sync.WaitGroup
			for _, one := range add {
				wg.Go(func() {
					for range b.N {
						one(1)
					}
				})
			}
			wg.Wait()
		}
	}
	var padded [2]Counter
	b.Run("padded", both([2]func(uint64){padded[0].Add, padded[1].Add}))
	var bare [2]atomic.Uint64
	b.Run("bare", both([2]func(uint64){
		func(n uint64) { bare[0].Add(n) }, func(n uint64) { bare[1].Add(n) },
	}))
}

func TestRegistry_limitAndRemove(t *testing.T) {
	var r Registry
	r.Limit(2)
	for _, host := range []string{"a", "b", "c"} {
		r.Counter("edge_hosts_total", "Requests.", Label{"of", "x"}, Label{"host", host}).Add(1)
	}
	r.Remove("edge_hosts_total", Label{"of", "x"}, Label{"host", "a"})
	r.Remove("edge_hosts_total", Label{"of", "x"}, Label{"host", "a"})
	r.Remove("edge_none_total")
	want := "edge_hosts_total{host=\"b\",of=\"x\"} 1 0\nedge_hosts_total{host=\"other\",of=\"other\"} 1 0\n"
	if got := listing(&r); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var e Exposition
	r.Remove("edge_hosts_total", Label{"of", "x"}, Label{"host", "b"})
	r.Counter("edge_hosts_total", "Requests.", Label{"of", "x"}, Label{"host", "d"})
	r.AppendTo(&e)
	if got := string(e.Bytes()); strings.Contains(got, `"b"`) || !strings.Contains(got, `"d"`) {
		t.Errorf("got\n%s", got)
	}
}
