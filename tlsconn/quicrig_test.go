package tlsconn_test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/testutil"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/quic"
	"github.com/edge-proxy/edge/tlsconn"
)

// quicHouse is a house that listens for QUIC. Connections echo the bytes of streams once their handshakes are done.
type quicHouse struct {
	*house
	ids     uint64 // of one reactor
	refused chan error
	mu      sync.Mutex
	carried []*carrier // in the order in which they came
}

func newQUICHouse(t testing.TB, o tlsconn.HandshakerOptions, so tlsconn.ServerOptions,
	accept func(c *engine.Conn) engine.Handler,
) *quicHouse {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = patience
	}
	e, err := engine.New(engine.Options{Reactors: 1})
	testutil.Must(t, err)
	e.Start()
	t.Cleanup(e.Stop)
	v := &quicHouse{house: &house{t: t, engine: e, hs: tlsconn.NewHandshaker(e, o)}, refused: make(chan error, 64)}
	if so.Config == nil {
		so.Config = quicServerConfig()
	}
	so.Failed = func(_ *engine.Conn, err error) { v.refused <- err }
	shake := v.hs.ServerQUIC(so)
	l, err := e.ListenDatagrams(engine.ListenOptions{Addr: loopback}, func(p *engine.Port) engine.PortHandler {
		return &carriers{house: v, port: p, by: map[netip.AddrPort]*carrier{}, begin: func(k *carrier) *tlsconn.QUIC {
			return shake(&k.codec, accept, k.turn)
		}}
	})
	testutil.Must(t, err)
	v.addr = l.Addr().IP.String()
	return v
}

func quicServerConfig() *tls.Config {
	o := serverConfig()
	o.NextProtos = []string{"h3"}
	return o
}

func quicClientConfig() *tls.Config {
	o := clientConfig()
	o.NextProtos, o.MinVersion = []string{"h3"}, tls.VersionTLS13
	return o
}

// nops accepts connections that need no handler: their carrier echoes.
func nops(*engine.Conn) engine.Handler { return engine.NopHandler{} }

// carriers finds the connection of a datagram by the address that it came from.
type carriers struct {
	house *quicHouse
	port  *engine.Port
	by    map[netip.AddrPort]*carrier
	begin func(k *carrier) *tlsconn.QUIC
}

func (x *carriers) OnDatagrams(p *engine.Port, b *poller.Batch) {
	for i := range b.Len() {
		d := b.At(i)
		for s := range d.Segments() {
			if k := x.of(s, d); k != nil {
				k.codec.Receive(s, quic.Path{Local: d.Local, Peer: d.Peer}, p.Reactor().Now())
				k.turn()
			}
		}
	}
}

func (x *carriers) of(b []byte, d *poller.Datagram) *carrier {
	h, ok := quic.Parse(b)
	begins := ok && h.Kind == quic.InitialPacket && binary.BigEndian.Uint64(h.Dest) > x.house.ids // it is none of ours
	if k := x.by[d.Peer]; k != nil && (!k.dropped || !begins || k.first == string(h.Dest)) {
		return k
	}
	if !begins {
		return nil
	}
	k := &carrier{of: x, first: string(h.Dest)}
	k.timer.Run = k.expire
	o := &quic.Options{Random: mathrand.Uint64, HandshakeTimeout: 2 * patience, NewID: newIDs(&x.house.ids)}
	err := k.codec.InitServer(o, &h, quic.Path{Local: d.Local, Peer: d.Peer}, x.port.Reactor().Now())
	k.shake = x.begin(k)
	shaking := func(*engine.Conn) engine.Handler { return k.shake }
	if err != nil || !x.port.Accept(d.Peer, d.Local, &k.carried, k, shaking) {
		return nil
	}
	x.by[d.Peer] = k
	x.house.mu.Lock()
	x.house.carried = append(x.house.carried, k)
	x.house.mu.Unlock()
	return k
}

