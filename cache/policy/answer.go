package policy

import "github.com/edge-proxy/edge/message"

// Answer is what Judge has decided about one answer. It goes with the head that was judged: Keeps needs it unchanged,
// but for fields that were added or dropped since.
type Answer struct {
	Reason Reason    // why the answer is not stored; ReasonNone: it may be
	Marks  Class     // which later requests a marker is for, where the answer is not stored
	Fresh  Freshness // for the record

	strip      bool       // Set-Cookie is not kept
	options    bool       // Connection may name fields
	directives directives // its lists name fields that are not kept
}

// Judge decides, at the head of an answer, whether and for how long it may be stored: RFC 9111 §3. The request was
// sent at asked, and the head of its answer came at received. Both heads are borrowed until return.
func (r *Rules) Judge(request, answer *message.Head, asked, received int64) (a Answer) {
	d, date := readDirectives(answer), dateOf(answer, received)
	l := r.lifetime(answer, &d, date, received)
	a.Fresh = Freshness{Received: received, Age: ageReceived(answer, date, asked, received), Lifetime: l.length}
	a.strip, a.options, a.directives = r.SetCookie == Strip, namesOptions(answer), d

	if a.Reason = refuse(answer, &d); a.Reason == ReasonNone {
		a.Reason = r.refuseVisitor(request, answer, &d, l)
	}
	if a.Reason == ReasonNone {
		a.Reason = refuseLifetime(answer, &d, l, a.Fresh.Age)
	}
	if !isOfOneRequest(answer.Status) {
		a.Marks = a.Reason.Marks()
	}
	return a
}

// refuse returns what speaks against storing answer, whatever the request.
func refuse(answer *message.Head, d *directives) Reason {
	switch s := answer.Status; {
	case s < 200 || s == 206 || s == 304 || s == 416:
		return ReasonStatus
	case d.seen&mustUnderstand != 0 && !understood(s):
		return ReasonMustUnderstand
	// RFC 9111 §5.2.2.3: a cache that understands the status SHOULD disregard the no-store directive.
	case d.malformed || d.seen&noStore != 0 && d.plain&mustUnderstand == 0:
		return ReasonNoStore
	case d.seen&private != 0:
		return ReasonPrivate
	}
	return ReasonNone
}

// refuseVisitor returns what speaks against giving answer to others than the sender of request.
func (r *Rules) refuseVisitor(request, answer *message.Head, d *directives, l lifetime) Reason {
	switch {
	// RFC 9111 §3.5: a shared cache MUST NOT use a cached response to a request with an Authorization header field
	// unless the response contains a directive that allows it.
	case request.Has(message.Authorization) && (d.plain&(public|mustRevalidate|sharedAge) == 0 || l.overrules(d)):
		return ReasonAuthorization
	case request.Has(message.Cookie) && (!l.declared || l.overrules(d)) && r.Cookies != Ignore:
		return ReasonCookie
	case answer.Has(message.SetCookie) && r.SetCookie == Skip:
		return ReasonSetCookie
	}
	return refuseVary(answer)
}

// refuseVary returns what speaks against storing answer as one of several variants.
func refuseVary(answer *message.Head) Reason {
	if !answer.Has(message.Vary) && !answer.Has(message.AccessControlAllowOrigin) { // most have neither
		return ReasonNone
	}
	var names [varyMax * (1 + nameMax)]byte
	_, why := AppendVary(names[:0], answer)
	return why
}

// refuseLifetime returns what speaks against reusing answer at all. age is its age when it came.
func refuseLifetime(answer *message.Head, d *directives, l lifetime, age int64) Reason {
	switch {
	case !l.known:
		return ReasonNoLifetime
	case d.seen&noCache != 0 && !l.obeyed:
		return ReasonNoCache
	case l.length == 0 && !answer.Has(message.ETag) && !answer.Has(message.LastModified):
		return ReasonNoValidator
	case l.length <= age:
		return ReasonExpired
	}
	return ReasonNone
}

// Keeps reports whether field i of the answer is part of its record. RFC 9111 §3.1: not the fields of one hop, nor
// those that no-cache and private name; nor what a sender writes anew, as the length and the age.
func (a *Answer) Keeps(answer *message.Head, i int) bool {
	f := &answer.Fields[i]
	if f.Dropped() || f.ID.Framing() || message.HopByHop(f.ID) {
		return false
	}
	switch f.ID {
	case message.Trailer, message.Age:
		return false
	case message.SetCookie:
		if a.strip {
			return false
		}
	}
	name := answer.Name(i)
	if len(name) >= len(proxyPrefix) && name[0]|0x20 == 'p' && message.EqualFold(name[:len(proxyPrefix)], proxyPrefix) {
		return false
	}
	if a.options && optionNames(answer, name) {
		return false
	}
	return a.directives.listed == 0 || !a.directives.names(answer, name)
}

// proxyPrefix begins the names of fields between two proxies.
const proxyPrefix = "Proxy-"

// namesOptions reports whether Connection names anything but keep-alive and close, which are no fields that are kept.
func namesOptions(answer *message.Head) bool {
	for i := range answer.Fields {
		if f := &answer.Fields[i]; f.ID == message.Connection && !f.Dropped() {
			if v := answer.Value(i); !message.EqualFold(v, "keep-alive") && !message.EqualFold(v, "close") {
				return true
			}
		}
	}
	return false
}

// optionNames reports whether Connection names a field: then it ends here (RFC 9110 §7.6.1).
func optionNames(answer *message.Head, field []byte) bool {
	for option := range answer.Elements(message.Connection) {
		if message.EqualFoldBytes(option, field) {
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
