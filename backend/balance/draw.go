package balance

import (
	"math/bits"
	"slices"
)

// aliasColumn is one column of an alias table (Walker 1977, Vose 1991): of the values that fall on it, those below
// threshold are its own backend's, the others are alias's. Both are indices.
type aliasColumn struct {
	threshold  uint32
	own, alias uint16
}

// drawTable returns what draws open backends by weight: nil where all their weights are equal.
func (v *View) drawTable() []aliasColumn {
	if !v.hasTable.Load() {
		v.makeTable()
	}
	return v.table
}

// makeTable makes the alias tables, unless another goroutine has.
func (v *View) makeTable() {
	v.making.Lock()
	defer v.making.Unlock()
	if v.hasTable.Load() {
		return
	}
	weights := make([]uint64, len(v.order))
	for k, i := range v.order {
		weights[k] = uint64(v.weights[i])
	}
	if len(weights) <= scanMax {
		v.ranks = makeAliasTable(orderWeights(weights))
	}
	v.table = makeAliasTable(weights)
	v.hasTable.Store(true)
}

// makeAliasTable returns an alias table of 0, 1, 2, … by their weights: columns that are too low are filled up from a
// column that is too high. The sum of the weights times how many there are is below 2^64.
func makeAliasTable(weights []uint64) []aliasColumn {
	n := uint64(len(weights))
	table, left := make([]aliasColumn, n), make([]uint64, n) // left is in 1/n of a weight: total fills a column
	total := uint64(0)
	for _, weight := range weights {
		total += weight
	}
	var low, high []int
	for k, weight := range weights {
		table[k] = aliasColumn{1<<32 - 1, uint16(k), uint16(k)}
		if left[k] = weight * n; left[k] < total {
			low = append(low, k)
		} else {
			high = append(high, k)
		}
	}
	for len(low) > 0 && len(high) > 0 {
		from, to := high[len(high)-1], low[len(low)-1]
		low = low[:len(low)-1]
		threshold, _ := bits.Div64(left[to]>>32, left[to]<<32, total)
		table[to].threshold, table[to].alias = uint32(threshold), uint16(from)
		if left[from] -= total - left[to]; left[from] < total {
			high, low = high[:len(high)-1], append(low, from)
		}
	}
	return table
}

// draw returns the place of order that a random word falls on, by weight. table is v.columns().
func (v *View) draw(table []aliasColumn, word uint64) int {
	if table == nil {
		hi, _ := bits.Mul64(word, uint64(len(v.order)))
		return int(hi)
	}
	return drawn(table, word)
}

// drawn returns the number in a table that a random word falls on.
func drawn(table []aliasColumn, word uint64) int {
	hi, lo := bits.Mul64(word, uint64(len(table)))
	c := &table[hi]
	_, below := bits.Sub64(lo>>32, uint64(c.threshold), 0) // without a branch, which would be mispredicted
	return int(c.alias ^ (c.alias^c.own)&-uint16(below))
}

const (
	drawsMax   = 8  // backends that a method draws at the most
	redrawsMax = 16 // draws more, where some were drawn twice
)

// drawDistinct draws so many different places of order, by weight: fewer than there are. It returns how many it found,
// which is less only where a few backends have nearly all of the weight.
//
// Distinct, since drawing with replacement sends a slow backend the square of its share: HAProxy's random(2) gives one
// slow backend of four 10 % of the requests.
func (v *View) drawDistinct(l *Local, into *[drawsMax]uint16, count int) int {
	table, found := v.drawTable(), 0
	for k := range count {
		into[k] = uint16(v.draw(table, l.Random()))
	}
	for found < count && !slices.Contains(into[:found], into[found]) {
		found++
	}
	for tries := redrawsMax; found < count && tries > 0; tries-- {
		if i := uint16(v.draw(table, l.Random())); !slices.Contains(into[:found], i) {
			into[found] = i
			found++
		}
	}
	return found
}

// drawPlaces draws three places of order without replacement, where all weights are equal: the k-th of what is left,
// where those before it are skipped in ascending order. All come from one random word, of which each leaves the bits
// that it does not need.
func (v *View) drawPlaces(l *Local, into *[drawsMax]uint16) {
	n := uint64(len(v.order))
	a, rest := bits.Mul64(l.Random(), n)
	b, rest := bits.Mul64(rest, n-1)
	after := atLeast(b, a)
	low := b ^ (a^b)&-after // the lower one of the two, and the other
	high := (a ^ b ^ low) + after
	c, _ := bits.Mul64(rest, n-2)
	c += atLeast(c, low)
	c += atLeast(c, high)
	into[0], into[1], into[2] = uint16(a), uint16(b+after), uint16(c)
}

// orders has the marks of all orders of up to four: of n, the first n! of orders[n].
var orders = func() (all [scanMax + 1][24]marks) {
	for n, count := 1, 1; n <= scanMax; n++ {
		for k := range count * n { // the last one is put in at each rank of each shorter order
			rank, m := uint8(k%n), all[n-1][k/n]
			for place := range n - 1 {
				if m[place]>>placeBits >= rank {
					m[place] += 1 << placeBits
				}
			}
			m[n-1] = rank<<placeBits | uint8(n-1)
			all[n][k] = m
		}
		count *= n
	}
	return all
}()

// factorials is how many orders there are.
var factorials = [scanMax + 1]uint64{1, 1, 2, 6, 24}

// drawOrder returns the marks of up to four open backends in a random order, by weight: of those that cost the
// same each is chosen as often as its weight says. From a random place on, the one after a busy backend would
// be chosen twice as often as others.
func (v *View) drawOrder(l *Local) *marks {
	n := len(v.order)
	if v.equal {
		k, _ := bits.Mul64(l.Random(), factorials[n])
		return &orders[n][k]
	}
	v.drawTable()
	return &orders[n][drawn(v.ranks, l.Random())]
}

// orderWeights returns how likely each of orders is when backends of these weights are drawn one after the other
// without replacement, in 2^-48.
func orderWeights(weights []uint64) []uint64 {
	n := len(weights)
	list := make([]uint64, factorials[n])
	for k := range list {
		var ranked [scanMax]float64
		for place, m := range orders[n][k][:n] {
			ranked[m>>placeBits] = float64(weights[place])
		}
		left, p := ranked[0]+ranked[1]+ranked[2]+ranked[3], float64(1<<48)
		for _, weight := range ranked[:n] {
			p *= weight / left
			left -= weight
		}
		list[k] = uint64(p)
	}
	return list
}

// scale maps 32 random bits to 0…n-1 (Lemire 2019, without the rejection: a bias of n/2³²).
func scale(word, n uint32) uint32 { return uint32(uint64(word) * uint64(n) >> 32) }

// atLeast returns 1 when x is y or more, else 0, without a branch: it would be mispredicted half of the time.
// Both are less than 2^63.
func atLeast(x, y uint64) uint64 { return 1 - (x-y)>>63 }
