package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/l4/proxyproto"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

const saysWho = "[[rules]]\nrespond = { status = 200, body = \"{client.ip}:{client.port} {peer.ip} {server.ip}:" +
	"{server.port} {socket.ip}\" }\n"

// A header tells the addresses for rules, and for the access log.
func TestProxyProtocol_plain(t *testing.T) {
	s := start(t, Options{}, quiet+"[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n"+
		"proxy_protocol = { from = [\"127.0.0.0/8\"] }\n"+saysWho)
	addr := strings.TrimPrefix(urlOf(t, s, "web"), "http://")
	for header, want := range map[string]string{
		"PROXY TCP4 198.51.100.7 198.51.100.1 1000 443\r\n":       "198.51.100.7:1000 198.51.100.7 198.51.100.1:443",
		"PROXY TCP6 2001:db8::7 2001:db8::1 1000 443\r\n":         "2001:db8::7:1000 2001:db8::7 2001:db8::1:443",
		"PROXY TCP6 ::ffff:198.51.100.7 2001:db8::1 1000 443\r\n": "198.51.100.7:1000 198.51.100.7 2001:db8::1:443",
	} {
		w := testutil.Dial(t, addr)
		for range 2 {
			w.Send(header + "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			header = ""
			if _, body := w.ReadResponse("GET"); body != want+" 127.0.0.1" {
				t.Errorf("%q, want %q", body, want)
			}
		}
		w.Close()
	}
	own := string(proxyproto.AppendV2(nil, netip.AddrPort{}, netip.AddrPort{}))
	for _, header := range []string{"", own, "PROXY UNKNOWN\r\n"} {
		w := testutil.Dial(t, addr)
		from, to := w.Conn().LocalAddr(), w.Conn().RemoteAddr()
		w.Send(header + "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		want := fmt.Sprintf("%s 127.0.0.1 %s 127.0.0.1", from, to)
		if _, body := w.ReadResponse("GET"); body != want {
			t.Errorf("%q, want %q", body, want)
		}
		w.Close()
	}
	for result, want := range map[string]float64{"told": 3, "own": 2, "none": 1, "missing": 0} {
		wantCounter(t, s, want, "edge_proxy_protocol_total", "web", result)
	}
}

// sender dials and writes a header before all else.
func sender(header []byte) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err == nil {
			_, err = c.Write(header)
		}
		return c, err
	}
}

// The header comes before TLS, whose conditions and connection filters know the told client.
func TestProxyProtocol_secured(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	s := start(t, Options{}, "%s", quiet+secured(t, ca, dir)+"connection_filters = [\"door\"]\n"+
		"proxy_protocol = { from = [\"127.0.0.0/8\"], required = true }\n"+
		"[[tls.rules]]\nwhen = 'client.ip == 198.51.100.8'\ndeny = true\n"+
		"[connection_filters.door]\ntype = \"test_door\"\nrefuse = \"none\"\n"+saysWho)
	header := func(client string) []byte {
		return proxyproto.AppendV2(nil, netip.MustParseAddrPort(client), netip.MustParseAddrPort("198.51.100.1:443"))
	}
	for _, h2 := range []bool{false, true} {
		tr := &http.Transport{ForceAttemptHTTP2: h2, DialContext: sender(header("198.51.100.7:1000")),
			TLSClientConfig: &tls.Config{RootCAs: ca.Pool, ServerName: "example.org"}}
		defer tr.CloseIdleConnections()
		answer, err := (&http.Client{Transport: tr}).Get(strings.Replace(urlOf(t, s, "web"), "http:", "https:", 1))
		testutil.Must(t, err)
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		want := "198.51.100.7:1000 198.51.100.7 198.51.100.1:443 127.0.0.1"
		if string(body) != want || answer.ProtoMajor == 2 != h2 {
			t.Errorf("%s %q", answer.Proto, body)
		}
	}
	for range 4 {
		if c := <-met; c.Peer.String() != "198.51.100.7:1000" || c.Local.String() != "198.51.100.1:443" {
			t.Errorf("%+v", c)
		}
	}
	c, err := sender(header("198.51.100.8:1"))(t.Context(), "tcp", strings.TrimPrefix(urlOf(t, s, "web"), "http://"))
	testutil.Must(t, err)
	defer c.Close()
	if err := tls.Client(c, &tls.Config{RootCAs: ca.Pool, ServerName: "example.org"}).Handshake(); err == nil {
		t.Error("the rule on handshakes has let it through")
	}
	<-met
}

