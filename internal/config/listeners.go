package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/edge-proxy/edge/internal/config/plugins"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/config/value"
)

// resolveListeners adds the listeners to the Config, in the order of the file, whichever way they are written. It
// returns where their names stand.
func (r *resolver) resolveListeners() (names map[string]syntax.Span) {
	inOrder(r.doc.listeners)
	names = make(map[string]syntax.Span)
	for _, e := range r.doc.listeners {
		r.resolveListening(e)
		e.resolveProtocols(r.c, r.rep)
		if !e.Has("websocket") {
			e.WebSocket = r.doc.top.WebSocket
		}
		if !e.Has("grpc") {
			e.GRPC = r.doc.top.GRPC
		}
		if !e.Has("request_id") {
			e.RequestID.On = e.HasAny("request_id.")
		}
		checkHeadSize(r.rep, &e.Given, "limits.target_size", e.Limits.TargetSize, e.Limits.HeaderSize)
		checkHeadSize(r.rep, &e.Given, "limits.field_size", e.Limits.FieldSize, e.Limits.HeaderSize)
		if e.PathParameters == "strip" && e.Paths == "raw" {
			r.rep.Warnf(schema.CodeNoEffect, e.Head("path_parameters"), "",
				"with paths = \"raw\" routes see the path as it came, parameters included")
		}
		if e.Has("https_port") {
			if e.HTTPSPort = cmp.Or(e.HTTPSPort, 443); !e.RedirectToHTTPS {
				r.rep.Warnf(schema.CodeNoEffect, e.Head("https_port"), "add redirect_to_https = true",
					"the listener redirects no requests to https")
			}
		}
		if e.Has("name") {
			r.requireUniqueName(names, e.Name, e.At("name"), "listener")
		} else if len(e.Addresses) > 0 {
			e.Name = e.Addresses[0].Text
		}
		resolveLogging(r, &e.Given, "access_log.", &e.AccessLog.Logging)
		e.Features = r.features(e)
		e.ErrorPages = e.Errors.pages
		list := plugins.FilterList{Given: &e.Given, Names: e.Filters, Before: plugins.FiltersBefore(nil, r.c.Filters),
			Where: "of [defaults]"}
		list.Check(r.rep, r.filters)
		r.c.Listeners = append(r.c.Listeners, e.Listener)
	}
	return names
}

// checkHeadSize warns where a part of a head may be larger than the whole.
func checkHeadSize(rep *syntax.Report, g *schema.Given, key string, part, whole int64) {
	if g.Has(key) && part > whole {
		rep.Warnf(schema.CodeNoEffect, g.At(key), fmt.Sprintf(`write header_size = "%dk" or more`, (part+1023)>>10),
			"a whole head has %dk at most: limits.header_size", whole>>10)
	}
}

// resolveListening fills e in, and checks the keys that listeners and services have.
func (r *resolver) resolveListening(e *listenerEntry) {
	r.file.Fill(e)
	e.Pos = e.Node().Head.Pos()
	if e.Lacks("listen") {
		hint := `add listen = ":80"`
		switch {
		case e.service:
			hint = `add listen = ":7000"`
		case e.Node().Key == aliasHTTPS:
			hint = `add listen = ":443"`
		}
		r.rep.Errorf(e.Node().Head, hint, "this %s has no address", e.noun())
	}
	r.claimAddresses(e)
	r.resolveTLS(e)
	e.checkSenders(r.rep)
	for _, key := range []string{"socket_mode", "socket_owner"} {
		if e.Has(key) && !slices.ContainsFunc(e.Addresses, func(a Address) bool { return a.Network == "unix" }) {
			r.rep.Warnf(schema.CodeNoEffect, e.Head(key), "", "this %s has no Unix socket", e.noun())
		}
	}
	checkConnFilters(r, e)
}

// checkSenders reports senders of the PROXY protocol that match no peer, or any.
func (e *listenerEntry) checkSenders(rep *syntax.Report) {
	from, required := &e.Believed.ProxyProtocol.From, e.Believed.ProxyProtocol.Required
	said := e.Has("proxy_protocol.from") && !e.Failed("proxy_protocol.from")
	nobody := e.Lacks("proxy_protocol.from") || said && len(from.Networks) == 0 && !from.Unix
	anybody := slices.ContainsFunc(from.Networks, func(n netip.Prefix) bool { return n.Bits() == 0 })
	switch {
	case required && nobody:
		rep.Errorf(e.At("proxy_protocol.required"), `add from = ["10.0.0.0/8"], the addresses of the load balancers`,
			"proxy_protocol does not say whose headers are believed")
	case anybody:
		rep.Warnf(codeAnySender, e.At("proxy_protocol.from"), "name the load balancers alone",
			"anybody who reaches this %s can claim any address", e.noun())
	}
	for i := range e.Addresses {
		a := &e.Addresses[i]
		switch unix := a.Network == "unix"; {
		case !required || nobody || !said:
		case unix && !from.Unix:
			rep.Warnf(schema.CodeNoEffect, e.ElementAt("listen", i, len(e.Addresses)),
				`add "unix" to proxy_protocol.from`,
				"no peer on a Unix socket is in proxy_protocol.from, so all connections are closed")
		case !unix && len(from.Networks) == 0:
			rep.Warnf(schema.CodeNoEffect, e.ElementAt("listen", i, len(e.Addresses)),
				`add "10.0.0.0/8" to proxy_protocol.from, the addresses of the load balancers`,
				"no address is in proxy_protocol.from, so all connections are closed")
		}
	}
}

