package ketama

// Bound is what PickBounded is told of all servers together.
type Bound struct {
	// Factor is how much of the mean load a server may have, in percent: with 125 none has more than a quarter above
	// it. Below 100 there are fewer slots than requests.
	Factor int

	// Served is the sum of the loads of all servers that are up.
	Served int

	// Weight is the sum of the weights of all servers that are up. 0 says that all are.
	Weight int
}

// slots returns how many requests server i may have at a time: its part, by weight, of Factor percent of all requests
// and the one to come, rounded up, and at least 1. What whole slots for each unit of weight leave over is spread over
// the servers in their order, by the sums of weights up to each of them, as HAProxy does with hash-balance-factor.
func (m *members) slots(i int, b Bound) int {
	total := ((1+b.Served)*b.Factor + 99) / 100
	weights := b.Weight
	if weights == 0 {
		weights = m.total
	}
	each, rest := total/weights, total%weights
	before, own := m.cumulative[i], m.servers[i].weight()
	return max(own*each+(before+own)*rest/weights-before*rest/weights, 1)
}

// pickBounded returns the first server of w with a free slot. When none has one, it returns the one whose load is the
// least part of its slots; -1 when all are down.
func (m *members) pickBounded(w walk, b Bound, load func(i int) int) int {
	least, leastLoad, leastSlots := -1, 1, 0
	for i := w.next(); i >= 0; i = w.next() {
		n := load(i)
		if n < 0 {
			continue
		}
		slots := m.slots(i, b)
		if n < slots {
			return i
		}
		if n*leastSlots < leastLoad*slots { // n/slots < leastLoad/leastSlots, which begins as infinity
			least, leastLoad, leastSlots = i, n, slots
		}
	}
	return least
}
