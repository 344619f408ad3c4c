package tlsconn

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// What this package relies on and crypto/tls does not promise. Where a test fails with a new version of Go, layer.go
// must learn what has changed before that version is used.

// wire is a net.Conn in memory, with room for all that a handshake writes.
type wire struct {
	pipe
	in, out *tank
	inline  *pipe // after the handshake
}

type tank struct {
	mu    sync.Mutex
	some  sync.Cond
	bytes bytes.Buffer
}

func newTank() *tank {
	k := &tank{}
	k.some.L = &k.mu
	return k
}

func (w *wire) Read(p []byte) (int, error) {
	if w.inline != nil {
		return w.inline.Read(p)
	}
	w.in.mu.Lock()
	defer w.in.mu.Unlock()
	for len(w.pipe.in) == 0 {
		if n := recordSize(w.in.bytes.Bytes()); n > 0 { // one at a time, as the handshake's read does
			w.pipe.in = bytes.Clone(w.in.bytes.Next(n))
			break
		}
		w.in.some.Wait()
	}
	return w.pipe.Read(p)
}

func (w *wire) Write(p []byte) (int, error) {
	if w.inline != nil {
		return w.inline.Write(p)
	}
	w.out.mu.Lock()
	defer w.out.mu.Unlock()
	w.out.some.Broadcast()
	return w.out.bytes.Write(p)
}

// ends is a TLS connection whose handshake is done. What the server wrote after it lies in rest.
type ends struct {
	client, server *layer
	rest           []byte
	secrets        map[string][]byte
}

var testCertificate = sync.OnceValue(func() tls.Certificate {
	t := new(testing.T) // whose failure is a panic
	cert, key := testutil.NewAuthority(t).Issue(t, nil, "localhost")
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
})

func connect(t testing.TB, version uint16) *ends {
	t.Helper()
	var keys bytes.Buffer
	up, down := newTank(), newTank()
	c, s := &wire{in: down, out: up}, &wire{in: up, out: down}
	e := &ends{client: &layer{}, server: &layer{}, secrets: map[string][]byte{}}
	e.client.conn = newClient(c, &tls.Config{
		InsecureSkipVerify: true, MaxVersion: version, KeyLogWriter: &keys, DynamicRecordSizingDisabled: true,
	})
	e.server.conn = newServer(s, &tls.Config{
		Certificates: []tls.Certificate{testCertificate()}, DynamicRecordSizingDisabled: true,
	})
	done := make(chan error, 1)
	go func() { done <- e.server.conn.Handshake() }()
	testutil.Must(t, e.client.conn.Handshake())
	testutil.Must(t, <-done)
	e.rest = down.bytes.Bytes()
	*c, *s = wire{inline: &e.client.pipe}, wire{inline: &e.server.pipe}
	e.client.loan.init(e.client.conn)
	e.server.loan.init(e.server.conn)
	for line := range strings.Lines(keys.String()) {
		f := strings.Fields(line)
		secret, err := hex.DecodeString(f[2])
		testutil.Must(t, err)
		e.secrets[f[0]] = secret
	}
	return e
}

func versions(t *testing.T, f func(t *testing.T, e *ends)) {
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(v), func(t *testing.T) { f(t, connect(t, v)) })
	}
}

func seal(t testing.TB, l *layer, s string) []byte {
	t.Helper()
	b, err := l.Seal(nil, []byte(s))
	testutil.Must(t, err)
	return b
}

// open wants the plaintext want from b, all of it used up, and err.
func (l *layer) open(t testing.TB, b []byte, want string, wantErr error) (reply []byte) {
	t.Helper()
	b = bytes.Clone(b)
	n, used, reply, err := l.Open(b)
	if string(b[:n]) != want || used != len(b) || !errors.Is(err, wantErr) {
		t.Fatalf("%q, %d of %d used, %v; want %q, %v", b[:n], used, len(b), err, want, wantErr)
	}
	return reply
}

func TestContract_idleRead(t *testing.T) {
	versions(t, func(t *testing.T, e *ends) {
		var p [16]byte
		for range 3 {
			if _, err := e.server.conn.Read(p[:]); err != errWouldBlock {
				t.Fatal(err)
			}
		}
		e.server.open(t, seal(t, e.client, "later"), "later", nil)
	})
}

// The provider is never given a part of a record, but if it were it would go on where it was.
func TestContract_splitRecord(t *testing.T) {
	versions(t, func(t *testing.T, e *ends) {
		b := seal(t, e.client, "in pieces")
		var p [16]byte
		for i := range b[:len(b)-1] {
			e.server.pipe.in = b[i : i+1]
			if n, err := e.server.conn.Read(p[:]); n != 0 || err != errWouldBlock {
				t.Fatalf("byte %d: %d, %v", i, n, err)
			}
		}
		e.server.pipe.in = b[len(b)-1:]
		if n, err := e.server.conn.Read(p[:]); string(p[:n]) != "in pieces" || err != nil {
			t.Fatalf("%q, %v", p[:n], err)
		}
	})
}

