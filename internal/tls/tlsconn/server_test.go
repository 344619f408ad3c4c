package tlsconn_test

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
)

func TestMain(m *testing.M) { os.Exit(testutil.Main(m)) }

func TestServer_echoes(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			v := newHouse(t, tlsconn.HandshakerOptions{}).serve(tlsconn.ServerOptions{}, echoes)
			o := clientConfig()
			o.MaxVersion = version
			c := v.dial(o)
			for _, n := range []int{1, 100, 4096, 16 << 10, 70000, 3 << 20} {
				exchange(t, c, noise(n))
			}
		})
	}
}

// keep hands the connections that it accepts out.
func keep(h func() engine.Handler) (func(c *engine.Conn) engine.Handler, chan *tlsconn.Digest) {
	digests := make(chan *tlsconn.Digest, 16)
	return func(c *engine.Conn) engine.Handler {
		digests <- tlsconn.DigestOf(c)
		return h()
	}, digests
}

func TestServer_digest(t *testing.T) {
	accept, digests := keep(func() engine.Handler { return echo{} })
	o := serverConfig()
	o.NextProtos = []string{"h2", "http/1.1"}
	o.ClientAuth, o.ClientCAs = tls.RequireAndVerifyClientCert, authority().pool
	v := newHouse(t, tlsconn.HandshakerOptions{}).serve(tlsconn.ServerOptions{Config: o}, accept)
	co := clientConfig()
	co.NextProtos = []string{"http/1.1"}
	co.Certificates = []tls.Certificate{authority().client}
	c := v.dial(co)
	exchange(t, c, noise(100))
	d := <-digests
	got := fmt.Sprint(d.VersionName(), " ", d.GroupName(), " ", d.ServerName, " ", d.ALPN, " ", d.Resumed, d.Verified)
	if got != "TLS 1.3 X25519MLKEM768 localhost http/1.1 false true" {
		t.Error(got)
	}
	if d.Peer.IP.String() != c.LocalAddr().String() || d.Local.IP.String() != v.addr {
		t.Error(d.Peer, d.Local)
	}
	cipher := tls.CipherSuiteName(c.ConnectionState().CipherSuite)
	if d.Accepted > d.Hello || d.Hello >= d.Secured || d.CipherName() != cipher {
		t.Error(d.Accepted, d.Hello, d.Secured, d.CipherName())
	}
	f := d.PeerCertificate()
	if f == nil || f.Subject != "CN=client.test,O=tests" || f.Issuer != "CN=test authority" || f.Serial != "3" ||
		strings.Join(f.SANs, " ") != "DNS:client.test IP:127.0.0.1" || len(hex.EncodeToString(f.SHA256[:])) != 64 {
		t.Errorf("%+v", f)
	}
}

// The client sends its first bytes with its Finished, and they are answered.
func TestServer_helloByteByByte(t *testing.T) {
	v := newHouse(t, tlsconn.HandshakerOptions{}).serve(tlsconn.ServerOptions{}, echoes)
	raw, err := net.Dial("tcp", v.addr)
	testutil.Must(t, err)
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(patience))
	raw.(*net.TCPConn).SetNoDelay(true)
	c := tls.Client(single{raw}, clientConfig())
	exchange(t, c, noise(300))
}

// single writes byte by byte.
type single struct{ net.Conn }

func (c single) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := c.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

func TestServer_resumes(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			accept, digests := keep(func() engine.Handler { return echo{} })
			v := newHouse(t, tlsconn.HandshakerOptions{}).serve(tlsconn.ServerOptions{}, accept)
			o := clientConfig()
			o.MaxVersion = version
			o.ClientSessionCache = tls.NewLRUClientSessionCache(4)
			for i := range 3 {
				c := v.dial(o)
				exchange(t, c, noise(10)) // after the tickets
				c.Close()
				if d := <-digests; d.Resumed != (i > 0) || c.ConnectionState().DidResume != (i > 0) {
					t.Fatalf("connection %d: %v, %v", i, d.Resumed, c.ConnectionState().DidResume)
				}
			}
			if s := v.hs.Stats(); s.Done != 3 || s.Resumed != 2 {
				t.Fatalf("%+v", s)
			}
		})
	}
}