// newIDs makes ids, of which last is the number of the last one.
func newIDs(last *uint64) func() (id quic.ID, token [16]byte) {
	return func() (id quic.ID, token [16]byte) {
		*last++
		binary.BigEndian.PutUint64(token[:], *last)
		id, _ = quic.MakeID(token[:8])
		return id, token
	}
}

// carrier carries one connection.
type carrier struct {
	of      *carriers
	codec   quic.Conn
	carried engine.Carried
	shake   *tlsconn.QUIC
	timer   engine.Timer
	first   string // the id that the client chose
	dropped bool
}

// turn takes what the codec has to tell and has it send.
func (k *carrier) turn() {
	for {
		switch ev := k.codec.Next(); ev.Kind {
		case quic.None:
			if k.carried.AskFlush(); k.dropped {
				k.OnFlush()
			}
			return
		case quic.Crypto:
			k.shake.OnCrypto(ev.Level, ev.Body)
		case quic.Data:
			k.codec.Release(ev.Stream, len(ev.Body))
			k.codec.Send(ev.Stream, ev.Body, ev.End)
		case quic.Closed:
			k.carried.Conn().Close(errors.Join(errClosed, k.codec.Closed().Err))
		}
	}
}

var errClosed = errors.New("the codec is closed")

func (k *carrier) expire(r *engine.Reactor) {
	if at := k.codec.Deadline(); at != 0 && at <= r.Now() {
		k.codec.Expire(r.Now())
	}
	if k.turn(); k.dropped {
		k.OnFlush()
	}
}

func (k *carrier) OnFlush() {
	p := k.of.port
	for k.codec.Pending() {
		room := p.Reserve(quic.DatagramSize)
		if room == nil {
			k.carried.AwaitRoom()
			break
		}
		d, path := k.codec.AppendDatagram(room, p.Reactor().Now())
		if len(d) == 0 {
			break
		}
		p.Commit(d, path.Peer, path.Local)
	}
	if at := k.codec.Deadline(); at != 0 {
		p.Reactor().Arm(&k.timer, at)
	}
}

func (k *carrier) OnDrop() {
	k.dropped = true
	k.codec.Close(0x100)
	k.turn()
}

// closeAll closes what there is, on its reactor.
func (v *quicHouse) closeAll(cause error) {
	v.on(func(*engine.Reactor) {
		for _, k := range v.carried {
			k.carried.Conn().Close(cause)
		}
	})
}

// quicClient is a client, driven by the test.
type quicClient struct {
	v      *quicHouse
	sock   *net.UDPConn
	codec  quic.Conn
	tls    *tls.QUICConn
	began  time.Time
	path   quic.Path
	echoed []byte
	err    error                               // of crypto/tls
	change func(l quic.Level, p []byte) []byte // of what crypto/tls says; nil: nothing is changed
	done   bool
	tells  bool // events of sessions
	closed bool
}

func (v *quicHouse) client(config *tls.Config) *quicClient {
	v.t.Helper()
	to := netip.MustParseAddrPort(v.addr)
	sock, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	testutil.Must(v.t, err)
	v.t.Cleanup(func() { sock.Close() })
	c := &quicClient{v: v, sock: sock, began: time.Now(), path: quic.Path{Peer: to}}
	o := &quic.Options{Random: mathrand.Uint64, NewID: newIDs(new(uint64))}
	o.HandshakeTimeout = 2 * patience
	testutil.Must(v.t, c.codec.InitClient(o, c.path, 1))
	c.tls = tls.QUICClient(&tls.QUICConfig{TLSConfig: config})
	v.t.Cleanup(func() { c.tls.Close() })
	c.tls.SetTransportParameters(c.codec.AppendParameters(nil))
	return c
}

func (c *quicClient) now() int64 { return int64(time.Since(c.began)) + 1 }

// begin says the ClientHello.
func (c *quicClient) begin() *quicClient {
	c.err = c.tls.Start(context.Background())
	c.say()
	c.send()
	return c
}

