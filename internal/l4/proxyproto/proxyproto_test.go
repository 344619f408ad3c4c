package proxyproto

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func at(s string) netip.AddrPort {
	if s == "" {
		return netip.AddrPort{}
	}
	return netip.MustParseAddrPort(s)
}

// v2 makes a header of version 2 from its parts, right or not.
func v2(command, family byte, block ...string) string {
	b := strings.Join(block, "")
	return signature + string([]byte{command, family, byte(len(b) >> 8), byte(len(b))}) + b
}

// The addresses of a block: 192.0.2.1:1000 to 192.0.2.2:443, and 2001:db8::1 to ::2.
const (
	block4 = "\xc0\x00\x02\x01\xc0\x00\x02\x02\x03\xe8\x01\xbb"
	block6 = "\x20\x01\x0d\xb8" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
		"\x20\x01\x0d\xb8" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02" + "\x03\xe8\x01\xbb"
	mapped6 = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x01" +
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x02" + "\x03\xe8\x01\xbb"
	noop = "\x04\x00\x02ab"
)

// summed makes a header with the checksum of it, changed by wrong.
func summed(wrong uint32, block string) string {
	head := []byte(v2(commandProxy, v4Stream, block, noop, "\x03\x00\x04\x00\x00\x00\x00", noop))
	sum := crc32.Checksum(head, crc32.MakeTable(crc32.Castagnoli)) ^ wrong
	binary.BigEndian.PutUint32(head[len(head)-len(noop)-4:], sum)
	return string(head)
}

var right = []struct {
	name, header, source, destination string
}{
	{"v1 IPv4", "PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n", "192.0.2.1:1000", "192.0.2.2:443"},
	{"v1 IPv6", "PROXY TCP6 2001:db8::1 2001:db8::2 1000 443\r\n", "[2001:db8::1]:1000", "[2001:db8::2]:443"},
	{"v1 IPv4 in IPv6", "PROXY TCP6 ::ffff:192.0.2.1 ::1 0 65535\r\n", "192.0.2.1:0", "[::1]:65535"},
	{"v1 longest", "PROXY TCP6 " + strings.Repeat("ffff:", 7) + "ffff " + strings.Repeat("ffff:", 7) +
		"ffff 65535 65535\r\n", "[" + strings.Repeat("ffff:", 7) + "ffff]:65535",
		"[" + strings.Repeat("ffff:", 7) + "ffff]:65535"},
	{"v1 unknown", "PROXY UNKNOWN\r\n", "", ""},
	{"v1 unknown with addresses", "PROXY UNKNOWN " + strings.Repeat("x", 107-16) + "\r\n", "", ""},
	{"v2 IPv4", v2(commandProxy, v4Stream, block4), "192.0.2.1:1000", "192.0.2.2:443"},
	{"v2 IPv4 datagram", v2(commandProxy, v4Datagram, block4), "192.0.2.1:1000", "192.0.2.2:443"},
	{"v2 IPv6", v2(commandProxy, v6Stream, block6), "[2001:db8::1]:1000", "[2001:db8::2]:443"},
	{"v2 IPv4 in IPv6", v2(commandProxy, v6Stream, mapped6), "192.0.2.1:1000", "192.0.2.2:443"},
	{"v2 TLVs", v2(commandProxy, v4Stream, block4, noop, "\x05\x00\x00"), "192.0.2.1:1000", "192.0.2.2:443"},
	{"v2 checksum", summed(0, block4), "192.0.2.1:1000", "192.0.2.2:443"},
	{"v2 local", v2(commandLocal, 0), "", ""},
	{"v2 local with addresses", v2(commandLocal, v4Stream, block4, "\x03"), "", ""},
	{"v2 without a family", v2(commandProxy, 0, block4), "", ""},
	{"v2 unknown family", v2(commandProxy, 0x41, "abc"), "", ""},
	{"v2 unknown transport", v2(commandProxy, 0x13, block4), "", ""},
	{"v2 Unix", v2(commandProxy, unixStream, strings.Repeat("x", unixBlock)), "", ""},
	{"v2 longest", v2(commandProxy, v4Stream, block4, "\x04\x0f\xf1", strings.Repeat("x", v2BlockMax-12-3)),
		"192.0.2.1:1000", "192.0.2.2:443"},
}

