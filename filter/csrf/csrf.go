package csrf

import (
	"github.com/edge-proxy/edge/filter"
	"github.com/edge-proxy/edge/filter/origin"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
)

// Config is the keys of the filter.
type Config struct {
	Isolate bool `edge:"isolate" doc:"Refuse all that other sites load from here, but for links that are followed."`

	Bypass *lang.Condition `edge:"bypass" doc:"Such requests pass, also from other sites." example:"path == \"/hook\""`

	TrustedOrigins []string `edge:"trusted_origins" doc:"Their requests pass. A star is any part of a host."`
}

func init() {
	filter.Register("csrf", "Refuses requests that another site made a browser send.", New)
}

// rules is a Config that was checked, with its counters. Immutable.
type rules struct {
	trusted *origin.Set
	bypass  *lang.Condition // nil: none
	isolate bool

	refused, isolated, exempt *filter.Counter
}

// Check finds origins that are none.
func (c *Config) Check(r *filter.Report) {
	for i, o := range c.TrustedOrigins {
		at := r.Element("trusted_origins", i, len(c.TrustedOrigins))
		if set, err := origin.NewSet([]string{o}); err != nil {
			at.Errorf(err.Hint, "%v", err)
		} else if set.Any() {
			at.Errorf("list the origins", `"*": the filter would refuse nothing`)
		}
	}
}

// New makes the filter.
func New(c *Config, b *filter.Build) (*proxy.Filter, error) {
	c, err := filter.Completed(c, b)
	if err != nil {
		return nil, err
	}
	trusted, wrong := origin.NewSet(c.TrustedOrigins)
	if wrong != nil {
		return nil, wrong
	}
	r := &rules{
		trusted: trusted, bypass: c.Bypass, isolate: c.Isolate,
		refused: b.Counter("refused"), isolated: b.Counter("isolated"), exempt: b.Counter("exempt"),
	}
	return &proxy.Filter{Name: "csrf", Request: r.request}, nil
}

var forbidden = proxy.RespondPage(403)

func (r *rules) request(x *proxy.Exchange) proxy.Verdict {
	count := r.judge(&x.Request)
	switch {
	case count == nil:
		return proxy.Next
	case r.trusts(&x.Request) || r.bypass != nil && proxy.Ask(x, proxy.View(x), r.bypass):
		r.exempt.Add(x)
		return proxy.Next
	}
	count.Add(x)
	return forbidden
}

// judge returns the counter of those that are refused as h is; nil: it passes.
func (r *rules) judge(h *message.Head) *filter.Counter {
	switch {
	case !safe(h):
		if crossOrigin(h) {
			return r.refused
		}
	case r.isolate && foreignLoad(h):
		return r.isolated
	}
	return nil
}

func (r *rules) trusts(h *message.Head) bool {
	from, several := h.Single(message.Origin)
	return !several && len(from) > 0 && r.trusted.Has(from)
}

// safe reports whether a request has no effects. One that asks for a tunnel has: a browser opens a WebSocket to any
// site, with the cookies of that site.
func safe(h *message.Head) bool {
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
	return !origin.OfAuthority(from, h.Bytes(h.Authority))
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
