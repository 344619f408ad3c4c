package forwarding

import (
	"encoding/hex"

	"github.com/edge-proxy/edge/message"
)

// idMax bounds the number of a request that somebody else has given it, in bytes.
const idMax = 128

// ValidID reports whether id, which came with a request, may be its number: it goes to backends, into logs and onto
// pages, so that it is letters, digits and "-._~+/=:" alone.
func ValidID(id []byte) bool {
	for _, c := range id {
		switch {
		case 'a' <= c|0x20 && c|0x20 <= 'z', '0' <= c && c <= '9':
		case c == '-' || c == '.' || c == '_' || c == '~' || c == '+' || c == '/' || c == '=' || c == ':':
		default:
			return false
		}
	}
	return len(id) > 0 && len(id) <= idMax
}

// The fields of W3C Trace Context, and where the parts of the first one stand: version 00, "00-trace-parent-flags".
const (
	Traceparent = "Traceparent"
	Tracestate  = "Tracestate"

	traceAt, traceLen   = 3, 32
	parentAt, parentLen = traceAt + traceLen + 1, 16
	flagsAt             = parentAt + parentLen + 1
	traceparentLen      = flagsAt + 2
)

// TraceOf returns the identity of the trace that h, a request, names: nil where it names none, or has several such
// fields, of which a backend may take another one. Borrowed.
func TraceOf(h *message.Head) (trace []byte) {
	found := false
	for i := range h.Fields {
		if f := &h.Fields[i]; f.ID != message.TraceParent || f.Dropped() {
			continue
		}
		if found {
			return nil
		}
		found, trace = true, traceID(h.Value(i))
	}
	return trace
}

// traceID returns the identity of the trace that a Traceparent field names, nil where it is malformed: W3C Trace
// Context §3.2. A version above 00 may have more after the flags. Borrowed.
func traceID(field []byte) []byte {
	if len(field) < traceparentLen || field[traceAt-1] != '-' || field[parentAt-1] != '-' || field[flagsAt-1] != '-' {
		return nil
	}
	if !isHex(field[:2]) || !isHex(field[flagsAt:traceparentLen]) || string(field[:2]) == "ff" {
		return nil
	}
	if rest := field[traceparentLen:]; len(rest) > 0 && (string(field[:2]) == "00" || rest[0] != '-') {
		return nil
	}
	trace, parent := field[traceAt:traceAt+traceLen], field[parentAt:parentAt+parentLen]
	if !isHex(trace) || !isHex(parent) || isZero(trace) || isZero(parent) {
		return nil
	}
	return trace
}

// isHex reports whether p is digits of hexadecimal, in lower case as the specification wants them.
func isHex(p []byte) bool {
	for _, c := range p {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func isZero(p []byte) bool {
	for _, c := range p {
		if c != '0' {
			return false
		}
	}
	return true
}

// SetTraceparent makes h, a request that names no trace, the first one of a trace: what follows is sampled, as it would
// be without the field.
func SetTraceparent(h *message.Head, trace [16]byte, parent [8]byte) {
	field := append(make([]byte, 0, traceparentLen), "00-"...)
	field = append(hex.AppendEncode(field, trace[:]), '-')
	field = hex.AppendEncode(field, parent[:])
	h.Del(Tracestate) // §3.3.1.1: without a valid traceparent it means nothing
	h.Set(Traceparent, string(append(field, "-01"...)))
}
