package haproxy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

var (
	// counterAsked matches comparisons of something that was counted, in stick-tables and by the process.
	counterAsked = plan.Expr(`^(?:sc[0-9]*_|src_(?:conn|http|bytes|sess|gpc|kbytes|inc|clr|updt)|fe_|be_|table_)`)
	rateAsked    = plan.Expr(`^sc(?:_http_req_rate\(([0-9])(?:,[^)]*)?\)|([0-9])_http_req_rate) g([te]) ([0-9]{1,9})$`)
	rateStored   = plan.Expr(`\bhttp_req_rate\(([0-9]+[a-z]*)\)`)
)

// limit adds the step of a line that refuses requests beyond a rate. A count of n in a time lets n through in any such
// time. A limit lets its burst through, and its rate besides: so each of these is a half of n.
//
//	stick-table type ip store http_req_rate(10s)
//	http-request track-sc0 src                              rate = 10 / 10s, burst = 10
//	http-request deny if { sc_http_req_rate(0) gt 20 }
func (f *front) limit(l *line, counter string, rest *plan.Cond) {
	l.used = true
	m := append(rateAsked().FindStringSubmatch(counter), make([]string, 5)...)
	count, _ := strconv.ParseInt(m[4], 10, 64)
	if m[3] == "e" {
		count--
	}
	track, store, per := f.counted("track-sc" + m[1] + m[2])
	s, match, known := f.sample(track.after("track-sc" + m[1] + m[2]))
	if count < 2 || per == 0 || !known || match != "" || s.kind == "flag" || s.kind == "number" {
		f.im.Lose(l.at, l.text(), "edge does not know what is counted: write a rule with limit")
		return
	}
	rate, unit := (count-count/2)*int64(time.Second), "/s"
	if rate%int64(per) != 0 {
		rate, unit = (count-count/2)*int64(time.Hour), "/h"
	}
	rate = max(1, rate/int64(per))
	value := fmt.Sprintf(`rate = "%d%s", burst = %d, status = %d`, rate, unit, count/2, denied(l, 403))
	if s.holds != "client.ip" {
		value = "key = " + plan.Literal("{"+s.holds+"}") + ", " + value
	}
	track.used, store.used = true, true
	f.im.Lose(l.at, "requests that "+l.text()+" has refused", "the limit does not count them; half of the count is "+
		"its burst and half its rate, so that it lets no more through in any such time")
	f.put(l, rest, plan.Limit("{ "+value+" }"))
	last := &f.list[len(f.list)-1]
	last.From = append(last.From, track.at, store.at)
}

// counted returns the line by which a counter counts the requests of all clients, and the line of its table, which says
// for how long. 0: there are none.
func (f *front) counted(counter string) (track, store *line, per time.Duration) {
	i := slices.IndexFunc(f.lines, func(l *line) bool { return l.has(counter) })
	if i < 0 || f.lines[i].conditional() < len(f.lines[i].words) {
		return nil, nil, 0
	}
	track = f.lines[i]
	for _, s := range f.im.sections {
		for _, l := range s.all("stick-table") {
			m := rateStored().FindStringSubmatch(strings.Join(l.words, " "))
			if table := track.after("table"); m != nil && (s.name == table || s == f.s && table == "") {
				store = l
				per, _ = plan.ParseTime(m[1], time.Millisecond)
			}
		}
	}
	return track, store, per
}
