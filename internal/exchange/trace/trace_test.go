package trace

import (
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
)

const (
	someTrace, someParent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	some                  = "00-" + someTrace + "-" + someParent + "-01"
)

// The examples of W3C Trace Context §3.2, and fields that break its rules.
func TestOf(t *testing.T) {
	for field, want := range map[string]string{
		some:                                    someTrace,
		some[:53] + "00":                        someTrace,
		some[:53] + "03":                        someTrace,
		"cc" + some[2:] + "-what-the-future-is": someTrace,
		"cc" + some[2:] + ".what":               "",
		some + "-more":                          "",
		"ff" + some[2:]:                         "",
		some[:54]:                               "",
		some[:54] + "g":                         "",
		"0A" + some[2:]:                         "",
		"00-" + strings.ToUpper(someTrace) + some[35:]: "",
		"00-" + strings.Repeat("0", 32) + some[35:]:    "",
		some[:36] + strings.Repeat("0", 16) + "-01":    "",
		"00_" + some[3:]: "",
		"":               "",
	} {
		h := &message.Head{}
		h.Add("Traceparent", field)
		c, ok := Of(h)
		if got := hex.EncodeToString(c.Trace[:]); ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q, %v, want %q", field, got, ok, want)
		}
	}
}

// A backend may take the first of two fields or the last, and no tracer writes a state of 5 KiB.
func TestOf_refuses(t *testing.T) {
	h := &message.Head{}
	if _, ok := Of(h); ok {
		t.Error("a head without fields names a trace")
	}
	h.Add("traceparent", some)
	h.Add("tracestate", "a=1")
	if _, ok := Of(h); !ok {
		t.Error("a field is not read")
	}
	h.Add("tracestate", strings.Repeat("b", stateMax))
	if _, ok := Of(h); ok {
		t.Error("a state of any size is read")
	}
	h.DelID(message.TraceState)
	h.Add("TraceParent", some)
	if _, ok := Of(h); ok {
		t.Error("one of two fields is read")
	}
}

// What is set is read back, in place of the fields before, and without a new trace getting the state of another one.
func TestContext_set(t *testing.T) {
	h := &message.Head{}
	h.Add("traceparent", "nonsense")
	h.Add("tracestate", "a=b")
	c, _ := Of(h)
	c.Begin()
	for range 2 {
		span := NewID()
		c.Set(h, span)
		got, ok := Of(h)
		if !ok || got.Trace != c.Trace || got.Parent != span || got.Flags != Random || h.Get("Tracestate") != "" {
			t.Errorf("%s, %q", h.Get("Traceparent"), h.Get("Tracestate"))
		}
	}
	h = &message.Head{}
	h.Add("traceparent", some)
	h.Add("tracestate", "a=b")
	c, _ = Of(h)
	c.Set(h, ID{7: 0xcd})
	if got := h.Get("Traceparent"); got != some[:36]+"00000000000000cd-01" || h.Get("Tracestate") != "a=b" {
		t.Errorf("%q, %q", got, h.Get("Tracestate"))
	}
}

// The decision is TraceIDRatioBased's of OpenTelemetry: traces of Go's SDK at its bound, and shares of many.
func TestSampler_share(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, share := range []float64{0, 0.1, 0.5, 1, 7, -1} {
		s, n := NewSampler(share, 0, 1), 0
		for range 20_000 {
			var id [16]byte
			for i := range id {
				id[i] = byte(r.Uint32())
			}
			if s.Take(0, id, 0) {
				n++
			}
		}
		want := min(max(share, 0), 1)
		if got := float64(n) / 20_000; got < want-0.02 || got > want+0.02 {
			t.Errorf("%v of all, want %v", got, share)
		}
	}
	s := NewSampler(0.5, 0, 1)
	if below := [16]byte{8: 0x7f, 15: 0xff}; !s.Take(0, below, 0) || s.Take(0, [16]byte{8: 0x80}, 0) {
		t.Error("the bound is another one")
	}
}

// So many a second are recorded, by each reactor its part, with a burst of one second.
func TestSampler_most(t *testing.T) {
	s := NewSampler(1, 20, 2)
	count := func(reactor int, from, to int64) (n int) {
		for now := from; now < to; now += 1e6 {
			if s.Take(reactor, [16]byte{15: 1}, now) {
				n++
			}
		}
		return n
	}
	if n := count(0, 0, 1e9); n < 19 || n > 21 { // the burst, and as many
		t.Errorf("%d in the first second", n)
	}
	if n := count(0, 1e9, 6e9); n < 49 || n > 51 {
		t.Errorf("%d in five seconds", n)
	}
	if n := count(1, 100e9, 100e9+5e6); n != 5 {
		t.Errorf("%d of 5 by another reactor", n)
	}
	if allocs := testutil.Allocs(100, func() { s.Take(1, [16]byte{15: 1}, 200e9) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
	if few := NewSampler(1, 1, 8); !few.Take(3, [16]byte{}, 0) || few.Take(3, [16]byte{}, 1e9) {
		t.Error("a part of one trace a second is not eight seconds long")
	}
}
