package nginx

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// table is a map { } or a geo { }.
type table struct {
	d         *directive
	source    string // the variable whose value is looked for
	name      string
	entries   []*directive // in the order in which nginx looks at them
	otherwise string
	hostnames bool // names of entries may be "*.example.com" or ".example.com"
}

// addTable reads a map or a geo. One with options that edge has not is left over.
func (im *importer) addTable(d *directive) {
	t := &table{d: d, source: "remote_addr", name: nameOf(d.arg(len(d.args) - 1))}
	if len(d.args) == 2 {
		t.source = nameOf(d.arg(0))
	}
	if len(d.args) == 0 || t.name == "" || strings.ContainsAny(t.source, "$ ") || d.name == "map" && len(d.args) < 2 {
		return
	}
	for _, e := range d.block {
		if e.name == "default" {
			t.otherwise = e.arg(0)
			continue
		}
		if e.name == "hostnames" && len(e.args) == 0 && d.name == "map" {
			t.hostnames = true
			continue
		}
		_, err := prefixOf(e.name)
		if len(e.args) != 1 || e.name == "include" || d.name == "geo" && err != nil {
			return
		}
		t.entries = append(t.entries, e)
	}
	slices.SortStableFunc(t.entries, func(a, b *directive) int { return cmp.Compare(t.rank(a), t.rank(b)) })
	im.maps[t.name] = t
	if t.source == "http_upgrade" {
		t.places()
		d.each(func(e *directive) { im.Note(e.at, e.text(), "nothing to write: edge passes WebSockets on") })
	}
}

// prefixOf reads an address or a prefix.
func prefixOf(s string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err
}

// rank is less for entries that nginx looks at first: texts before expressions, long prefixes before short ones, and
// names before all those below one, of which the longest goes first.
func (t *table) rank(e *directive) int {
	if p, err := prefixOf(e.name); err == nil {
		return -p.Bits()
	} else if strings.HasPrefix(e.name, "~") {
		return math.MaxInt
	} else if above := t.above(e); above != "" {
		return math.MaxInt - len(above)
	}
	return 0
}

// above returns ".example.com" of an entry for all names below that; "": it is none.
func (t *table) above(e *directive) string {
	if name := strings.TrimPrefix(e.name, "*"); t.hostnames && strings.HasPrefix(name, ".") {
		return name
	}
	return ""
}

// places are the lines of t, for what asks for it.
func (t *table) places() (list []plan.Place) {
	t.d.each(func(d *directive) { d.used, list = true, append(list, d.at) })
	return list
}

// subject returns the value as the language has it, and writes the [maps.NAME] of it; "": edge has no such map.
func (t *table) subject(im *importer) string {
	if im.maps[t.source] != nil || im.locals[t.source] {
		return ""
	}
	key, values := im.subject(t.source), []plan.Field(nil)
	for _, e := range t.entries {
		if strings.HasPrefix(e.name, "~") || t.hostnames || hasVariables(e.arg(0)) {
			return ""
		}
		values = append(values, plan.Field{Name: strings.ToLower(e.name), Value: e.arg(0)})
	}
	if key == "" || hasVariables(t.otherwise) {
		return ""
	}
	keys := []plan.Setting{{Name: "values", Value: plan.Table(values), At: t.d.at}}
	if t.d.name == "geo" || key == "client.ip" {
		keys = append(keys, plan.Setting{Name: "type", Value: `"addresses"`})
	} else {
		key = "lower(" + key + ")"
	}
	text := "map." + im.Named("maps", cmp.Or(plan.Name(t.name), "map"), keys, t.places()...) + "[" + key + "]"
	if other, ok := plan.Quote(t.otherwise); ok && t.otherwise != "" {
		text = "(" + text + " ?? " + other + ")"
	}
	return text
}

// when is the condition that an entry of t matches.
func (t *table) when(im *importer, c context, e *directive) *plan.Cond {
	if t.d.name == "geo" {
		p, _ := prefixOf(e.name)
		if otherAddresses(c.server, c.at) != "" || t.source != "remote_addr" {
			return plan.Unknown
		}
		return plan.Test("client.ip in {" + p.String() + "}")
	}
	for _, operator := range []string{"~*", "~"} {
		if text, found := strings.CutPrefix(e.name, operator); found {
			return im.asks(c, t.source, operator, text)
		}
	}
	switch above := t.above(e); {
	case above != e.name && above != "":
		return im.asks(c, t.source, "*", above)
	case above != "":
		return plan.Any(im.asks(c, t.source, "=*", above[1:]), im.asks(c, t.source, "*", above))
	case t.hostnames && strings.HasSuffix(e.name, ".*"):
		return plan.Unknown
	}
	return im.asks(c, t.source, "=*", e.name)
}

// asks is the condition that the value is one of some.
func (t *table) asks(im *importer, c context, wanted func(value string) bool) *plan.Cond {
	im.asked = append(im.asked, t.places()...)
	when := always[wanted(t.otherwise)]
	for _, e := range slices.Backward(t.entries) {
		switch want := wanted(e.arg(0)); {
		case hasVariables(e.arg(0)+t.otherwise) || t.source == t.name:
			return plan.Unknown
		case want && when != plan.Always:
			when = plan.Any(t.when(im, c, e), when)
		case !want && when != plan.Never:
			when = plan.All(plan.Not(t.when(im, c, e)), when)
		}
	}
	return when
}

// choice is a value that a variable may have.
type choice struct {
	value string
	when  *plan.Cond
	from  []plan.Place
}

// choices returns the values of a variable that map makes, or set of constants: first the value for all other requests,
// then the values that go before.
func (im *importer) choices(c context, name string) (list []choice) {
	if t := im.maps[name]; t != nil {
		list = []choice{{t.otherwise, plan.Always, t.places()}}
		for _, e := range slices.Backward(t.entries) {
			list = append(list, choice{e.arg(0), t.when(im, c, e), []plan.Place{e.at}})
		}
		return list
	}
	known := im.locals[name] && !im.lost[name]
	c.d.each(func(d *directive) {
		if d.name != "set" || len(d.args) != 2 || nameOf(d.args[0]) != name {
			return
		}
		when := plan.Always
		if list != nil {
			when = plan.Compare("local."+localName(name), "==", d.args[1])
		}
		known = known && !hasVariables(d.args[1])
		list = append(list, choice{d.args[1], when, []plan.Place{d.at}})
	})
	if !known {
		return nil
	}
	return list
}
