package interop

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/quic"
)

// quicPort drives Conns of package quic on one UDP socket. One goroutine owns them, another one reads the socket.
//
//	socket ─► read ─► in ─► run: Receive, Next …, AppendDatagram … ─► socket
//	                  do ─► run
type quicPort struct {
	t    testing.TB
	sock *net.UDPConn
	tls  *tls.Config
	opts quic.Options
	in   chan quicDatagram
	do   chan func()
	done chan struct{}

	// owned by run
	links  map[*quicLink]bool
	byID   map[quic.ID]*quicLink
	tokens map[quic.ID][16]byte // of all ids that there were
	onLink func(*quicLink)      // of a client's connection that begins
	onDial func(*quicLink)      // of ours that begins
	began  time.Time
	resets atomic.Int64 // stateless resets that were sent
	count  atomic.Int64 // links that are not over
}

type quicDatagram struct {
	d    []byte
	peer netip.AddrPort
}

// quicLink is one connection.
type quicLink struct {
	port        *quicPort
	conn        quic.Conn
	opts        quic.Options
	tls         *tls.QUICConn
	server      bool
	established chan struct{}
	closed      chan struct{}
	room        chan struct{} // closed when Room comes; owned by run
	closure     quic.Closure  // after closed
	retired     atomic.Int64  // our ids that the peer has retired
	onStream    func(*quicLane)
	onEvent     func(*quic.Event) // takes the events of streams, and sees the others but Crypto
	lanes       map[*quic.Stream]*quicLane
}

// quicLane is one stream: it sends what is in out, and gathers what comes, or sends it back.
type quicLane struct {
	link    *quicLink
	stream  *quic.Stream
	echo    bool
	slow    bool // what comes is released when it has been sent back, not at once
	out     []byte
	last    bool // the end follows out
	got     []byte
	over    chan struct{} // the end came, or a reset
	stopped chan uint64
	reset   atomic.Int64 // 1 + its code
}

var quicCertificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"a.test"},
		NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

const quicALPN = "edge-test"

func quicServerTLS() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{quicCertificate()}, NextProtos: []string{quicALPN},
		MinVersion: tls.VersionTLS13}
}

func quicClientTLS() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, ServerName: "a.test", NextProtos: []string{quicALPN},
		MinVersion: tls.VersionTLS13}
}

// quicSocket opens a UDP socket for the length of a test.
func quicSocket(t testing.TB, host string) *net.UDPConn {
	t.Helper()
	s, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(host), 0)))
	testutil.Must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func addrPortOf(s *net.UDPConn) netip.AddrPort { return s.LocalAddr().(*net.UDPAddr).AddrPort() }

// newQUICPort opens a port. onLink is called for each connection of a client, on the goroutine of the port.
func newQUICPort(t testing.TB, host string, c *tls.Config, o quic.Options, onLink func(*quicLink)) *quicPort {
	t.Helper()
	p := &quicPort{t: t, sock: quicSocket(t, host), tls: c, opts: o, onLink: onLink, began: time.Now(),
		in: make(chan quicDatagram, 1024), do: make(chan func()), done: make(chan struct{}),
		links: map[*quicLink]bool{}, byID: map[quic.ID]*quicLink{}, tokens: map[quic.ID][16]byte{}}
	p.opts.Arena = &quic.Arena{}
	p.opts.NewID = nil
	var both sync.WaitGroup
	both.Go(p.read)
	both.Go(p.run)
	t.Cleanup(func() {
		close(p.done)
		_ = p.sock.Close()
		both.Wait()
		for l := range p.links {
			_ = l.tls.Close()
		}
	})
	return p
}

func (p *quicPort) addr() netip.AddrPort { return addrPortOf(p.sock) }

// now is never 0, which stands for no time.
func (p *quicPort) now() int64 { return int64(time.Since(p.began)) + 1 }

