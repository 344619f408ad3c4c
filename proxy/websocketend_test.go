package proxy_test

import (
	"testing"

	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// The last word to the client of a WebSocket ends our side: RFC 8441 §5, orderly closes are END_STREAM. Some clients
// throw away what they have not read of a stream that is reset.
func TestWebSocket_lastWordEndsTheStream(t *testing.T) {
	s := setTunnel(t, stageOptions{})
	c := s.play(t, &proxy.Listener{}, overTLS, extendedConnect("websocket"), true)
	up := s.accept()
	key := acceptKey(t, up.ReadHead())
	up.Send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " +
		proxy.WebSocketAccept([]byte(key)) + "\r\n\r\n")
	c.want(t, "head 101 tunnel")
	c.do(func() {
		c.receiver.(session.TunnelDrainer).OnTunnelDrain(c.playedStream)
		c.receiver.OnReset(c.playedStream, session.Cancelled, nil)
	})
	c.want(t, "data \x88\x02\x03\xe9 end")
	s.settled(t)
}
