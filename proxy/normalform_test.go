package proxy_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// playedStream is the client's end of an exchange that a test plays: a request of any version, over TLS or not.
// Owned by its reactor, but for events.
type playedStream struct {
	digest *tlsconn.Digest
	events chan string
	deaf   bool // takes no interim answer
}

func (s *playedStream) SendHead(h *message.Head, end bool) error {
	if s.deaf && h.Status < 200 {
		s.events <- "refused"
		return session.ErrOrder
	}
	var b strings.Builder
	b.WriteString("head ")
	b.WriteString(string(rune('0'+h.Status/100)) + string(rune('0'+h.Status/10%10)) + string(rune('0'+h.Status%10)))
	if h.Tunnel {
		b.WriteString(" tunnel")
	}
	if end {
		b.WriteString(" end")
	}
	for i := range h.Fields {
		if !h.Fields[i].Dropped() {
			b.WriteString("\n" + string(h.Name(i)) + ": " + string(h.Value(i)))
		}
	}
	s.events <- b.String()
	return nil
}

func (s *playedStream) SendData(p []byte, end bool) (int, error) {
	event := "data " + string(p)
	if end {
		event += " end"
	}
	s.events <- event
	return len(p), nil
}

func (s *playedStream) SendTrailers(h *message.Head) error {
	s.events <- "trailers " + h.Get("grpc-status")
	return nil
}

func (s *playedStream) Congested() bool         { return false }
func (s *playedStream) Queued() int             { return 0 }
func (s *playedStream) Release(int)             {}
func (s *playedStream) Reset(code session.Code) { s.events <- "reset " + code.String() }
func (s *playedStream) Peer() poller.Addr       { return poller.Addr{} }
func (s *playedStream) Local() poller.Addr      { return poller.Addr{} }
func (s *playedStream) TLS() *tlsconn.Digest    { return s.digest }

// want takes the next event, which begins with prefix, and returns it.
func (s *playedStream) want(t *testing.T, prefix string) string {
	t.Helper()
	event := <-s.events
	if !strings.HasPrefix(event, prefix) {
		t.Fatalf("got %q, want %q", event, prefix)
	}
	return event
}

// played is a client that a test plays. Its methods run on the test's goroutine.
type played struct {
	*playedStream
	reactor  *engine.Reactor
	receiver session.Receiver
}

// play begins an exchange on a proxy.
func (r *rig) play(t *testing.T, on *proxy.Listener, digest *tlsconn.Digest, h *message.Head, end bool) *played {
	t.Helper()
	p := &played{
		playedStream: &playedStream{digest: digest, events: make(chan string, 16)}, reactor: r.engine.Reactors()[0],
	}
	p.do(func() {
		p.receiver = r.proxy.Service(on).Accept(p.reactor, p.playedStream)
		p.receiver.OnHead(p.playedStream, h, end)
	})
	return p
}

// do runs f on the reactor.
func (p *played) do(f func()) {
	done := make(chan struct{})
	p.reactor.Post(&engine.Task{Run: func(*engine.Reactor) { f(); close(done) }})
	<-done
}

// headOf makes the head of a request; fields are "Name: value".
func headOf(method, scheme, authority, target string, fields ...string) *message.Head {
	h := &message.Head{Proto: message.HTTP20}
	h.SetMethod(method)
	h.SetTarget(target)
	h.SetAuthority(authority)
	h.HTTPS = scheme == "https"
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		h.Add(name, value)
	}
	return h
}

