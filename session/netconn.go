package session

import (
	"net"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/l4/netconn"
)

// NetConn turns a connection into a net.Conn for code that blocks: crypto/tls, a hijacker, net/http. Call it in a
// callback of c, and give the result to a goroutine. Bytes that the callback leaves are the first ones it reads.
func NetConn(c *engine.Conn) net.Conn { return netconn.New(c) }

// NetListener is a net.Listener of connections of reactors: its method Handler makes the handlers of Engine.Listen.
type NetListener = netconn.Listener
