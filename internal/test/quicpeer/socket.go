package quicpeer

import (
	"crypto/tls"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/quic"
)

// Socket is one connection over a UDP socket. Owned by one goroutine; it reads, and keeps time, only within Until.
//
//	Until ─► Receive, Next ─► OnEvent, crypto/tls ─► Flush      again and again, until its condition holds
type Socket struct {
	End

	udp   *net.UDPConn
	begun time.Time
	path  quic.Path
	in    []byte
	out   []byte
}

// DialSocket begins a connection to addr. onEvent takes all events but events of the handshake and of ids.
func DialSocket(
	t testing.TB, addr string, c *tls.Config, o quic.Options, onEvent func(ev *quic.Event),
) *Socket {
	t.Helper()
	s := PrepareSocket(t, addr, c, o, onEvent)
	s.Start()
	s.Flush()
	return s
}

// PrepareSocket is DialSocket without the ClientHello: see End.Start.
func PrepareSocket(
	t testing.TB, addr string, c *tls.Config, o quic.Options, onEvent func(ev *quic.Event),
) *Socket {
	t.Helper()
	to := netip.MustParseAddrPort(addr)
	udp, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	testutil.Must(t, err)
	t.Cleanup(func() { udp.Close() })
	s := &Socket{
		End: End{Options: o, OnEvent: onEvent}, udp: udp, begun: time.Now(),
		in: make([]byte, 65536), out: make([]byte, 0, quic.DatagramMax),
	}
	s.path = quic.Path{Local: s.Addr().Addr(), Peer: to}
	s.Prepare(c, s.path, s.now(), rand.Uint64)
	t.Cleanup(s.Stop)
	return s
}

// now is above 0, which means no time.
func (s *Socket) now() int64 { return int64(time.Since(s.begun)) + 1 }

// Until reads until cond holds, and reports whether it does: the connection may end, and patience too.
func (s *Socket) Until(patience time.Duration, cond func() bool) bool {
	last := s.now() + int64(patience)
	for !cond() {
		s.Events()
		s.Flush()
		switch {
		case cond():
			return true
		case s.Closed, s.now() >= last:
			return false
		}
		wake := last
		if at := s.Conn.Deadline(); at != 0 && at < last {
			wake = at
		}
		s.udp.SetReadDeadline(s.begun.Add(time.Duration(wake)))
		n, err := s.udp.Read(s.in)
		if err == nil {
			s.Conn.Receive(s.in[:n], s.path, s.now())
		} else if at := s.Conn.Deadline(); at != 0 && at <= s.now() {
			s.Conn.Expire(s.now())
		}
	}
	return true
}

// Addr is where the socket is.
func (s *Socket) Addr() netip.AddrPort { return s.udp.LocalAddr().(*net.UDPAddr).AddrPort() }

// Flush sends all datagrams that may leave.
func (s *Socket) Flush() {
	for {
		d, _ := s.Conn.AppendDatagram(s.out, s.now())
		if len(d) == 0 {
			return
		}
		s.udp.Write(d) //nolint:errcheck // it is lost then
	}
}

// Leave closes the connection with a code of the application.
func (s *Socket) Leave(code uint64) {
	s.Conn.Close(code)
	s.Flush()
	s.udp.Close()
}
