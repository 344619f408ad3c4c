package server

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/edge-proxy/edge/internal/testutil"
)

// idleClients are ways to hold a connection without asking for anything.
var idleClients = []struct {
	name     string
	listener string
	idle     func(t *testing.T, c net.Conn)
	farewell string // what the connection ends with
	secured  bool
	from     net.IP // nil: any
}{
	{name: "that said nothing", listener: `protocols = ["h1"]`, idle: func(*testing.T, net.Conn) {}},
	{name: "that may say either version", listener: `protocols = ["h1", "h2"]`, idle: func(*testing.T, net.Conn) {}},
	{name: "that said nothing to TLS", secured: true, idle: func(*testing.T, net.Conn) {}},
	{name: "that sent no header", listener: `proxy_protocol = { from = ["127.0.0.2"] }`,
		from: net.IPv4(127, 0, 0, 2), idle: func(*testing.T, net.Conn) {}},
	{name: "that were answered", idle: func(t *testing.T, c net.Conn) {
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		try(t, err)
		resp.Body.Close()
	}},
	{name: "of HTTP/2", listener: `protocols = ["h1", "h2"]`, farewell: "\x00\x00\x00\x00\x00\x00\x00\x00",
		idle: func(t *testing.T, c net.Conn) {
			fmt.Fprint(c, http2.ClientPreface)
			try(t, http2.NewFramer(c, c).WriteSettings())
		}},
}

// Clients that hold all places and do nothing do not lock others out.
func TestLimits_idleConnectionsYieldToNewcomers(t *testing.T) {
	t.Parallel()
	for _, how := range idleClients {
		t.Run(how.name, func(t *testing.T) {
			t.Parallel()
			listener := "[http]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n" + how.listener
			if how.secured {
				listener = secured(t, testutil.NewAuthority(t), t.TempDir())
			}
			s := start(t, Options{}, "%stls.handshake_timeout = \"10m\"\n%s\n"+
				"limits = { connections = 4, header_timeout = \"10m\" }\n%s", quiet, listener, all200)
			addr := s.Addresses()[0].Addr.String()
			var idle []net.Conn
			for range 4 {
				c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: how.from}}).Dial("tcp", addr)
				try(t, err)
				defer c.Close()
				how.idle(t, c)
				idle = append(idle, c)
			}
			testutil.Eventually(t, testutil.Patience, func() bool { return s.Conns() == len(idle) })
			begun := time.Now()
			for range 6 {
				ask(t, addr, how.secured)
			}
			if took := time.Since(begun); took > 20*time.Second {
				t.Errorf("newcomers were served after %v", took)
			}
			if n := counter(s, "edge_connections_yielded_total"); n == 0 {
				t.Error("no connection has yielded")
			}
			var ends []string
			for _, c := range idle {
				c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) //nolint:errcheck // the read says so
				if rest, err := io.ReadAll(c); err == nil {
					ends = append(ends, string(rest))
				}
			}
			if len(ends) == 0 || !strings.HasSuffix(ends[0], how.farewell) {
				t.Errorf("the ends of idle connections: %q", ends)
			}
		})
	}
}

// ask asks on a connection of its own, which it closes.
func ask(t *testing.T, addr string, secured bool) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	try(t, err)
	if secured {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, ServerName: "example.org"})
	}
	if resp, err := askOnce(conn, ""); err != nil || resp.StatusCode != 200 {
		t.Fatalf("a newcomer: %v, %v", resp, err)
	}
}
