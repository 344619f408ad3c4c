// Package quicpeer is a client of QUIC in the simulated network, for tests: a quic.Conn and crypto/tls over a
// sim.DatagramPeer.
package quicpeer

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"

	"github.com/edge-proxy/edge/internal/sim"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/quic"
)

// Peer is one connection. Owned by its World's goroutine.
//
//	sim ─► Receive, Next ─► OnEvent, crypto/tls        after each datagram, time, and call of Do: Flush
type Peer struct {
	Conn  quic.Conn
	Net   *sim.DatagramPeer
	Err   error // of crypto/tls
	State tls.ConnectionState

	// Established and Closed say that their events have come.
	Established, Closed bool

	w       *sim.World
	tls     *tls.QUICConn
	options quic.Options
	onEvent func(ev *quic.Event)
	armed   int64
	ids     uint64
}

// Dial begins a connection to a. onEvent takes all events but events of the handshake and of ids.
func Dial(
	t testing.TB, w *sim.World, a poller.Addr, c *tls.Config, o quic.Options, onEvent func(ev *quic.Event),
) *Peer {
	p := &Peer{Net: w.DialDatagrams(a), w: w, options: o, onEvent: onEvent}
	p.options.Seed = w.Rand().Uint64()
	p.options.NewID = func() (id quic.ID, token [16]byte) {
		p.ids++
		b := binary.BigEndian.AppendUint64(nil, w.Rand().Uint64()<<16|p.ids)
		id, _ = quic.MakeID(b)
		copy(token[:], b)
		return id, token
	}
	p.Net.Handle = func(*sim.DatagramPeer) { p.receive() }
	p.tls = tls.QUICClient(&tls.QUICConfig{TLSConfig: c})
	t.Cleanup(func() { p.tls.Close() }) //nolint:errcheck // it tells what the handshake has told
	p.Err = p.Conn.InitClient(&p.options, quic.Path{Local: p.Net.Addr().Addr(), Peer: a.IP}, w.Now())
	p.tls.SetTransportParameters(p.Conn.AppendParameters(nil))
	p.fail(p.tls.Start(context.Background()))
	p.handshake()
	p.Flush()
	return p
}

// Do runs f, which uses the Conn, and sends the datagrams that follow from it.
func (p *Peer) Do(f func()) {
	f()
	p.events()
	p.Flush()
}

// receive takes the datagrams that have come.
func (p *Peer) receive() {
	for _, d := range p.Net.Take() {
		p.Conn.Receive(d.Data, p.Conn.Path(), p.w.Now())
		p.events()
	}
	p.Flush()
}

func (p *Peer) events() {
	for {
		ev := p.Conn.Next()
		switch ev.Kind {
		case quic.Crypto:
			p.fail(p.tls.HandleData(level[ev.Level], ev.Body))
			p.handshake()
			continue
		case quic.Established:
			p.Established = true
			continue
		case quic.IDRetired:
			continue
		case quic.Closed:
			p.Closed = true
		}
		if p.onEvent != nil {
			p.onEvent(&ev)
		}
		if ev.Kind == quic.None {
			return
		}
	}
}

// level has the numbers of crypto/tls, which has a level of 0-RTT too.
var level = [...]tls.QUICEncryptionLevel{
	tls.QUICEncryptionLevelInitial, tls.QUICEncryptionLevelHandshake, tls.QUICEncryptionLevelApplication,
}

func levelOf(l tls.QUICEncryptionLevel) quic.Level {
	switch l {
	case tls.QUICEncryptionLevelInitial:
		return quic.Initial
	case tls.QUICEncryptionLevelHandshake:
		return quic.Handshake
	}
	return quic.OneRTT
}

// handshake acts on the events of crypto/tls.
func (p *Peer) handshake() {
	for {
		switch e := p.tls.NextEvent(); e.Kind {
		case tls.QUICNoEvent:
			return
		case tls.QUICSetReadSecret, tls.QUICSetWriteSecret:
			write := e.Kind == tls.QUICSetWriteSecret
			p.fail(p.Conn.SetSecret(levelOf(e.Level), write, e.Suite, e.Data))
		case tls.QUICWriteData:
			p.Conn.SendCrypto(levelOf(e.Level), e.Data)
		case tls.QUICTransportParameters:
			p.fail(p.Conn.SetParameters(e.Data))
		case tls.QUICHandshakeDone:
			p.State = p.tls.ConnectionState()
			p.Conn.HandshakeDone()
		}
	}
}

// fail ends the handshake for err, if that is one.
func (p *Peer) fail(err error) {
	if err == nil || p.Err != nil {
		return
	}
	p.Err = err
	var alert tls.AlertError
	if errors.As(err, &alert) {
		p.Conn.FailHandshake(quic.CryptoError(uint8(alert)))
	}
}

// Flush sends all datagrams that may leave, and has Expire called in time.
func (p *Peer) Flush() {
	for {
		d, _ := p.Conn.AppendDatagram(make([]byte, 0, quic.DatagramSize), p.w.Now())
		if len(d) == 0 {
			break
		}
		p.Net.Send(d)
	}
	if at := p.Conn.Deadline(); at != 0 && (p.armed == 0 || at < p.armed) {
		p.armed = at
		p.w.At(max(at, p.w.Now()), p.expire)
	}
}

func (p *Peer) expire() {
	p.armed = 0
	if at := p.Conn.Deadline(); at != 0 && at <= p.w.Now() {
		p.Conn.Expire(p.w.Now())
		p.events()
	}
	p.Flush()
}

// Rebind gives the client another address.
func (p *Peer) Rebind(at netip.AddrPort) { p.w.Rebind(p.Net, at) }
