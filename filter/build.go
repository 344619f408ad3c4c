package filter

import (
	"log/slog"

	"github.com/edge-proxy/edge/observe"
	"github.com/edge-proxy/edge/proxy"
)

// Build is what a filter may use of the server that it is made for. nil is a good one: there is no server then, as in
// a program that calls New by itself.
type Build struct {
	Name     string       // of the filter in its file
	Type     string       // of the filter
	Logger   *slog.Logger // nil: slog.Default
	Reactors int          // of the server
	Kept     *Claims      // of Keep and Counter; nil: nothing is kept, and no metrics count

	complete bool // the configuration is from a file: it is checked, and has its defaults
}

// Log returns where the filter tells what an operator has to know: not each request.
func (b *Build) Log() *slog.Logger {
	if b == nil || b.Logger == nil {
		return slog.Default()
	}
	return b.Logger
}

// Counter is a number of things that filters have done, with a cell for each reactor.
type Counter struct {
	result string
	cells  []observe.Counter
}

// Counter returns the counter of one result, a word such as "limited": edge_filter_total with the labels filter, type
// and result, for filters of type rate_limit edge_ratelimit_total with filter and result. Filters of one name and type
// in two generations of a configuration count on.
func (b *Build) Counter(result string) *Counter {
	reactors := 1
	if b != nil {
		reactors = max(reactors, b.Reactors)
	}
	c, _ := Keep(b, "counter "+result, func() (*Counter, error) {
		return &Counter{result: result, cells: make([]observe.Counter, reactors)}, nil
	})
	return c
}

// Add counts one more for x. On the goroutine that owns x.
func (c *Counter) Add(x *proxy.Exchange) {
	c.cells[x.Reactor().Index()%len(c.cells)].Add(1)
}

// Load returns the sum. Safe for any goroutine.
func (c *Counter) Load() (sum uint64) {
	for i := range c.cells {
		sum += c.cells[i].Load()
	}
	return sum
}

// limitType is the type of filters whose counters are a family of their own.
const limitType = "rate_limit"

// List has r list the counters of the filters in force, of all that s keeps where TakeEffect was not called.
func (s *Store) List(r *observe.Registry) {
	r.Counters("edge_filter_total", "What filters did, by their names, their types and the result.",
		func(yield func(float64, ...observe.Label)) {
			s.eachCounter(func(key keptKey, c *Counter) {
				if key.typ != limitType {
					yield(float64(c.Load()), observe.Label{Name: "filter", Value: key.name},
						observe.Label{Name: "type", Value: key.typ}, observe.Label{Name: "result", Value: c.result})
				}
			})
		})
	r.Counters("edge_ratelimit_total", "What filters of type rate_limit did, by their names and the result.",
		func(yield func(float64, ...observe.Label)) {
			s.eachCounter(func(key keptKey, c *Counter) {
				if key.typ == limitType {
					yield(float64(c.Load()), observe.Label{Name: "filter", Value: key.name},
						observe.Label{Name: "result", Value: c.result})
				}
			})
		})
}

// eachCounter calls do for each counter that is listed.
func (s *Store) eachCounter(do func(key keptKey, c *Counter)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, k := range s.kept {
		if c, ok := k.value.(*Counter); ok && (s.present == nil || s.present.keys[key]) {
			do(key, c)
		}
	}
}
