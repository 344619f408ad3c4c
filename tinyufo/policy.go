package tinyufo

import (
	"math"

	"github.com/edge-proxy/edge/tinyufo/internal/sketch"
)

// The numbers come from the lab, bench/hitratio: each may be changed by a fifth for less than 0.1 points of hit ratio.
const (
	smallShare = 0.05 // of the capacity, for the queue of the new, in the beginning
	smallLeast = 0.01
	smallMost  = 0.90
	stepMost   = 0.10
	stepGain   = 0.04
	stepPace   = 2   // mean entries by which small's share moves with an insertion: no insertion moves a whole step
	hitsPrior  = 0.5 // hits for each entry that both queues are taken to have had: a few hits say little

	warmEnough = 6   // estimate from which an entry may come in although it lost
	mercy      = 127 // one of 128 such entries does: no user can keep main as it is by keeping it warm

	// reach is how many entries of main the hand looks at for one victim: where all were hit it would else go round
	// the whole shard, for ms. The last one then stands in the contest as it is.
	reach = 64

	// A sketch that forgets late knows best what is popular all the time, a sketch that forgets early knows best what
	// has become so. Which it is shows when the hand comes to entries of main for the first time: have they earned what
	// older ones earn?
	ageFirst  = 10 // counts of the sketch for each entry, until all are halved
	ageLeast  = 2
	ageMost   = 16
	ageLonger = 4.0 / 3
	ageSooner = 3.0 / 4
	lookLeast = 16 // newcomers that are enough to tell
	lookShare = 16 // and this part of the capacity
	idleShare = 12 // main is settled when fewer than one in so many old entries were idle for a round

	// When the load changes, main holds entries that are not read any more, and their counts are high. Probes find
	// that out: contests that are remembered until the loser is inserted again. Was the winner not used till then,
	// the contest was wrong. After wrongMost wrong ones in a row main is open: what leaves small comes in without
	// winning, until so many have come or used entries were met as there are entries.
	probesMost = 8
	probeEach  = 16 // lost contests
	wrongMost  = 5
	openStep   = 0.05 // of the capacity, that small gains for each further wrong contest
)

// Nodes 0 and 1 are the ends of the queues.
const (
	smallEnd = 0
	mainEnd  = 1
	nodeMin  = 2
)

// The high bits of the place of a node say which queue it is in.
const (
	inNone   place = 0 << 6
	inSmall  place = 1 << 6
	inMain   place = 2 << 6
	inPinned place = 3 << 6 // in no queue: never evicted

	queueMask place = 3 << 6
	young     place = 1 << 5 // in main, and the hand has not come to it yet
	removed   place = 0x07   // no place of any entry: its entry left the table before it was admitted
)

func (p place) queue() place { return p & queueMask }

// node stands for an entry in the queues, or is free.
type node struct {
	hash, next, prev uint32
}

// entries is what the policy asks of the table, for the entry of a node.
type entries interface {
	lane(i uint32) (word *sharedWord, shift uint) // where its uses are counted
	evict(i uint32)
}

// policy decides which entries stay: TinyUFO with its two weak points mended. New entries go through a small
// FIFO. What leaves it contests with the entry that main would give up next, and the one seen more often of
// late stays (W-TinyLFU). Main is a CLOCK: an entry that was hit since the hand passed it is passed again. Hits
// are counted in two bits by the readers, and poured into the sketch when an entry changes its place: a hit
// costs no more than the two bits. How large the small queue is follows from where a place earns more hits, the
// density of Caffeine's adaptive window. How soon the sketch forgets follows from how newcomers fare in main. When
// losers of contests are asked for again before the winners are, main opens for a while: see the probes.
//
// Guarded by the mutex of its shard.
//
//	0 <= small; 0 <= main; small + main <= capacity after settle
//	small, main == the weight of the nodes in the queue
//	live == the nodes in a queue or pinned
type policy struct {
	capacity, target int64 // weight in all; weight in small
	goal             int64 // where target is on its way to
	small, main      int64 // weight in each
	live             int
	hand             uint32
	free             uint32 // the first of the free nodes, 0 for none

	hitsSmall, hitsMain int // harvested since the last adaptation
	untilAdapt          int

	seen    bool // the hand has looked at its entry
	settled bool // few of main's entries are idle: an entry that was not used in small has to win by more
	ages    float64
	youngs  tally // what the hand has seen since ages was last changed
	olds    tally
	idle    int // of olds, those without a hit
	probes  [probesMost]probe
	lost    uint32 // contests, by the newcomer
	passed  uint32 // used entries of main, by the hand
	wrong   int    // probes in a row whose loser was asked for before the winner
	open    int    // entries that main takes in although they lost
	random  uint64
	fetched uint64 // what fetch has read, so that it is read

	nodes   []node
	at      []place
	weights []uint32 // nil when each is 1
	sketch  sketch.Sketch
}

