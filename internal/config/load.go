package config

import (
	"cmp"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/internal/base/yield"
	"github.com/edge-proxy/edge/internal/config/language"
	"github.com/edge-proxy/edge/internal/config/plugins"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/lang"
)

// Options say how a configuration is read. The zero value is good.
type Options struct {
	// Set holds "key=value" entries, which beat what the files say; the last one for a key wins.
	Set []string
	// Under are texts in TOML of the program itself: keys of the files go before their keys, and keys of an earlier
	// text before keys of a later one.
	Under []Under
	// LookupEnv returns a variable that a string names as ${NAME}; nil is os.LookupEnv.
	LookupEnv func(name string) (value string, found bool)
	// Dir is where a relative path of ${file:…} begins; "": the working directory.
	Dir string
	// TextOnly looks at what is written alone: Load does not open the certificates, pages and lists that the files
	// name.
	TextOnly bool
	// Tables are the lists and maps of the process: those that the Config has take effect with its Language.Commit.
	// nil: the Config has some of its own, as a Config that is only checked. With Tables their files are read, also
	// with TextOnly.
	Tables *language.Tables
	// MakeFilters makes the filters and destinations that are used, once, and gives them up, to see whether they can
	// be made.
	MakeFilters bool
	// Filters and Destinations are names of filters and destinations of the program, beside the tables of [filters]
	// and [destinations].
	Filters, Destinations []string
	// Leads are names of upstreams and destinations that the program leads to, whether a route does or not.
	Leads []string
	// Services are names of services of the program: each stands in [services], without a type.
	Services []string
	// Places makes the Config keep where its values stand: see Config.Places. The text of the files is kept for it.
	Places bool
	// Written makes the Config keep what the files say, without their secrets: see Config.Written.
	Written bool
	// Sources are the schemes of the sources of backends that the program has beside edge's own.
	Sources []string
	// Registries are the schemes of the registries that the program has beside edge's own, for [register].
	Registries []string
	// Kept are the texts of an earlier Load, to be read in place of the disk: Load gets their Main.
	Kept *Files
	// Record is filled in with the files that Load reads, also when they have errors. nil: their texts are not kept.
	Record *Files
	// Sent says what the client that has sent the text in Kept may write; nil: no client has sent it.
	Sent *Sent
	// Partial makes Load return a Config also with errors: Global and Features hold what could be read, the rest is of
	// no use. It is for finding the process that serves the file.
	Partial bool
	// Ignored are files that the one to load was chosen from and that are not read: a warning each.
	Ignored []string
}

// Severities of a Problem: an error keeps a configuration from loading, a warning does not.
const (
	SeverityError   = syntax.SeverityError
	SeverityWarning = syntax.SeverityWarning
)

// Parse checks the text of a configuration; name stands for the file in messages, and its extension tells the format.
// An empty text is a configuration too: the hello page. src must not change afterwards. The Config is nil when the
// Report has errors.
func Parse(name string, src []byte) (*Config, *Report) { return Options{}.Parse(name, src) }

// Load reads the file at path and those it includes, and checks them. The Config is nil when the Report has errors.
func (o Options) Load(path string) (*Config, *Report) {
	var now time.Time
	if !o.TextOnly {
		now = time.Now()
	}
	return o.configOf(path, edge().Load(path, o.reading()), now)
}

// Parse is like the function Parse, with options.
func (o Options) Parse(name string, src []byte) (*Config, *Report) {
	return o.configOf(name, edge().Parse(name, src, o.reading()), time.Time{})
}

func (o Options) reading() schema.Options {
	return schema.Options{Set: o.Set, Under: o.Under, LookupEnv: o.LookupEnv, Dir: o.Dir, Kept: o.Kept,
		Record: o.Record, Sent: o.Sent}
}

