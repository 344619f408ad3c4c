package tlsconn_test

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/tls"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
)

var updateHellos = flag.Bool("update", false, "write testdata/hellos anew, with the clients of this machine")

// sample is a ClientHello as its client sends it, records included.
type sample struct {
	name string
	wire []byte
}

// samples returns the ClientHellos of testdata/hellos, and what browsers send.
func samples(t testing.TB) []sample {
	t.Helper()
	files, err := filepath.Glob("testdata/hellos/*.bin")
	if err != nil || len(files) == 0 {
		t.Fatalf("no ClientHello in testdata/hellos: %v", err)
	}
	var all []sample
	for _, file := range files {
		b, err := os.ReadFile(file)
		testutil.Must(t, err)
		all = append(all, sample{strings.TrimSuffix(filepath.Base(file), ".bin"), b})
	}
	return append(all, browsers()...)
}

// vec is a vector of TLS whose length has size bytes.
func vec(size int, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body)))[4-size:], body...)
}

func u16(numbers ...uint16) []byte {
	var b []byte
	for _, n := range numbers {
		b = binary.BigEndian.AppendUint16(b, n)
	}
	return b
}

func extension(t uint16, body ...[]byte) []byte { return append(u16(t), vec(2, body...)...) }

func host(name string) []byte { return append([]byte{0}, vec(2, []byte(name))...) }

func serverName(name string) []byte { return extension(0, vec(2, host(name))) }

func alpn(names ...string) []byte {
	var list [][]byte
	for _, n := range names {
		list = append(list, vec(1, []byte(n)))
	}
	return extension(16, vec(2, list...))
}

// message is a ClientHello with these extensions, without records.
func message(extensions ...[]byte) []byte {
	return rawMessage(noise(32), vec(2, u16(0x1301, 0xc02f)), []byte{1, 0}, vec(2, extensions...))
}

// rawMessage is a ClientHello of a session id, and of other fields with their lengths.
func rawMessage(session []byte, fields ...[]byte) []byte {
	body := slices.Concat(u16(0x0303), noise(32), vec(1, session), bytes.Join(fields, nil))
	return append([]byte{1}, vec(3, body)...)
}

// record is a record of the handshake with b, which may be too long for one.
func record(b []byte) []byte { return append([]byte{22, 3, 1}, vec(2, b)...) }

// reframe puts a message in records that end where cuts says and at its end.
func reframe(message []byte, cuts ...int) []byte {
	var wire []byte
	last := 0
	for _, cut := range append(cuts, len(message)) {
		wire = append(wire, record(message[last:cut])...)
		last = cut
	}
	return wire
}

// crumbs puts a message in records of one byte.
func crumbs(message []byte) []byte {
	var cuts []int
	for i := 1; i < len(message); i++ {
		cuts = append(cuts, i)
	}
	return reframe(message, cuts...)
}