// tally counts entries, and the hits that they had.
type tally struct{ entries, hits int }

// probe is a lost contest: the hash of the newcomer, and of the entry of main that stayed.
type probe struct {
	hash, other uint32
	node        uint32 // of other, 0 for a probe that is free
	passed      uint32 // as it was in the policy: unchanged while the hand has not left other because of a use
}

// init makes p ready for a capacity, and for so many nodes.
func (p *policy) init(capacity int64, nodes int, weighed bool, seed uint64) {
	*p = policy{random: seed | 1, hand: mainEnd, ages: ageFirst}
	p.nodes, p.at = make([]node, nodeMin), make([]place, nodeMin)
	if weighed {
		p.weights = make([]uint32, nodeMin)
	}
	p.nodes[mainEnd] = node{next: mainEnd, prev: mainEnd}
	p.extend(nodes)
	p.goal = -1
	p.resize(capacity)
	p.untilAdapt = p.entries()
}

// resize gives p another capacity, with the small queue's share of it as it was. Settle makes it hold.
func (p *policy) resize(capacity int64) {
	share := smallShare
	if p.goal >= 0 {
		share = float64(p.goal) / float64(p.capacity)
	}
	p.capacity = capacity
	p.goal = p.within(share * float64(capacity))
	p.target = p.goal
	p.setAges(p.ages)
}

// entries is about how many entries fit.
func (p *policy) entries() int {
	if p.weights == nil {
		return int(p.capacity)
	}
	return max(p.live, nodesFirst)
}

// setAges says how many counts for each entry the sketch takes until it halves them.
func (p *policy) setAges(a float64) {
	p.ages = min(max(a, ageLeast), ageMost)
	p.sketch.Period = int(p.ages * float64(p.entries()))
}

// within is t as a target: within its bounds.
func (p *policy) within(t float64) int64 {
	c := float64(p.capacity)
	return max(1, int64(min(max(t, smallLeast*c), smallMost*c)))
}

// extend makes n more nodes, and the sketch as large as there are nodes.
func (p *policy) extend(n int) {
	first := len(p.nodes)
	p.nodes = append(p.nodes, make([]node, n)...)
	p.at = append(p.at, make([]place, n)...)
	if p.weights != nil {
		p.weights = append(p.weights, make([]uint32, n)...)
	}
	for i := len(p.nodes) - 1; i >= first; i-- {
		p.freeNode(uint32(i))
	}
	p.sketch.Extend(len(p.nodes))
	p.setAges(p.ages)
}

func (p *policy) takeNode() uint32 {
	if p.free == 0 {
		p.extend(len(p.nodes))
	}
	i := p.free
	p.free = p.nodes[i].next
	return i
}

func (p *policy) freeNode(i uint32) {
	p.at[i] = inNone
	p.nodes[i].next = p.free
	p.free = i
}

func (p *policy) weight(i uint32) int64 {
	if p.weights == nil {
		return 1
	}
	return int64(p.weights[i])
}

// link puts node i into a queue, before node next.
func (p *policy) link(i, next uint32) {
	prev := p.nodes[next].prev
	p.nodes[i].next, p.nodes[i].prev = next, prev
	p.nodes[prev].next, p.nodes[next].prev = i, i
}

// enqueue takes a new entry into small.
func (p *policy) enqueue(i uint32) {
	p.live++
	p.sketch.Add(p.nodes[i].hash, 1)
	w := p.weight(i)
	if w == 0 {
		p.at[i] |= inPinned
		return
	}
	p.link(i, smallEnd)
	p.at[i] |= inSmall
	p.small += w
	if p.target != p.goal {
		pace := max(1, stepPace*p.capacity/int64(p.entries()))
		p.target += min(max(p.goal-p.target, -pace), pace)
	}
	if p.untilAdapt--; p.untilAdapt <= 0 {
		p.adapt()
	}
}