// configOf gives the files, the first of which is called name, their meaning.
func (o Options) configOf(name string, file *schema.Document, now time.Time) (*Config, *Report) {
	doc, rep := documentOf(file), file.Report
	file.Looks = !now.IsZero()
	file.Fill(doc.top)
	for _, other := range o.Ignored {
		rep.Warnf(codeIgnoredFile, syntax.Span{}, "name one with -c, or remove the other",
			"%s is not read: %s goes before it", syntax.QuotePath(other), syntax.QuotePath(name))
	}
	var c *Config
	// With a part of the files left out, names would seem to be missing that are not.
	if file.Whole && !rep.Full() {
		c = resolve(file, doc, now, o)
		for _, check := range checks {
			check(file, c)
		}
	} else if o.Partial {
		c = resolvePart(file, doc)
	}
	if !o.Places {
		schema.Detach(doc.features)
	}
	rep.Finish(name, doc.top.Allow)
	if !rep.OK() {
		if o.Partial {
			return &Config{Global: c.Global, Features: c.Features}, rep
		}
		return nil, rep
	}
	if o.Written {
		c.Written = file.Written()
	}
	c.Namings = file.Namings
	return c, rep
}

const (
	helloAddress    = ":8080"   // where edge listens when no file says where
	defaultUpstream = "default" // the name of the upstream for requests that no route takes
)

// resolver turns entries into the Config: names become indices, entries get their defaults.
type resolver struct {
	rep        *Report
	file       *schema.Document
	doc        *document // the entries of file
	c          *Config
	now        time.Time               // against which certificates are valid; zero: no file that is named is opened
	names      map[string]int          // the index of an upstream, by its name
	named      map[string]syntax.Span  // where an upstream is first named, for hints
	defined    map[string]syntax.Span  // where a destination is, by its name; nowhere: the program has it
	fallbacks  map[string]Dest         // where destinations lead, by their names, once a dest has named them
	inline     map[string]int          // the index of an upstream that a dest spells out, by its backends
	leads      []string                // see Options.Leads
	claimed    map[string]claim        // by what addresses occupy, see Address.Claims
	patterns   map[string]patternTaken // the first route with a pattern and conditions
	filters    []string                // names of those that the program has
	choosing   bool                    // a filter of the program or of a module may choose any upstream or destination
	sources    []string                // schemes of those that the program has
	registries []string                // schemes of those that the program has
	ageless    map[*schema.Given]bool  // entries that were reported to have hsts without max_age
}

// resolve checks the entries of file against each other and builds the Config, which is of use when the report has no
// errors. Unless now is zero it opens the files that the configuration names.
func resolve(file *schema.Document, doc *document, now time.Time, o Options) *Config {
	r := &resolver{
		rep: file.Report, file: file, doc: doc, c: &Config{}, now: now, filters: o.Filters, sources: o.Sources,
		registries: o.Registries, leads: o.Leads,
		names: make(map[string]int), ageless: make(map[*schema.Given]bool),
		fallbacks: make(map[string]Dest), inline: make(map[string]int), named: make(map[string]syntax.Span),
		claimed: make(map[string]claim), patterns: make(map[string]patternTaken),
	}
	if o.Places {
		r.c.Places = &Places{doc}
	}
	r.file.Fill(doc.global)
	r.file.Fill(doc.log)
	r.file.Fill(doc.defaults)
	r.file.Fill(doc.tls)
	r.c.Global, r.c.Log, r.c.TLS = doc.global.Global, doc.log.Log, doc.tls.TLS
	r.c.Features = r.features(doc.top)
	r.c.ErrorPages = doc.top.Errors.pages
	readLanguage(r, o)
	resolveDefined(r, o.Destinations)
	resolveLogging(r, &doc.log.Given, "", &r.c.Log.Logging)
	r.warnWeakTLS(&doc.tls.Given, &doc.tls.Shared)
	r.resolveProtocol(doc.defaults)
	checkBalancing(r, &doc.defaults.Given, doc.defaults.LoadBalancing, doc.defaults.HashKey, lang.Content)
	checkSlowStart(r, doc.defaults)
	checkHedge(r, doc.defaults)
	resolveHealth(r)
	checkProcess(r)
	r.resolveCertificates()
	r.c.TLS.Rules = tlsRulesOf(r, r.file.Entries(tlsRulesPath))
	resolveServices(r, o.Services, r.resolveListeners(), o.MakeFilters)
	warnOverlaps(r)
	r.resolveUpstreams()
	r.resolveMembers()
	r.requireBackends()
	resolveFailovers(r)
	resolveRules(r)
	r.resolveRoutes()
	if !slices.ContainsFunc(doc.routes, readsBody) {
		r.c.Language.WarnUnread(r.rep)
	} else {
		doc.warnUnread(r.rep, r.c)
	}
	checkRules(r)
	r.resolveFallback()
	resolveRelays(r)
	resolveChecks(r)
	if len(doc.listeners) == 0 && (len(doc.services) == 0 || len(doc.routes) > 0) {
		r.addListener()
	}
	resolveRegistrations(r)
	r.warnUnusedTLS()
	r.resolveHTTPSPorts()
	r.warnUnusedUpstreams()
	checkDestinations(r)
	checkUnusedTables(r, o.MakeFilters)
	checkUsedFilters(r, o.MakeFilters)
	warnNoLog(doc, r.rep)
	r.warnUnguardedRoutes()
	warnRoutes(r)
	warnSharedCookies(r)
	checkSpread(r)
	if doc.global.FIPS {
		r.checkFIPS()
	}
	if !r.now.IsZero() {
		r.openFiles()
	}
	return r.c
}