// announcing connects for what is written first, once all others have something to write, and writes a header in one
// segment with it.
type announcing struct {
	net.Conn
	all          *sync.WaitGroup
	addr, header string
}

func (c *announcing) Write(p []byte) (int, error) {
	if c.Conn != nil {
		return c.Conn.Write(p)
	}
	c.all.Done()
	c.all.Wait()
	var err error
	if c.Conn, err = net.Dial("tcp", c.addr); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(append([]byte(c.header), p...))
	return max(0, n-len(c.header)), err
}

// Above the limit of handshakes connections wait in the backlog, as they do without a header.
func TestProxyProtocol_handshakes(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	// One reactor: where several pass connections on to each other a few more come than there is room for.
	s := serve(t, parse(t, quiet+"global.worker_threads = 1\ntls.handshakes = 4\n"+secured(t, ca, dir)+
		"proxy_protocol = { from = [\"127.0.0.0/8\"], required = true }\n"+saysWho), Options{})
	addr := strings.TrimPrefix(urlOf(t, s, "web"), "http://")
	var all, ready sync.WaitGroup
	var failed atomic.Int32
	ready.Add(200)
	for range 200 {
		all.Go(func() {
			// Clients that make their ClientHello meanwhile would be too slow for a place, and keep others busy.
			c := &announcing{all: &ready, addr: addr, header: "PROXY TCP4 198.51.100.7 198.51.100.1 1000 443\r\n"}
			if err := tls.Client(c, &tls.Config{RootCAs: ca.Pool, ServerName: "example.org"}).Handshake(); err != nil {
				failed.Add(1)
			}
			if c.Conn != nil {
				c.Close()
			}
		})
	}
	all.Wait()
	// On a busy machine a client may be slow enough to give way.
	if n := s.secure.Stats(); n.Full > 0 || n.Crowded > 10 || uint64(failed.Load()) > n.Crowded {
		t.Errorf("%d failed: %+v", failed.Load(), n)
	}
}

// Connections that are closed are counted and logged, once a minute for each reason.
func TestProxyProtocol_closes(t *testing.T) {
	log := logged(t, 1000)
	s := start(t, Options{}, quiet+"[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n"+
		"proxy_protocol = { from = [\"127.0.0.1\"], required = true }\n"+saysWho)
	addr := strings.TrimPrefix(urlOf(t, s, "web"), "http://")
	for range 3 {
		w := testutil.Dial(t, addr)
		w.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		wantEqual(t, w.ReadAll(), "")
		w = testutil.Dial(t, addr)
		w.Send("PROXY TCP4 nonsense\r\n")
		wantEqual(t, w.ReadAll(), "")
	}
	other := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	c, err := other.Dial("tcp", addr)
	testutil.Must(t, err)
	defer c.Close()
	c.Write([]byte("PROXY UNKNOWN\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")) //nolint:errcheck // the read tells
	if got, _ := io.ReadAll(c); len(got) > 0 {
		t.Errorf("%q", got)
	}
	for result, want := range map[string]float64{"missing": 3, "syntax": 3, "untrusted": 1} {
		wantCounter(t, s, want, "edge_proxy_protocol_total", "web", result)
	}
	found := log.with("PROXY protocol: connection closed")
	if len(found) != 3 || !strings.Contains(fmt.Sprint(found[0]["try"]), "health check") {
		t.Errorf("%v", found)
	}
}

// A reload turns it on and off for new connections, and services have it.
func TestProxyProtocol_reloadAndServices(t *testing.T) {
	text := func(keys string) *config.Config {
		return parseOwn(t, "[services.echo]\nlisten = \"127.0.0.1:0\"\n"+keys, "echo")
	}
	s := serve(t, text(""), ownParts)
	addr := addressOf(t, s, "echo")
	greet := func(sent, want string) {
		t.Helper()
		w := testutil.Dial(t, addr)
		defer w.Close()
		w.Send(sent)
		w.Want(want)
	}
	greet("PROXY UNKNOWN\r\n", "hello\nPROXY UNKNOWN\r\n")
	mustApply(t, s, text("proxy_protocol.from = [\"127.0.0.1\"]\n"))
	greet("PROXY UNKNOWN\r\nabc", "hello\nabc")
	mustApply(t, s, text(""))
	greet("PROXY UNKNOWN\r\n", "hello\nPROXY UNKNOWN\r\n")
}
