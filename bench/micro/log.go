package micro

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/edge-proxy/edge/observe"
)

var logEntries = []Entry{
	{"access-log/json/edge", "a record of the access log", "Encoder.AppendJSON into memory, 22 names, 4 more in a " +
		"group", logJSON},
	{"access-log/json/slog", "a record of the access log", "slog.Logger.LogAttrs with a JSONHandler that discards: " +
		"the same names, a level and a message", logSlog},
	{"access-log/json/encoding-json", "a record of the access log", "json.Encoder with a struct of the same names, " +
		"discarded", logEncodingJSON},
}

func record() *observe.Record {
	return &observe.Record{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC).UnixNano(), ID: [16]byte{1, 2, 3, 14: 9, 15: 10},
		Listener: "web", ClientIP: netip.MustParseAddr("203.0.113.77"), ClientPort: 51234,
		Proto: observe.ProtoHTTP11, Method: []byte("GET"), Host: []byte("www.example.org"),
		Path: []byte("/assets/app/main.css"), Query: []byte("v=20260102&theme=dark"),
		Route: "assets", Upstream: "api", Backend: "10.0.0.11:8080",
		Status: 200, BytesIn: 652, BytesOut: 16384, Dur: 1_235_000,
		T: observe.Timings{FirstByte: 1_100_000, Body: 98_000}, Attempts: 1, Reused: true,
		UserAgent: []byte("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) " +
			"Chrome/126.0.0.0 Safari/537.36"),
		Referer: []byte("https://www.example.org/"),
	}
}

func logJSON(b *testing.B) {
	var e observe.Encoder
	r, dst := record(), make([]byte, 0, observe.RecordMax)
	b.SetBytes(int64(len(e.AppendJSON(dst, r))))
	for b.Loop() {
		r.Time += 1000
		dst = e.AppendJSON(dst[:0], r)
	}
}

func milliseconds(ns int64) float64 { return float64(ns) / 1e6 }

func logSlog(b *testing.B) {
	l, r := slog.New(slog.NewJSONHandler(io.Discard, nil)), record()
	for b.Loop() {
		logRecord(l, r)
	}
}

// logRecord leaves the time to slog.
func logRecord(l *slog.Logger, r *observe.Record) {
	l.LogAttrs(context.Background(), slog.LevelInfo, "access",
		slog.String("id", hex.EncodeToString(r.ID[:])), slog.String("listener", r.Listener),
		slog.String("client_ip", r.ClientIP.String()), slog.Int("client_port", int(r.ClientPort)),
		slog.String("proto", "HTTP/1.1"), slog.String("method", string(r.Method)),
		slog.String("host", string(r.Host)), slog.String("path", string(r.Path)),
		slog.String("query", string(r.Query)), slog.String("route", r.Route), slog.Int("status", r.Status),
		slog.Int64("bytes_in", r.BytesIn), slog.Int64("bytes_out", r.BytesOut),
		slog.Float64("dur_ms", milliseconds(r.Dur)),
		slog.GroupAttrs("t",
			slog.Float64("queue", milliseconds(r.T.Queue)), slog.Float64("connect", milliseconds(r.T.Connect)),
			slog.Float64("first_byte", milliseconds(r.T.FirstByte)), slog.Float64("body", milliseconds(r.T.Body))),
		slog.Int("attempts", r.Attempts), slog.Bool("reused", r.Reused),
		slog.String("upstream", r.Upstream), slog.String("backend", r.Backend),
		slog.String("user_agent", string(r.UserAgent)), slog.String("referer", string(r.Referer)))
}

// line is a record as encoding/json takes it.
type line struct {
	Time       time.Time  `json:"time"`
	ID         string     `json:"id"`
	Listener   string     `json:"listener"`
	ClientIP   netip.Addr `json:"client_ip"`
	ClientPort uint16     `json:"client_port"`
	Proto      string     `json:"proto"`
	Method     string     `json:"method"`
	Host       string     `json:"host"`
	Path       string     `json:"path"`
	Query      string     `json:"query,omitempty"`
	Route      string     `json:"route,omitempty"`
	Status     int        `json:"status"`
	BytesIn    int64      `json:"bytes_in"`
	BytesOut   int64      `json:"bytes_out"`
	Dur        float64    `json:"dur_ms"`
	T          timings    `json:"t"`
	Attempts   int        `json:"attempts"`
	Reused     bool       `json:"reused"`
	Upstream   string     `json:"upstream,omitempty"`
	Backend    string     `json:"backend,omitempty"`
	UserAgent  string     `json:"user_agent,omitempty"`
	Referer    string     `json:"referer,omitempty"`
}

type timings struct {
	Queue     float64 `json:"queue"`
	Connect   float64 `json:"connect"`
	FirstByte float64 `json:"first_byte"`
	Body      float64 `json:"body"`
}

func lineOf(r *observe.Record) line {
	return line{
		Time: time.Unix(0, r.Time).UTC(), ID: hex.EncodeToString(r.ID[:]), Listener: r.Listener,
		ClientIP: r.ClientIP, ClientPort: r.ClientPort, Proto: "HTTP/1.1", Method: string(r.Method),
		Host: string(r.Host), Path: string(r.Path), Query: string(r.Query), Route: r.Route, Status: r.Status,
		BytesIn: r.BytesIn, BytesOut: r.BytesOut, Dur: milliseconds(r.Dur),
		T: timings{
			Queue: milliseconds(r.T.Queue), Connect: milliseconds(r.T.Connect),
			FirstByte: milliseconds(r.T.FirstByte), Body: milliseconds(r.T.Body),
		},
		Attempts: r.Attempts, Reused: r.Reused, Upstream: r.Upstream, Backend: r.Backend,
		UserAgent: string(r.UserAgent), Referer: string(r.Referer),
	}
}

func logEncodingJSON(b *testing.B) {
	r, e := record(), json.NewEncoder(io.Discard)
	for b.Loop() {
		r.Time += 1000
		l := lineOf(r)
		if err := e.Encode(&l); err != nil {
			b.Fatal(err)
		}
	}
}
