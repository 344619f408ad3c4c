package nginx

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// zone is a limit_req_zone, and what all limit_req that name it come to.
//
// All of them count together, each with a burst of its own; a filter has one. So it is the smallest, and requests wait
// where they do for one limit_req: none is let through that nginx refuses.
type zone struct {
	d      *directive
	uses   []*directive
	burst  int64
	delay  bool   // requests of the burst wait
	status string // of the first use
}

// Limits of filters.
const (
	zoneState     = 64 // bytes of a zone for each key
	keysByDefault = 100_000
	keysMax       = 100_000_000
	burstMax      = 1_000_000
	waitMax       = time.Minute
)

// options returns the options "name=value" of a directive.
func (d *directive) options() map[string]string {
	options := map[string]string{}
	for _, a := range d.args {
		name, value, _ := strings.Cut(a, "=")
		options[name] = value
	}
	return options
}

// addZones reads the zones of http, and how they are used in all blocks.
func (im *importer) addZones(http *directive) {
	for _, d := range http.block {
		if d.name == "limit_req_zone" {
			name, _, _ := strings.Cut(d.options()["zone"], ":")
			im.zones[name] = &zone{d: d}
		}
	}
	http.each(func(d *directive) {
		options := d.options()
		z := im.zones[options["zone"]]
		if d.name != "limit_req" || z == nil {
			return
		}
		burst, _ := strconv.ParseInt(options["burst"], 10, 32)
		_, now := options["nodelay"]
		delay := !now && burst > 0
		if first := options["delay"]; delay && first != "" {
			im.Lose(d.at, d.text(), "the first ones of the burst wait too")
		}
		if z.uses == nil {
			z.burst = burst
		} else if burst != z.burst || delay != z.delay {
			im.Lose(d.at, d.text(), "all requests of a zone are counted together, with the smallest burst of "+
				"all limit_req, and wait where they do for one of these")
		}
		z.uses, z.burst, z.delay = append(z.uses, d), min(z.burst, burst, burstMax-1), z.delay || delay
	})
}

var zoneRate = plan.Expr(`^0*([1-9][0-9]{0,8})r/([sm])$`)

// filterOf returns the filter of a zone for a server; why says why there is none.
func (im *importer) filterOf(z *zone, s *server) (f *filter, why string) {
	options := z.d.options()
	name, size, _ := strings.Cut(options["zone"], ":")
	rate := zoneRate().FindStringSubmatch(options["rate"])
	key := im.zoneKey(z.d.arg(0), s)
	if rate == nil || key == "" {
		return nil, "edge does not know this key or rate: write a filter of type rate_limit"
	}
	f = newFilter("rate_limit", name, z.d.at)
	for _, d := range z.uses {
		f.from = append(f.from, d.at)
	}
	if key != "{client.ip}" {
		f.set("key", plan.Literal(key), z.d.at)
	} else {
		im.Note(z.d.at, z.d.text(), "of addresses of IPv6 the first 64 bits count")
	}
	f.set("rate", plan.String(rate[1]+"/"+rate[2]), z.d.at)
	if bytes, _ := plan.ParseSize(size, 1<<10); bytes/zoneState > keysByDefault {
		f.set("max_keys", strconv.FormatInt(min(bytes/zoneState, keysMax), 10), z.d.at)
	}
	at := z.uses[0].at
	if f.set("burst", strconv.FormatInt(z.burst+1, 10), at); z.delay && z.burst > 0 {
		count, _ := strconv.ParseInt(rate[1], 10, 64)
		per := map[string]int64{"s": 1000, "m": 60_000}[rate[2]]
		wait := time.Duration((z.burst*per+count-1)/count) * time.Millisecond
		if wait > waitMax {
			im.Lose(at, z.uses[0].text(), "requests that would have to wait for more than a minute are refused")
		}
		f.set("mode", `"delay"`, at)
		f.set("max_delay", plan.Duration(min(wait, waitMax)), at)
	}
	if strings.Contains(z.d.arg(0), "server_name") {
		f.name += "-" + s.first
	}
	return f, ""
}

