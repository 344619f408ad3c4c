package sim

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/poller"
)

// Net says how the simulated network behaves when nothing fails. Changed before first use.
type Net struct {
	BufferMin, BufferMax   int           // size of a socket's buffers, drawn per end, small ones as likely as large
	SegmentMin, SegmentMax int           // largest segment of a connection, drawn per end likewise
	DelayMax               time.Duration // a segment takes mostly far less
	TickCost               time.Duration // at most so much time passes in each Wait
	ConnectNow             float64       // how often a TCP connect stands at once
	Stall                  float64       // how often a Peer stops reading for up to DelayMax after a segment

	// How datagrams travel from one address to another.
	Latency         time.Duration // a datagram takes so long at least
	Spread          time.Duration // and up to so much more, mostly far less: later ones overtake it; 0: none do
	Loss, Duplicate float64       // how often one is lost, or comes twice
	Corrupt         float64       // how often one bit of it changes
	MTU             int           // longer packets are lost, with their headers of 28 or 48 bytes; 0: none
	Rate, Queue     int           // bytes a second that get through, and bytes that wait; 0: as many as there are
}

// Faults are the probabilities of what goes wrong. The zero value: nothing does.
type Faults struct {
	AcceptAborted      float64 // accept says ECONNABORTED, the connection is gone
	AcceptFull         float64 // accept says EMFILE, the connection goes on waiting and makes no new edge
	ConnectRefused     float64 // connect fails later with ECONNREFUSED
	ConnectTimeout     float64 // connect fails after 127 s with ETIMEDOUT
	ConnectUnreachable float64 // connect fails at once with ENETUNREACH
	UnixAgain          float64 // connect to a Unix socket says EAGAIN: its backlog is full
	ShortWrite         float64 // a write takes only some of what there is room for
	Reset              float64 // a segment is lost and both ends see RST
	NoPipe             float64 // pipe says EMFILE, ENOMEM or EPERM
	ShortSplice        float64 // a splice moves only some of what it could
	RunInvalid         float64 // a run of datagrams does not leave: EIO or EINVAL
	DatagramRefused    float64 // a message does not leave: ENETUNREACH, EPERM and the like
	SpliceInvalid      float64 // splice says EINVAL, or as those say that filter system calls: EPERM and kin
}

// Ticker is what a World steps: a reactor.
type Ticker interface {
	// Tick waits on the reactor's Kernel once and does what became due.
	Tick()
}

// World is a simulated machine with its network. Owned by one goroutine.
//
//	events due have been run when a call of a Kernel returns, the test's own (At, Handle) when Wait does
//	an end of a connection has at most one segment under way, so its bytes cannot overtake each other
type World struct {
	Net    Net
	Faults Faults
	// Outside, if set, reports whether other goroutines are at work that will call Wake. While they are, Run does not
	// take silence for a deadlock.
	Outside func() bool

	seed    uint64
	rng     *rand.Rand
	now     int64
	events  queue   // the network's
	scripts queue   // the test's: At, Handle
	files   []*file // by descriptor
	kernels []*Kernel
	doors   []*door
	peers   []*Peer
	dialled []*DatagramPeer
	links   map[link]int64 // until when a datagram takes each
	port    uint16
	tickers []Ticker
	turns   []int
	steps   int
	trace   trace
	err     error
}

// clockStart is not 0: Wait takes 0 for "do not sleep".
const clockStart = int64(time.Second)

// NewWorld returns a World in which everything follows from seed and from what the test does.
func NewWorld(seed uint64) *World {
	return &World{
		Net: Net{
			BufferMin: 256, BufferMax: 256 << 10,
			SegmentMin: 16, SegmentMax: 64 << 10,
			DelayMax: 5 * time.Millisecond, TickCost: 10 * time.Microsecond,
			ConnectNow: 0.125, Stall: 0.01, Spread: 5 * time.Millisecond,
		},
		seed: seed, rng: rand.New(rand.NewPCG(seed, 0x65646765)), now: clockStart,
		files: make([]*file, firstFD), port: 40000, links: map[link]int64{},
	}
}

