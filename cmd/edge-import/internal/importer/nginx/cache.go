package nginx

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// Statuses that proxy_cache_valid is for without one, and those that stand in for any.
const (
	validStatuses = "200 301 302"
	anyStatuses   = "200 203 204 300 301 302 308 404 410"
)

// keyed are variables that keys of edge have something for: the host, the path and the query.
var keyed = strings.Fields("scheme proxy_host host http_host server_name request_method request_uri uri document_uri " +
	"is_args args query_string")

// cache writes how answers of a location are cached by t, and returns steps for the requests that pass the cache by.
// Where edge lacks a part of the key, or does not know what is not to be stored, nothing is cached: one client would
// get the answer of another.
func (im *importer) cache(c context, t *plan.Target) (last []plan.Step) {
	d := c.at.get("proxy_cache")
	if d == nil || d.arg(0) == "off" {
		return nil
	}
	var keys []string // of the table
	add := func(name, value string) { keys = append(keys, name+" = "+value) }
	parts, known := im.cacheKey(c)
	passed, from, asked := im.passesCache(c)
	if !known || !asked {
		im.Lose(d.at, d.text(), "nothing is cached here: see cache of [[routes]]")
		return nil
	}
	if parts != nil {
		add("key", plan.List(parts...))
	}
	ttl := im.lifetimes(c)
	if add("ttl", "{ "+strings.Join(ttl, ", ")+" }"); ttl == nil {
		keys[len(keys)-1] = `heuristic_max = "0s"` // by what answers state alone
	}
	kept := plan.Duration(10 * time.Minute)
	for _, path := range im.http.all("proxy_cache_path") {
		for _, arg := range path.args {
			text, found := strings.CutPrefix(arg, "inactive=")
			if after, ok := plan.ParseTime(text, time.Second); found && ok {
				kept = plan.Duration(after)
			}
		}
		im.Note(path.at, path.text(), "edge caches in memory; disk of [cache] has path and size of a folder, which "+
			"has to be another one")
	}
	stale, failing := c.at.get("proxy_cache_use_stale"), `"0s"`
	for _, word := range stale.words() {
		switch {
		case word == "updating":
			add("stale_while", kept)
		case word == "error" || word == "timeout" || strings.HasPrefix(word, "http_5"):
			failing = kept
		}
	}
	add("stale_on_error", failing)
	if wait, at, ok := c.at.value("proxy_cache_lock_timeout"); ok {
		if after, ok := plan.ParseTime(wait, time.Second); ok && after > 0 {
			add("lock_timeout", plan.Duration(after))
			t.From = append(t.From, at)
		}
	}
	if fields := c.at.get("proxy_ignore_headers").words(); slices.ContainsFunc(fields, func(f string) bool {
		return strings.EqualFold(f, "Cache-Control") || strings.EqualFold(f, "Expires")
	}) && ttl != nil {
		add("obey", `"ttl"`)
	}
	set(t, "cache", "{ "+strings.Join(keys, ", ")+" }", d.at)
	im.Note(d.at, d.text(), "answers to requests with cookies are stored where they state a lifetime; "+
		`cookies = "ignore" stores all of them, as nginx does`)
	if when := plan.Any(passed...); len(passed) > 0 && when != plan.Never {
		step := d.step(plan.Do("cache", "false"))
		step.When, step.From = when, append(step.From, from...)
		last = []plan.Step{step}
	}
	return last
}

// words are the arguments of a directive, which may be nil.
func (d *directive) words() []string {
	if d == nil {
		return nil
	}
	return d.args
}

// cacheKey returns the parts of proxy_cache_key that edge has not in each key. It reports false where it lacks one.
func (im *importer) cacheKey(c context) (parts []string, known bool) {
	d := c.at.get("proxy_cache_key")
	if d == nil {
		return nil, true
	}
	for _, m := range variable().FindAllString(expand(d.arg(0), c.at.constants), -1) {
		part, unknown := im.template(c, m)
		if of, name := partOf(nameOf(m)); of == "query" || of == "cookie" {
			part, unknown = "{"+of+"."+name+"}", ""
		}
		switch {
		case slices.Contains(keyed, nameOf(m)):
		case unknown != "":
			im.Lose(d.at, d.text(), "keys have no "+unknown)
			return nil, false
		default:
			parts = append(parts, part)
		}
	}
	im.Note(d.at, d.text(), "each key has the host, the path, the query, and fields that the route sets")
	return parts, true
}

// passesCache returns the conditions of proxy_cache_bypass and proxy_no_cache. It reports false where edge lacks one.
func (im *importer) passesCache(c context) (list []*plan.Cond, from []plan.Place, known bool) {
	for _, d := range append(slices.Clip(c.at.all("proxy_cache_bypass")), c.at.all("proxy_no_cache")...) {
		for _, text := range d.args {
			when := im.testOf(c, text)
			if when == plan.Unknown {
				im.Lose(d.at, d.text(), "edge has no "+text)
				return nil, nil, false
			}
			list, from = append(list, when), append(from, d.at)
		}
	}
	return list, from, true
}

// lifetimes returns what proxy_cache_valid says, by status.
func (im *importer) lifetimes(c context) (list []string) {
	var seen []string
	for _, d := range c.at.all("proxy_cache_valid") {
		n := len(d.args) - 1
		after, ok := plan.ParseTime(d.arg(n), time.Second)
		if n < 0 || !ok || after == 0 {
			im.Lose(d.at, d.text(), "edge does not know the time: such answers are stored as they state")
			continue
		}
		of := strings.Replace(cmp.Or(strings.Join(d.args[:n], " "), validStatuses), "any", anyStatuses, 1)
		for _, status := range strings.Fields(of) {
			if !slices.Contains(seen, status) { // the first one counts
				seen, list = append(seen, status), append(list, status+" = "+plan.Duration(after))
			}
		}
	}
	return list
}
