package forwarding

import (
	"strings"
	"testing"

	"github.com/edge-proxy/edge/message"
)

func TestValidID(t *testing.T) {
	for id, want := range map[string]bool{
		"": false, "a": true, "0189f7ea-ae2f-7f2c-9a1b-0123456789ab": true, "1-5759e988-bd862e3fe1be46a994272793": true,
		"a b": false, "a\tb": false, "<script>": false, `a"b`: false, "ä": false, "a,b": false,
		strings.Repeat("x", 128): true, strings.Repeat("x", 129): false,
	} {
		if ValidID([]byte(id)) != want {
			t.Errorf("%q: %v", id, !want)
		}
	}
}

// The examples of W3C Trace Context §3.2, and what breaks its rules.
func TestTraceID(t *testing.T) {
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	for field, want := range map[string]string{
		"00-" + trace + "-" + parent + "-01":                    trace,
		"00-" + trace + "-" + parent + "-00":                    trace,
		"cc-" + trace + "-" + parent + "-01-what-the-future-is": trace,
		"cc-" + trace + "-" + parent + "-01.what":               "",
		"00-" + trace + "-" + parent + "-01-more":               "",
		"ff-" + trace + "-" + parent + "-01":                    "",
		"00-" + trace + "-" + parent + "-1":                     "",
		"00-" + trace + "-" + parent + "-0g":                    "",
		"00-" + strings.ToUpper(trace) + "-" + parent + "-01":   "",
		"00-" + strings.Repeat("0", 32) + "-" + parent + "-01":  "",
		"00-" + trace + "-" + strings.Repeat("0", 16) + "-01":   "",
		"00_" + trace + "-" + parent + "-01":                    "",
		"":                                                      "",
	} {
		if got := traceID([]byte(field)); string(got) != want {
			t.Errorf("%q: %q, want %q", field, got, want)
		}
	}
}

// A backend may take the first of two fields or the last.
func TestTraceOf_severalFields(t *testing.T) {
	const one = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	h := &message.Head{}
	if got := TraceOf(h); got != nil {
		t.Errorf("%q of none", got)
	}
	h.Add("traceparent", one)
	if got := string(TraceOf(h)); got != one[3:35] {
		t.Errorf("%q of one", got)
	}
	h.Add("TraceParent", one)
	if got := TraceOf(h); got != nil {
		t.Errorf("%q of two", got)
	}
}

func TestSetTraceparent_isValid(t *testing.T) {
	h := &message.Head{}
	h.Add("traceparent", "nonsense")
	h.Add("tracestate", "a=b")
	SetTraceparent(h, [16]byte{15: 0xab}, [8]byte{7: 0xcd})
	const want = "00-000000000000000000000000000000ab-00000000000000cd-01"
	if got := h.Get(Traceparent); got != want || h.Get(Tracestate) != "" {
		t.Errorf("%q, %q", got, h.Get(Tracestate))
	}
}
