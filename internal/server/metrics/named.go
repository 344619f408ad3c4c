package metrics

import (
	"slices"
	"strings"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/internal/base/tally"
	"github.com/edge-proxy/edge/internal/forward/admission"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/server/dynamic"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/internal/upstream/health"
)

// kind is series that each listener, or each upstream, may have, and the map of a Sample that they are read from.
type kind interface {
	lines() int
	list(c *Counters, name string, more bool)
	remove(c *Counters, name string)
	place(c *Counters, s *Sample)
	addCounters(to, from *Sample)
	leave(past *Sample, name string)
}

// kindOf is a kind whose counters are an S.
// Immutable.
type kindOf[S any] struct {
	label string // that has the name
	in    func(s *Sample) map[string]*S
	rows  []row
	more  []row // that only some have
}

var (
	ofListeners kind = &kindOf[Listener]{"listener", func(s *Sample) map[string]*Listener { return s.listeners },
		slices.Concat(listenerRows, within("Codec", listenerH2Rows)),
		slices.Concat(within("H3Codec", listenerH3Rows), within("QUIC", quicRows))}
	ofBare kind = &kindOf[Bare]{"listener", func(s *Sample) map[string]*Bare { return s.bare }, bareRows, nil}

	ofUpstreams kind = &kindOf[upstream.Stats]{"upstream",
		func(s *Sample) map[string]*upstream.Stats { return s.upstreams },
		upstreamRows, within("H2", upstreamH2Rows)}
	ofMembers kind = &kindOf[backend.Stats]{"upstream",
		func(s *Sample) map[string]*backend.Stats { return s.members }, memberRows, nil}
	ofChecks kind = &kindOf[health.Stats]{"upstream",
		func(s *Sample) map[string]*health.Stats { return s.checks }, checkRows(), nil}
	ofAgents kind = &kindOf[health.Stats]{"upstream",
		func(s *Sample) map[string]*health.Stats { return s.agents }, agentRows(), nil}
	ofEjections kind = &kindOf[Service]{"upstream",
		func(s *Sample) map[string]*Service { return s.services }, ejectionRows(), nil}
	ofDynamic kind = &kindOf[dynamic.Stats]{"upstream",
		func(s *Sample) map[string]*dynamic.Stats { return s.dynamic }, dynamicRows, nil}
	ofLimits kind = &kindOf[admission.Stats]{"upstream",
		func(s *Sample) map[string]*admission.Stats { return s.limits }, limitRows, nil}
)

var kinds = []kind{ofListeners, ofBare, ofUpstreams, ofMembers, ofChecks, ofAgents, ofEjections, ofDynamic, ofLimits}

// within returns rows that read from a field what rows read from the whole.
func within(field string, rows []row) []row {
	rows = slices.Clone(rows)
	for i := range rows {
		var terms []string
		for term := range strings.SplitSeq(rows[i].from, ",") {
			name, minus := strings.CutPrefix(term, "-")
			if name = field + "." + name; minus {
				name = "-" + name
			}
			terms = append(terms, name)
		}
		rows[i].from = strings.Join(terms, ",")
	}
	return rows
}

// named is what is listed under names of the configuration.
//
//	a name ── use ──► has its series ── an hour out of use ──► forgotten: what it counted is added to "other"
//	   └── no room ──► counts as "other" until it is forgotten
//
// So no counter falls. For one goroutine at a time.
type named struct {
	headings map[headingKey]*heading
	lines    int // of those that have series of their own, as if each had all of its kind
	most     int // lines
	now      func() time.Time
}

type headingKey struct {
	kind kind
	name string
}

// heading is the series of one kind under one name.
type heading struct {
	used  bool      // by the present configuration
	seen  time.Time // when something of that name was last there
	other bool      // there was no room: it counts as "other"
	more  bool      // all rows are listed
}

// Begin says that a configuration with that series_max is the present one from now on. What it has is registered next.
func (c *Counters) Begin(most int) {
	n := &c.named
	n.most = most
	c.Registry.Limit(max(n.lines, most) + slack)
	for _, p := range n.headings {
		if p.used {
			p.used, p.seen = false, n.now()
		}
	}
}

// slack is the room for series that have no names of the configuration, and for series of the name "other".
const slack = 10_000

