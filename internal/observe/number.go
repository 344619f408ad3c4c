package observe

import (
	"encoding/binary"
	"strconv"
	"time"
)

const digits = "00010203040506070809" +
	"10111213141516171819" +
	"20212223242526272829" +
	"30313233343536373839" +
	"40414243444546474849" +
	"50515253545556575859" +
	"60616263646566676869" +
	"70717273747576777879" +
	"80818283848586878889" +
	"90919293949596979899"

// octets are the numbers of an IPv4 address with the dot after them, the first byte in the lowest bits.
var octets = func() (t [256]struct {
	text uint32
	bits uint8
}) {
	for i := range t {
		var text [4]byte
		t[i].bits = uint8(8 * copy(text[:], append(strconv.AppendInt(nil, int64(i), 10), '.')))
		t[i].text = binary.LittleEndian.Uint32(text[:])
	}
	return t
}()

// appendOctets appends two numbers of an IPv4 address, each with a dot after it, in one store.
func appendOctets(dst []byte, a, b byte) []byte {
	x, y := &octets[a], &octets[b]
	n := len(dst) + int(x.bits+y.bits)/8
	return binary.LittleEndian.AppendUint64(dst, uint64(x.text)|uint64(y.text)<<(x.bits&63))[:n]
}

// appendUint is strconv.AppendUint for numbers that mostly have one to five digits.
func appendUint(dst []byte, v uint64) []byte {
	switch {
	case v < 10:
		return append(dst, byte('0'+v))
	case v < 100:
		return append(dst, digits[2*v], digits[2*v+1])
	case v < 1000:
		low := v % 100
		return append(dst, byte('0'+v/100), digits[2*low], digits[2*low+1])
	case v < 10000:
		return append4(dst, v)
	}
	var b [20]byte
	at := len(b)
	for v >= 100 {
		low := v % 100
		v /= 100
		at -= 2
		b[at], b[at+1] = digits[2*low], digits[2*low+1]
	}
	if v >= 10 {
		at -= 2
		b[at], b[at+1] = digits[2*v], digits[2*v+1]
	} else {
		at--
		b[at] = byte('0' + v)
	}
	return append(dst, b[at:]...)
}

func appendInt(dst []byte, v int64) []byte {
	if v < 0 {
		return appendUint(append(dst, '-'), -uint64(v))
	}
	return appendUint(dst, uint64(v))
}

func append4(dst []byte, v uint64) []byte {
	high, low := v/100, v%100
	return append(dst, digits[2*high], digits[2*high+1], digits[2*low], digits[2*low+1])
}

// appendMillis writes ns as milliseconds with three decimals, cut, not rounded. A negative
// duration comes from a clock that was set back and is written as 0.
func appendMillis(dst []byte, ns int64) []byte {
	if ns < 1000 {
		return append(dst, '0')
	}
	us := uint64(ns) / 1000
	dst = appendUint(dst, us/1000)
	us %= 1000
	low := us % 100
	return append(dst, '.', byte('0'+us/100), digits[2*low], digits[2*low+1])
}

// AppendHex appends id, whose length is a multiple of four, in lower case: eight digits at a time.
func AppendHex(dst, id []byte) []byte {
	for ; len(id) >= 4; id = id[4:] {
		x := uint64(binary.LittleEndian.Uint32(id))
		// One byte of id to each pair of bytes, then one nibble to each byte, high nibble first.
		x = (x | x<<16) & 0x0000ffff0000ffff
		x = (x | x<<8) & 0x00ff00ff00ff00ff
		x = (x>>4 | x<<8) & 0x0f0f0f0f0f0f0f0f
		letters := (x + 0x0606060606060606) >> 4 & 0x0101010101010101
		dst = binary.LittleEndian.AppendUint64(dst, x+0x3030303030303030+letters*('a'-'0'-10))
	}
	return dst
}

// stamp remembers the text of one second. A new one costs about 100 ns, a known one 5.
type stamp struct {
	sec   int64
	known bool
	text  [26]byte
}

// appendRFC3339 writes Unix time ns as 2026-01-02T03:04:05.678901Z.
func (s *stamp) appendRFC3339(dst []byte, ns int64) []byte {
	sec, frac := split(ns)
	if sec != s.sec || !s.known {
		time.Unix(sec, 0).UTC().AppendFormat(s.text[:0], "2006-01-02T15:04:05.")
		s.sec, s.known = sec, true
	}
	dst = append(dst, s.text[:20]...)
	us := uint64(frac) / 1000
	a, b, c := us/10000, us/100%100, us%100
	return append(dst, digits[2*a], digits[2*a+1], digits[2*b], digits[2*b+1], digits[2*c], digits[2*c+1], 'Z')
}

// appendCLF writes Unix time ns as 02/Jan/2026:03:04:05 +0000.
func (s *stamp) appendCLF(dst []byte, ns int64) []byte {
	sec, _ := split(ns)
	if sec != s.sec || !s.known {
		time.Unix(sec, 0).UTC().AppendFormat(s.text[:0], "02/Jan/2006:15:04:05 -0700")
		s.sec, s.known = sec, true
	}
	return append(dst, s.text[:26]...)
}

// split gives the second that ns lies in and the rest, 0 <= rest < 1e9, before 1970 too.
func split(ns int64) (sec, rest int64) {
	sec, rest = ns/1e9, ns%1e9
	if rest < 0 {
		sec, rest = sec-1, rest+1e9
	}
	return sec, rest
}