// extendedConnect is what HTTP/2 makes of one: RFC 8441.
func extendedConnect(protocol string) *message.Head {
	h := headOf("GET", "https", "h", "/chat", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: echo")
	h.Upgrade = true
	h.Protocol = message.Span{At: uint32(len(h.Base)), Len: uint32(len(protocol))}
	h.Base = append(h.Base, protocol...)
	return h
}

var overTLS = &tlsconn.Digest{Version: 0x304, Cipher: 0x1301, Group: 29, ServerName: "h", ALPN: "h2"}

// acceptKey answers a handshake as a server does, whose head it read.
func acceptKey(t *testing.T, head string) (key string) {
	t.Helper()
	_, rest, found := strings.Cut(head, "\r\nSec-WebSocket-Key: ")
	key, _, _ = strings.Cut(rest, "\r\n")
	if !found || len(key) != 24 {
		t.Fatalf("no key in %q", head)
	}
	return key
}

// A client of HTTP/2 gets to a WebSocket of HTTP/1: a key is made, and what the origin makes of it is checked.
func TestWebSocket_extendedConnectToHTTP1(t *testing.T) {
	s := setTunnel(t, stageOptions{})
	c := s.play(t, &proxy.Listener{}, overTLS, extendedConnect("websocket"), true)
	up := s.accept()
	head := up.ReadHead()
	key := acceptKey(t, head)
	if !strings.HasPrefix(head, "GET /chat HTTP/1.1\r\nHost: h\r\n") ||
		!strings.HasSuffix(head, "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n") ||
		strings.Count(head, "Sec-WebSocket-Version: 13\r\n") != 1 {
		t.Fatalf("%q", head)
	}
	up.Send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " +
		proxy.WebSocketAccept([]byte(key)) + "\r\nSec-WebSocket-Protocol: echo\r\n\r\n\x81\x02hi")
	event := c.want(t, "head 101 tunnel")
	if strings.Contains(event, "Accept") || !strings.Contains(event, "Sec-WebSocket-Protocol: echo") {
		t.Fatal(event)
	}
	c.want(t, "data \x81\x02hi")
	c.do(func() { c.receiver.OnData(c.playedStream, []byte("to the origin"), false) })
	up.Want("to the origin")

	// Between two frames the client can be told that the process goes.
	up.Send("\x81\x04ha")
	c.want(t, "data \x81\x04ha")
	parting := c.receiver.(session.TunnelDrainer)
	c.do(func() { parting.OnTunnelDrain(c.playedStream) })
	up.Send("lf")
	c.want(t, "data lf")
	c.do(func() { parting.OnTunnelDrain(c.playedStream) })
	c.want(t, "data \x88\x02\x03\xe9")
	up.Close()
	c.want(t, "data  end")
	c.do(func() { c.receiver.OnData(c.playedStream, nil, true) })
	s.settled(t)
}

// The key was made here, so nobody else holds the answer against it.
func TestWebSocket_wrongAccept(t *testing.T) {
	for _, accept := range []string{"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", ""} {
		s := setTunnel(t, stageOptions{})
		c := s.play(t, &proxy.Listener{}, overTLS, extendedConnect("websocket"), true)
		up := s.accept()
		acceptKey(t, up.ReadHead())
		up.Send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" + accept + "\r\n")
		c.want(t, "head 502")
		s.settled(t)
	}
}

