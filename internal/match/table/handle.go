package table

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// List is a set of addresses and prefixes, or of texts. Safe for any goroutine.
type List struct{ handle }

// Map leads from addresses and prefixes, or from texts, to texts. Safe for any goroutine.
type Map struct{ handle }

// NewList makes a list that has nothing.
func NewList(name string, o Options) *List {
	l := &List{}
	l.init(name, o, false)
	return l
}

// NewMap makes a map that has nothing.
func NewMap(name string, o Options) *Map {
	m := &Map{}
	m.init(name, o, true)
	return m
}

// HasAddr reports whether an address, or a prefix that has it, is in a list of addresses. IPv4 in IPv6 form is IPv4,
// and a zone is not looked at.
func (l *List) HasAddr(a netip.Addr) bool {
	if !a.IsValid() {
		return false
	}
	g := l.current.Load()
	p, is4 := placeOf(a)
	of := g.v6
	if is4 {
		of = g.v4
	}
	is := of.has(p)
	runtime.KeepAlive(g)
	return is
}

// HasText reports whether a text is in a list of texts. text is borrowed until return.
func (l *List) HasText(text []byte) bool {
	g := l.current.Load()
	is := g.texts.ref(text) != 0
	runtime.KeepAlive(g)
	return is
}

// Addr returns the value of the longest prefix that has an address, in a map of addresses. It stays valid when the map
// is swapped, and must not be written. IPv4 in IPv6 form is IPv4, and a zone is not looked at.
func (m *Map) Addr(a netip.Addr) (value []byte, ok bool) {
	if !a.IsValid() {
		return nil, false
	}
	g := m.current.Load()
	p, is4 := placeOf(a)
	of := g.v6
	if is4 {
		of = g.v4
	}
	return g.value(of.ref(p))
}

// Text returns the value of a key, in a map of texts. It stays valid when the map is swapped, and must not be written.
// key is borrowed until return.
func (m *Map) Text(key []byte) (value []byte, ok bool) {
	g := m.current.Load()
	return g.value(g.texts.ref(key))
}

// value returns the value of a ref, which was read from memory of g.
func (g *generation) value(ref uint32) (value []byte, ok bool) {
	if ref != 0 {
		value, ok = g.values.get(ref), true
	}
	runtime.KeepAlive(g)
	return value, ok
}

// handle is what lists and maps have in common.
type handle struct {
	current atomic.Pointer[generation] // never nil

	name  string
	opts  Options
	pairs bool // of a map

	building sync.Mutex
	// Guarded by building.
	alive []*memory // with mapped parts that are not free yet
	looks uint64    // at sources so far
	small [32]byte  // the sum of a content with half of the entries or less, which a Refresh has found once

	state sync.Mutex
	// Guarded by state, as are stores to current.
	origin origin
}

// origin is where the current generation comes from.
type origin struct {
	source Source
	sum    [32]byte
	stamp  stamp
	look   uint64 // that has found it: a later one has seen what is newer
}

func (h *handle) init(name string, o Options, pairs bool) {
	o.setDefaults()
	h.name, h.opts, h.pairs = name, o, pairs
	h.current.Store(&generation{v4: &ranges{}, v6: &ranges{}, memory: &memory{}})
}

// Name is the name that the table was made with.
func (h *handle) Name() string { return h.name }

// Keys is what the table is asked by.
func (h *handle) Keys() Keys { return h.opts.Keys }

// Stats describe the current generation.
func (h *handle) Stats() Stats { return h.current.Load().stats }

// Update is a generation that was built, or the current one when nothing has changed.
type Update struct {
	Changed bool
	Stats   Stats
	Notes   []string // what the operator should know: that a file has no entries

	handle     *handle
	generation *generation
	origin     origin
}

// Commit makes the generation the current one, with an atomic store. It does not wait for a build. Once more it does
// nothing, and neither does it where the same source was looked at later, by a Refresh that has overtaken it.
func (u *Update) Commit() {
	h := u.handle
	h.state.Lock()
	defer h.state.Unlock()
	if h.origin.look > u.origin.look && h.origin.source.equal(u.origin.source) {
		u.generation = nil
		return
	}
	h.swap(u)
}

