package interop

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	pires "github.com/pires/go-proxyproto"

	"github.com/edge-proxy/edge/internal/l4/proxyproto"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// The codec of the PROXY protocol beside github.com/pires/go-proxyproto.
//
//	table, seeded headers, fuzzing ─► bytes ─┬─► proxyproto.Parse, whole and cut at each byte ─┐
//	                                         └─► pires.Read ─► reference.expected ─────────────┴─► equal

// verdict is what a parser says about the bytes that a connection begins with. The zero value: no header, or not all of
// one.
type verdict struct {
	version             int
	source, destination netip.AddrPort
	bytes               int // of the header
}

func parsed(b []byte) (v verdict, err error) {
	h, n, err := proxyproto.Parse(b)
	return verdict{h.Version, h.Source, h.Destination, n}, err
}

// reference reads headers by go-proxyproto. Owned by one goroutine.
type reference struct {
	from bytes.Reader
	in   *bufio.Reader
	seen map[string]int // how often each difference was seen, "accepted" and "refused"
}

func newReference() *reference {
	return &reference{in: bufio.NewReaderSize(nil, 2*proxyproto.Max), seen: make(map[string]int)}
}

// read returns what go-proxyproto says about b, which it has in one read: it refuses a header of version 1 that is not.
func (r *reference) read(b []byte) (v verdict, h *pires.Header) {
	r.from.Reset(b)
	r.in.Reset(&r.from)
	h, err := pires.Read(r.in)
	if err != nil {
		return v, nil
	}
	v.version, v.bytes = int(h.Version), len(b)-r.in.Buffered()-r.from.Len()
	v.source, v.destination = toldBy(h.SourceAddr), toldBy(h.DestinationAddr)
	return v, h
}

// toldBy is a as the codec of edge has it. The path of a Unix socket is no address.
func toldBy(a net.Addr) netip.AddrPort {
	if a, ok := a.(interface{ AddrPort() netip.AddrPort }); ok {
		return netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), a.AddrPort().Port())
	}
	return netip.AddrPort{}
}

// Of version 2. blocks is how many bytes of addresses each family has that exists.
const binaryHead = 16

var blocks = map[byte]int{
	byte(pires.TCPv4): 12, byte(pires.UDPv4): 12, byte(pires.TCPv6): 36, byte(pires.UDPv6): 36,
	byte(pires.UnixStream): 216, byte(pires.UnixDatagram): 216,
}

// The differences that are meant.
const (
	diffLocal  = "LOCAL"
	diffFamily = "no such family"
	diffUnix   = "Unix sockets"
	diffTLV    = "a TLV is cut"
	diffSum    = "CRC32c"
)

// expected returns what edge is to say about b: the same as go-proxyproto, but for the differences that are meant. It
// names the difference that b is about.
func (r *reference) expected(b []byte) (v verdict, difference string) {
	v, h := r.read(b)
	if !bytes.HasPrefix(b, pires.SIGV2) || len(b) < binaryHead {
		return v, "" // version 1 has no difference
	}
	command, family, end := b[12], b[13], binaryHead+int(binary.BigEndian.Uint16(b[14:]))
	skipped := verdict{version: 2, bytes: end}
	switch block, exists := blocks[family]; {
	case command != byte(pires.LOCAL) && command != byte(pires.PROXY) || end > proxyproto.Max || len(b) < end:
		return v, "" // nobody takes it
	case command == byte(pires.LOCAL):
		// The receiver skips the block, of which nothing is assumed (section 2.2). go-proxyproto reads the addresses in
		// a block that is long enough, though no caller sees them, and refuses families that do not exist.
		return skipped, diffLocal
	case !exists:
		// A receiver may take AF_UNSPEC with the addresses of the socket (section 2.2), as edge does: a family that it
		// does not know is no reason to lose a connection. go-proxyproto refuses all of them.
		return skipped, diffFamily
	case h == nil:
		return v, "" // the block is too short for the addresses
	default:
		if _, err := h.TLVs(); err != nil {
			// go-proxyproto reads TLVs when a caller asks for them. To edge a header that does not add up is malformed.
			return verdict{}, diffTLV
		}
		if !sumsRight(b[:end], binaryHead+block) {
			// go-proxyproto leaves the sum to its caller. Section 2.2.3: a receiver that supports it drops the
			// connection.
			return verdict{}, diffSum
		}
		if block == blocks[byte(pires.UnixStream)] {
			return v, diffUnix // go-proxyproto tells the paths, edge has no use for them
		}
		return v, ""
	}
}