// Kernel returns the kernel of reactor i, made when asked for the first time. The clock stands until each kernel that
// was made has waited, so make those that are used.
func (w *World) Kernel(i int) *Kernel {
	for len(w.kernels) <= i {
		w.kernels = append(w.kernels, &Kernel{w: w, index: len(w.kernels)})
	}
	return w.kernels[i]
}

// Add lets Step and Run tick t.
func (w *World) Add(t Ticker) {
	w.tickers = append(w.tickers, t)
	w.turns = w.turns[:0]
}

// At runs f when the clock has reached at (as Now gives it), or at once when it has. f runs inside some kernel's Wait,
// or in Step when there is no ticker: it may drive peers and post to reactors, not call into one.
func (w *World) At(at int64, f func()) { w.scripts.push(w, event{at: at, run: f}) }

// After runs f when d has passed; see At.
func (w *World) After(d time.Duration, f func()) { w.At(w.now+int64(d), f) }

// Step lets the next ticker have its turn; within a round the order is seeded. Without tickers it moves the clock to
// the next event.
func (w *World) Step() {
	w.steps++
	if len(w.tickers) == 0 {
		if at, ok := w.next(); ok {
			w.advance(max(w.now, at), true)
		}
		return
	}
	if len(w.turns) == 0 {
		w.turns = append(w.turns[:0], w.rng.Perm(len(w.tickers))...)
	}
	next := w.turns[len(w.turns)-1]
	w.turns = w.turns[:len(w.turns)-1]
	w.tickers[next].Tick()
}

// Run steps until until says so. It fails, with the state of the World in the error, after max steps, when nothing
// can happen any more, or when a kernel was misused.
func (w *World) Run(until func() bool, max int) error {
	silent := 0
	for range max {
		if w.err != nil {
			return w.failure(w.err.Error())
		}
		if until() {
			return nil
		}
		switch {
		case !w.stuck():
			silent = 0
		case w.Outside != nil && w.Outside():
			runtime.Gosched()
		default:
			silent++
		}
		if silent > 3*len(w.tickers) {
			return w.failure("deadlock: nothing can happen any more")
		}
		w.Step()
	}
	if w.err == nil && until() {
		return nil
	}
	return w.failure(fmt.Sprintf("not done after %d steps", max))
}

// Now reads the simulated clock, in nanoseconds.
func (w *World) Now() int64 { return w.now }

// Seed is what NewWorld was given.
func (w *World) Seed() uint64 { return w.seed }

// Rand is the World's source of chance, for tests that want their own choices to follow from the seed too.
func (w *World) Rand() *rand.Rand { return w.rng }

// Err is the first misuse of a kernel.
func (w *World) Err() error { return w.err }

// OpenFDs lists the descriptors that are open, listening ones included.
func (w *World) OpenFDs() []poller.FD {
	var open []poller.FD
	for fd, f := range w.files {
		if f != nil {
			open = append(open, poller.FD(fd))
		}
	}
	return open
}

// OpenSockets is OpenFDs without pipes, of which a reactor keeps some for their next use.
func (w *World) OpenSockets() []poller.FD {
	var open []poller.FD
	for _, fd := range w.OpenFDs() {
		if w.files[fd].pipe == nil {
			open = append(open, fd)
		}
	}
	return open
}

// Dump describes the World: clock, kernels, descriptors, peers and the latest calls.
func (w *World) Dump() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d, clock %v, %d steps, %d events to come\n",
		w.seed, time.Duration(w.now-clockStart), w.steps, len(w.events)+len(w.scripts))
	for _, k := range w.kernels {
		fmt.Fprintf(&b, "  kernel %d: %s\n", k.index, k.describe())
	}
	for _, f := range w.files {
		if f != nil {
			fmt.Fprintf(&b, "  fd %d: %s\n", f.fd, f.describe())
		}
	}
	for i, p := range w.peers {
		if i == dumpPeersMax {
			fmt.Fprintf(&b, "  … and %d more peers\n", len(w.peers)-i)
			break
		}
		fmt.Fprintf(&b, "  %s\n", p)
	}
	for _, p := range w.dialled[:min(len(w.dialled), dumpPeersMax)] {
		fmt.Fprintf(&b, "  %s\n", p)
	}
	w.trace.dump(&b)
	return b.String()
}

