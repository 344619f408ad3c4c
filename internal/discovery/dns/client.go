package dns

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Options say whom a Client asks. The zero value is good.
type Options struct {
	Servers    []netip.AddrPort // none: the servers of ResolvConf
	ResolvConf string           // "": /etc/resolv.conf
	Hosts      string           // "": /etc/hosts
	Exchange   Exchange         // nil: sockets of the machine
}

// Client looks names up.
// Safe for any goroutine.
type Client struct {
	servers  []netip.AddrPort // instead of the servers of conf; nil: none
	conf     file[*settings]
	hosts    file[hosts]
	exchange Exchange
	answered atomic.Uint32 // the index of the server that answered last
	mu       sync.Mutex
	silent   map[netip.AddrPort]silence // guarded by mu
}

// New makes a Client.
func New(o Options) *Client {
	c := &Client{servers: o.Servers, exchange: o.Exchange, silent: map[netip.AddrPort]silence{}}
	c.conf.path, c.conf.parse = cmp.Or(o.ResolvConf, "/etc/resolv.conf"), parseSettings
	c.hosts.path, c.hosts.parse = cmp.Or(o.Hosts, "/etc/hosts"), parseHosts
	if c.exchange == nil {
		c.exchange = overSockets
	}
	return c
}

// settings returns what is said about servers now.
func (c *Client) settings() *settings {
	s := c.conf.load()
	if len(c.servers) > 0 {
		own := *s
		own.servers = c.servers
		return &own
	}
	return s
}

// Family is a version of IP.
type Family uint8

// The families.
const (
	NoFamily Family = 0
	IPv4     Family = 4
	IPv6     Family = 6
)

// Answer is the addresses of a name. One without addresses says that there are none.
type Answer struct {
	Addrs   []netip.Addr  // sorted, each once
	TTL     time.Duration // how long they are good: the least of all records on the way to them
	Missing Family        // its records could not be had: Addrs has the other family alone
}

const (
	localTTL        = 10 * time.Second      // of what needs no server: /etc/hosts may change
	resolutionDelay = 50 * time.Millisecond // RFC 8305 §3
)

// Addresses looks up the addresses of host. An error means that nothing is known; an Answer without addresses that the
// name has none. When one family has been found for 50 ms and the other not, early is called with that, before the
// whole answer is returned; it may be nil.
func (c *Client) Addresses(ctx context.Context, host string, early func(Answer)) (Answer, error) {
	name := canonical(host)
	if ip, err := netip.ParseAddr(name); err == nil {
		return Answer{Addrs: []netip.Addr{ip.Unmap()}, TTL: localTTL}, nil
	}
	if ips := c.hosts.load()[name]; len(ips) > 0 {
		return answerOf(ips, localTTL), nil
	}
	if name == "localhost" || strings.HasSuffix(name, ".localhost") { // RFC 6761 §6.3: no server is asked
		return answerOf([]netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, localTTL), nil
	}
	return searched(ctx, c.settings(), host, func(s *settings, full string) (Answer, bool, error) {
		a, err := c.bothFamilies(ctx, s, full, early)
		return a, len(a.Addrs) > 0, err
	}, func(a Answer) time.Duration { return a.TTL })
}

// searched looks up the candidates of a name until one is found. Only when the servers have answered for all of them
// does it return what is not found, of the candidate with the least TTL.
func searched[T any](ctx context.Context, s *settings, name string,
	look func(s *settings, full string) (answer T, found bool, err error), ttl func(T) time.Duration,
) (none T, err error) {
	var failed error
	for i, full := range s.candidates(name) {
		answer, found, err := look(s, full)
		switch {
		case err == nil && found:
			return answer, nil
		case err != nil:
			failed = cmp.Or(failed, err)
		case i == 0 || ttl(answer) < ttl(none):
			none = answer
		}
		if ctx.Err() != nil {
			break
		}
	}
	if failed != nil {
		var nothing T
		return nothing, failed
	}
	return none, nil
}

// family is what became of the question for one family.
type family struct {
	of    Family
	addrs []netip.Addr
	ttl   time.Duration
	err   error
}

// bothFamilies asks for A and AAAA records of a full name at one time.
func (c *Client) bothFamilies(ctx context.Context, s *settings, name string, early func(Answer)) (Answer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan family, 2)
	var asking sync.WaitGroup
	for of, kind := range map[Family]dnsmessage.Type{IPv4: dnsmessage.TypeA, IPv6: dnsmessage.TypeAAAA} {
		asking.Go(func() {
			f := family{of: of}
			var found []record
			found, _, f.ttl, f.err = c.records(ctx, s, name, kind)
			f.addrs = addresses(found)
			answers <- f
		})
	}
	defer asking.Wait()
	one := <-answers
	if len(one.addrs) > 0 && early != nil {
		select {
		case two := <-answers:
			return mergeFamilies(one, two)
		case <-time.After(resolutionDelay):
			part, _ := mergeFamilies(one, family{of: IPv4 + IPv6 - one.of, err: errNoAnswer})
			early(part)
		}
	}
	return mergeFamilies(one, <-answers)
}

// mergeFamilies makes the answer of two families. A failure of one family, where the other has no addresses, is a
// failure: the name may have addresses after all.
func mergeFamilies(one, two family) (Answer, error) {
	if one.err != nil {
		one, two = two, one
	}
	switch {
	case one.err != nil:
		return Answer{}, one.err
	case two.err != nil && len(one.addrs) == 0:
		return Answer{}, two.err
	case two.err != nil:
		a := answerOf(one.addrs, one.ttl)
		a.Missing = two.of
		return a, nil
	case len(one.addrs) == 0 && len(two.addrs) > 0:
		return answerOf(two.addrs, two.ttl), nil
	case len(two.addrs) == 0 && len(one.addrs) > 0:
		return answerOf(one.addrs, one.ttl), nil
	}
	return answerOf(slices.Concat(one.addrs, two.addrs), min(one.ttl, two.ttl)), nil
}

// answerOf is the answer of these addresses.
func answerOf(ips []netip.Addr, ttl time.Duration) Answer {
	ips = slices.Clone(ips)
	slices.SortFunc(ips, netip.Addr.Compare)
	return Answer{Addrs: slices.Compact(ips), TTL: ttl}
}

// addresses returns the addresses in records that something can be sent to. 0.0.0.0, by which filters of names say
// "nowhere", would lead to this machine.
func addresses(found []record) (ips []netip.Addr) {
	for _, one := range found {
		if one.addr.IsValid() && !one.addr.IsUnspecified() && !one.addr.IsMulticast() {
			ips = append(ips, one.addr)
		}
	}
	return ips
}

// records asks for the records of one kind of a full name, along its aliases; a server that leaves the end of them to
// us is asked for it. found is empty, without an error, when there are none.
func (c *Client) records(ctx context.Context, s *settings, name string, kind dnsmessage.Type) (
	found, additional []record, ttl time.Duration, err error) {
	ttl = ttlTopBit * time.Second
	for range aliasesMax {
		r, err := c.queryServers(ctx, s, name, kind)
		if err != nil {
			return nil, nil, 0, err
		}
		found, least, last, err := r.followAliases(name, kind)
		ttl = min(ttl, least)
		switch {
		case err != nil:
			return nil, nil, 0, err
		case len(found) > 0:
			return found, r.additional, ttl, nil
		case r.soa:
			return nil, nil, min(ttl, r.negative), nil
		case last == strings.ToLower(name):
			return nil, nil, 0, errNoSOA // it sent records, but none of this name
		}
		name = last
	}
	return nil, nil, 0, errAliases
}
