package plugins

import (
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/lang"
)

// Kind is a kind of types as files see it: the section whose tables have them. Immutable.
type Kind struct {
	*plugin.Kind
	Doc     string // of the section
	Does    string // of the key type
	Use     string // the hint for an unused one
	Unused  string // what the code of that warning means
	Warning string // what the code of warnings means that one logs when it is made

	Default string // the type of a table without one; "": each has it
}

// Kinds are all of them, in the order of the reference page.
var Kinds = []*Kind{Filters, Destinations, BalanceMethods, Discoverers, LogSinks, ConnectionFilters, Services,
	DNSProviders, Storages}

// Each kind has the section of its name.
var (
	Filters = &Kind{
		Kind: plugin.Filters,
		Doc: "Filters, by the names under which `filters` of listeners, `[defaults]` and routes name them: see " +
			"[filters](filters.md#in-a-configuration).",
		Does:    "Type of the filter: a type below, or of a module that the program was built with.",
		Use:     "name it in \"filters\" of a listener, of [defaults], of a route or of a rule",
		Unused:  "No listener, no route, no rule and not `[defaults]` names a filter: it is not made.",
		Warning: "A filter that is used warns the operator when it is made, as filters of the type `fault` do.",
	}

	Destinations = &Kind{
		Kind: plugin.Destinations,
		Doc: "Destinations of requests beside upstreams, by the names under which `dest` of routes and rules names " +
			"them: [files](static.md), and types of [modules](plugins.md#destinations).",
		Does:   "Type of the destination: `static`, or of a module that the program was built with.",
		Use:    "name it as \"dest\" of a route or of a rule",
		Unused: "No route and no rule leads to a destination: it is not made.",
	}

	LogSinks = &Kind{
		Kind: plugin.LogSinks,
		Doc: "Sinks of access logs beside files, by the names under which `output` of `[log]`, and `access_log` of " +
			"listeners and routes, name them: such a name is no path. `error_log_also` names them for the error log. " +
			"They are [syslog](logging.md#syslog), [OTLP](logging.md#opentelemetry), and types of " +
			"[modules](plugins.md#log-sinks).",
		Does: "Type of the log sink: `syslog`, `otlp`, or of a module that the program was built with.",
		Use: "name it in \"output\" of [log], as \"access_log\" of a listener or of a route, or in " +
			"\"error_log_also\"",
		Unused: "Neither `output` of `[log]` nor an `access_log` nor `error_log_also` names a log sink: it is not " +
			"made.",
	}

	BalanceMethods = &Kind{
		Kind: plugin.BalanceMethods,
		Doc: "Methods of balancing beside edge's own, by the names under which `load_balancing` of upstreams and " +
			"routes names them. The types come from [modules](plugins.md#balance-methods).",
		Does:   "Type of the method, of a module that the program was built with.",
		Use:    "name it as \"load_balancing\" of an upstream, of a route or of [upstream_defaults]",
		Unused: "No `load_balancing` names a balance method: it is not made.",
	}

	ConnectionFilters = &Kind{
		Kind: plugin.ConnectionFilters,
		Doc: "Filters that accept or close connections of clients, by the names under which `connection_filters` of " +
			"listeners names them. The types come from [modules](plugins.md#connection-filters).",
		Does:   "Type of the connection filter, of a module that the program was built with.",
		Use:    "name it in \"connection_filters\" of a listener",
		Unused: "No listener names a connection filter: it is not made.",
	}

	// Services have keys of listeners, so package config has their section.
	Services = &Kind{
		Kind: plugin.Services,
		Does: "Type of the service: `tcp`, or of a module that the program was built with. A service of the program " +
			"itself has no type.",
		Default: "tcp",
	}

	Discoverers = &Kind{
		Kind: plugin.Discoverers,
		Doc: "Sources of backends beside edge's own, by the names under which `discover` of upstreams " +
			"names them. The types come from [modules](plugins.md#discoverers).",
		Does:   "Type of the source, of a module that the program was built with.",
		Use:    "name it in \"discover\" of an upstream",
		Unused: "No upstream names a discoverer: it is not made.",
	}

	DNSProviders = &Kind{
		Kind: plugin.DNSProviders,
		Doc: "Writers of the records for [proofs by DNS](acme.md#proofs-by-dns-wildcard-certificates), by the names " +
			"under which `dns` of `[acme]` names them. The types come from [modules](plugins.md#dns-providers).",
		Does:   "Type of the DNS provider, of a module that the program was built with.",
		Use:    "name it in \"dns\" of [acme]",
		Unused: "`dns` of `[acme]` does not name a DNS provider: it is not made.",
	}

	Storages = &Kind{
		Kind: plugin.Storages,
		Doc: "Storages of [certificates by ACME](acme.md#several-machines) beside folders, by the names under which " +
			"`storage` of `[acme]` names them. The types come from [modules](plugins.md#storages).",
		Does:   "Type of the storage, of a module that the program was built with.",
		Use:    "name it in \"storage\" of [acme]",
		Unused: "`storage` of `[acme]` does not name a storage: it is not made.",
	}
)

