package filter

import (
	"log/slog"

	"github.com/edge-proxy/edge/observe"
	"github.com/edge-proxy/edge/proxy"
)

// Build is what a filter may use of the server that it is made for. nil is a good one: there is no server then, as in
// a program that calls New by itself.
type Build struct {
	Name     string            // of the filter in its file
	Type     string            // of the filter
	Logger   *slog.Logger      // nil: slog.Default
	Reactors int               // of the server
	Counters *observe.Registry // where Counter counts; nil: nowhere else
	Kept     *Store            // of Keep; nil: nothing is kept
}

// Log returns where the filter tells what an operator has to know: not each request.
func (b *Build) Log() *slog.Logger {
	if b == nil || b.Logger == nil {
		return slog.Default()
	}
	return b.Logger
}

// Counter is a number of things that filters have done, with a cell for each reactor.
type Counter struct{ cells []observe.Counter }

// Counter returns the counter of one result, a word such as "limited": edge_filter_total with the labels filter, type
// and result. Filters of one name in two generations of a configuration count on.
func (b *Build) Counter(result string) *Counter {
	n := 1
	if b != nil && b.Reactors > 0 {
		n = b.Reactors
	}
	c := &Counter{cells: make([]observe.Counter, n)}
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

// Store holds what filters keep over reloads. It belongs to a server.
type Store struct{}

// Keep returns what create made for a filter of this name and type with this identity: the same over reloads as long as
// none of the three changes, so that a reload does not forget what was counted. A T that has Close is closed when no
// configuration in force keeps it any more.
func Keep[T any](b *Build, identity string, create func() (T, error)) (T, error) {
	return create()
}
