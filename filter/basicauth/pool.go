package basicauth

import (
	"context"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
)

// The bounds of all filters of the type in a process.
const (
	memoryMax  = 128 << 20 // bytes that the verifications which run take together
	waitingMax = 64        // passwords that wait
	waitingOf  = 16        // of them, those of one client: else one that guesses would keep all others out
)

// pool verifies passwords, on goroutines that end when none waits.
//
//	add ─► waiting, waitingMax, of a client waitingOf ─► one of workers, within memory ─► done
//
// Where one waits, a goroutine runs, which looks for it when it is done: alone, each has enough memory.
type pool struct {
	workers int

	mu      sync.Mutex
	running int        // guarded by mu
	memory  int64      // guarded by mu
	waiting []*attempt // guarded by mu; the oldest first
}

// attempt is a password that is to be verified.
// Owned by the pool from add until done is called.
type attempt struct {
	ctx      context.Context // where it has ended nobody wants to know any more
	from     netip.Prefix    // the client; the zero one: it has no address, as on a Unix socket
	hash     hash
	password []byte
	done     func(same bool)
}

// shared is the pool of all filters: the processors and the memory are those of the process.
var shared = sync.OnceValue(func() *pool { return &pool{workers: max(1, runtime.GOMAXPROCS(0)/2)} })

// add takes an attempt, and reports false where too many wait, in all or of its client. Safe for any goroutine.
func (p *pool) add(a *attempt) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) >= waitingMax || a.from.IsValid() && p.waitingFrom(a.from) >= waitingOf {
		return false
	}
	p.waiting = append(p.waiting, a)
	if p.running < p.workers && p.fits() {
		p.running++
		go p.work(p.takeFirst())
	}
	return true
}

// waitingFrom returns how many of a client wait. Guarded by mu.
func (p *pool) waitingFrom(client netip.Prefix) (n int) {
	for _, a := range p.waiting {
		if a.from == client {
			n++
		}
	}
	return n
}

// clientOf returns whose attempts are counted together: those of an address, of IPv6 of the first 64 bits, which is
// what one client has.
func clientOf(ip netip.Addr) netip.Prefix {
	bits := 64
	if ip = ip.Unmap().WithZone(""); ip.Is4() {
		bits = 32
	}
	client, _ := ip.Prefix(bits) // of no address it is the zero one
	return client
}

// fits reports whether there is memory for the first that waits. Guarded by mu.
func (p *pool) fits() bool { return p.memory+p.waiting[0].hash.memory() <= memoryMax }

func (p *pool) takeFirst() *attempt {
	a := p.waiting[0]
	p.waiting[0] = nil
	p.waiting = p.waiting[1:]
	p.memory += a.hash.memory()
	return a
}

// work verifies a, and then those that wait.
func (p *pool) work(a *attempt) {
	for a != nil {
		a.run()
		a = p.next(a)
	}
}

// next gives back the memory of a and returns the first that waits; nil: the goroutine ends.
func (p *pool) next(a *attempt) *attempt {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.memory -= a.hash.memory()
	if len(p.waiting) > 0 && p.fits() {
		return p.takeFirst()
	}
	p.running--
	return nil
}

// run verifies a. A panic is a password that is wrong.
func (a *attempt) run() {
	same := false
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
}
