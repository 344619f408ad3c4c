package server

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/testutil"
)

// against runs ask against a server on the other end of a connection.
func against(t *testing.T, ask func(net.Conn) error, serve func(c net.Conn)) error {
	t.Helper()
	down, up := net.Pipe()
	up.SetDeadline(time.Now().Add(testutil.Patience))
	down.SetDeadline(time.Now().Add(testutil.Patience))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer down.Close()
		serve(down)
	}()
	err := ask(up)
	up.Close()
	<-ended
	return err
}

// answer reads a request and sends text.
func answer(text string) func(c net.Conn) {
	return func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			io.WriteString(c, text) //nolint:errcheck // the client may have left
		}
	}
}

func TestAskH1(t *testing.T) {
	for _, c := range []struct{ answer, want string }{
		{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""},
		{"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", ""},
		{"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "answered with 500 No"},
		{"HTTP/1.1 2", "no answer"},
		{"", "no answer"},
		{"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 80<<10) + "\r\n\r\n", "no answer"},
	} {
		err := against(t, askH1, answer(c.answer))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.30q: %v, want %q", c.answer, err, c.want)
		}
	}
}

func TestAskH2C(t *testing.T) {
	const preface = 24 + 9
	for frame, good := range map[string]bool{
		"\x00\x00\x00\x04\x00\x00\x00\x00\x00": true, "\x00\x00\x00\x07\x00\x00\x00\x00\x00": false, "HTTP/1.1": false,
	} {
		err := against(t, askH2C, func(c net.Conn) {
			io.CopyN(io.Discard, c, preface) //nolint:errcheck // the answer shows
			io.WriteString(c, frame)         //nolint:errcheck // as above
		})
		if (err == nil) != good {
			t.Errorf("%q: %v", frame, err)
		}
	}
}

func TestAskTLS(t *testing.T) {
	cert, key := testutil.NewAuthority(t).Issue(t, nil, "example.org")
	must := tls.RequireAnyClientCert
	pair := tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
	for name, c := range map[string]struct {
		config *tls.Config
		answer string
		good   bool
	}{
		"HTTP/1":             {&tls.Config{NextProtos: []string{"http/1.1"}}, "HTTP/1.1 200 OK\r\n\r\n", true},
		"HTTP/1 that fails":  {&tls.Config{}, "HTTP/1.1 503 No\r\n\r\n", false},
		"HTTP/2":             {&tls.Config{NextProtos: []string{"h2"}}, "", true},
		"client certificate": {&tls.Config{ClientAuth: must}, "", true},
		"one by TLS 1.2":     {&tls.Config{ClientAuth: must, MaxVersion: tls.VersionTLS12}, "", true},
		"an old version":     {&tls.Config{MaxVersion: tls.VersionTLS11}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			c.config.Certificates = []tls.Certificate{pair}
			ask := func(conn net.Conn) error { return askTLS(conn, []string{"h2", "http/1.1"}) }
			err := against(t, ask, func(conn net.Conn) {
				s := tls.Server(conn, c.config)
				if s.Handshake() == nil && c.answer != "" {
					answer(c.answer)(s)
				}
			})
			if (err == nil) != c.good {
				t.Error(err)
			}
		})
	}
}