func (k *Kind) find(name string) *plugin.Type { return plugin.TypeNamed(k.Kind, name) }

// unusedCode is the code of the warning of an unused one.
func (k *Kind) unusedCode() string {
	return "unused-" + strings.ToLower(strings.ReplaceAll(k.Name, " ", "-"))
}

// Sections returns the sections of all kinds, with the types that were registered.
func Sections() (all []*schema.Section) {
	for _, k := range Kinds {
		if k != Services {
			all = append(all, k.section())
		}
	}
	return all
}

// tags say what the tags of fields mean.
var tags = sync.OnceValue(func() *schema.Tags {
	later := func(reflect.Value, any) {} // the text is compiled when all is read
	return &schema.Tags{Comments: schema.Comments(source), Kinds: map[string]schema.FieldType{
		"*lang.Condition": {Type: sourceType(plugin.Source{Phases: lang.Content}), Set: later},
	}}
})

func (k *Kind) section() *schema.Section {
	s := schema.Table[entry](tags(), schema.Section{
		Path: k.Section, Shape: schema.Named, New: k.newEntry, Doc: k.Doc, Variants: k.Variants(),
		Codes: []schema.Code{{Name: k.unusedCode(), Doc: k.Unused}},
		Keep: func(of *schema.Key) bool {
			if of.Path == "type" {
				of.Doc = k.Does
			}
			return of.Path == "type" || k.When
		},
	})
	if k.Warning != "" {
		s.Codes = append(s.Codes, schema.Code{Name: k.Name + "-warning", Doc: k.Warning})
	}
	return s
}

// Variants returns the types of k, as kinds of entries of a section.
func (k *Kind) Variants() schema.Variants {
	v := schema.Variants{By: "type", Default: k.Default, Unknown: k.elsewhere}
	for _, t := range plugin.Types() {
		if t.Kind == k.Kind {
			v.List = append(v.List, schema.Variant{Name: t.Name, Doc: t.Doc, Keys: keysOf(t)})
		}
	}
	return v
}

// OwnFilters are the types of filters of edge itself, none of which chooses where a request goes.
var OwnFilters = []string{"basic_auth", "compress", "cors", "csrf", "fault", "ip", "maintenance", "rate_limit",
	"request_limits", "security_headers"}

// notYet are types that other programs have, and edge and its modules have not.
var notYet = []string{"jwt", "oidc", "forward_auth", "udp", "mirror"}

// elsewhere says where a type may be that k does not have.
func (k *Kind) elsewhere(name string) string {
	if slices.Contains(notYet, name) {
		return "it is not there yet, and the README lists what is not; a filter in Go can do it: docs/filters.md"
	}
	for _, other := range Kinds {
		if other.find(name) != nil {
			return "it is a type of " + other.Section + ": write [" + other.Section + ".NAME]"
		}
	}
	return "edge modules lists the types of this program, and edge build links modules that have others"
}