// readLanguage reads what conditions and templates may name.
func readLanguage(r *resolver, o Options) {
	l := language.Read(r.file, language.Options{
		Tables: o.Tables, Open: !r.now.IsZero() || o.Tables != nil, Locate: r.locate, LookupEnv: o.environment(),
		Places:     o.Places,
		Unreadable: func(err error, at syntax.Span, path string) bool { return leaveToOthers(r, err, at, path) },
	})
	r.c.Language, r.c.Lists, r.c.Maps, r.c.Secrets, r.c.Geo = l, l.Lists, l.Maps, l.Secrets(), l.Geo
}

// environment returns what finds a variable for env.NAME. A client that may not quote variables does not get them in
// this way either.
func (o Options) environment() func(name string) (string, bool) {
	switch {
	case o.Sent != nil && o.Sent.Known != nil:
		return nil
	case o.LookupEnv == nil:
		return os.LookupEnv
	}
	return o.LookupEnv
}

// resolvePart builds a Config of sections that stand alone.
func resolvePart(file *schema.Document, doc *document) *Config {
	r := &resolver{rep: file.Report, file: file, doc: doc, c: &Config{}}
	r.file.Fill(doc.global)
	r.c.Global, r.c.Features = doc.global.Global, r.features(doc.top)
	return r.c
}

// checkProcess checks keys of [global] with others of it.
func checkProcess(r *resolver) {
	r.checkLoops()
	for i, name := range r.c.Global.ErrorLogAlso {
		at := r.doc.global.ElementAt("error_log_also", i, len(r.c.Global.ErrorLogAlso))
		if slices.Contains(r.c.Global.ErrorLogAlso[:i], name) {
			r.rep.Errorf(at, "", "log sink %s is there twice", syntax.Quote(name))
		}
		if _, found := r.doc.sinks[name]; !found {
			hint := syntax.DidYouMean(name, slices.Collect(maps.Keys(r.doc.sinks)))
			if plain := strings.TrimPrefix(name, "otlp:"); plain != name {
				hint = "write the name of the table alone: " + syntax.Quote(plain)
			}
			r.rep.Errorf(at, cmp.Or(hint, `write that table, with type = "otlp" or "syslog"`),
				"there is no [log_sinks.%s]", name)
		}
	}
	if g := &r.c.Global; g.Rollback.Errors > 0 && g.Versions < rollbackVersions {
		r.rep.Errorf(r.doc.global.At("rollback.errors"), `set "versions" to 2 or more`,
			"a reload cannot be taken back with versions = %d", g.Versions)
	}
}

// checkLoops refuses pin with a way to sleep that does not allow it.
func (r *resolver) checkLoops() {
	if g := &r.c.Global; g.Pin && g.Park == "runtime" {
		r.rep.Errorf(r.doc.global.At("pin"), `leave out "park": it is "syscall" then`,
			`a loop that stays on one processor cannot sleep in the poller of Go's runtime, which wakes it on any`)
	}
}

// rollbackVersions are the version in force and the version that an automatic rollback applies.
const rollbackVersions = 2

