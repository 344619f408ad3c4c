package tlsconn_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/quic"
)

func rsaCertificate(t testing.TB) tls.Certificate {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	testutil.Must(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	testutil.Must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Keys of both kinds, a ClientHello in one Initial and in two, one that is asked for again.
func TestQUIC_handshakes(t *testing.T) {
	withRSA := rsaCertificate(t)
	for _, c := range []struct {
		cert   tls.Certificate
		offers []tls.CurveID
		takes  tls.CurveID
		name   string
	}{
		{authority().server, []tls.CurveID{tls.X25519}, tls.X25519, "X25519"},
		{authority().server, []tls.CurveID{tls.X25519MLKEM768, tls.X25519}, tls.X25519MLKEM768, "X25519MLKEM768"},
		{authority().server, []tls.CurveID{tls.X25519, tls.CurveP384}, tls.CurveP384, "P-384"},
		{withRSA, []tls.CurveID{tls.X25519}, tls.X25519, "X25519"},
	} {
		t.Run(fmt.Sprintf("%T/%s", c.cert.PrivateKey, c.name), func(t *testing.T) {
			accept, digests := keep(func() engine.Handler { return engine.NopHandler{} })
			o := quicServerConfig()
			o.Certificates, o.CurvePreferences = []tls.Certificate{c.cert}, []tls.CurveID{c.takes}
			v := newQUICHouse(t, tlsconn.HandshakerOptions{}, tlsconn.ServerOptions{Config: o, Asked: "nobody"}, accept)
			co := quicClientConfig()
			co.CurvePreferences, co.InsecureSkipVerify = c.offers, true
			k := v.dial(co)
			k.exchange("hello")
			d := <-digests
			got := strings.Join([]string{d.VersionName(), d.GroupName(), d.ServerName, d.ALPN, d.Asked}, " ")
			if got != "TLS 1.3 "+c.name+" localhost h3 nobody" || d.Resumed {
				t.Error(got)
			}
			if d.Peer.IP.String() != k.Addr().String() || d.Local.IP.String() != v.addr {
				t.Error(d.Peer, d.Local)
			}
			if d.Accepted > d.Hello || d.Hello > d.Secured || d.Accepted == 0 ||
				d.CipherName() != tls.CipherSuiteName(k.State.CipherSuite) {
				t.Error(d.Accepted, d.Hello, d.Secured, d.CipherName())
			}
			s := v.hs.Stats()
			if s.Started != 1 || s.Done != 1 || s.Current != 0 || v.engine.Stats().BufBytes != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestQUIC_clientCertificate(t *testing.T) {
	accept, digests := keep(func() engine.Handler { return engine.NopHandler{} })
	o := quicServerConfig()
	o.ClientAuth, o.ClientCAs = tls.RequireAndVerifyClientCert, authority().pool
	v := newQUICHouse(t, tlsconn.HandshakerOptions{}, tlsconn.ServerOptions{Config: o}, accept)
	co := quicClientConfig()
	co.Certificates = []tls.Certificate{authority().client}
	v.dial(co).exchange("hello")
	d := <-digests
	if f := d.PeerCertificate(); !d.Verified || f == nil || f.Subject != "CN=client.test,O=tests" {
		t.Errorf("%+v %+v", d, f)
	}
	k := v.dial(quicClientConfig()) // it is done for the client, whose certificate comes last
	if e := k.ended(); e.Code != 0x100+116 {
		t.Errorf("without a certificate: %+v", e)
	}
}

// A ticket comes with the end of the handshake, and is good as long as its key is there.
func TestQUIC_resumes(t *testing.T) {
	accept, digests := keep(func() engine.Handler { return engine.NopHandler{} })
	so := quicServerConfig()
	so.SetSessionTicketKeys([][32]byte{{1}})
	v := newQUICHouse(t, tlsconn.HandshakerOptions{}, tlsconn.ServerOptions{Config: so}, accept)
	o := quicClientConfig()
	o.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	for i, keys := range [][][32]byte{{{1}}, {{1}}, {{2}, {1}}, {{3}}} {
		so.SetSessionTicketKeys(keys)
		k := v.dial(o)
		k.exchange("after the ticket")
		k.leave()
		if d := <-digests; d.Resumed != (i == 1 || i == 2) || k.State.DidResume != d.Resumed {
			t.Fatalf("connection %d: %v", i, d.Resumed)
		}
	}
	if s := v.hs.Stats(); s.Done != 4 || s.Resumed != 2 {
		t.Fatalf("%+v", s)
	}

	for _, off := range []bool{false, true} {
		own := quicServerConfig() // with keys of crypto/tls
		own.SessionTicketsDisabled = off
		v = newQUICHouse(t, tlsconn.HandshakerOptions{}, tlsconn.ServerOptions{Config: own}, accept)
		o.ClientSessionCache = tls.NewLRUClientSessionCache(4)
		for i := range 2 {
			v.dial(o).exchange("after the ticket")
			if d := <-digests; d.Resumed != (i == 1 && !off) {
				t.Fatalf("connection %d, tickets off %v: %v", i, off, d.Resumed)
			}
		}
	}
}

// Choose is asked for each handshake, for what a client tells; what it chooses is known of the connection.
func TestQUIC_chooses(t *testing.T) {
	accept, digests := keep(func() engine.Handler { return engine.NopHandler{} })
	other, shown := quicServerConfig(), 0
	other.ClientAuth, other.ClientCAs = tls.RequireAndVerifyClientCert, authority().pool
	other.Certificates, other.GetCertificate = nil, func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return tlsconn.HelloTerms(hello).Certificate(hello)
	}
	show := func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		shown++
		c := authority().server
		return &c, nil
	}
	base := quicServerConfig()
	v := newQUICHouse(t, tlsconn.HandshakerOptions{}, tlsconn.ServerOptions{Config: base, Asked: "nobody",
		Choose: func(hello *tls.ClientHelloInfo) tlsconn.Terms {
			if d := tlsconn.HelloDigest(hello); d.Peer.IP.Addr().String() != "127.0.0.1" || d.Local.IP.Port() == 0 {
				t.Errorf("a handshake of %v with %v", d.Peer, d.Local)
			}
			switch hello.ServerName {
			case "none.test", "":
				return tlsconn.Terms{}
			case "other.test":
				return tlsconn.Terms{Config: other, Asked: "all", Certificate: show}
			}
			return tlsconn.Terms{Config: base, Asked: "nobody"}
		}}, accept)
	to := func(name string) *tls.Config {
		o := quicClientConfig()
		o.ServerName, o.InsecureSkipVerify = name, true
		o.Certificates = []tls.Certificate{authority().client}
		return o
	}
	v.dial(to("localhost")).exchange("hello")
	if d := <-digests; d.Asked != "nobody" || d.Verified || len(d.Offered) != 1 || d.Offered[0] != "h3" {
		t.Errorf("%+v", d)
	}
	v.dial(to("other.test")).exchange("hello")
	if d := <-digests; d.Asked != "all" || !d.Verified || shown != 1 {
		t.Errorf("%+v, %d shown", d, shown)
	}
	for name, want := range map[string]uint64{"none.test": 112, "": 49} {
		if e := v.client(to(name)).begin().ended(); e.Code != 0x100+want || !e.ByPeer {
			t.Errorf("%q: %+v", name, e)
		}
		var failed *tlsconn.HandshakeError
		err := <-v.refused
		if !errors.As(err, &failed) || failed.Reason != tlsconn.ErrDenied || failed.ServerName != name {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// quietly keeps panics out of the log.
func quietly(t *testing.T) {
	logger := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { slog.SetDefault(logger) })
}

// A handshake that fails ends its connection with the code that says why, and is told of and counted.
func TestQUIC_failures(t *testing.T) {
	quietly(t)
	boom := func(o *tls.Config) {
		o.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { panic("boom") }
		o.Certificates = nil
	}
	client := func(f func(o *tls.Config)) func(k *quicClient) {
		return func(k *quicClient) {
			o := quicClientConfig()
			f(o)
			k.TLS = tls.QUICClient(&tls.QUICConfig{TLSConfig: o})
			k.TLS.SetTransportParameters(k.Conn.AppendParameters(nil))
		}
	}
	changed := func(f func(l quic.Level, p []byte) []byte) func(k *quicClient) {
		return func(k *quicClient) { k.Change = f }
	}
	at := func(level quic.Level, f func(p []byte) []byte) func(k *quicClient) {
		return changed(func(l quic.Level, p []byte) []byte {
			if l == level {
				return f(p)
			}
			return p
		})
	}
	trailing := func(p []byte) []byte { return append(bytes.Clone(p), 20, 0, 0, 1, 0) }
	half := func(p []byte) []byte { return append(bytes.Clone(p), 20) }
	const alert = 0x100
	for _, c := range []struct {
		name   string
		server func(o *tls.Config)
		client func(k *quicClient)
		code   uint64
		reason string
	}{
		{"ALPN", nil, client(func(o *tls.Config) { o.NextProtos[0] = "h2" }), alert + 120, "unsupported application"},
		{"no ALPN", nil, client(func(o *tls.Config) { o.NextProtos = nil }), alert + 120, "application protocol"},
		{"version", nil, at(quic.Initial, func(p []byte) []byte {
			return bytes.Replace(p, []byte("\x00\x2b\x00\x03\x02\x03\x04"), []byte("\x00\x2b\x00\x03\x02\x03\x03"), 1)
		}), alert + 70, "unsupported versions"},
		{"authority", nil, client(func(o *tls.Config) { o.RootCAs = nil }), alert + 42, "remote error: tls: bad cert"},
		{"panic", boom, nil, alert + 80, "panicked"},
		{"no certificate", func(o *tls.Config) { o.Certificates = nil }, nil, alert + 112, "certificates"},
		{"parameters", nil, func(k *quicClient) { k.TLS.SetTransportParameters([]byte{4, 1}) }, 8, "transport param"},
		{"large", nil, at(quic.Initial, func(p []byte) []byte {
			p[1], p[2] = 0, 0x40
			return p
		}), 0xd, "too large"},
		{"garbage", nil, at(quic.Initial, func(p []byte) []byte {
			p[0] = 99
			return p
		}), alert + 10, "unexpected message"},
		{"after the hello", nil, at(quic.Initial, trailing), alert + 10, "buffer not empty"},
		{"half after the hello", nil, at(quic.Initial, half), alert + 10, "unexpected message"},
		{"after Finished", nil, at(quic.Handshake, trailing), alert + 10, "buffer not empty"},
		{"half after Finished", nil, at(quic.Handshake, half), alert + 10, "unexpected message"},
		{"Finished", nil, at(quic.Handshake, func(p []byte) []byte {
			p[len(p)-1] ^= 1
			return p
		}), alert + 51, "finished hash"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := quicServerConfig()
			if c.server != nil {
				c.server(o)
			}
			v := newQUICHouse(t, tlsconn.HandshakerOptions{}, tlsconn.ServerOptions{Config: o}, nops)
			k := v.client(quicClientConfig())
			if c.client != nil {
				c.client(k)
			}
			if e := k.begin().ended(); e.Code != c.code || e.App {
				t.Errorf("%+v, want 0x%x", e, c.code)
			}
			var failed *tlsconn.HandshakeError
			if err := <-v.refused; !errors.As(err, &failed) || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("%v, want %s", err, c.reason)
			}
			v.settled(func(s tlsconn.Stats) bool { return s.Failed == 1 })
		})
	}
}

// settled waits until nothing goes on and nothing is charged.
func (v *quicHouse) settled(cond func(s tlsconn.Stats) bool) {
	v.t.Helper()
	testutil.Eventually(v.t, patience, func() bool {
		s := v.hs.Stats()
		return s.Current == 0 && s.Computing == 0 && s.Queued == 0 && cond(s) && v.engine.Stats().BufBytes == 0
	}, "%v", v.hs)
}

// The alert of a client has its number in the log.
func TestQUIC_alertOfClient(t *testing.T) {
	v := newQUICHouse(t, tlsconn.HandshakerOptions{}, tlsconn.ServerOptions{}, nops)
	o := quicClientConfig()
	o.ServerName = "other.test"
	k := v.client(o).begin().until(func() bool { return false })
	if n, ok := tlsconn.Alert(<-v.refused); n != 42 || !ok {
		t.Error(n, ok, k.Err)
	}
}

// A client may be gone again when its connection opens.
func TestQUIC_closedBeforeOnOpen(t *testing.T) {
	v := newQUICHouse(t, tlsconn.HandshakerOptions{}, tlsconn.ServerOptions{}, nops)
	v.on(func(*engine.Reactor) {
		k := v.client(quicClientConfig()).begin()
		k.leave() // both are read by one call
	})
	testutil.Eventually(t, patience, func() bool { s := v.engine.Stats(); return s.Accepted == 1 && s.Conns == 0 })
	v.settled(func(s tlsconn.Stats) bool { return s.Started == 0 && s.Failed == 0 })
	if n := v.engine.Stats().Panics; n > 0 {
		t.Errorf("%d panics", n)
	}
}

// accept may want no connection, and may panic.
func TestQUIC_accept(t *testing.T) {
	quietly(t)
	for _, panics := range []bool{false, true} {
		v := newQUICHouse(t, tlsconn.HandshakerOptions{}, tlsconn.ServerOptions{}, func(*engine.Conn) engine.Handler {
			if panics {
				panic(errors.New("boom"))
			}
			return nil
		})
		v.dial(quicClientConfig()).until(func() bool { return false })
		v.settled(func(s tlsconn.Stats) bool { return s.Done == 1 })
		testutil.Eventually(t, patience, func() bool { return v.engine.Conns() == 0 })
	}
}

// partly says the first n bytes of a ClientHello.
func (v *quicHouse) partly(n int) *quicClient {
	k := v.client(quicClientConfig())
	k.Change = func(_ quic.Level, p []byte) []byte { return p[:n] }
	return k.begin()
}

func TestQUIC_timeout(t *testing.T) {
	v := newQUICHouse(t, tlsconn.HandshakerOptions{Timeout: 50 * time.Millisecond}, tlsconn.ServerOptions{}, nops)
	silent, half := v.partly(3), v.client(quicClientConfig())
	half.Change = func(l quic.Level, p []byte) []byte {
		if l == quic.Handshake {
			return p[:10]
		}
		return p
	}
	half.begin()
	for _, k := range []*quicClient{silent, half} {
		if e := k.ended(); e.Code != uint64(quic.ConnectionRefused) {
			t.Errorf("%+v", e)
		}
	}
	v.settled(func(s tlsconn.Stats) bool { return s.Timeouts == 2 && s.Started == 2 })
}

// The client that has owed bytes for longest gives way.
func TestQUIC_crowd(t *testing.T) {
	v := newQUICHouse(t, tlsconn.HandshakerOptions{Max: 2}, tlsconn.ServerOptions{}, nops)
	first, second := v.partly(3), v.partly(3)
	testutil.Eventually(t, patience, func() bool { return v.hs.Stats().Current == 2 })
	<-time.After(20 * time.Millisecond) // more than a ClientHello may take
	v.dial(quicClientConfig()).exchange("hello")
	if e := first.ended(); e.Code != uint64(quic.ConnectionRefused) {
		t.Errorf("%+v", e)
	}
	var failed *tlsconn.HandshakeError
	if err := <-v.refused; !errors.As(err, &failed) || failed.Reason != tlsconn.ErrCrowded {
		t.Error(err)
	}
	second.Change = nil
	second.leave()
	v.settled(func(s tlsconn.Stats) bool { return s.Crowded == 1 && s.Done == 1 && s.Left == 1 })
}

// gate is a callback that keeps handshakes for slow.test until released.
type gate struct{ entered, release chan bool }

func (g *gate) config(await bool) *tls.Config {
	o := quicServerConfig()
	own := o.Certificates[0]
	o.Certificates, o.GetCertificate = nil, func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		switch {
		case hello.ServerName != "slow.test":
		case await:
			return &own, tlsconn.Await(hello, func(ctx context.Context) error {
				g.entered <- true
				select {
				case <-g.release:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		default:
			g.entered <- true
			<-g.release
		}
		return &own, nil
	}
	return o
}

func toSlow() *tls.Config {
	o := quicClientConfig()
	o.ServerName, o.InsecureSkipVerify = "slow.test", true
	return o
}

// flying has the server's flight come, and answers nothing.
func (k *quicClient) flying() *quicClient {
	k.Change = func(l quic.Level, p []byte) []byte {
		if l == quic.Handshake {
			return nil
		}
		return p
	}
	return k.begin().shaken()
}

// A drain waits a moment for the clients that have a flight of the server, and ends all other handshakes at once: they
// hold the port.
func TestQUIC_drain(t *testing.T) {
	g := &gate{make(chan bool), make(chan bool)}
	v := newQUICHouse(t, tlsconn.HandshakerOptions{Timeout: time.Hour, Computing: 1},
		tlsconn.ServerOptions{Config: g.config(false)}, nops)
	flying, silent := v.client(quicClientConfig()).flying(), v.partly(3)
	slow, waits := v.client(toSlow()).begin(), v.client(quicClientConfig())
	<-g.entered // it computes
	waits.begin()
	testutil.Eventually(t, patience, func() bool { s := v.hs.Stats(); return s.Current == 4 && s.Queued == 1 })
	drained := make(chan bool, 1)
	go func() { drained <- v.engine.Drain(time.Hour) }()
	for i, k := range []*quicClient{silent, waits, flying, slow} {
		if e := k.ended(); !e.ByPeer {
			t.Errorf("client %d: %+v", i, e)
		}
	}
	g.release <- true
	if !<-drained {
		t.Error("connections were left")
	}
	v.settled(func(s tlsconn.Stats) bool { return s.Left == 2 && s.Timeouts == 2 })
}

// However far a handshake is when its connection is closed, nothing of it is left.
func TestQUIC_closedInEachPhase(t *testing.T) {
	for _, c := range []struct {
		name  string
		await bool
		reach func(v *quicHouse, g *gate) (after func())
	}{
		{"silent", false, func(v *quicHouse, g *gate) func() {
			v.partly(5)
			testutil.Eventually(t, patience, func() bool { return v.hs.Stats().Current == 1 })
			return nil
		}},
		{"computing", false, func(v *quicHouse, g *gate) func() {
			v.client(toSlow()).begin()
			<-g.entered
			return func() { g.release <- true }
		}},
		{"awaiting a turn", false, func(v *quicHouse, g *gate) func() {
			v.client(toSlow()).begin()
			<-g.entered
			v.client(quicClientConfig()).begin()
			testutil.Eventually(t, patience, func() bool { return v.hs.Stats().Queued == 1 })
			return func() { g.release <- true }
		}},
		{"between flights", false, func(v *quicHouse, g *gate) func() {
			v.client(quicClientConfig()).flying()
			return nil
		}},
		{"awaiting a second turn", false, func(v *quicHouse, g *gate) func() {
			k := v.client(quicClientConfig()).flying()
			v.client(toSlow()).begin()
			<-g.entered
			k.Conn.SendCrypto(quic.Handshake, []byte{20, 0, 0, 1, 0})
			k.Flush()
			testutil.Eventually(t, patience, func() bool { return v.hs.Stats().Queued == 1 })
			return func() { g.release <- true }
		}},
		{"in Await", true, func(v *quicHouse, g *gate) func() {
			v.client(toSlow()).begin()
			<-g.entered
			return nil
		}},
		{"after Await", true, func(v *quicHouse, g *gate) func() {
			v.client(toSlow()).begin()
			<-g.entered
			entered := make(chan bool)
			release := make(chan bool)
			blocks := quicServerConfig() // of a second listener, by which there is no turn
			blocks.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
				entered <- true
				<-release
				return nil, nil
			}
			l, err := v.engine.Listen(engine.ListenOptions{Addr: loopback},
				v.hs.Server(tlsconn.ServerOptions{Config: blocks}, echoes))
			testutil.Must(v.t, err)
			w := testutil.Dial(v.t, l.Addr().IP.String())
			w.Send(string(hello(v.t)))
			<-entered
			g.release <- true
			testutil.Eventually(t, patience, func() bool { return v.hs.Stats().Queued == 1 })
			return func() {
				release <- true
				w.Close()
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			testutil.CheckLeaks(t)
			g := &gate{make(chan bool), make(chan bool)}
			so := tlsconn.ServerOptions{Config: g.config(c.await)}
			v := newQUICHouse(t, tlsconn.HandshakerOptions{Computing: 1}, so, nops)
			after := c.reach(v, g)
			v.closeAll(errors.New("closed by the test"))
			testutil.Eventually(t, patience, func() bool { return v.engine.Conns() <= 1 })
			if after != nil {
				after()
			}
			v.settled(func(s tlsconn.Stats) bool { return s.Done == 0 })
		})
	}
}

// Handshakes that wait for something else leave their turn to others, over TCP and over QUIC, and go on when they have
// it.
func TestQUIC_awaits(t *testing.T) {
	g := &gate{make(chan bool), make(chan bool)}
	v := newQUICHouse(t, tlsconn.HandshakerOptions{Computing: 1}, tlsconn.ServerOptions{Config: g.config(true)}, nops)
	var slow []*quicClient
	for range 10 {
		slow = append(slow, v.client(toSlow()).begin())
		<-g.entered
	}
	if s := v.hs.Stats(); s.Current != 10 || s.Computing != 0 {
		t.Errorf("%+v", s)
	}
	v.dial(quicClientConfig()).exchange("others have the turn")
	for range slow {
		g.release <- true
	}
	for _, k := range slow {
		k.shaken()
		k.exchange("hello")
	}
	v.settled(func(s tlsconn.Stats) bool { return s.Done == 11 })
}

// The charge is what a handshake takes between two flights.
func TestHeldQUIC_isWhatItTakes(t *testing.T) {
	if testutil.RaceOn {
		t.Skip("the race detector has memory of its own")
	}
	v := newQUICHouse(t, tlsconn.HandshakerOptions{}, tlsconn.ServerOptions{}, nops)
	const handshakes = 400
	var clients []*quicClient
	for range handshakes {
		clients = append(clients, v.client(quicClientConfig()))
	}
	for _, k := range clients { // all that they take themselves is there
		k.begin()
		k.Stop()
	}
	waiting := func() bool {
		s := v.hs.Stats()
		return s.Current == handshakes && s.Computing == 0 && s.Queued == 0 && s.Started == handshakes
	}
	testutil.Eventually(t, patience, waiting)
	during, charged := inUse(), v.engine.Stats().BufBytes/handshakes
	v.on(func(*engine.Reactor) {
		for _, k := range v.carried {
			k.shake.OnClose(k.carried.Conn(), nil)
		}
	})
	testutil.Eventually(t, patience, func() bool { return v.engine.Stats().BufBytes == 0 })
	n := (during - inUse()) / handshakes
	t.Logf("%d bytes each", n)
	const flightSize = 20 << 10
	if charged < flightSize || charged > flightSize+2<<10 || n > flightSize*5/4 || n < flightSize/2 {
		t.Errorf("a handshake that waits takes %d bytes and is charged with %d", n, charged)
	}
}
