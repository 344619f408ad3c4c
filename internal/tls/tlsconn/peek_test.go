package tlsconn_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
)

// reply is what crypto/tls does with the first bytes of a connection.
type reply struct {
	asked, waits bool // it calls GetConfigForClient, or reads on; otherwise it refuses them
	name         string
	protocols    []string
}

// oracleConn is the connection of one question to crypto/tls.
type oracleConn struct {
	net.Conn
	in *bytes.Reader
	reply
}

func (c *oracleConn) Write(b []byte) (int, error) { return len(b), nil }
func (c *oracleConn) Close() error                { return nil }

func (c *oracleConn) Read(b []byte) (int, error) {
	n, err := c.in.Read(b)
	c.waits = c.waits || err == io.EOF
	return n, err
}

var oracleConfig = &tls.Config{GetConfigForClient: func(i *tls.ClientHelloInfo) (*tls.Config, error) {
	c := i.Conn.(*oracleConn)
	c.asked, c.name, c.protocols = true, i.ServerName, i.SupportedProtos
	return nil, errors.New("that is all we want to know")
}}

// oracle asks crypto/tls.
func oracle(b []byte) reply {
	c := &oracleConn{in: bytes.NewReader(b)}
	tls.Server(c, oracleConfig).Handshake() //nolint:errcheck // it fails either way
	return c.reply
}

// protocols returns what h offers.
func protocols(h *tlsconn.Hello) (names []string) {
	for p := range h.Protocols {
		names = append(names, string(p))
	}
	return names
}

// difference returns the verdict on bytes for which the documentation of Peek names a difference to crypto/tls, which
// takes them. ok is false for other bytes.
func difference(b []byte) (v tlsconn.Verdict, ok bool) {
	if b[0] == 21 {
		return tlsconn.HelloBroken, true
	}
	if b[1] != 3 {
		return tlsconn.NotTLS, true
	}
	wire, size, have := 0, 4, []byte(nil)
	for len(have) < size {
		n := int(b[wire+3])<<8 | int(b[wire+4])
		if b[wire] == 21 {
			return tlsconn.HelloBroken, true
		}
		have = append(have, b[wire+5:wire+5+n]...)
		wire += 5 + n
		if len(have) >= 4 {
			size = 4 + int(have[1])<<16 + int(have[2])<<8 + int(have[3])
		}
	}
	return tlsconn.HelloBroken, size > 16<<10 || wire > 18<<10
}

// compare fails t where Peek and crypto/tls differ and the documentation does not say so. It returns the verdict.
func compare(t testing.TB, b []byte, h *tlsconn.Hello) tlsconn.Verdict {
	t.Helper()
	got, want := tlsconn.Peek(b, h), oracle(b)
	refused := got == tlsconn.HelloBroken || got == tlsconn.NotTLS
	switch {
	case want.asked && got == tlsconn.HelloWhole:
		if string(h.ServerName) != want.name || !slices.Equal(protocols(h), want.protocols) {
			t.Fatalf("%q %q, crypto/tls has %q %q: %x", h.ServerName, protocols(h), want.name, want.protocols, b)
		}
	case want.asked:
		if v, ok := difference(b); !ok || v != got {
			t.Fatalf("verdict %d, crypto/tls takes it: %x", got, b)
		}
	case got == tlsconn.HelloWhole, got == tlsconn.HelloPartial && !want.waits:
		t.Fatalf("verdict %d, crypto/tls refuses it: %x", got, b)
	case refused && want.waits: // Peek knows more early: crypto/tls must come to the same end
		longer := append(slices.Clip(b), make([]byte, 70<<10)...)
		if oracle(longer).asked {
			if _, ok := difference(longer); !ok {
				t.Fatalf("verdict %d too early: %x", got, b)
			}
		}
	}
	if got != tlsconn.HelloWhole && (h.ServerName != nil || protocols(h) != nil) {
		t.Fatalf("verdict %d says %q %q: %x", got, h.ServerName, protocols(h), b)
	}
	return got
}

