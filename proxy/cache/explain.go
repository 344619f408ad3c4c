package cache

import (
	"bytes"
	"slices"
	"time"

	"github.com/edge-proxy/edge/internal/cache/policy"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
)

// Explained is what the cache of a route does with a request, while nothing is stored or under way; and what is stored.
type Explained struct {
	Passed Reason // why the request goes by the cache; ReasonNone: it does not

	// Of the key, where it has one:

	Authority, Target string
	Dropped           []string // names of parameters that are left out of the query
	Texts             []string // values of Route.Texts
	Stored            *Entry   // nil: no Zone was asked
}

// Entry is what a Zone has for a request.
type Entry struct {
	State  string
	Reason Reason   // why an answer is used or not, or none is stored
	Vary   []string // names of the fields by which the answers for the key vary, in lower case

	// Of an answer:

	Status    uint16
	Fields    []string // as in "Content-Type: text/css", without the values of cookies
	Length    int      // of the body
	Age, Left time.Duration
}

// The states of an Entry.
const (
	EntryNone        = "none"        // nothing is stored for the request
	EntryPurged      = "purged"      // an answer that counts as none
	EntryUncacheable = "uncacheable" // no answer, and later requests go by the cache for a while
	EntryFresh       = "fresh"
	EntryStale       = "stale"   // its lifetime is over, and it is used
	EntryExpired     = "expired" // the backend is asked before it is used
)

// Explain returns what r does with the request of x, which is about to be sent, and what is stored for it in z, which
// may be nil. It changes that to the request of a fill where one would begin. Nothing is stored.
func (r *Route) Explain(x *proxy.Exchange, z *Zone) *Explained {
	h, a := &x.Request, asking{x: x, route: r.Of(x), l: &local{zone: z}}
	policy.DropOverrides(h, r.Fields)
	e := &Explained{}
	if r = a.route; r == nil {
		e.Passed = policy.ReasonOff
		return e
	}
	e.Passed, _ = r.passes(h)
	a.content, _ = proxy.BodyOf(x)
	var whole bool
	if a.l.key, whole = a.appendKey(nil); !whole && e.Passed == policy.ReasonNone {
		e.Passed = policy.ReasonKey
	}
	if e.Passed != policy.ReasonNone {
		return e
	}
	e.Authority, e.Target = string(x.AskedAuthority()), string(a.target)
	_, query, _ := bytes.Cut(h.Bytes(h.Target), []byte{'?'})
	for one := range bytes.SplitSeq(query, []byte{'&'}) {
		name := string(nameOf(one))
		if !r.Query.keeps(nameOf(one)) && !slices.Contains(e.Dropped, name) {
			e.Dropped = append(e.Dropped, name)
		}
	}
	view := proxy.View(x)
	for _, t := range r.Texts {
		e.Texts = append(e.Texts, string(t.Append(nil, view)))
	}
	if z != nil {
		a.now = z.now(x.Reactor())
		e.Stored = a.stored()
	}
	if h.Verb == message.VerbGet {
		edit(h, []byte(e.Target))
	}
	return e
}

// stored returns what is stored for the request.
func (a *asking) stored() *Entry {
	e := &Entry{State: EntryNone}
	a.l.blocks = true
	if list := a.l.get(a.l.key, a.now); list.kind() == isList {
		for name := range policy.Names(list.names()) {
			e.Vary = append(e.Vary, string(name))
		}
	}
	found := a.find()
	switch kind := found.kind(); {
	case kind == isMarker && found.marks(&a.x.Request):
		e.State, e.Reason = EntryUncacheable, found.reason()
	case kind == isAnswer:
		var h message.Head
		found.writeTo(&h)
		for name, value := range h.All() {
			if message.EqualFold(name, "Set-Cookie") {
				value = []byte("(not shown)")
			}
			e.Fields = append(e.Fields, string(name)+": "+string(value))
		}
		fresh := found.fresh()
		e.Status, e.Length, e.Age, e.Left = h.Status, found.bodyLen(), fresh.AgeAt(a.now), fresh.Left(a.now)
		switch e.State, e.Reason = EntryExpired, a.route.Rules.Reuse(&fresh, &a.x.Request, a.now); {
		case e.Reason == policy.ReasonFresh:
			e.State = EntryFresh
		case e.Reason.Uses():
			e.State = EntryStale
		}
	case a.met.dead:
		e.State = EntryPurged
	}
	return e
}
