package proxy

import (
	"net/netip"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/tlsconn"
)

// kinship is kept with exchanges that make sub-requests, or are sub-requests.
type kinship struct {
	first *Sub  // that the exchange waits for, the last one first; nil: none
	depth uint8 // how many sub-requests lead to the exchange; 0: it is none
}

var kinshipOf = NewLocal[kinship]()

// Sub is a sub-request: a request that a filter has the proxy make for the sake of another one. See Ask.
//
//	user := &proxy.Sub{To: proxy.Named("users"), Target: "/whoami"}
//	user.Done = func(x *proxy.Exchange, s *proxy.Sub) proxy.Verdict {
//		if s.Err != nil || s.Response.Status != 200 {
//			return proxy.Respond(403, "not you\n")
//		}
//		x.Request.Set("X-User", string(s.Answer))
//		return proxy.Next
//	}
//	return proxy.Ask(x, user)
//
// The fields above Err are for Ask, the others for Done. Owned by the reactor of its exchange from Ask until Done, and
// by the caller before and after. It is asked once.
type Sub struct {
	Method  string                        // "": GET
	Target  string                        // path and query; "": as the client asked
	Host    string                        // "": as the client asked
	Body    []byte                        // of the request, which keeps it; nil: it has none
	Prepare func(h *message.Head)         // changes the head before it is sent; nil: nothing
	To      Destination                   // nil: the request goes through the filters and routes of the listener
	Timeout time.Duration                 // until the end of the answer; 0: 10 s
	Done    func(*Exchange, *Sub) Verdict // gets the answer: see Ask. nil: nobody waits for it

	Err       *Error       // why there is no answer; nil: there is
	Response  message.Head // without Err
	Answer    []byte       // the body, 64 KiB of it at the most
	Truncated bool         // the body goes on

	y      *Exchange // that is the sub-request; nil: before Ask, and once it is over
	parent *Exchange // nil: nobody waits
	place  place     // of the parent
	next   *Sub      // of the parent
	local  *local
	sent   int  // bytes of Body that y has not released
	over   bool // the task that tells the parent is on its way
	held   int  // bytes of Answer that the budget of memory counts
	fault  *Error
	timer  engine.Timer
	task   engine.Task

	peer, address poller.Addr // the address of the client, and the address of ours that it connected to
	socket        netip.Addr  // the other end of the socket that this client came by
	digest        *tlsconn.Digest
}
