package metrics

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/observe"
)

// values are the series of the registry whose labels name an upstream.
func values(c *Counters) map[string]float64 {
	all := make(map[string]float64)
	c.Registry.Each(func(s observe.Sample) {
		id, named := s.Name, false
		for _, l := range s.Labels {
			id += " " + l.Name + "=" + l.Value
			named = named || l.Name == "upstream"
		}
		if named {
			all[id] = s.Value
		}
	})
	return all
}

// Where there is no room for all upstreams, some have all their series, and the rest add up to "other", which keeps all
// other labels apart.
func TestCounters_noRoomForAll(t *testing.T) {
	c := New(1)
	c.Begin(2 * ofUpstreams.lines())
	fill := func() *Sample {
		s := NewSample()
		for _, name := range []string{"a", "b", "c", "d"} {
			u := s.Upstream(name)
			u.Taken, u.Idle, u.Shared, u.Connections, u.H2.Streams = 1, 2, 3, 9, 5
		}
		return s
	}
	for range 2 { // as of a reload that changes nothing
		for _, name := range []string{"a", "b", "c", "d"} {
			c.RegisterUpstream(name, true)
		}
		c.Show(fill())
		got := values(c)
		for id, want := range map[string]float64{
			"edge_upstream_reuse_total upstream=a": 1, "edge_upstream_reuse_total upstream=other": 2,
			"edge_upstream_connections state=idle upstream=b":       2,
			"edge_upstream_connections state=idle upstream=other":   4,
			"edge_upstream_h2_streams_total upstream=other":         10,
			"edge_upstream_connections state=shared upstream=other": 6,
			"edge_upstream_connections state=active upstream=other": 8,
		} {
			if got[id] != want {
				t.Errorf("%s: %v, want %v", id, got[id], want)
			}
		}
		if len(got) != 3*ofUpstreams.lines() {
			t.Errorf("%d series, want those of 2 upstreams and of the others", len(got))
		}
		c.Begin(2 * ofUpstreams.lines())
	}
	c.RegisterUpstream("d", true)
	c.Retire(fill())
	c.Show(NewSample())
	if got := values(c); got["edge_upstream_reuse_total upstream=other"] != 2 ||
		got["edge_upstream_connections state=idle upstream=other"] != 0 {
		t.Errorf("of what has ended: %v", got)
	}
}

// By default a thousand upstreams with checks have series of their own.
func TestCounters_roomForAThousand(t *testing.T) {
	n := ofChecks.lines() + ofMembers.lines() + ofUpstreams.lines()
	if 1000*n > config.SeriesMaxDefault {
		t.Errorf("%d series of an upstream with checks", n)
	}
	c := New(1)
	for i := range 300 { // 10 000 series and more
		c.RegisterUpstream("u"+strconv.Itoa(i), true)
	}
	if n := len(values(c)); n != 300*ofUpstreams.lines() {
		t.Errorf("%d series", n)
	}
}

// The series of what reloads have taken away leave after an hour; no sum falls, and none that is shown.
func TestCounters_leaveAfterAnHour(t *testing.T) {
	c := New(1)
	now := time.Unix(1e9, 0)
	c.named.now = func() time.Time { return now }
	sum := func(all map[string]float64) (n float64) {
		for id, v := range all {
			if strings.HasPrefix(id, "edge_upstream_reuse_total") {
				n += v
			}
		}
		return n
	}
	most, before := 0, make(map[string]float64)
	for i := range 50 {
		name := fmt.Sprint("u", i)
		c.Begin(100_000)
		c.RegisterUpstream(name, i%2 == 0)
		s := NewSample()
		s.Upstream(name).Taken = 10
		c.Show(s)
		got := values(c)
		most = max(most, len(got))
		if n := sum(got); n != float64(10*(i+1)) {
			t.Fatalf("%d: %v requests in all", i, n)
		}
		for id, v := range before {
			if now, there := got[id]; there && now < v {
				t.Errorf("%s falls from %v to %v", id, v, now)
			}
		}
		before = got
		s = NewSample()
		s.Upstream(name).Taken = 10
		c.Retire(s)
		now = now.Add(20 * time.Minute)
	}
	if limit := 6 * ofUpstreams.lines(); most > limit {
		t.Errorf("%d series, want at most %d: those of an hour and of others", most, limit)
	}
	c.Begin(100_000)
	c.RegisterUpstream("u0", true)
	now = now.Add(2 * goneFor)
	c.Show(NewSample())
	if got := values(c); got["edge_upstream_reuse_total upstream=other"] != 500 ||
		got["edge_upstream_reuse_total upstream=u0"] != 0 || len(c.named.headings) != 2 || c.Leaving() {
		t.Errorf("at the end: %v, %d names", got, len(c.named.headings))
	}
}

// What is not over yet keeps its series, however long ago a reload took it away.
func TestCounters_stayWhileTheyCount(t *testing.T) {
	c := New(1)
	now := time.Unix(1e9, 0)
	c.named.now = func() time.Time { return now }
	c.RegisterUpstream("a", false)
	c.Begin(100_000)
	for i := range 3 {
		s := NewSample()
		s.Upstream("a").Taken = uint64(i)
		c.Show(s)
		if n := values(c)["edge_upstream_reuse_total upstream=a"]; n != float64(i) {
			t.Errorf("%v, want %d", n, i)
		}
		now = now.Add(2 * goneFor)
	}
}

// Listeners that serve no HTTP/3 have no series of it, until a reload has one serve it.
func TestCounters_quicWhereHTTP3IsServed(t *testing.T) {
	c := New(1)
	names := func() (all []string) {
		c.Registry.Each(func(s observe.Sample) {
			if s.Name == "edge_quic_retries_total" || s.Name == "edge_listener_h3_streams_total" {
				all = append(all, s.Labels[0].Value)
			}
		})
		return all
	}
	for _, servesH3 := range []bool{false, true, false} {
		before := len(names())
		c.Begin(100_000)
		c.RegisterListener("plain", false)
		c.RegisterListener("web", servesH3)
		got := names()
		if want := 2; servesH3 && len(got) != want || !servesH3 && len(got) != before || slices.Contains(got, "plain") {
			t.Errorf("HTTP/3 %v: series of %v", servesH3, got)
		}
	}
}
