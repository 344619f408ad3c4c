package otlp

import (
	"encoding/binary"

	"github.com/edge-proxy/edge/internal/observe"
)

// The tags of Span.
const (
	tagTraceID        = 1<<3 | 2
	tagSpanID         = 2<<3 | 2
	tagState          = 3<<3 | 2
	tagParent         = 4<<3 | 2
	tagName           = 5<<3 | 2
	tagKind           = 6<<3 | 0
	tagStart          = 7<<3 | 1
	tagEnd            = 8<<3 | 1
	tagSpanAttributes = 9<<3 | 2
	tagStatus         = 15<<3 | 2
	tagStatusCode     = 3<<3 | 0 // of Status
)

const (
	kindServer = 2
	kindClient = 3

	statusError = 2

	flagHasRemote = 1 << 8 // SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE: the next one means something
	flagRemote    = 1 << 9 // SPAN_FLAGS_CONTEXT_IS_REMOTE: the parent is in another process
)

// appendSpans writes the spans of r, which has some: the request, and each of its attempts.
func (m *message) appendSpans(r *observe.Record) {
	s := r.Span
	m.tag = tagSpanAttributes
	at := m.open(tagEntry)
	flags := uint32(s.Flags) | flagHasRemote
	if s.Parent != [8]byte{} {
		flags |= flagRemote
	}
	m.spanHead(s, s.ID, s.Parent, kindServer, flags)
	m.spanName(r)
	m.spanTimes(r.Time, 0, r.Dur)
	m.served(r, s)
	for _, f := range r.Fields {
		if f.Name == "retry" || f.Name == "hedge" {
			named(m, "edge.", f.Name, f.Value)
		}
	}
	m.spanStatus(failed(r.Status, s.Error, 500))
	m.close(at)
	for i := range s.Attempts {
		a := &s.Attempts[i]
		at := m.open(tagEntry)
		m.spanHead(s, a.ID, s.ID, kindClient, uint32(s.Flags)|flagHasRemote)
		writeText(m, tagName, verb(r.Method))
		m.spanTimes(r.Time, a.Began, a.Ended)
		m.attempted(r, s, a)
		m.spanStatus(failed(a.Status, a.Error, 400))
		m.close(at)
	}
}

func (m *message) spanHead(s *observe.Span, id, parent [8]byte, kind uint64, flags uint32) {
	m.bytes(tagTraceID, s.Trace[:])
	m.bytes(tagSpanID, id[:])
	if len(s.State) > 0 {
		writeText(m, tagState, s.State)
	}
	if parent != [8]byte{} {
		m.bytes(tagParent, parent[:])
	}
	m.varint(tagKind, kind)
	m.p = append(m.p, 16<<3&0x7f|5|0x80, 16<<3>>7) // flags: field 16, fixed32
	m.p = binary.LittleEndian.AppendUint32(m.p, flags)
}

// spanName writes the name of the span of a request: never its path, which a client chooses.
func (m *message) spanName(r *observe.Record) {
	switch s := r.Span; {
	case len(s.Name) > 0:
		writeText(m, tagName, s.Name)
	case r.Proto == observe.ProtoTCP:
		writeText(m, tagName, "TCP")
	case s.Pattern == "":
		writeText(m, tagName, verb(r.Method))
	default:
		m.scratch = append(append(append(m.scratch[:0], verb(r.Method)...), ' '), s.Pattern...)
		writeText(m, tagName, m.scratch)
	}
}

// spanTimes writes begin and end, which are counted from time. No span ends before it begins, and no attempt begins
// before its request.
func (m *message) spanTimes(time, began, ended int64) {
	began = max(began, 0)
	m.fixed64(tagStart, uint64(time+began))
	m.fixed64(tagEnd, uint64(time+max(began, ended)))
}

func (m *message) spanStatus(failed bool) {
	if failed {
		m.p = append(m.p, tagStatus, 2, tagStatusCode, statusError)
	}
}
