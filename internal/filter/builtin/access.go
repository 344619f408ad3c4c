package builtin

import (
	"fmt"
	"net/netip"

	"github.com/edge-proxy/edge/internal/filter"
	"github.com/edge-proxy/edge/internal/match/table"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/proxy"
)

// Access is the table of a filter of the type "ip".
//
//	[filters.office]
//	type  = "ip"
//	allow = ["10.0.0.0/8", "2001:db8::/32"]
//	deny  = ["10.66.0.0/16"]
//
// It is no login and no list that changes by itself: a condition with list.NAME (see docs/DSL.md) asks a list that is
// read from a file, also as the `when` of this filter.
//
// # Order
//
// There is no order of lines, as nginx has it: an address in deny is refused, whatever allow says. With allow, all
// other addresses are refused. The address is the client's, after trusted proxies: Exchange.ClientIP. A client without
// an address, on a Unix socket, is in no list.
//
// NewAccess builds the lists, which are immutable afterwards and safe for all reactors. A request costs a look-up in
// each, some nanoseconds, whatever their length, and allocates nothing.
//
// A list in a configuration has as many prefixes as package internal/match/table takes: 16 million.
type Access struct {
	Allow []netip.Prefix `edge:"allow" doc:"Addresses that get through; default: all but deny." example:"10.0.0.0/8"`
	Deny  []netip.Prefix `edge:"deny" doc:"Addresses that are refused, also if allow has them." example:"10.66.0.0/16"`

	Status int  `edge:"status" doc:"Status that refused clients get." default:"403" min:"400" max:"599" example:"404"`
	Drop   bool `edge:"drop" doc:"Close the connection without an answer; in HTTP/2, reset the stream." example:"true"`
}

// Check finds a filter that would let all clients through.
func (c *Access) Check(r *plugin.Report) {
	if len(c.Allow)+len(c.Deny) == 0 {
		r.At("allow").Errorf("give allow or deny a prefix", "the filter would let everybody through")
	}
}

func init() {
	plugin.Register(plugin.Filters, "ip", "Lets clients through by their addresses.", NewAccess)
}

// NewAccess makes a filter of c.
func NewAccess(c *Access, b *plugin.Build) (*proxy.Filter, error) {
	allow, err := prefixList("allow", c.Allow)
	if err != nil {
		return nil, err
	}
	deny, err := prefixList("deny", c.Deny)
	if err != nil {
		return nil, err
	}
	refused := b.Counter("refused")
	refusal := proxy.Fail(filter.Refusal("client_address", c.Status, "This address has no access.", c.Drop))
	return &proxy.Filter{Request: func(x *proxy.Exchange) proxy.Verdict {
		ip := x.ClientIP()
		if deny != nil && deny.HasAddr(ip) || allow != nil && !allow.HasAddr(ip) {
			refused.Add(x)
			return refusal
		}
		return proxy.Next
	}}, nil
}

// prefixList builds the list of some prefixes; nil: there are none.
func prefixList(key string, prefixes []netip.Prefix) (*table.List, error) {
	if len(prefixes) == 0 {
		return nil, nil
	}
	var source table.Source
	for _, p := range prefixes {
		source.Inline = append(source.Inline, table.Entry{Key: p.String()})
	}
	list := table.NewList(key, table.Options{Keys: table.Addresses})
	update, err := list.Prepare(source)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	update.Commit()
	return list, nil
}
