package proxy

import (
	"log/slog"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/session"
	"github.com/edge-proxy/edge/upstream"
)

// attempt is one try of an exchange at its destination, and what it knows of those before.
//
//	open ─► Destination.Open ─► stream: send ─► the answer
//	  ▲          │                 └─ OnReset ─► retry ─► open
//	  │          ├─ ErrPending ─► OnTaken ─► send
//	  └─ again ◄─┴─ an error
//
// Owned by its exchange, which clears it with the rest of its progress.
type attempt struct {
	stream session.Stream // takes the request; nil while there is none
	fault  *Fault         // of the try before; the answer when nothing is left to try. nil: there was none

	// Of To: where the request goes.
	up       *toUpstream      // that was opened; nil: the destination is another one
	conn     *upstream.Conn   // whose stream it is
	receiver session.Receiver // gets the answer, once there is a connection
	aim      aim
	backend  *backend.Member // nil: none was chosen yet
	address  int             // of the backend's
	refused  int             // addresses of the backend that could not be connected to
	nameHost bool            // the backend is to be sent its own address as Host
	reused   bool            // the connection served others before

	connected int64 // reactor time, ns: the request was given to a connection, or that stood
	firstByte int64
}

// drop forgets the stream: it is over.
func (a *attempt) drop() { a.stream, a.conn = nil, nil }

// aim says where the next try goes.
type aim uint8

const (
	nextBackend aim = iota // that was not tried
	nextAddress            // of the same backend, whose name has several
	sameAddress            // on a connection that no exchange used before
	sameBackend            // on any connection
)

// tellAlert says why a backend ended a secured connection. With TLS 1.3 it looks at our certificate when the handshake
// is done for us.
func (a *attempt) tellAlert(cause error) {
	if a.backend != nil {
		slog.Warn("a backend refused the secured connection", "upstream", a.up.upstream.Name(),
			"backend", a.backend.Address(), "error", cause)
	}
}

// noteConnect adds the time that x spent on its connection being established, before the first byte of the answer or
// the end of the attempt. What a connection took that had served before is not the time of x.
func (a *attempt) noteConnect(x *Exchange) {
	if a.reused || a.conn == nil || a.firstByte > 0 {
		return
	}
	at, stands := a.conn.ConnectedAt()
	if !stands {
		at = x.local.reactor.Now()
	}
	if at > a.connected {
		x.dialled += at - a.connected
		a.connected = at
	}
}
