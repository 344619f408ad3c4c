package ketama

import (
	"cmp"
	"math/bits"
	"slices"
)

// circle is the points of a ring, of 32 or 64 bits. Immutable after newCircle, with or without.
//
// A look-up goes by the top bits of a hash into index, which has 2 to 4 entries for each point, and from there point by
// point: mostly none or one. The first of these steps is taken without a branch, since no branch predictor knows a
// hash.
//
//	hash ─ top bits ─► index: first point that is in no earlier bucket ─► hashes, the first one ≥ hash ─► owners
//
//	len(owners) == len(hashes) == the number of points + 1, or 0 when there is none
//	hashes[i] < hashes[i+1] <= the last of hashes, which is the greatest H: a search always ends there
//	the last of owners == owners[0]: after the last point comes the first
//	index[b] == the number of points whose hash >> shift is below b
//	hidden is in order of hash, then of rank; each hash of it stands in hashes
type circle[H uint32 | uint64] struct {
	hashes []H
	owners []uint16 // owners[i] is the server that has point i
	index  []uint32
	shift  uint
	hidden []point[H] // points that are another server's, or another one of the same server
}

// point is a place on the circle, and the server that has put it there.
type point[H uint32 | uint64] struct {
	hash  H
	owner uint16
}

func (p point[H]) compare(h H) int { return cmp.Compare(p.hash, h) }

// newCircle sorts points, whose owners stand in the same order, by their top bits into buckets of index and then by
// insertion, both of them stable: of equal points the first one in owners has the place. Points that are spread as a
// hash spreads them have few others in their bucket. hashes and owners are borrowed until return.
func newCircle[H uint32 | uint64](hashes []H, owners []uint16) circle[H] {
	n := len(hashes)
	if n == 0 {
		return circle[H]{}
	}
	c := circle[H]{hashes: make([]H, n+1), owners: make([]uint16, n+1)}
	c.scatter(hashes, owners)
	c.insert(n)
	if !c.separate() {
		copy(c.index[1:], c.index[:len(c.index)-1])
		c.index[0] = 0
	}
	c.close()
	c.check()
	return c
}

// scatter puts points into their buckets. It leaves in index[b] where bucket b ends.
func (c *circle[H]) scatter(hashes []H, owners []uint16) {
	c.size(len(hashes))
	for _, h := range hashes {
		c.index[h>>c.shift]++
	}
	sum := uint32(0)
	for b, n := range c.index {
		c.index[b] = sum
		sum += n
	}
	for i, h := range hashes {
		b := h >> c.shift
		at := c.index[b]
		c.index[b] = at + 1
		c.hashes[at], c.owners[at] = h, owners[i]
	}
}

// insert sorts the first n points, which are in order but within their buckets.
func (c *circle[H]) insert(n int) {
	hashes, owners := c.hashes[:n], c.owners[:n]
	for i := 1; i < len(hashes); i++ {
		h, k := hashes[i], i-1
		if hashes[k] <= h {
			continue
		}
		owner := owners[i]
		for ; k >= 0 && hashes[k] > h; k-- {
			hashes[k+1], owners[k+1] = hashes[k], owners[k]
		}
		hashes[k+1], owners[k+1] = h, owner
	}
}

// separate moves all but the first of equal points to hidden, and reports whether there were any: then it has made the
// index as well.
func (c *circle[H]) separate() bool {
	n := len(c.hashes) - 1
	out := 1
	for i := 1; i < n; i++ {
		h, owner := c.hashes[i], c.owners[i]
		if h == c.hashes[out-1] {
			c.hidden = append(c.hidden, point[H]{h, owner})
			continue
		}
		c.hashes[out], c.owners[out] = h, owner
		out++
	}
	if out == n {
		return false
	}
	c.hashes, c.owners = c.hashes[:out+1], c.owners[:out+1]
	c.fill()
	return true
}

// size gives index its length and shift for n points.
func (c *circle[H]) size(n int) {
	top := bits.Len(uint(n-1)) + 1
	c.index = make([]uint32, 1<<top)
	c.shift = uint(bits.Len64(uint64(^H(0))) - top)
}

// fill makes the index for the points in hashes.
func (c *circle[H]) fill() {
	c.size(len(c.hashes) - 1)
	b := 0
	for i, h := range c.hashes[:len(c.hashes)-1] {
		for ; b <= int(h>>c.shift); b++ {
			c.index[b] = uint32(i)
		}
	}
	for ; b < len(c.index); b++ {
		c.index[b] = uint32(len(c.hashes) - 1)
	}
}

// close writes what stands after the last point.
func (c *circle[H]) close() {
	n := len(c.hashes) - 1
	c.hashes[n], c.owners[n] = ^H(0), c.owners[0]
}

// find returns the first point whose hash is h or above, or the number of points, at which the owner of point 0 stands.
// There has to be a point.
func (c *circle[H]) find(h H) uint32 {
	i := c.index[h>>c.shift]
	i += below(c.hashes[i], h)
	for c.hashes[i] < h {
		i++
	}
	return i
}

// below is 1 when a is below b, else 0.
func below[H uint32 | uint64](a, b H) uint32 {
	if a < b {
		return 1
	}
	return 0
}

// owner returns the server that h belongs to, or -1 when there is none.
func (c *circle[H]) owner(h H) int {
	if len(c.hashes) == 0 {
		return -1
	}
	return int(c.owners[c.find(h)])
}

