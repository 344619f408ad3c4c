package ketama

import (
	"cmp"
	"iter"
)

// Options64 says how a Ring64 is laid out. The zero value is good.
type Options64 struct {
	// Points is the number of points for each unit of weight. 0 is taken as 160.
	Points int
}

// Ring64 is a ring of 64-bit points, where nothing else has to agree on it: point j of a server is the XXH64 of its
// name with seed j, and a key hashes to its XXH64 with seed 0. No two points fall together in practice, and XXH64
// spreads keys that are alike where a CRC is only linear. Immutable after New64: safe for any goroutine.
type Ring64 struct {
	members
	circle circle[uint64]
	points int // for each unit of weight
}

// New64 makes the ring of servers, which are copied. Its cost is 25 ns for each point.
func New64(servers []Server, o Options64) (*Ring64, error) {
	m, err := newMembers(servers)
	if err != nil {
		return nil, err
	}
	r := &Ring64{members: m, points: cmp.Or(o.Points, pointsDefault)}
	if err := countPoints(r.total, r.points); err != nil {
		return nil, err
	}
	hashes, owners := make([]uint64, r.total*r.points), make([]uint16, r.total*r.points)
	at := 0
	for i := range r.servers {
		n := r.servers[i].weight() * r.points
		seeds(hashes[at:at+n], r.servers[i].Name)
		for k := range owners[at : at+n] {
			owners[at+k] = uint16(i)
		}
		at += n
	}
	r.circle = newCircle(hashes, owners)
	return r, nil
}

// seeds writes the points of a server.
func seeds(dst []uint64, name string) {
	for j := range dst {
		dst[j] = xxh64([]byte(name), uint64(j))
	}
}

// With returns the ring with one more server, the last one: the same ring as New64 makes of all of them, in a tenth of
// the time.
func (r *Ring64) With(s Server) (*Ring64, error) {
	m, err := r.members.with(s)
	if err != nil {
		return nil, err
	}
	if err := countPoints(m.total, r.points); err != nil {
		return nil, err
	}
	points := make([]uint64, s.weight()*r.points)
	seeds(points, s.Name)
	next := &Ring64{members: m, points: r.points}
	next.circle = r.circle.with(points, uint16(len(r.servers)), cmp.Compare[uint16])
	return next, nil
}

// Without returns the ring without the server of a name: the same ring as New64 makes of the others, which keep their
// order, so that those after it have an index less by one. It returns r when there is no such server.
func (r *Ring64) Without(name string) *Ring64 {
	i := r.indexOf(name)
	if i < 0 {
		return r
	}
	return &Ring64{members: r.members.without(i), circle: r.circle.without(uint16(i)), points: r.points}
}

// Pick returns the index of the server of a key, or -1 when there is no server. key is borrowed until return.
func (r *Ring64) Pick(key []byte) int { return r.circle.owner(xxh64(key, 0)) }

// PickString is Pick for a string.
func (r *Ring64) PickString(key string) int { return r.circle.owner(xxh64([]byte(key), 0)) }

// Hash returns the XXH64 of a key, which At, Walk and the others take. key is borrowed until return.
func (r *Ring64) Hash(key []byte) uint64 { return xxh64(key, 0) }

// HashString is Hash for a string.
func (r *Ring64) HashString(key string) uint64 { return xxh64([]byte(key), 0) }

// At returns the index of the server of a hash, all of whose bits count: the owner of the first point at or after it,
// or of the first point of all. It is -1 when there is no server.
func (r *Ring64) At(h uint64) int { return r.circle.owner(h) }

// Walk returns the servers in the order in which they come after a hash, each once: the first one is At(h).
func (r *Ring64) Walk(h uint64) iter.Seq[int] {
	return func(yield func(int) bool) { r.circle.from(h, len(r.servers)).each(yield) }
}

// PickFunc returns the first server of Walk that ok accepts, or -1 when it accepts none.
func (r *Ring64) PickFunc(h uint64, ok func(i int) bool) int {
	if i := r.At(h); i < 0 || ok(i) {
		return i
	}
	return r.circle.from(h, len(r.servers)).after().pick(ok)
}

// PickBounded returns the first server of Walk that has less load than b allows it. See Ring.PickBounded.
func (r *Ring64) PickBounded(h uint64, b Bound, load func(i int) int) int {
	return r.pickBounded(r.circle.from(h, len(r.servers)), b, load)
}

// Len returns the number of servers.
func (r *Ring64) Len() int { return len(r.servers) }

// Server returns server i.
func (r *Ring64) Server(i int) Server { return r.servers[i] }
