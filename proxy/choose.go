package proxy

import (
	"strconv"

	"github.com/edge-proxy/edge/internal/exchange/grpc"
	"github.com/edge-proxy/edge/internal/route"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

// findRoute chooses the route of the request, nil where none takes it. It reports false where the request was refused.
func findRoute(x *Exchange) bool {
	l := x.listener
	x.local.language.forgetMatch()
	r, err := x.snapshot.routes.Find(&x.Request, (*arrival)(x), l.reading(), &x.local.routing)
	switch err {
	case nil:
	case route.ErrParameters:
		x.fail(parametersRefused)
		return false
	default: // ErrPath
		x.fail(AmbiguousPath)
		return false
	}
	x.route, x.routed, x.asked = r, x.Request.Target, x.Request.Authority
	if r != nil && r.captures {
		if m := x.local.language.foundMatch(r.When); m != nil {
			*routeMatch.Of(x), x.matched = matchKept{keep(&x.Request, m.subject), m.groups}, true
		}
	}
	read := x.local.routing.Read()
	if read != nil && r != nil && (l.Paths == route.PathsForwarded || r.Rewrite != nil) {
		h := &x.Request
		rest := h.Bytes(h.Target)[len(h.Path()):]
		if !retarget(h, append(append(h.Base, read...), rest...)) {
			x.refusal = TargetTooLong
		}
	}
	return true
}

// ExplainRoutes returns what becomes of each route in the search for the route of x, in the order in which the Snapshot
// has them, and the path that they see: see route.Table.Explain. It is for filters of the phase BeforeRoute. It takes a
// search for each part of each route, on the reactor of x: nothing for every request.
func ExplainRoutes(x *Exchange) (all []route.Explained[*Route], path string, err error) {
	all, path, err = x.snapshot.routes.Explain(&x.Request, (*arrival)(x), x.listener.reading())
	for i := range all {
		if one := &all[i]; one.Why >= route.OtherWhen && one.Rule.When != nil {
			one.Clauses = one.Rule.When.Explain(evaluationOf(x).look(x, []byte(path)))
		}
	}
	return all, path, err
}

// arrival tells what the request of an Exchange came by. It is the Exchange, by conversion.
type arrival Exchange

func (x *arrival) ListenerName() string { return x.listener.Name }

func (x *arrival) CertificateVerified() bool { return x.digest != nil && x.digest.Verified }

func (x *arrival) CertificateNames() (subject, issuer string, sans []string, ok bool) {
	c := x.digest.PeerCertificate()
	if c == nil {
		return "", "", nil, false
	}
	return c.Subject, c.Issuer, c.Names, true
}

// otherMethods returns the methods with which a route would take the request h, which none takes, in its bytes. The
// search of findRoute must be the last one on the reactor.
func (l *local) otherMethods(s *Snapshot, h *message.Head, by *arrival) message.Span {
	l.page = s.routes.AppendAllow(l.page[:0], h, by, &l.routing)
	return keep(h, l.page)
}

// failRouteless answers a request that no route takes. RFC 9110 §15.5.6: where a route would take another method it is
// 405, with these methods in Allow. CONNECT and TRACE, which a route has to name, are answered 405 in any case.
func failRouteless(x *Exchange) {
	f := routeNotFound
	if x.allow = x.local.otherMethods(x.snapshot, &x.Request, (*arrival)(x)); x.allow.Len > 0 {
		f = methodRefused
	} else if v := x.Request.Verb; v == message.VerbConnect || v == message.VerbTrace {
		f = methodRefused
	}
	x.fail(f)
}

// allowed is what Allow says where no route says it: RFC 9110 §10.2.1.
const allowed = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

// unusual chooses the route of a request that is CONNECT, OPTIONS or TRACE. It reports whether it answered instead.
func unusual(x *Exchange) bool {
	h := &x.Request
	// RFC 9110 §9.3.7: OPTIONS with "*" is about the server as a whole, and no route is. It serves as a ping: there is
	// no resource whose methods Allow could name.
	if h.Verb == message.VerbOptions && h.Target.Len == 1 && h.Bytes(h.Target)[0] == '*' {
		x.ownAnswer(Respond(200, ""))
		return true
	}
	if !findRoute(x) {
		return true
	}
	switch {
	case x.route == nil:
		failRouteless(x)
		return true
	case h.Verb == message.VerbConnect:
		return false
	}
	v := lastHop(h)
	if v.kind != next {
		x.respond(v)
	}
	return v.kind != next
}

// lastHop returns the answer to an OPTIONS or a TRACE that Max-Forwards ends here; else it counts down: RFC 9110
// §7.6.2.
func lastHop(h *message.Head) Verdict {
	v := h.Peek(message.MaxForwards)
	if v == nil {
		return Next
	}
	n, err := strconv.ParseUint(string(v), 10, 32)
	switch {
	case err != nil:
		return Fail(badMaxForwards)
	case n > 0:
		h.Set("Max-Forwards", strconv.FormatUint(n-1, 10))
		return Next
	case h.Verb == message.VerbOptions:
		return Respond(200, "").With("Allow", allowed)
	}
	return Fail(methodRefused)
}

// chooseRoute chooses the route of the request. It reports false where the request was answered instead.
func chooseRoute(x *Exchange) bool {
	// CONNECT, OPTIONS and TRACE are neighbours.
	if v := x.Request.Verb - message.VerbConnect; v <= message.VerbTrace-message.VerbConnect {
		if unusual(x) {
			return false
		}
	} else if !findRoute(x) {
		return false
	} else if x.route == nil {
		failRouteless(x)
		return false
	}
	if x.route.GRPC.on(x.listener.GRPC) {
		x.call.begin(&x.Request)
		x.up.Call = x.call.form != grpc.None
	}
	return true
}

// stageRequest decides, when the route is chosen and has read what it wants, whether something looks at the body.
func stageRequest(x *Exchange) {
	filtered := x.route.chain.filtersRequest(x)
	if filtered && x.Request.Length != 0 {
		x.Request.Length = message.LengthUnknown
	}
	x.up.Body.Staged = filtered || x.call.form == grpc.WebText
}

// choicesMax bounds how many functions choose the destination of an exchange one after the other.
const choicesMax = 8

// chosenLead returns where x leads. Where that is a function, it is asked first: a failure is returned where it chooses
// none.
func chosenLead(x *Exchange) (l *lead, failed *Error) {
	if l = x.lead(); !l.chooses {
		return l, nil
	}
	defer func() {
		if p := recover(); p != nil {
			x.caught(&x.Request, p, "DestinationFunc")
			l, failed = nil, Internal
		}
	}()
	for range choicesMax {
		d := l.to.(DestinationFunc)(x)
		if d == nil {
			break
		}
		x.SetDestination(d)
		if l = &x.chosen; !l.chooses {
			return l, nil
		}
	}
	return nil, NoBackend
}

// RouteOf returns the name of the route that the exchange of r, an exchange of this package, takes; "": it has none
// yet, or r is none. On the reactor of the exchange only.
func RouteOf(r session.Receiver) string {
	if d, ok := r.(*downSide); ok && d.route != nil {
		return d.route.Name
	}
	return ""
}