// claim is the address of a listener that occupies something.
type claim struct {
	by   *listenerEntry
	text string
	at   syntax.Span
}

// claimAddresses reports addresses of the listener that it or another one already has.
func (r *resolver) claimAddresses(e *listenerEntry) {
	for i := range e.Addresses {
		a, at := &e.Addresses[i], e.addressAt(i)
		for _, c := range a.Claims() {
			old, found := r.claimed[c]
			if !found {
				r.claimed[c] = claim{e, a.Text, at}
				continue
			}
			where := old.at.RelativeTo(at)
			if old.text == a.Text {
				r.rep.Conflictf(at, old.at, "leave one of them out", "address %q is given twice, first at %s", a.Text,
					where)
			} else {
				r.rep.Conflictf(at, old.at, "leave one of them out", "address %q is part of %q at %s", a.Text,
					old.text, where)
			}
			break
		}
	}
}

// addressAt returns where an address stands.
func (e *listenerEntry) addressAt(i int) syntax.Span {
	return e.ElementAt("listen", i, len(e.Addresses))
}

// warnOverlaps warns of an address that takes a part of what another listener seems to get.
func warnOverlaps(r *resolver) {
	for _, e := range slices.Concat(r.doc.listeners, r.doc.services) {
		for i := range e.Addresses {
			a := &e.Addresses[i]
			all := map[string]string{"tcp4": "0.0.0.0", "tcp6": "::"}[a.Network]
			old, found := r.claimed[value.JoinHostPort(all, strconv.Itoa(a.Port))]
			if !found || old.by == e || a.Host == all {
				continue
			}
			at := e.addressAt(i)
			r.rep.WarnConflictf(codeOverlappingListeners, at, old.at,
				"clients of %s come to this %s, and not to the %s of %q at %s", a.Host, e.noun(), old.by.noun(),
				old.text, old.at.RelativeTo(at))
		}
	}
}

// The tables that make a listener, beside [[listeners]]. Each says what the listener takes.
const (
	aliasHTTP    = "http"
	aliasHTTPS   = "https"
	aliasNetwork = "network"
)

// noun is what messages call e.
func (e *listenerEntry) noun() string {
	if e.service {
		return "service"
	}
	return "listener"
}

// alias returns the name of the table that makes e a listener of one kind: "http", "https" or "network"; else "".
func (e *listenerEntry) alias() string {
	if e.service {
		return ""
	}
	return e.Node().Key
}

// resolveHTTPSPorts decides to which port plain requests are redirected where https_port does not say it: one of the
// same listener when it takes TLS too, else one of any other. 443 goes before other ports.
func (r *resolver) resolveHTTPSPorts() {
	var all []int
	secure := false // a listener takes TLS
	for i := range r.c.Listeners {
		if l := &r.c.Listeners[i]; l.TLS != TLSOff {
			secure = true
			all = append(all, l.ports()...)
		}
	}
	for i := range r.c.Listeners {
		l := &r.c.Listeners[i]
		if !l.RedirectToHTTPS {
			continue
		}
		if !secure {
			r.rep.Notef(codeRedirectWithoutTLS, r.doc.listeners[i].Head("redirect_to_https"),
				"no listener here takes TLS: clients are sent to port 443, where another program has to answer")
		}
		if l.Direct = l.HTTPSPort == 0; !l.Direct {
			continue
		}
		ports := all
		if own := l.ports(); l.TLS == TLSAuto && len(own) > 0 {
			ports = own
		}
		if l.HTTPSPort = 443; len(ports) > 0 && !slices.Contains(ports, 443) {
			l.HTTPSPort = ports[0]
		}
	}
}

// ports returns the ports of the listener. 0 is left out: the kernel chooses that one.
func (l *Listener) ports() (all []int) {
	for _, a := range l.Addresses {
		if a.Network != "unix" && a.Port != 0 {
			all = append(all, a.Port)
		}
	}
	return all
}

// addListener adds the listener of a configuration that has none.
func (r *resolver) addListener() {
	what := "no listener: edge listens on " + helloAddress
	if r.c.Fallback.Kind == DestHello {
		what = "neither listener nor route: edge answers on " + helloAddress + " with the hello page"
	}
	if !r.doc.top.HasUnknown() { // which may be a listener by another name
		r.rep.Warnf(codeNoListener, syntax.Span{}, "", "%s", what)
	}
	e := r.file.New("listeners").(*listenerEntry)
	e.WebSocket, e.GRPC = r.doc.top.WebSocket, r.doc.top.GRPC
	a, _, _ := value.ParseListen(helloAddress)
	a.Pos = Pos{File: r.file.Main.Name}
	e.Name, e.Addresses, e.Pos = helloAddress, []Address{a}, a.Pos
	r.c.Listeners = append(r.c.Listeners, e.Listener)
}

// checkConnFilters reports connection filters that there are not.
func checkConnFilters(r *resolver, e *listenerEntry) {
	names, _ := plugins.ConnectionFilters.Names(r.file)
	for i, name := range e.ConnFilters {
		at := e.ElementAt("connection_filters", i, len(e.ConnFilters))
		switch {
		case !slices.Contains(names, name):
			r.rep.Errorf(at, cmp.Or(syntax.DidYouMean(name, names), "write [connection_filters.NAME] with a type"),
				"there is no connection filter %s", syntax.Quote(name))
		case slices.Index(e.ConnFilters, name) < i:
			r.rep.Errorf(at, "leave one of them out", "%s stands twice in the list", syntax.Quote(name))
		}
	}
}
