package server

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/filter"
	"github.com/edge-proxy/edge/internal/filter/rules"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// definitions are what the tables of a configuration define by name: filters, destinations, and what goes on over
// reloads. The other parts ask for them.
type definitions struct {
	nothing
	*shared
	now, next defined
}

// defined is what was asked for of the definitions of a configuration.
type defined struct {
	claims  *plugin.Claims // of filters and destinations; released when no exchange uses them
	filters map[string]*proxy.Filter
	leads   map[string]proxy.Destination
	lasting map[definedKey]definedValue
}

func (p *definitions) prepare() error {
	claims := p.kept.Claim()
	p.next = defined{claims, make(map[string]*proxy.Filter), make(map[string]proxy.Destination),
		make(map[definedKey]definedValue)}
	p.reload.onFailure(func() {
		claims.Release()
		p.next = defined{}
	})
	return nil
}

func (p *definitions) retire() {
	p.now, p.next = p.next, defined{}
	p.now.claims.TakeEffect()
}

func (p *definitions) stop() error { return errors.Join(p.kept.Close()...) }

// destination returns the one of [destinations] with that name. It is made once for a configuration.
func (p *definitions) destination(name string) (proxy.Destination, error) {
	if made := p.next.leads[name]; made != nil {
		return made, nil
	}
	if own := p.opts.Destinations[name]; own != nil {
		return own, nil
	}
	d := p.reload.config.Find(plugin.Destinations, name)
	made, err := makeDefined[proxy.Destination](d, p.of(d.Kind, name, ""))
	if err == nil {
		p.next.leads[name] = made
	}
	return made, err
}

// makeDefined makes what d defines, which may use of.
func makeDefined[T any](d *config.Definition, of *plugin.Build) (made T, err error) {
	if made, err = plugin.Make[T](&d.Table, of); err != nil {
		return made, fmt.Errorf("%s: %s %q: %w", d.Pos, d.Kind.Name, d.Name, err)
	}
	return made, nil
}

// filter returns the filter of that name, which is its own from then on: routes take it out by name. It is made once
// for a configuration.
func (p *definitions) filter(name string) (f *proxy.Filter, err error) {
	f = p.next.filters[name]
	if own := p.opts.Filters[name]; f == nil && own != nil {
		named := *own
		named.Name = name
		f = &named
	} else if f == nil {
		if f, err = p.makeFilter(name); err != nil {
			return nil, err
		}
	}
	p.next.filters[name] = f
	return f, nil
}

func (p *definitions) makeFilter(name string) (*proxy.Filter, error) {
	c := p.reload.config.Find(plugin.Filters, name)
	if c == nil { // the configuration was not parsed with the names that there are
		return nil, fmt.Errorf("no filter is called %q", name)
	}
	f, err := filter.Make(&c.Table, p.of(plugin.Filters, name, ""))
	if err != nil {
		return nil, fmt.Errorf("%s: filter %q: %w", c.Pos, name, err)
	}
	if c.When != nil {
		f.When, f.NamesMatch = bothHold(proxy.Holds(c.When), f.When), f.NamesMatch || c.When.NamesMatch()
	}
	return f, nil
}

// of returns what something of a kind with that name may use of the server.
func (p *definitions) of(kind *plugin.Kind, name, typ string) *plugin.Build {
	return &plugin.Build{Kind: kind, Name: name, Type: typ, Reactors: p.Reactors(), Kept: p.next.claims,
		Logger: slog.Default().With(kind.Name, name)}
}

// build returns what the filters of rules may use of the server.
func (p *definitions) build(name string) *plugin.Build { return p.of(plugin.Filters, name, rules.Type) }