// contrast compares b, the beginning of b up to cut, and what b says when its records are cut there.
func contrast(t testing.TB, b []byte, cut int, h *tlsconn.Hello) tlsconn.Verdict {
	t.Helper()
	v := compare(t, b, h)
	name, offered := string(h.ServerName), protocols(h)
	if cut = min(cut, len(b)); cut < len(b) {
		if early := tlsconn.Peek(b[:cut], h); early != tlsconn.HelloPartial && early != v {
			t.Fatalf("verdict %d after %d bytes, %d at the end: %x", early, cut, v, b)
		}
	}
	if len(b) < 5 || cut <= 5 {
		return v
	}
	first := 5 + int(b[3])<<8 + int(b[4])
	if cut >= first || first > min(len(b), 16<<10) || len(b) > 17<<10 { // no two records, or a limit comes between
		return v
	}
	split := slices.Concat(b[:3], vec(2, b[5:cut]), b[:3], vec(2, b[cut:first]), b[first:])
	if w := tlsconn.Peek(split, h); w != v || string(h.ServerName) != name || !slices.Equal(protocols(h), offered) {
		t.Fatalf("%d %q %q, cut at %d it is %d %q %q: %x", v, name, offered, cut, w, h.ServerName, protocols(h), b)
	}
	return v
}

func TestPeek_readsWhatCryptoTLSReads(t *testing.T) {
	var h tlsconn.Hello
	for _, s := range slices.Concat(samples(t), goHellos(t)) {
		if v := compare(t, s.wire, &h); v != tlsconn.HelloWhole {
			t.Errorf("%s: verdict %d of %d bytes", s.name, v, len(s.wire))
		}
	}
	if h.Scratch != nil {
		t.Error("a ClientHello in one record was copied")
	}
}

func TestPeek_namesOuterOfECH(t *testing.T) {
	for _, s := range goHellos(t) {
		var h tlsconn.Hello
		if tlsconn.Peek(s.wire, &h); s.name == "go-ech" && string(h.ServerName) != "outer.example" {
			t.Fatalf("%q", h.ServerName)
		}
	}
}

// The clients of this machine. With -update their ClientHellos, and crypto/tls's, are what other tests read.
func TestPeek_readsProgramsOfThisMachine(t *testing.T) {
	var h tlsconn.Hello
	hellos := programHellos(t)
	for _, s := range hellos {
		if v := compare(t, s.wire, &h); v != tlsconn.HelloWhole {
			t.Errorf("%s: verdict %d", s.name, v)
		}
		if named := len(h.ServerName) > 0; named == strings.HasSuffix(s.name, "no-name") {
			t.Errorf("%s: %q", s.name, h.ServerName)
		}
	}
	if !*updateHellos {
		return
	}
	for _, s := range append(hellos, goHellos(t)...) {
		testutil.Must(t, os.WriteFile("testdata/hellos/"+s.name+".bin", s.wire, 0o644))
	}
}

func TestPeek_waitsAtEveryByte(t *testing.T) {
	var h tlsconn.Hello
	for _, s := range samples(t) {
		for n := range len(s.wire) {
			if v := tlsconn.Peek(s.wire[:n], &h); v != tlsconn.HelloPartial {
				t.Fatalf("%s: verdict %d after %d bytes of %d", s.name, v, n, len(s.wire))
			}
		}
		if v := tlsconn.Peek(s.wire, &h); v != tlsconn.HelloWhole {
			t.Fatalf("%s: verdict %d", s.name, v)
		}
		if v := tlsconn.Peek(append(slices.Clip(s.wire), noise(20<<10)...), &h); v != tlsconn.HelloWhole {
			t.Fatalf("%s: verdict %d with bytes after it", s.name, v)
		}
	}
}