// Keys that change while the listener runs hold for it, and a ticket of the old one is taken as long as it is there.
func TestServer_ticketKeysRotate(t *testing.T) {
	accept, digests := keep(func() engine.Handler { return echo{} })
	so := serverConfig()
	so.SetSessionTicketKeys([][32]byte{{1}})
	v := newHouse(t, tlsconn.HandshakerOptions{}).serve(tlsconn.ServerOptions{Config: so}, accept)
	o := clientConfig()
	o.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	for i, keys := range [][][32]byte{{{1}}, {{2}, {1}}, {{3}}} {
		so.SetSessionTicketKeys(keys)
		c := v.dial(o)
		exchange(t, c, noise(10))
		c.Close()
		if d := <-digests; d.Resumed != (i == 1) {
			t.Fatalf("connection %d: %v", i, d.Resumed)
		}
	}
}

func TestServer_closeNotifyBothWays(t *testing.T) {
	h := &events{}
	v := newHouse(t, tlsconn.HandshakerOptions{}).serve(tlsconn.ServerOptions{}, func(*engine.Conn) engine.Handler {
		return h
	})
	c := v.dial(clientConfig())
	_, err := c.Write([]byte("bye"))
	testutil.Must(t, err)
	if err := c.CloseWrite(); err != nil { // close_notify without FIN
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); err != nil || len(b) > 0 { // io.EOF is close_notify; FIN alone would be an error
		t.Fatal(b, err)
	}
	h.until(t, func() bool { return h.closed })
	if string(h.got) != "bye" || !h.eof || h.cut || h.cause != nil {
		t.Fatalf("%q, end %v, truncated %v, %v", h.got, h.eof, h.cut, h.cause)
	}
}

func TestServer_truncation(t *testing.T) {
	h := &events{}
	v := newHouse(t, tlsconn.HandshakerOptions{}).serve(tlsconn.ServerOptions{}, func(*engine.Conn) engine.Handler {
		return h
	})
	c := v.dial(clientConfig())
	c.Write([]byte("half of it"))
	c.NetConn().(*net.TCPConn).CloseWrite()
	h.until(t, func() bool { return h.closed })
	if string(h.got) != "half of it" || !h.eof || !h.cut {
		t.Fatalf("%q, end %v, truncated %v", h.got, h.eof, h.cut)
	}
}

func TestServer_auto(t *testing.T) {
	v := newHouse(t, tlsconn.HandshakerOptions{}).serve(tlsconn.ServerOptions{Auto: true}, echoes)
	c := v.connect()
	c.SetDeadline(time.Now().Add(patience))
	exchange(t, c, []byte("GET / HTTP/1.1\r\n"))
	exchange(t, v.dial(clientConfig()), noise(100))
	if s := v.hs.Stats(); s.Plain != 1 || s.Done != 1 || s.Current != 0 {
		t.Fatalf("%+v", s)
	}
}

func TestServer_tellsPlainClients(t *testing.T) {
	const says = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nthis port speaks TLS\n"
	var failed atomic.Value
	v := newHouse(t, tlsconn.HandshakerOptions{}).serve(tlsconn.ServerOptions{
		Plain:  func(*engine.Reactor) []byte { return []byte(says) },
		Failed: func(_ *engine.Conn, err error) { failed.Store(err) },
	}, echoes)
	w := testutil.Dial(t, v.addr)
	w.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	w.Want(says)
	w.WantEnd()
	if err, _ := failed.Load().(error); !errors.Is(err, tlsconn.ErrNotTLS) {
		t.Fatal(err)
	}
	if s := v.hs.Stats(); s.Refused != 1 || s.Current != 0 {
		t.Fatalf("%+v", s)
	}
}

// A client that fails is told by an alert, and the connection ends in order.
func TestServer_alerts(t *testing.T) {
	o := serverConfig()
	o.MinVersion = tls.VersionTLS13
	v := newHouse(t, tlsconn.HandshakerOptions{}).serve(tlsconn.ServerOptions{Config: o}, echoes)
	co := clientConfig()
	co.MaxVersion = tls.VersionTLS12
	_, err := tls.Dial("tcp", v.addr, co)
	if err == nil || !strings.Contains(err.Error(), "protocol version not supported") {
		t.Fatal(err)
	}
	if s := v.hs.Stats(); s.Failed != 1 {
		t.Fatalf("%+v", s)
	}
}

func TestServer_largeHello(t *testing.T) {
	v := newHouse(t, tlsconn.HandshakerOptions{}).serve(tlsconn.ServerOptions{}, echoes)
	w := testutil.Dial(t, v.addr)
	w.Send("\x16\x03\x01\x40\x00\x01\x00\xff\xff")
	w.WantEnd()
	if s := v.hs.Stats(); s.Failed != 1 || s.Current != 0 {
		t.Fatalf("%+v", s)
	}
}

