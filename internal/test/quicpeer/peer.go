// Package quicpeer is a client of QUIC for tests and for loads: a quic.Conn and crypto/tls, in the simulated network
// over a sim.DatagramPeer, over a socket of this machine, or without either.
package quicpeer

import (
	"crypto/tls"
	"net/netip"
	"testing"

	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/quic"
)

// Peer is one connection in the simulated network. Owned by its World's goroutine.
//
//	sim ─► Receive, Next ─► OnEvent, crypto/tls        after each datagram, time, and call of Do: Flush
type Peer struct {
	End
	Net *sim.DatagramPeer

	w     *sim.World
	armed int64
}

// Dial begins a connection to a. onEvent takes all events but events of the handshake and of ids.
func Dial(
	t testing.TB, w *sim.World, a poller.Addr, c *tls.Config, o quic.Options, onEvent func(ev *quic.Event),
) *Peer {
	p := &Peer{End: End{Options: o, OnEvent: onEvent}, Net: w.DialDatagrams(a), w: w}
	p.Net.Handle = func(*sim.DatagramPeer) { p.receive() }
	p.Begin(c, quic.Path{Local: p.Net.Addr().Addr(), Peer: a.IP}, w.Now(), w.Rand().Uint64)
	t.Cleanup(p.Stop)
	p.Flush()
	return p
}

// Do runs f, which uses the Conn, and sends the datagrams that follow from it.
func (p *Peer) Do(f func()) {
	f()
	p.Events()
	p.Flush()
}

// receive takes the datagrams that have come.
func (p *Peer) receive() {
	for _, d := range p.Net.Take() {
		p.Conn.Receive(d.Data, p.Conn.Path(), p.w.Now())
		p.Events()
	}
	p.Flush()
}

// Flush sends all datagrams that may leave, and sets the timer that calls Expire in time.
func (p *Peer) Flush() {
	for {
		d, _ := p.Conn.AppendDatagram(make([]byte, 0, quic.DatagramMax), p.w.Now())
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
		p.Events()
	}
	p.Flush()
}

// Rebind gives the client another address.
func (p *Peer) Rebind(at netip.AddrPort) { p.w.Rebind(p.Net, at) }
