package observe

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// seriesMax bounds a Registry without a Limit, and what a function of Gauges or Counters yields. Label values may come
// from a configuration, in part from peers; a series beyond the limit is counted under the same name with every label
// value "other".
const seriesMax = 10_000

// Kind says how a value changes.
type Kind uint8

// A counter only grows, a gauge goes up and down. A histogram is several counters; a Registry has none.
const (
	KindCounter Kind = iota
	KindGauge
	KindHistogram
)

// Label is one dimension of a series. Its values are few.
type Label struct{ Name, Value string }

// Sample is one series at the moment it was read. Labels are sorted by name and must not be
// changed.
type Sample struct {
	Name, Help string
	Kind       Kind
	Labels     []Label
	Value      float64
}

// Counter is a number that only grows. Safe for any goroutine, and cheap as long as only one adds
// to it: then its cache line stays where it is.
//
// Add is one atomic addition. A load and a store by a single writer would not be cheaper where it
// counts: on amd64 an atomic store is an exchange, as locked as the addition (2.1 ns either way).
type Counter struct {
	v atomic.Uint64
	// Counters of two reactors on one line cost 4 times as much (BenchmarkCounter_neighbours).
	_ [56]byte
}

// Add counts n more.
func (c *Counter) Add(n uint64) { c.v.Add(n) }

// Load reads the counter.
func (c *Counter) Load() uint64 { return c.v.Load() }

// Registry lists what is counted. The zero value is ready. Safe for any goroutine.
//
// A series may have many owners, one per reactor: an owner that registers the same name and labels
// again gets a cell of its own, and Each adds the cells up. Registering is for the start and for a
// reload, not for the hot path. A name or label that Prometheus would refuse, or a name used for
// both kinds, is a mistake in the program and panics.
type Registry struct {
	mu       sync.Mutex
	families map[string]*family
	order    []*family // all of them by name; nil: it is to be made again
	sources  []Source
	count    int // series in all families
	most     int // that there may be; 0: seriesMax
}

// family is all series of one name. Guarded by Registry.mu.
type family struct {
	name, help string
	kind       Kind
	series     map[string]*series                                 // by key(labels)
	order      []*series                                          // all of them by key; nil: it is to be made again
	changing   []func(yield func(value float64, labels ...Label)) // series that come and go
}

// series is guarded by Registry.mu, but for read, of which copies may be called.
type series struct {
	labels []Label
	key    string
	line   []byte // of an Exposition
	read   []func() float64
}

// Limit sets how many series there may be, 10 000 at first. Series of a function of Gauges or Counters are not among
// them. Series that there are stay.
func (r *Registry) Limit(most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.most = most
}

// Remove removes the series with this name and these labels, of all its owners. Where there is none it does nothing.
func (r *Registry) Remove(name string, labels ...Label) {
	id := key(sorted(labels))
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.families[name]
	if f == nil || f.series[id] == nil {
		return
	}
	delete(f.series, id)
	f.order = nil
	r.count--
}

// Counter makes a cell for the counter with this name and these labels.
func (r *Registry) Counter(name, help string, labels ...Label) *Counter {
	c := new(Counter)
	r.add(KindCounter, name, help, labels, func() float64 { return float64(c.Load()) })
	return c
}

// CounterFunc registers a counter that is kept elsewhere. read must be safe for any goroutine.
func (r *Registry) CounterFunc(name, help string, read func() uint64, labels ...Label) {
	r.add(KindCounter, name, help, labels, func() float64 { return float64(read()) })
}

// Gauge registers a value that is computed when it is asked for. read must be safe for any
// goroutine.
func (r *Registry) Gauge(name, help string, read func() float64, labels ...Label) {
	r.add(KindGauge, name, help, labels, read)
}

// Gauges registers values of things that come and go: each yields those that there are when it is asked. Values of the
// same labels are added up, as are those beyond the limit. each must be safe for any goroutine.
func (r *Registry) Gauges(name, help string, each func(yield func(value float64, labels ...Label))) {
	r.addChanging(KindGauge, name, help, each)
}

// Counters is Gauges for counters. What they yield must not fall while a series is there.
func (r *Registry) Counters(name, help string, each func(yield func(value float64, labels ...Label))) {
	r.addChanging(KindCounter, name, help, each)
}

func (r *Registry) addChanging(kind Kind, name, help string, each func(func(float64, ...Label))) {
	mustBeNames(name, nil)
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.family(kind, name, help)
	f.changing = append(f.changing, each)
}

// Source has families that a Registry only passes on, after its own: what changes by itself, or has histograms. Their
// names are none of the Registry's. Safe for any goroutine.
type Source interface {
	// Each yields the counters and gauges, with labels sorted by name.
	Each(yield func(Sample))
	// AppendTo appends the families to a page.
	AppendTo(e *Exposition)
}

// Attach adds a Source.
func (r *Registry) Attach(s Source) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sources = append(r.sources, s)
}

// family returns the family of that name, a new one if there is none. r.mu is held.
func (r *Registry) family(kind Kind, name, help string) *family {
	f := r.families[name]
	if f == nil {
		f = &family{name: name, help: help, kind: kind, series: make(map[string]*series)}
		if r.families == nil {
			r.families = make(map[string]*family)
		}
		r.families[name] = f
		r.order = nil
	}
	if f.kind != kind {
		panic("observe: " + name + " is registered as a counter and as a gauge")
	}
	return f
}