// resolveDefined reads the tables of registered types, and the list of filters of all requests. destinations are the
// destinations of the program.
func resolveDefined(r *resolver, destinations []string) {
	for _, k := range plugins.Kinds {
		if k == plugins.Services {
			continue // they are read with the listeners
		}
		r.c.Defined = append(r.c.Defined, k.Read(r.file, r.c.Language)...)
	}
	r.c.Defined = append(r.c.Defined, plugins.Destinations.OfProgram(destinations)...)
	plugins.Filters.RefuseTaken(r.file, r.filters)
	named, _ := plugins.Filters.Names(r.file)
	r.choosing = len(r.filters) > 0 || slices.ContainsFunc(r.c.Defined, func(d Definition) bool {
		return d.Kind == plugin.Filters && !slices.Contains(plugins.OwnFilters, d.Type)
	})
	r.filters = slices.Concat(r.filters, named)
	plugins.Destinations.RefuseTaken(r.file, destinations)
	_, r.defined = plugins.Destinations.Names(r.file)
	for _, name := range destinations {
		r.defined[name] = syntax.Span{}
	}
	all := r.doc.all
	r.file.Fill(all)
	r.c.Filters = all.Filters
	list := plugins.FilterList{Given: &all.Given, Names: all.Filters, First: true, Where: "of [defaults]"}
	list.Check(r.rep, r.filters)
}

// checkRouteFilters checks the list of a route, whose requests come by the listeners e.on.
func checkRouteFilters(r *resolver, e *routeEntry) {
	before := append(plugins.FiltersBefore(nil, r.c.Filters), addedBy(r.c.Rules)...)
	for _, l := range e.on {
		before = slices.Concat(before, l.Filters, addedBy(l.Rules))
	}
	list := plugins.FilterList{Given: &e.Given, Names: e.Filters, Before: before,
		Where: "of its listeners and of [defaults]"}
	list.Check(r.rep, r.filters)
}

func addedBy(list []Rule) (names []string) {
	for i := range list {
		add, _ := plugins.SplitFilters(list[i].Filters)
		names = append(names, add...)
	}
	return names
}

// checkRules checks what rules say of filters and of texts, which all of them share.
func checkRules(r *resolver) {
	var texts, switches ruleNames
	check := func(entries []schema.Target, before []string) {
		before = slices.DeleteFunc(before, func(name string) bool { return !slices.Contains(r.filters, name) })
		for _, e := range schema.All[*ruleEntry](entries) {
			list := plugins.FilterList{Given: &e.Given, Names: e.Filters, Once: true, Before: before,
				Where: "of the requests of this rule"}
			list.Check(r.rep, r.filters)
			e.Share(r.rep, &texts, &switches)
		}
	}
	all := slices.Clone(r.c.Filters)
	for _, e := range r.doc.routes {
		all = append(all, e.Filters...)
	}
	everywhere := slices.Concat(all, addedBy(r.c.Rules))
	for _, e := range r.doc.listeners {
		own := slices.Concat(e.Filters, addedBy(e.Rules))
		everywhere = append(everywhere, own...)
		check(schema.Inside(e), slices.Concat(all, own))
	}
	check(r.file.Entries("rules"), everywhere)
	for i := range yield.Over(len(r.doc.routes)) {
		e := r.doc.routes[i]
		before := slices.Concat(r.c.Filters, addedBy(r.c.Rules), e.Filters, addedBy(e.Rules))
		for _, l := range e.on {
			before = slices.Concat(before, l.Filters, addedBy(l.Rules))
		}
		check(schema.Inside(e), before)
	}
}

// FilterLists returns the lists of filters for requests that come by l and are taken by r, which may be nil.
func (c *Config) FilterLists(l *Listener, r *Route) plugins.FilterLists {
	lists := plugins.FilterLists{Listener: l.Filters, All: c.Filters, Rules: filtersOf(l.Rules, c.Rules)}
	if r != nil {
		lists.Route, lists.RouteRules = r.Filters, filtersOf(r.Rules)
	}
	return lists
}

func filtersOf(of ...[]Rule) (list []string) {
	for _, rules := range of {
		for i := range rules {
			list = append(list, rules[i].Filters...)
		}
	}
	return list
}

