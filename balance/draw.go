package balance

import "math/bits"

// column is one column of an alias table (Walker 1977, Vose 1991): of the values that fall on it, those below threshold
// are its own backend's, the others are alias's. Both are indices.
type column struct {
	threshold  uint32
	own, alias uint16
}

// columns returns what draws open backends by weight: nil where all weights are equal.
func (v *View) columns() []column {
	if v.equal {
		return nil
	}
	v.aliasOnce.Do(v.fillColumns)
	return v.table
}

// fillColumns makes the alias table: columns that are too low are filled up from one that is too high.
func (v *View) fillColumns() {
	n := uint64(len(v.order))
	v.table = make([]column, n)
	total := uint64(0)
	for _, i := range v.order {
		total += uint64(v.backends[i].Weight)
	}
	left := make([]uint64, n) // in 1/n of a weight: total fills a column
	var low, high []int
	for k, i := range v.order {
		left[k] = uint64(v.backends[i].Weight) * n
		v.table[k] = column{1<<32 - 1, i, i}
		if left[k] < total {
			low = append(low, k)
		} else {
			high = append(high, k)
		}
	}
	for len(low) > 0 && len(high) > 0 {
		from, to := high[len(high)-1], low[len(low)-1]
		low = low[:len(low)-1]
		threshold, _ := bits.Div64(left[to]>>32, left[to]<<32, total)
		v.table[to].threshold, v.table[to].alias = uint32(threshold), v.order[from]
		if left[from] -= total - left[to]; left[from] < total {
			high, low = high[:len(high)-1], append(low, from)
		}
	}
}

// draw returns the open backend that a random word falls on, by weight.
func (v *View) draw(word uint64) int {
	hi, lo := bits.Mul64(word, uint64(len(v.order)))
	if v.equal {
		return int(v.order[hi])
	}
	c := &v.columns()[hi]
	if uint32(lo>>32) < c.threshold {
		return int(c.own)
	}
	return int(c.alias)
}

// drawsMax is how many backends a method draws at the most.
const drawsMax = 8

// drawDistinct draws so many different open backends, by weight: fewer than there are. It returns how many it found,
// which is less only where a few backends have nearly all of the weight.
//
// Distinct, since drawing with replacement sends a slow backend the square of its share: HAProxy's random(2) has one of
// four slow ones get 10 % of the requests.
func (v *View) drawDistinct(l *Local, into *[drawsMax]uint16, count int) int {
	if v.equal {
		v.drawPlaces(l, into, count)
		return count
	}
	found := 0
	for range 3 * count {
		i := uint16(v.draw(l.Random()))
		if has(into[:found], i) {
			continue
		}
		into[found] = i
		if found++; found == count {
			break
		}
	}
	return found
}

func has(list []uint16, i uint16) bool {
	for _, other := range list {
		if other == i {
			return true
		}
	}
	return false
}

// drawPlaces draws places of order without replacement: the k-th of what is left, where those before it are skipped in
// ascending order.
func (v *View) drawPlaces(l *Local, into *[drawsMax]uint16, count int) {
	n := uint32(len(v.order))
	word := l.Random()
	a := scale(uint32(word), n)
	b := scale(uint32(word>>32), n-1)
	b += above(b, a)
	into[0], into[1] = v.order[a], v.order[b]
	if count == 2 {
		return
	}
	word = l.Random()
	c := scale(uint32(word), n-2)
	c += above(c, min(a, b))
	c += above(c, max(a, b))
	if into[2] = v.order[c]; count == 3 {
		return
	}
	for found := 3; found < count; {
		if i := v.order[scale(uint32(l.Random()), n)]; !has(into[:found], i) {
			into[found] = i
			found++
		}
	}
}

// scale maps 32 random bits to 0…n-1 (Lemire 2019, without the rejection: a bias of n/2³²).
func scale(word, n uint32) uint32 { return uint32(uint64(word) * uint64(n) >> 32) }

// above returns 1 when x >= y, else 0, without a branch: it would be mispredicted half of the time.
func above(x, y uint32) uint32 { return 1 - uint32((uint64(x)-uint64(y))>>63) }
