package tlsconn_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/poller"
)

// patience bounds whatever a test waits for.
const patience = testutil.Patience

var loopback = poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:0")}

// authority is a CA with a certificate for localhost and one for a client, made once: examples have no test to make
// them for.
var authority = sync.OnceValue(func() (a struct {
	pool           *x509.CertPool
	server, client tls.Certificate
}) {
	t := new(testing.T) // whose failure is a panic
	ca := testutil.NewAuthority(t)
	a.pool = ca.Pool
	leaf := func(serial int64, names ...string) tls.Certificate {
		cert, key := ca.Issue(t, func(c *x509.Certificate) {
			c.SerialNumber, c.Subject.Organization = big.NewInt(serial), []string{"tests"}
		}, names...)
		return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
	}
	a.server = leaf(2, "localhost", "127.0.0.1")
	a.client = leaf(3, "client.test", "127.0.0.1")
	return a
})

func serverConfig() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{authority().server}}
}

func clientConfig() *tls.Config {
	return &tls.Config{RootCAs: authority().pool, ServerName: "localhost"}
}

// house is an engine with a Handshaker on real sockets, whose handshakes have patience unless a test says otherwise.
type house struct {
	t      testing.TB
	engine *engine.Engine
	hs     *tlsconn.Handshaker
	addr   string
}

func newHouse(t testing.TB, o tlsconn.HandshakerOptions) *house {
	t.Helper()
	return newHouseOf(t, 2, o)
}

func newHouseOf(t testing.TB, reactors int, o tlsconn.HandshakerOptions) *house {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = patience
	}
	e, err := engine.New(engine.Options{Reactors: reactors})
	testutil.Must(t, err)
	e.Start()
	t.Cleanup(e.Stop)
	return &house{t: t, engine: e, hs: tlsconn.NewHandshaker(e, o)}
}

// serve listens with o for connections that accept takes.
func (v *house) serve(o tlsconn.ServerOptions, accept func(c *engine.Conn) engine.Handler) *house {
	v.t.Helper()
	if o.Config == nil {
		o.Config = serverConfig()
	}
	l, err := v.engine.Listen(engine.ListenOptions{Addr: loopback, Gate: v.hs}, v.hs.Server(o, accept))
	testutil.Must(v.t, err)
	v.addr = l.Addr().IP.String()
	return v
}

// connect connects without TLS.
func (v *house) connect() net.Conn {
	v.t.Helper()
	c, err := net.Dial("tcp", v.addr)
	testutil.Must(v.t, err)
	v.t.Cleanup(func() { c.Close() })
	return c
}

// dial connects with crypto/tls.
func (v *house) dial(c *tls.Config) *tls.Conn {
	v.t.Helper()
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", v.addr, c)
	testutil.Must(v.t, err)
	conn.SetDeadline(time.Now().Add(patience))
	v.t.Cleanup(func() { conn.Close() })
	return conn
}

// echo is a Handler that sends back what comes, however slow the other side is.
type echo struct{ engine.NopHandler }

func (echo) OnData(c *engine.Conn, in []byte) int {
	c.Write(in)
	if c.Congested() {
		c.PauseRead()
	}
	return len(in)
}

func (echo) OnSendable(c *engine.Conn) { c.ResumeRead() }

func echoes(*engine.Conn) engine.Handler { return echo{} }

// exchange sends p and wants it back.
func exchange(t testing.TB, c net.Conn, p []byte) {
	t.Helper()
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(p)
		sent <- err
	}()
	got := make([]byte, len(p))
	_, err := io.ReadFull(c, got)
	testutil.Must(t, err)
	testutil.Must(t, <-sent)
	if !bytes.Equal(got, p) {
		t.Fatalf("%d bytes came back changed", len(p))
	}
}

// noise returns n bytes that are not all the same.
func noise(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i>>8 + i)
	}
	return p
}
