package haproxy

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/config/import/plan"
)

// counts returns the one part of c that compares what was counted, where all else of c is known and it has to hold for
// c to do so; nil: there is none.
func (c *condition) counts() *condition {
	switch {
	case c.kind == unknown && c.counter != nil:
		return c
	case c.kind != and && len(c.kids) != 1 || c.kind == not:
		return nil
	}
	var found *condition
	for _, k := range c.kids {
		switch one := k.counts(); {
		case k.known():
		case one == nil || found != nil:
			return nil
		default:
			found = one
		}
	}
	return found
}

// limit writes the rule of a line that refuses requests beyond a rate. A count of n in a time lets n through in any
// such time. A filter lets its burst through, and its rate besides: so each of these is a half of n.
//
//	stick-table type ip store http_req_rate(10s)
//	http-request track-sc0 src                              rate = 10 / 10s, burst = 10
//	http-request deny if { sc_http_req_rate(0) gt 20 }
func (f *front) limit(l *line, c *condition) {
	name, why := f.limiter(l, c.counts().counter)
	if why != "" {
		f.im.Lose(l.at, l.text(), why+": write a filter of type rate_limit")
		return
	}
	f.im.Lose(l.at, "requests that "+l.text()+" has refused", "the filter "+name+" does not count them; half of the "+
		"count is its burst and half its rate, so that it lets no more through in any such time")
	f.put(l, c.without(c.counts()), refusal, plan.Field{Name: "filters", Value: plan.List(name)})
}

// without returns c where part holds.
func (c *condition) without(part *condition) *condition {
	if c == part {
		return always
	}
	own := *c
	own.kids = nil
	for _, k := range c.kids {
		own.kids = append(own.kids, k.without(part))
	}
	return &own
}

var (
	rateName  = plan.Expr(`^sc(?:_http_req_rate\(([0-9])(?:,[^)]*)?\)|([0-9])_http_req_rate)$`)
	rateStore = plan.Expr(`^http_req_rate\(([0-9]+[a-z]*)\)$`)
)

// limiter writes the filter of a comparison such as "sc_http_req_rate(0) gt 20", and returns its name.
func (f *front) limiter(l *line, words []string) (name, why string) {
	m := rateName().FindStringSubmatch(words[0])
	if m == nil || len(words) != 3 || words[1] != "gt" && words[1] != "ge" {
		return "", "edge counts requests alone"
	}
	count, err := strconv.ParseInt(words[2], 10, 32)
	if words[1] == "ge" {
		count--
	}
	track := f.s.tracked(m[1] + m[2])
	if err != nil || count < 2 || track == nil {
		return "", "edge does not know what is counted"
	}
	table := f.s
	if t := track.after("table"); t != "" {
		table = f.im.section(t)
	}
	per, at := rateOf(table)
	if per == 0 {
		return "", "there is no http_req_rate in the table"
	}
	key := ""
	if track.word(2) != "src" {
		s, match, ok := f.sampleOf(track.word(2))
		if !ok || match != "" || s.flag || s.number {
			return "", "edge does not know the key " + track.word(2)
		}
		key = "{" + s.holds + "}"
	}
	track.used, at.used = true, true
	name = plan.Unused("rate-"+plan.Name(table.name), f.im.listeners)
	b := f.im.Add("[filters."+name+"]", l.at, track.at, at.at)
	b.Set("type", `"rate_limit"`, plan.Place{})
	if key != "" {
		b.Set("key", plan.Literal(key), track.at)
	}
	b.Set("rate", rateText(count-count/2, per), l.at)
	b.Set("burst", strconv.FormatInt(count/2, 10), l.at)
	b.Set("status", denied(l, "403"), l.at)
	return name, ""
}

// tracked returns the line that counts requests of all clients by a counter; nil: none does, or for some requests.
func (s *section) tracked(counter string) (found *line) {
	for _, l := range s.withDefaults() {
		if slices.ContainsFunc(l.words, func(w string) bool { return w == "track-sc"+counter }) {
			if found != nil || l.words[0] != "http-request" || l.has("if") || l.has("unless") {
				return nil
			}
			found = l
		}
	}
	return found
}

// section returns the section of a name that has a stick-table, or nil.
func (im *importer) section(name string) *section {
	for _, s := range im.sections {
		if s.name == name && len(s.all("stick-table")) > 0 {
			return s
		}
	}
	return nil
}

// rateOf returns for how long the table of a section counts requests.
func rateOf(s *section) (per time.Duration, at *line) {
	if s == nil {
		return 0, nil
	}
	for _, l := range s.all("stick-table") {
		for _, w := range l.words {
			for _, part := range strings.Split(w, "),") {
				part = strings.TrimSuffix(part, ")") + ")"
				if m := rateStore().FindStringSubmatch(part); m != nil {
					per, _ = parseTime(m[1])
					return per, l
				}
			}
		}
	}
	return 0, nil
}

// rateText returns a rate that is at most count in a time.
func rateText(count int64, per time.Duration) string {
	for _, unit := range []struct {
		name string
		of   time.Duration
	}{{"s", time.Second}, {"m", time.Minute}} {
		if n := count * int64(unit.of); n%int64(per) == 0 {
			return plan.String(strconv.FormatInt(n/int64(per), 10) + "/" + unit.name)
		}
	}
	return plan.String(strconv.FormatInt(max(1, count*int64(time.Hour)/int64(per)), 10) + "/h")
}