func TestPeek_putsRecordsTogether(t *testing.T) {
	testutil.OnlyPlain(t)
	var h tlsconn.Hello
	for _, s := range samples(t) {
		tlsconn.Peek(s.wire, &h)
		name, offered := string(h.ServerName), protocols(&h)
		same := func(wire []byte, n int) {
			t.Helper()
			v := tlsconn.Peek(wire, &h)
			if n%16 == 0 { // which takes most of the time
				compare(t, wire, &h)
			}
			if v != tlsconn.HelloWhole || string(h.ServerName) != name || !slices.Equal(protocols(&h), offered) {
				t.Fatalf("%s, %d: verdict %d, %q %q", s.name, n, v, h.ServerName, protocols(&h))
			}
		}
		message := s.wire[5:]
		for n := 1; n < len(message); n++ {
			same(reframe(message, n), n)
		}
		wire := crumbs(message)
		if len(wire) > 18<<10 { // as TestPeek_limits has it
			continue
		}
		same(wire, 0)
		for n := range len(wire) {
			if v := tlsconn.Peek(wire[:n], &h); v != tlsconn.HelloPartial {
				t.Fatalf("%s in records of a byte: verdict %d after %d bytes", s.name, v, n)
			}
		}
	}
}

// Bytes that are no ClientHello, or a wrong one. crypto/tls agrees with each verdict.
func TestPeek_refuses(t *testing.T) {
	hello := message(serverName("a.example"))
	start, rest := record(hello[:9]), vec(2, hello[9:])
	fields := func(list ...[]byte) []byte { return record(rawMessage(noise(32), list...)) }
	suites, compression, none := vec(2, u16(0x1301)), []byte{1, 0}, vec(2)
	for _, c := range []struct {
		name string
		wire []byte
		want tlsconn.Verdict
	}{
		{"silence", nil, tlsconn.HelloPartial},
		{"a byte", []byte{22}, tlsconn.HelloPartial},
		{"SSH", []byte("SSH-2.0-OpenSSH_9.6\r\n"), tlsconn.NotTLS},
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), tlsconn.NotTLS},
		{"SSL 2.0", slices.Concat([]byte{0x80, 46, 1, 3, 1}, noise(43)), tlsconn.NotTLS},
		{"not handshake", slices.Concat([]byte{23}, record(hello)[1:]), tlsconn.NotTLS},
		{"ChangeCipherSpec first", slices.Concat([]byte{20, 3, 3, 0, 1, 1}, record(hello)), tlsconn.NotTLS},
		{"major version 16", slices.Concat([]byte{22, 16}, record(hello)[2:]), tlsconn.NotTLS},
		{"major version 16 later", slices.Concat(start, []byte{22, 16, 1}, rest), tlsconn.HelloBroken},
		{"major version 15 later", slices.Concat(start, []byte{22, 15, 1}, rest), tlsconn.HelloWhole},
		{"ChangeCipherSpec within", slices.Concat(start, []byte{20, 3, 3, 0, 1, 1}), tlsconn.HelloBroken},
		{"empty record", slices.Concat(record(nil), record(hello)), tlsconn.HelloBroken},
		{"empty record within", slices.Concat(start, record(nil), record(hello[9:])), tlsconn.HelloBroken},
		{"record above 16 KiB", record(append(hello, make([]byte, 16<<10+1-len(hello))...)), tlsconn.HelloBroken},
		{"record above 18 KiB", record(append(hello, make([]byte, 18<<10)...)), tlsconn.HelloBroken},
		{"record of 16 KiB", record(append(hello, make([]byte, 16<<10-len(hello))...)), tlsconn.HelloWhole},
		{"ServerHello", record(slices.Concat([]byte{2}, hello[1:])), tlsconn.HelloBroken},
		{"no extensions", fields(suites, compression), tlsconn.HelloWhole},
		{"empty extensions", fields(suites, compression, none), tlsconn.HelloWhole},
		{"no suites, no compression", fields(none, []byte{0}), tlsconn.HelloWhole},
		{"half a suite", fields(vec(2, []byte{1, 2, 3}), compression), tlsconn.HelloBroken},
		{"no compression methods", fields(suites), tlsconn.HelloBroken},
		{"session id of 255 bytes", record(rawMessage(noise(255), suites, compression)), tlsconn.HelloWhole},
		{"bytes after the extensions", fields(suites, compression, none, []byte{0}), tlsconn.HelloBroken},
		{"a byte for the extensions", fields(suites, compression, []byte{0}), tlsconn.HelloBroken},
		{"an extension cut short", fields(suites, compression, vec(2, u16(0, 4), []byte{0})), tlsconn.HelloBroken},
		{"a type cut short", fields(suites, compression, vec(2, []byte{0})), tlsconn.HelloBroken},
		{"no body", record([]byte{1, 0, 0, 0}), tlsconn.HelloBroken},
		{"cut in the random", record(append([]byte{1}, vec(3, noise(20))...)), tlsconn.HelloBroken},
	} {
		var h tlsconn.Hello
		if got := compare(t, c.wire, &h); got != c.want {
			t.Errorf("%s: verdict %d, want %d", c.name, got, c.want)
		}
	}
}