const dumpPeersMax = 64

func (w *World) failure(what string) error { return fmt.Errorf("sim: %s\n%s", what, w.Dump()) }

// misuse remembers the first call that no correct reactor makes.
func (w *World) misuse(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf("misuse: "+format, args...)
	}
}

// stuck reports whether only the test itself could still make something happen.
func (w *World) stuck() bool {
	return len(w.events)+len(w.scripts) == 0 && !slices.ContainsFunc(w.kernels, func(k *Kernel) bool {
		return k.runnable() || !k.shut && k.until >= 0
	})
}

// after runs f later, as part of the network.
func (w *World) after(d int64, f func()) { w.events.push(w, event{at: w.now + d, run: f}) }

// next is when the next event happens.
func (w *World) next() (at int64, ok bool) {
	if len(w.events) > 0 {
		at, ok = w.events[0].at, true
	}
	if len(w.scripts) > 0 && (!ok || w.scripts[0].at < at) {
		at, ok = w.scripts[0].at, true
	}
	return at, ok
}

// advance moves the clock to at and runs what is due. Without scripts it leaves the test's part for later: a reactor
// is in the middle of something.
func (w *World) advance(at int64, scripts bool) {
	for {
		from := &w.events
		if scripts && len(w.scripts) > 0 && (len(w.events) == 0 || w.scripts[0].before(&w.events[0])) {
			from = &w.scripts
		}
		if len(*from) == 0 || (*from)[0].at > at {
			break
		}
		e := from.pop()
		w.now = max(w.now, e.at)
		if e.flight != nil {
			e.flight.land()
		} else {
			e.run()
		}
	}
	w.now = max(w.now, at)
}

// drift lets a moment pass in the middle of a tick, so that something may arrive between two calls.
func (w *World) drift() { w.advance(w.now+w.rng.Int64N(300), false) }

func (w *World) oneOf(errnos ...syscall.Errno) syscall.Errno { return errnos[w.rng.IntN(len(errnos))] }

func (w *World) chance(p float64) bool { return p > 0 && w.rng.Float64() < p }

// delay draws how long a segment travels.
func (w *World) delay() int64 { return w.draw(w.Net.DelayMax) }

// draw draws a time: mostly next to nothing, now and then up to most.
func (w *World) draw(most time.Duration) int64 {
	limit := int64(most)
	switch d := w.rng.IntN(16); {
	case d < 8:
		limit = min(limit, int64(2*time.Microsecond))
	case d < 14:
		limit = min(limit, int64(100*time.Microsecond))
	case d < 15:
		limit = min(limit, int64(time.Millisecond))
	}
	return w.rng.Int64N(limit + 1)
}

// size draws between lo and hi, each power of two as likely as another.
func (w *World) size(lo, hi int) int {
	if lo >= hi {
		return max(lo, 1)
	}
	base := lo << w.rng.IntN(bits.Len(uint(hi/lo)))
	return min(hi, base+w.rng.IntN(base))
}

// event is something that will happen: a segment lands, or run is called.
type event struct {
	at     int64
	order  uint64 // chance decides between events of one moment
	flight *end
	run    func()
}

func (e *event) before(o *event) bool { return e.at < o.at || e.at == o.at && e.order < o.order }

// queue is a binary heap, the earliest event first.
type queue []event

func (q *queue) push(w *World, e event) {
	e.order = w.rng.Uint64()
	*q = append(*q, e)
	h := *q
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h[i].before(&h[up]) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

func (q *queue) pop() event {
	h := *q
	top, last := h[0], len(h)-1
	h[0], h[last] = h[last], event{}
	h = h[:last]
	*q = h
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < last; c++ {
			if h[c].before(&h[least]) {
				least = c
			}
		}
		if least == i {
			return top
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