// sorted returns a copy of labels by their names.
func sorted(labels []Label) []Label {
	return slices.SortedFunc(slices.Values(labels), func(a, b Label) int { return cmp.Compare(a.Name, b.Name) })
}

func (r *Registry) add(kind Kind, name, help string, labels []Label, read func() float64) {
	labels = sorted(labels)
	mustBeNames(name, labels)
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.family(kind, name, help)
	s, added := seriesIn(f.series, name, labels, r.count >= cmp.Or(r.most, seriesMax))
	if added {
		f.order = nil
		r.count++
	}
	s.read = append(s.read, read)
}

// seriesIn returns the series of a name with these labels among all, and whether it had to be added. Where all are as
// many as there may be, it is the one with the labels "other", which counts for those without series of their own.
func seriesIn(all map[string]*series, name string, labels []Label, full bool) (s *series, added bool) {
	if s = all[key(labels)]; s == nil && full {
		for i := range labels {
			labels[i].Value = "other"
		}
		s = all[key(labels)]
	}
	if s == nil {
		s, added = &series{labels: labels, key: key(labels), line: AppendLine(nil, name, labels...)}, true
		all[s.key] = s
	}
	return s, added
}

func (s *series) sum() (sum float64) {
	for _, read := range s.read {
		sum += read()
	}
	return sum
}

// present returns the series of f.changing that there are, up to seriesMax and one for those beyond.
func (f *family) present() map[string]*series {
	all := make(map[string]*series)
	for _, each := range f.changing {
		each(func(value float64, labels ...Label) {
			labels = sorted(labels)
			mustBeNames(f.name, labels)
			s, _ := seriesIn(all, f.name, labels, len(all) >= seriesMax)
			s.read = append(s.read, func() float64 { return value })
		})
	}
	return all
}

// Each calls yield for every series, ordered by name, then by labels, series of Sources last. Values are read one after
// the other, not at one moment.
func (r *Registry) Each(yield func(Sample)) {
	type row struct {
		f *family
		series
	}
	r.mu.Lock()
	rows := make([]row, 0, r.count)
	sources := r.sources
	var changing []family
	for _, f := range r.families {
		for _, s := range f.series {
			rows = append(rows, row{f, *s})
		}
		if f.changing != nil {
			changing = append(changing, *f)
		}
	}
	r.mu.Unlock()
	for i := range changing {
		for _, s := range changing[i].present() {
			rows = append(rows, row{&changing[i], *s})
		}
	}
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.f.name, b.f.name), cmp.Compare(a.key, b.key))
	})
	for _, w := range rows {
		yield(Sample{Name: w.f.name, Help: w.f.help, Kind: w.f.kind, Labels: w.labels, Value: w.sum()})
	}
	for _, s := range sources {
		s.Each(yield)
	}
}

// AppendTo appends every family, in the order of Each, to a page. What reads the values is called while the registry is
// locked: it must not register anything.
func (r *Registry) AppendTo(e *Exposition) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.order == nil {
		r.order = slices.SortedFunc(maps.Values(r.families),
			func(a, b *family) int { return cmp.Compare(a.name, b.name) })
	}
	for _, f := range r.order {
		if f.order == nil {
			f.order = byKey(f.series)
		}
		list := f.order
		if f.changing != nil {
			list = slices.Concat(list, byKey(f.present()))
		}
		if len(list) > 0 {
			e.Family(f.name, f.help, f.kind)
		}
		for _, s := range list {
			e.Value(s.line, s.sum())
		}
	}
	for _, s := range r.sources {
		s.AppendTo(e)
	}
}

func byKey(all map[string]*series) []*series {
	return slices.SortedFunc(maps.Values(all), func(a, b *series) int { return cmp.Compare(a.key, b.key) })
}

// Register lists the counters of s.
func (s *Sink) Register(r *Registry, labels ...Label) {
	add := func(name, help string, read func(Stats) uint64) {
		r.CounterFunc(name, help, func() uint64 { return read(s.Stats()) }, labels...)
	}
	add("edge_log_bytes_total", "Bytes of access log taken by the output.",
		func(st Stats) uint64 { return st.Bytes })
	add("edge_log_writes_total", "Writes to the output of the access log.",
		func(st Stats) uint64 { return st.Writes })
	add("edge_log_dropped_total", "Access log records dropped because a ring was full.",
		func(st Stats) uint64 { return st.Dropped })
	add("edge_log_lost_total", "Access log records refused by the output.",
		func(st Stats) uint64 { return st.Lost })
	add("edge_log_errors_total", "Failed writes to the output of the access log.",
		func(st Stats) uint64 { return st.Errors })
}

// key writes labels as {a="b",c="d"}, with the quotes of the values escaped, so that different
// labels have different keys.
func key(labels []Label) string {
	if len(labels) == 0 {
		return ""
	}
	b := []byte{'{'}
	for i, l := range labels {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, l.Name...)
		b = append(b, `="`...)
		b = append(b, keyEscapes.Replace(l.Value)...)
		b = append(b, '"')
	}
	return string(append(b, '}'))
}

var keyEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// mustBeNames panics unless the metric's name and the label names are what Prometheus takes.
func mustBeNames(name string, labels []Label) {
	if !isName(name) {
		panic("observe: bad metric name " + name)
	}
	for i, l := range labels {
		if !isName(l.Name) || i > 0 && labels[i-1].Name == l.Name {
			panic("observe: bad label " + l.Name + " of " + name)
		}
	}
}

func isName(s string) bool {
	for i, c := range []byte(s) {
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