// Find returns what is defined of a kind under a name, or nil.
func (c *Config) Find(kind *plugin.Kind, name string) *Definition {
	for i := range c.Defined {
		if d := &c.Defined[i]; d.Kind == kind && d.Name == name {
			return d
		}
	}
	return nil
}

// RuledFilters returns the names of the filters that rules add or take out.
func (c *Config) RuledFilters() (names []string) {
	c.EachRule(func(rule *Rule) {
		for _, name := range rule.Filters {
			if name = strings.TrimPrefix(name, "!"); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	})
	return names
}

// checkUnusedTables warns of tables of registered types that nothing names; checkUsedFilters does so for filters. It
// also refuses tables with names that edge has already. With try the destinations are made.
func checkUnusedTables(r *resolver, try bool) {
	plugins.LogSinks.RefuseTaken(r.file, []string{"stdout", "stderr"})
	plugins.BalanceMethods.RefuseTaken(r.file, balance.Names())
	if !r.rep.OK() {
		return
	}
	sinks := slices.Concat(r.c.Log.Output, r.c.Global.ErrorLogAlso)
	methods := []string{r.doc.defaults.LoadBalancing}
	destinations := append([]string{r.c.Fallback.Name}, r.c.Fallback.Files...)
	var connFilters, discoverers []string
	for _, l := range r.c.Listening() {
		sinks, connFilters = append(sinks, l.AccessLog.Path), append(connFilters, l.ConnFilters...)
	}
	for i := range r.c.Upstreams {
		u := &r.c.Upstreams[i]
		methods, discoverers = append(methods, u.LoadBalancing), append(discoverers, u.Discovery.Sources...)
	}
	for i := range yield.Over(len(r.c.Routes)) {
		one := &r.c.Routes[i]
		sinks, methods = append(sinks, one.AccessLog.Path), append(methods, one.LoadBalancing)
		destinations = append(append(destinations, one.Dest.Name), one.Dest.Files...)
	}
	r.c.EachRule(func(rule *Rule) { destinations = append(destinations, rule.Dest) })
	plugins.LogSinks.WarnUnused(r.file, sinks)
	plugins.BalanceMethods.WarnUnused(r.file, methods)
	plugins.ConnectionFilters.WarnUnused(r.file, connFilters)
	plugins.Discoverers.WarnUnused(r.file, discoverers)
	if !r.choosing {
		plugins.Destinations.CheckUsed(r.file, destinations, try)
	}
}

// checkUsedFilters warns of filters that nothing names: with an error, a list may name one wrongly. With try the others
// are made.
func checkUsedFilters(r *resolver, try bool) {
	if !r.rep.OK() {
		return
	}
	lists := [][]string{r.c.Filters}
	for i := range r.c.Listeners {
		lists = append(lists, r.c.Listeners[i].Filters)
	}
	for _, e := range r.doc.routes {
		lists = append(lists, e.Filters)
	}
	r.c.EachRule(func(rule *Rule) { lists = append(lists, addedBy([]Rule{*rule})) })
	plugins.Filters.CheckUsed(r.file, slices.Concat(lists...), try)
}

// resolveFallback decides where requests go that no route takes.
func (r *resolver) resolveFallback() {
	routes, listeners := len(r.doc.routes), len(r.doc.listeners)
	r.c.Fallback = Dest{Kind: DestStatus, Status: 404}
	if i, found := r.names[defaultUpstream]; found {
		r.c.Fallback = Dest{Kind: DestUpstream, Upstream: i}
	} else if _, found := r.defined[defaultUpstream]; found {
		r.c.Fallback = r.definedDest(defaultUpstream)
	} else if routes+listeners+len(r.doc.services) == 0 {
		r.c.Fallback = Dest{Kind: DestHello}
	} else if routes == 0 && listeners > 0 && !r.doc.top.HasUnknown() { // which may be routes by another name
		r.rep.Warnf(codeNoRoute, r.doc.listeners[0].Node().Head,
			`add [[routes]] with pattern = "/*" and dest = "host:port"`,
			"no route and no upstream %q: every answer is 404", defaultUpstream)
	}
}
