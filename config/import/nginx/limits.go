package nginx

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/config/import/plan"
)

// zone is a limit_req_zone, and what all limit_req that name it come to.
//
// All of them count together, each with a burst of its own; a filter has one. So it is the smallest, and requests wait
// where they do for one limit_req: none is let through that nginx refuses.
type zone struct {
	d      *directive
	filter *filter // nil: not carried
	why    string  // why not
	burst  int64
	delay  bool
	uses   []*directive
	status string // of the first use that was carried
	server bool   // the key has the name of the server in it
}

var zoneRate = plan.Expr(`^rate=([0-9]{1,9})r/([sm])$`)

// addZones reads the zones of http, and how they are used in all blocks.
func (t *filterTable) addZones(at *scope, http *directive) {
	for _, d := range http.block {
		if d.name == "limit_req_zone" {
			t.addZone(at, d)
		}
	}
	t.zoneUses(http)
	for _, z := range t.zones {
		if z.why == "" && len(z.uses) > 0 {
			z.complete(t.plan)
		}
	}
}

func (t *filterTable) addZone(at *scope, d *directive) {
	z := &zone{d: d, burst: -1}
	name, rate := "", []string(nil)
	size := int64(0)
	for _, a := range d.args[min(1, len(d.args)):] {
		switch {
		case strings.HasPrefix(a, "zone="):
			var text string
			name, text, _ = strings.Cut(a[len("zone="):], ":")
			size, _ = parseSize(text)
		case strings.HasPrefix(a, "rate="):
			rate = zoneRate().FindStringSubmatch(a)
		}
	}
	t.zones[name] = z
	z.filter = &filter{name: name, kind: "rate_limit", from: []plan.Place{d.at}}
	if rate == nil || strings.Trim(rate[1], "0") == "" {
		z.why = "edge does not know this rate"
		return
	}
	key, empty, why := zoneKey(at, d.arg(0))
	z.server = strings.Contains(key, ofServer)
	if z.why = why; why != "" {
		return
	}
	if key != "" {
		z.filter.set("key", plan.Literal(key), d.at)
	} else {
		t.plan.Note(d.at, d.text(), "of addresses of IPv6 the first 64 bits count")
	}
	if empty != "" {
		z.filter.set("when", plan.Literal(empty), d.at)
	}
	z.filter.set("rate", plan.String(strings.TrimLeft(rate[1], "0")+"/"+rate[2]), d.at)
	if keys := size / zoneState; keys > keysByDefault {
		z.filter.set("max_keys", strconv.FormatInt(min(keys, keysMax), 10), d.at)
	}
}

// ofServer stands for the name of a server in a key: a filter counts the requests of one.
const ofServer = "{server_name}"

// of returns the filter of z for a server.
func (z *zone) of(t *filterTable, s *server) *filter {
	if !z.server {
		return z.filter
	}
	f := *z.filter
	f.keys = slices.Clone(f.keys)
	for i := range f.keys {
		f.keys[i].value = strings.ReplaceAll(f.keys[i].value, ofServer, strings.Trim(s.first, "{}'"))
	}
	f.name += "-" + s.first
	return t.same(&f)
}

const (
	zoneState     = 64 // bytes of a zone for each key
	keysByDefault = 100_000
	keysMax       = 100_000_000
)

// keyNames returns variables by which requests may be counted.
func keyNames() map[string]string {
	return map[string]string{
		"remote_addr": "{client.ip}", "binary_remote_addr": "{client.ip}", "host": "{host}", "uri": "{path}",
		"document_uri": "{path}", "request_uri": "{target}", "args": "{query}", "query_string": "{query}",
		"request_method": "{method}", "scheme": "{scheme}", "server_port": "{server.port}",
		"server_addr": "{server.ip}", "ssl_server_name": "{tls.sni}", "server_name": ofServer,
	}
}

var (
	ownAddress = plan.Expr(`^\$\{?(?:binary_)?remote_addr\}?$`)
	sentName   = plan.Expr(`^(http|arg|cookie)_([a-z0-9_]+)$`)
)

// zoneKey returns the key of a zone as a template: "" is the address of the client. empty is the condition that the key
// is not empty, where it may be: nginx does not count such requests.
func zoneKey(at *scope, text string) (key, empty, why string) {
	text = expand(text, at.constants)
	if ownAddress().MatchString(text) {
		return "", "", ""
	}
	known := keyNames()
	for _, m := range variable().FindAllString(text, -1) {
		if sent := sentName().FindStringSubmatch(nameOf(m)); sent != nil {
			value := sentValue(sent[1], sent[2])
			known[nameOf(m)] = "{" + value + "}"
			if m == text {
				empty = value + ` != ""`
			}
		}
	}
	plain := variable().ReplaceAllString(text, "")
	key, unknown := translate(text, known)
	switch {
	case unknown != "":
		return "", "", "requests are not counted by " + unknown + ": write a filter of type rate_limit"
	case strings.ContainsAny(plain, "{}"):
		return "", "", "edge does not know this key: write a filter of type rate_limit"
	}
	return key, empty, ""
}