// split makes a record of each byte of what is in the record b.
func split(b []byte) (all []byte) {
	for _, c := range b[5:] {
		all = append(all, b[0], b[1], b[2], 0, 1, c)
	}
	return all
}

// What a ClientHello may hold, its records may not multiply.
func TestServer_helloInTinyRecords(t *testing.T) {
	v := newHouse(t, tlsconn.HandshakerOptions{}).serve(tlsconn.ServerOptions{}, echoes)
	w := testutil.Dial(t, v.addr)
	w.Send(string(split(hello(t))))
	w.ReadUntil("\x16\x03\x03") // ServerHello
	large := split(append([]byte{22, 3, 1, 0, 0, 1, 0, 0x3f, 0xf0}, make([]byte, 16000)...))
	w = testutil.Dial(t, v.addr)
	w.Send(string(large[:40<<10]))
	w.WantEnd()
	if s := v.hs.Stats(); s.Failed != 1 {
		t.Fatalf("%+v", s)
	}
}

// A session says who was verified when it began. A listener that asks for certificates and verifies none, and shares
// the keys of tickets with one that does, must not say so itself.
func TestServer_resumedIsVerifiedWhereItIsAsked(t *testing.T) {
	co := clientConfig()
	co.Certificates = []tls.Certificate{authority().client}
	co.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	for _, auth := range []tls.ClientAuthType{tls.VerifyClientCertIfGiven, tls.RequestClientCert} {
		accept, digests := keep(func() engine.Handler { return echo{} })
		so := serverConfig()
		so.ClientAuth = auth
		if auth == tls.VerifyClientCertIfGiven {
			so.ClientCAs = authority().pool
		}
		so.SetSessionTicketKeys([][32]byte{{1}})
		v := newHouse(t, tlsconn.HandshakerOptions{}).serve(tlsconn.ServerOptions{Config: so}, accept)
		c := v.dial(co)
		exchange(t, c, noise(10))
		c.Close()
		d := <-digests
		if first := auth == tls.VerifyClientCertIfGiven; d.Verified != first || d.Resumed == first {
			t.Errorf("%v: verified %v, resumed %v", auth, d.Verified, d.Resumed)
		}
	}
}

func TestServer_timeout(t *testing.T) {
	v := newHouse(t, tlsconn.HandshakerOptions{Timeout: 50 * time.Millisecond}).serve(tlsconn.ServerOptions{}, echoes)
	for _, first := range []string{"", "\x16\x03", string(hello(t))} {
		w := testutil.Dial(t, v.addr)
		w.Send(first)
		io.Copy(io.Discard, w.Conn()) // to its end, or to a reset where the bytes came too late
	}
	if s := v.hs.Stats(); s.Timeouts != 3 || s.Current != 0 {
		t.Fatalf("%+v", s)
	}
	testutil.Eventually(t, patience, func() bool { return v.hs.Stats().Computing == 0 })
}

// hello is the first flight of a client.
func hello(t testing.TB) []byte {
	var b bytes.Buffer
	c := tls.Client(first{&b}, clientConfig())
	c.Handshake() // fails: nobody answers
	return b.Bytes()
}

type first struct{ to *bytes.Buffer }

func (c first) Read([]byte) (int, error)         { return 0, io.ErrClosedPipe }
func (c first) Write(p []byte) (int, error)      { return c.to.Write(p) }
func (c first) Close() error                     { return nil }
func (c first) LocalAddr() net.Addr              { return nil }
func (c first) RemoteAddr() net.Addr             { return nil }
func (c first) SetDeadline(time.Time) error      { return nil }
func (c first) SetReadDeadline(time.Time) error  { return nil }
func (c first) SetWriteDeadline(time.Time) error { return nil }

// Clients that say nothing, or half of it, do not keep a good one waiting; nor does their number.
func TestServer_halfDoneHandshakes(t *testing.T) {
	silent, half := 90, 60
	if os.Getenv("EDGE_SOAK") != "" {
		var files syscall.Rlimit
		testutil.Must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files))
		silent, half = min(9000, int(files.Cur/2)-1500), 1000 // both ends are ours
	}
	o := tlsconn.HandshakerOptions{Max: 2 * (silent + half), Timeout: time.Minute}
	v := newHouse(t, o).serve(tlsconn.ServerOptions{}, echoes)
	first := hello(t)
	for i := range silent + half {
		c := v.connect()
		if i < half {
			c.Write(first)
		}
	}
	testutil.Eventually(t, patience, func() bool {
		s := v.hs.Stats()
		return s.Current == int64(silent+half) && s.Computing == 0
	})
	begun := time.Now()
	exchange(t, v.dial(clientConfig()), noise(100))
	t.Logf("a good client took %v among %d silent and %d half-done ones", time.Since(begun), silent, half)
}

