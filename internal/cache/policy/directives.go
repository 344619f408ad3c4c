package policy

import (
	"iter"
	"time"

	"github.com/edge-proxy/edge/message"
)

// The directives that count: indexes of directiveNames, and bits of a set.
const (
	maxAge = iota
	sMaxAge
	staleWhile
	staleIfError
	minFresh
	maxStale // up to here they take seconds
	noCache
	private // these two may name fields
	noStore
	public
	mustRevalidate
	proxyRevalidate
	mustUnderstand
	onlyIfCached
)

var directiveNames = [...]string{
	maxAge: "max-age", sMaxAge: "s-maxage", staleWhile: "stale-while-revalidate", staleIfError: "stale-if-error",
	minFresh: "min-fresh", maxStale: "max-stale", noCache: "no-cache", private: "private", noStore: "no-store",
	public: "public", mustRevalidate: "must-revalidate", proxyRevalidate: "proxy-revalidate",
	mustUnderstand: "must-understand", onlyIfCached: "only-if-cached",
}

// directives are the directives in the lines of Cache-Control (RFC 9111 §5.2), or of a targeted field (RFC 9213).
type directives struct {
	seen      uint16              // those without seconds, whatever the argument, unless it names fields
	plain     uint16              // with no argument, or valid seconds: only so a directive permits something
	seconds   [maxStale + 1]int64 // ns, the least; -1: none
	field     string              // the targeted field; "": Cache-Control
	malformed bool                // the members cannot be told apart: counts as no-store, and as no-cache of a request
	listed    bool                // no-cache or private names fields
}

// directivesOf reads the first field of r.Targeted that answer has and that is valid, or else Cache-Control.
// RFC 9213 §2.2: a cache that finds one MUST ignore Cache-Control and Expires.
func (r *Rules) directivesOf(answer *message.Head) directives {
	for _, name := range r.Targeted {
		if d, found := readDirectives(answer, name); found && !d.malformed {
			return d
		}
	}
	d, _ := readDirectives(answer, "")
	return d
}

// readDirectives reads the directives of Cache-Control with "", else of a targeted field.
func readDirectives(h *message.Head, field string) (d directives, found bool) {
	d = directives{seconds: [...]int64{-1, -1, -1, -1, -1, -1}, field: field}
	for m := range members(h, field) {
		if d.malformed, found = m.malformed, true; !m.malformed {
			d.add(&m)
		}
	}
	return d, found
}

// members walks the members of all lines of a field, up to a malformed one: they are one list (RFC 9110 §5.3), or of a
// targeted field one dictionary, where of a key that comes twice both members count too. A quoted string that goes on
// in the next line would hide directives there from some readers: it is malformed.
func members(h *message.Head, field string) iter.Seq[member] {
	return func(yield func(member) bool) {
		id, cut := message.CacheControl, cutMember
		if field != "" {
			id, cut = message.Other, cutKeyed
		}
		for i := range h.Fields {
			f := &h.Fields[i]
			if f.ID != id || f.Dropped() || field != "" && !message.EqualFold(h.Name(i), field) {
				continue
			}
			for rest, more := h.Value(i), true; more; more = len(rest) > 0 {
				var m member
				if m, rest = cut(rest); !yield(m) || m.malformed {
					return
				}
			}
		}
	}
}

func (d *directives) add(m *member) {
	for i, name := range directiveNames {
		switch {
		case len(m.name) != len(name) || !message.EqualFold(m.name, name):
			continue
		case i <= maxStale:
			d.addSeconds(i, m)
		case i <= private && m.namesFields(): // RFC 9111 §5.2.2.4: it is about these alone
			d.listed = true
		default:
			if d.seen |= 1 << i; m.bare {
				d.plain |= 1 << i
			}
		}
		return
	}
}

// addSeconds reads a directive that takes seconds. With an argument that is invalid they are 0. RFC 9111 §4.2.1:
// caches are encouraged to consider responses that have invalid freshness information to be stale.
func (d *directives) addSeconds(i int, m *member) {
	var ns int64
	if m.number {
		var ok bool
		if ns, ok = parseSeconds(m.argument); ok {
			d.plain |= 1 << i
		}
	} else if m.bare && i == maxStale { // RFC 9111 §5.2.1.2: the client will accept a stale response of any age
		ns = int64(ageMax)
	}
	if least := &d.seconds[i]; *least < 0 || ns < *least {
		*least = ns
	}
}

// saw reports whether a directive without seconds is there, whatever its argument, unless that names fields.
func (d *directives) saw(directive int) bool { return d.seen>>directive&1 != 0 }

// permits reports whether a directive is there with no argument, or with valid seconds.
func (d *directives) permits(directive int) bool { return d.plain>>directive&1 != 0 }

// ageMax bounds ages and lifetimes. RFC 9111 §1.2.2: a cache MUST consider a larger value to be 2147483648.
const ageMax = (1 << 31) * time.Second

// parseSeconds parses delta-seconds (RFC 9111 §1.2.2), 1*DIGIT, and returns nanoseconds, at most ageMax.
func parseSeconds(b []byte) (ns int64, ok bool) {
	seconds, ok := parseDigits(b, int64(ageMax/time.Second))
	return seconds * int64(time.Second), ok
}

// parseDigits parses 1*DIGIT; 0 and false for other texts. Of a number above most it makes most, which is below 2⁵⁹.
func parseDigits(b []byte, most int64) (n int64, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = min(n*10+int64(c-'0'), most)
	}
	return n, len(b) > 0
}

// named reports whether no-cache or private lists the field called name; field is where the directives are.
func named(answer *message.Head, field string, name []byte) bool {
	for m := range members(answer, field) {
		lists := isListed(m.name, directiveNames[noCache:private+1]) && m.namesFields()
		for list, more := m.argument, lists; more; {
			var one []byte
			if one, list, more = message.CutElement(list); message.EqualFoldBytes(one, name) {
				return true
			}
		}
	}
	return false
}
