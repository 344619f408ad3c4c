package metrics

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// hosted is Traffic that counts hosts, on a clock.
type hosted struct {
	*Traffic
	t      *testing.T
	now    time.Time
	counts map[string]float64 // by line, of the last page
	asked  float64
}

func countHosts(t *testing.T, most int) *hosted {
	h := &hosted{t: t, now: time.Unix(1, 0), counts: make(map[string]float64)}
	h.Traffic = clocked(&h.now, config.Metrics{SeriesMax: 1000, Codes: "class", Hosts: most})
	return h
}

func (h *hosted) ask(host string, status int) {
	h.Listener("web").CountHost(rand.IntN(2), []byte(host), status)
	h.asked++
}

// round gathers and returns the hosts with series. The sum of all is what was asked, and no series falls that stays.
func (h *hosted) round() map[string]bool {
	h.t.Helper()
	gathered(h.Traffic)
	sum, names, counts := 0.0, make(map[string]bool), make(map[string]float64)
	for _, line := range lines(h.Traffic, "edge_host_requests_total{") {
		series, n, _ := strings.Cut(line, "} ")
		v, _ := strconv.ParseFloat(n, 64)
		if v < h.counts[series] {
			h.t.Fatalf("%s fell from %v to %v", series, h.counts[series], v)
		}
		counts[series] = v
		sum += v
		names[strings.Split(series, `"`)[1]] = true
	}
	if sum != h.asked {
		h.t.Fatalf("%v requests, %v asked", sum, h.asked)
	}
	h.counts = counts
	return names
}

// What is asked for most has series of its own soon, however many made-up hosts come with it: two rounds find it, the
// reactors hear of it in the third one, and the next one has what they counted.
func TestHosts_flood(t *testing.T) {
	const most = 10
	h := countHosts(t, most)
	for round := range 6 {
		for i := range 30_000 {
			h.ask(fmt.Sprintf("h%d.test:8443", round*30_000+i), 404)
			if i%10 == 0 {
				h.ask(fmt.Sprintf("Real%d.test.", i/10%5), 200)
			}
		}
		h.ask("no host", 400)
		h.ask("other", 200)
		names := h.round()
		if round < 2 && len(names) != 1 {
			t.Errorf("round %d: there are %v", round, names)
		}
		for i := range 5 {
			if real := fmt.Sprintf("real%d.test", i); round > 2 && !names[real] {
				t.Errorf("round %d: no %s among %v", round, real, names)
			}
		}
		if len(names) > 6 {
			t.Errorf("round %d: made-up hosts are among %v", round, names)
		}
	}
}

// At most as many hosts are admitted as there is room for, and in an hour; one that nobody asks for leaves.
func TestHosts_comeAndGo(t *testing.T) {
	const most = 10
	h := countHosts(t, most)
	wave := func(name string) map[string]bool {
		var names map[string]bool
		for range 6 {
			for i := range 2 * most {
				for range admitLeast {
					h.ask(fmt.Sprintf("%s%d.test", name, i), 200)
				}
			}
			names = h.round()
		}
		return names
	}
	first := wave("a")
	if len(first) != most+1 {
		t.Errorf("%d hosts have series: %v", len(first), first)
	}
	h.now = h.now.Add(goneFor / 2)
	if names := wave("b"); !maps.Equal(names, first) {
		t.Errorf("half an hour later: %v", names)
	}
	h.now = h.now.Add(goneFor/2 + 1)
	before := h.counts[`edge_host_requests_total{host="other",code="2xx"`]
	h.counts = map[string]float64{`edge_host_requests_total{host="other",code="2xx"`: before}
	if names := h.round(); len(names) != 1 {
		t.Errorf("an hour later: %v", names)
	}
	if names := wave("b"); len(names) != most+1 || names["a0.test"] {
		t.Errorf("those that come then: %v", names)
	}
}

// Hosts of routes have series from their first request on, and for as long as a route names them.
func TestHosts_ofRoutes(t *testing.T) {
	h := countHosts(t, 1)
	section := config.Metrics{SeriesMax: 1000, Codes: "class", Hosts: 1}
	c := with(section, "a", "b")
	c.Routes[0].Host, c.Routes[1].Host = "Named.test", "*.wild.test"
	h.Use(c)
	h.round()
	for range 3 {
		h.ask("named.TEST", 200)
		h.ask("a.wild.test", 200)
	}
	if names := h.round(); len(names) != 2 || !names["named.test"] {
		t.Errorf("%v", names)
	}
	h.Use(with(section))
	h.now = h.now.Add(goneFor + 1)
	delete(h.counts, `edge_host_requests_total{host="named.test",code="2xx"`)
	if names := h.round(); len(names) != 1 {
		t.Errorf("without the route: %v", names)
	}
}

func TestHosts_countingAllocatesNothing(t *testing.T) {
	h := countHosts(t, 10)
	web := h.Listener("web")
	known := []byte("known.test:80")
	if n := testutil.Allocs(1000, func() { web.CountHost(0, known, 200) }); n != 0 {
		t.Errorf("%v allocations for a host that is ranked", n)
	}
	madeUp, i := []byte("h000000.test"), 0
	if n := testutil.Allocs(100_000, func() {
		i++
		for at, rest := 6, i; at > 0; at, rest = at-1, rest/10 {
			madeUp[at] = '0' + byte(rest%10)
		}
		web.CountHost(0, madeUp, 200)
	}); n != 0 {
		t.Errorf("%v allocations for a host that is asked for once", n)
	}
}
