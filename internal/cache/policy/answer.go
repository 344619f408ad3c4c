package policy

import "github.com/edge-proxy/edge/message"

// Answer is what Judge has decided about one answer. It goes with the head that was judged: Keeps needs it unchanged,
// but for fields that were added or dropped since.
type Answer struct {
	Reason Reason    // why the answer is not stored; ReasonNone: it may be
	Marks  Class     // which later requests a marker is for, where the answer is not stored
	Fresh  Freshness // for the record

	strip  bool   // Set-Cookie is not kept
	hops   bool   // the answer has Connection, which may name fields that are not kept
	listed bool   // no-cache or private names fields that are not kept
	field  string // the targeted field that has the directives; "": Cache-Control
}

// Judge decides, at the head of an answer, whether and for how long it may be stored: RFC 9111 §3. The request was
// sent at asked, and the head of its answer came at received. Both heads are borrowed until return. An answer that is
// never fresh is stored too where the backend can be asked about it, or where it is used while the backend is asked.
func (r *Rules) Judge(request, answer *message.Head, asked, received int64) (a Answer) {
	d, date := r.directivesOf(answer), dateOf(answer, received)
	l := r.lifetime(answer, &d, date, received)
	a.Fresh = Freshness{
		Received: received, Age: ageReceived(answer, date, asked, received), Lifetime: l.length,
		StaleWhile: d.seconds[staleWhile], StaleOnError: d.seconds[staleIfError],
		Always: d.saw(noCache) && !l.obeyed,
		Strict: d.saw(mustRevalidate) || d.saw(proxyRevalidate) || d.seconds[sMaxAge] >= 0,
	}
	a.strip, a.hops, a.listed, a.field = r.SetCookie == Strip, answer.Has(message.Connection), d.listed, d.field
	if a.Reason = r.refuse(request, answer, &d, l, &a.Fresh); !isOfOneRequest(answer.Status) {
		a.Marks = a.Reason.Marks()
	}
	return a
}

// refuse returns why answer is not stored; ReasonNone: it may be.
func (r *Rules) refuse(request, answer *message.Head, d *directives, l lifetime, f *Freshness) Reason {
	authorized, hasCookie := request.Has(message.Authorization), request.Has(message.Cookie)
	demanded, _ := r.demands(request)
	switch s := answer.Status; {
	case s < 200 || s == 206 || s == 304 || s == 416:
		return ReasonStatus
	case d.saw(mustUnderstand) && !understood(s):
		return ReasonMustUnderstand
	// RFC 9111 §5.2.2.3: a cache that understands the status SHOULD disregard the no-store directive.
	case d.malformed || d.saw(noStore) && !d.permits(mustUnderstand) || answer.Hops && hidesRules(answer):
		return ReasonNoStore
	case demanded.malformed || demanded.saw(noStore):
		return ReasonRequestNoStore
	case d.saw(private):
		return ReasonPrivate
	// RFC 9111 §3.5: a shared cache MUST NOT use a cached response to a request with an Authorization header field
	// unless the response contains a directive that allows it.
	case authorized && (d.plain&(1<<public|1<<mustRevalidate|1<<sMaxAge) == 0 || l.overrules(d)):
		return ReasonAuthorization
	case hasCookie && (!l.declared || l.overrules(d)) && r.Cookies != Ignore:
		return ReasonCookie
	case answer.Has(message.SetCookie) && r.SetCookie == Skip:
		return ReasonSetCookie
	case variesTooMuch(answer):
		return ReasonVary
	case !l.known:
		return ReasonNoLifetime
	case r.neverUses(f) && !answer.Has(message.ETag) && !answer.Has(message.LastModified):
		if l.estimated && !f.Always {
			return ReasonNoLifetime
		}
		return ReasonNoValidator
	case (authorized || hasCookie) && disguised(request, answer):
		return ReasonType
	case r.KnownOnly && !r.knows(request):
		return ReasonUnknownField
	}
	return ReasonNone
}

// hidesRules reports whether Connection of an answer names Cache-Control, Set-Cookie or Vary. They were dropped then,
// and with them what the backend says of storing the answer.
func hidesRules(answer *message.Head) bool {
	for i := range answer.Fields {
		switch f := &answer.Fields[i]; f.ID {
		case message.CacheControl, message.SetCookie, message.Vary:
			if f.Dropped() {
				return true
			}
		}
	}
	return false
}

// variesTooMuch reports whether answer cannot be stored as one of several variants.
func variesTooMuch(answer *message.Head) bool {
	if !answer.Has(message.Vary) && !answer.Has(message.AccessControlAllowOrigin) { // most have neither
		return false
	}
	var names [varyMax * (1 + nameMax)]byte
	_, why := AppendVary(names[:0], answer)
	return why != ReasonNone
}

// neverUses reports whether an answer may never be sent from the store, from its arrival on, before the backend has
// confirmed it.
func (r *Rules) neverUses(f *Freshness) bool {
	stale := f.Age - f.Lifetime
	return f.Always || stale >= 0 && (f.Strict || stale >= window(f.StaleWhile, r.StaleWhile))
}

// Keeps reports whether field i of the answer is part of its record. RFC 9111 §3.1: not the fields of one hop, nor
// those that no-cache and private name; nor what a sender writes anew, as the length and the age.
func (a *Answer) Keeps(answer *message.Head, i int) bool {
	f, name := &answer.Fields[i], answer.Name(i)
	switch f.ID {
	case message.Age, message.Trailer:
		return false
	case message.SetCookie:
		if a.strip {
			return false
		}
	}
	const ofProxies = "Proxy-"
	if len(name) > len(ofProxies) && name[0]|0x20 == 'p' && message.EqualFold(name[:len(ofProxies)], ofProxies) {
		return false
	}
	return !f.Dropped() && !f.ID.Framing() && !message.HopByHop(f.ID) && (!a.hops || !endsHere(answer, i)) &&
		(!a.listed || !named(answer, a.field, name))
}

// endsHere reports whether field i of h is not for the next hop: RFC 9110 §7.6.1.
func endsHere(h *message.Head, i int) bool {
	if id := h.Fields[i].ID; id.Framing() || message.HopByHop(id) {
		return true
	}
	for option := range h.Elements(message.Connection) {
		if message.EqualFoldBytes(option, h.Name(i)) {
			return true
		}
	}
	return false
}

// understood reports whether edge knows what RFC 9110 §15 says of a final status: all but those that it reserves, has
// taken back (305, 306, 402, 418), or that are not stored.
func understood(status uint16) bool {
	switch {
	case status == 402 || status == 416:
		return false
	case 200 <= status && status <= 205, 300 <= status && status <= 303, status == 307, status == 308,
		400 <= status && status <= 417, status == 421, status == 422, status == 426, 500 <= status && status <= 505:
		return true
	}
	return false
}