// dequeue takes a node out of its queue.
func (p *policy) dequeue(i uint32) {
	p.live--
	switch p.at[i].queue() {
	case inSmall:
		p.small -= p.weight(i)
	case inMain:
		p.main -= p.weight(i)
		if p.hand == i {
			p.hand, p.seen = p.nodes[i].next, false
		}
	default:
		return
	}
	n := &p.nodes[i]
	p.nodes[n.prev].next, p.nodes[n.next].prev = n.next, n.prev
	p.at[i] &^= queueMask | young
}

// reweigh gives a node that is not free another weight. An entry that becomes or ceases to be pinned begins anew.
func (p *policy) reweigh(i uint32, weight uint32) {
	switch was := p.weights[i]; {
	case was == 0 || weight == 0:
		p.dequeue(i)
		p.at[i] &^= queueMask
		p.weights[i] = weight
		p.enqueue(i)
	case p.at[i].queue() == inSmall:
		p.small += int64(weight) - int64(was)
	default:
		p.main += int64(weight) - int64(was)
	}
	p.weights[i] = weight
}

// fetch reads the lines that settle needs for its first contest, all at once. They are seldom in a cache, and to
// wait for one after the other is most of what an insertion into a large cache takes.
func (p *policy) fetch(hash uint32, of entries) {
	if p.small+p.main < p.capacity || p.nodes[smallEnd].next == smallEnd {
		return
	}
	hand := p.hand
	if hand == mainEnd {
		return
	}
	old, next := p.nodes[p.nodes[smallEnd].next], p.nodes[hand]
	wordOld, _ := of.lane(p.nodes[smallEnd].next)
	wordNext, _ := of.lane(hand)
	p.fetched = wordOld.Load() ^ wordNext.Load() ^
		p.sketch.Peek(hash) ^ p.sketch.Peek(old.hash) ^ p.sketch.Peek(next.hash) ^
		uint64(p.nodes[old.next].hash^p.nodes[next.next].hash^p.nodes[next.prev].hash)
}

// settle evicts until neither queue, nor both together, hold more than they should.
func (p *policy) settle(of entries) {
	for p.small > p.target || p.small+p.main > p.capacity {
		if p.small <= p.target { // the small queue's share has grown, or the capacity has shrunk
			p.drop(p.victim(of), of)
			continue
		}
		p.promote(p.nodes[smallEnd].next, of)
	}
}

// promote moves the oldest of small to main if there is room, or if it is worth more than each entry it displaces.
func (p *policy) promote(i uint32, of entries) {
	room := p.capacity - p.target - p.weight(i)
	word, shift := of.lane(i)
	as := inMain
	if p.main > 0 && p.main > room {
		uses := int(word.Load() >> shift & usesMax)
		p.hitsSmall += uses
		hash := p.nodes[i].hash
		p.sketch.Add(hash, uses)
		for p.main > 0 && p.main > room {
			v := p.victim(of)
			if !p.beats(hash, p.nodes[v].hash, uses) {
				p.remember(hash, v, of)
				p.drop(i, of)
				return
			}
			p.drop(v, of)
		}
		as |= young
	}
	word.And(^(uint64(usesMax) << shift))
	p.nodes[p.nodes[i].next].prev, p.nodes[smallEnd].next = smallEnd, p.nodes[i].next
	p.link(i, p.hand)
	p.at[i] ^= inSmall | as
	p.small -= p.weight(i)
	p.main += p.weight(i)
}

// beats reports whether an entry with uses in small takes the place of another in main.
func (p *policy) beats(hash, other uint32, uses int) bool {
	need := 1
	if p.settled && uses == 0 {
		need = 2
	}
	seen := p.sketch.Estimate(hash)
	if seen-p.sketch.Estimate(other) >= need || seen >= warmEnough && p.roll()&mercy == 0 {
		return true
	}
	if p.open == 0 {
		return false
	}
	p.open--
	return true
}

// probeOf is where a lost contest of a newcomer is remembered.
func (p *policy) probeOf(hash uint32) *probe { return &p.probes[hash*0x9e3779b1>>(32-3)] }

