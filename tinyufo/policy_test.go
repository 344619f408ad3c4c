package tinyufo

import (
	"math/rand/v2"
	"testing"
)

// looked stands for the entries of a policy, and counts how often it asks for one.
type looked struct {
	words []sharedWord
	times int
}

func (l *looked) lane(i uint32) (word *sharedWord, shift uint) {
	l.times++
	return &l.words[i], 0
}

func (l *looked) evict(i uint32) { l.words[i].Store(0) }

// hitAll is as if each entry had been hit as often as is counted.
func (l *looked) hitAll() {
	for i := range l.words {
		l.words[i].Store(usesMax)
	}
}

// An insertion is short, whatever came before: the hand does not go round a shard where all was hit, and a share of the
// small queue that changes does not move all at once.
func TestPolicy_workOfOneInsertion(t *testing.T) {
	const capacity = 2000
	var p policy
	p.init(capacity, capacity+8, false, 1)
	entries := &looked{words: make([]sharedWord, capacity+16)}
	rng := rand.New(rand.NewPCG(1, 1))
	most := 0
	insert := func(n int) {
		for range n {
			entries.times = 0
			i := p.takeNode()
			p.nodes[i].hash = rng.Uint32()
			p.enqueue(i)
			p.settle(entries)
			most = max(most, entries.times)
			if p.small+p.main > p.capacity {
				t.Fatalf("%d in small, %d in main", p.small, p.main)
			}
		}
	}
	insert(2 * capacity)
	for range 100 {
		entries.hitAll()
		insert(1)
	}
	if want := reach + 3; most < reach || most > want {
		t.Errorf("an insertion among entries that were hit looked at %d, not at %d at most", most, want)
	}
	for i := range entries.words {
		entries.words[i].Store(0)
	}
	insert(capacity)
	was := p.target
	for range 8 {
		most, p.hitsSmall, p.hitsMain = 0, 100*capacity, 0
		insert(capacity)
	}
	if p.target < was+4*capacity/10 || most > 8 {
		t.Errorf("small's share went from %d to %d, with up to %d looks", was, p.target, most)
	}
	was = p.target
	for range 8 {
		most, p.hitsSmall, p.hitsMain = 0, 0, 100*capacity
		insert(capacity)
	}
	if p.target > was-4*capacity/10 || most > 8 {
		t.Errorf("small's share went from %d to %d, with up to %d looks", was, p.target, most)
	}
}
