package proxyproto

import (
	"encoding/binary"
	"net/netip"
	"strconv"
)

// TLV is one further thing that a header of version 2 says.
type TLV struct {
	Type  byte
	Value []byte // at most 65535 bytes, borrowed until return
}

// AppendV1 appends a header of version 1. Addresses of different families are written as IPv6. A source or destination
// that is not valid is unknown to the sender: "UNKNOWN".
func AppendV1(dst []byte, source, destination netip.AddrPort) []byte {
	from, to, family := alike(source, destination)
	switch family {
	case 0:
		return append(dst, "PROXY UNKNOWN\r\n"...)
	case v4Stream:
		dst = append(dst, "PROXY TCP4 "...)
	default:
		dst = append(dst, "PROXY TCP6 "...)
	}
	dst = append(from.Addr().AppendTo(dst), ' ')
	dst = append(to.Addr().AppendTo(dst), ' ')
	dst = append(strconv.AppendUint(dst, uint64(from.Port()), 10), ' ')
	return append(strconv.AppendUint(dst, uint64(to.Port()), 10), "\r\n"...)
}

// AppendV2 appends a header of version 2 with the TLVs. Addresses of different families are written as IPv6. Where the
// source or the destination is not valid the connection is the sender's own: LOCAL. The TLVs have at most 4 KiB less
// 36 bytes in all, so that receivers with the same bound as Parse take them.
func AppendV2(dst []byte, source, destination netip.AddrPort, tlvs ...TLV) []byte {
	from, to, family := alike(source, destination)
	command := byte(commandProxy)
	if family == 0 {
		command = commandLocal
	}
	dst = append(dst, signature...)
	dst = append(dst, command, family, 0, 0)
	start := len(dst)
	switch family {
	case v4Stream:
		a, b := from.Addr().As4(), to.Addr().As4()
		dst = append(append(dst, a[:]...), b[:]...)
	case v6Stream:
		a, b := from.Addr().As16(), to.Addr().As16()
		dst = append(append(dst, a[:]...), b[:]...)
	}
	if family != 0 {
		dst = binary.BigEndian.AppendUint16(dst, from.Port())
		dst = binary.BigEndian.AppendUint16(dst, to.Port())
	}
	for _, t := range tlvs {
		dst = append(dst, t.Type)
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(t.Value)))
		dst = append(dst, t.Value...)
	}
	binary.BigEndian.PutUint16(dst[start-2:], uint16(len(dst)-start))
	return dst
}

// alike returns both addresses in one family; 0: one of them is not valid. A header has no place for a zone.
func alike(source, destination netip.AddrPort) (from, to netip.AddrPort, family byte) {
	a, b := source.Addr().Unmap().WithZone(""), destination.Addr().Unmap().WithZone("")
	switch {
	case !a.IsValid() || !b.IsValid():
		return from, to, 0
	case a.Is4() && b.Is4():
		family = v4Stream
	default:
		a, b, family = netip.AddrFrom16(a.As16()), netip.AddrFrom16(b.As16()), v6Stream
	}
	return netip.AddrPortFrom(a, source.Port()), netip.AddrPortFrom(b, destination.Port()), family
}
