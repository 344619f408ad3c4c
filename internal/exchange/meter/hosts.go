package meter

import (
	"bytes"
	"sync/atomic"

	"github.com/edge-proxy/edge/limits"
	"github.com/edge-proxy/edge/message"
)

// hostMax is the length of the longest host that is looked at: RFC 1035 §2.3.4.
const hostMax = 255

// Hosts counts requests by the host that they ask for: the requests of each admitted host for itself, all others
// together. Which of the others have the most is estimated in fixed memory, so that they can be admitted.
// Safe for any goroutine, but for what takes the index of a reactor.
type Hosts struct {
	hasher limits.Hasher
	next   atomic.Pointer[Admitted] // that a reactor counts by from its next Take on
	rounds atomic.Uint32            // that estimates have begun anew
	local  []hostsLocal             // by Reactor.Index
}

// Admitted are the hosts that are counted each for itself.
// Immutable.
type Admitted struct {
	ids    []uint32       // by place; place 0 belongs to all others
	places map[string]int // by host in lower case
}

// Others is the id of all hosts that are not admitted.
const Others = 0

// NewAdmitted admits hosts by their ids, which are above Others and below 2^28.
func NewAdmitted(hosts map[string]uint32) *Admitted {
	a := &Admitted{ids: []uint32{Others}, places: make(map[string]int, len(hosts))}
	for host, id := range hosts {
		a.places[host] = len(a.ids)
		a.ids = append(a.ids, id)
	}
	return a
}

// hostsLocal is what one reactor has counted of hosts. Owned by its reactor.
type hostsLocal struct {
	table  *Admitted
	counts []uint64                    // by place and class
	rank   *limits.SpaceSaving[[]byte] // of hosts that are not admitted
	ranked *limits.SpaceSaving[[]byte] // rank as of the last Take that was done; read when no Take is under way
	seen   []uint32                    // halves of hashes of hosts that are not admitted, the last one of each place
	round  uint32                      // of Hosts.rounds
	name   [hostMax]byte               // a host in lower case
	_      [64]byte
}

// seenPlaces bounds the hosts that a reactor remembers to have seen. In a flood of made-up hosts, a host that has a
// thousandth of the requests is still remembered at its next request three times in four.
const seenPlaces = 4096

// hostClasses is how many classes of statuses are told apart for a host.
const hostClasses = 6

// HostCodes are the labels of these classes.
func HostCodes() []string { return ByClass.Labels }

// CountHosts makes m count hosts, and rank that number of those that are not admitted. To be called before any reactor
// counts.
func (m *Meters) CountHosts(ranked int) *Hosts {
	h := &Hosts{hasher: limits.NewHasher(), local: make([]hostsLocal, len(m.local))}
	h.next.Store(NewAdmitted(nil))
	for i := range h.local {
		l := &h.local[i]
		l.table = h.next.Load()
		l.counts = make([]uint64, hostClasses)
		l.rank = limits.NewSpaceSaving(ranked, bytes.Clone)
		l.seen = make([]uint32, seenPlaces)
	}
	m.hosts = h
	return h
}

// Admit sets a as the hosts that are counted each for itself.
func (h *Hosts) Admit(a *Admitted) { h.next.Store(a) }

// RankAnew makes estimates begin anew: a host is to be ranked by what it has now, not by what it had.
func (h *Hosts) RankAnew() { h.rounds.Add(1) }

// Ranked appends the hosts that are not admitted and had the most requests on a reactor, as of its last Take. Not while
// a Take is under way there. The names are immutable.
func (h *Hosts) Ranked(reactor int, into []limits.Item[[]byte]) []limits.Item[[]byte] {
	if r := h.local[reactor].ranked; r != nil {
		into = r.Top(into, 1<<24)
	}
	return into
}

// count counts a request for authority that ended with a status. On the reactor with that index. A host that is not
// admitted is ranked from its second request on, if the reactor still remembers the first one. Ranking a new host
// copies its name, and a flood of made-up hosts must not cost an allocation each.
func (h *Hosts) count(reactor int, authority []byte, status int) {
	l := &h.local[reactor]
	place, class := 0, 0
	if uint(status) < statusMax {
		class = int(ByClass.columns[status])
	}
	if name := l.lower(authority); name != nil {
		if p, admitted := l.table.places[string(name)]; admitted {
			place = p
		} else {
			hash := h.hasher.Bytes(name)
			if seen := &l.seen[hash%seenPlaces]; *seen == uint32(hash>>32) {
				l.rank.Add(hash, name, 1)
			} else {
				*seen = uint32(hash >> 32)
			}
		}
	}
	l.counts[place*hostClasses+class]++
}

// lower returns the host of an authority in lower case, borrowed until the next call; nil where there is none.
func (l *hostsLocal) lower(authority []byte) []byte {
	if _, _, ok := message.SplitAuthority(authority); !ok {
		return nil
	}
	host := message.HostOf(authority)
	if len(host) > len(l.name) {
		return nil
	}
	return message.AppendLower(l.name[:0], host)
}

// take appends what was counted since the last take, and counts by the table that is the present one from then on.
func (h *Hosts) take(reactor int, into []Delta) []Delta {
	l := &h.local[reactor]
	for i, n := range l.counts {
		if n > 0 {
			id := l.table.ids[i/hostClasses]
			into = append(into, Delta{hostsNumber, id*8 + uint32(i%hostClasses), n})
			l.counts[i] = 0
		}
	}
	if next := h.next.Load(); next != l.table {
		l.table, l.counts = next, make([]uint64, len(next.ids)*hostClasses)
	}
	l.ranked = l.rank.Snapshot(l.ranked)
	if round := h.rounds.Load(); round != l.round {
		l.round = round
		l.rank.Reset()
	}
	return into
}

// hostsNumber stands for Hosts in a Delta.
const hostsNumber = 0

// Host is the id of the host whose requests d counts, and the class of their statuses; false: it counts something else.
func (d *Delta) Host() (id uint32, class int, ok bool) {
	return d.key / 8, int(d.key % 8), d.Of == hostsNumber
}
