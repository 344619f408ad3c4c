package h1

import "github.com/edge-proxy/edge/message"

// hexValue is the value of a hexadecimal digit, 0xff for every other byte.
var hexValue = func() (t [256]uint8) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range 10 {
		t['0'+i] = uint8(i)
	}
	for i := range 6 {
		t['a'+i], t['A'+i] = uint8(10+i), uint8(10+i)
	}
	return t
}()

const chunkDigitsMax = 15 // so that a size is never above 2^60

// parseChunkLine parses chunk-size [ chunk-ext ] CRLF (RFC 9112 §7.1) at the start of b and returns its length, 0 when
// b is too short. Extensions are ignored, as §7.1.1 says of those not known. A line that came in pieces is looked at
// again from its start: it is short. padded: white space may follow the size, as old origins write it.
func parseChunkLine(b []byte, limit int, padded bool) (n int, size int64, e *Error) {
	if len(b) > limit {
		b = b[:limit]
	}
	i := 0
	for ; i < len(b) && hexValue[b[i]] < 16; i++ {
		if i == chunkDigitsMax {
			return 0, 0, errChunkSize
		}
		size = size<<4 | int64(hexValue[b[i]])
	}
	if i == 0 && len(b) > 0 {
		return 0, 0, errChunkSize // a size is not empty, and no sign or white space precedes it
	}
	if i < len(b) && b[i] != '\r' {
		if e := checkExtension(b[i:], padded); e != nil {
			return 0, 0, e
		}
		i = controlFrom(b, i)
	}
	if i < len(b) {
		// A line feed alone that one side takes for the end of the line and the other for a part of an extension
		// hides a request: CVE-2025-22871.
		if e := lineEnd(b, i); e != nil {
			return 0, 0, e
		}
	}
	switch {
	case i+2 <= len(b):
		return i + 2, size, nil
	case len(b) >= limit:
		return 0, 0, errChunkLineTooLong
	}
	return 0, 0, nil
}

// checkExtension wants *( BWS ";" … ): white space alone after the size is not an extension, unless it is padded.
func checkExtension(b []byte, padded bool) *Error {
	for _, c := range b {
		switch c {
		case ' ', '\t':
		case ';':
			return nil
		case '\n':
			return errBareLF
		case '\r':
			if padded {
				return nil
			}
			return errChunkExtension
		default:
			return errChunkSize
		}
	}
	return nil
}

// chunk advances through a chunked body until there is something to report or in ends.
func (d *Decoder) chunk(in []byte, h *message.Head) (n int, ev Event, body []byte, e *Error) {
	for n < len(in) {
		rest := in[n:]
		switch d.state {
		case atChunk:
			k, size, e := parseChunkLine(rest, d.limits.chunkLine(), d.answers)
			if k == 0 || e != nil {
				return n, NeedMore, nil, e
			}
			// A line is at least four bytes beside the line end of the data; twice the data and sixteen are free.
			d.excess = max(0, d.excess+int32(k)-16-int32(min(2*size, chunkExcessMax)))
			if d.excess > chunkExcessMax {
				return n, NeedMore, nil, errChunkExcess
			}
			n += k
			d.left, d.state = size, inChunk
			if size == 0 {
				d.state = inTrailers
			}
		case inChunk:
			k := int(min(d.left, int64(len(rest))))
			if d.left -= int64(k); d.left == 0 {
				d.state = atChunkEnd
				if len(rest) >= k+2 && rest[k] == '\r' && rest[k+1] == '\n' {
					d.state = atChunk
					n += 2
				}
			}
			return n + k, Data, rest[:k:k], nil
		case atChunkEnd:
			if rest[0] != '\r' || len(rest) > 1 && rest[1] != '\n' {
				return n, NeedMore, nil, errChunkEnd
			}
			if len(rest) == 1 {
				return n, NeedMore, nil, nil
			}
			n += 2
			d.state = atChunk
		default:
			k, ev, e := d.trailers(rest, h)
			return n + k, ev, nil, e
		}
	}
	return n, NeedMore, nil, nil
}

// trailers parses the trailer section (RFC 9112 §7.1.2).
func (d *Decoder) trailers(in []byte, h *message.Head) (int, Event, *Error) {
	if d.scanned == 0 && len(in) >= 2 && in[0] == '\r' && in[1] == '\n' {
		d.finish()
		return 2, End, nil
	}
	b := prefix(in, d.limits.trailerBytes())
	if whole, e := d.scan(b, d.limits.trailerBytes(), errTrailersTooLarge); !whole || e != nil {
		return 0, NeedMore, e
	}
	reset(h)
	var s section
	s.begin(b, h.Fields, d.limits.trailerCount(), d.limits.fieldBytes(), errTrailersTooLarge)
	n, e := s.parse(0)
	h.Fields = s.table[:s.count]
	if n == 0 || e != nil {
		return 0, NeedMore, e
	}
	h.Base, h.Proto, h.Underscores = b[:n:n], message.HTTP11, s.underscores
	ev := End
	for i := range h.Fields {
		if f := &h.Fields[i]; !f.ID.InTrailers() {
			f.Flags |= message.Dropped
		} else {
			ev = Trailers | End
		}
	}
	d.finish()
	return n, ev, nil
}
