package plugin

import (
	"log/slog"
	"maps"
	"slices"

	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/proxy"
)

// Build is what the function of a type may use of the server that it makes a value for. nil is a good one: there is no
// server then, as in a program that calls the function by itself.
type Build struct {
	Kind     *Kind        // of the table; nil: it is a filter
	Name     string       // of the table in its file
	Type     string       // of the table
	Logger   *slog.Logger // nil: slog.Default
	Reactors int          // of the server
	Kept     *Claims      // of Keep and Counter; nil: nothing is kept, and no metrics count

	complete bool // the configuration is from a file: it is checked, and has its defaults
}

// Log returns where it tells what an operator has to know: not each request.
func (b *Build) Log() *slog.Logger {
	if b == nil || b.Logger == nil {
		return slog.Default()
	}
	return b.Logger
}

// Counter is a number of things that were done, with a cell for each reactor.
type Counter struct {
	result string
	labels []observe.Label
	cells  []observe.Counter
}

// Counter returns the counter of one result, a word such as "limited". For filters it is edge_filter_total with the
// labels filter, type and result, for filters of the types rate_limit and compress a family of their own with filter
// and result, for other kinds edge_plugin_total with kind, name, type and result. labels stand before the result.
// Tables of one name and type in two generations of a configuration count on.
func (b *Build) Counter(result string, labels ...observe.Label) *Counter {
	reactors := 1
	if b != nil {
		reactors = max(reactors, b.Reactors)
	}
	identity := "counter " + result
	for _, l := range labels {
		identity += " " + l.Name + "=" + l.Value
	}
	c, _ := Keep(b, identity, func() (*Counter, error) {
		return &Counter{result: result, labels: labels, cells: make([]observe.Counter, reactors)}, nil
	})
	return c
}

// Add counts one more for x. On the goroutine that owns x.
func (c *Counter) Add(x *proxy.Exchange) {
	c.cells[x.Reactor().Index()%len(c.cells)].Add(1)
}

// Inc counts one more, on any goroutine.
func (c *Counter) Inc() { c.cells[0].Add(1) }

// IncOn counts one more on a reactor, by its index.
func (c *Counter) IncOn(reactor int) { c.cells[reactor%len(c.cells)].Add(1) }

// Load returns the sum. Safe for any goroutine.
func (c *Counter) Load() (sum uint64) {
	for i := range c.cells {
		sum += c.cells[i].Load()
	}
	return sum
}

// families are the types of filters whose counters are a family of their own.
var families = map[string]string{"rate_limit": "edge_ratelimit_total", "compress": "edge_compress_total"}

// List adds the counters in force to r, of all that s keeps where TakeEffect was not called.
func (s *Store) List(r *observe.Registry) {
	label := func(name, value string) observe.Label { return observe.Label{Name: name, Value: value} }
	list := func(family, help string, of func(key keptKey) []observe.Label) {
		r.Counters(family, help, func(yield func(float64, ...observe.Label)) {
			s.eachCounter(func(key keptKey, c *Counter) {
				if labels := of(key); labels != nil {
					yield(float64(c.Load()), append(append(labels, c.labels...), label("result", c.result))...)
				}
			})
		})
	}
	list("edge_filter_total", "What filters did, by their names, their types and the result.",
		func(key keptKey) []observe.Label {
			if key.kind != Filters || families[key.typ] != "" {
				return nil
			}
			return []observe.Label{label("filter", key.name), label("type", key.typ)}
		})
	for _, typ := range slices.Sorted(maps.Keys(families)) {
		list(families[typ], "What filters of type "+typ+" did, by their names and the result.",
			func(key keptKey) []observe.Label {
				if key.kind != Filters || key.typ != typ {
					return nil
				}
				return []observe.Label{label("filter", key.name)}
			})
	}
	list("edge_plugin_total", "What destinations and other things of modules did, by their kinds, their names, "+
		"their types and the result.", func(key keptKey) []observe.Label {
		if key.kind == Filters {
			return nil
		}
		return []observe.Label{label("kind", key.kind.Name), label("name", key.name), label("type", key.typ)}
	})
}

func (s *Store) eachCounter(do func(key keptKey, c *Counter)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, k := range s.kept {
		inForce := s.present == nil || s.present.keys[key] || k.lasting > 0
		if c, ok := k.value.(*Counter); ok && inForce {
			do(key, c)
		}
	}
}