// Each header is read as it is, with what follows it, and not before its last byte has come.
func TestParse(t *testing.T) {
	for _, tt := range right {
		version := 1
		if strings.HasPrefix(tt.header, signature) {
			version = 2
		}
		want := Header{at(tt.source), at(tt.destination), version}
		for _, rest := range []string{"", "GET / HTTP/1.1\r\n", tt.header} {
			h, n, err := Parse([]byte(tt.header + rest))
			if h != want || n != len(tt.header) || err != nil {
				t.Errorf("%s: %+v, %d of %d, %v", tt.name, h, n, len(tt.header), err)
			}
		}
		for cut := range tt.header {
			if h, n, err := Parse([]byte(tt.header[:cut])); h != (Header{}) || n != 0 || err != nil {
				t.Errorf("%s, %d bytes: %+v, %d, %v", tt.name, cut, h, n, err)
			}
		}
	}
}

// What is wrong is refused, at the latest when all of it is here, and is not taken back by what follows.
func TestParse_refuses(t *testing.T) {
	text := func(s string) string { return "PROXY " + s + "\r\n" }
	for _, tt := range []struct {
		header string
		err    error
	}{
		{"GET / HTTP/1.1\r\n\r\n", ErrNone},
		{"PROPFIND / HTTP/1.1\r\n\r\n", ErrNone},
		{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ErrNone},
		{"\x16\x03\x01\x02\x00\x01", ErrNone},
		{"\r\nGET / HTTP/1.1\r\n", ErrNone},
		{signature[:11] + "\r", ErrNone},
		{"PROXYx TCP4 192.0.2.1 192.0.2.2 1 2\r\n", ErrSyntax},
		{"PROXY\r\n", ErrSyntax},
		{text(""), ErrSyntax},
		{text("UDP4 192.0.2.1 192.0.2.2 1 2"), ErrSyntax},
		{text("tcp4 192.0.2.1 192.0.2.2 1 2"), ErrSyntax},
		{text("TCP4 192.0.2.1 192.0.2.2 1"), ErrSyntax},
		{text("TCP4 192.0.2.1 192.0.2.2 1 2 "), ErrSyntax},
		{text("TCP4  192.0.2.1 192.0.2.2 1 2"), ErrSyntax},
		{text("TCP4 192.0.2.1 192.0.2.2 01 2"), ErrSyntax},
		{text("TCP4 192.0.2.1 192.0.2.2 1 65536"), ErrSyntax},
		{text("TCP4 192.0.2.1 192.0.2.2 1 100000"), ErrSyntax},
		{text("TCP4 192.0.2.1 192.0.2.2 +1 2"), ErrSyntax},
		{text("TCP4 192.0.2.1 192.0.2.2 1 "), ErrSyntax},
		{text("TCP4 192.0.2.01 192.0.2.2 1 2"), ErrSyntax},
		{text("TCP4 ::1 ::1 1 2"), ErrSyntax},
		{text("TCP6 192.0.2.1 192.0.2.2 1 2"), ErrSyntax},
		{text("TCP6 fe80::1%eth0 ::1 1 2"), ErrSyntax},
		{"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", ErrSyntax},
		{"PROXY UNKNOWN " + strings.Repeat("x", 107-15) + "\r\n", ErrLength},
		{v2(0x22, v4Stream, block4), ErrSyntax},
		{v2(0x11, v4Stream, block4), ErrSyntax},
		{v2(commandProxy, v4Stream, block4[:11]), ErrLength},
		{v2(commandProxy, v6Stream, block4, block4), ErrLength},
		{v2(commandProxy, unixStream, block4), ErrLength},
		{v2(commandProxy, v4Stream, block4, strings.Repeat("x", v2BlockMax-11)), ErrLength},
		{v2(commandLocal, 0, strings.Repeat("x", v2BlockMax+1)), ErrLength},
		{v2(commandProxy, v4Stream, block4, "\x04"), ErrTLV},
		{v2(commandProxy, v4Stream, block4, "\x04\x00"), ErrTLV},
		{v2(commandProxy, v4Stream, block4, "\x04\x00\x03ab"), ErrTLV},
		{v2(commandProxy, v4Stream, block4, "\x03\x00\x03abc"), ErrChecksum},
		{summed(1, block4), ErrChecksum},
	} {
		first := error(nil)
		for cut := range len(tt.header) + 1 {
			h, n, err := Parse([]byte(tt.header[:cut]))
			if h != (Header{}) || n != 0 || first != nil && err != first {
				t.Errorf("%q, %d bytes: %+v, %d, %v", tt.header, cut, h, n, err)
			}
			first = err
		}
		if first != tt.err {
			t.Errorf("%q: %v, want %v", tt.header, first, tt.err)
		}
	}
}