// Prepare reads a source and builds a generation from it. Mistakes in entries are an error of type Problems.
// It reads files, and computes and sleeps by turns: it is for workers.
func (h *handle) Prepare(s Source) (*Update, error) {
	h.building.Lock()
	defer h.building.Unlock()
	u, err := h.prepare(s, h.snapshot())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.title(), err)
	}
	return u, nil
}

// Refresh looks whether the file of the current generation has changed, and if so, prepares and commits it. A file of
// lines with half of the entries or less is committed by the second Refresh in a row that finds it. When the file is
// wrong, or gone, the table stays as it is, and Refresh says why each time that it is asked. It is for workers.
func (h *handle) Refresh() (*Update, error) {
	h.building.Lock()
	defer h.building.Unlock()
	small := h.small
	h.small = [32]byte{}
	was := h.snapshot()
	if was.source.File == "" {
		return &Update{Stats: was.stats, handle: h}, nil
	}
	u, err := h.prepare(was.source, was)
	if err == nil && h.opts.Lost != nil {
		if lost := was.stats.Marks &^ u.Stats.Marks; lost != 0 {
			err = wrongFile(was.source.File, h.opts.Lost(lost))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.title(), err)
	}
	if 2*u.Stats.Entries <= was.stats.Entries && u.Changed && u.origin.sum != small && h.opts.Decode == nil {
		h.small = u.origin.sum // its writer may be at it still: a list would let through what it is to refuse
		return &Update{Stats: was.stats, handle: h}, nil
	}
	h.state.Lock()
	defer h.state.Unlock()
	if h.current.Load() != was.generation || !h.origin.source.equal(was.source) { // Commit was faster
		return &Update{Stats: h.Stats(), handle: h}, nil
	}
	h.swap(u)
	return u, nil
}

// swap makes what an update has current. The caller has locked state. The update keeps nothing of it alive.
func (h *handle) swap(u *Update) {
	if u.generation == nil {
		return
	}
	h.origin = u.origin
	h.current.Store(u.generation)
	u.generation = nil
}

// loaded is a generation and where it comes from.
type loaded struct {
	*generation
	origin
}

func (h *handle) snapshot() loaded {
	h.state.Lock()
	defer h.state.Unlock()
	return loaded{h.current.Load(), h.origin}
}

func (h *handle) title() string {
	if h.pairs {
		return "map " + h.name
	}
	return "list " + h.name
}

// prepare is Prepare with building locked.
func (h *handle) prepare(s Source, now loaded) (*Update, error) {
	h.looks++
	same := &Update{Stats: now.stats, handle: h, generation: now.generation, origin: now.origin}
	same.origin.look = h.looks
	built := !same.Stats.Built.IsZero()
	if built && now.stands(s) {
		return same, nil
	}
	start := time.Now()
	scratch := &memory{budget: h.opts.Budget}
	defer scratch.free()
	c, err := h.opts.read(scratch, s)
	if err != nil {
		return nil, err
	}
	from := origin{source: s, sum: c.sum, stamp: c.stamp, look: h.looks}
	if built && c.sum == now.sum {
		same.origin = from
		return same, nil
	}
	h.collect()
	g, err := h.build(&c, scratch)
	if err != nil {
		return nil, err
	}
	if g.memory.isMapped() {
		h.alive = append(h.alive, g.memory)
	}
	g.stats.Built, g.stats.Took = start, time.Since(start)
	u := &Update{Changed: true, Stats: g.stats, handle: h, generation: g, origin: from}
	if s.File != "" && g.stats.Entries == len(s.Inline) {
		u.Notes = append(u.Notes, fmt.Sprintf("%s: %s has no entries", h.title(), s.File))
	}
	return u, nil
}

// stands reports, without reading, whether a source has the content that the origin has.
func (o *origin) stands(s Source) bool {
	if !s.equal(o.source) {
		return false
	}
	if s.File == "" {
		return true
	}
	info, err := os.Stat(s.File)
	return err == nil && o.stamp.holds(info)
}

// collect collects garbage when older generations still have mapped memory: there would be one more with each
// build, since a process that allocates little collects every two minutes only.
func (h *handle) collect() {
	current := h.current.Load().memory
	old := slices.DeleteFunc(slices.Clone(h.alive), func(m *memory) bool { return m == current || m.freed.Load() })
	awaitFree(old)
	h.alive = slices.DeleteFunc(h.alive, func(m *memory) bool { return m.freed.Load() })
}
