package interop

import (
	"bufio"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/net/http2"
)

// The WebSocket packages speak HTTP/1.1. What is here lets their handshake travel as an extended CONNECT of HTTP/2
// (RFC 8441), by the client and the server of golang.org/x/net and of the standard library.
//
//	coder.Dial ── GET, Upgrade ──► extended ── CONNECT, :protocol ──► edge
//	gorilla ── bytes ──► h1Conn ─────────┘

// extended is a RoundTripper that asks for a WebSocket by an extended CONNECT.
type extended struct{ transport http.RoundTripper }

// newExtended makes one; without a config it speaks HTTP/2 without TLS.
func newExtended(t *testing.T, config *tls.Config) *extended {
	h2 := &http2.Transport{TLSClientConfig: config}
	if config == nil {
		h2.AllowHTTP = true
		h2.DialTLSContext = func(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}
	}
	t.Cleanup(h2.CloseIdleConnections)
	return &extended{h2}
}

// RoundTrip sends r, which is a handshake of HTTP/1.1, and answers as a server of HTTP/1.1 would.
func (x *extended) RoundTrip(r *http.Request) (*http.Response, error) {
	body, in := io.Pipe()
	out := (&http.Request{
		Method: http.MethodConnect, URL: r.URL, Host: r.Host, Header: r.Header.Clone(), Body: body, ContentLength: -1,
	}).WithContext(r.Context())
	out.Header[":protocol"] = []string{"websocket"}
	for _, name := range []string{"Connection", "Upgrade", "Sec-Websocket-Key"} {
		out.Header.Del(name)
	}
	resp, err := x.transport.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return resp, nil
	}
	resp.StatusCode = http.StatusSwitchingProtocols
	resp.Header.Set("Connection", "Upgrade")
	resp.Header.Set("Upgrade", "websocket")
	resp.Header.Set("Sec-WebSocket-Accept", accept(r.Header.Get("Sec-WebSocket-Key")))
	resp.Body = struct {
		io.Reader
		io.WriteCloser
	}{resp.Body, in}
	return resp, nil
}

// accept is the answer to a key: RFC 6455 §4.2.2.
func accept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// h1Conn is a net.Conn for a package that writes its handshake itself: the first request on it goes by x.
type h1Conn struct {
	net.Conn // the end that the package sees
}

func newH1Conn(x *extended, target *url.URL) *h1Conn {
	ours, theirs := net.Pipe()
	go func() {
		defer ours.Close()
		in := bufio.NewReader(ours)
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		r.URL = target
		resp, err := x.RoundTrip(r)
		if err != nil {
			_, _ = fmt.Fprintf(ours, "HTTP/1.1 502 %s\r\nContent-Length: 0\r\n\r\n", "Bad Gateway")
			return
		}
		body, ok := resp.Body.(io.ReadWriteCloser)
		if !ok {
			_ = resp.Write(ours)
			return
		}
		_, _ = fmt.Fprintf(ours, "HTTP/1.1 101 Switching Protocols\r\n")
		_ = resp.Header.Write(ours)
		_, _ = io.WriteString(ours, "\r\n")
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _ = io.Copy(body, in)
			_ = body.Close()
		})
		_, _ = io.Copy(ours, body)
		_ = ours.Close()
		wg.Wait()
	}()
	return &h1Conn{theirs}
}

// SetDeadline and its kin do nothing: the context of the test bounds it.
func (*h1Conn) SetDeadline(time.Time) error      { return nil }
func (*h1Conn) SetReadDeadline(time.Time) error  { return nil }
func (*h1Conn) SetWriteDeadline(time.Time) error { return nil }

// runOrigin is the child: a server of HTTP/1 and HTTP/2 without TLS that echoes WebSocket messages. The standard
// library takes an extended CONNECT only if GODEBUG says so when the process starts.
func runOrigin() {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", l.Addr())
	s := &http.Server{Handler: http.HandlerFunc(echo), Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	log.Fatal(s.Serve(l))
}

// echo sends back what comes, as it comes.
func echo(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodConnect:
		w, r = extendedServer(w, r)
	case r.ProtoMajor == 2: // the package would say so by fields that HTTP/2 has not
		w.WriteHeader(http.StatusUpgradeRequired)
		return
	}
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, Subprotocols: []string{"echo"}, CompressionMode: websocket.CompressionContextTakeover,
	})
	if err != nil {
		return
	}
	c.SetReadLimit(4 << 20)
	for {
		kind, in, err := c.Reader(r.Context())
		if err != nil {
			var end websocket.CloseError
			if errors.As(err, &end) {
				_ = c.Close(end.Code, end.Reason)
			}
			_ = c.CloseNow()
			return
		}
		out, err := c.Writer(r.Context(), kind)
		if err != nil {
			return
		}
		if _, err := io.Copy(out, in); err != nil {
			return
		}
		if err := out.Close(); err != nil {
			return
		}
	}
}

// extendedServer makes an extended CONNECT look like a handshake of HTTP/1.1.
func extendedServer(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request) {
	like := r.Clone(r.Context())
	like.Method = http.MethodGet
	like.Header.Set("Connection", "Upgrade")
	like.Header.Set("Upgrade", r.Header.Get(":protocol"))
	like.Header.Set("Sec-WebSocket-Key", base64.StdEncoding.EncodeToString(make([]byte, 16)))
	return &hijackable{ResponseWriter: w, body: r.Body}, like
}

// hijackable answers 200 where 101 is meant, and hands the stream out as a connection.
type hijackable struct {
	http.ResponseWriter
	body io.ReadCloser
}

// WriteHeader sends the head.
func (h *hijackable) WriteHeader(status int) {
	if status == http.StatusSwitchingProtocols {
		status = http.StatusOK
		h.Header().Del("Connection")
		h.Header().Del("Upgrade")
		h.Header().Del("Sec-WebSocket-Accept")
	}
	h.ResponseWriter.WriteHeader(status)
	_ = http.NewResponseController(h.ResponseWriter).Flush()
}

// Hijack gives the stream away.
func (h *hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c := &streamConn{h: h}
	return c, bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriter(c)), nil
}

// streamConn is a stream of HTTP/2 as a connection.
type streamConn struct {
	net.Conn // nil: what is not below is not called
	h        *hijackable
}

// Read reads the request's body.
func (c *streamConn) Read(p []byte) (int, error) { return c.h.body.Read(p) }

// Write writes the answer's, at once.
func (c *streamConn) Write(p []byte) (int, error) {
	n, err := c.h.ResponseWriter.Write(p)
	if err == nil {
		err = http.NewResponseController(c.h.ResponseWriter).Flush()
	}
	return n, err
}

// Close ends the reading; the handler's return ends the stream.
func (c *streamConn) Close() error { return c.h.body.Close() }

// SetDeadline and its kin do nothing.
func (c *streamConn) SetDeadline(time.Time) error      { return nil }
func (c *streamConn) SetReadDeadline(time.Time) error  { return nil }
func (c *streamConn) SetWriteDeadline(time.Time) error { return nil }
