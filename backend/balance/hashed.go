package balance

import (
	"fmt"
	"slices"
	"sync"

	"github.com/edge-proxy/edge/ketama"
)

// pointsMax bounds the points of a ring: 160 for each unit of weight, 20 ns and 6 bytes each.
const pointsMax = 1 << 22

// hashes is where the keys of a layout belong. Each part is made when it is first asked for.
type hashes struct {
	ringOnce  sync.Once
	ring      *ketama.Ring
	tableOnce sync.Once
	table     *ketama.Maglev
	sumsOnce  sync.Once
	sums      []uint32 // of the weights up to each of layout.placed
}

// ring returns nginx's ring of all backends, open or not: a key keeps its place on it when one of them is down.
func (l *layout) ring() *ketama.Ring {
	l.hashes.ringOnce.Do(func() {
		var err error
		if l.hashes.ring, err = ketama.New(l.servers(), ketama.Options{}); err != nil {
			panic("balance: " + err.Error())
		}
	})
	return l.hashes.ring
}

// maglev returns Maglev's table of all backends, open or not.
func (l *layout) maglev() *ketama.Maglev {
	l.hashes.tableOnce.Do(func() {
		size := 65537
		if len(l.placed) > size/100 {
			size = 655373 // so that 100 entries are there for each of some thousands
		}
		var err error
		if l.hashes.table, err = ketama.NewMaglev(l.servers(), ketama.MaglevOptions{Table: size}); err != nil {
			panic("balance: " + err.Error())
		}
	})
	return l.hashes.table
}

// servers returns the backends of a weight as package ketama has them. One of a name that another one has gets a name
// of its own. Weights stay as they are written, since nginx has 160 points for each unit, unless there are too many.
func (l *layout) servers() []ketama.Server {
	taken := make(map[string]bool, len(l.placed))
	for _, i := range l.placed {
		taken[l.backends[i].Name] = true
	}
	again := make(map[string]int) // how often a name was used
	list := make([]ketama.Server, len(l.placed))
	for at, i := range l.placed {
		b := &l.backends[i]
		name := b.Name
		if again[b.Name]++; again[b.Name] > 1 {
			for taken[name] {
				name = fmt.Sprintf("%s#%d", b.Name, again[b.Name])
				again[b.Name]++
			}
			taken[name] = true
		}
		list[at] = ketama.Server{Name: name, Weight: b.Weight}
		if limit := pointsMax / 160; l.total > limit {
			list[at].Weight = max(b.Weight*limit/l.total, 1)
		}
	}
	return list
}

// ketamaPicker is the Picker of Ketama.
// Owned by one goroutine.
type ketamaPicker struct{ turns Turns }

func newKetamaPicker(reactor, reactors int) Picker {
	return &ketamaPicker{newTurns(reactor, reactors)}
}

// Pick returns the backend of the key. Where that is closed or was tried, it does as nginx does: it takes the owner of
// the first of the next 20 points that may be picked, else turns.
func (p *ketamaPicker) Pick(v *View, l *Local, q *Request) int {
	if !q.Keyed {
		return p.turns.Pick(v, l, q)
	}
	at := v.ring().At(q.Key)
	if at < 0 {
		return -1
	}
	if i := int(v.placed[at]); v.pickable(i, q) {
		return i
	}
	if at = v.ring().Failover(q.Key, func(at int) bool { return v.pickable(int(v.placed[at]), q) }); at >= 0 {
		return int(v.placed[at])
	}
	return p.turns.Pick(v, l, q)
}

// maglevPicker is the Picker of Maglev.
// Owned by one goroutine.
type maglevPicker struct{ turns Turns }

func newMaglevPicker(reactor, reactors int) Picker {
	return &maglevPicker{newTurns(reactor, reactors)}
}

// Pick returns the backend of the key. Where that is closed or was tried, the key is hashed again, so that the keys of
// one backend go to all of the others.
func (p *maglevPicker) Pick(v *View, l *Local, q *Request) int {
	if !q.Keyed {
		return p.turns.Pick(v, l, q)
	}
	table, key := v.maglev(), q.Key
	for range ketama.Tries + 1 {
		at := table.At(key)
		if at < 0 {
			return -1
		}
		if i := int(v.placed[at]); v.pickable(i, q) {
			return i
		}
		key = (key ^ key>>29) * golden
	}
	return p.turns.Pick(v, l, q)
}

// noServers hashes keys: a hash has nothing to do with the servers of a ring.
var noServers struct {
	ring  ketama.Ring
	table ketama.Maglev
}

func hashKetama(key []byte) uint64 { return noServers.ring.Hash(key) }
func hashMaglev(key []byte) uint64 { return noServers.table.Hash(key) }

// The numbers of nginx's ip_hash.
const (
	addressFirst  = 89
	addressFactor = 113
	addressMod    = 6271
)

// hashAddress folds the bytes of an address: the first three of IPv4, so that a network of 256 has one backend, or all
// of IPv6. A round of nginx's hash, h → (h·113 + byte) mod 6271 for each of the bytes, is h·factor + sum: these two
// are the key.
func hashAddress(address []byte) uint64 {
	if len(address) == 4 {
		address = address[:3]
	}
	factor, sum := uint64(1), uint64(0)
	for _, b := range address {
		factor = factor * addressFactor % addressMod
		sum = (sum*addressFactor + uint64(b)) % addressMod
	}
	return factor<<16 | sum
}

// ipHashPicker is the Picker of IPHash.
// Owned by one goroutine.
type ipHashPicker struct{ turns Turns }

func newIPHashPicker(reactor, reactors int) Picker {
	return &ipHashPicker{newTurns(reactor, reactors)}
}

// Pick returns the backend of the client's address as nginx's ip_hash does: a hash among the weights of all, open or
// not, hashed again up to 20 times, else turns.
func (p *ipHashPicker) Pick(v *View, l *Local, q *Request) int {
	if v.total == 0 || !q.Keyed {
		return p.turns.Pick(v, l, q)
	}
	factor, sum, h := q.Key>>16, q.Key&0xffff, uint64(addressFirst)
	for range ketama.Tries + 1 + q.Tried.Len() { // nginx goes on after the server that it tried last
		h = (h*factor + sum) % addressMod
		if i := v.at(uint32(h % uint64(v.total))); v.pickable(i, q) {
			return i
		}
	}
	return p.turns.Pick(v, l, q)
}

// at returns the backend that a part of the sum of all weights falls on.
func (l *layout) at(part uint32) int {
	sums := l.sums()
	at, _ := slices.BinarySearch(sums, part+1)
	return int(l.placed[at])
}

// sums returns the sums of the weights up to each backend: nginx looks at all of them instead.
func (l *layout) sums() []uint32 {
	l.hashes.sumsOnce.Do(func() {
		sum := uint32(0)
		for _, i := range l.placed {
			sum += uint32(l.backends[i].Weight)
			l.hashes.sums = append(l.hashes.sums, sum)
		}
	})
	return l.hashes.sums
}
