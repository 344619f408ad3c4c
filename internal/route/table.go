package route

import (
	"bytes"
	"slices"
	"sort"
	"strings"

	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/message"
)

// Table maps rules to what they lead to.
// Immutable once it is searched.
type Table[T any] struct {
	rules  rules
	values []T
}

// Add adds a rule and what it leads to. The error says what is wrong with the rule itself, or that another one takes
// the same requests.
func (t *Table[T]) Add(r Rule, value T) error {
	if err := t.rules.add(&r); err != nil {
		return err
	}
	t.values = append(t.values, value)
	return nil
}

// Grow makes room for n more rules.
func (t *Table[T]) Grow(n int) {
	t.rules.given, t.values = slices.Grow(t.rules.given, n), slices.Grow(t.values, n)
}

// Find returns what the most specific rule that takes h leads to, the zero value where none does. l.Read tells which
// path the rules saw. The error is ErrPath, ErrParameters, or nil.
func (t *Table[T]) Find(h *message.Head, from Arrival, how Reading, l *Local) (value T, err error) {
	var e *equals
	path, plain := pathOf(h.Bytes(h.Target))
	if l.read = nil; plain || path[0] != '/' {
		e = t.rules.find(path, h, from)
	} else {
		e, err = t.rules.read(path, h, from, how, l)
	}
	if e != nil {
		value = t.values[l.pick(e, &t.rules)]
	}
	return value, err
}

// rules finds the most specific rule. A part that has no rule whose conditions hold leaves the request to the less
// specific ones.
//
//	hosts "a.example"    ─┐
//	below ".example"     ─┼─► paths ─┬─► exact "/v1/x" ──────────┬─► choice ─┬─► equals (2 conditions) ─► place
//	any                  ─┘          └─► segment / ─ v1 ─ x ─────┘           └─► equals (none)  ─┬ 90 ─► place
//	                                                                                             └ 10 ─► place
//
// Immutable once built.
type rules struct {
	hosts  map[string]*paths
	below  map[string]*paths // by the end of the name, with its dot
	any    paths             // for every host
	splits int               // how many equals are split by weight

	verbs   uint16   // that rules name in Methods: a bit for each message.Verb
	methods []string // that they name and that have no Verb

	given []Rule // all of them, for Explain
}

// paths are the rules of one host.
type paths struct {
	exact map[string]*choice
	root  segment
}

// segment is a step of a path: prefixes are found by walking down, and the longest of them by walking up again.
type segment struct {
	up     *segment
	below  map[string]*segment
	choice *choice // of the prefix that ends here; nil: none does
}

// choice are the rules of one host and path, those with the most conditions first.
type choice struct {
	list []*equals
	keys map[string]*equals // by Rule.Conditions
}

// equals are rules that take the very same requests. When they are several, each has a weight.
type equals struct {
	conditions
	key     string // Rule.Conditions
	places  []int  // of the rules, in the order in which they were added
	weights []int
	shares  *balance.View // of the requests; nil for a single rule
	split   int           // the place in Local.turns
}

func (r *rules) add(rule *Rule) error {
	if err := rule.check(); err != nil {
		return err
	}
	p, path := r.pathsOf(strings.ToLower(rule.Host)), rule.path()
	if !rule.Exact {
		s := p.segment(path)
		if s.choice == nil {
			s.choice = &choice{}
		}
		return r.choose(s.choice, rule)
	}
	if p.exact == nil {
		p.exact = map[string]*choice{}
	}
	if p.exact[path] == nil {
		p.exact[path] = &choice{}
	}
	return r.choose(p.exact[path], rule)
}

func (r *rules) pathsOf(host string) *paths {
	to, key := &r.hosts, host
	switch {
	case host == "":
		return &r.any
	case strings.HasPrefix(host, "*."):
		to, key = &r.below, host[1:]
	}
	if *to == nil {
		*to = map[string]*paths{}
	}
	if (*to)[key] == nil {
		(*to)[key] = &paths{}
	}
	return (*to)[key]
}

