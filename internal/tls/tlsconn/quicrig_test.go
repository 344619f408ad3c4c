package tlsconn_test

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	mathrand "math/rand/v2"
	"net/netip"
	"sync"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/quicpeer"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/quic"
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
	v := &quicHouse{house: newHouseOf(t, 1, o), refused: make(chan error, 64)}
	if so.Config == nil {
		so.Config = quicServerConfig()
	}
	so.Failed = func(_ *engine.Conn, err error) { v.refused <- err }
	shake := v.hs.ServerQUIC(so)
	l, err := v.engine.ListenDatagrams(engine.ListenOptions{Addr: loopback}, func(p *engine.Port) engine.PortHandler {
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
	*quicpeer.Socket
	v      *quicHouse
	echoed []byte
}

func (v *quicHouse) client(config *tls.Config) *quicClient {
	v.t.Helper()
	c := &quicClient{v: v}
	c.Socket = quicpeer.PrepareSocket(v.t, v.addr, config, quic.Options{HandshakeTimeout: 2 * patience},
		func(ev *quic.Event) {
			if ev.Kind == quic.Data {
				c.echoed = append(c.echoed, ev.Body...)
				c.Conn.Release(ev.Stream, len(ev.Body))
			}
		})
	return c
}

// begin says the ClientHello.
func (c *quicClient) begin() *quicClient {
	c.Start()
	c.Flush()
	return c
}

// until goes on until cond, or until the connection is closed.
func (c *quicClient) until(cond func() bool) *quicClient {
	c.v.t.Helper()
	if !c.Until(patience, cond) && !c.Closed {
		c.v.t.Fatal("nothing comes")
	}
	c.Flush()
	return c
}

// shaken goes on until the handshake is done, or the connection closed.
func (c *quicClient) shaken() *quicClient {
	c.v.t.Helper()
	return c.until(func() bool { return c.State.HandshakeComplete })
}

// ended goes on until the connection is closed, and returns why.
func (c *quicClient) ended() quic.Closure {
	c.v.t.Helper()
	c.until(func() bool { return false })
	return c.Conn.Closed()
}

// exchange has p echoed.
func (c *quicClient) exchange(p string) {
	c.v.t.Helper()
	s, err := c.Conn.Open(quic.TwoWay)
	if err != nil {
		c.v.t.Fatal(err, c.Conn.Closed())
	}
	c.echoed = nil
	c.Conn.Send(s, []byte(p), true)
	c.until(func() bool { return len(c.echoed) >= len(p) })
	if string(c.echoed) != p {
		c.v.t.Fatalf("%q came back; %+v", c.echoed, c.Conn.Closed())
	}
}

// dial makes a connection.
func (v *quicHouse) dial(config *tls.Config) *quicClient {
	v.t.Helper()
	c := v.client(config).begin().shaken()
	if c.Closed {
		v.t.Fatalf("%v, %+v", c.Err, c.Conn.Closed())
	}
	return c
}

// leave ends a connection.
func (c *quicClient) leave() {
	c.Conn.Close(0)
	c.Events()
	c.Flush()
}