func TestOpen_leavesPartsOfRecords(t *testing.T) {
	versions(t, func(t *testing.T, e *ends) {
		b := append(seal(t, e.client, "one "), seal(t, e.client, "two")...)
		size := recordSize(b)
		p := bytes.Clone(b[:len(b)-1])
		n, used, _, err := e.server.Open(p)
		if string(p[:n]) != "one " || used != size || err != nil {
			t.Fatalf("%q, %d used, %v", p[:n], used, err)
		}
		e.server.open(t, b[size:], "two", nil)
	})
}

func TestContract_oneRecordIsOneWrite(t *testing.T) {
	versions(t, func(t *testing.T, e *ends) {
		p := make([]byte, 16<<10)
		for _, n := range []int{1, 1000, len(p)} {
			b, err := e.server.Seal(nil, p[:n])
			if err != nil || recordSize(b) != len(b) || len(b) > n+29 {
				t.Fatalf("%d bytes became %d, the first record has %d, %v", n, len(b), recordSize(b), err)
			}
		}
	})
}

func TestContract_closeNotify(t *testing.T) {
	versions(t, func(t *testing.T, e *ends) {
		b := seal(t, e.client, "the last words")
		b = e.client.End(b)
		e.server.open(t, b, "the last words", io.EOF)
		// The other direction is still open.
		e.client.open(t, append(bytes.Clone(e.rest), seal(t, e.server, "answer")...), "answer", nil)
		if _, err := e.client.Seal(nil, []byte("more")); err == nil {
			t.Fatal("written behind close_notify")
		}
	})
}

func TestContract_changedRecord(t *testing.T) {
	versions(t, func(t *testing.T, e *ends) {
		b := append(seal(t, e.client, "good"), seal(t, e.client, "bad")...)
		b[len(b)-1] ^= 1
		n, _, reply, err := e.server.Open(b)
		if string(b[:n]) != "good" || err == nil || err == io.EOF || len(reply) == 0 {
			t.Fatalf("%q, %v, alert of %d bytes", b[:n], err, len(reply))
		}
		var alert *net.OpError
		if _, _, _, err := e.client.Open(append(bytes.Clone(e.rest), reply...)); !errors.As(err, &alert) {
			t.Fatalf("the peer is told %v", err)
		}
	})
}

func TestContract_oversizeRecord(t *testing.T) {
	versions(t, func(t *testing.T, e *ends) {
		_, _, reply, err := e.server.Open([]byte{23, 3, 3, 0xff, 0xff, 0})
		if err == nil || len(reply) == 0 {
			t.Fatalf("%v, alert of %d bytes", err, len(reply))
		}
	})
}

// writer makes records of TLS 1.3 with TLS_AES_128_GCM_SHA256 of which crypto/tls makes none.
type writer struct {
	t      testing.TB
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    byte
}

func (w *writer) init(secret []byte) {
	w.secret, w.seq = secret, 0
	block, err := aes.NewCipher(w.expand("key", 16))
	testutil.Must(w.t, err)
	if w.aead, err = cipher.NewGCM(block); err != nil {
		w.t.Fatal(err)
	}
	w.iv = w.expand("iv", 12)
}

// expand is HKDF-Expand-Label of RFC 8446 §7.1.
func (w *writer) expand(label string, n int) []byte {
	label = "tls13 " + label
	info := append([]byte{0, byte(n), byte(len(label))}, label...)
	b, err := hkdf.Expand(sha256.New, w.secret, string(append(info, 0)), n)
	testutil.Must(w.t, err)
	return b
}

func (w *writer) nonce() []byte {
	nonce := bytes.Clone(w.iv)
	nonce[11] ^= w.seq
	w.seq++
	return nonce
}

func (w *writer) record(kind byte, p ...byte) []byte {
	header := []byte{23, 3, 3, 0, byte(len(p) + 1 + 16)}
	return w.aead.Seal(header, w.nonce(), append(p, kind), header)
}

// read opens a record.
func (w *writer) read(b []byte) []byte {
	p, err := w.aead.Open(nil, w.nonce(), b[headerSize:], b[:headerSize])
	testutil.Must(w.t, err)
	return p
}

func forged(t testing.TB) (e *ends, client, server *writer) {
	e = connect(t, tls.VersionTLS13)
	if e.server.conn.ConnectionState().CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
		t.Skip("another cipher is preferred here")
	}
	client, server = &writer{t: t}, &writer{t: t}
	client.init(e.secrets["CLIENT_TRAFFIC_SECRET_0"])
	server.init(e.secrets["SERVER_TRAFFIC_SECRET_0"])
	for b := e.rest; len(b) > 0; b = b[recordSize(b):] { // the tickets
		server.seq++
	}
	return e, client, server
}

