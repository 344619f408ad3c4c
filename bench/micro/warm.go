package micro

import (
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/warm"
	"github.com/edge-proxy/edge/proxy"
)

const (
	warmGroup = "a warm exchange through the proxy, without system calls"
	warmWhat  = "request and answer of 128 bytes, both connections warm, on a simulated kernel that costs a few " +
		"nanoseconds a call; cpu-ns/op is the processor time of this process"
	turnsOf = "; two requests of one length in turn, so that no head is the one before it"
)

// The whole exchange has no counterpart elsewhere: it is compared with itself, with a log.
var warmEntries = []Entry{
	{"warm/small/edge+log", warmGroup, warmWhat + ", with an access log: JSON lines to nowhere",
		exchange(warm.Small, true)},
	{"warm/small/edge", warmGroup, warmWhat, exchange(warm.Small, false)},
	{"warm/small/edge-turns", warmGroup, warmWhat + turnsOf, exchange(warm.Small, false, "/small", "/other")},
	{"warm/browser/edge+log", warmGroup, warmWhat + ", with an access log: JSON lines to nowhere",
		exchange(warm.Browser, true)},
	{"warm/browser/edge", warmGroup, warmWhat, exchange(warm.Browser, false)},
	{"warm/browser/edge-turns", warmGroup, warmWhat + turnsOf, exchange(warm.Browser, false, "=feed", "=mail")},
}

// exchange measures a request, in turn with another one where a text in it is replaced.
func exchange(request string, logged bool, replaced ...string) func(b *testing.B) {
	return func(b *testing.B) {
		var log *observe.AccessLog
		on := &proxy.Listener{Name: "web"}
		if logged {
			sink, err := observe.Open(observe.Options{
				Writer: io.Discard, Events: slog.New(slog.DiscardHandler), // dropped results are reported below
			})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = sink.Close() }()
			log = sink.AccessLog(observe.FormatJSON)
			on.Log = []proxy.AccessLog{log}
		}
		g := warm.New(b, request, on)
		if len(replaced) > 0 {
			g.Other = []byte(strings.Replace(request, replaced[0], replaced[1], 1))
		}
		var before int64
		for b.Loop() {
			if before == 0 {
				before = warm.CPUTime(b)
			}
			g.Exchange()
		}
		b.ReportMetric(float64(warm.CPUTime(b)-before)/float64(b.N), "cpu-ns/op")
		if log != nil {
			b.ReportMetric(float64(log.Dropped())/float64(b.N), "dropped/op")
		}
	}
}
