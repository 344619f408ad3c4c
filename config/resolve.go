package config

import (
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
)

const (
	helloAddress    = ":8080"   // where edge listens when nobody says where
	defaultUpstream = "default" // takes what no route takes
)

// resolver turns entries into the Config: names become indices, entries get their defaults.
type resolver struct {
	rep      *Report
	file     *schema.Document
	doc      *document
	c        *Config
	names    map[string]int         // the index of an upstream, by its name
	ageless  map[*schema.Given]bool // hsts without max_age was reported
	inline   map[string]int         // the index of an upstream that a dest spells out, by its backends
	named    map[string]syntax.Span // where an upstream is first named, for hints
	claimed  map[string]*Address
	claims   map[string]syntax.Span  // where an address is claimed
	patterns map[string]patternTaken // by the pattern and its conditions
	open     *opener                 // reads what the file names; nil: nothing is read
}

// resolve checks what one entry says about another and builds the Config. It is of use only when rep has no errors.
// open reads the certificates that it names; nil: they are not looked at.
func resolve(file *schema.Document, doc *document, open *opener) *Config {
	r := &resolver{
		rep: file.Report, file: file, doc: doc, c: &Config{}, open: open,
		names: make(map[string]int), ageless: make(map[*schema.Given]bool),
		inline: make(map[string]int), named: make(map[string]syntax.Span),
		claimed: make(map[string]*Address), claims: make(map[string]syntax.Span),
		patterns: make(map[string]patternTaken),
	}
	r.file.Fill(doc.global)
	r.file.Fill(doc.log)
	r.file.Fill(doc.defaults)
	r.file.Fill(doc.tls)
	r.c.Global, r.c.Log, r.c.TLS = doc.global.Global, doc.log.Log, doc.tls.TLS
	r.c.Features = r.features(doc.top)
	r.weak(&doc.tls.Given, &doc.tls.shared)
	r.spoken(doc.defaults)
	r.loops()
	r.certificates()
	r.listeners()
	r.upstreams()
	r.members()
	r.backed()
	r.routes()
	r.whenMissing()
	r.unsecured()
	r.httpsPorts()
	r.unused()
	r.unguarded()
	if doc.global.FIPS {
		r.approved()
	}
	if r.open != nil {
		r.openAll()
	}
	return r.c
}

// features returns the entries directly inside t of sections that other packages registered.
func (r *resolver) features(t schema.Target) []schema.Target {
	var entries []schema.Target
	for _, e := range schema.Inside(t) {
		if slices.Contains(registered, schema.SectionOf(e)) {
			entries = append(entries, e)
		}
	}
	r.file.Resolve(entries)
	schema.Detach(entries)
	return entries
}

// loops refuses two keys that cannot both be.
func (r *resolver) loops() {
	if g := &r.c.Global; g.Pin && g.Park == "runtime" {
		r.rep.Errorf(r.doc.global.At("pin"), `leave out "park": it is "syscall" then`,
			`a loop that stays on one processor cannot sleep in the poller of Go's runtime, which wakes it on any`)
	}
}

func (r *resolver) listeners() {
	slices.SortStableFunc(r.doc.listeners, func(a,
		b *listenerEntry) int {
		return a.Node().Head.Compare(b.Node().Head)
	})
	names := make(map[string]syntax.Span)
	for _, e := range r.doc.listeners {
		r.file.Fill(e)
		e.Pos = e.Node().Head.Pos()
		if e.Lacks("listen") {
			hint := `add listen = ":80"`
			if e.Node().Key == aliasHTTPS {
				hint = `add listen = ":443"`
			}
			r.rep.Errorf(e.Node().Head, hint, "this listener has no address")
		}
		r.claim(e)
		r.secure(e)
		if e.PathParameters == "strip" && e.Paths == "raw" {
			r.rep.Warnf(schema.CodeNoEffect, e.Head("path_parameters"), "",
				"with paths = \"raw\" routes see the path as it came, parameters included")
		}
		if e.Has("name") {
			r.unique(names, e.Name, e.At("name"), "listener")
		} else if len(e.Addresses) > 0 {
			e.Name = e.Addresses[0].Text
		}
		e.Features = r.features(e)
		r.c.Listeners = append(r.c.Listeners, e.Listener)
	}
}

// claim checks that no address of the listener is taken by it or another one.
func (r *resolver) claim(e *listenerEntry) {
	var elements []*syntax.Node
	if n := e.KeyNode("listen"); n != nil {
		elements = n.Children
	}
	for i := range e.Addresses {
		a, at := &e.Addresses[i], e.At("listen")
		// With a wrong element among them the addresses do not line up; then the whole list is the place.
		if len(elements) == len(e.Addresses) {
			at = elements[i].Value
		}
		for _, c := range a.claims() {
			old := r.claimed[c]
			if old == nil {
				r.claimed[c], r.claims[c] = a, at
				continue
			}
			where := r.claims[c]
			if old.Text == a.Text {
				r.rep.Conflictf(at, where, "", "address %q is given twice, first at %s", a.Text, where.RelativeTo(at))
			} else {
				r.rep.Conflictf(at, where, "", "address %q is part of %q at %s", a.Text, old.Text, where.RelativeTo(at))
			}
			break
		}
	}
}

// unique reports a name that another entry has already.
func (r *resolver) unique(taken map[string]syntax.Span, name string, at syntax.Span, what string) {
	old, found := taken[name]
	if !found {
		taken[name] = at
	} else if name != "" {
		r.rep.Conflictf(at, old, "", "another %s at %s has the name %q", what, old.RelativeTo(at), name)
	}
}

