package rules

import (
	"slices"

	"github.com/edge-proxy/edge/proxy"
)

// Switches is a set of switches of an exchange, each of which is one bit: rules turn them, filters ask them. The rules
// of a configuration have the lowest ones.
type Switches uint64

// turned are the switches of an exchange that a rule has turned, by what the last one did.
type turned struct{ on, off Switches }

var switched = proxy.NewLocal[turned]()

func (t *turned) turn(on, off Switches) { t.on, t.off = t.on&^off|on, t.off&^on|off }

// Gate returns f as a filter that runs for exchanges whose switch s is on, or, where no rule has turned it, if stands.
func (s Switches) Gate(f *proxy.Filter, stands bool) *proxy.Filter {
	gated, when := *f, f.When
	gated.When = func(x *proxy.Exchange) bool {
		t := switched.Of(x)
		runs := t.on&s != 0 || stands && t.off&s == 0
		return runs && (when == nil || when(x))
	}
	return &gated
}

// Gate returns f, which rules of the configuration name, as a filter that runs where they say so: see Switches.Gate.
func (m *Maker) Gate(f *proxy.Filter, stands bool) *proxy.Filter {
	return m.switchesOf([]string{f.Name}).Gate(f, stands)
}

func (m *Maker) switchesOf(names []string) (s Switches) {
	for _, name := range names {
		s |= 1 << slices.Index(m.Filters, name)
	}
	return s
}
