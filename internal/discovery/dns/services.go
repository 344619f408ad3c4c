package dns

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Service is one SRV record (RFC 2782) with the addresses of its target.
type Service struct {
	Target           string // without the last dot
	Port             uint16
	Priority, Weight uint16
	Addrs            []netip.Addr // none: the target has none, or Err says why they are not known
	Err              error
}

// Services is the SRV records of a name. None says that there are none.
type Services struct {
	List []Service     // sorted by priority, target and port
	TTL  time.Duration // how long they are good: the least of all records on the way to them
	Off  bool          // the service is decidedly not available here: its target is "."
}

// targetsAtOnce bounds how many targets are looked up at one time.
const targetsAtOnce = 16

// errTargets says that a service is there, but none of its targets.
var errTargets = errors.New("no target of the SRV records has an address")

// Services looks up the SRV records of a name and the addresses of their targets. It is an error when not one target
// has an address: the records say that the service is there.
func (c *Client) Services(ctx context.Context, name string) (Services, error) {
	return searched(ctx, c.settings(), name, func(s *settings, full string) (Services, bool, error) {
		found, additional, ttl, err := c.records(ctx, s, full, dnsmessage.TypeSRV)
		if err != nil || len(found) == 0 {
			return Services{TTL: ttl}, false, err
		}
		if len(found) == 1 && found[0].target == "." {
			return Services{TTL: ttl, Off: true}, true, nil
		}
		all := Services{TTL: ttl}
		for _, one := range found {
			if one.target == "." || one.port == 0 {
				continue
			}
			all.List = append(all.List, Service{Target: strings.TrimSuffix(one.target, "."), Port: one.port,
				Priority: one.priority, Weight: one.weight})
		}
		slices.SortFunc(all.List, compareServices)
		all.List = slices.CompactFunc(all.List, func(a, b Service) bool {
			return a.Target == b.Target && a.Port == b.Port
		})
		return all, true, c.findTargets(ctx, full, &all, additional)
	}, func(s Services) time.Duration { return s.TTL })
}

// compareServices orders services, so that equal answers are equal lists.
func compareServices(a, b Service) int {
	return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Target, b.Target), cmp.Compare(a.Port, b.Port))
}

// findTargets fills in the addresses of all targets. additional is what the server of the records of name added: it is
// believed about names below the domain of the service alone, since a server may add what it likes.
func (c *Client) findTargets(ctx context.Context, name string, all *Services, additional []record) error {
	domain := "." + domainOf(name)
	var ttls sync.Mutex
	var lookups sync.WaitGroup
	slots := make(chan struct{}, targetsAtOnce)
	for i := range all.List {
		one := &all.List[i]
		if domain != "." && strings.HasSuffix("."+one.Target+".", domain) {
			extra := reply{answers: additional}
			for _, kind := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA} {
				found, ttl, _, err := extra.followAliases(one.Target+".", kind)
				if ips := addresses(found); err == nil && len(ips) > 0 {
					one.Addrs = append(one.Addrs, ips...)
					all.TTL = min(all.TTL, ttl)
				}
			}
			if one.Addrs = answerOf(one.Addrs, 0).Addrs; len(one.Addrs) > 0 {
				continue
			}
		}
		slots <- struct{}{}
		lookups.Go(func() {
			defer func() { <-slots }()
			a, err := c.Addresses(ctx, one.Target+".", nil)
			one.Addrs, one.Err = a.Addrs, err
			if err == nil {
				ttls.Lock()
				all.TTL = min(all.TTL, a.TTL)
				ttls.Unlock()
			}
		})
	}
	lookups.Wait()
	if slices.ContainsFunc(all.List, func(s Service) bool { return len(s.Addrs) > 0 }) {
		return nil
	}
	for i := range all.List {
		if err := all.List[i].Err; err != nil {
			return err
		}
	}
	return errTargets
}

// domainOf returns the domain that the service of a full name belongs to: without _service and _proto, or without the
// first label of a name that has neither.
func domainOf(name string) string {
	name = strings.ToLower(name)
	stripped := name
	for strings.HasPrefix(stripped, "_") {
		_, stripped, _ = strings.Cut(stripped, ".")
	}
	if stripped == name {
		_, stripped, _ = strings.Cut(name, ".")
	}
	return stripped
}
