package ketama

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
)

// Tries is how many points after the first one nginx looks at for a server that it may use, before it goes on by round
// robin.
const Tries = 20

// pointsDefault is how many points nginx gives a unit of weight.
const pointsDefault = 160

// Options says how a Ring is laid out. The zero value is nginx's ring.
type Options struct {
	Layout Layout

	// Points is the number of points for each unit of weight. 0 is taken as 160, which is all that nginx and Pingora's
	// Version::V1 know.
	Points int
}

// Ring is a ring of 32-bit points, which are CRC-32s as the hashes of keys are. Immutable after New: safe for any
// goroutine.
type Ring struct {
	members
	circle circle[uint32]
	layout Layout
	points int // for each unit of weight
}

// New makes the ring of servers, which are copied. Its cost is 20 ns for each point: 0.3 ms for 100 servers of weight
// 1.
func New(servers []Server, o Options) (*Ring, error) {
	m, err := newMembers(servers)
	if err != nil {
		return nil, err
	}
	r := &Ring{members: m, layout: o.Layout, points: cmp.Or(o.Points, pointsDefault)}
	if err := countPoints(r.total, r.points); err != nil {
		return nil, err
	}
	hashes, owners := make([]uint32, r.total*r.points), make([]uint16, r.total*r.points)
	dst, bases := make([][]uint32, len(servers)), make([]uint32, len(servers))
	at := 0
	for _, i := range r.byRank() {
		n := r.servers[i].weight() * r.points
		dst[i] = hashes[at : at+n]
		for k := range owners[at : at+n] {
			owners[at+k] = i
		}
		at += n
		if bases[i], err = r.layout.base(r.servers[i].Name); err != nil {
			return nil, fmt.Errorf("%w: %q", err, r.servers[i].Name)
		}
	}
	chains(dst, bases)
	r.circle = newCircle(hashes, owners)
	return r, nil
}

// countPoints refuses more points than a ring may have.
func countPoints(weights, points int) error {
	if points < 0 || weights > pointsMax/points {
		return fmt.Errorf("%w: %d for each unit of a weight of %d", ErrPoints, points, weights)
	}
	return nil
}

// byRank returns the servers in the order in which they have points that they share.
func (r *Ring) byRank() []uint16 {
	order := make([]uint16, len(r.servers))
	for i := range order {
		order[i] = uint16(i)
	}
	if r.layout == PingoraV2 {
		slices.SortStableFunc(order, r.ranks)
	}
	return order
}

// ranks compares two servers by which of them has the points that they share.
func (r *Ring) ranks(a, b uint16) int {
	if r.layout == PingoraV2 {
		x, _ := socketAddress(r.servers[a].Name) // New and With have parsed both
		y, _ := socketAddress(r.servers[b].Name)
		if order := x.Compare(y); order != 0 {
			return order
		}
	}
	return cmp.Compare(a, b)
}

// With returns the ring with one more server, the last one: the same ring as New makes of all of them, in a tenth of
// the time.
func (r *Ring) With(s Server) (*Ring, error) {
	m, err := r.members.with(s)
	if err != nil {
		return nil, err
	}
	next := &Ring{members: m, layout: r.layout, points: r.points}
	if err := countPoints(m.total, r.points); err != nil {
		return nil, err
	}
	base, err := r.layout.base(s.Name)
	if err != nil {
		return nil, fmt.Errorf("%w: %q", err, s.Name)
	}
	points := make([]uint32, s.weight()*r.points)
	chain(points, base, 0)
	next.circle = r.circle.with(points, uint16(len(r.servers)), next.ranks)
	return next, nil
}

// Without returns the ring without the server of a name: the same ring as New makes of the others, which keep their
// order, so that those after it have an index less by one. It returns r when there is no such server.
func (r *Ring) Without(name string) *Ring {
	i := r.indexOf(name)
	if i < 0 {
		return r
	}
	return &Ring{
		members: r.members.without(i), circle: r.circle.without(uint16(i)), layout: r.layout, points: r.points,
	}
}

// Pick returns the index of the server of a key, or -1 when there is no server. key is borrowed until return.
//
// nginx takes turns when the key is empty, and so should its replacement; here an empty key is one like others.
func (r *Ring) Pick(key []byte) int { return r.circle.owner(checksum(key)) }

// PickString is Pick for a string.
func (r *Ring) PickString(key string) int { return r.circle.owner(checksum([]byte(key))) }

// Hash returns the CRC-32 of a key, which At, Walk and the others take. key is borrowed until return.
func (r *Ring) Hash(key []byte) uint64 { return uint64(checksum(key)) }

// HashString is Hash for a string.
func (r *Ring) HashString(key string) uint64 { return uint64(checksum([]byte(key))) }

// At returns the index of the server of a hash, of which the low 32 bits count: the owner of the first point at or
// after it, or of the first point of all. It is -1 when there is no server.
func (r *Ring) At(h uint64) int { return r.circle.owner(uint32(h)) }

// Walk returns the servers in the order in which they come after a hash, each once: the first one is At(h).
func (r *Ring) Walk(h uint64) iter.Seq[int] {
	return func(yield func(int) bool) { r.circle.from(uint32(h), len(r.servers)).each(yield) }
}

// Points returns the servers of the points from a hash on, once around the ring: a server comes as often as it has
// points.
func (r *Ring) Points(h uint64) iter.Seq[int] {
	return func(yield func(int) bool) {
		w := r.circle.from(uint32(h), 0)
		for range w.left {
			if !yield(int(w.point())) {
				return
			}
		}
	}
}

// PickFunc returns the first server of Walk that ok accepts, or -1 when it accepts none.
func (r *Ring) PickFunc(h uint64, ok func(i int) bool) int {
	if i := r.At(h); i < 0 || ok(i) {
		return i
	}
	return r.circle.from(uint32(h), len(r.servers)).after().pick(ok)
}

// Failover returns the server that nginx takes when ok accepts those that are up and were not tried for this request:
// the server of the first point whose server it accepts, among the one of h and the Tries points after it. -1 says that
// nginx goes on by round robin over all that are up.
func (r *Ring) Failover(h uint64, ok func(i int) bool) int {
	tries := 0
	for i := range r.Points(h) {
		if ok(i) {
			return i
		}
		if tries++; tries > Tries {
			break
		}
	}
	return -1
}

// PickBounded returns the first server of Walk that has less load than b allows it, so that a key that all clients ask
// for does not fill one server (Mirrokni, Thorup and Zadimoghaddam, Consistent Hashing with Bounded Loads, 2016;
// Envoy's hash_balance_factor). load tells how many requests server i serves now; below zero it is down, or was tried.
// Only when all are at their bound, which their own loads cannot bring about with a Factor from 100 up, the server is
// the one with the least load for its weight. -1 says that all are down.
func (r *Ring) PickBounded(h uint64, b Bound, load func(i int) int) int {
	return r.pickBounded(r.circle.from(uint32(h), len(r.servers)), b, load)
}

// Len returns the number of servers.
func (r *Ring) Len() int { return len(r.servers) }

// Server returns server i.
func (r *Ring) Server(i int) Server { return r.servers[i] }