// A client of HTTP/1 that has no key is not given one: the origin is to see that, and to say what it thinks of it.
func TestWebSocket_noKey(t *testing.T) {
	for _, answer := range []string{"101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n",
		"101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: any\r\n",
		"426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\n"} {
		s := setTunnel(t, stageOptions{})
		down := s.client()
		down.Send("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		up := s.accept()
		if head := up.ReadHead(); strings.Contains(head, "Sec-") ||
			!strings.HasSuffix(head, "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n") {
			t.Fatalf("%q", head)
		}
		up.Send("HTTP/1.1 " + answer + "\r\n")
		if head := down.ReadHead(); !strings.HasPrefix(head, "HTTP/1.1 "+answer[:3]) ||
			strings.Contains(head, "Sec-") != strings.Contains(answer, "Sec-") {
			t.Fatalf("%q", head)
		}
		down.Close()
		up.Close()
		s.settled(t)
	}
}

// An answer to an extended CONNECT that opens no tunnel must not look like one that does.
func TestWebSocket_extendedConnectUnanswered(t *testing.T) {
	s := setTunnel(t, stageOptions{})
	c := s.play(t, &proxy.Listener{}, overTLS, extendedConnect("websocket"), true)
	up := s.accept()
	up.ReadHead()
	up.Send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	if event := c.want(t, "head 502"); !strings.Contains(event, "Proxy-Status: edge; error=http_upgrade_failed") {
		t.Fatal(event)
	}
	c.want(t, "data 502 Bad Gateway")
	c = s.play(t, &proxy.Listener{}, overTLS, extendedConnect("websocket"), true)
	up = s.accept()
	up.ReadHead()
	up.Send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
	c.want(t, "head 403")
	c.want(t, "data no end")
	s.settled(t)
}

func TestWebSocket_extendedConnectNotAllowed(t *testing.T) {
	for protocol, tunnels := range map[string]proxy.Tunnels{
		"websocket": {WebSocket: proxy.Off}, "connect-udp": {},
	} {
		s := setTunnel(t, stageOptions{route: proxy.Route{Tunnels: tunnels}})
		c := s.play(t, &proxy.Listener{}, overTLS, extendedConnect(protocol), true)
		c.want(t, "head 501")
	}
}

// A head that ends the stream stays one, and one that does not leaves at once.
func TestGRPC_endOfStreamIsCarriedThrough(t *testing.T) {
	s := setTunnel(t, stageOptions{route: routeRPC})
	h := headOf("POST", "https", "h", "/s/m", "Content-Type: application/grpc", "TE: trailers")
	h.Length = message.LengthUnknown
	c := s.play(t, &proxy.Listener{Log: []proxy.AccessLog{s.log}}, overTLS, h, false)
	up := s.accept()
	if head := up.ReadHead(); !strings.Contains(head, "\r\nTransfer-Encoding: chunked\r\n") {
		t.Fatalf("%q", head)
	}
	up.Send("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nGrpc-Status: 5\r\nContent-Length: 0\r\n\r\n")
	c.want(t, "head 200 end")
	if r := s.log.want(t, 1, 200, ""); r.GRPCStatus != 5 {
		t.Fatal(r.GRPCStatus)
	}
}

func TestSecure_schemes(t *testing.T) {
	s := setTunnel(t, stageOptions{})
	for _, c := range []struct {
		scheme, host string
		digest       *tlsconn.Digest
		on           proxy.Listener
		want         string
	}{
		{"https", "h", nil, proxy.Listener{}, "head 421"},
		{"https", "other", overTLS, proxy.Listener{StrictSNI: true}, "head 421"},
		{"https", "[::1]", overTLS, proxy.Listener{StrictSNI: true}, "head 421"},
		{"http", "h", nil, proxy.Listener{StrictSNI: true}, "head 421"},
		{"http", "h", nil, proxy.Listener{ClientCert: true}, "head 421"},
		{"https", "h", overTLS, proxy.Listener{ClientCert: true}, "head 421"},
		{"http", "h", nil, proxy.Listener{ClientCert: true, RedirectToHTTPS: 443}, "head 308\nLocation: https://h/a?b"},
		{"http", "H.:8443", nil, proxy.Listener{RedirectToHTTPS: 443}, "head 308\nLocation: https://H./a?b"},
		{"http", "h", nil, proxy.Listener{RedirectToHTTPS: 8443}, "head 308\nLocation: https://h:8443/a?b"},
		{"", "", nil, proxy.Listener{RedirectToHTTPS: 8443}, "head 400"},
	} {
		p := s.play(t, &c.on, c.digest, headOf("GET", c.scheme, c.host, "/a?b"), true)
		event := strings.Replace(<-p.events, " end", "", 1)
		if status, location, _ := strings.Cut(c.want, "\n"); !strings.HasPrefix(event, status) ||
			!strings.Contains(event, location) {
			t.Errorf("%+v: %q", c, event)
		}
	}
}

// A listener's own answers come before all that refuses or redirects. Other methods and paths go their way.
func TestListener_answersItself(t *testing.T) {
	s := setTunnel(t, stageOptions{})
	asked := 0
	for _, c := range []struct {
		method, path string
		on           proxy.Listener
		want         string
	}{
		{"GET", "/proof?x", proxy.Listener{RedirectToHTTPS: 443, StrictSNI: true, ClientCert: true}, "head 200\nproof"},
		{"HEAD", "/proof", proxy.Listener{RedirectToHTTPS: 443}, "head 200"},
		{"POST", "/proof", proxy.Listener{RedirectToHTTPS: 443}, "head 308"},
		{"GET", "/proof/", proxy.Listener{RedirectToHTTPS: 443}, "head 308"},
		{"GET", "/taken", proxy.Listener{RedirectToHTTPS: 443}, "head 404"},
	} {
		c.on.Answers = func(path []byte) (string, bool) {
			asked++
			return "proof", string(path) == "/proof" || string(path) == "/taken" && asked%2 == 1
		}
		asked = 0
		p := s.play(t, &c.on, nil, headOf(c.method, "http", "h", c.path), true)
		got := <-p.events
		status, text, _ := strings.Cut(c.want, "\n")
		for !strings.HasSuffix(got, " end") && !strings.Contains(got, " end\n") {
			more, open := <-p.events
			if got += more; !open {
				break
			}
		}
		if !strings.HasPrefix(got, status) || !strings.Contains(got, text) {
			t.Errorf("%s %s: %q, want %q", c.method, c.path, got, c.want)
		}
	}
}

// What TLS says of a client goes to the origin, and what the client should know of it to the client.
func TestSecure_fields(t *testing.T) {
	s := setTunnel(t, stageOptions{route: proxy.Route{Filters: []*proxy.Filter{setFields(map[string]string{
		"X-TLS": "{tls_version} {tls_cipher}/{tls_group} {sni} {alpn}", "X-Cert": "{client_cert_subject}",
		"X-Text": "{x} {",
	}, nil)}}})
	for _, digest := range []*tlsconn.Digest{overTLS, nil} {
		p := s.play(t, &proxy.Listener{HSTS: "max-age=1", Forwarded: true, StrictSNI: digest != nil}, digest,
			headOf("GET", "http", "h", "/", "X-Cert: forged", "X-TLS: forged"), true)
		up := s.accept()
		head := up.ReadHead()
		up.Send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		event := p.want(t, "head 200 end")
		tls := digest != nil
		for text, want := range map[string]bool{
			"X-Forwarded-Proto: https\r\n": tls, "X-Forwarded-Proto: http\r\n": !tls, ";proto=https\r\n": tls,
			"Via: 2.0 edge\r\n": true,
			"X-TLS: TLS 1.3 TLS_AES_128_GCM_SHA256/X25519 h h2\r\n": tls, "X-TLS": tls, "X-Cert": false,
			"X-Text: {x} {\r\n": true,
		} {
			if strings.Contains(head, text) != want {
				t.Errorf("%v: %q in %q", tls, text, head)
			}
		}
		if strings.Contains(event, "\nStrict-Transport-Security: max-age=1") != tls {
			t.Errorf("%v: %q", tls, event)
		}
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return s.stats().Active == 0 })
}

// A backend that ends its side and then goes has said what it had to say.
func TestWebSocket_endThenReset(t *testing.T) {
	s := setTunnel(t, stageOptions{})
	down, up := s.request("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	up.Send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
	down.ReadHead()
	up.Send("\x88\x02\x03\xe8")
	if err := up.Conn().(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	down.Want("\x88\x02\x03\xe8")
	up.Reset()
	down.WantEnd()
	s.log.want(t, 1, 101, "")
}

// A handler sees a request over TLS and HTTP/2 as net/http shows it.
func TestSecure_handler(t *testing.T) {
	r := handlerRig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := r.TLS
		fmt.Fprintf(w, "%s %d %d %s %s", r.Proto, r.ProtoMajor, r.ProtoMinor, c.ServerName, c.NegotiatedProtocol)
	}))
	p := r.play(t, &proxy.Listener{}, overTLS, headOf("GET", "https", "h", "/"), true)
	p.want(t, "head 200")
	p.want(t, "data HTTP/2.0 2 0 h h2")
}
