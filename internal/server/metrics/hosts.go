package metrics

import (
	"cmp"
	"slices"
	"time"

	"github.com/edge-proxy/edge/internal/exchange/meter"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/limits"
)

const (
	hostsName = "edge_host_requests_total"
	hostsHelp = "Requests by the host that they ask for: those that are asked for most, and all others together."
)

// admitLeast is how many requests a host must have had for sure to be admitted.
const admitLeast = 16

// How many hosts are ranked: of those that may be admitted, a multiple, and never few, so that in a flood of made-up
// hosts one is found that has a thousandth of the requests.
const (
	rankedPerHost = 4
	rankedLeast   = 1024
)

// hosts decides which hosts have series of their own: those that the configuration names, and up to most of those that
// had the most requests. A host is admitted that is among these in two rounds in a row, and was asked for between them.
// It stays until it has had no request for an hour. At most as many come in an hour, so that a flood of made-up hosts
// makes few series, and takes none away. The series of others takes over what one has counted that leaves.
// Guarded by Traffic.mu.
type hosts struct {
	meter  *meter.Hosts
	most   int
	others hostTotal
	byName map[string]*hostTotal
	byID   map[uint32]*hostTotal
	order  []*hostTotal // in which they came
	lastID uint32

	ranks  map[string]uint64 // requests that hosts had for sure, of this round
	before map[string]uint64 // the first ones of the round before, with theirs
	hour   time.Time         // when the present hour began
	came   int               // in it
	items  []limits.Item[[]byte]
}

// hostTotal is what the requests for a host have added up to.
type hostTotal struct {
	name   string
	id     uint32
	counts []uint64 // by class
	lines  [][]byte
	named  bool      // by the configuration
	asked  time.Time // when it was asked for last
}

func newHosts(m *meter.Meters, most int) *hosts {
	h := &hosts{
		meter: m.CountHosts(max(rankedPerHost*most, rankedLeast)), most: most, byName: make(map[string]*hostTotal),
		byID: make(map[uint32]*hostTotal), ranks: make(map[string]uint64), before: make(map[string]uint64),
	}
	h.others.render(others)
	return h
}

func (t *hostTotal) render(name string) {
	t.name, t.counts = name, make([]uint64, len(meter.HostCodes()))
	for _, code := range meter.HostCodes() {
		t.lines = append(t.lines, observe.AppendLine(nil, hostsName,
			observe.Label{Name: "host", Value: name}, observe.Label{Name: "code", Value: code}))
	}
}

// add adds what was counted of a host. A host that has left meanwhile is one of the others.
func (h *hosts) add(id uint32, class int, n uint64, now time.Time) {
	to := h.byID[id]
	if to == nil {
		to = &h.others
	}
	to.counts[class] += n
	to.asked = now
}

// rank adds what a reactor says of hosts that are not admitted.
func (h *hosts) rank(reactor int) {
	h.items = h.meter.Ranked(reactor, h.items[:0])
	for _, i := range h.items {
		if sure := i.Count - i.Over; sure > 0 && h.byName[string(i.Key)] == nil && string(i.Key) != others {
			h.ranks[string(i.Key)] += sure
		}
	}
}

// use admits the hosts that a configuration names, and those that were admitted by their requests.
func (h *hosts) use(named map[string]bool) {
	for name, one := range h.byName {
		one.named = named[name]
	}
	for name := range named {
		if h.byName[name] == nil && name != others {
			h.admit(name).named = true
		}
	}
	h.publish()
}

// settle ends a round: hosts leave and come.
func (h *hosts) settle(now time.Time) {
	changed := false
	h.order = slices.DeleteFunc(h.order, func(one *hostTotal) bool {
		if one.named || now.Sub(one.asked) <= goneFor {
			return false
		}
		for class, n := range one.counts {
			h.others.counts[class] += n
		}
		delete(h.byName, one.name)
		delete(h.byID, one.id)
		changed = true
		return true
	})
	if h.hour.IsZero() {
		h.hour = now
	}
	if now.Sub(h.hour) >= time.Hour {
		h.hour, h.came = now, 0
		h.meter.RankAnew()
	}
	first := make(map[string]uint64)
	for _, name := range h.first() {
		n, was := h.before[name]
		first[name] = h.ranks[name]
		if was && h.ranks[name] > n && h.came < h.most && h.unnamed() < h.most {
			h.admit(name).asked = now
			h.came++
			changed = true
		}
	}
	h.before = first
	clear(h.ranks)
	if changed {
		h.publish()
	}
}

// first returns the hosts with the most requests, those with the most first, as many as may be admitted.
func (h *hosts) first() (names []string) {
	for name, n := range h.ranks {
		if n >= admitLeast {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(h.ranks[b], h.ranks[a]), cmp.Compare(a, b))
	})
	return names[:min(len(names), h.most)]
}

// unnamed returns how many hosts are admitted that the configuration does not name.
func (h *hosts) unnamed() (n int) {
	for _, one := range h.order {
		if !one.named {
			n++
		}
	}
	return n
}

func (h *hosts) admit(name string) *hostTotal {
	h.lastID++
	one := &hostTotal{id: h.lastID}
	one.render(name)
	h.byName[name], h.byID[one.id] = one, one
	h.order = append(h.order, one)
	return one
}

// publish tells the reactors which hosts are admitted.
func (h *hosts) publish() {
	ids := make(map[string]uint32, len(h.byName))
	for name, one := range h.byName {
		ids[name] = one.id
	}
	h.meter.Admit(meter.NewAdmitted(ids))
}

func (h *hosts) appendTo(e *observe.Exposition) {
	e.Family(hostsName, hostsHelp, observe.KindCounter)
	for _, one := range append([]*hostTotal{&h.others}, h.order...) {
		for class, n := range one.counts {
			if n > 0 || one == &h.others {
				e.Count(one.lines[class], n)
			}
		}
	}
}
