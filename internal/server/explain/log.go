package explain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/tracing"
	"github.com/edge-proxy/edge/internal/exchange/trace"
	"github.com/edge-proxy/edge/message"
)

// logOf returns where the request is logged, in which format and in which case.
func logOf(cfg *config.Config, l *config.Listener, r *config.Route) []string {
	log, which := cfg.LogOf(l, r), ""
	if log.When != nil {
		which = ", when " + log.When.String()
	}
	if log.Sample != nil && *log.Sample < 1 {
		which += fmt.Sprintf(", a sample of %v", *log.Sample)
		if log.Always != nil {
			for _, c := range *log.Always {
				which += ", always when " + c.String()
			}
		}
	}
	form := log.Format
	if log.Line != nil {
		form = "lines"
	}
	out := []string{}
	for _, path := range log.Output {
		out = append(out, form+" to "+path+which)
	}
	return out
}

// tracesOf says whether q, which comes by l and which r takes, is recorded as part of its trace, and why; "": there is
// no [tracing]. r may be nil.
func tracesOf(cfg *config.Config, q *asked, l *config.Listener, r *config.Route) string {
	of := tracing.OfListener(cfg, l)
	switch {
	case tracing.Of(cfg) == nil:
		return ""
	case of == nil:
		return "not recorded: the listener has tracing = false"
	}
	choice := &of.Choice
	if r != nil {
		own, on := tracing.OfRoute(cfg, r)
		if !on {
			return "not recorded: the route has tracing = false"
		}
		if own != nil {
			choice = own
		}
	}
	return decision(q, l, of.Accept, choice) + always(choice)
}

// decision says what sample and accept have to do with q, before it is sent.
func decision(q *asked, l *config.Listener, accept string, c *tracing.Choice) string {
	var h message.Head
	given := false
	for _, f := range q.fields {
		name, value, _ := strings.Cut(f, ":")
		given = given || strings.EqualFold(name, "traceparent")
		h.Add(name, strings.TrimSpace(value))
	}
	context, came := trace.Of(&h)
	contains := func(n netip.Prefix) bool { return n.Contains(q.client) }
	believed := accept == "all" || accept == "trusted" && slices.ContainsFunc(l.Believed.Trusted.Networks, contains)
	share := fmt.Sprintf("the share of %v, of at most %v", *c.Sample, c.Most)
	switch {
	case !came && given:
		return "a new trace, since its traceparent cannot be used: recorded by " + share
	case !came:
		return "a new trace, recorded by " + share
	case believed && context.Flags&trace.Sampled != 0:
		return "recorded, as its traceparent says"
	case believed:
		return "not recorded, as its traceparent says"
	case trace.NewSampler(*c.Sample, 0, 1).Take(0, context.Trace, 0):
		return "recorded: its trace is in " + share
	}
	return "not recorded: its trace is not in " + share
}

// always says which requests are recorded in any case.
func always(c *tracing.Choice) string {
	var all []string
	for _, s := range c.Always.Status {
		all = append(all, "status "+s.String())
	}
	for _, w := range c.Always.When {
		all = append(all, w.String())
	}
	if len(all) == 0 {
		return ""
	}
	return "; always when " + strings.Join(all, ", ")
}