// What is written is read again as it was.
func TestAppend(t *testing.T) {
	for _, tt := range []struct{ source, destination, v1 string }{
		{"192.0.2.1:1000", "192.0.2.2:443", "PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n"},
		{"[::ffff:192.0.2.1]:0", "192.0.2.2:65535", "PROXY TCP4 192.0.2.1 192.0.2.2 0 65535\r\n"},
		{"192.0.2.1:1", "[2001:db8::2]:2", "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1 2\r\n"},
		{"[fe80::1%eth0]:1", "[fe80::2%eth0]:2", "PROXY TCP6 fe80::1 fe80::2 1 2\r\n"},
		{"", "192.0.2.2:443", "PROXY UNKNOWN\r\n"},
		{"192.0.2.1:1", "", "PROXY UNKNOWN\r\n"},
	} {
		source, destination := at(tt.source), at(tt.destination)
		one := AppendV1([]byte("x"), source, destination)
		if string(one) != "x"+tt.v1 {
			t.Errorf("%q, want %q", one, tt.v1)
		}
		tlvs := []TLV{{0x01, []byte("h2")}, {TypeAuthority, []byte("a.test")}, {0x05, nil}}
		two := AppendV2([]byte("x"), source, destination, tlvs...)
		h1, n1, err1 := Parse(one[1:])
		h2, n2, err2 := Parse(two[1:])
		if err1 != nil || err2 != nil || n1 != len(one)-1 || n2 != len(two)-1 {
			t.Fatalf("%d of %q, %v; %d of %q, %v", n1, one, err1, n2, two, err2)
		}
		told := tt.source != "" && tt.destination != ""
		if h1.Source != h2.Source || h1.Destination != h2.Destination || h1.Told() != told {
			t.Errorf("%+v and %+v", h1, h2)
		}
	}
}

// A header costs no memory but for the texts of version 1.
func TestAllocs(t *testing.T) {
	two, dst := []byte(summed(0, block4)), make([]byte, 0, Max)
	source, destination := at("192.0.2.1:1000"), at("192.0.2.2:443")
	for name, f := range map[string]func(){
		"Parse":    func() { Parse(two) },
		"AppendV1": func() { AppendV1(dst, source, destination) },
		"AppendV2": func() { AppendV2(dst, source, destination, TLV{0x01, two}) },
	} {
		if n := testutil.Allocs(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

// No input makes Parse panic, a verdict holds whatever follows, and a header that tells addresses is written again as
// a header that tells the same.
func FuzzParse(f *testing.F) {
	for _, tt := range right {
		f.Add([]byte(tt.header), []byte("GET"))
	}
	f.Fuzz(func(t *testing.T, b, rest []byte) {
		h, n, err := Parse(b)
		if n < 0 || n > min(len(b), Max) || err != nil && (n != 0 || h != Header{}) {
			t.Fatalf("%+v, %d of %d, %v", h, n, len(b), err)
		}
		if n == 0 && err == nil && len(b) >= Max {
			t.Fatalf("%d bytes are not enough", len(b))
		}
		if n > 0 || err != nil {
			h2, n2, err2 := Parse(append(bytes.Clone(b), rest...))
			if h2 != h || n2 != n || err2 != err {
				t.Fatalf("%+v, %d, %v; with more bytes %+v, %d, %v", h, n, err, h2, n2, err2)
			}
		}
		if h.Told() {
			again, _, err := Parse(AppendV2(nil, h.Source, h.Destination))
			if again.Source != h.Source || again.Destination != h.Destination || err != nil {
				t.Fatalf("%+v, again %+v, %v", h, again, err)
			}
		}
	})
}
