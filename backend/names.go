package backend

import (
	"fmt"

	"github.com/edge-proxy/edge/poller"
)

// addressesMax bounds the addresses of all names of a Set: each may be a member, and a name server chooses how many.
const addressesMax = 10000

// NameFollower hears of the host names that backends of a Set are given by. Its methods must not change the Set.
type NameFollower interface {
	NameJoined(name string) // before a member is at one of its addresses
	NameLeft(name string)   // no backend is given by it any more
}

// FollowNames tells f of all names from now on, of those that there are already as of those that join. There is one
// follower at a time; nil is none.
func (s *Set) FollowNames(f NameFollower) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.resolver = f; f == nil {
		return
	}
	for name := range s.addresses {
		f.NameJoined(name)
	}
}

// SetAddresses says what a name stands for: each address is a member. A name that has no more than one address of each
// family stands for one member, which is reached at both. addrs must not change afterwards. It is an error, and changes
// nothing, when the names have too many addresses.
func (s *Set) SetAddresses(name string, addrs []poller.Addr) error {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.mu.Lock()
	if _, known := s.addresses[name]; !known {
		s.mu.Unlock()
		return nil
	}
	if n := addressesOf(s.addresses) - len(s.addresses[name]) + len(addrs); n > addressesMax {
		s.mu.Unlock()
		return fmt.Errorf("%d addresses of all names of the upstream, more than %d", n, addressesMax)
	}
	moves := isOneMember(s.addresses[name]) && isOneMember(addrs)
	if s.addresses[name] = addrs; !moves {
		s.mergeLists()
	}
	s.mu.Unlock()
	for _, m := range s.Members() {
		if m.id.Resolves() && m.id.Name == name {
			m.SetAddrs(addrs)
		}
	}
	return nil
}

func addressesOf(names map[string][]poller.Addr) (n int) {
	for _, addrs := range names {
		n += len(addrs)
	}
	return n
}

// isOneMember reports whether a name with these addresses is one member, which may have an address of each family.
func isOneMember(addrs []poller.Addr) bool {
	return len(addrs) < 2 || len(addrs) == 2 && addrs[0].IP.Addr().Is4() != addrs[1].IP.Addr().Is4()
}

// eachOf calls add for each backend that b, which is given by name, is at these addresses.
func eachOf(b *Spec, addrs []poller.Addr, add func(*Spec)) {
	if isOneMember(addrs) {
		one := *b
		one.Addrs = addrs
		add(&one)
		return
	}
	for _, a := range addrs {
		one := *b
		one.Address, one.Host, one.Addrs = a.IP.String(), b.Address, nil
		add(&one)
	}
}

// setNames replaces the names of s by names, and tells their follower which joined and which left. mu is held.
func (s *Set) setNames(names map[string][]poller.Addr) {
	before := s.addresses
	if s.addresses = names; s.resolver == nil {
		return
	}
	for name := range names {
		if _, known := before[name]; !known {
			s.resolver.NameJoined(name)
		}
	}
	for name := range before {
		if _, stays := names[name]; !stays {
			s.resolver.NameLeft(name)
		}
	}
}