// sentValue returns the variable for a part of a request that has a name.
func sentValue(part, name string) string {
	switch part {
	case "http":
		return "header." + strings.ReplaceAll(name, "_", "-")
	case "arg":
		return "query." + name
	}
	return "cookie." + name
}

// zoneUses finds the uses of zones in a block, at any depth.
func (t *filterTable) zoneUses(block *directive) {
	for _, d := range block.block {
		t.zoneUses(d)
		if d.name != "limit_req" {
			continue
		}
		u := useOf(d)
		z := t.zones[u.zone]
		if z == nil {
			continue
		}
		if len(z.uses) > 0 && (u.burst != z.burst || u.delay != z.delay) {
			t.plan.Lose(d.at, d.text(), "all requests of a zone are counted together, with the smallest burst of "+
				"all limit_req, and wait where they do for one of these")
		}
		z.uses = append(z.uses, d)
		z.delay = z.delay || u.delay
		if z.burst < 0 || u.burst < z.burst {
			z.burst = u.burst
		}
	}
}

// use is what a limit_req says.
type use struct {
	zone  string
	burst int64
	delay bool // requests of the burst wait
	some  bool // but for the first ones
}

func useOf(d *directive) (u use) {
	u.delay = true
	for _, a := range d.args {
		name, value, _ := strings.Cut(a, "=")
		switch name {
		case "zone":
			u.zone = value
		case "burst":
			u.burst, _ = strconv.ParseInt(value, 10, 32)
		case "nodelay":
			u.delay = false
		case "delay":
			n, _ := strconv.ParseInt(value, 10, 32)
			u.some = n > 0
		}
	}
	u.delay = u.delay && u.burst > 0
	return u
}

// waitMax is the longest time that a filter has a request wait.
const waitMax = time.Minute

// complete writes what the uses of a zone come to.
func (z *zone) complete(p *plan.Plan) {
	const burstMax = 1_000_000
	z.filter.set("burst", strconv.FormatInt(min(z.burst, burstMax-1)+1, 10), z.uses[0].at)
	for _, d := range z.uses {
		z.filter.from = append(z.filter.from, d.at)
		if z.delay && useOf(d).some {
			p.Lose(d.at, d.text(), "the first ones of the burst wait too")
		}
	}
	if !z.delay || z.burst == 0 {
		return
	}
	rate := zoneRate().FindStringSubmatch(z.d.arg(z.rateAt()))
	count, _ := strconv.ParseInt(rate[1], 10, 64)
	per := int64(time.Second / time.Millisecond)
	if rate[2] == "m" {
		per *= 60
	}
	wait := time.Duration((z.burst*per+count-1)/count) * time.Millisecond
	if wait > waitMax {
		p.Lose(z.uses[0].at, z.uses[0].text(), "requests that would have to wait for more than a minute are refused")
	}
	z.filter.set("mode", `"delay"`, z.uses[0].at)
	z.filter.set("max_delay", plan.Duration(min(wait, waitMax)), z.uses[0].at)
}

// rateAt returns which argument of the zone is its rate.
func (z *zone) rateAt() (i int) {
	for i = range z.d.args {
		if strings.HasPrefix(z.d.args[i], "rate=") {
			break
		}
	}
	return i
}

// limitsOf returns the filters that count the requests of a scope, and the lines that say so.
func (t *filterTable) limitsOf(s *server, at *scope) (list []*filter, from []plan.Place) {
	uses := at.all("limit_req")
	if len(uses) == 0 {
		return nil, nil
	}
	if d := at.get("limit_req_dry_run"); d != nil && d.arg(0) == "on" {
		t.plan.Note(d.at, d.text(), "nothing to write: nobody is refused")
		return nil, nil
	}
	status, statusAt := "503", plan.Place{}
	if v, at, ok := at.value("limit_req_status"); ok {
		status, statusAt = v, at
	}
	for _, d := range uses {
		z := t.zones[useOf(d).zone]
		switch {
		case z == nil:
			t.plan.Lose(d.at, d.text(), "the file has no such zone")
			continue
		case z.why != "":
			t.plan.Lose(d.at, d.text(), z.why)
			z.d.used = true
			continue
		case z.status == "":
			z.status = status
			z.filter.set("status", status, statusAt)
		case z.status != status:
			t.plan.Lose(d.at, d.text(), "requests beyond the rate are answered "+z.status)
		}
		z.d.used = true
		list, from = append(list, z.of(t, s)), append(from, d.at)
	}
	return list, from
}
