package quic

import "encoding/binary"

// integerMax is the largest integer of variable length (RFC 9000 §16).
const integerMax = 1<<62 - 1

// integerLen returns how many octets appendInteger takes for v.
func integerLen(v uint64) int {
	switch {
	case v < 1<<6:
		return 1
	case v < 1<<14:
		return 2
	case v < 1<<30:
		return 4
	}
	return 8
}

// appendInteger appends v, which is at most integerMax, in its shortest form.
func appendInteger(dst []byte, v uint64) []byte {
	switch {
	case v < 1<<6:
		return append(dst, byte(v))
	case v < 1<<14:
		return binary.BigEndian.AppendUint16(dst, uint16(v)|1<<14)
	case v < 1<<30:
		return binary.BigEndian.AppendUint32(dst, uint32(v)|2<<30)
	}
	return binary.BigEndian.AppendUint64(dst, v|3<<62)
}

// AppendInteger appends v, which is at most 1<<62-1, in its shortest form: HTTP/3 has the same integers.
func AppendInteger(dst []byte, v uint64) []byte { return appendInteger(dst, v) }

// ReadInteger reads the integer at the front of b, and returns how many octets it has: 0 when it is cut off.
func ReadInteger(b []byte) (v uint64, n int) {
	r := reader{b: b}
	v = r.integer()
	if r.cut {
		return 0, 0
	}
	return v, len(b) - len(r.b)
}

// reader takes fields off the front of b. Once one was cut off, all that follow are zero. Its slices are borrowed.
type reader struct {
	b   []byte
	cut bool
}

// integer takes an integer of variable length.
func (r *reader) integer() (v uint64) {
	if len(r.b) == 0 {
		r.cut = true
		return 0
	}
	n := 1 << (r.b[0] >> 6)
	if n > len(r.b) {
		r.b, r.cut = nil, true
		return 0
	}
	v = uint64(r.b[0] & 0x3f)
	for _, c := range r.b[1:n] {
		v = v<<8 | uint64(c)
	}
	r.b = r.b[n:]
	return v
}

// skipZeros takes the zeros in front: an Initial has a thousand.
func (r *reader) skipZeros() {
	for len(r.b) >= 8 && binary.NativeEndian.Uint64(r.b) == 0 {
		r.b = r.b[8:]
	}
	for len(r.b) > 0 && r.b[0] == 0 {
		r.b = r.b[1:]
	}
}

// bytes takes n octets.
func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.b, r.cut = nil, true
		return nil
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	return p
}

// counted takes octets after an octet that counts them.
func (r *reader) counted() []byte {
	n := r.bytes(1)
	if r.cut {
		return nil
	}
	return r.bytes(uint64(n[0]))
}
