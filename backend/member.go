package backend

import (
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/poller"
)

// Spec is what a source says of a backend.
type Spec struct {
	Address string        // host:port, IP:port or unix:/path
	Weight  int           // its share of the requests, up to 65535; 0: 1
	Tier    int           // it is picked where no member of a lower tier can be, 0 to 7
	Addrs   []poller.Addr // what its name is known to resolve to when it joins; must not change afterwards
	Host    string        // host:port that Address, which has an IP, was found under; "": Address
	Zone    string        // where it runs, as its source calls it; "": unknown
}

func (b *Spec) tier() int { return min(max(b.Tier, 0), tiersMax-1) }

// Resolves reports whether b is given by a name, whose addresses are looked up.
func (b *Spec) Resolves() bool {
	id := idOf(b)
	return id.Resolves()
}

// ID says which backend a Spec is about. Members of equal ID are the same one.
type ID struct {
	Addr poller.Addr // of a backend that needs no resolving
	Name string      // host:port of a backend that does, or under which Addr was found
	Copy int         // the first one in a list that names it several times has 0, the next one 1
}

// Resolves reports whether the addresses of the backend are found by its name.
func (id *ID) Resolves() bool { return id.Addr == (poller.Addr{}) }

// idOf returns the ID of the first backend that is like b.
func idOf(b *Spec) ID {
	if path, ok := strings.CutPrefix(b.Address, "unix:"); ok {
		return ID{Addr: poller.Addr{Path: path}, Name: b.Host}
	}
	if ip, err := netip.ParseAddrPort(b.Address); err == nil {
		return ID{Addr: poller.Addr{IP: ip}, Name: b.Host}
	}
	return ID{Name: b.Address}
}

// Reason is why a member does not serve: a set of bits. Each has one writer.
type Reason uint32

// The reasons. A member that is Unreachable alone is picked where no other one is left.
const (
	Names       Reason = 1 << iota // its name has not been resolved, or not to anything
	Health                         // its checks fail
	Ejected                        // too many of its answers were failures
	Draining                       // it is to get no new requests and ends those it has
	Operator                       // an operator said so
	Unreachable                    // none of its addresses could be reached: see PassOver
	Agent                          // its agent said so
	AgentDrain                     // its agent said that it is to get no new requests, as Draining
)

// reasonNames are the words for the bits of a Reason.
var reasonNames = [...]string{"dns", "checks", "ejected", "draining", "admin", "unreachable", "agent", "agent_drain"}

// String names the reasons of r, with a comma between two.
func (r Reason) String() string {
	var names []string
	for i, name := range reasonNames {
		if r>>i&1 == 1 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// Member is one backend of a Set.
// Safe for any goroutine.
//
//	bit i of passedOver  =>  address i of addrs, one of the first 64, is passed over
//	reasons has Unreachable  <=>  m is not gone, has addresses, and all of them are passed over
type Member struct {
	slot       int
	addrs      atomic.Pointer[[]poller.Addr] // immutable once stored
	passedOver atomic.Uint64                 // written with set.mu held
	troubles   troubles
	set        *Set
	address    string
	id         ID
	reasons    atomic.Uint32  // written with set.mu held
	checked    atomic.Bool    // it has passed a check since it was ejected
	faultAt    atomic.Uint64  // a millis: of the last failure
	answeredAt atomic.Uint64  // a millis: of the last answer before that
	gone       bool           // guarded by set.mu
	weight     int            // guarded by set.mu
	tier       int            // guarded by set.mu
	zone       string         // guarded by set.mu
	parts      weightParts    // of its weight that it takes; guarded by set.mu
	started    time.Time      // when it began to take more and more; zero: it does not; guarded by set.mu
	standings  []reasonRecord // of the reasons that m has had; guarded by set.mu
	requests   *heldRequests
	tag        observe.Tag
}

// ID returns the identity of m.
func (m *Member) ID() ID { return m.id }

// Address returns the address of m as it was first said.
func (m *Member) Address() string { return m.address }

// Host returns what m is called in HTTP and TLS: the host:port that it was found under, else its address.
func (m *Member) Host() string {
	if m.id.Name != "" {
		return m.id.Name
	}
	return m.address
}

// TagOf returns the tag of the address of m.
func TagOf(m *Member) *observe.Tag { return &m.tag }

// Weight returns the share of the requests that m is to get.
func (m *Member) Weight() int {
	m.set.mu.Lock()
	defer m.set.mu.Unlock()
	return m.weight
}

// Place returns the tier that m is of, and the zone where it runs, "" when that is unknown.
func (m *Member) Place() (tier int, zone string) {
	m.set.mu.Lock()
	defer m.set.mu.Unlock()
	return m.tier, m.zone
}

// Slot returns the number of m in its set, for tables and for balance.Tried. After m has gone, another member gets it.
func (m *Member) Slot() int { return m.slot }

// Addrs returns the addresses that m is reached at. The pointer stays the same until they change. They are immutable.
func (m *Member) Addrs() *[]poller.Addr { return m.addrs.Load() }

// Reasons returns why m does not serve, 0 when it does.
func (m *Member) Reasons() Reason { return Reason(m.reasons.Load()) }

// Down adds a reason why m does not serve, and reports whether that is news.
func (m *Member) Down(reason Reason) (changed bool) { return m.Mark(reason, true, Why{}) }

// Up takes a reason away, and reports whether that is news. m serves when none is left.
func (m *Member) Up(reason Reason) (changed bool) { return m.Mark(reason, false, Why{}) }

// PassedCheck notes that m has passed a check, which says that an ejection because it could not be reached may end.
func (m *Member) PassedCheck() {
	if m.Reasons()&Ejected != 0 {
		m.checked.Store(true)
	}
}

// SetAddrs gives m, which has a name, its addresses; none means that it is down. addrs must not change afterwards.
// The addresses of a member that has gone stay what they are.
func (m *Member) SetAddrs(addrs []poller.Addr) {
	m.set.mu.Lock()
	defer m.set.mu.Unlock()
	if m.gone {
		return
	}
	if !slices.Equal(*m.addrs.Load(), addrs) {
		m.moveReach(addrs)
		m.addrs.Store(&addrs)
		m.markReach()
	}
	if len(addrs) == 0 {
		m.mark(m.Reasons()|Names, Why{Word: "dns"})
		return
	}
	m.mark(m.Reasons()&^Names, Why{})
}
