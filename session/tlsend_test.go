package session_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

// RFC 9112 §9.8: an answer that its connection ends is whole only after a close_notify. Any third party can send
// FIN.
func TestClient_tlsWithoutCloseNotify(t *testing.T) {
	for head, cut := range map[string]bool{"": true, "Content-Length: 4\r\n": false} {
		for _, said := range []bool{false, true} {
			certified := tlsOrigin(t, false)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			testutil.Must(t, err)
			defer l.Close()
			go answerAndClose(l, certified.TLS, head, said)
			e := startEngine(t)
			hs := tlsconn.NewHandshaker(e, tlsconn.HandshakerOptions{Timeout: testutil.Patience})
			to := poller.Addr{IP: netip.MustParseAddrPort(l.Addr().String())}
			p := &prober{muxOwner: muxOwner{gone: make(chan error, 1)}, c: &caller{done: make(chan error, 1)}}
			e.Reactors()[0].Post(&engine.Task{Run: func(r *engine.Reactor) {
				p.probe.Init(p)
				if err := p.probe.Dial(r, to, nil, hs, clientConfig(certified, "http/1.1")); err != nil {
					t.Error(err)
				}
			}})
			err = <-p.c.done
			if fails := cut && !said; (err != nil) != fails || string(p.c.got) != "half" ||
				fails && !strings.HasPrefix(err.Error(), session.Truncated.String()) {
				t.Errorf("%q, close_notify %v: %v %q", head, said, err, p.c.got)
			}
		}
	}
}

// answerAndClose answers one request, and then ends the connection with close_notify or without.
func answerAndClose(l net.Listener, config *tls.Config, head string, said bool) {
	raw, err := l.Accept()
	if err != nil {
		return
	}
	defer raw.Close()
	c := tls.Server(raw, &tls.Config{Certificates: config.Certificates, NextProtos: []string{"http/1.1"}})
	b := make([]byte, 4096)
	for n := 0; !bytes.HasSuffix(b[:n], []byte("\r\n\r\nhi")); {
		k, err := c.Read(b[n:])
		if err != nil {
			return
		}
		n += k
	}
	_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\n" + head + "\r\nhalf"))
	if said {
		_ = c.CloseWrite()
	}
}

// RFC 9113 §9.2: over an older version of TLS there is no HTTP/2.
func TestServer_h2WantsTLS12(t *testing.T) {
	certified := tlsOrigin(t, true)
	e := startEngine(t)
	addr := serveTLS(t, e, &tls.Config{
		Certificates: certified.TLS.Certificates, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS11,
	}, session.ServerOptions{})
	c := clientConfig(certified, "h2").Config
	c.MinVersion, c.MaxVersion = tls.VersionTLS11, tls.VersionTLS11
	conn, err := tls.Dial("tcp", addr, c)
	testutil.Must(t, err)
	defer conn.Close()
	_, _ = conn.Write([]byte(preface))
	got, err := io.ReadAll(conn)
	const goAway = "\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0c"
	if err != nil || !bytes.HasSuffix(got, []byte(goAway)) {
		t.Errorf("%v %x", err, got)
	}
}