// from returns a walk from h on.
func (c *circle[H]) from(h H, servers int) walk {
	if len(c.hashes) == 0 {
		return walk{}
	}
	n := len(c.owners) - 1
	at := int(c.find(h))
	if at == n {
		at = 0
	}
	return walk{owners: c.owners[:n], at: at, left: n, servers: servers}
}

// with returns c with the points of one more server, whose index is owner. ranks compares two servers that share a
// point: the server that comes first has it.
func (c *circle[H]) with(points []H, owner uint16, ranks func(a, b uint16) int) circle[H] {
	slices.Sort(points)
	next := change[H]{old: c, new: circle[H]{hidden: slices.Clone(c.hidden)}}
	n := next.begin(len(points))
	added := points[:0]
	for _, h := range points {
		if next.out > 0 && next.new.hashes[next.out-1] == h {
			next.hide(h, owner)
			continue
		}
		if n > 0 {
			next.take(max(next.from, int(c.find(h))))
		}
		switch {
		case next.from == n || c.hashes[next.from] != h:
			added = append(added, h)
		case ranks(c.owners[next.from], owner) <= 0:
			next.hide(h, owner)
			continue
		default:
			next.hide(h, c.owners[next.from])
			next.from++
		}
		next.put(h, owner)
	}
	next.take(n)
	if len(next.new.hidden) > len(c.hidden) {
		slices.SortStableFunc(next.new.hidden, func(a, b point[H]) int {
			return cmp.Or(cmp.Compare(a.hash, b.hash), ranks(a.owner, b.owner))
		})
	}
	return next.end(added, 1)
}

// without returns c without the points of a server. Those after it have moved up by one.
func (c *circle[H]) without(gone uint16) circle[H] {
	next := change[H]{old: c}
	for _, p := range c.hidden {
		if p.owner != gone {
			next.hide(p.hash, p.owner)
		}
	}
	n := next.begin(0)
	var removed []H
	for i, owner := range c.owners[:n] {
		if owner != gone {
			continue
		}
		next.take(i)
		next.from++
		h := c.hashes[i]
		k, found := slices.BinarySearchFunc(next.new.hidden, h, point[H].compare)
		if !found {
			removed = append(removed, h)
			continue
		}
		next.put(h, next.new.hidden[k].owner)
		next.new.hidden = slices.Delete(next.new.hidden, k, k+1)
	}
	next.take(n)
	if next.out == 0 {
		return circle[H]{}
	}
	if len(next.new.hidden) == 0 {
		next.new.hidden = nil
	}
	owners := next.new.owners
	for i, owner := range owners {
		owners[i] = renumbered(owner, gone)
	}
	for i := range next.new.hidden {
		p := &next.new.hidden[i]
		p.owner = renumbered(p.owner, gone)
	}
	return next.end(removed, -1)
}

// renumbered returns the index that owner has when gone has left: one less if it is above gone. The subtraction tells
// by its sign, so that nothing is compared for each of many points.
func renumbered(owner, gone uint16) uint16 { return owner - uint16((uint32(gone)-uint32(owner))>>31) }

// change makes a circle of another one, whose points it copies in runs.
type change[H uint32 | uint64] struct {
	old       *circle[H]
	new       circle[H]
	out, from int // points of new so far; the next one of old
}

// begin makes room for the points of old and some more, and returns how many old has.
func (c *change[H]) begin(more int) int {
	n := max(len(c.old.hashes)-1, 0)
	c.new.hashes, c.new.owners = make([]H, n+more+1), make([]uint16, n+more+1)
	return n
}

// take copies the points of old before the one at to.
func (c *change[H]) take(to int) {
	if c.from < to {
		copy(c.new.hashes[c.out:], c.old.hashes[c.from:to])
		c.out += copy(c.new.owners[c.out:], c.old.owners[c.from:to])
		c.from = to
	}
}

// put adds a point.
func (c *change[H]) put(h H, owner uint16) {
	c.new.hashes[c.out], c.new.owners[c.out] = h, owner
	c.out++
}

// hide adds a point that is another server's.
func (c *change[H]) hide(h H, owner uint16) { c.new.hidden = append(c.new.hidden, point[H]{h, owner}) }

// end returns what was made. changed are the hashes that came (delta 1) or went (-1), in order.
func (c *change[H]) end(changed []H, delta int) circle[H] {
	next := c.new
	next.hashes, next.owners = next.hashes[:c.out+1], next.owners[:c.out+1]
	next.reindex(c.old, changed, delta)
	next.close()
	next.check()
	return next
}

// reindex makes the index from the index of old: c differs by points that came (delta 1) or went (-1), in order.
func (c *circle[H]) reindex(old *circle[H], changed []H, delta int) {
	n := len(c.hashes) - 1
	if top := bits.Len(uint(n-1)) + 1; len(old.index) != 1<<top {
		c.fill()
		return
	}
	c.index, c.shift = make([]uint32, len(old.index)), old.shift
	from, sum := 0, uint32(0)
	for _, h := range changed {
		to := int(h>>c.shift) + 1
		shifted(c.index[from:to], old.index[from:to], sum)
		from = to
		sum += uint32(delta)
	}
	shifted(c.index[from:], old.index[from:], sum)
}

// shifted sets dst to src + by.
func shifted(dst, src []uint32, by uint32) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = v + by
	}
}