// upstreams takes over the [upstreams.NAME].
func (r *resolver) upstreams() {
	for _, e := range r.doc.upstreams {
		if !validUpstreamName(e.Name) {
			r.rep.Errorf(e.Node().Name, "", "the name of an upstream has letters, digits, \"_\", \"-\" and \".\" alone")
		}
		r.file.Fill(e)
		r.spoken(e)
		e.Features = r.features(e)
		u := r.upstream(e.Name, e.Node().Head)
		pos := u.Pos
		*u = e.Upstream
		u.Pos = pos
		for _, b := range e.backends {
			r.file.Fill(b)
			r.addressed(b)
			r.nameable(b, u)
			u.add(b)
		}
	}
}

// members takes over the [[load_balancing.backends]].
func (r *resolver) members() {
	for _, e := range r.doc.members {
		r.file.Fill(e)
		r.addressed(&e.backendEntry)
		names := []string{e.name, e.upstream}
		if !e.Has("upstream") {
			names[1] = defaultUpstream
		}
		for i, name := range names {
			if name == "" || i > 0 && name == names[0] {
				continue
			}
			if !validUpstreamName(name) {
				r.rep.Errorf(e.At([]string{"name", "upstream"}[i]), "",
					"the name of an upstream has letters, digits, \"_\", \"-\" and \".\" alone")
				continue
			}
			u := r.upstream(name, e.Node().Head)
			r.nameable(&e.backendEntry, u)
			u.add(&e.backendEntry)
		}
	}
}

// upstream returns the upstream of that name, made from the defaults when it is new. Borrowed until the next one is
// made.
func (r *resolver) upstream(name string, at syntax.Span) *Upstream {
	i, found := r.names[name]
	if !found {
		i = r.newUpstream(name, at)
		r.names[name], r.named[name] = i, at
	}
	return &r.c.Upstreams[i]
}

func (r *resolver) newUpstream(name string, at syntax.Span) int {
	u := r.doc.defaults.Upstream
	u.Name, u.Pos = name, at.Pos()
	r.c.Upstreams = append(r.c.Upstreams, u)
	return len(r.c.Upstreams) - 1
}

// add adds a backend. One of weight 0 takes no request, so it is left out; when all are, the answers are 503.
func (u *Upstream) add(e *backendEntry) {
	if e.weight == 0 && !e.Failed("weight") {
		return
	}
	u.Backends = append(u.Backends, Backend{Host: e.address.host, Port: e.address.port, Unix: e.address.unix,
		Weight: e.weight, Pos: e.Node().Head.Pos()})
}

func (r *resolver) addressed(e *backendEntry) {
	if e.Lacks("address") {
		r.rep.Errorf(e.Node().Head, `add address = "host:port"`, "this backend has no address")
	}
}

// nameable checks that there is a name that the certificate of a backend can be held against.
func (r *resolver) nameable(e *backendEntry, u *Upstream) {
	if e.address.unix != "" && u.TLS.On && u.TLS.Verify && u.TLS.SNI == "" {
		r.rep.Errorf(e.At("address"), "add sni = \"host\" to its tls",
			"the certificate of %s has to have a name, and a path is none", syntax.Quote(e.address.String()))
	}
}

// backed reports upstreams that have no backend from anywhere.
func (r *resolver) backed() {
	for _, e := range r.doc.upstreams {
		list := e.Node().Child("backends")
		// What is wrong with the list was reported.
		wrong := e.Odd() || list != nil && (list.Kind != syntax.KindList || len(list.Children) > 0)
		if len(r.c.Upstreams[r.names[e.Name]].Backends) == 0 && !wrong {
			r.rep.Errorf(e.Node().Head, `add backends = [{ address = "host:port" }]`,
				"upstream %q has no backends", e.Name)
		}
	}
}

// whenMissing decides what a file means that names no listener or no route.
func (r *resolver) whenMissing() {
	silent := len(r.doc.listeners) == 0
	r.c.Fallback = Dest{Kind: DestStatus, Status: 404}
	if i, found := r.names[defaultUpstream]; found {
		r.c.Fallback = Dest{Kind: DestUpstream, Upstream: i}
	} else if silent && len(r.doc.routes) == 0 {
		r.c.Fallback = Dest{Kind: DestHello}
	} else if len(r.doc.routes) == 0 {
		r.rep.Warnf(codeNoRoute, r.doc.listeners[0].Node().Head,
			`add [[routes]] with pattern = "/*" and dest = "host:port"`,
			"no route and no upstream %q: every answer is 404", defaultUpstream)
	}
	if !silent {
		return
	}
	what := "no listener: edge listens on " + helloAddress
	if r.c.Fallback.Kind == DestHello {
		what = "neither listener nor route: edge answers on " + helloAddress + " with the hello page"
	}
	r.rep.Warnf(codeNoListener, syntax.Span{}, "", "%s", what)
	e := r.file.New("listeners").(*listenerEntry)
	e.WebSocket, e.GRPC = r.doc.top.webSocket, r.doc.top.grpc
	a, _, _ := parseListen(helloAddress)
	a.Pos = Pos{File: r.file.Main.Name}
	e.Name, e.Addresses, e.Pos = helloAddress, []Address{a}, a.Pos
	r.c.Listeners = append(r.c.Listeners, e.Listener)
}

// validUpstreamName keeps names apart from addresses, so that a dest is never ambiguous.
func validUpstreamName(s string) bool {
	return len(s) <= 128 && syntax.IsBareKey(strings.ReplaceAll(s, ".", "_"))
}
