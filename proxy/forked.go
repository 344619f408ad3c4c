package proxy

import (
	"net/netip"

	"github.com/edge-proxy/edge/backend/admission"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
	"github.com/edge-proxy/edge/tlsconn"
)

// ForkSide takes the answer to a forked request: a Stream as the stream of a client is one. All methods run on the
// reactor of the fork. SendHead may change its head, and take it by MoveTo. Peer, Local and TLS are not called.
type ForkSide interface {
	session.Stream
	// OnFailed is called in place of an answer. A failure after the head of the answer, or a panic, is a Reset. Either
	// is the last call.
	OnFailed(e *Error)
}

// Forked is a request without a client: see Fork. The zero value is Over. Owned by the reactor of the exchange that it
// was made of. Its memory belongs to the caller of Fork, and may be used again once it is Over.
//
//	x is nil once the fork is over: the end of the answer was sent, it has failed, or it was cancelled
type Forked struct {
	Body  []byte          // of the request, which Fork copies; nil: it has none
	Class admission.Class // that the request is of, in place of its route's; Usual: the route's
	Apart bool            // nobody waits for the answer, so Credit is not called: attempts have no spans of their own

	ForkSide
	x           *Exchange
	peer, local poller.Addr
	socket      netip.Addr
	digest      *tlsconn.Digest
	task        engine.Task
	posted      bool     // the task is on its way
	broken      ForkSide // has panicked, and is told of the end; nil: none
}

// Over reports whether f may be used for another request: nothing of it goes on, and no task is on its way.
func (f *Forked) Over() bool { return f.x == nil && !f.posted }

// Request returns the head that is sent on; nil once f is over. Borrowed until then.
func (f *Forked) Request() *message.Head {
	if f.x == nil {
		return nil
	}
	return &f.x.Request
}

// Peer is the address of the client of the exchange that the fork was made of.
func (f *Forked) Peer() poller.Addr { return f.peer }

// Local is the address that this client connected to.
func (f *Forked) Local() poller.Addr { return f.local }

// SocketIP is the other end of the socket that this client came by.
func (f *Forked) SocketIP() netip.Addr { return f.socket }

// TLS is what is known of the connection of this client.
func (f *Forked) TLS() *tlsconn.Digest { return f.digest }

// nobody takes the answer of a fork that was cancelled.
var nobody ForkSide = noSide{}

type noSide struct{ session.NopStream }

func (noSide) OnFailed(*Error) {}