// service returns what a configuration defines as a service, or the program's own. It goes on over a reload where its
// keys are the same; its connections keep it in any case.
func (p *definitions) service(d *config.Definition) (*plugin.Service, error) {
	s := p.opts.Services[d.Name]
	if s == nil {
		var err error
		s, err = lasting(p, plugin.Services, d.Name, func(made *plugin.Service, h *keeper) (*plugin.Service, error) {
			accept := made.Accept
			if accept == nil {
				return made, nil
			}
			return &plugin.Service{ClientFirst: made.ClientFirst, Accept: func(c *engine.Conn) engine.Handler {
				defer runtime.KeepAlive(h)
				return accept(c)
			}}, nil
		})
		if err != nil {
			return nil, err
		}
	}
	if s.Accept == nil {
		return nil, fmt.Errorf("service %q: it has no Accept", d.Name)
	}
	return s, nil
}

// tenure is reachable as long as an exchange may use the filters of a configuration.
type tenure struct{ _ *tenure }

// tenureOf returns a tenure after which claims are released.
func tenureOf(claims *plugin.Claims) *tenure {
	t := &tenure{}
	runtime.AddCleanup(t, func(claims *plugin.Claims) {
		for _, err := range claims.Release() {
			slog.Warn("a filter that a reload took away was not closed", "error", err)
		}
	}, claims)
	return t
}

// bothHold returns a condition that holds where a and b do; a nil b does.
func bothHold(a, b func(*proxy.Exchange) bool) func(*proxy.Exchange) bool {
	if b == nil {
		return a
	}
	return func(x *proxy.Exchange) bool { return a(x) && b(x) }
}

// connFilters returns the filters of the connections of a listener.
func (p *definitions) connFilters(names []string) (all []*session.ConnFilter, err error) {
	for _, name := range names {
		f, err := lasting(p, plugin.ConnectionFilters, name,
			func(f *session.ConnFilter, h *keeper) (*session.ConnFilter, error) {
				return &session.ConnFilter{Accept: h.counted(f.Accept), Secure: h.counted(f.Secure)}, nil
			})
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// lasting returns what a configuration defines of a kind under a name. It goes on over a reload where its keys are the
// same; finish makes of it what is used. All that is used has h, so that what it keeps is released after it.
func lasting[T any](
	p *definitions, kind *plugin.Kind, name string, finish func(made T, h *keeper) (T, error),
) (made T, err error) {
	d, key := p.reload.config.Find(kind, name), definedKey{kind, name}
	for _, known := range []definedValue{p.next.lasting[key], p.now.lasting[key]} {
		if known.made != nil && known.defined.Like(*d) {
			p.next.lasting[key] = known
			return known.made.(T), nil
		}
	}
	of := p.of(kind, name, d.Type)
	of.Kept = p.kept.ClaimLasting()
	h := &keeper{of: of, hold: tenureOf(of.Kept)}
	if made, err = makeDefined[T](d, of); err != nil {
		return made, err
	}
	if made, err = finish(made, h); err != nil {
		return made, fmt.Errorf("%s: %s %q: %w", d.Pos, kind.Name, name, err)
	}
	p.next.lasting[key] = definedValue{d, made}
	return made, nil
}

// definedKey and definedValue are something that lasting has made.
type (
	definedKey struct {
		kind *plugin.Kind
		name string
	}
	definedValue struct {
		defined *config.Definition
		made    any
	}
)

// keeper is what all that lasting makes has: as long as it can be reached, so can what a module keeps for it.
type keeper struct {
	of   *plugin.Build
	hold *tenure
}

// failed tells of a panic.
func (h *keeper) failed(p any) {
	h.of.Logger.Error("a "+h.of.Kind.Name+" has failed", "panic", p, "stack", string(debug.Stack()))
}

// catch makes an error of a panic of a module.
func catch(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("panic: %v", p)
	}
}

// counted returns ask, which may be nil, with its refusals counted.
func (h *keeper) counted(ask func(session.ConnInfo) bool) func(session.ConnInfo) bool {
	if ask == nil {
		return nil
	}
	f := &connFilter{h, ask, h.of.Counter("refused")}
	return f.pass
}

// connFilter asks a connection filter, and counts.
type connFilter struct {
	*keeper
	ask     func(session.ConnInfo) bool
	refused *plugin.Counter
}

func (f *connFilter) pass(c session.ConnInfo) bool {
	if f.ask(c) {
		return true
	}
	f.refused.IncOn(c.Reactor)
	return false
}