func TestServer_oldestGivesWay(t *testing.T) {
	const most = 20
	v := newHouse(t, tlsconn.HandshakerOptions{Max: most, Timeout: time.Minute}).serve(tlsconn.ServerOptions{}, echoes)
	for range 3 * most {
		v.connect()
	}
	testutil.Eventually(t, patience, func() bool { return v.hs.Stats().Started == 3*most })
	exchange(t, v.dial(clientConfig()), noise(100))
	// Those that a stalled loop accepts at one time are refused: none of them is old enough to give way.
	if s := v.hs.Stats(); s.Crowded+s.Full < 2*most || s.Crowded == 0 || s.Current > most {
		t.Fatalf("%+v", s)
	}
}

// A configuration whose callback panics costs the connection.
func TestServer_callbackPanics(t *testing.T) {
	o := serverConfig()
	o.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if h.ServerName == "boom.test" {
			panic("boom")
		}
		return nil, nil
	}
	v := newHouse(t, tlsconn.HandshakerOptions{}).serve(tlsconn.ServerOptions{Config: o}, echoes)
	co := clientConfig()
	co.ServerName = "boom.test"
	if _, err := tls.Dial("tcp", v.addr, co); err == nil {
		t.Fatal("no error")
	}
	exchange(t, v.dial(clientConfig()), noise(100))
}

// openssl runs openssl s_client against v. The dialogue is what it must print and what it is then given, by turns.
func (v *house) openssl(args []string, dialogue ...string) {
	v.t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		v.t.Skip("no openssl here")
	}
	cmd := exec.Command(path, append([]string{"s_client", "-connect", v.addr, "-servername", "localhost"}, args...)...)
	in, err := cmd.StdinPipe()
	testutil.Must(v.t, err)
	out := &testutil.Output{}
	cmd.Stdout, cmd.Stderr = out, out
	testutil.Must(v.t, cmd.Start())
	defer cmd.Wait()
	defer cmd.Process.Kill()
	for i, s := range dialogue {
		if i%2 == 1 {
			io.WriteString(in, s)
			continue
		}
		testutil.Eventually(v.t, patience, func() bool { return strings.Contains(out.String(), s) }, s)
	}
}

func TestServer_opensslUpdatesKeys(t *testing.T) {
	v := newHouse(t, tlsconn.HandshakerOptions{}).serve(tlsconn.ServerOptions{}, echoes)
	v.openssl([]string{"-tls1_3"}, "\n---\n", "before\n", "before", "K\n", "KEYUPDATE", "after it\n", "after it")
}

// RFC 5746 and common sense: nobody renegotiates.
func TestServer_opensslRenegotiates(t *testing.T) {
	h := &events{}
	v := newHouse(t, tlsconn.HandshakerOptions{}).serve(tlsconn.ServerOptions{}, func(*engine.Conn) engine.Handler {
		return h
	})
	v.openssl([]string{"-tls1_2"}, "\n---\n", "R\n", "RENEGOTIATING", "", "unexpected message")
	h.until(t, func() bool { return h.closed && h.cause != nil })
}

func TestServer_curl(t *testing.T) {
	path, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("no curl here")
	}
	v := newHouse(t, tlsconn.HandshakerOptions{}).serve(tlsconn.ServerOptions{}, func(*engine.Conn) engine.Handler {
		return answer{}
	})
	for _, version := range []string{"1.2", "1.3"} {
		args := []string{"-q", "-sk", "--noproxy", "*", "--tls-max", version, "https://" + v.addr + "/"}
		got, err := exec.Command(path, args...).CombinedOutput()
		if err != nil || string(got) != "secret" {
			t.Fatalf("%s: %q, %v", version, got, err)
		}
	}
}

// answer says the same to all that comes, and closes.
type answer struct{ engine.NopHandler }

func (answer) OnData(c *engine.Conn, in []byte) int {
	c.Write([]byte("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nsecret"))
	c.Close(nil)
	return len(in)
}
