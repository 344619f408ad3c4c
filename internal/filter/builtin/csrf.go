package builtin

import (
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
)

// CSRF is the table of a filter of the type "csrf", which refuses requests that another site made a browser send.
//
// It is no token and no cookie, and it authenticates no user. A browser says by itself where a request comes from:
//
//	GET, HEAD, OPTIONS                          pass
//	Sec-Fetch-Site: same-origin, none           passes
//	Sec-Fetch-Site: anything else               is refused
//	no Sec-Fetch-Site, Origin matches Host     passes
//	no Sec-Fetch-Site, another Origin           is refused
//	neither field                               passes: no browser sent it, and no cookie of a victim comes with it
//
// These are the rules of net/http.CrossOriginProtection, with which the filter is compared by a test. It is stricter in
// three cases: where one of the two fields comes more than once, where an Origin is none (such as one with a path), and
// where a GET asks for a tunnel, as a GET that opens a WebSocket does: these are checked as unsafe methods are.
//
// What is trusted passes all the same: requests whose Origin is in trusted_origins, and those that bypass holds for.
// With isolate, requests of safe methods that another site caused are refused as well, but for the following of a link:
// a resource isolation policy, against leaks by timing and by embedding.
//
// A safe method must have no effect: a GET that logs out is not protected.
//
// The filter is immutable and runs on the reactor. A request costs a walk over its fields, and no allocation.
type CSRF struct {
	Isolate bool `edge:"isolate" doc:"Refuse also images, scripts and frames for other sites; links still work."`

	Bypass *lang.Condition `edge:"bypass" doc:"Requests that pass, also from other sites." example:"path == \"/hook\""`

	TrustedOrigins []string `edge:"trusted_origins" doc:"Sites whose requests pass; * is any part of a host."`
}

func init() {
	plugin.Register(plugin.Filters, "csrf", "Refuses requests that another site made a browser send.", NewCSRF)
}

// csrfRules is a CSRF that was checked, with its counters. Immutable.
type csrfRules struct {
	trusted *originSet
	bypass  *lang.Condition // nil: none
	isolate bool

	refused, isolated, exempt *plugin.Counter
}

// Check finds origins that are none.
func (c *CSRF) Check(r *plugin.Report) {
	for i, o := range c.TrustedOrigins {
		at := r.Element("trusted_origins", i, len(c.TrustedOrigins))
		if set, err := newOriginSet([]string{o}); err != nil {
			at.Errorf(err.Hint, "%v", err)
		} else if set.Any() {
			at.Errorf("list the origins", `"*": the filter would refuse nothing`)
		}
	}
}

// NewCSRF makes the filter.
func NewCSRF(c *CSRF, b *plugin.Build) (*proxy.Filter, error) {
	trusted, wrong := newOriginSet(c.TrustedOrigins)
	if wrong != nil {
		return nil, wrong
	}
	r := &csrfRules{
		trusted: trusted, bypass: c.Bypass, isolate: c.Isolate,
		refused: b.Counter("refused"), isolated: b.Counter("isolated"), exempt: b.Counter("exempt"),
	}
	return &proxy.Filter{Name: "csrf", Request: r.request}, nil
}

var forbidden = proxy.RespondPage(403)

func (r *csrfRules) request(x *proxy.Exchange) proxy.Verdict {
	count := r.judge(&x.Request)
	switch {
	case count == nil:
		return proxy.Next
	case r.trusts(&x.Request) || r.bypass != nil && proxy.Evaluate(x, proxy.View(x), r.bypass):
		r.exempt.Add(x)
		return proxy.Next
	}
	count.Add(x)
	return forbidden
}

// judge returns the counter of those that are refused as h is; nil: it passes.
func (r *csrfRules) judge(h *message.Head) *plugin.Counter {
	switch {
	case !isSafe(h):
		if crossOrigin(h) {
			return r.refused
		}
	case r.isolate && foreignLoad(h):
		return r.isolated
	}
	return nil
}

func (r *csrfRules) trusts(h *message.Head) bool {
	from, several := h.Single(message.Origin)
	return !several && len(from) > 0 && r.trusted.Has(from)
}

// isSafe reports whether a request has no effects. A request for a tunnel has: a browser opens a WebSocket to any site,
// with the cookies of that site.
func isSafe(h *message.Head) bool {
	switch h.Verb {
	case message.VerbGet, message.VerbHead, message.VerbOptions:
		return !h.Upgrade
	}
	return false
}

// crossOrigin reports whether a browser sent a request for another site, as far as its fields say.
func crossOrigin(h *message.Head) bool {
	site, several := h.Single(message.SecFetchSite)
	from, more := h.Single(message.Origin)
	switch {
	case several || more:
		return true
	case len(site) > 0:
		return string(site) != "same-origin" && string(site) != "none"
	case len(from) == 0:
		return false
	}
	return !isOriginOf(from, h.Bytes(h.Authority))
}

// foreignLoad reports whether another site loads what a request of a safe method asks for, rather than leads the user
// to it: https://web.dev/articles/fetch-metadata.
func foreignLoad(h *message.Head) bool {
	site, several := h.Single(message.SecFetchSite)
	switch {
	case several:
		return true
	case len(site) == 0 || string(site) == "same-origin" || string(site) == "same-site" || string(site) == "none":
		return false
	}
	if mode, _ := h.Single(message.SecFetchMode); string(mode) != "navigate" || h.Verb != message.VerbGet {
		return true
	}
	dest, _ := h.Single(message.SecFetchDest)
	return string(dest) != "document"
}
