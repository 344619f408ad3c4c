package otlp

import (
	"net/netip"
	"net/url"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// browser is a record as a browser's request leaves it: one attempt, on a connection that stood.
func browser() *observe.Record {
	return &observe.Record{
		Time: 1764208800123456789, ID: [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
		TraceID: []byte("0af7651916cd43dd8448eb211c80319c"), Listener: "https",
		ClientIP: netip.MustParseAddr("203.0.113.77"), ClientPort: 51234, Proto: observe.ProtoHTTP2,
		Method: []byte("GET"), Host: []byte("shop.example.com"), Path: []byte("/api/v2/products/4711/reviews"),
		Query: []byte("page=3&sort=newest&token=REDACTED"), Route: "api", Upstream: "catalogue",
		Backend: "10.20.30.40:8080", Status: 200, BytesOut: 8123, Dur: 12_345_678, Attempts: 1, Reused: true,
		T: observe.Timings{FirstByte: 11_000_000, Body: 900_000}, TLSVersion: "TLS 1.3", TLSGroup: "X25519MLKEM768",
		UserAgent: []byte("Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0"),
		Referer:   []byte("https://shop.example.com/products/4711"),
		Span: &observe.Span{
			Trace: [16]byte{0x0a, 0xf7, 0x65, 0x19}, ID: [8]byte{1, 2, 3}, Parent: [8]byte{4, 5, 6}, Flags: 1,
			State: []byte("vendor=00f067aa0ba902b7"), Pattern: "/api/v2/products/*", Secured: true,
			Peer: netip.MustParseAddrPort("203.0.113.77:51234"),
			Attempts: []observe.Attempt{{
				ID: [8]byte{7, 8, 9}, Began: 120_000, Ended: 12_300_000, Number: 1, Backend: "10.20.30.40:8080",
				Proto: observe.ProtoHTTP11, Status: 200, Reused: true,
				T: observe.Timings{FirstByte: 11_000_000, Body: 900_000},
			}},
		},
	}
}

func batchOf(tb testing.TB, o Options, n int) (e *Exporter, frames []byte) {
	tb.Helper()
	o.Endpoint, _ = url.Parse("http://127.0.0.1:4318/v1/traces")
	o.Version, o.Resource = "1.2.3", []observe.Field{{Name: "service.name", Value: "edge"}}
	e = New(o)
	for range n {
		frames = observe.AppendRecord(frames, browser())
	}
	return e, frames
}

// write is what export does, without a request.
func (e *Exporter) write(frames []byte) int {
	for len(frames) > 0 {
		frames, _ = observe.ReadRecord(frames, &e.record)
		if e.signal == Logs {
			e.batch.appendLog(&e.record)
		} else {
			e.batch.appendSpans(&e.record)
		}
	}
	n := len(e.batch.finish())
	e.batch.begin()
	return n
}

func BenchmarkExporter(b *testing.B) {
	for _, c := range []struct {
		name string
		o    Options
	}{
		{"spans", Options{Signal: Traces}},
		{"spans gzip", Options{Signal: Traces, Gzip: true}},
		{"logs", Options{Signal: Logs}},
	} {
		b.Run(c.name, func(b *testing.B) {
			e, frames := batchOf(b, c.o, batchRecords)
			b.ReportAllocs()
			began, size := time.Now(), 0
			for b.Loop() {
				size = e.write(frames)
			}
			b.ReportMetric(float64(time.Since(began).Nanoseconds())/float64(b.N*batchRecords), "ns/record")
			b.ReportMetric(float64(size)/batchRecords, "B/record")
		})
	}
}

func TestExporter_writesWithoutAllocations(t *testing.T) {
	for _, o := range []Options{{Signal: Traces}, {Signal: Logs}, {Signal: Traces, GRPC: true, Gzip: true}} {
		e, frames := batchOf(t, o, 16)
		e.write(frames)
		if n := testutil.Allocs(100, func() { e.write(frames) }); n != 0 {
			t.Errorf("%+v: %v allocations", o, n)
		}
	}
}

// BenchmarkRead is the part of BenchmarkExporter that is not of this package.
func BenchmarkRead(b *testing.B) {
	e, frames := batchOf(b, Options{Signal: Traces}, batchRecords)
	began := time.Now()
	for b.Loop() {
		for p := frames; len(p) > 0; {
			p, _ = observe.ReadRecord(p, &e.record)
		}
	}
	b.ReportMetric(float64(time.Since(began).Nanoseconds())/float64(b.N*batchRecords), "ns/record")
}
