package observe

import (
	"io"
	"runtime"
	"testing"
	"weak"

	"github.com/edge-proxy/edge/internal/testutil"
)

// The counters of a Sink are read for as long as there are any; its rings and lines go with it.
func TestSink_closedHasCountersAlone(t *testing.T) {
	var registry Registry
	register := func() (gone func() bool) {
		s, err := Open(Options{Writer: io.Discard})
		testutil.Must(t, err)
		s.Register(&registry, Label{Name: "output", Value: "a"})
		r, lines := s.Ring(), s.Lines()
		r.Write([]byte("a line\n"))
		_, _ = lines.Write([]byte("another\n"))
		closeSink(t, s)
		r.Write([]byte("too late\n"))
		waits, taken := weak.Make(&r.buf[0]), cap(lines.waiting)+cap(lines.taken)
		return func() bool { return waits.Value() == nil && taken == 0 }
	}
	gone := register()
	testutil.Eventually(t, testutil.Patience, func() bool {
		runtime.GC()
		return gone()
	}, "a ring is freed")
	want := map[string]float64{"edge_log_bytes_total": 15, "edge_log_dropped_total": 1}
	registry.Each(func(s Sample) {
		if n, known := want[s.Name]; known && n != s.Value {
			t.Errorf("%s %v, want %v", s.Name, s.Value, n)
		}
	})
}