// remember takes one of so many lost contests as a probe.
func (p *policy) remember(hash, v uint32, of entries) {
	if p.lost++; p.lost%probeEach != 0 {
		return
	}
	b := p.probeOf(hash)
	if b.node != 0 {
		idle, used := p.winner(b, of)
		if idle {
			return // it is not decided yet
		}
		if used {
			p.wrong = 0
		}
	}
	*b = probe{hash: hash, other: p.nodes[v].hash, node: v, passed: p.passed}
}

// winner reports whether the entry that stayed is in main unused, or is there and was used. Neither: it has left.
func (p *policy) winner(b *probe, of entries) (idle, used bool) {
	if p.at[b.node].queue() != inMain || p.nodes[b.node].hash != b.other {
		return false, false
	}
	word, shift := of.lane(b.node)
	idle = b.passed == p.passed && word.Load()>>shift&usesMax == 0
	return idle, !idle
}

// judge closes the probe of a newcomer that is inserted again.
func (p *policy) judge(hash uint32, of entries) {
	b := p.probeOf(hash)
	if b.node == 0 || b.hash != hash {
		return
	}
	switch idle, used := p.winner(b, of); {
	case used:
		p.wrong = 0
	case idle:
		if p.wrong = min(p.wrong+1, wrongMost); p.wrong == wrongMost {
			p.open = p.entries()
			p.goal = p.within(float64(p.goal) + math.Ceil(openStep*float64(p.capacity)))
		}
	}
	b.node = 0
}

// victim is the first entry from the hand on that was not hit since the hand passed it, or an entry that was and lies
// reach further. The hand stays. Main is not empty.
func (p *policy) victim(of entries) uint32 {
	for range reach {
		if p.hand == mainEnd {
			p.hand = p.nodes[mainEnd].next
		}
		v := p.hand
		word, shift := of.lane(v)
		uses := int(word.Load() >> shift & usesMax)
		if !p.seen {
			p.seen = true
			p.look(v, uses)
		}
		if uses == 0 {
			return v
		}
		p.hitsMain += uses
		p.sketch.Add(p.nodes[v].hash, 1)
		word.Add(-(1 << shift)) // readers only add to it, and no other shard has this lane
		p.hand, p.seen = p.nodes[v].next, false
		p.passed++
		p.open = max(0, p.open-1)
	}
	if p.hand == mainEnd {
		p.hand = p.nodes[mainEnd].next
	}
	return p.hand
}

// look takes note of an entry of main that the hand has come to, and now and then draws the conclusion.
func (p *policy) look(v uint32, uses int) {
	if p.at[v]&young != 0 {
		p.at[v] &^= young
		p.youngs.entries++
		p.youngs.hits += uses
	} else {
		p.olds.entries++
		p.olds.hits += uses
		if uses == 0 {
			p.idle++
		}
	}
	if p.youngs.entries < max(lookLeast, p.entries()/lookShare) {
		return
	}
	p.settled = idleShare*p.idle < p.olds.entries+1
	// Do newcomers earn more than two thirds of what old ones earn?
	switch {
	case 3*(p.youngs.hits+1)*(p.olds.entries+1) <= 2*(p.olds.hits+1)*p.youngs.entries:
		p.setAges(p.ages * ageLonger)
	case !p.settled:
		p.setAges(p.ages * ageSooner)
	}
	p.youngs, p.olds, p.idle = tally{}, tally{}, 0
}

// drop evicts the entry of a node in a queue.
func (p *policy) drop(i uint32, of entries) {
	of.evict(i)
	p.dequeue(i)
	p.freeNode(i)
}

// adapt makes the share of small move towards the queue in which a place has earned more hits. It runs once for as many
// insertions as there are entries.
func (p *policy) adapt() {
	p.untilAdapt = p.entries()
	c, t := float64(p.capacity), float64(p.target)
	each := float64(p.entries()) / c // entries for each unit of the capacity
	d := math.Log((float64(p.hitsSmall)/(each*t) + hitsPrior) / (float64(p.hitsMain)/max(each*(c-t), 1) + hitsPrior))
	p.goal = p.within(t + math.Copysign(math.Ceil(min(stepMost, stepGain*math.Abs(d))*c), d))
	p.hitsSmall, p.hitsMain = 0, 0
	p.setAges(p.ages)
}

// roll is the next number of a xorshift generator.
func (p *policy) roll() uint64 {
	p.random ^= p.random << 13
	p.random ^= p.random >> 7
	p.random ^= p.random << 17
	return p.random
}
