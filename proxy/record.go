package proxy

import (
	"encoding/hex"
	"net/netip"

	"github.com/edge-proxy/edge/internal/exchange/recent"
	"github.com/edge-proxy/edge/internal/forward"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/message"
)

// record is the part of an Exchange that logs, counters and pages are made of: its number, where it came in, its route
// and its end. The exchange fills it as it goes. It has no stream, no attempt and no step.
// Owned by the owner of its exchange.
type record struct {
	local *local
	given []byte          // the number that the request came with, where that is accepted
	noted []observe.Field // by LogField

	part *part // in a trace, where that is looked for; nil until it is needed, then kept

	past *past // of attempts that failed; nil until it is needed, then kept

	started   int64        // reactor time, ns
	target    message.Span // of the request as it came
	authority message.Span // likewise

	facts
}

// facts is the part of a record that is cleared before the next request, all at once.
type facts struct {
	listener *Listener
	digest   *tlsconn.Digest // of the client's connection; nil: it is not secured
	snapshot *Snapshot
	route    *Route
	client   netip.Addr // as a trusted proxy says; invalid: the peer is the client
	fault    *Error     // why the proxy answered, or cut the exchange off, of its own

	number   uint64 // 0 until it is asked for
	bodyIn   int64  // bytes of the request's body that came
	status   uint16
	answered uint16 // the status of the destination's answer; 0: it gave none

	cached  CacheStatus // by SetCached
	trusted bool        // the peer's forwarding fields are believed
	ours    bool        // the answer is the proxy's own
	tunnel  bool        // the answer made a tunnel of the exchange: see openTunnel
}

// past is what the record of an exchange needs of its attempts that failed.
type past struct {
	first  recent.Try
	lookup int64             // ns
	credit *forward.Backends // whose attempts the record shows, which a Fork has made: see Credit; nil: none
}

// credited returns the backends whose attempts the record shows; nil: the attempts are of the exchange. p may be nil.
func (p *past) credited() *forward.Backends {
	if p == nil {
		return nil
	}
	return p.credit
}

// Route returns the route that was chosen; nil in the phase BeforeRoute and where none takes the request.
func (k *record) Route() *Route { return k.route }

// TLS returns the facts of the client's connection where it is secured by TLS, else nil.
func (k *record) TLS() *tlsconn.Digest { return k.digest }

// Trusted reports whether the request comes from a proxy whose forwarding fields are believed: see Listener.Trusted.
func (k *record) Trusted() bool { return k.trusted }

// ID returns the number of the request, the same as in the access log: the number that it came with, where the listener
// accepts that, or one of the proxy's, in hexadecimal.
func (k *record) ID() string {
	if len(k.given) > 0 {
		return string(k.given)
	}
	id := k.ownID()
	return hex.EncodeToString(id[:])
}

// ownID returns the proxy's own number of the request, which gets one when it is first asked for.
func (k *record) ownID() (id [16]byte) { return k.local.idOf(k.local.numberOf(k)) }

// numberOf returns the number of the request of k, which gets one when it is first asked for.
func (l *local) numberOf(k *record) uint64 {
	if k.number == 0 {
		l.ids[1]++
		k.number = l.ids[1]
	}
	return k.number
}

// TraceID returns the identity of the trace that the request is part of, in hexadecimal; "" where the listener does not
// look for one.
func (k *record) TraceID() string { return string(k.traceID()) }

// traceID is TraceID, borrowed until the exchange ends; nil: not looked for.
func (k *record) traceID() []byte {
	if k.part == nil {
		return nil
	}
	return k.part.hex
}

// LogField adds a member to the record of the exchange in access logs in JSON: observe.FieldsMax of them at the most. A
// later one does not replace an earlier one of that name.
func (k *record) LogField(name, value string) {
	if len(k.noted) < observe.FieldsMax {
		k.noted = append(k.noted, observe.Field{Name: name, Value: value})
	}
}

// outcome returns the status and the fault: of the answer that was sent, or would have been.
func (k *record) outcome() (status int, reason string) {
	status = int(k.status)
	if f := k.fault; f != nil {
		reason = f.Reason()
		if k.status == 0 {
			status = f.Status
		}
	}
	return status, reason
}

// flags returns what the fields of the log say.
func (k *record) flags() (f recent.Flags) {
	for i := range k.noted {
		switch n := &k.noted[i]; {
		case n.Name == "retry":
			f |= recent.Denied
		case n.Name == "hedge" && n.Value != "budget":
			if f |= recent.Hedged; n.Value == "won" {
				f |= recent.HedgeWon
			}
		}
	}
	return f
}
