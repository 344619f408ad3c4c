package config

import (
	"slices"

	"github.com/edge-proxy/edge/config/plugins"
	"github.com/edge-proxy/edge/config/syntax"
)

// resolveServices adds the services to the Config. own are services of the program, which have no type, and taken the
// names of listeners. With try each service is made once, and given up, to see whether it can be.
func resolveServices(r *resolver, own []string, taken map[string]syntax.Span, try bool) {
	for _, e := range r.doc.services {
		r.resolveListening(e)
		r.requireUniqueName(taken, e.Name, e.Node().Head, "listener")
		switch known := slices.Contains(own, e.Name); {
		case known && e.Has("type"):
			r.rep.Errorf(e.At("type"), "leave it out, or give this one another name",
				"the program has a service %s of its own", syntax.Quote(e.Name))
		case known:
			e.Service = &plugins.Services.OfProgram([]string{e.Name})[0]
		case e.Lacks("type"):
			hint := "edge modules lists the types of services of this program"
			if near := syntax.DidYouMean(e.Name, own); near != "" {
				hint = near
			}
			r.rep.Errorf(e.Node().Head, hint, "a service needs %q: the program has none that is called %s", "type",
				syntax.Quote(e.Name))
		case e.Struct != nil:
			e.Service = plugins.Services.Define(r.rep, &e.Held, e.Type, r.c.Language, try)
		}
		if e.TLS == TLSAuto {
			r.rep.Errorf(e.At("tls"), "write true or false", "a service takes TLS or does not: %q is for HTTP", "auto")
		}
		if e.Service != nil {
			r.c.Defined = append(r.c.Defined, *e.Service)
		}
		r.c.Services = append(r.c.Services, e.Listener)
	}
	for _, name := range own {
		if !slices.ContainsFunc(r.doc.services, func(e *listenerEntry) bool { return e.Name == name }) {
			r.rep.Errorf(syntax.Span{}, "add [services."+name+"] with listen",
				"the service %s of the program has no address", syntax.Quote(name))
		}
	}
}
