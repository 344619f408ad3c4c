package caching

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/language"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/config/value"
)

func init() {
	config.Register[Cache](keyTypes, schema.Section{
		Path: cachePath,
		Doc: "The cache of the process, where the answers of routes with `cache` are stored. Without such a route " +
			"there is none.",
		Codes: []schema.Code{
			{Name: codeKey, Doc: "A template in `key` of `cache` has another value for each client or each request: " +
				"no stored answer is found again."},
			{Name: codeCookies, Doc: "`cookies = \"ignore\"` of `cache`: the answer to one visitor's cookies is " +
				"given to all visitors."},
			{Name: codeSticky, Doc: "A cached route leads to an upstream with `sticky`: a stored answer sets no " +
				"cookie that keeps a client at its backend."},
			{Name: codePurge, Doc: "`purge.allow` of `[cache]` has all addresses: any client may end what is stored."},
		},
	})
	config.Register[entry](keyTypes, schema.Section{
		Path: defaultsPath, Switch: "enabled", Bare: "ttl", Resolve: resolveDefaults,
		Doc: "Caching of the answers of all routes that lead to backends, unless their `dest` has variables. " +
			"`cache = true` in `[defaults]` is a table without keys.",
	})
	config.Register[entry](keyTypes, schema.Section{
		Path: routesPath, Switch: "enabled", Bare: "ttl", Defaults: defaultsPath, Resolve: resolveRoute,
		Doc: "Caching of the answers of this route, whose keys go before the keys of `cache` of `[defaults]`. " +
			"`cache = true` is a table without keys; `cache = false` turns caching off for the route.",
	})
	doc := "Caching of the answers to requests that the rule holds for. The keys that it names take the place of the " +
		"keys of the route and of `[defaults]`. `cache = true` turns caching on as these say, also for a route " +
		"without caching; `cache = false` turns it off. Of several rules with `cache` the last one that holds counts."
	for _, path := range rulePaths {
		config.Register[entry](keyTypes, schema.Section{
			Path: path, Switch: "enabled", Bare: "ttl", Resolve: resolveRule, Doc: doc,
		})
		doc = "Caching by a rule, as in `[" + rulePaths[0] + "]`."
	}
	config.RegisterCheck(check)
}

func keyTypes() *schema.Tags {
	return &schema.Tags{Comments: schema.Comments(source), Kinds: map[string]schema.FieldType{
		"percent":             {Type: config.Percent, Plain: true},
		"[]caching.StatusTTL": {Type: typeTTL},
		"[]*lang.Template":    language.Compiled(typeKey),
		"query_names":         {Type: typeNames},
		"field_names":         {Type: value.TypeFieldNames(value.WrongField)},
	}}
}

// Types of keys. The comment after each is the Go type of its values.
var (
	typeTTL   = schema.Type{Name: "time, or table of times by status", Parse: parseTTL}              // []StatusTTL
	typeKey   = schema.Type{Name: "[template](DSL.md) or list of them", Parse: schema.Strings.Parse} // []string
	typeNames = schema.Type{Name: "name or list", Parse: schema.FilledListOf("the name of a parameter", parameterOf)}
)

// bareStatuses are the statuses that a time alone is for: RFC 9110 §15.1 allows to cache them without a stated
// lifetime, and none is an error.
var bareStatuses = []uint16{200, 203, 204, 300, 301, 308}

// unstored are the statuses of answers that are never stored: a part of a body, news of a stored answer, and a refused
// range.
var unstored = []uint16{206, 304, 416}

const ttlMax = 8760 * time.Hour

// parseTTL reads a time, or { 200 = "5m", 404 = "10s" }.
func parseTTL(d *schema.Decoder, k *schema.Key, n *syntax.Node) (any, bool) {
	var all []StatusTTL
	if n.Kind != syntax.KindTable {
		t, right := parseTime(d, k, n)
		for _, status := range bareStatuses {
			all = append(all, StatusTTL{status, t})
		}
		return all, right
	}
	right := d.Filled(n)
	for _, c := range n.Children {
		status, err := strconv.ParseUint(c.Key, 10, 16)
		one := uint16(status)
		if err != nil || len(c.Key) != 3 || one < 200 || one > 599 || slices.Contains(unstored, one) {
			d.Report.Errorf(c.Name, "statuses are 200 to 599; answers with 206, 304 or 416 are not stored",
				"%s is no status of an answer to store", syntax.Quote(c.Key))
			right = false
			continue
		}
		t, ok := parseTime(d, k, c)
		all, right = append(all, StatusTTL{one, t}), right && ok
	}
	slices.SortFunc(all, func(a, b StatusTTL) int { return int(a.Status) - int(b.Status) })
	return all, right
}

func parseTime(d *schema.Decoder, k *schema.Key, n *syntax.Node) (time.Duration, bool) {
	v, right := schema.Duration.Parse(d, k, n)
	t, _ := v.(time.Duration)
	if right && (t < 0 || t > ttlMax) {
		d.Report.Errorf(n.Value, "", "%q must be between 0s and 8760h", n.Key)
		right = false
	}
	return t, right
}

// parameterOf reads the name of a parameter, in which a * stands for any rest.
func parameterOf(_ []string, s string) (name, wrong, hint string) {
	if strings.ContainsAny(strings.TrimSuffix(s, "*"), "*&=#?") {
		return s, syntax.Quote(s) + " is not the name of a parameter", `write a name alone, such as "page" or "utm_*"`
	}
	return s, "", ""
}
