package proxyproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net/netip"
)

// Header is what a header says. It is a value.
type Header struct {
	// Source is the client, and Destination the address that it connected to. Both are zero where the connection is the
	// sender's own, such as a health check, or where the sender does not know: then the addresses of the socket hold.
	Source, Destination netip.AddrPort
	Version             int // 1 or 2
}

// Told reports whether h tells addresses.
func (h *Header) Told() bool { return h.Source.IsValid() }

// The errors of Parse. No further bytes change an error.
var (
	ErrNone     = errors.New("no header of the PROXY protocol")
	ErrLength   = errors.New("a header of the PROXY protocol is too long or too short")
	ErrSyntax   = errors.New("a header of the PROXY protocol is malformed")
	ErrTLV      = errors.New("a TLV in a header of the PROXY protocol is cut")
	ErrChecksum = errors.New("the CRC32c of a header of the PROXY protocol is wrong")
)

// Lengths in bytes.
const (
	v1Max      = 107     // of version 1, with its line end: section 2.1
	v2Head     = 16      // of version 2, before the addresses
	v2BlockMax = 4 << 10 // of addresses and TLVs. A certificate of the client is 1 to 2 KiB
	// Max bounds a header: an input that is as long is enough for Parse.
	Max = v2Head + v2BlockMax

	v4Block   = 2*4 + 2*2
	v6Block   = 2*16 + 2*2
	unixBlock = 2 * 108
)

// Of version 2: section 2.2.
const (
	signature    = "\r\n\r\n\x00\r\nQUIT\n"
	commandLocal = 0x20
	commandProxy = 0x21
	v4Stream     = 0x11
	v4Datagram   = 0x12
	v6Stream     = 0x21
	v6Datagram   = 0x22
	unixStream   = 0x31
	unixDatagram = 0x32
)

// Types of TLVs: section 2.2.
const (
	TypeAuthority = 0x02 // the host that the client asked for: SNI
	TypeCRC32C    = 0x03 // CRC32c of the header
)

// Parse reads the header that b begins with, and returns its length in bytes. 0 without an error says that b may be the
// start of one: call it again with b and what follows. b is borrowed until return.
func Parse(b []byte) (h Header, n int, err error) {
	switch {
	case begins(b, "PROXY"):
		if len(b) < len("PROXY") {
			return h, 0, nil
		}
		return parseText(b)
	case begins(b, signature):
		if len(b) < v2Head {
			return h, 0, nil
		}
		return parseBinary(b)
	}
	return h, 0, ErrNone
}

// begins reports whether b begins with s, as far as there is a b.
func begins(b []byte, s string) bool {
	n := min(len(b), len(s))
	return string(b[:n]) == s[:n]
}

// parseText reads version 1: section 2.1.
func parseText(b []byte) (h Header, n int, err error) {
	end := bytes.IndexByte(b[:min(len(b), v1Max)], '\n')
	switch {
	case end < 0 && len(b) < v1Max:
		return h, 0, nil
	case end < 0:
		return h, 0, ErrLength
	case b[end-1] != '\r':
		return h, 0, ErrSyntax
	}
	words := bytes.Split(b[:end-1], []byte(" "))
	if string(words[0]) != "PROXY" || len(words) < 2 {
		return h, 0, ErrSyntax
	}
	family := string(words[1])
	if family == "UNKNOWN" {
		return Header{Version: 1}, end + 1, nil // the rest of the line is to be ignored
	}
	if len(words) != 6 {
		return h, 0, ErrSyntax
	}
	var right [2]bool
	h.Source, right[0] = endpoint(family, words[2], words[4])
	h.Destination, right[1] = endpoint(family, words[3], words[5])
	if !right[0] || !right[1] {
		return Header{}, 0, ErrSyntax
	}
	h.Version = 1
	return h, end + 1, nil
}

// endpoint reads an address of version 1.
func endpoint(family string, address, port []byte) (netip.AddrPort, bool) {
	ip, err := netip.ParseAddr(string(address))
	if err != nil || ip.Zone() != "" || (family != "TCP4" || !ip.Is4()) && (family != "TCP6" || !ip.Is6()) {
		return netip.AddrPort{}, false
	}
	number, ok := decimal(port)
	return netip.AddrPortFrom(ip.Unmap(), number), ok
}

// decimal reads a port: 1 to 5 digits without a leading zero.
func decimal(digits []byte) (port uint16, ok bool) {
	if len(digits) == 0 || len(digits) > 5 || len(digits) > 1 && digits[0] == '0' {
		return 0, false
	}
	n := 0
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return uint16(n), n < 1<<16
}

// parseBinary reads version 2, of which the first 16 bytes are here: section 2.2.
func parseBinary(b []byte) (h Header, n int, err error) {
	command, family, size := b[12], b[13], int(binary.BigEndian.Uint16(b[14:]))
	if command != commandLocal && command != commandProxy {
		return h, 0, ErrSyntax
	}
	if size > v2BlockMax || command == commandProxy && size < blockOf(family) {
		return h, 0, ErrLength
	}
	n = v2Head + size
	if len(b) < n {
		return h, 0, nil
	}
	h.Version = 2
	if command == commandLocal || blockOf(family) == 0 {
		return h, n, nil // the addresses of the socket hold
	}
	block := b[v2Head:n]
	switch family {
	case v4Stream, v4Datagram:
		h.Source = netip.AddrPortFrom(netip.AddrFrom4([4]byte(block)), binary.BigEndian.Uint16(block[8:]))
		h.Destination = netip.AddrPortFrom(netip.AddrFrom4([4]byte(block[4:])), binary.BigEndian.Uint16(block[10:]))
	case v6Stream, v6Datagram:
		h.Source = netip.AddrPortFrom(netip.AddrFrom16([16]byte(block)).Unmap(), binary.BigEndian.Uint16(block[32:]))
		h.Destination = netip.AddrPortFrom(
			netip.AddrFrom16([16]byte(block[16:])).Unmap(), binary.BigEndian.Uint16(block[34:]))
	}
	if err := checkTLVs(b[:n], v2Head+blockOf(family)); err != nil {
		return Header{}, 0, err
	}
	return h, n, nil
}

// blockOf returns how many bytes the addresses of a family have; 0 for a family without addresses that are known.
func blockOf(family byte) int {
	switch family {
	case v4Stream, v4Datagram:
		return v4Block
	case v6Stream, v6Datagram:
		return v6Block
	case unixStream, unixDatagram:
		return unixBlock
	}
	return 0
}

// Of CRC32c: its table, and a sum that is not computed yet.
var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	zeros      = make([]byte, crc32.Size)
)

// checkTLVs looks whether the TLVs of a header, which begin at at, are whole, and whether a checksum among them is
// right.
func checkTLVs(header []byte, at int) error {
	for at < len(header) {
		value := at + 3
		if value > len(header) {
			return ErrTLV
		}
		end := value + int(binary.BigEndian.Uint16(header[at+1:]))
		if end > len(header) {
			return ErrTLV
		}
		if header[at] == TypeCRC32C {
			if end-value != crc32.Size {
				return ErrChecksum
			}
			// Section 2.2.3: of the whole header, with the bytes of the sum as zeros.
			sum := crc32.Update(0, castagnoli, header[:value])
			sum = crc32.Update(sum, castagnoli, zeros)
			sum = crc32.Update(sum, castagnoli, header[end:])
			if sum != binary.BigEndian.Uint32(header[value:]) {
				return ErrChecksum
			}
		}
		at = end
	}
	return nil
}