func (p *quicPort) read() {
	buf := make([]byte, 1<<16)
	for {
		n, peer, err := p.sock.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // ICMP
		}
		select {
		case p.in <- quicDatagram{append([]byte(nil), buf[:n]...), peer}:
		case <-p.done:
			return
		}
	}
}

func (p *quicPort) run() {
	timer := time.NewTimer(time.Hour)
	for {
		next := p.expire()
		timer.Reset(time.Duration(next - p.now()))
		select {
		case d := <-p.in:
			p.receive(d)
			for range len(p.in) {
				p.receive(<-p.in)
			}
		case f := <-p.do:
			f()
		case <-timer.C:
		case <-p.done:
			return
		}
		for l := range p.links {
			l.flush()
		}
	}
}

// call runs f on the goroutine of the port.
func (p *quicPort) call(f func()) {
	ran := make(chan struct{})
	select {
	case p.do <- func() { defer close(ran); f() }:
		<-ran
	case <-p.done:
	}
}

// expire acts on the times that have come, and returns the next one.
func (p *quicPort) expire() (next int64) {
	now := p.now()
	next = now + int64(time.Hour)
	for l := range p.links {
		for at := l.conn.Deadline(); at != 0 && at <= now; at = l.conn.Deadline() {
			l.conn.Expire(now)
			l.events()
			l.flush()
			if l.conn.Deadline() == at { // a deadline that stays where it is would be a loop without an end
				p.t.Errorf("deadline %d stays at %d", at, now)
				break
			}
		}
		if at := l.conn.Deadline(); at != 0 {
			next = min(next, at)
		}
		if l.conn.Over() {
			p.forget(l)
		}
	}
	return next
}

func (p *quicPort) forget(l *quicLink) {
	if p.links[l] {
		p.count.Add(-1)
		_ = l.tls.Close()
	}
	delete(p.links, l)
	for id, of := range p.byID {
		if of == l {
			delete(p.byID, id)
		}
	}
}

func (p *quicPort) receive(d quicDatagram) {
	h, ok := quic.Parse(d.d)
	id, short := quic.MakeID(h.Dest)
	switch {
	case h.Kind == quic.UnknownPacket && h.Version != 0 && len(d.d) >= 1200:
		_, _ = p.sock.WriteToUDPAddrPort(quic.AppendVersions(nil, &h), d.peer)
		return
	case !ok || !short:
		return
	}
	l := p.byID[id]
	if l == nil {
		token, was := p.tokens[id]
		for other := range p.links { // a stateless reset has an id of noise
			if h.Kind == quic.OneRTTPacket && !was && other.conn.Path().Peer == d.peer {
				l = other
			}
		}
		switch {
		case l != nil:
		case h.Kind == quic.InitialPacket && p.onLink != nil && len(d.d) >= 1200:
			l = p.accept(&h, id, d.peer)
		case h.Kind == quic.OneRTTPacket && was:
			var noise [24]byte
			_, _ = rand.Read(noise[:])
			_, _ = p.sock.WriteToUDPAddrPort(quic.AppendReset(nil, len(d.d), &token, &noise), d.peer)
			p.resets.Add(1)
			return
		default:
			return
		}
	}
	l.conn.Receive(d.d, l.conn.Path(), p.now())
	l.events()
}

