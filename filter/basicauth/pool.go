package basicauth

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"sync"
)

// The bounds of all filters of the type in a process.
const (
	memoryMax  = 128 << 20 // bytes that the verifications which run take together
	waitingMax = 64        // passwords that wait
	waitingOf  = 16        // of them, those of one client
	partiesMax = 4096      // clients whose turns are known, and networks
)

// pool verifies passwords, on goroutines that end when none waits.
//
//	add ─► waiting, waitingMax, of a client waitingOf ─► one of workers, within memory ─► done
//	          └─ full: the last in turn of the party that has the most gives way ─► displaced
//
// Where one waits, a goroutine runs, which looks for it when it is done: alone, each has enough memory.
type pool struct {
	workers int

	mu      sync.Mutex
	running int                        // guarded by mu
	memory  int64                      // guarded by mu
	waiting []*attempt                 // guarded by mu; the oldest first
	parties [2]map[netip.Prefix]*party // networks, and clients; guarded by mu
	served  uint64                     // attempts that have begun; guarded by mu
}

// attempt is a password that is to be verified.
// Owned by the pool from add until done or displaced is called.
type attempt struct {
	ctx       context.Context // where it has ended nobody wants to know any more
	from      netip.Addr      // the client; the zero one: it has no address, as on a Unix socket
	hash      hash
	password  []byte
	done      func(same bool)
	displaced func() // another client's was taken in its place

	parties [2]*party // its network, and its client
}

// party is a client or a network of clients. Those take turns: first the one whose password was wrong the longest time
// ago, then the one that was served so. A client with a right password does not wait for those that guess.
// Guarded by the mu of its pool.
type party struct {
	waiting       int    // its attempts that wait
	wrong, served uint64 // when its last attempt with a wrong password, and its last one, began; 0: never
}

// shared is the pool of all filters: the processors and the memory are those of the process.
var shared = sync.OnceValue(func() *pool { return &pool{workers: max(1, runtime.GOMAXPROCS(0)/2)} })

// add takes an attempt, and reports false where too many of its client wait, or too many in all and none of them is of
// a client that has more. Safe for any goroutine.
func (p *pool) add(a *attempt) bool {
	last := p.place(a)
	if last != nil && last != a {
		clear(last.password)
		last.displaced()
	}
	return last != a
}

// place has a wait, or begin, and returns the attempt that gives way to it: a itself where there is no room for it.
func (p *pool) place(a *attempt) (last *attempt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.setParties(a)
	if a.from.IsValid() && a.parties[1].waiting >= waitingOf {
		return a
	}
	p.waiting = append(p.waiting, a)
	a.countWaiting(1)
	if len(p.waiting) > waitingMax {
		last = p.waiting[0]
		for _, other := range p.waiting {
			if other.compareToGiveWay(last) >= 0 {
				last = other
			}
		}
		p.take(last)
	}
	if p.running < p.workers {
		if next := p.next(); next != nil {
			p.running++
			go p.work(next)
		}
	}
	return last
}

// setParties finds the network and the client of a: its address, or the first 64 bits of an IPv6 one, which is what a
// client has, and 24 or 48 bits. Those that do not wait are forgotten where there are too many.
func (p *pool) setParties(a *attempt) {
	ip := a.from.Unmap().WithZone("")
	bits := [...]int{48, 64}
	if ip.Is4() {
		bits = [...]int{24, 32}
	}
	for i, known := range &p.parties {
		prefix, _ := ip.Prefix(bits[i]) // of no address it is the zero one
		if known[prefix] == nil {
			if known == nil {
				known = make(map[netip.Prefix]*party)
				p.parties[i] = known
			}
			for other, of := range known {
				if len(known) < partiesMax {
					break
				}
				if of.waiting == 0 {
					delete(known, other)
				}
			}
			known[prefix] = new(party)
		}
		a.parties[i] = known[prefix]
	}
}

// countWaiting adds n to the attempts of a's parties that wait.
func (a *attempt) countWaiting(n int) {
	for _, of := range a.parties {
		of.waiting += n
	}
}

// compareTurns is below 0 where a is served before b.
func (a *attempt) compareTurns(b *attempt) int {
	order := 0
	for i, of := range a.parties {
		other := b.parties[i]
		order = cmp.Or(order, cmp.Compare(of.wrong, other.wrong), cmp.Compare(of.served, other.served))
	}
	return order
}

// compareToGiveWay is above 0 where a gives way before b.
func (a *attempt) compareToGiveWay(b *attempt) int {
	order := 0
	for i, of := range a.parties {
		order = cmp.Or(order, cmp.Compare(of.waiting, b.parties[i].waiting))
	}
	return cmp.Or(order, a.compareTurns(b))
}

// next takes the attempt whose turn it is from those that wait; nil: there is none, or no memory for it. Guarded by mu.
func (p *pool) next() *attempt {
	if len(p.waiting) == 0 {
		return nil
	}
	a := slices.MinFunc(p.waiting, (*attempt).compareTurns)
	if p.memory+a.hash.memory() > memoryMax {
		return nil
	}
	p.served++
	for _, of := range a.parties {
		of.served = p.served
	}
	p.memory += a.hash.memory()
	return p.take(a)
}

// take removes a from those that wait. Guarded by mu.
func (p *pool) take(a *attempt) *attempt {
	i := slices.Index(p.waiting, a)
	p.waiting = slices.Delete(p.waiting, i, i+1)
	a.countWaiting(-1)
	return a
}

// work verifies a, and then those that wait.
func (p *pool) work(a *attempt) {
	for a != nil {
		a = p.end(a, a.run())
	}
}

// end notes that a has ended, and returns the next one; nil: the goroutine ends.
func (p *pool) end(a *attempt, same bool) *attempt {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.memory -= a.hash.memory()
	if !same {
		for _, of := range a.parties {
			of.wrong = of.served
		}
	}
	next := p.next()
	if next == nil {
		p.running--
	}
	return next
}

// run verifies a, and reports whether the password is right. A panic is a password that is wrong.
func (a *attempt) run() (same bool) {
	defer func() {
		if p := recover(); p != nil {
			slog.Error("a password could not be verified", "panic", p)
		}
		clear(a.password)
		a.done(same)
	}()
	if a.ctx.Err() == nil {
		same = a.hash.matches(a.password)
	}
	return same
}
