package otlp

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/internal/observe"
)

// Signal is what records are sent as.
type Signal string

// The signals of OTLP that an Exporter has.
const (
	Traces Signal = "traces" // spans, of records that have a Span
	Logs   Signal = "logs"   // log records
)

// Options are the choices for an Exporter. Endpoint and Signal are required.
type Options struct {
	Signal   Signal
	Endpoint *url.URL // the whole URL, as in http://127.0.0.1:4318/v1/traces; for gRPC its scheme and host count
	GRPC     bool
	Gzip     bool
	Header   http.Header   // of each request, such as a token
	Timeout  time.Duration // of one request; 0 means 10 s
	TLS      *tls.Config   // nil means the authorities of the system
	Resource []observe.Field
	Version  string // of edge
}

// Exporter sends records to a collector. Safe for any goroutine: WriteRecords and Write take turns and block while they
// send; nothing else waits for them.
type Exporter struct {
	sender
	signal Signal

	*fates

	mu     sync.Mutex // held while records are written and sent
	batch  batch      // guarded by mu
	record observe.Record
}

// fates counts records by what became of them. Where it is registered it outlives the Exporter.
type fates struct{ sent, rejected, failed atomic.Uint64 }

// Counts says what happened to the records since New. A Sink counts those that it dropped.
type Counts struct {
	Sent     uint64 // taken by the collector
	Rejected uint64 // refused in an answer that took the others: spans, but no more than there were records
	Failed   uint64 // lost with their batch
}

// New makes an exporter, which connects when it has something to send. Close ends it.
func New(o Options) *Exporter {
	call := "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
	if o.Signal == Logs {
		call = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
	}
	s := newSender(o.Endpoint.String(), o.Header, o.TLS, cmp.Or(o.Timeout, 10*time.Second), o.GRPC)
	s.header.Set("User-Agent", "edge/"+o.Version)
	encoding := "Content-Encoding"
	if o.GRPC {
		s.url, encoding = o.Endpoint.Scheme+"://"+o.Endpoint.Host+call, "Grpc-Encoding"
	}
	if o.Gzip {
		s.header.Set(encoding, "gzip")
	}
	return &Exporter{fates: new(fates), sender: s, signal: o.Signal,
		batch: newBatch(o.Resource, o.Version, o.GRPC, o.Gzip)}
}

// Register lists what became of the records that s gives to e.
func (e *Exporter) Register(r *observe.Registry, s *observe.Sink) {
	add := func(result string, read func() uint64) {
		r.CounterFunc("edge_export_records_total", "Records for a collector: those that it has taken or "+
			"rejected, that it did not take in time, or that found no room.", read,
			observe.Label{Name: "signal", Value: string(e.signal)}, observe.Label{Name: "result", Value: result})
	}
	n := e.fates
	add("sent", n.sent.Load)
	add("rejected", n.rejected.Load)
	add("failed", func() uint64 { return n.failed.Load() + s.Stats().Lost })
	add("dropped", func() uint64 { return s.Stats().Dropped })
}

// WriteRecords sends the records of frames. It returns when the collector has taken them, or when they are lost: by an
// answer after which a batch is not sent again, by Close, or a minute after the call. While it sends a batch again, the
// rings of its Sink fill and drop what comes. To give the batch up for the next one would lose as many records of the
// same outage, and need a way to ask the Sink what it holds. Counts has all records that were read, so they are no
// losses of the Sink.
func (e *Exporter) WriteRecords(p []byte) (n int, err error) {
	return e.export(p, func(p []byte, m *message) (rest []byte, written bool, err error) {
		r := &e.record
		if rest, err = observe.ReadRecord(p, r); err != nil {
			return p, false, err
		}
		switch {
		case e.signal == Logs:
			m.appendLog(r)
		case r.Span != nil:
			m.appendSpans(r)
		default:
			return rest, false, nil
		}
		return rest, true, nil
	})
}

// Write sends lines of an error log as slog.JSONHandler makes them, each as a log record. It blocks, and loses lines,
// as WriteRecords does. The signal is Logs.
func (e *Exporter) Write(p []byte) (n int, err error) {
	return e.export(p, func(p []byte, m *message) (rest []byte, written bool, err error) {
		line, rest, _ := bytes.Cut(p, []byte{'\n'})
		if len(line) == 0 {
			return rest, false, nil
		}
		m.appendEvent(line)
		return rest, true, nil
	})
}

// export sends what next makes of p, batch by batch, until nothing is left of p. The error is the first one.
func (e *Exporter) export(p []byte, next func(p []byte, m *message) ([]byte, bool, error)) (n int, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	ctx, cancel := context.WithTimeout(e.ctx, giveUpAfter)
	defer cancel()
	var malformed error
	rest := p
	for len(rest) > 0 && malformed == nil {
		var written bool
		if rest, written, malformed = next(rest, &e.batch.message); written {
			e.batch.records++
		}
		if e.batch.full() || e.batch.records > 0 && (len(rest) == 0 || malformed != nil) {
			if failed := e.flush(ctx); err == nil {
				err = failed
			}
		}
	}
	return len(p) - len(rest), cmp.Or(err, malformed)
}

// flush sends the batch, and counts its records.
func (e *Exporter) flush(ctx context.Context) error {
	records := uint64(e.batch.records)
	a, err := e.deliver(ctx, e.batch.finish())
	e.batch.begin()
	if err != nil {
		e.failed.Add(records)
		return err
	}
	rejected := min(a.rejected, records)
	e.rejected.Add(rejected)
	e.sent.Add(records - rejected)
	if rejected > 0 {
		return fmt.Errorf("otlp: %s rejected %d of %d records: %s", e.url, rejected, records, a.message)
	}
	return nil
}

// Close ends waiting and sending: batches that are under way, and all later ones, are lost. To send what a Sink still
// has, close that before. The error is nil.
func (e *Exporter) Close() error {
	e.cancel()
	e.client.CloseIdleConnections()
	return nil
}

// Ping sends an empty batch once, to see whether the collector takes it. It waits for no other batch.
func (e *Exporter) Ping(ctx context.Context) error {
	header := e.header.Clone()
	header.Del("Content-Encoding")
	var body []byte
	if e.grpc {
		body = make([]byte, frameHead)
	}
	_, err := e.post(ctx, header, body)
	return err
}

// Counts reads the counters.
func (e *Exporter) Counts() Counts {
	return Counts{Sent: e.sent.Load(), Rejected: e.rejected.Load(), Failed: e.failed.Load()}
}
