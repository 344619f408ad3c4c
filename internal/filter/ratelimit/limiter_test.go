package ratelimit

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/exchange/variables"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/warm"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/limits"
	"github.com/edge-proxy/edge/proxy"
)

// keyOf compiles a key that may name n, a text that the caller sets.
func keyOf(t testing.TB, text string, n *[]byte) *lang.Template {
	t.Helper()
	scope, err := variables.Scope(lang.Names{Variables: []lang.Variable{
		{Name: "n", Kind: lang.Text, Phases: lang.Always, Text: func(*lang.X) []byte { return *n }},
	}})
	if err != nil {
		t.Fatal(err)
	}
	key, err := scope.Template(text, lang.Request)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var address = netip.MustParseAddr("203.0.113.195")

// within runs what a test does with a limiter inside an exchange, on its reactor.
func within(t testing.TB, c *Config, do func(l *limiter, x *proxy.Exchange)) {
	t.Helper()
	l, err := newLimiter(c, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	g := warm.New(t, warm.Browser, &proxy.Listener{}, &proxy.Filter{Request: func(x *proxy.Exchange) proxy.Verdict {
		if do != nil {
			do(l, x)
			do = nil
		}
		return proxy.Next
	}})
	g.Exchange()
}

// A million clients that are made up: nothing is allocated for them, and hardly anybody is refused for another.
func TestLimiter_millionKeysInFixedMemory(t *testing.T) {
	testutil.OnlyPlain(t)
	var n [8]byte
	key := n[:]
	c := &Config{Key: keyOf(t, "{n}", &key), Rate: plugin.Rate{Count: 1, Per: time.Hour}, MaxKeys: 1000}
	within(t, c, func(l *limiter, x *proxy.Exchange) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for i := range uint64(1_000_000) {
			binary.LittleEndian.PutUint64(n[:], i)
			l.request(x, nil, nil)
		}
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
			t.Errorf("%d bytes were allocated", grown)
		}
		if refused := l.limited.Load(); refused > 100 { // fingerprints of 20 bits: 8 in 2^20 meet a wrong one
			t.Errorf("%d keys were refused", refused)
		}
		if n := l.evictions.Load(); n < 990_000 {
			t.Errorf("%d are counted as evicted", n)
		}
	})
}

// A key as long as a text can be is one key, whatever it begins with, and leaves the request as it was.
func TestLimiter_longKeys(t *testing.T) {
	key := make([]byte, lang.ComputedMax)
	c := &Config{Key: keyOf(t, "{n}", &key), Rate: plugin.Rate{Count: 1, Per: time.Hour}}
	within(t, c, func(l *limiter, x *proxy.Exchange) {
		path := string(x.Path())
		size := len(x.Request.Base)
		for i, want := range []uint64{1, 1, 2} {
			if i == 2 {
				key[len(key)-1]++
			}
			if l.request(x, nil, nil); l.allowed.Load() != want {
				t.Errorf("request %d: %d allowed, want %d", i, l.allowed.Load(), want)
			}
		}
		if len(x.Request.Base) != size || string(x.Path()) != path {
			t.Error("the request has changed")
		}
	})
}

func TestFilter_allocatesNothing(t *testing.T) {
	key := []byte("203.0.113.195")
	for name, c := range map[string]*Config{
		"address": {Rate: plugin.Rate{Count: 1e6, Per: time.Second}, Fields: "off"},
		"fields":  {Rate: plugin.Rate{Count: 1e6, Per: time.Second}},
		"x":       {Rate: plugin.Rate{Count: 1e6, Per: time.Second}, Fields: "x"},
		"key":     {Rate: plugin.Rate{Count: 1e6, Per: time.Second}, Key: keyOf(t, "{n}/{header.user-agent}", &key)},
		"delay":   {Rate: plugin.Rate{Count: 1e6, Per: time.Second}, Mode: "delay"},
		"log":     {Rate: plugin.Rate{Count: 1, Per: time.Hour}, Mode: "log"},
		"refused": {Rate: plugin.Rate{Count: 1, Per: time.Hour}},
	} {
		f, err := New(c, nil)
		if err != nil {
			t.Fatal(err)
		}
		g := warm.New(t, warm.Browser, &proxy.Listener{}, f)
		allowed := 0.0
		if name == "refused" {
			allowed = 1 // the number of the request, in the page
		}
		if n := testutil.Allocs(1000, g.Exchange); n > allowed {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// endless is a table that refuses nothing while a benchmark runs: the clock of its exchange stands still.
func endless() *limits.SharedGCRATable {
	return limits.NewSharedGCRATable(limits.Quota{Count: 1e9, Per: time.Second, Burst: 1 << 32}, 1)
}

// bench measures one check of a limiter that lets everything through.
func bench(b *testing.B, key *lang.Template) {
	c := &Config{Rate: plugin.Rate{Count: 1e9, Per: time.Second}, Key: key, Fields: "off"}
	within(b, c, func(l *limiter, x *proxy.Exchange) {
		l.table = endless()
		measure(b, func() { l.request(x, nil, nil) })
	})
}

// measure runs do again and again. Processor time, unlike wall time, is that of this process alone.
func measure(b *testing.B, do func()) {
	b.ReportAllocs()
	began := warm.CPUTime(b)
	for b.Loop() {
		do()
	}
	b.ReportMetric(float64(warm.CPUTime(b)-began)/float64(b.N), "cpu-ns/op")
}

func BenchmarkLimiter_address(b *testing.B) { bench(b, nil) }

func BenchmarkLimiter_addressText(b *testing.B) { bench(b, keyOf(b, "{client.ip}", nil)) }

func BenchmarkLimiter_networkText(b *testing.B) { bench(b, keyOf(b, "{cidr(client.ip, 24, 64)}", nil)) }

func BenchmarkLimiter_header(b *testing.B) { bench(b, keyOf(b, "{header.accept-language}", nil)) }

// The cell alone, with the same hash again and again.
func BenchmarkLimiter_cell(b *testing.B) {
	c := &Config{Rate: plugin.Rate{Count: 1e9, Per: time.Second}}
	within(b, c, func(l *limiter, x *proxy.Exchange) {
		l.table = endless()
		hash := l.hasher.Addr(address)
		measure(b, func() { l.table.Take(hash, x.Reactor().Now(), 1) })
	})
}