// use lists the series of a kind under a name, if there is room, and those that only some have if more says so.
func (c *Counters) use(k kind, name string, more bool) {
	n, key := &c.named, headingKey{k, name}
	p := n.headings[key]
	if p == nil {
		p = &heading{other: name != others && n.lines+k.lines() > n.most}
		n.headings[key] = p
		if !p.other {
			k.list(c, name, false)
		}
		if !p.other && name != others {
			n.lines += k.lines()
		}
	}
	p.used = true
	switch {
	case p.other:
		c.use(k, others, more)
	case more && !p.more:
		p.more = true
		k.list(c, name, true)
	}
}

// place adds counts that have no series of their own to "other". The connections of dynamic destinations are shown as
// connections of an upstream.
func (c *Counters) place(s *Sample) {
	for name, of := range s.dynamic {
		tally.Add(s.Upstream(name), &of.Upstream)
		of.Upstream = upstream.Stats{}
	}
	for _, k := range kinds {
		k.place(c, s)
	}
}

// forget removes the series of what is gone for long. After place of what is there now.
func (c *Counters) forget() {
	n := &c.named
	before := n.now().Add(-goneFor)
	for key, p := range n.headings {
		if p.used || key.name == others || !p.seen.Before(before) {
			continue
		}
		if !p.other {
			c.use(key.kind, others, p.more)
			key.kind.remove(c, key.name)
			n.lines -= key.kind.lines()
		}
		key.kind.leave(c.past, key.name)
		delete(n.headings, key)
	}
}

// Leaving reports whether series are there that the present configuration does not have.
func (c *Counters) Leaving() bool {
	for key, p := range c.named.headings {
		if !p.used && key.name != others {
			return true
		}
	}
	return false
}

func addPast(to, past *Sample) {
	for _, k := range kinds {
		k.addCounters(to, past)
	}
}

func (k *kindOf[S]) lines() int { return len(k.rows) + len(k.more) }

func (k *kindOf[S]) labels(name string) []observe.Label {
	return []observe.Label{{Name: k.label, Value: name}}
}

func (k *kindOf[S]) list(c *Counters, name string, more bool) {
	rows := k.rows
	if more {
		rows = k.more
	}
	register(c, rows, k.labels(name), func(s *Sample) *S { return k.in(s)[name] })
}

func (k *kindOf[S]) remove(c *Counters, name string) {
	for _, r := range slices.Concat(k.rows, k.more) {
		c.Registry.Remove(r.name, append(k.labels(name), r.labels()...)...)
	}
}

func (k *kindOf[S]) place(c *Counters, s *Sample) {
	all := k.in(s)
	for name, one := range all {
		p := c.named.headings[headingKey{k, name}]
		if p == nil {
			continue
		}
		p.seen = c.named.now()
		if p.other {
			tally.Add(entry(all, others), one)
			delete(all, name)
		}
	}
}

func (k *kindOf[S]) addCounters(to, from *Sample) {
	for name, one := range k.in(from) {
		tally.AddCounters(entry(k.in(to), name), one)
	}
}

func (k *kindOf[S]) leave(past *Sample, name string) {
	all := k.in(past)
	if one := all[name]; one != nil {
		tally.AddCounters(entry(all, others), one)
		delete(all, name)
	}
}

// RegisterListener lists the series of the listener with that name, and the series of HTTP/3 if it serves that.
func (c *Counters) RegisterListener(name string, servesH3 bool) { c.use(ofListeners, name, servesH3) }

// RegisterBare lists the series of the service with that name, which is no HTTP: see config.Config.Services.
func (c *Counters) RegisterBare(name string) { c.use(ofBare, name, false) }

// RegisterUpstream lists the series of the upstream with that name, and the series of HTTP/2 if it may speak that.
func (c *Counters) RegisterUpstream(name string, mayH2 bool) { c.use(ofUpstreams, name, mayH2) }

// RegisterService lists the series of the backends of the upstream with that name, and of what else it has.
func (c *Counters) RegisterService(name string, checks, agents, ejections, limits bool) {
	for _, of := range []struct {
		kind kind
		has  bool
	}{{ofChecks, checks}, {ofAgents, agents}, {ofEjections, ejections}, {ofLimits, limits}, {ofMembers, true}} {
		if of.has {
			c.use(of.kind, name, false)
		}
	}
}

// RegisterDynamic lists the series of the upstream with that name, whose destinations requests name.
func (c *Counters) RegisterDynamic(name string) {
	c.RegisterUpstream(name, true)
	c.use(ofDynamic, name, false)
}
