package session_test

import (
	"testing"

	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

// A tunnel that ends before both sides have said so is not an answer that failed. RFC 8441 §5: what would be RST is
// CANCEL. RFC 9113 §8.5: for CONNECT it is CONNECT_ERROR. §8.1: where our side had ended, NO_ERROR.
func TestServer_h2SaysWithWhatATunnelEnds(t *testing.T) {
	opened := message.Head{Status: 200, Tunnel: true, Length: message.LengthUnknown}
	switched := message.Head{Status: 101, Tunnel: true, Length: message.LengthUnknown}
	for _, c := range []struct {
		name, block, code string
		ended             bool
		head              message.Head
	}{
		{"WebSocket", blockConnect, "CANCEL", false, switched},
		{"WebSocket, ended by us", blockConnect, "NO_ERROR", true, switched},
		{"CONNECT", "\x42\x07CONNECT\x01\x04h:80", "CONNECT_ERROR", false, opened},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, g := listening(t, session.ServerOptions{}, "")
			s.recv(ask(1, false, c.block))
			p := g.parts[0]
			s.do(func() {
				if err := p.SendHead(&c.head, false); err != nil {
					t.Error(err)
				}
				if c.ended {
					_, _ = p.SendData([]byte("last words"), true)
				}
			})
			s.frames()
			s.do(func() { p.Reset(session.Cancelled) })
			s.want("reset 1: " + c.code)
		})
	}
}
