package balance

import (
	"fmt"
	"slices"
	"sync"
)

// Picker is a method of balancing at work: it chooses the backend that a request goes to. Each reactor has
// Pickers of its own, so that a Picker needs no lock and may keep state. Owned by one goroutine.
type Picker interface {
	// Pick returns the index of a backend that is open in v and that q has not tried, or -1 when there is none.
	// l is what the reactor knows of their load; it is nil for methods that do not look at it. Pick allocates
	// nothing, unless backends have come or gone.
	Pick(v *View, l *Local, q *Request) int
}

// Method is a way of balancing.
// Immutable.
type Method struct {
	Name string // as configurations spell it

	// New makes what picks on one of so many reactors.
	New func(reactor, reactors int) Picker

	// Hash makes the Request.Key of the bytes that belong together; nil: the method does not hash. key is
	// borrowed until return.
	Hash func(key []byte) uint64

	// Prepare makes what picks need of a View, on the goroutine that made the View and before any reactor has
	// it, since it may take milliseconds. nil: nothing. Without it the first pick pays.
	Prepare func(v *View)
}

// The methods of edge. Adaptive is the one to use where there is no reason for another. Those that look at
// load, and Random, need a Local.
var (
	// RoundRobin takes turns, each backend as often as its weight says. See Turns.
	RoundRobin = &Method{Name: "round_robin", New: newRoundRobin, Prepare: prepareTurns}
	// Random draws a backend by weight.
	Random = &Method{Name: "random", New: one(randomPicker{}), Prepare: prepareDraws}

	// LeastConn takes the backend with the fewest requests under way for its weight, of all up to 16, else of 8
	// draws, or in turns while there are none.
	LeastConn = &Method{
		Name: "least_conn", New: newIdleTurns(leastCostPicker{byLoad, drawsMax, leastScanMax}), Prepare: prepareBoth,
	}
	// P2C takes the one of two draws that has fewer requests under way (Mitzenmacher 2001); of four or fewer it looks
	// at all.
	P2C = &Method{Name: "p2c", New: one(&leastCostPicker{byLoad, 2, scanMax}), Prepare: prepareDraws}
	// Adaptive takes the one of three draws that has fewer requests under way for its weight and for how slow
	// it is beside the others; of four or fewer it looks at all. A failure counts as a slow answer. While
	// nothing is under way, it takes turns.
	Adaptive = &Method{Name: "adaptive", New: newIdleTurns(leastCostPicker{bySlow, 3, scanMax}), Prepare: prepareBoth}
	// PeakEWMA takes the one of two draws with less under way times the peak of its latency (Finagle's PeakEwma); of
	// four or fewer it looks at all. A backend that fails fast gets more than its share, as it does not with Adaptive.
	PeakEWMA = &Method{Name: "peak_ewma", New: one(&leastCostPicker{byPeak, 2, scanMax}), Prepare: preparePeaks}

	// Ketama takes the backend of the key on the ring of nginx's "hash … consistent".
	Ketama = &Method{Name: "ketama", New: newKetamaPicker, Hash: hashKetama, Prepare: func(v *View) { v.ring() }}
	// Maglev takes the backend of the key in a table (Eisenbud et al., NSDI 2016): more even than a ring, and
	// faster.
	Maglev = &Method{Name: "maglev", New: newMaglevPicker, Hash: hashMaglev, Prepare: func(v *View) { v.maglev() }}
	// IPHash takes the backend of the key, which is the client's address in 4 or 16 bytes, as nginx's ip_hash does.
	IPHash = &Method{Name: "ip_hash", New: newIPHashPicker, Hash: hashAddress, Prepare: func(v *View) { v.sums() }}
)

// one makes p, which has no state, the Picker of every reactor.
func one(p Picker) func(int, int) Picker { return func(int, int) Picker { return p } }

func newRoundRobin(reactor, reactors int) Picker {
	t := newTurns(reactor, reactors)
	return &t
}

func prepareTurns(v *View) { v.cycle() }
func prepareDraws(v *View) { v.drawTable() }

func prepareBoth(v *View) {
	v.drawTable()
	v.cycle()
}

func preparePeaks(v *View) {
	v.loads.keepPeaks()
	prepareDraws(v)
}

// methods is those that configurations may name.
var methods = struct {
	sync.Mutex
	list []*Method // guarded by the Mutex
}{list: []*Method{Adaptive, RoundRobin, Random, LeastConn, P2C, PeakEWMA, Ketama, Maglev, IPHash}}

// Register adds a method of a program's own, for configurations to name. It panics when the name is taken, or when
// there is no New. Safe for any goroutine.
func Register(m *Method) {
	methods.Lock()
	defer methods.Unlock()
	taken := slices.ContainsFunc(methods.list, func(o *Method) bool { return o.Name == m.Name })
	if m.Name == "" || m.New == nil || taken {
		panic(fmt.Sprintf("balance: a method called %q cannot be registered", m.Name))
	}
	methods.list = append(methods.list, m)
}

// ByName returns the method of that name, or nil. Safe for any goroutine.
func ByName(name string) *Method {
	methods.Lock()
	defer methods.Unlock()
	for _, m := range methods.list {
		if m.Name == name {
			return m
		}
	}
	return nil
}

// Names returns the names of all methods, the default one first. Safe for any goroutine.
func Names() (names []string) {
	methods.Lock()
	defer methods.Unlock()
	for _, m := range methods.list {
		names = append(names, m.Name)
	}
	return names
}
