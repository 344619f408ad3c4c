package observe_test

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"github.com/edge-proxy/edge/internal/observe"
)

func Example() {
	sink, err := observe.Open(observe.Options{Writer: os.Stdout})
	if err != nil {
		fmt.Println(err)
		return
	}
	log := sink.AccessLog(observe.FormatCommon) // one per reactor
	log.Append(&observe.Record{
		Time:     1767323045_000000000,
		ClientIP: netip.MustParseAddr("192.0.2.7"),
		Proto:    observe.ProtoHTTP11,
		Method:   []byte("GET"),
		Path:     []byte("/"),
		Status:   200,
		BytesOut: 512,
	})
	if err := sink.Close(); err != nil {
		fmt.Println(err)
	}
	// Output: 192.0.2.7 - - [02/Jan/2026:03:04:05 +0000] "GET / HTTP/1.1" 200 512
}

// A logger for programs with reactors, which never wait for its output: give it to slog.SetDefault.
func ExampleSink_Lines() {
	sink, err := observe.Open(observe.Options{Writer: os.Stdout, Flush: 10 * time.Millisecond})
	if err != nil {
		fmt.Println(err)
		return
	}
	untimed := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	lines := slog.NewJSONHandler(sink.Lines(), &slog.HandlerOptions{ReplaceAttr: untimed})
	events := slog.New(observe.NewLimited(lines, 100)) // of one kind a second
	events.Info("it begins", "answer", 42)
	if err := sink.Close(); err != nil { // writes the last lines
		fmt.Println(err)
	}
	// Output: {"level":"INFO","msg":"it begins","answer":42}
}

func ExampleRegistry() {
	var registry observe.Registry
	for range 2 { // two reactors, each with a cell of its own
		accepted := registry.Counter("edge_connections_total", "Accepted connections.",
			observe.Label{Name: "listener", Value: "web"})
		accepted.Add(21)
	}
	registry.Each(func(s observe.Sample) { fmt.Println(s.Name, s.Labels, s.Value) })
	// Output: edge_connections_total [{listener web}] 42
}
