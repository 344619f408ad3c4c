package policy

import (
	"cmp"
	"time"

	"github.com/edge-proxy/edge/message"
)

const (
	ttlMaxDefault       = 30 * 24 * time.Hour
	heuristicMaxDefault = time.Hour
	heuristicShare      = 10 // RFC 9111 §4.2.2: a typical setting of this fraction might be 10%
)

// lifetime is how long an answer is fresh, and where that comes from.
type lifetime struct {
	length    int64 // ns, 0..ageMax
	known     bool  // the answer states it, a TTL gives it, or it may be estimated
	estimated bool  // neither the answer nor a TTL gives it
	obeyed    bool  // a TTL gives it, whatever the answer states: no-cache has no effect
	declared  bool  // the answer states a lifetime, above 0 where a TTL is obeyed
}

// overrules reports whether, by a TTL, an answer is used again although the backend wants to be asked each time. Then
// the directives of the answer do not allow that visitors other than the first one get it.
func (l *lifetime) overrules(d *directives) bool {
	return l.obeyed && (!l.declared || d.saw(noCache))
}

// lifetime returns how long answer is fresh (RFC 9111 §4.2.1).
func (r *Rules) lifetime(answer *message.Head, d *directives, date, received int64) (l lifetime) {
	stated, declared := statedLifetime(answer, d, date, received)
	ttl, named := r.ttl(answer.Status)
	switch {
	case named && (r.ObeyTTL || !declared):
		l = lifetime{length: ttl, known: true, obeyed: r.ObeyTTL, declared: declared && stated > 0}
	case declared:
		l = lifetime{length: stated, known: true, declared: true}
	case estimable(answer.Status, d.permits(public)):
		l = lifetime{length: r.estimate(answer, date, received), known: true, estimated: true}
	}
	l.length = min(max(l.length, 0), int64(cmp.Or(r.TTLMax, ttlMaxDefault)), int64(ageMax))
	return l
}

// statedLifetime returns the lifetime that an answer states, RFC 9111 §4.2.1: s-maxage, else max-age, else Expires.
func statedLifetime(answer *message.Head, d *directives, date, received int64) (length int64, stated bool) {
	switch {
	case d.seconds[sMaxAge] >= 0:
		return d.seconds[sMaxAge], true
	case d.seconds[maxAge] >= 0:
		return d.seconds[maxAge], true
	case d.field != "" || !answer.Has(message.Expires):
		return 0, false
	}
	// RFC 9111 §5.3: a cache recipient MUST interpret invalid date formats, especially the value "0", as representing
	// a time in the past. Several lines are no date either.
	expires, ok := dateIn(answer, message.Expires, received)
	if !ok {
		return 0, true
	}
	return max(expires-date, 0), true
}

// ttl returns the lifetime that r gives answers with a status.
func (r *Rules) ttl(status uint16) (length int64, named bool) {
	for i := range r.TTL {
		if r.TTL[i].Status == status {
			return int64(r.TTL[i].For), true
		}
	}
	return 0, false
}

// estimate returns a lifetime by the time since the answer changed (RFC 9111 §4.2.2); 0 where that is not known.
func (r *Rules) estimate(answer *message.Head, date, received int64) int64 {
	modified, ok := dateIn(answer, message.LastModified, received)
	if !ok {
		return 0
	}
	return min((date-modified)/heuristicShare, int64(cmp.Or(r.HeuristicMax, heuristicMaxDefault)))
}

// ageReceived returns the age of an answer when it came, RFC 9111 §4.2.3: the corrected initial age. Date names the
// second in which the answer was made: where the request was sent within that second, the answer was made for it. By
// the start of the second an answer with max-age=1 would be stale whenever the second ends while it is on its way.
func ageReceived(answer *message.Head, date, asked, received int64) int64 {
	if date > asked-int64(time.Second) {
		date = max(date, asked)
	}
	// RFC 9111 §5.1: of a list, or of several lines, a cache SHOULD use the first value, and ignore an invalid one.
	first, _, _ := message.CutElement(answer.Peek(message.Age))
	stated, _ := parseSeconds(first)
	return min(max(received-date, stated+max(received-asked, 0), 0), int64(ageMax))
}

// dateIn returns the date in a field of h, which may come once.
func dateIn(h *message.Head, id message.Name, received int64) (at int64, ok bool) {
	value, _ := h.Single(id)
	return parseDate(value, received)
}

// dateOf returns when an answer was made, by its Date. Without a Date that parses it is when the answer was received
// (RFC 9110 §6.6.1). Of several lines the earliest counts, which makes the answer oldest.
func dateOf(answer *message.Head, received int64) int64 {
	date, found := received, false
	for i := range answer.Fields {
		if f := &answer.Fields[i]; f.ID != message.Date || f.Dropped() {
			continue
		}
		at, ok := parseDate(answer.Value(i), received)
		if !ok {
			at = received
		}
		if !found || at < date {
			date, found = at, true
		}
	}
	return date
}

// estimable reports whether a lifetime may be estimated for an answer with status: it is heuristically cacheable (RFC
// 9110 §15.1; 206 is not stored), or public. Not so 400, 413 and 431, which one malformed or large request provokes:
// they would then be stored for all (cache-poisoned denial of service). What provokes 414 is in the key.
func estimable(status uint16, public bool) bool {
	switch status {
	case 200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501:
		return true
	case 400, 413, 431:
		return false
	}
	return public
}

// isOfOneRequest reports whether a status may be the fault of one request, or of a moment: the next request for the
// same may get another status. A marker for it would keep answers to later requests out of the store.
func isOfOneRequest(status uint16) bool {
	switch status {
	case 404, 405, 410:
		return false
	}
	return status >= 400
}
