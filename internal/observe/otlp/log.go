package otlp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/edge-proxy/edge/internal/observe"
)

// The tags of LogRecord.
const (
	tagTime          = 1<<3 | 1
	tagSeverity      = 2<<3 | 0
	tagSeverityText  = 3<<3 | 2
	tagBody          = 5<<3 | 2
	tagLogAttributes = 6<<3 | 2
	tagLogFlags      = 8<<3 | 5
	tagLogTraceID    = 9<<3 | 2
	tagLogSpanID     = 10<<3 | 2
	tagObserved      = 11<<3 | 1
)

// severityInfo is the number of the level INFO. Numbers and levels of slog have the same steps.
const severityInfo = 9

// appendLog writes r as a log record.
func (m *message) appendLog(r *observe.Record) {
	m.tag = tagLogAttributes
	at := m.open(tagEntry)
	m.logHead(r.Time, r.Level())
	m.logBody(r)
	m.served(r, r.Span)
	m.attributeDouble("edge.duration", float64(max(r.Dur, 0))/1e9)
	m.attributeInt("edge.bytes_in", r.BytesIn)
	m.attributeInt("edge.bytes_out", r.BytesOut)
	attributeText(m, "edge.backend", r.Backend)
	attributeText(m, "edge.referer", r.Referer)
	for _, f := range r.Fields {
		named(m, "edge.", f.Name, f.Value)
	}
	for _, f := range r.Members {
		named(m, "", f.Name, f.Value)
	}
	if s := r.Span; s != nil {
		m.p = binary.LittleEndian.AppendUint32(append(m.p, tagLogFlags), uint32(s.Flags))
		m.bytes(tagLogTraceID, s.Trace[:])
		m.bytes(tagLogSpanID, s.ID[:])
	} else if len(r.TraceID) == 32 {
		var id [16]byte
		if _, err := hex.Decode(id[:], r.TraceID); err == nil {
			m.bytes(tagLogTraceID, id[:])
		}
	}
	m.close(at)
}

// logHead writes the time, of the event and of its record, and the level.
func (m *message) logHead(time int64, level slog.Level) {
	m.fixed64(tagTime, uint64(time))
	m.fixed64(tagObserved, uint64(time))
	m.varint(tagSeverity, uint64(min(max(level+severityInfo, 1), 24)))
	switch level {
	case slog.LevelInfo:
		writeText(m, tagSeverityText, "INFO")
	case slog.LevelWarn:
		writeText(m, tagSeverityText, "WARN")
	case slog.LevelError:
		writeText(m, tagSeverityText, "ERROR")
	default:
		writeText(m, tagSeverityText, level.String())
	}
}

func (m *message) logBody(r *observe.Record) {
	body := m.scratch[:0]
	switch {
	case len(r.Line.Text) > 0:
		body = append(body, r.Line.Text...)
	case r.Proto == observe.ProtoTCP:
		body = append(append(append(body, "TCP "...), r.Listener...), ' ')
		body = strconv.AppendInt(body, int64(r.Status), 10)
	case len(r.Method) == 0: // the request line was never understood
		body = strconv.AppendInt(append(body, "- "...), int64(r.Status), 10)
	default:
		body = append(append(append(append(body, r.Method...), ' '), r.Path...), ' ')
		body = strconv.AppendInt(body, int64(r.Status), 10)
	}
	m.scratch = body
	m.body(body)
}

func (m *message) body(text []byte) {
	at := m.open(tagBody)
	writeText(m, tagStringValue, text)
	m.close(at)
}

// appendEvent writes a line of the error log, as slog.JSONHandler makes them. A line that is no such object is the
// body of a record without a known level: INFO.
func (m *message) appendEvent(line []byte) {
	m.tag = tagLogAttributes
	at := m.open(tagEntry)
	defer func() { m.close(at) }()
	var event map[string]any
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	err := d.Decode(&event)
	text, ok := event[slog.MessageKey].(string)
	if err != nil || !ok || d.More() {
		m.logHead(time.Now().UnixNano(), slog.LevelInfo)
		m.body(line)
		return
	}
	when, level := time.Now(), slog.LevelInfo
	if t, err := time.Parse(time.RFC3339Nano, fmt.Sprint(event[slog.TimeKey])); err == nil {
		when = t
	}
	_ = level.UnmarshalText(fmt.Append(nil, event[slog.LevelKey])) // INFO, where it is none
	m.logHead(when.UnixNano(), level)
	m.body([]byte(text))
	for _, key := range []string{slog.TimeKey, slog.LevelKey, slog.MessageKey} {
		delete(event, key)
	}
	m.members("edge.", event)
}

// members writes the members of an object, and of objects within it, whose names have a dot before theirs.
func (m *message) members(space string, object map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(object)) {
		switch v := object[name].(type) {
		case map[string]any:
			m.members(space+name+".", v)
		case string:
			named(m, space, name, v)
		case bool:
			m.attributeBool(space+name, v)
		case json.Number:
			m.number(space+name, v)
		case []any:
			text, _ := json.Marshal(v) // it came from JSON
			named(m, space, name, text)
		}
	}
}

func (m *message) number(key string, n json.Number) {
	if i, err := n.Int64(); err == nil {
		m.attributeInt(key, i)
	} else if f, err := n.Float64(); err == nil && !math.IsInf(f, 0) {
		m.attributeDouble(key, f)
	}
}