var (
	levelsTLS = []tls.QUICEncryptionLevel{
		tls.QUICEncryptionLevelInitial, tls.QUICEncryptionLevelHandshake, tls.QUICEncryptionLevelApplication,
	}
	levelsQUIC = map[tls.QUICEncryptionLevel]quic.Level{
		tls.QUICEncryptionLevelInitial: quic.Initial, tls.QUICEncryptionLevelHandshake: quic.Handshake,
		tls.QUICEncryptionLevelApplication: quic.OneRTT,
	}
)

// say gives the codec what crypto/tls says.
func (c *quicClient) say() {
	for {
		e := c.tls.NextEvent()
		l := levelsQUIC[e.Level]
		switch e.Kind {
		case tls.QUICNoEvent:
			return
		case tls.QUICSetReadSecret, tls.QUICSetWriteSecret:
			c.codec.SetSecret(l, e.Kind == tls.QUICSetWriteSecret, e.Suite, e.Data)
		case tls.QUICWriteData:
			if c.change != nil {
				e.Data = c.change(l, e.Data)
			}
			c.codec.SendCrypto(l, e.Data)
		case tls.QUICTransportParameters:
			c.codec.SetParameters(e.Data)
		case tls.QUICHandshakeDone:
			c.done = true
			c.codec.HandshakeDone()
		}
	}
}

func (c *quicClient) send() {
	for c.codec.Pending() {
		d, _ := c.codec.AppendDatagram(make([]byte, 0, quic.DatagramSize), c.now())
		if len(d) == 0 {
			break
		}
		c.sock.Write(d)
	}
}

// events takes what the codec tells.
func (c *quicClient) events() {
	for {
		switch ev := c.codec.Next(); ev.Kind {
		case quic.None:
			return
		case quic.Crypto:
			if err := c.tls.HandleData(levelsTLS[ev.Level], ev.Body); err != nil {
				c.err = err
				alert := tls.AlertError(80)
				errors.As(err, &alert)
				c.codec.FailHandshake(quic.CryptoError(uint8(alert)))
			}
			c.say()
		case quic.Data:
			c.echoed = append(c.echoed, ev.Body...)
			c.codec.Release(ev.Stream, len(ev.Body))
		case quic.Closed:
			c.closed = true
		}
	}
}

// until goes on until cond, or until the connection is closed.
func (c *quicClient) until(cond func() bool) *quicClient {
	c.v.t.Helper()
	buf := make([]byte, 1500)
	for !cond() && !c.closed {
		if c.now() > int64(patience) {
			c.v.t.Fatal("nothing comes")
		}
		c.send()
		wait := 20 * time.Millisecond
		if at := c.codec.Deadline(); at != 0 {
			wait = min(wait, max(time.Duration(at-c.now()), time.Millisecond))
		}
		c.sock.SetReadDeadline(time.Now().Add(wait))
		n, err := c.sock.Read(buf)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if at := c.codec.Deadline(); at != 0 && at <= c.now() {
				c.codec.Expire(c.now())
			}
		case err != nil:
			c.v.t.Fatal(err)
		default:
			c.codec.Receive(buf[:n], c.path, c.now())
		}
		c.events()
	}
	c.send()
	return c
}

// exchange has p echoed.
func (c *quicClient) exchange(p string) {
	c.v.t.Helper()
	s, err := c.codec.Open(quic.TwoWay)
	if err != nil {
		c.v.t.Fatal(err, c.codec.Closed())
	}
	c.echoed = nil
	c.codec.Send(s, []byte(p), true)
	c.until(func() bool { return len(c.echoed) >= len(p) })
	if string(c.echoed) != p {
		c.v.t.Fatalf("%q came back; %+v", c.echoed, c.codec.Closed())
	}
}

// dial makes a connection.
func (v *quicHouse) dial(config *tls.Config) *quicClient {
	v.t.Helper()
	c := v.client(config).begin()
	c.until(func() bool { return c.done })
	if !c.done {
		v.t.Fatalf("%v, %+v", c.err, c.codec.Closed())
	}
	return c
}

// leave ends a connection.
func (c *quicClient) leave() {
	c.codec.Close(0)
	c.events()
	c.send()
}
