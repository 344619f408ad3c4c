package tlsconn_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/poller"
)

// events is a Handler that writes down what happens.
type events struct {
	mu     sync.Mutex
	opened bool
	eof    bool
	cut    bool // OnEOF without close_notify
	got    []byte
	digest *tlsconn.Digest
	closed bool
	cause  error
	onOpen func(c *engine.Conn)
	onData func(c *engine.Conn)
}

func (h *events) OnOpen(c *engine.Conn) {
	h.mu.Lock()
	h.opened, h.digest = true, tlsconn.DigestOf(c)
	h.mu.Unlock()
	if h.onOpen != nil {
		h.onOpen(c)
	}
}

func (h *events) OnData(c *engine.Conn, in []byte) int {
	h.mu.Lock()
	h.got = append(h.got, in...)
	h.mu.Unlock()
	if h.onData != nil {
		h.onData(c)
	}
	return len(in)
}

func (h *events) OnSendable(*engine.Conn) {}
func (h *events) OnTimeout(*engine.Conn)  {}

func (h *events) OnEOF(c *engine.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.eof, h.cut = true, c.Truncated()
	c.Close(nil)
}

func (h *events) OnClose(_ *engine.Conn, cause error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed, h.cause = true, cause
}

// until waits for what f sees.
func (h *events) until(t testing.TB, f func() bool) {
	t.Helper()
	testutil.Eventually(t, patience, func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return f()
	})
}

// on runs f on a reactor and waits.
func (v *house) on(f func(r *engine.Reactor)) {
	done := make(chan struct{})
	v.engine.Reactors()[0].Post(&engine.Task{Run: func(r *engine.Reactor) {
		defer close(done)
		f(r)
	}})
	<-done
}

func (v *house) dialOut(addr string, co *tlsconn.ClientOptions, h engine.Handler, then func(c *engine.Conn)) {
	v.t.Helper()
	v.on(func(r *engine.Reactor) {
		c, err := v.hs.Dial(r, poller.Addr{IP: netip.MustParseAddrPort(addr)}, h, nil, co)
		if err != nil {
			v.t.Error(err)
			return
		}
		if then != nil {
			then(c)
		}
	})
}

// origin is a crypto/tls server that echoes.
func origin(t testing.TB, o *tls.Config) string {
	return testutil.Serve(t, func(conn net.Conn) {
		c := tls.Server(conn, o)
		defer c.Close()
		var p [64 << 10]byte
		for {
			n, err := c.Read(p[:])
			if err != nil {
				return
			}
			if _, err := c.Write(p[:n]); err != nil {
				return
			}
		}
	}).Addr().String()
}

func TestDial_sealsWhatWasWrittenBefore(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			v := newHouse(t, tlsconn.HandshakerOptions{})
			o := clientConfig()
			o.MaxVersion = version
			h := &events{}
			p := noise(300 << 10)
			v.dialOut(origin(t, serverConfig()), &tlsconn.ClientOptions{Config: o}, h, func(c *engine.Conn) {
				c.Write(p[:10])
				c.Write(p[10:])
			})
			h.until(t, func() bool { return len(h.got) == len(p) })
			if !bytes.Equal(h.got, p) || h.digest.Version != version || !h.digest.Verified {
				t.Fatalf("%+v", h.digest)
			}
		})
	}
}

func TestDial_tellsWhyItFailed(t *testing.T) {
	v := newHouse(t, tlsconn.HandshakerOptions{})
	o := clientConfig()
	o.ServerName = "elsewhere.test"
	h := &events{}
	v.dialOut(origin(t, serverConfig()), &tlsconn.ClientOptions{Config: o}, h, nil)
	h.until(t, func() bool { return h.closed })
	var failed *tlsconn.HandshakeError
	var verify *tls.CertificateVerificationError
	if h.opened || !errors.As(h.cause, &failed) || !errors.As(h.cause, &verify) {
		t.Fatalf("opened %v, %v", h.opened, h.cause)
	}
}

func TestDial_peerThatHangsUp(t *testing.T) {
	l := testutil.Listen(t)
	go func() {
		if c, err := l.Accept(); err == nil {
			c.Close()
		}
	}()
	v := newHouse(t, tlsconn.HandshakerOptions{})
	h := &events{}
	v.dialOut(l.Addr().String(), &tlsconn.ClientOptions{Config: clientConfig()}, h, nil)
	h.until(t, func() bool { return h.closed })
	var failed *tlsconn.HandshakeError
	if h.opened || !errors.As(h.cause, &failed) {
		t.Fatalf("opened %v, %v", h.opened, h.cause)
	}
}
