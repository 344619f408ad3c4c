package route

import (
	"errors"

	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/message"
)

// Reading is how paths are read. The zero value is the safe way.
type Reading struct {
	Paths      Paths
	Parameters Parameters
}

// Paths says in which form rules and origins see a path. See docs/http1.md.
type Paths uint8

// The ways to read a path, in the order of the words of a configuration.
const (
	PathsMatched   Paths = iota // rules see it with its dot segments resolved; origins get it as it came
	PathsForwarded              // origins get it resolved too
	PathsRaw                    // lenient: rules see it as it came, whatever an origin makes of it
)

// Parameters says how the parameters of a path are read, ";v=1" after the name of a segment. See docs/http1.md.
type Parameters uint8

// The ways to read parameters, in the order of the words of a configuration.
const (
	ParametersKept     Parameters = iota // they are a part of their segment; a segment of parameters alone is ErrPath
	ParametersStripped                   // rules see the path without them
	ParametersRefused                    // ErrParameters
)

// Why a request is refused whatever rules there are.
var (
	ErrPath       = errors.New("the path can be read in two ways")
	ErrParameters = errors.New("the path has parameters")
)

// Local is what searches keep between them: the readings of a path, and how far requests are shared among equal rules.
// The zero value is ready.
// Owned by one goroutine.
type Local struct {
	readings Readings
	read     []byte // of readings: see Read
	of       *rules
	turns    []*balance.Turns // by equals.split, for of
	none     balance.Request
}

// pick returns the place of the rule of e whose turn it is.
func (l *Local) pick(e *equals, r *rules) int {
	if e.shares == nil {
		return e.places[0]
	}
	return e.places[l.next(e, r)]
}

// next returns the index of the rule whose turn it is among equal rules: each gets its share of any run of requests,
// spread evenly.
func (l *Local) next(e *equals, r *rules) int {
	if l.of != r {
		l.of, l.turns = r, make([]*balance.Turns, r.splits)
	}
	if l.turns[e.split] == nil {
		l.turns[e.split] = &balance.Turns{}
	}
	return l.turns[e.split].Pick(e.shares, nil, &l.none)
}

// Read returns the path that rules saw in the last search where that is not how it came, else nil. Borrowed until the
// next search.
func (l *Local) Read() []byte { return l.read }

// read finds the rules for h whose path has more than one spelling.
func (r *rules) read(path []byte, h *message.Head, from Arrival, how Reading, l *Local) (*equals, error) {
	parameters, odd := parametersOf(path)
	raw := how.Paths == PathsRaw
	switch {
	case parameters && how.Parameters == ParametersRefused:
		return nil, ErrParameters
	case odd && !raw:
		return nil, ErrPath
	case raw:
		return r.find(path, h, from), nil
	case parameters && how.Parameters == ParametersStripped:
		return r.readResolved(path, withoutParameters, h, from, l)
	}
	return r.readResolved(path, 0, h, from, l)
}

// readResolved is read for a path that has to be resolved first.
func (r *rules) readResolved(path []byte, how reading, h *message.Head, from Arrival, l *Local) (*equals, error) {
	l.readings.read(path, how)
	l.read = l.readings.At(0)
	if len(l.readings.ends) > ReadingsMax {
		return nil, ErrPath
	}
	e := r.find(l.read, h, from)
	for i := 1; i < len(l.readings.ends); i++ {
		if r.find(l.readings.At(i), h, from) != e {
			return nil, ErrPath
		}
	}
	if hidesDots(l.read) {
		return nil, ErrPath
	}
	return e, nil
}
