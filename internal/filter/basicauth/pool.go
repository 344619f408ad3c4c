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
	waitingOf  = 16        // of them, passwords of one client
	partiesMax = 8192      // clients whose turns are known, and networks
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
	running int                     // guarded by mu
	memory  int64                   // guarded by mu
	waiting []*attempt              // guarded by mu; the oldest first
	parties map[netip.Prefix]*party // guarded by mu
	wrong   uint64                  // attempts so far that were wrong; guarded by mu
}

// attempt is a password that is to be verified.
// Owned by the pool from add until done or displaced is called.
type attempt struct {
	ctx       context.Context // where it has ended the result is not wanted any more
	from      netip.Addr      // the client; the zero one: it has no address, as on a Unix socket
	hash      hash
	password  []byte
	done      func(same bool)
	displaced func() // is called where it gives way to one of another client

	parties [2]*party // its network, and its client
}

// party is a client or a network of clients. They take turns: first the one whose last wrong password is the oldest, so
// that a client with a right one does not wait for those that guess.
// Guarded by the mu of its pool.
type party struct {
	waiting uint64 // its attempts that wait
	wrong   uint64 // the number of its last wrong one; 0: none
}

func byWaiting(p *party) uint64 { return p.waiting }
func byWrong(p *party) uint64   { return p.wrong }

// shared is the pool of all filters: the processors and the memory belong to the process.
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

// place makes a wait, or begin, and returns the attempt that gives way to it: a itself where there is no room for it.
func (p *pool) place(a *attempt) (last *attempt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.setParties(a)
	if a.from.IsValid() && a.parties[1].waiting >= waitingOf {
		return a
	}
	p.waiting = append(p.waiting, a)
	for _, of := range a.parties {
		of.waiting++
	}
	if len(p.waiting) > waitingMax {
		last = a
		for _, b := range slices.Backward(p.waiting) {
			if cmp.Or(b.compare(last, byWaiting), b.compare(last, byWrong)) > 0 {
				last = b
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

// setParties finds the network and the client of a: the first 24 bits of its address and all of it, of an IPv6 one the
// first 48 and 64, which is what a client has. A client that does not wait is forgotten where there are too many.
func (p *pool) setParties(a *attempt) {
	if p.parties == nil {
		p.parties = make(map[netip.Prefix]*party)
	}
	ip, bits := a.from.Unmap().WithZone(""), [...]int{48, 64}
	if ip.Is4() {
		bits = [...]int{24, 32}
	}
	for i := range bits {
		prefix, _ := ip.Prefix(bits[i]) // of no address it is the zero one
		for other, of := range p.parties {
			if len(p.parties) < partiesMax {
				break
			}
			if of.waiting == 0 {
				delete(p.parties, other)
			}
		}
		if p.parties[prefix] == nil {
			p.parties[prefix] = new(party)
		}
		a.parties[i] = p.parties[prefix]
	}
}

// compare compares the networks of a and b by a number, then the clients.
func (a *attempt) compare(b *attempt, by func(*party) uint64) int {
	return cmp.Or(cmp.Compare(by(a.parties[0]), by(b.parties[0])), cmp.Compare(by(a.parties[1]), by(b.parties[1])))
}

// next takes the attempt whose turn it is from those that wait; nil: there is none, or no memory for it. Guarded by mu.
func (p *pool) next() *attempt {
	if len(p.waiting) == 0 {
		return nil
	}
	a := slices.MinFunc(p.waiting, func(a, b *attempt) int { return a.compare(b, byWrong) })
	if p.memory+a.hash.memory() > memoryMax {
		return nil
	}
	p.memory += a.hash.memory()
	p.take(a)
	return a
}

// take removes a from those that wait. Guarded by mu.
func (p *pool) take(a *attempt) {
	i := slices.Index(p.waiting, a)
	p.waiting = slices.Delete(p.waiting, i, i+1)
	for _, of := range a.parties {
		of.waiting--
	}
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
		p.wrong++
		for _, of := range a.parties {
			of.wrong = p.wrong
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
