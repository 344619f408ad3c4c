package interop

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	quicgo "github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/edge-proxy/edge/internal/test/quicpeer"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/quic"
)

// Limits of connections refuse the next one, and the others stay. A connection that has ended makes room.
func TestHTTP3_limits(t *testing.T) {
	for _, limit := range []string{"connections = 2", "connections_per_client = 2"} {
		t.Run(limit, func(t *testing.T) {
			t.Parallel()
			p := startPlaced(t, newSlow(t), "")
			p.reload(t, p.listener(`"h1", "h2", "h3"`)+"limits."+limit+"\n")
			var conns []*quicgo.Conn
			var clients []*http3.ClientConn
			for range 2 {
				conn, client := p.connect(t)
				page(t, client, "https://"+p.addr+"/") // the server has the end of its handshake
				conns, clients = append(conns, conn), append(clients, client)
			}
			p.refused(t)
			for i, c := range clients {
				r, _ := http.NewRequestWithContext(bound(t), "GET", "https://"+p.addr+"/", nil)
				resp, err := c.RoundTrip(r)
				if err != nil {
					t.Fatalf("connection %d: %v", i, err)
				}
				resp.Body.Close()
			}
			_ = conns[0].CloseWithError(0x100, "")
			testutil.Eventually(t, testutil.Patience, func() bool {
				conn, err := quicgo.DialAddr(bound(t), p.addr, p.client("h3"), nil)
				if err == nil {
					_ = conn.CloseWithError(0x100, "")
				}
				return err == nil
			}, "room for another connection")
		})
	}
}

// RFC 9000 §21.3: the source of an Initial may be forged. Initials alone do not fill the share of the client that has
// this address.
func TestHTTP3_forgedInitialsDoNotCountForAClient(t *testing.T) {
	t.Parallel()
	const forged = "127.0.0.9"
	p := startPlaced(t, newSlow(t), "")
	p.reload(t, p.listener(`"h1", "h2", "h3"`)+"limits.connections_per_client = 50\n")
	p.forge(t, forged, 60)

	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(forged)}}
	tcp := &http.Client{Transport: &http.Transport{
		DialContext: dialer.DialContext, TLSClientConfig: p.client("http/1.1"), DisableKeepAlives: true}}
	url, served := "https://"+p.addr+"/", 0
	for range 8 {
		r, _ := http.NewRequestWithContext(bound(t), "GET", url, nil)
		resp, err := tcp.Do(r)
		if err != nil {
			t.Errorf("over TCP: %v", err)
			continue
		}
		_ = resp.Body.Close()
		c, err := transportAt(t, forged).Dial(bound(t), udpAddr(t, p.addr), p.client("h3"), nil)
		if err != nil {
			t.Errorf("over QUIC: %v", err)
			continue
		}
		page(t, new(http3.Transport).NewClientConn(c), url)
		_ = c.CloseWithError(0x100, "")
		served++
	}
	if served != 8 {
		t.Errorf("%d of 8 are served", served)
	}
}

// forge sends Initials of so many connections from an address, whose answers nobody takes up, and waits until the
// server has taken all.
func (p *placed) forge(t *testing.T, from string, n int) {
	t.Helper()
	udp, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.ParseIP(from)}, udpAddr(t, p.addr))
	testutil.Must(t, err)
	t.Cleanup(func() { udp.Close() })
	path := quic.Path{Local: netip.MustParseAddr(from), Peer: udpAddr(t, p.addr).AddrPort()}
	config := p.client("h3")
	config.MinVersion, config.CurvePreferences = tls.VersionTLS13, []tls.CurveID{tls.X25519} // one datagram
	unanswered := make(map[quic.ID]bool)
	for range n {
		var end quicpeer.End
		end.Begin(config, path, 1, rand.Uint64)
		t.Cleanup(end.Stop)
		d, _ := end.Conn.AppendDatagram(make([]byte, 0, quic.DatagramMax), 1)
		h, ok := quic.Parse(d)
		if !ok || end.Err != nil {
			t.Fatalf("no Initial: %v", end.Err)
		}
		id, _ := quic.MakeID(h.Source)
		unanswered[id] = true
		if _, err := udp.Write(d); err != nil {
			t.Fatal(err)
		}
	}
	b := make([]byte, 1<<16)
	for _ = udp.SetReadDeadline(time.Now().Add(testutil.Patience)); len(unanswered) > 0; {
		n, err := udp.Read(b)
		testutil.Must(t, err)
		if h, ok := quic.Parse(b[:n]); ok {
			id, _ := quic.MakeID(h.Dest)
			delete(unanswered, id)
		}
	}
}

