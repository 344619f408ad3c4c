package route

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
)

// condition is a Condition ready for use.
type condition struct {
	name  string
	id    message.Name
	value string
	re    *regexp.Regexp // nil: value has to be equal
	any   bool           // the value does not matter
}

// conditions are what a request has to meet beside host and path.
// Immutable.
type conditions struct {
	verbs     uint16   // a bit for each message.Verb
	few       bool     // there are none but methods
	methods   []string // those that have no Verb
	header    []condition
	query     []condition
	listeners []string
	cert      *certCondition
	when      *lang.Condition
	ranks     [6]int // how specific they are: how many in all, then by kind
}

// ordinary are the methods that a route takes without naming them: not CONNECT, which makes a tunnel, and not TRACE,
// which sends secrets back (RFC 9110 §9.3.8).
const ordinary = ^uint16(1<<message.VerbConnect | 1<<message.VerbTrace)

func newConditions(r *Rule) (c conditions, err error) {
	c.verbs = ordinary
	if len(r.Methods) > 0 {
		c.verbs = 0
	}
	for _, m := range r.Methods {
		if !message.ValidName(m) {
			return c, fmt.Errorf("%q is not a method", m)
		}
		if v := message.LookupVerb(m); v != message.VerbOther {
			c.verbs |= 1 << v
		} else if upper := strings.ToUpper(m); message.LookupVerb(upper) != message.VerbOther {
			return c, fmt.Errorf("methods are told apart by case (RFC 9110 §9.1): write %q for %q", upper, m)
		} else {
			c.methods = append(c.methods, m)
		}
	}
	if c.header, err = compileConditions(r.Header); err != nil {
		return c, err
	}
	for i := range c.header {
		f := &c.header[i]
		if !message.ValidName(f.name) {
			return c, fmt.Errorf("%q is not the name of a field", f.name)
		}
		f.id = message.Lookup(f.name)
	}
	if c.query, err = compileConditions(r.Query); err != nil {
		return c, err
	}
	c.listeners = r.Listeners
	certs := 0
	if c.cert, certs, err = r.ClientCert.compile(); err != nil {
		return c, err
	}
	// What no client can write comes before what it can.
	listeners, methods := min(len(r.Listeners), 1), min(len(r.Methods), 1)
	all := listeners + certs + methods + len(c.header) + len(c.query)
	if c.when = r.When; c.when != nil {
		all++
	}
	c.ranks = [...]int{all, listeners, certs, methods, len(c.header), len(c.query)}
	c.few = all == methods
	return c, nil
}

func compileConditions(list []Condition) ([]condition, error) {
	var all []condition
	for _, c := range list {
		to := condition{name: c.Name, value: c.Value, any: c.Value == ""}
		if expr, found := strings.CutPrefix(c.Value, "~"); found {
			var err error
			if to.re, err = regexp.Compile(expr); err != nil {
				return nil, err
			}
		}
		all = append(all, to)
	}
	return all, nil
}

// hold reports whether the request h for path, which came by from, meets them.
func (c *conditions) hold(path []byte, h *message.Head, from Arrival) bool {
	return c.few && c.verbs>>h.Verb&1 != 0 || c.allHold(path, h, from)
}

// allHold is hold for the conditions that most rules do not have.
func (c *conditions) allHold(path []byte, h *message.Head, from Arrival) bool {
	return (c.verbs>>h.Verb&1 != 0 || c.named(h)) && c.arrivalHolds(from) && c.headHolds(h) &&
		(c.when == nil || from.Holds(c.when, path))
}

// named reports whether the method of h, which has no Verb, is among those that are named.
func (c *conditions) named(h *message.Head) bool {
	if h.Verb != message.VerbOther {
		return false
	}
	for _, m := range c.methods {
		if string(h.MethodBytes()) == m {
			return true
		}
	}
	return false
}

func (c *conditions) headHolds(h *message.Head) bool {
	for i := range c.header {
		if !c.header[i].heldByField(h) {
			return false
		}
	}
	if len(c.query) == 0 {
		return true
	}
	query := h.Query()
	for i := range c.query {
		if !c.query[i].heldByQuery(query) {
			return false
		}
	}
	return true
}

func (c *condition) takes(value []byte) bool {
	switch {
	case c.any:
		return true
	case c.re != nil:
		return c.re.Match(value)
	}
	return string(value) == c.value
}

// takesText is takes for a text that is a string.
func (c *condition) takesText(value string) bool {
	if c.re != nil {
		return c.re.MatchString(value)
	}
	return c.any || value == c.value
}

// heldByField reports whether one of the fields of that name matches. Fields that the client lists in Connection do not
// count: the backend does not get them.
func (c *condition) heldByField(h *message.Head) bool {
	for i := range h.Fields {
		f := &h.Fields[i]
		if f.ID != c.id || f.Dropped() || c.id == message.Other && !message.EqualFold(h.Name(i), c.name) {
			continue
		}
		if c.takes(h.Value(i)) {
			return true
		}
	}
	return false
}

// heldByQuery reports whether one of the parameters of that name matches. Names and values are compared decoded.
func (c *condition) heldByQuery(query []byte) bool {
	for len(query) > 0 {
		pair := query
		query = nil
		for i, b := range pair {
			if b == '&' {
				pair, query = pair[:i], pair[i+1:]
				break
			}
		}
		name, value := pair, []byte(nil)
		for i, b := range pair {
			if b == '=' {
				name, value = pair[:i], pair[i+1:]
				break
			}
		}
		switch {
		case !decodesTo(name, c.name):
		case c.re == nil && (c.any || decodesTo(value, c.value)), c.re != nil && c.re.Match(decoded(value)):
			return true
		}
	}
	return false
}

// decodesTo reports whether b, a part of a query, stands for s.
func decodesTo(b []byte, s string) bool {
	n := 0
	for i := 0; i < len(b); n++ {
		c, size := decodeByte(b[i:])
		if n == len(s) || s[n] != c {
			return false
		}
		i += size
	}
	return n == len(s)
}

// decoded returns what b, a part of a query, stands for: b itself where nothing is encoded. It allocates otherwise,
// which only a regular expression costs.
func decoded(b []byte) []byte {
	plain := true
	for _, c := range b {
		plain = plain && c != '%' && c != '+'
	}
	if plain {
		return b
	}
	var buf []byte
	for i := 0; i < len(b); {
		c, size := decodeByte(b[i:])
		buf = append(buf, c)
		i += size
	}
	return buf
}

// decodeByte decodes the first byte that b, of a query, stands for.
func decodeByte(b []byte) (c byte, size int) {
	if b[0] == '+' {
		return ' ', 1
	}
	return message.DecodePercent(b)
}
