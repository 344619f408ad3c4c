package table

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"
	"unsafe"
)

// place is an address of IPv4 or IPv6 at the left of 128 bits: 10.0.0.0 is 0a00_0000_0000_0000. So one code has both.
type place struct{ hi, lo uint64 }

func (p place) less(q place) bool { return p.hi < q.hi || p.hi == q.hi && p.lo < q.lo }

// placeOf returns the place of an address, and whether it is one of IPv4, in IPv6 form or not.
func placeOf(a netip.Addr) (p place, is4 bool) {
	if a.Is4() || a.Is4In6() {
		b := a.As4()
		return place{hi: uint64(binary.BigEndian.Uint32(b[:])) << 32}, true
	}
	return placeOf6(a), false
}

// placeOf6 does not use As16: its result is written as two words and then copied as one of 16 bytes, for which the
// processor waits until all loads before it are done, loads of other look-ups included.
func placeOf6(a netip.Addr) place {
	var room [16 + 16]byte // the name of an interface follows, of 15 bytes at most
	b, _ := a.AppendBinary(room[:0])
	return place{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:16])}
}

// record is a prefix while a table is built.
type record struct {
	from place
	ref  uint32 // what a map says for it; 1 in a list
	bits uint8  // of the prefix: 32 at most for IPv4, 128 for IPv6
	is6  bool   // IPv6
}

func (r *record) same(s *record) bool { return r.from == s.from && r.bits == s.bits && r.is6 == s.is6 }

// after is the first place beyond the prefix. ok is false when it goes to the end.
func (r *record) after() (p place, ok bool) {
	switch {
	case r.bits == 0:
		return place{}, false
	case r.bits <= 64:
		p = place{hi: r.from.hi + 1<<(64-r.bits)}
	default:
		p = place{r.from.hi, r.from.lo + 1<<(128-r.bits)}
		if p.lo == 0 {
			p.hi++
		}
	}
	return p, p != place{}
}

// parsePrefix reads an address or a prefix. text is borrowed until return.
func parsePrefix(text []byte) (r record, f *fault) {
	// SAFETY: no goroutine writes the bytes meanwhile, and nothing that refers to the string is kept: a message is a
	// copy.
	whole := unsafe.String(unsafe.SliceData(text), len(text))
	host, length, hasLength := strings.Cut(whole, "/")
	a, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		return r, faultf(0, addressHint(whole), "%s is no address and no prefix", quoted(text))
	case a.Zone() != "":
		return r, faultf(len(host)-len(a.Zone())-1, "", "a list has addresses without a zone")
	}
	bits := a.BitLen()
	if hasLength {
		n, err := strconv.ParseUint(length, 10, 8)
		if err != nil || int(n) > bits || len(length) > 1 && length[0] == '0' {
			return r, faultf(len(host)+1, "0 to "+strconv.Itoa(bits)+" are possible",
				"%s is no length of a prefix", quoted([]byte(length)))
		}
		bits = int(n)
	}
	if a.Is4In6() {
		if bits -= 96; bits < 0 {
			return r, faultf(len(host)+1, "write the IPv4 prefix, or a length of 96 to 128",
				"the prefix ends before its IPv4 address")
		}
		a = a.Unmap()
	}
	if masked := netip.PrefixFrom(a, bits).Masked(); masked.Addr() != a {
		return r, faultf(0, "did you mean "+masked.String()+"?", "%s has bits beyond its length", quoted(text))
	}
	var is4 bool
	r.from, is4 = placeOf(a)
	r.bits, r.is6 = uint8(bits), !is4
	return r, nil
}

// addressHint guesses what the author of a list without an address here means.
func addressHint(s string) string {
	switch {
	case strings.HasSuffix(s, ";") || strings.HasSuffix(s, ","):
		return "remove what follows the address"
	case strings.Contains(s, "-"):
		return "a range is written as its prefixes"
	case strings.HasPrefix(s, ";") || strings.HasPrefix(s, "//"):
		return "a comment begins with #"
	case strings.Count(s, ".") >= 1 && strings.Count(s, ".") < 3 && strings.Contains(s, "/"):
		return "an IPv4 prefix has four numbers, as in 10.0.0.0/8"
	}
	return "write it as 192.0.2.1, 10.0.0.0/8 or 2001:db8::/32"
}
