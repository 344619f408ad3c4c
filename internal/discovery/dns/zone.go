package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

// Zone says where the records of a name stand.
// Immutable.
type Zone struct {
	Name    string   // of the zone, in lower case, with the last dot: "example.org."
	Record  string   // of the records, likewise: the name itself, or where its aliases lead
	Servers []Server // that serve the zone, by each of their addresses; not empty
}

// Server is one address of a server that serves a zone.
type Server struct {
	Name string
	Addr netip.AddrPort
}

const (
	zoneServersMax = 64               // addresses
	wildcardProbe  = "_edge-no-name." // not longer than "_acme-challenge."
)

var errNoZone = errors.New("no zone has this name")

// Zone finds the zone of a full name, as far as its aliases lead: a record beside an alias would not be seen
// (RFC 1034 §3.6.2). An alias that a wildcard makes is none, since a record of the name takes its place.
func (c *Client) Zone(ctx context.Context, name string) (*Zone, error) {
	s, z := c.settings(), &Zone{Record: canonical(name) + "."}
	target, err := c.aliasOf(ctx, s, z.Record)
	if err != nil {
		return nil, err
	}
	if target != z.Record {
		_, parent, _ := strings.Cut(z.Record, ".")
		other, err := c.aliasOf(ctx, s, wildcardProbe+parent)
		if err != nil {
			return nil, err
		}
		if other != target {
			z.Record = target
		}
	}
	// Labels may have any byte, and the owner of another zone says them: a program has the name as a word.
	if z.Record[0] == '-' || strings.Trim(z.Record, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		return nil, fmt.Errorf("%q: %w", z.Record, errName)
	}
	if z.Name, err = c.apex(ctx, s, z.Record); err != nil {
		return nil, err
	}
	z.Servers, err = c.serversOf(ctx, s, z.Name)
	return z, err
}

// aliasOf returns where the aliases of a full name lead.
func (c *Client) aliasOf(ctx context.Context, s *settings, name string) (string, error) {
	for range aliasesMax {
		r, err := c.queryName(ctx, s, name, dnsmessage.TypeCNAME)
		if err != nil {
			return "", err
		}
		aliases := r.of(name, dnsmessage.TypeCNAME)
		if len(aliases) == 0 {
			return name, nil
		}
		name = aliases[0].target
	}
	return "", errAliases
}

// apex returns the name of the zone that has a full name. Its SOA record is in the answer that there is none at the
// name (RFC 2308 §3), unless a wildcard has an alias there.
func (c *Client) apex(ctx context.Context, s *settings, name string) (string, error) {
	for above := name; above != ""; _, above, _ = strings.Cut(above, ".") {
		r, err := c.queryName(ctx, s, above, dnsmessage.TypeSOA)
		if err != nil {
			return "", err
		}
		switch {
		case len(r.answers) == 0 && r.soa && strings.HasSuffix("."+above, "."+r.zone): // not of a filter's own zone
			return r.zone, nil
		case len(r.of(above, dnsmessage.TypeSOA)) > 0:
			return above, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, errNoZone)
}

// queryName asks for records of a full name. That there are none may be said without a SOA record: acme-dns does that,
// and an older dnsmasq from its cache.
func (c *Client) queryName(ctx context.Context, s *settings, name string, kind dnsmessage.Type) (*reply, error) {
	r, err := c.queryServers(ctx, s, name, kind)
	if errors.Is(err, errNoSOA) {
		return &reply{}, nil
	}
	return r, err
}

// serversOf returns the servers of a zone.
func (c *Client) serversOf(ctx context.Context, s *settings, zone string) (all []Server, err error) {
	found, _, _, err := c.records(ctx, s, zone, dnsmessage.TypeNS)
	if err != nil {
		return nil, err
	}
	for _, one := range found {
		a, failed := c.bothFamilies(ctx, s, one.target, nil)
		if failed != nil {
			err = failed
		}
		for _, ip := range a.Addrs {
			if len(all) < zoneServersMax {
				all = append(all, Server{one.target, netip.AddrPortFrom(ip, 53)})
			}
		}
	}
	if len(all) > 0 {
		return all, nil
	}
	if err == nil {
		err = errNoZone
	}
	return nil, fmt.Errorf("the servers of %s: %w", zone, err)
}

// Lacking asks all servers of z for the TXT record with this text, and returns those that answer that they have none.
// answered is false where no server answers: this machine may reach other servers alone.
func (c *Client) Lacking(ctx context.Context, z *Zone, text string) (all []Server, answered bool) {
	s := c.settings()
	replies := make([]*reply, len(z.Servers))
	var asking sync.WaitGroup
	for i := range z.Servers {
		asking.Go(func() { replies[i] = c.ofZone(ctx, s, z.Record, z.Servers[i].Addr) })
	}
	asking.Wait()
	for i, r := range replies {
		if r == nil {
			continue
		}
		answered = true
		texts := r.of(z.Record, dnsmessage.TypeTXT)
		if !slices.ContainsFunc(texts, func(one record) bool { return one.text == text }) {
			all = append(all, z.Servers[i])
		}
	}
	return all, answered
}

// ofZone asks a server that serves the zone of a full name for its TXT records; nil: it does not answer, or for others.
func (c *Client) ofZone(ctx context.Context, s *settings, name string, server netip.AddrPort) *reply {
	for range s.attempts {
		q, err := newQuestion(name, dnsmessage.TypeTXT)
		if err != nil {
			return nil
		}
		if r, err := c.queryServer(ctx, s, q, server, false); err == nil && r.own {
			return r
		}
	}
	return nil
}