func TestPeek_readsExtensions(t *testing.T) {
	names := func(list ...[]byte) []byte { return extension(0, vec(2, list...)) }
	other := append([]byte{1}, vec(2, []byte("x"))...)
	psk := extension(41, vec(2, vec(2, []byte("t")), noise(4)), vec(2, vec(1, []byte("b"))))
	all := func(parts ...[]byte) [][]byte { return parts }
	for _, c := range []struct {
		name       string
		extensions [][]byte
		good       bool
	}{
		{"a name", all(serverName("a.example")), true},
		{"bytes that are no name", all(serverName("\x00 \xff")), true},
		{"trailing dot", all(serverName("a.example.")), false},
		{"a dot", all(serverName(".")), false},
		{"empty name", all(serverName("")), false},
		{"no name in the list", all(names()), false},
		{"no list of names", all(extension(0)), false},
		{"two names", all(names(host("a"), host("b"))), false},
		{"name of another type", all(names(other)), true},
		{"names of two types", all(names(other, host("a"), other)), true},
		{"empty name of another type", all(names([]byte{1, 0, 0})), false},
		{"bytes after the names", all(extension(0, vec(2, host("a")), []byte{0})), false},
		{"twice the same", all(serverName("a"), serverName("a")), false},
		{"an unknown one twice", all(extension(0x1234), extension(0x1234)), false},
		{"GREASE of two values", all(extension(0x0a0a), extension(0x1a1a, []byte{0})), true},
		{"protocols", all(alpn("h2", "h2", "http/1.1")), true},
		{"no protocol", all(alpn()), false},
		{"empty protocol", all(alpn("h2", "")), false},
		{"bytes after the protocols", all(extension(16, vec(2, vec(1, []byte("h2"))), []byte{0})), false},
		{"PSK last", all(extension(0xff), psk), true},
		{"PSK not last", all(psk, extension(0xff)), false},
		{"PSK without binder", all(extension(41, vec(2, vec(2, []byte("t")), noise(4)), vec(2))), false},
		{"PSK without identity", all(extension(41, vec(2), vec(2, vec(1, []byte("b"))))), false},
		{"PSK of empty identity", all(extension(41, vec(2, vec(2), noise(4)), vec(2, vec(1, []byte("b"))))), false},
		{"ECH inner", all(extension(0xfe0d, []byte{1})), true},
		{"ECH inner and more", all(extension(0xfe0d, []byte{1, 0})), false},
		{"ECH of no bytes", all(extension(0xfe0d)), true},
		{"ECH of another type", all(extension(0xfe0d, []byte{2})), false},
		{"ECH cut short", all(extension(0xfe0d, []byte{0, 0, 1, 0, 1, 7}, vec(2))), false},
		{"ECH and more", all(extension(0xfe0d, []byte{0, 0, 1, 0, 1, 7}, vec(2), vec(2), []byte{9})), true},
	} {
		var h tlsconn.Hello
		if v := compare(t, record(message(c.extensions...)), &h); (v == tlsconn.HelloWhole) != c.good {
			t.Errorf("%s: verdict %d", c.name, v)
		}
	}
}