// segment returns the segment where a path ends, made when it is new.
func (p *paths) segment(path string) *segment {
	s := &p.root
	for path != "" {
		name, rest := path[1:], ""
		if slash := strings.IndexByte(name, '/'); slash >= 0 {
			name, rest = name[:slash], name[slash:]
		}
		if s.below == nil {
			s.below = map[string]*segment{}
		}
		if s.below[name] == nil {
			s.below[name] = &segment{up: s}
		}
		s, path = s.below[name], rest
	}
	return s
}

// choose puts rule among the rules of one host and path.
func (r *rules) choose(c *choice, rule *Rule) error {
	cond, err := newConditions(rule)
	if err != nil {
		return err
	}
	key := rule.Conditions()
	e := c.keys[key]
	switch {
	case e == nil:
		if c.keys == nil {
			c.keys = map[string]*equals{}
		}
		e = &equals{conditions: cond, key: key}
		c.keys[key] = e
		at := sort.Search(len(c.list), func(i int) bool { return e.before(c.list[i]) })
		c.list = slices.Insert(c.list, at, e)
	case rule.Weight <= 0 || e.weights[0] <= 0:
		return errSameRule
	case len(e.places) == equalMax:
		return errManyRules
	case e.shares == nil:
		e.split = r.splits
		r.splits++
	}
	r.noteMethods(&cond, rule)
	e.places = append(e.places, len(r.given))
	e.weights = append(e.weights, rule.Weight)
	if len(e.places) > 1 {
		e.shares = balance.Weights(e.weights...)
	}
	r.given = append(r.given, *rule)
	return nil
}

// before reports whether e is more specific than other: it has more conditions. Where both have as many, a request can
// meet both; then listeners come before certificates before methods before fields before the query before When. After
// that the alphabet decides, since the order in which rules were added never does.
func (e *equals) before(other *equals) bool {
	if order := slices.Compare(e.ranks[:], other.ranks[:]); order != 0 {
		return order > 0
	}
	return e.key < other.key
}

// find returns the rules that take a request for path, nil when there is none.
func (r *rules) find(path []byte, h *message.Head, from Arrival) *equals {
	if len(r.hosts)+len(r.below) > 0 {
		var lower [256]byte
		if host := h.LowerHost(&lower); len(host) > 0 {
			if e := r.findHost(host, path, h, from); e != nil {
				return e
			}
		}
	}
	return r.any.find(path, h, from)
}

func (r *rules) findHost(host, path []byte, h *message.Head, from Arrival) *equals {
	if p := r.hosts[string(host)]; p != nil {
		if e := p.find(path, h, from); e != nil {
			return e
		}
	}
	if len(r.below) == 0 {
		return nil
	}
	for i := 1; i < len(host); i++ { // the star stands for one label at least
		if host[i] != '.' {
			continue
		}
		if p := r.below[string(host[i:])]; p != nil {
			if e := p.find(path, h, from); e != nil {
				return e
			}
		}
	}
	return nil
}

func (p *paths) find(path []byte, h *message.Head, from Arrival) *equals {
	if p.exact != nil { // a look into no map is a call too
		if c := p.exact[string(path)]; c != nil {
			if e := c.find(path, h, from); e != nil {
				return e
			}
		}
	}
	s := &p.root
	for rest := path; s.below != nil && len(rest) > 0 && rest[0] == '/'; {
		name := rest[1:]
		if rest = nil; len(name) > 0 {
			if slash := bytes.IndexByte(name, '/'); slash >= 0 {
				name, rest = name[:slash], name[slash:]
			}
		}
		next := s.below[string(name)]
		if next == nil {
			break
		}
		s = next
	}
	for ; s != nil; s = s.up {
		if s.choice == nil {
			continue
		}
		if e := s.choice.find(path, h, from); e != nil {
			return e
		}
	}
	return nil
}

func (c *choice) find(path []byte, h *message.Head, from Arrival) *equals {
	for _, e := range c.list {
		if e.hold(path, h, from) {
			return e
		}
	}
	return nil
}
