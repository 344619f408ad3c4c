package trace

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"

	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/message"
)

// Context is what Traceparent says: W3C Trace Context §3.2.
type Context struct {
	Trace  [16]byte
	Parent ID // the span that the request comes from; zeros: the trace begins here
	Flags  uint8

	clean bool // the request has no field of a trace
}

// ID is the number of a span. The zero value is none.
type ID = [8]byte

// Flags of a Context.
const (
	Sampled = 1 // the caller may have recorded its part
	Random  = 2 // the last 7 bytes of Trace are random: level 2 of the specification
)

// Begin makes c, which Of has returned, the context of a trace that begins here. It is not sampled.
func (c *Context) Begin() {
	*c = Context{Flags: Random, clean: c.clean}
	binary.LittleEndian.PutUint64(c.Trace[:], rand.Uint64())
	binary.LittleEndian.PutUint64(c.Trace[8:], rand.Uint64()|1) // none is all zeros
}

// NewID returns the number of a span that begins.
func NewID() (id ID) {
	binary.LittleEndian.PutUint64(id[:], rand.Uint64()|1)
	return id
}

// stateMax bounds Tracestate, of which 512 bytes are to be passed on at least (§3.3.1.5). No sender's own is larger.
const stateMax = 4 << 10

// Of returns the context that h, a request, names. ok is false where it names none, has a malformed one or several
// fields, of which a backend may take another one, or brings so much of a Tracestate that no tracer has written it.
func Of(h *message.Head) (c Context, ok bool) {
	parents, state, at := 0, 0, 0
	for i := range h.Fields {
		switch f := &h.Fields[i]; {
		case f.Dropped():
		case f.ID == message.TraceState:
			state += int(f.ValueLen) + 1
		case f.ID == message.TraceParent:
			parents, at = parents+1, i
		}
	}
	if parents == 1 {
		c, ok = parse(h.Value(at))
	}
	c.clean = parents+state == 0
	return c, ok && state <= stateMax
}

// Where the parts of Traceparent stand: "00-trace-parent-flags".
const (
	traceAt  = 3
	parentAt = traceAt + 32 + 1
	flagsAt  = parentAt + 16 + 1
	length   = flagsAt + 2
)

// parse reads a field. A version above 00 may have more after the flags: §4.
func parse(field []byte) (c Context, ok bool) {
	if len(field) < length || field[traceAt-1] != '-' || field[parentAt-1] != '-' || field[flagsAt-1] != '-' {
		return c, false
	}
	if rest := field[length:]; len(rest) > 0 && (string(field[:2]) == "00" || rest[0] != '-') {
		return c, false
	}
	var version, flags [1]byte
	ok = read(version[:], field[:2]) && read(c.Trace[:], field[traceAt:parentAt-1]) &&
		read(c.Parent[:], field[parentAt:flagsAt-1]) && read(flags[:], field[flagsAt:length])
	c.Flags = flags[0]
	return c, ok && version[0] != 0xff && c.Trace != [16]byte{} && c.Parent != ID{}
}

// read decodes digits of hexadecimal, in lower case as the specification wants them.
func read(dst, text []byte) bool {
	for _, c := range text {
		if 'A' <= c && c <= 'F' {
			return false
		}
	}
	_, err := hex.Decode(dst, text)
	return err == nil
}

// Set gives h, a request, the context c with span as the parent. A field that names another one goes, and where the
// trace begins here, Tracestate too: it means nothing without its Traceparent (§3.3.1.1).
func (c *Context) Set(h *message.Head, span ID) {
	if !c.clean {
		h.DelID(message.TraceParent)
		if c.Parent == (ID{}) {
			h.DelID(message.TraceState)
		}
	}
	c.clean = false
	var room [length]byte
	field := append(observe.AppendHex(append(room[:0], "00-"...), c.Trace[:]), '-')
	field = append(observe.AppendHex(field, span[:]), '-', digits[c.Flags>>4], digits[c.Flags&15])
	h.AddBytes(message.TraceParent, "Traceparent", field)
}

const digits = "0123456789abcdef"