func (p *quicPort) newLink() *quicLink {
	l := &quicLink{port: p, opts: p.opts, established: make(chan struct{}), closed: make(chan struct{}),
		room: make(chan struct{}), lanes: map[*quic.Stream]*quicLane{}}
	l.opts.Random = mathrand.Uint64
	l.opts.NewID = func() (id quic.ID, token [16]byte) {
		id, _ = quic.MakeID(randomBytes(quic.IDLen))
		copy(token[:], randomBytes(16))
		p.byID[id], p.tokens[id] = l, token
		return id, token
	}
	p.links[l] = true
	p.count.Add(1)
	return l
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

func (p *quicPort) accept(h *quic.Header, id quic.ID, peer netip.AddrPort) *quicLink {
	l := p.newLink()
	l.server = true
	l.tls = tls.QUICServer(&tls.QUICConfig{TLSConfig: p.tls})
	if err := l.conn.InitServer(&l.opts, h, quic.Path{Local: p.addr().Addr(), Peer: peer}, p.now()); err != nil {
		p.t.Error(err)
	}
	p.byID[id] = l
	p.onLink(l)
	l.begin()
	return l
}

// dial begins a connection to a server.
func (p *quicPort) dial(to netip.AddrPort) *quicLink {
	var l *quicLink
	p.call(func() {
		l = p.newLink()
		if p.onDial != nil {
			p.onDial(l)
		}
		l.tls = tls.QUICClient(&tls.QUICConfig{TLSConfig: p.tls})
		if err := l.conn.InitClient(&l.opts, quic.Path{Local: p.addr().Addr(), Peer: to}, p.now()); err != nil {
			p.t.Error(err)
		}
		l.begin()
	})
	return l
}

// connect dials, and waits until the connection is established.
func (p *quicPort) connect(to netip.AddrPort) *quicLink {
	p.t.Helper()
	l := p.dial(to)
	l.await(l.established, "the handshake")
	return l
}

// wait waits for ch, and fails when the connection ends before.
func (l *quicLink) wait(ch <-chan struct{}, what string) error {
	patient := time.NewTimer(testutil.Patience)
	defer patient.Stop()
	select {
	case <-ch:
		return nil
	case <-l.closed:
	case <-patient.C:
		return fmt.Errorf("%s did not come", what)
	}
	select {
	case <-ch:
		return nil
	default:
		return fmt.Errorf("%s did not come: closed: %+v", what, l.closure)
	}
}

// await is wait for the goroutine of the test.
func (l *quicLink) await(ch <-chan struct{}, what string) {
	l.port.t.Helper()
	testutil.Must(l.port.t, l.wait(ch, what))
}

// end waits for the end of the connection.
func (l *quicLink) end() quic.Closure {
	l.port.t.Helper()
	l.await(l.closed, "the end")
	return l.closure
}

func (l *quicLink) begin() {
	l.tls.SetTransportParameters(l.conn.AppendParameters(nil))
	if err := l.tls.Start(context.Background()); err != nil {
		l.port.t.Error(err)
	}
	l.drainTLS()
}

var quicLevels = []struct {
	ours quic.Level
	tls  tls.QUICEncryptionLevel
}{
	{quic.Initial, tls.QUICEncryptionLevelInitial},
	{quic.Handshake, tls.QUICEncryptionLevelHandshake},
	{quic.OneRTT, tls.QUICEncryptionLevelApplication},
}

func (l *quicLink) drainTLS() {
	for {
		ev := l.tls.NextEvent()
		level := quic.OneRTT
		for _, k := range quicLevels {
			if k.tls == ev.Level {
				level = k.ours
			}
		}
		switch ev.Kind {
		case tls.QUICNoEvent:
			return
		case tls.QUICSetReadSecret, tls.QUICSetWriteSecret:
			if err := l.conn.SetSecret(level, ev.Kind == tls.QUICSetWriteSecret, ev.Suite, ev.Data); err != nil {
				l.port.t.Error(err)
			}
		case tls.QUICWriteData:
			l.conn.SendCrypto(level, ev.Data)
		case tls.QUICTransportParameters:
			_ = l.conn.SetParameters(ev.Data) // the event Closed tells
		case tls.QUICHandshakeDone:
			l.conn.HandshakeDone()
			if l.server {
				if err := l.tls.SendSessionTicket(tls.QUICSessionTicketOptions{}); err != nil {
					l.port.t.Error(err)
				}
			}
		}
	}
}

func (l *quicLink) events() {
	for {
		ev := l.conn.Next()
		if l.onEvent != nil && ev.Kind != quic.Crypto {
			seen := ev
			l.onEvent(&seen)
		}
		switch ev.Kind {
		case quic.None:
			return
		case quic.Crypto:
			l.onCrypto(&ev)
		case quic.Established:
			close(l.established)
		case quic.Room:
			close(l.room) // for all that wait
			l.room = make(chan struct{})
		case quic.IDRetired:
			delete(l.port.byID, ev.ID)
			l.retired.Add(1)
		case quic.Closed:
			l.closure = l.conn.Closed()
			close(l.closed)
		case quic.Data, quic.Reset, quic.Stopped, quic.Sendable:
			if l.onEvent == nil {
				l.laneOf(ev.Stream).on(&ev)
			}
		}
	}
}

func (l *quicLink) onCrypto(ev *quic.Event) {
	err := l.tls.HandleData(quicLevels[ev.Level].tls, ev.Body)
	var alert tls.AlertError
	if errors.As(err, &alert) {
		l.conn.FailHandshake(quic.CryptoError(uint8(alert)))
	} else if err != nil {
		l.conn.FailHandshake(quic.CryptoError(80))
	}
	l.drainTLS()
}

func (l *quicLink) flush() {
	buf := make([]byte, 0, 2048)
	for n := 0; ; n++ {
		d, path := l.conn.AppendDatagram(buf, l.port.now())
		if len(d) == 0 {
			break
		}
		_, _ = l.port.sock.WriteToUDPAddrPort(d, path.Peer)
	}
	if l.conn.Pending() {
		l.port.t.Error("Pending, and nothing leaves")
	}
}

func (l *quicLink) laneOf(s *quic.Stream) *quicLane {
	x := l.lanes[s]
	if x == nil {
		x = l.newLane(s)
		x.last = s.ID&2 != 0 // a one-way stream has nothing to be sent
		if l.onStream != nil {
			l.onStream(x)
		}
	}
	return x
}

func (l *quicLink) newLane(s *quic.Stream) *quicLane {
	x := &quicLane{link: l, stream: s, over: make(chan struct{}), stopped: make(chan uint64, 1)}
	l.lanes[s] = x
	return x
}

// open opens a stream, and sends b on it. It waits for room.
func (l *quicLink) open(k quic.StreamKind, b []byte, last bool) (x *quicLane, err error) {
	for {
		var room chan struct{}
		l.port.call(func() {
			room = l.room
			var s *quic.Stream
			if s, err = l.conn.Open(k); err == nil {
				x = l.newLane(s)
				x.out, x.last = b, last
				x.send()
			}
		})
		if !errors.Is(err, quic.ErrNoRoom) {
			return x, err
		}
		if err = l.wait(room, "room for a stream"); err != nil {
			return nil, err
		}
	}
}

func (x *quicLane) on(ev *quic.Event) {
	c := &x.link.conn
	switch ev.Kind {
	case quic.Data:
		if x.echo {
			x.out = append(x.out, ev.Body...)
			x.last = ev.End
			if !x.slow {
				c.Release(x.stream, len(ev.Body))
			}
			x.send()
			return
		}
		x.got = append(x.got, ev.Body...)
		c.Release(x.stream, len(ev.Body))
		if ev.End {
			x.finish()
		}
	case quic.Reset:
		x.reset.Store(1 + int64(ev.Code))
		x.finish()
	case quic.Stopped:
		x.stopped <- ev.Code
	case quic.Sendable:
		x.send()
	}
}

// finish tells that all has come.
func (x *quicLane) finish() {
	close(x.over)
	if x.last && len(x.out) == 0 || x.echo {
		x.leave()
	}
}

func (x *quicLane) leave() {
	delete(x.link.lanes, x.stream)
	x.link.conn.Done(x.stream)
}

func (x *quicLane) send() {
	n := x.link.conn.Send(x.stream, x.out, x.last)
	x.out = x.out[n:]
	if x.echo {
		if x.slow {
			x.link.conn.Release(x.stream, n)
		}
		if x.last && len(x.out) == 0 {
			close(x.over)
			x.leave()
		}
	}
}
