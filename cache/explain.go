package cache

import (
	"bytes"
	"slices"

	"github.com/edge-proxy/edge/cache/policy"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
)

// Explained is what the cache of a route does with a request while nothing is stored or under way.
type Explained struct {
	Passed policy.Reason // why the request goes by the cache; ReasonNone: it does not

	// Of the key, where it has one:

	Authority, Target string
	Dropped           []string // names of parameters that are left out of the query
	Texts             []string // values of Route.Key
}

// Explain returns what r does with the request of x, which is about to be sent. It changes that to the request of a
// fill where one would begin. Nothing is stored.
func (r *Route) Explain(x *proxy.Exchange) *Explained {
	h, a := &x.Request, asking{x: x, route: r.Of(x), l: &local{}}
	policy.DropOverrides(h, r.Fields)
	e := &Explained{}
	if r = a.route; r == nil {
		e.Passed = policy.ReasonOff
		return e
	}
	e.Passed, _ = r.passes(h)
	a.content, _ = proxy.BodyOf(x)
	if _, ok := a.appendKey(nil); !ok && e.Passed == policy.ReasonNone {
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
	for _, t := range r.Key {
		e.Texts = append(e.Texts, string(t.Append(nil, view)))
	}
	if h.Verb == message.VerbGet {
		edit(h, []byte(e.Target))
	}
	return e
}