// Every type of extension that crypto/tls knows, with bodies of each length and of vectors in all sizes.
func TestPeek_readsEveryType(t *testing.T) {
	types := []uint16{0, 5, 10, 11, 13, 16, 18, 21, 23, 35, 41, 42, 43, 44, 45, 47, 50, 51, 57, 0xfd00, 0xfe0d, 0xff01}
	bodies := [][]byte{
		{0}, {1}, {2}, {0, 0, 0, 0}, {1, 0, 0, 0, 0}, {0, 0, 1, 0, 1, 7, 0, 0, 0, 0}, {5, 0, 1, 9, 9, 9, 9},
	}
	for n := range 12 {
		zeros, ones := make([]byte, n), bytes.Repeat([]byte{1}, n)
		for _, b := range [][]byte{zeros, ones} {
			bodies = append(bodies, b, vec(1, b), vec(2, b), vec(1, vec(1, b)), vec(2, vec(1, b)), vec(2, vec(2, b)),
				vec(2, []byte{0}, vec(2, b)), vec(2, []byte{0, 1}, vec(2, b)),
				slices.Concat([]byte{1}, vec(2, b), vec(2)),
				slices.Concat(vec(2, vec(2, b), noise(4)), vec(2, vec(1, b))),
				append(vec(1, b), 0), append(vec(2, b), 0))
		}
	}
	var h tlsconn.Hello
	for _, kind := range types {
		for _, body := range bodies {
			compare(t, record(message(alpn("x"), extension(kind, body))), &h)
			compare(t, record(message(extension(kind, body), extension(0x1234))), &h)
		}
	}
}

// What crypto/tls takes and Peek does not: the list in the documentation of Peek.
func TestPeek_differsFromCryptoTLS(t *testing.T) {
	hello := message(serverName("a.example"))
	large := func(n int) []byte { return message(serverName("a.example"), extension(21, make([]byte, n))) }
	alert := []byte{21, 3, 1, 0, 2, 1, 90}
	for _, c := range []struct {
		name string
		wire []byte
		want tlsconn.Verdict
	}{
		{"17 KiB", reframe(large(17<<10), 9000), tlsconn.HelloBroken},
		{"18 KiB of records", crumbs(large(3 << 10)), tlsconn.HelloBroken},
		{"alert first", append(slices.Clip(alert), record(hello)...), tlsconn.HelloBroken},
		{"alert within", slices.Concat(record(hello[:9]), alert, record(hello[9:])), tlsconn.HelloBroken},
		{"major version 2", slices.Concat([]byte{22, 2}, record(hello)[2:]), tlsconn.NotTLS},
	} {
		var h tlsconn.Hello
		if got := compare(t, c.wire, &h); got != c.want || !oracle(c.wire).asked {
			t.Errorf("%s: verdict %d, want %d; crypto/tls has %+v", c.name, got, c.want, oracle(c.wire))
		}
	}
}

// The limits themselves are inside, and a verdict does not depend on how much came at once.
func TestPeek_limits(t *testing.T) {
	testutil.OnlyPlain(t)
	const wireMax, messageMax = 18 << 10, 16 << 10
	sized := func(n int) []byte {
		rest := n - len(message(extension(21)))
		return message(extension(21, make([]byte, rest)))
	}
	wired := func(n int) []byte { // in 1 000 records, all but the last of a byte
		wire := crumbs(sized(n - 5000)[:999])
		return append(wire, record(sized(n - 5000)[999:])...)
	}
	for _, c := range []struct {
		name string
		wire []byte
		want tlsconn.Verdict
	}{
		{"16 KiB", record(sized(messageMax)), tlsconn.HelloWhole},
		{"16 KiB in two records", reframe(sized(messageMax), 1), tlsconn.HelloWhole},
		{"above 16 KiB", reframe(sized(messageMax+1), 1), tlsconn.HelloBroken},
		{"18 KiB of records", wired(wireMax), tlsconn.HelloWhole},
		{"above 18 KiB of records", wired(wireMax + 1), tlsconn.HelloBroken},
	} {
		var h tlsconn.Hello
		if got := compare(t, c.wire, &h); got != c.want {
			t.Errorf("%s: verdict %d of %d bytes, want %d", c.name, got, len(c.wire), c.want)
		}
		for n := range len(c.wire) {
			if v := tlsconn.Peek(c.wire[:n], &h); v != tlsconn.HelloPartial && v != c.want {
				t.Fatalf("%s: verdict %d after %d bytes of %d", c.name, v, n, len(c.wire))
			}
		}
		if cap(h.Scratch) > messageMax {
			t.Errorf("%s: the scratch has %d bytes", c.name, cap(h.Scratch))
		}
	}
}