// sumsRight reports whether each CRC32c among whole TLVs, which begin at at, is the sum of the header with zeros in its
// place.
func sumsRight(header []byte, at int) bool {
	for at < len(header) {
		value, size := at+3, int(binary.BigEndian.Uint16(header[at+1:]))
		if pires.PP2Type(header[at]) == pires.PP2_TYPE_CRC32C {
			if size != crc32.Size {
				return false
			}
			zeroed := bytes.Clone(header)
			clear(zeroed[value : value+size])
			if crc32.Checksum(zeroed, castagnoli) != binary.BigEndian.Uint32(header[value:]) {
				return false
			}
		}
		at = value + size
	}
	return true
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// judge compares the codec with what is expected of it about b, and about each part of b from its beginning: more is
// needed until the header is whole, and an error stays the same.
func (r *reference) judge(b []byte) error {
	want, difference := r.expected(b)
	got, refused := parsed(b)
	if got != want {
		return fmt.Errorf("%q: %+v, %v; expected %+v (%s)", b, got, refused, want, difference)
	}
	r.seen[difference]++
	whole := len(b)
	if got.version > 0 {
		r.seen["accepted"]++
		whole = got.bytes
		if again, err := parsed(b[:whole]); again != got || err != nil {
			return fmt.Errorf("%q: without what follows %+v, %v", b, again, err)
		}
	} else {
		r.seen["refused"]++
	}
	for cut := range whole {
		part, err := parsed(b[:cut])
		if part != (verdict{}) || err != nil && (got.version > 0 || !errors.Is(refused, err)) {
			return fmt.Errorf("%q: of %d bytes %+v, %v; of all of them %+v, %v", b, cut, part, err, got, refused)
		}
	}
	return nil
}

// binaryHeader makes a header of version 2, right or not.
func binaryHeader(command, family byte, block ...string) string {
	b := strings.Join(block, "")
	return string(pires.SIGV2) + string([]byte{command, family, byte(len(b) >> 8), byte(len(b))}) + b
}

// textHeaders are headers of version 1, what is close to them, and what is no header.
var textHeaders = []string{
	"", "P", "PROXY", "\r", "\r\n\r\n\x00\r\nQUIT", "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02\x00\x01",
	"PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\n",
	"PROXY TCP6 2001:db8::1 2001:DB8::2 0 65535\r\n", "PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\nGET",
	"PROXY TCP6 192.0.2.1 ::1 1 2\r\n", "PROXY TCP4 ::ffff:192.0.2.1 192.0.2.2 1 2\r\n",
	"PROXY TCP6 2001:db8::1 192.0.2.2 1 2\r\n", // of nginx 1.22 that was told its client's address (realip)
	"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", "PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
	"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
	"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
	"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n",
	"PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "PROXY UNKNOWN\r\n", "PROXY UNKNOWN\n", "PROXY UNKNOWN \x00 a b\r\n",
	"PROXY UNKNOWNS\r\n", "PROXY unknown\r\n", "PROXY\r\n", "PROXY \r\n", "PROXYS TCP4\r\n", "PROXY UDP4 a b 1 2\r\n",
	"PROXY UNKNOWN " + strings.Repeat("x", 107-16) + "\r\n", "PROXY UNKNOWN " + strings.Repeat("x", 107-15) + "\r\n",
	"PROXY UNKNOWN " + strings.Repeat("x", 107-14),
}

// binaryHeaders are headers of version 2, right or not: each command, family, block and ending with each other one.
func binaryHeaders() (all []string) {
	const ports = "\x03\xe8\x01\xbb"
	v4 := "\xc0\x00\x02\x01\xc0\x00\x02\x02" + ports
	v6 := strings.Repeat("\x20\x01\x0d\xb8", 8) + ports
	mapped := strings.Repeat("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x01", 2) + ports
	unix := "/run/a" + strings.Repeat("\x00", 216-6)
	for _, command := range []byte{0x20, 0x21, 0x22, 0x11, 0x01} {
		for _, family := range []byte{0x00, 0x01, 0x10, 0x11, 0x12, 0x13, 0x21, 0x22, 0x31, 0x32, 0x41, 0xff} {
			for _, block := range []string{"", v4, v4[1:], v6, v6[1:], mapped, unix, unix[1:]} {
				for _, tlvs := range []string{
					"", "\x04", "\x04\x00", "\x04\x00\x00", "\x05\x00\x03abc", "\x05\x00\x04abc",
					"\x03\x00\x04\x00\x00\x00\x00", "\x03\x00\x03\x00\x00\x00",
					"\x20\x00\x05\x01\x00\x00\x00\x00\xe0\x00\x01x",
				} {
					all = append(all, binaryHeader(command, family, block, tlvs), string(withSum(
						[]byte(binaryHeader(command, family, block, tlvs, "\x03\x00\x04\x00\x00\x00\x00")))))
				}
			}
		}
	}
	for _, size := range []int{4096, 4097, 65535} {
		for _, command := range []byte{0x20, 0x21} {
			rest := size - len(v4) - 3
			all = append(all, binaryHeader(command, 0x11, v4, "\x04", string([]byte{byte(rest >> 8), byte(rest)}),
				strings.Repeat("x", rest)), binaryHeader(command, 0x00, strings.Repeat("x", size)))
		}
	}
	return all
}

// withSum writes the checksum of a header over its last 4 bytes, which are zeros.
func withSum(header []byte) []byte {
	binary.BigEndian.PutUint32(header[len(header)-4:], crc32.Checksum(header, castagnoli))
	return header
}

// Both codecs agree about each form of a header.
func TestProxyProtocol_table(t *testing.T) {
	r := newReference()
	for _, header := range append(binaryHeaders(), textHeaders...) {
		for _, rest := range []string{"", "GET / HTTP/1.1\r\n\r\n", header} {
			if err := r.judge([]byte(header + rest)); err != nil {
				t.Error(err)
			}
		}
	}
	t.Log(r.seen)
}

// seedsOf is how many headers have one seed.
const seedsOf = 1000

// Both codecs agree about headers that are drawn, mutated and cut: 20 000 of them, 10 million with EDGE_SOAK=1.
func TestProxyProtocol_seeds(t *testing.T) {
	seeds := uint64(20)
	if soak() {
		seeds = 10_000
	}
	workers := uint64(runtime.GOMAXPROCS(0))
	var (
		wait sync.WaitGroup
		mu   sync.Mutex
		seen = make(map[string]int) // guarded by mu
	)
	for first := range workers {
		wait.Go(func() {
			r := newReference()
			for seed := first; seed < seeds && !t.Failed(); seed += workers {
				d := drawing{rand.New(rand.NewPCG(seed, 0))}
				for i := range seedsOf {
					if err := r.judge(d.input()); err != nil {
						t.Errorf("seed %d, input %d: %v", seed, i, err)
					}
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for what, n := range r.seen {
				seen[what] += n
			}
		})
	}
	wait.Wait()
	t.Log(seen)
	least := int(seeds) * seedsOf / 200
	for _, what := range []string{"accepted", "refused", diffLocal, diffFamily, diffUnix, diffTLV, diffSum} {
		if seen[what] < least && !t.Failed() {
			t.Errorf("%q was seen %d times: less than %d", what, seen[what], least)
		}
	}
}

// drawing draws headers from its seed.
type drawing struct{ *rand.Rand }

// of returns one of the choices.
func of[T any](d drawing, choices ...T) T { return choices[d.IntN(len(choices))] }

// rarely is true once in n times.
func (d drawing) rarely(n int) bool { return d.IntN(n) == 0 }

func (d drawing) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(d.Uint32())
	}
	return b
}

// input is a header, right or not, with what may follow it.
func (d drawing) input() []byte {
	b := of(d, d.text, d.binary, d.binary, d.written)()
	if d.rarely(2) {
		b = append(b, of(d, "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01", "\r\n", "PROXY TCP4 ", string(pires.SIGV2))...)
	}
	if d.rarely(4) {
		for range 1 + d.IntN(3) {
			b = d.mutated(b)
		}
	}
	if d.rarely(8) {
		b = b[:d.IntN(len(b)+1)]
	}
	return b
}

func (d drawing) mutated(b []byte) []byte {
	if len(b) == 0 {
		return d.bytes(1)
	}
	at := d.IntN(len(b))
	if d.rarely(2) {
		at = d.IntN(min(len(b), 20))
	}
	end := min(len(b), at+1+d.IntN(4))
	switch d.IntN(5) {
	case 0:
		b[at] ^= 1 << d.IntN(8)
	case 1:
		b[at] = of(d, 0, 0xff, '\r', '\n', ' ', '0', ':', '.', byte(d.Uint32()))
	case 2:
		b = slices.Delete(b, at, end)
	case 3:
		b = slices.Insert(b, at, bytes.Clone(b[at:end])...)
	case 4:
		b = slices.Insert(b, at, d.bytes(1)...)
	}
	return b
}

// text draws a header of version 1.
func (d drawing) text() []byte {
	separator := func() string {
		if d.rarely(60) {
			return of(d, "  ", "\t", "")
		}
		return " "
	}
	family := of(d, "TCP4", "TCP6", "TCP4", "TCP6", "UNKNOWN")
	b := "PROXY" + separator() + family
	if family == "UNKNOWN" && d.rarely(2) {
		b += " " + string(d.bytes(d.IntN(107)))
	} else if family != "UNKNOWN" || d.rarely(2) {
		for range 2 {
			b += separator() + d.addressText(family)
		}
		for range 2 {
			b += separator() + d.portText()
		}
	}
	if d.rarely(20) {
		return []byte(b + of(d, "\n", "\r", "", " \r\n", "\r\r\n", " 1\r\n"))
	}
	return []byte(b + "\r\n")
}

func (d drawing) addressText(family string) string {
	a := netip.AddrFrom4([4]byte(d.bytes(4)))
	if family == "TCP6" && !d.rarely(8) || d.rarely(30) {
		a = netip.AddrFrom16([16]byte(d.bytes(16)))
	} else if family == "TCP6" {
		a = netip.AddrFrom16(a.As16())
	}
	switch d.IntN(24) {
	case 0:
		return strings.ToUpper(a.String())
	case 1:
		return a.StringExpanded()
	case 2:
		return of(d, "::", "::1", "1::", "0.0.0.0", "fe80::1%eth0", "1.2.3", "1.2.3.4.5", "01.2.3.4", "256.1.1.1", "",
			"1:2:3:4:5:6:7", "::1.2.3.4", "1:2:3:4:5:6:1.2.3.4", "::ffff:1.2.3.4", "[::1]", "localhost", "::12345")
	}
	return a.String()
}

func (d drawing) portText() string {
	if d.rarely(12) {
		return of(d, "", "0", "00", "01", "65535", "65536", "99999", "100000", "+1", "-1", "1.", "0x1", "1_0", "a", "１")
	}
	return fmt.Sprint(d.IntN(65536))
}

// binary draws a header of version 2 byte by byte.
func (d drawing) binary() []byte {
	command := of(d, byte(0x21), 0x21, 0x21, 0x20)
	family := of(d, byte(0x11), 0x11, 0x12, 0x21, 0x22, 0x31, 0x32, 0x00, 0x41)
	if d.rarely(20) {
		command = byte(d.Uint32())
	}
	if d.rarely(20) {
		family = byte(d.Uint32())
	}
	block := d.bytes(blocks[family])
	if family>>4 == 2 && d.rarely(4) {
		copy(block, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff")
	}
	for range d.IntN(4) {
		block = append(block, d.tlv()...)
	}
	size := len(block)
	if d.rarely(8) {
		block = append(block, 3, 0, 4, 0, 0, 0, 0)
		size += 7
		if d.rarely(2) {
			b := []byte(binaryHeader(command, family, string(block)))
			return append(withSum(b), d.bytes(d.IntN(3))...)
		}
	}
	if d.rarely(8) {
		size += d.IntN(9) - 4
	}
	if d.rarely(200) {
		size = of(d, 4096, 4096, 4097, 65535)
		block = append(block, d.bytes(max(0, size-len(block)))...)
	}
	b := []byte(binaryHeader(command, family, string(block)))
	binary.BigEndian.PutUint16(b[14:], uint16(max(0, size)))
	return b
}

// tlv draws a TLV, the length of which may be wrong.
func (d drawing) tlv() []byte {
	value := d.bytes(d.IntN(12))
	if d.rarely(50) {
		value = d.bytes(d.IntN(1500))
	}
	size := len(value)
	if d.rarely(20) {
		size += d.IntN(5) - 2
	}
	kind := of(d, 1, 2, 4, 4, 5, 0x20, 0x21, 0x30, 0xe0, byte(d.Uint32()))
	return append([]byte{kind, byte(size >> 8), byte(size)}, value...)
}

// written draws a header that go-proxyproto has written.
func (d drawing) written() []byte {
	h := pires.HeaderProxyFromAddrs(of[byte](d, 1, 2), d.socket(), d.socket())
	if h.Version == 2 && d.rarely(2) {
		var tlvs []pires.TLV
		for range d.IntN(4) {
			kind := of[pires.PP2Type](d, 1, 2, 4, 5, 0x20, 0xe1)
			tlvs = append(tlvs, pires.TLV{Type: kind, Value: d.bytes(d.IntN(40))})
		}
		if err := h.SetTLVs(tlvs); err != nil {
			panic(err)
		}
	}
	b, err := h.Format()
	if err != nil {
		panic(err)
	}
	return b
}

func (d drawing) socket() net.Addr {
	ip := net.IP(d.bytes(of(d, 4, 16)))
	if d.rarely(8) {
		ip = ip.To16()
	}
	switch d.IntN(12) {
	case 0:
		return &net.UDPAddr{IP: ip, Port: d.IntN(65536)}
	case 1:
		return &net.UnixAddr{Net: "unix", Name: strings.Repeat("x", d.IntN(120))}
	}
	return &net.TCPAddr{IP: ip, Port: d.IntN(65536)}
}

// Both codecs write the same bytes about the same addresses.
func TestProxyProtocol_writes(t *testing.T) {
	d := drawing{rand.New(rand.NewPCG(1, 0))}
	for range 10_000 {
		from, to, tlvs := d.socket(), d.socket(), []proxyproto.TLV(nil)
		if _, ok := from.(*net.UDPAddr); ok {
			continue // edge has connections of TCP alone
		}
		var theirs []pires.TLV
		for range d.IntN(3) {
			kind, value := of[byte](d, 1, 2, 5, 0xe0), d.bytes(d.IntN(40))
			tlvs = append(tlvs, proxyproto.TLV{Type: kind, Value: value})
			theirs = append(theirs, pires.TLV{Type: pires.PP2Type(kind), Value: value})
		}
		for version := range byte(2) {
			h := pires.HeaderProxyFromAddrs(version+1, from, to)
			if h.TransportProtocol.IsUnix() {
				continue
			}
			got := proxyproto.AppendV1(nil, addrPort(from), addrPort(to))
			if version == 1 {
				got = proxyproto.AppendV2(nil, addrPort(from), addrPort(to), tlvs...)
				testutil.Must(t, h.SetTLVs(theirs))
			}
			if want, err := h.Format(); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%v to %v: %q, want %q, %v", from, to, got, want, err)
			}
		}
	}
}

// addrPort is a where it is of TCP, and no address else.
func addrPort(a net.Addr) netip.AddrPort {
	if a, ok := a.(*net.TCPAddr); ok {
		return a.AddrPort()
	}
	return netip.AddrPort{}
}

// No bytes make the codecs disagree, but for the differences that are meant.
func FuzzProxyProtocol(f *testing.F) {
	for _, header := range textHeaders {
		f.Add([]byte(header))
	}
	for i, header := range binaryHeaders() {
		if i%61 == 0 { // go test runs all of them before it draws one
			f.Add([]byte(header))
		}
	}
	r := newReference()
	f.Fuzz(func(t *testing.T, b []byte) {
		testutil.Must(t, r.judge(b))
	})
}