// zoneKey returns the key of a zone as a template, or "".
func (im *importer) zoneKey(text string, s *server) string {
	key, unknown := replaced(expand(text, im.http.constants), func(name string) string {
		value := cmp.Or(lookup("uri=path; document_uri=path", name), lookup(subjects, name))
		if part, key := partOf(name); part != "" {
			value = part + "." + key
		}
		if name == "server_name" {
			return strings.Trim(s.first, "{}'")
		}
		return strings.Replace("{"+value+"}", "{}", "", 1)
	})
	switch {
	case unknown != "":
		return ""
	case key != "" && !strings.Contains(key, "{"):
		return "static:" + key
	}
	return key
}

// limitsOf returns the filters that count the requests of a scope, and the lines that say so.
func (im *importer) limitsOf(c context) (list []*filter, from []plan.Place) {
	status, statusAt := "503", plan.Place{}
	for _, d := range c.at.all("limit_req") {
		if v, at, ok := c.at.value("limit_req_status"); ok {
			status, statusAt = v, at
		}
		z := im.zones[d.options()["zone"]]
		switch {
		case c.at.says("limit_req_dry_run", "on"):
			im.Note(d.at, d.text(), "nothing to write: nobody is refused")
			continue
		case z == nil:
			im.Lose(d.at, d.text(), "the file has no such zone")
			continue
		case z.status != "" && z.status != status:
			im.Lose(d.at, d.text(), "requests beyond the rate are answered "+z.status)
		}
		f, why := im.filterOf(z, c.server)
		if z.d.used = true; f == nil {
			im.Lose(d.at, d.text(), why)
			continue
		}
		z.status = cmp.Or(z.status, status)
		f.set("status", z.status, statusAt)
		list, from = append(list, f), append(from, d.at)
	}
	return list, from
}

// clientZones returns the zones of limit_conn in stream by which each client has a count, by their names.
func clientZones(stream *directive) map[string]*directive {
	zones := map[string]*directive{}
	for _, d := range stream.block {
		if key := d.arg(0); d.name == "limit_conn_zone" && (key == "$binary_remote_addr" || key == "$remote_addr") {
			name, _, _ := strings.Cut(d.options()["zone"], ":")
			zones[name] = d
		}
	}
	return zones
}

// countsOthers reports whether a server of stream has a limit_conn that does not count by client.
func (im *importer) countsOthers(server *directive) bool {
	from := server
	if server.child("limit_conn") == nil {
		from = im.http.block // stream, from which it has those
	}
	return slices.ContainsFunc(from.block, func(d *directive) bool {
		return d.name == "limit_conn" && im.clients[d.arg(0)] == nil
	})
}

// clientLimit writes the smallest limit_conn of a server of stream.
func (im *importer) clientLimit(b *plan.Block, s *scope) {
	least := uint64(math.MaxUint16) + 1 // more than nginx takes
	all, dry := s.all("limit_conn"), s.says("limit_conn_dry_run", "on")
	for _, d := range all {
		n, err := strconv.ParseUint(d.arg(1), 10, 16)
		zone := im.clients[d.arg(0)]
		switch {
		case dry:
			im.Note(d.at, d.text(), "nothing to write: nobody is refused")
			continue
		case err != nil || n == 0:
			im.Lose(d.at, d.text(), "edge does not know the value")
			continue
		case zone.used:
			im.Lose(d.at, d.text(), "each service counts the connections of its clients for itself")
		default:
			im.Note(zone.at, zone.text(), "of addresses of IPv6 the first 64 bits count")
		}
		if zone.used = true; n < least {
			least = n
			b.Set("limits.connections_per_client", strconv.FormatUint(n, 10), d.at)
		}
	}
}
