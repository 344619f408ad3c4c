package docs

import (
	"crypto/tls"
	"net"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

// What follows is compiled and not run: docs/engine.md shows parts of it.

type relay struct {
	engine.NopHandler
	peer *engine.Conn
}

func (h *relay) OnData(c *engine.Conn, in []byte) int {
	h.peer.Write(in)
	if h.peer.Congested() {
		c.PauseRead()
	}
	return len(in)
}

func (h *relay) OnSendable(c *engine.Conn) { h.peer.ResumeRead() }

var _ engine.Handler = (*relay)(nil)

func listenTLS(e *engine.Engine, addr poller.Addr, config *tls.Config, accept func(*engine.Conn) engine.Handler) error {
	hs := session.NewHandshaker(e)
	_, err := e.Listen(engine.ListenOptions{Addr: addr}, hs.Server(session.TLSServer{Config: config}, accept))
	return err
}

func dialTLS(
	r *engine.Reactor, hs *session.Handshaker, to poller.Addr, config *tls.Config, handler engine.Handler,
) error {
	_, err := hs.Dial(r, to, handler, nil, &session.TLSClient{Config: config})
	return err
}

func answerLater(ref engine.Ref, answer []byte) {
	ref.Reactor().Post(&engine.Task{Run: func(r *engine.Reactor) {
		if c := ref.Conn(); c != nil { // nil: closed meanwhile
			c.Write(answer)
		}
	}})
}

type sniffer struct {
	engine.NopHandler
	conns  chan net.Conn
	isMine func([]byte) bool
}

func (h *sniffer) OnData(c *engine.Conn, in []byte) int {
	if h.isMine(in) {
		h.conns <- session.NetConn(c) // buffered: a callback does not wait. A net.Listener takes it from there
	}
	return 0 // the net.Conn gets these bytes
}

var _ = []any{listenTLS, dialTLS, answerLater, (*sniffer).OnData}