// What is asked of handshakes is asked over QUIC.
func TestHTTP3_handshakes(t *testing.T) {
	t.Parallel()
	p := startPlaced(t, newSlow(t), "[[tls.rules]]\nwhen = 'tls.sni == \"denied.example.org\"'\ndeny = true\n")
	dial := func(change func(*tls.Config)) error {
		config := p.client("h3")
		config.InsecureSkipVerify = true
		change(config)
		conn, err := quicgo.DialAddr(bound(t), p.addr, config, nil)
		if err != nil {
			return err
		}
		defer conn.CloseWithError(0x100, "") //nolint:errcheck // it has been used
		s, err := (&http3.Transport{}).NewClientConn(conn).OpenRequestStream(bound(t))
		if err != nil {
			return err
		}
		r, _ := http.NewRequest("GET", "https://localhost/", nil)
		if err := s.SendRequestHeader(r); err != nil {
			return err
		}
		_ = s.Close()
		_, err = s.ReadResponse()
		return err
	}
	none := func(*tls.Config) {}
	if err := dial(none); err != nil {
		t.Error(err)
	}
	var fault *quicgo.TransportError
	err := dial(func(c *tls.Config) { c.ServerName = "denied.example.org" })
	if !errors.As(err, &fault) || !fault.ErrorCode.IsCryptoError() {
		t.Errorf("denied: %v", err)
	}
	p.reload(t, p.listener(`"h1", "h2", "h3"`)+fmt.Sprintf("client_auth = \"require\"\nclient_ca = %q\n", p.ca))
	if err := dial(none); !errors.As(err, &fault) || fault.ErrorCode != 0x174 { // certificate_required
		t.Errorf("without a certificate: %v", err)
	}
}

// throng makes connections of quic-go to one edge, all from one socket.
type throng struct {
	e         *edge
	transport *quicgo.Transport
	to        *net.UDPAddr
}

// ask makes a connection and asks for a page on it.
func (c *throng) ask(t *testing.T) (*quicgo.Conn, error) {
	conn, err := c.transport.Dial(bound(t), c.to, c.e.client("h3"), &quicgo.Config{
		HandshakeIdleTimeout: time.Minute, MaxIdleTimeout: 2 * time.Minute})
	if err != nil {
		return nil, err
	}
	r, _ := http.NewRequestWithContext(bound(t), "GET", "https://"+c.e.secure+"/", nil)
	resp, err := (&http3.Transport{}).NewClientConn(conn).RoundTrip(r)
	if err == nil {
		_ = resp.Body.Close()
	}
	return conn, err
}

// flooded asks again and again for a while, beside a flood of datagrams that begin nothing.
func (c *throng) flooded(t *testing.T, while time.Duration) {
	end, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var sent atomic.Int64
	all.Go(func() { flood(end, t, c.e.secure, &sent) })
	served, failed := 0, 0
	for at := time.Now(); time.Since(at) < while; {
		conn, err := c.ask(t)
		if err != nil {
			t.Log(err)
			failed++
			continue
		}
		served++
		_ = conn.CloseWithError(0x100, "")
	}
	cancel()
	all.Wait()
	t.Logf("in a flood of %d datagrams: %d served, %d not", sent.Load(), served, failed)
	if failed > 0 {
		t.Errorf("%d of %d were not served in a flood", failed, served+failed)
	}
}