// mutate changes b as a fuzzer does: bytes, lengths, pieces left out, twice, or of another.
func mutate(r *rand.Rand, b, other []byte) []byte {
	b = slices.Clone(b)
	for range 1 + r.IntN(3) {
		at, n := r.IntN(len(b)), 1+r.IntN(4)
		end := min(at+n, len(b))
		switch r.IntN(7) {
		case 0:
			b[at] = byte(r.Uint32())
		case 1:
			b[at] ^= 1 << r.IntN(8)
		case 2:
			b[at] += byte(r.IntN(9)) - 4
		case 3:
			b = slices.Delete(b, at, end)
		case 4:
			b = slices.Insert(b, at, b[at:end]...)
		case 5:
			from := r.IntN(len(other))
			b = slices.Concat(b[:at], other[from:min(from+n*8, len(other))], b[end:])
		case 6:
			b = b[:max(at, 1)]
		}
		if len(b) == 0 {
			return []byte{22}
		}
	}
	return b
}

// mend gives a record and a message the length that mutate has changed, so that what is inside comes into question.
func mend(b []byte) []byte {
	if n := len(b) - 5; n >= 4 && n < 1<<16 {
		copy(b, record(append([]byte{1}, vec(3, b[9:])...)))
	}
	return b
}

func TestPeek_mutations(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	all := samples(t)
	var h tlsconn.Hello
	var verdicts [4]int
	for range 20_000 {
		b := mutate(r, all[r.IntN(len(all))].wire, all[r.IntN(len(all))].wire)
		if r.IntN(2) == 0 {
			b = mend(b)
		}
		verdicts[contrast(t, b, r.IntN(len(b)+1), &h)]++
	}
	for v, n := range verdicts {
		if n < 50 {
			t.Errorf("verdict %d came %d times: %d", v, n, verdicts)
		}
	}
}

// FuzzPeek compares with crypto/tls, at once and cut.
func FuzzPeek(f *testing.F) {
	for _, s := range samples(f) {
		f.Add(s.wire, uint16(len(s.wire)/2))
	}
	f.Add(crumbs(message(serverName("a.example"), alpn("h2"))), uint16(100))
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		var h tlsconn.Hello
		if len(b) == 0 {
			return
		}
		contrast(t, b, int(cut), &h)
		if m := slices.Clone(b); len(m) < 1<<16 {
			contrast(t, mend(m), int(cut), &h)
		}
	})
}

func TestPeek_doesNotAllocate(t *testing.T) {
	wire := browsers()[0].wire
	split := reframe(wire[5:], 100, 1000)
	h := tlsconn.Hello{Scratch: make([]byte, 16<<10)}
	for _, b := range [][]byte{wire, split, split[:len(split)-1], []byte("SSH-2.0")} {
		if n := testutil.Allocs(100, func() {
			tlsconn.Peek(b, &h)
			for p := range h.Protocols {
				if string(p) == "h3" {
					t.Error("it offers h3")
				}
			}
		}); n != 0 {
			t.Errorf("%v allocations for %.20q", n, b)
		}
	}
}

func BenchmarkPeek(b *testing.B) {
	wire := browsers()[0].wire
	for _, c := range []sample{
		{"record", wire}, {"records", reframe(wire[5:], 100, 1000)}, {"crumbs", crumbs(wire[5:])},
	} {
		b.Run(c.name, func(b *testing.B) {
			var h tlsconn.Hello
			b.SetBytes(int64(len(c.wire)))
			b.ReportAllocs()
			for b.Loop() {
				if v := tlsconn.Peek(c.wire, &h); v != tlsconn.HelloWhole {
					b.Fatal(v)
				}
			}
		})
	}
}