// browsers returns ClientHellos in the shapes of Chrome, whose extensions come in any order, and of Firefox.
func browsers() []sample {
	r := rand.New(rand.NewPCG(1, 2))
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	share := func(group uint16, n int) []byte { return append(u16(group), vec(2, random(n))...) }
	ech := func(payload int) []byte {
		return extension(0xfe0d, []byte{0}, u16(1, 1), []byte{7}, vec(2, random(32)), vec(2, random(payload)))
	}
	exts := func(signatures ...uint16) [][]byte {
		return [][]byte{
			serverName("www.browser.example"), extension(23), extension(0xff01, vec(1)),
			extension(11, vec(1, []byte{0})), extension(35), alpn("h2", "http/1.1"),
			extension(5, []byte{1}, vec(2), vec(2)), extension(18),
			extension(13, vec(2, u16(signatures...))), extension(45, vec(1, []byte{1})),
		}
	}
	suites := u16(0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0x9c, 0x9d, 0x2f, 0x35)
	build := func(suites []byte, list [][]byte) []byte {
		return record(rawMessage(random(32), vec(2, suites), []byte{1, 0}, vec(2, list...)))
	}
	var all []sample
	for i := range 3 {
		list := append(exts(0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601),
			extension(43, vec(1, u16(0x5a5a, 0x0304, 0x0303))), extension(10, vec(2, u16(0x3a3a, 0x11ec, 29, 23, 24))),
			extension(51, vec(2, append(u16(0x3a3a), vec(2, []byte{0})...), share(0x11ec, 1216), share(29, 32))),
			extension(27, vec(1, u16(2))), extension(0x44cd, vec(2, vec(1, []byte("h2")))), ech(144+32*i))
		r.Shuffle(len(list), func(a, b int) { list[a], list[b] = list[b], list[a] })
		list = slices.Concat([][]byte{extension(0x0a0a)}, list, [][]byte{extension(0xfafa, []byte{0})})
		if i == 1 { // it resumes, and says so at the end
			list = append(list, extension(41, vec(2, vec(2, random(192)), random(4)), vec(2, vec(1, random(32)))))
		} else {
			list = append(list, extension(21, make([]byte, 60)))
		}
		all = append(all, sample{fmt.Sprint("chrome-", i), build(append(u16(0x2a2a), suites...), list)})
	}
	list := append(exts(0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201),
		extension(34, vec(2, u16(0x0403, 0x0503, 0x0603, 0x0203))), extension(28, u16(0x4001)), ech(239),
		extension(51, vec(2, share(0x11ec, 1216), share(29, 32), share(23, 65))),
		extension(43, vec(1, u16(0x0304, 0x0303))),
		extension(10, vec(2, u16(0x11ec, 29, 23, 24, 25, 256, 257))), extension(27, vec(1, u16(1, 2, 3))))
	return append(all, sample{"firefox", build(suites, list)})
}

// wiretap is a net.Conn from whose reader a tls.Conn reads, and which keeps what that writes.
type wiretap struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (w *wiretap) Read(b []byte) (int, error)  { return w.in.Read(b) }
func (w *wiretap) Write(b []byte) (int, error) { return w.out.Write(b) }
func (w *wiretap) Close() error                { return nil }

// helloOf returns what a client of crypto/tls says first.
func helloOf(c *tls.Config) []byte {
	w := &wiretap{in: strings.NewReader("")}
	tls.Client(w, c).Handshake() //nolint:errcheck // nobody answers it
	return w.out.Bytes()
}

// goHellos returns what crypto/tls sends with different settings.
func goHellos(t testing.TB) []sample {
	t.Helper()
	config := func(version uint16, change func(c *tls.Config)) *tls.Config {
		c := clientConfig()
		c.MinVersion, c.MaxVersion = tls.VersionTLS10, version
		change(c)
		return c
	}
	resumes := func(c *tls.Config) { c.ClientSessionCache = warmCache(t, c) }
	label := strings.Repeat("a", 63)
	long := label + "." + label + "." + label + "." + label[:61]
	many := make([]string, 200)
	for i := range many {
		many[i] = fmt.Sprintf("protocol-%d", i)
	}
	all := []struct {
		name   string
		config *tls.Config
	}{
		{"go-tls10", config(tls.VersionTLS10, func(*tls.Config) {})},
		{"go-tls12", config(tls.VersionTLS12, func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} })},
		{"go-tls13", config(tls.VersionTLS13, func(c *tls.Config) { c.NextProtos = []string{"h2", "http/1.1"} })},
		{"go-x25519", config(tls.VersionTLS13, func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519} })},
		{"go-mlkem", config(tls.VersionTLS13, func(c *tls.Config) {
			c.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768}
		})},
		{"go-many-protocols", config(tls.VersionTLS13, func(c *tls.Config) { c.NextProtos = many })},
		{"go-long-name", config(tls.VersionTLS13, func(c *tls.Config) { c.ServerName = long })},
		{"go-address", config(tls.VersionTLS13, func(c *tls.Config) { c.ServerName = "192.0.2.1" })},
		{"go-upper-case", config(tls.VersionTLS13, func(c *tls.Config) { c.ServerName = "WWW.Example.COM." })},
		{"go-tls12-resumed", config(tls.VersionTLS12, resumes)},
		{"go-tls13-resumed", config(tls.VersionTLS13, resumes)},
		{"go-ech", config(tls.VersionTLS13, func(c *tls.Config) {
			c.MinVersion, c.EncryptedClientHelloConfigList = tls.VersionTLS13, echConfigs(t, "outer.example")
			c.ServerName, c.NextProtos = "inner.example", []string{"h2"}
		})},
	}
	var hellos []sample
	for _, s := range all {
		hellos = append(hellos, sample{s.name, helloOf(s.config)})
	}
	return hellos
}