// RFC 8446 §4.6.3: the receiver answers with its own update when it is asked to, and both ends have new keys.
func TestContract_keyUpdate(t *testing.T) {
	e, client, server := forged(t)
	const keyUpdate, updateRequested = 24, 1
	b := append(client.record(23, []byte("old ")...), client.record(22, keyUpdate, 0, 0, 1, updateRequested)...)
	client.init(client.expand("traffic upd", 32))
	b = append(b, client.record(23, []byte("new")...)...)
	reply := e.server.open(t, b, "old new", nil)
	if len(reply) == 0 || recordSize(reply) != len(reply) {
		t.Fatalf("the answer is %x", reply)
	}
	if p := server.read(reply); !bytes.Equal(p, []byte{keyUpdate, 0, 0, 1, 0, 22}) {
		t.Fatalf("the answer says %x", p)
	}
	server.init(server.expand("traffic upd", 32))
	if p := server.read(seal(t, e.server, "x")); string(p) != "x\x17" {
		t.Fatalf("%q", p)
	}
}

// A handshake message may come in several records, and the connection idles in between.
func TestContract_splitKeyUpdate(t *testing.T) {
	e, client, _ := forged(t)
	e.server.open(t, client.record(22, 24, 0, 0), "", nil)
	e.server.open(t, client.record(22, 1, 0), "", nil)
	client.init(client.expand("traffic upd", 32))
	e.server.open(t, client.record(23, 'x'), "x", nil)
}

// Empty records are ignored, but not for ever.
func TestContract_emptyRecord(t *testing.T) {
	e, client, _ := forged(t)
	for range 10 {
		e.server.open(t, client.record(23), "", nil)
	}
	e.server.open(t, client.record(23, 'x'), "x", nil)
	var b []byte
	for range 40 {
		b = append(b, client.record(23)...)
	}
	if n, _, _, err := e.server.Open(b); n != 0 || err == nil {
		t.Fatalf("%d, %v", n, err)
	}
}

// A record read is one allocation of 24 bytes inside crypto/tls (its atLeastReader), a record written is none.
func TestLayer_allocations(t *testing.T) {
	if testutil.RaceOn {
		t.Skip("pools lose things on purpose under the race detector")
	}
	versions(t, func(t *testing.T, e *ends) {
		plain := make([]byte, 1000)
		dst := make([]byte, 0, 2000)
		work := make([]byte, 2000)
		if n := testutil.Allocs(200, func() {
			_, err := e.server.Seal(dst, plain)
			testutil.Must(t, err)
		}); n != 0 {
			t.Errorf("%v allocations for a record written", n)
		}
		var records [][]byte
		for range 300 {
			b, err := e.client.Seal(nil, plain)
			testutil.Must(t, err)
			records = append(records, b)
		}
		if n := testutil.Allocs(200, func() {
			b := work[:copy(work, records[0])]
			records = records[1:]
			if n, _, _, err := e.server.Open(b); n != len(plain) || err != nil {
				t.Fatal(n, err)
			}
		}); n > 1 {
			t.Errorf("%v allocations for a record read", n)
		}
	})
}

// What a server's end holds while it is silent: its layer and what crypto/tls keeps.
func TestLayer_idleMemory(t *testing.T) {
	if testutil.RaceOn {
		t.Skip("the race detector has memory of its own")
	}
	const ends = 200
	for _, c := range []struct{ record, most int }{{100, 5 << 10}, {16 << 10, 5 << 10}} {
		plain := make([]byte, c.record)
		idle := make([]*layer, ends)
		before := testutil.Heap()
		for i := range idle {
			e := connect(t, tls.VersionTLS13)
			b, err := e.client.Seal(nil, plain)
			testutil.Must(t, err)
			if n, _, _, err := e.server.Open(b); n != c.record || err != nil {
				t.Fatal(n, err)
			}
			_, err = e.server.Seal(b[:0], plain)
			testutil.Must(t, err)
			idle[i] = e.server
		}
		n := int(testutil.Heap()-before) / ends
		runtime.KeepAlive(idle)
		t.Logf("behind a record of %d bytes: %d bytes", c.record, n)
		if n > c.most {
			t.Errorf("an idle connection holds %d bytes, want at most %d", n, c.most)
		}
	}
}

// The buffers that are lent are the connection's only ones, and large enough.
func TestLent_works(t *testing.T) {
	versions(t, func(t *testing.T, e *ends) {
		if e.server.loan.raw == nil {
			t.Fatal("crypto/tls has changed its fields: nothing is lent")
		}
		for _, n := range []int{1, 5000, 16 << 10} {
			b, err := e.client.Seal(nil, make([]byte, n))
			testutil.Must(t, err)
			p := e.server.loan.take()
			e.server.pipe.in = b
			if m, err := e.server.conn.Read(make([]byte, n)); m != n || err != nil {
				t.Fatal(m, err)
			}
			if c := e.server.loan.raw.Cap(); c != lentSize {
				t.Errorf("%d bytes: the buffer was replaced by one of %d", n, c)
			}
			e.server.loan.give(p)
			if e.server.loan.raw == nil || e.server.loan.raw.Cap() != 0 {
				t.Error("not given back")
			}
		}
	})
}