// Many clients at once are served, and so are others in a flood. EDGE_SOAK=1 has 2 000 clients.
func TestHTTP3_crowd(t *testing.T) {
	n := 100
	if soak() {
		n = 2000
	}
	e := startEdge(t, "[global]\nworker_threads = 2\n[[routes]]\npattern = \"/*\"\ndest = \"status:204\"\n")
	c := &throng{e: e, transport: transportAt(t, "127.0.0.1"), to: udpAddr(t, e.secure)}
	_, err := c.ask(t)
	testutil.Must(t, err)
	_, before := e.resources(t)
	conns, lost := make([]*quicgo.Conn, n), atomic.Int64{}
	var all sync.WaitGroup
	begun := time.Now()
	for i := range conns {
		all.Go(func() {
			var err error
			if conns[i], err = c.ask(t); err != nil {
				lost.Add(1)
				t.Log(err)
			}
		})
	}
	all.Wait()
	_, after := e.resources(t)
	t.Logf("%d connections in %v, %d lost; %d bytes each", n, time.Since(begun), lost.Load(), (after-before)/n)
	if lost.Load() > 0 {
		t.Errorf("%d of %d were not served", lost.Load(), n)
	}
	c.flooded(t, time.Duration(n)*5*time.Millisecond)
	for i, c := range conns {
		if c != nil && c.Context().Err() != nil {
			t.Errorf("connection %d: %v", i, context.Cause(c.Context()))
		}
	}
	if text := e.Output(); strings.Contains(text, "panic") {
		t.Error(text)
	}
}

// flood sends 10 000 datagrams a second until the end: noise, and Initials that cannot be opened.
func flood(end context.Context, t *testing.T, addr string, sent *atomic.Int64) {
	c, err := net.Dial("udp4", addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	b := make([]byte, 1200)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end.Err() == nil {
		for i := range 100 {
			for k := 0; k < len(b); k += 8 {
				binary.LittleEndian.PutUint64(b[k:], rand.Uint64())
			}
			if i%2 == 0 { // RFC 9000 §17.2.2
				copy(b, []byte{0xc3, 0, 0, 0, 1, 8})
				b[14], b[15], b[16] = 0, 0, 0x44
				b[17] = 0x9e
			}
			_, _ = c.Write(b)
			sent.Add(1)
		}
		<-tick.C
	}
}

// quic-go proves its address and gets its page, with a key of a reload.
func TestHTTP3_retry(t *testing.T) {
	t.Parallel()
	p := startPlaced(t, newSlow(t), "")
	listener := p.listener(`"h1", "h2", "h3"`)
	p.reload(t, listener+"h3 = { retry = \"always\" }\n")
	p.well(t, "retry always")
	if h := p.answered(t); h.Kind != quic.RetryPacket || len(h.Token) == 0 {
		t.Errorf("%+v", h)
	}
	p.reload(t, listener+"h3 = { retry = \"never\" }\n")
	p.well(t, "retry never")
}

// answered returns the header of the answer to an Initial that nobody has sealed.
func (p *placed) answered(t *testing.T) (h quic.Header) {
	t.Helper()
	c, err := net.Dial("udp4", p.addr)
	testutil.Must(t, err)
	defer c.Close()
	d := make([]byte, quic.DatagramSize)
	copy(d, "\xc3\x00\x00\x00\x01\x08original\x02me\x00\x44\x99")
	testutil.Must(t, c.SetDeadline(time.Now().Add(testutil.Patience)))
	if _, err := c.Write(d); err != nil {
		t.Fatal(err)
	}
	n, err := c.Read(d)
	testutil.Must(t, err)
	h, ok := quic.Parse(d[:n])
	if !ok {
		t.Fatalf("%x", d[:n])
	}
	return h
}