// warmCache returns a cache that has a session for clients of c.
func warmCache(t testing.TB, c *tls.Config) tls.ClientSessionCache {
	t.Helper()
	c = c.Clone()
	c.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	near.SetDeadline(time.Now().Add(patience))
	served := make(chan error, 1)
	go func() {
		config := serverConfig()
		config.MinVersion = tls.VersionTLS10
		_, err := tls.Server(far, config).Write([]byte{1})
		served <- err
	}()
	_, err := tls.Client(near, c).Read(make([]byte, 1))
	testutil.Must(t, err)
	testutil.Must(t, <-served)
	return c.ClientSessionCache
}

// echConfigs is an ECHConfigList of a server that is known as name.
func echConfigs(t testing.TB, name string) []byte {
	t.Helper()
	key, err := ecdh.X25519().NewPrivateKey(noise(32))
	testutil.Must(t, err)
	contents := slices.Concat([]byte{9}, u16(0x20), vec(2, key.PublicKey().Bytes()), vec(2, u16(1, 1)), []byte{32},
		vec(1, []byte(name)), vec(2))
	return vec(2, append(u16(0xfe0d), vec(2, contents)...))
}

// programHellos returns what the TLS clients of this machine send.
func programHellos(t testing.TB) []sample {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testutil.Must(t, err)
	defer l.Close()
	addr, port := l.Addr().String(), fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
	openssl := []string{"openssl", "s_client", "-connect", addr}
	curl := []string{"curl", "-sk", "--noproxy", "*", "--max-time", "10",
		"--resolve", "www.curl.example:" + port + ":127.0.0.1", "https://www.curl.example:" + port + "/"}
	var hellos []sample
	for _, c := range []struct {
		name    string
		command []string
	}{
		{"openssl-tls12", append(openssl, "-servername", "www.openssl.example", "-tls1_2", "-status")},
		{"openssl-tls13", append(openssl, "-servername", "www.openssl.example", "-alpn", "h2,http/1.1")},
		{"openssl-no-name", append(openssl, "-noservername")},
		{"curl-http1", append(curl, "--http1.1", "--tls-max", "1.2")},
		{"curl-http2", append(curl, "--http2")},
	} {
		if _, err := exec.LookPath(c.command[0]); err != nil {
			t.Logf("no %s on this machine", c.command[0])
			continue
		}
		hellos = append(hellos, sample{c.name, capture(t, l, c.command)})
	}
	return hellos
}

// capture returns what command sends first to l.
func capture(t testing.TB, l net.Listener, command []string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	l.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
	program := exec.CommandContext(ctx, command[0], command[1:]...)
	testutil.Must(t, program.Start())
	defer program.Wait() //nolint:errcheck // it fails, since nobody answers it
	c, err := l.Accept()
	testutil.Must(t, err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	var got []byte
	var h tlsconn.Hello
	for b := make([]byte, 4096); tlsconn.Peek(got, &h) == tlsconn.HelloPartial; {
		n, err := c.Read(b)
		if err != nil {
			t.Fatalf("%s: %v after %d bytes", command[0], err, len(got))
		}
		got = append(got, b[:n]...)
	}
	return got
}
