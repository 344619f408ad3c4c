package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/internal/base/yield"
	"github.com/edge-proxy/edge/internal/exchange/meter"
	"github.com/edge-proxy/edge/internal/forward/admission"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/route"
	"github.com/edge-proxy/edge/lang"
)

// Route says which requests go where.
// Immutable once it is part of a Snapshot.
type Route struct {
	Name    string
	Host    string           // without a port; "*.example.com": every name below example.com; "": every host
	Path    string           // "" or "/": every path
	Exact   bool             // Path is the whole path; else a prefix by segments: /api takes /api and /api/x
	Methods []string         // nil: all but CONNECT and TRACE, which have to be named
	Header  []FieldCondition // every one has to hold, for the head as it came
	Query   []FieldCondition // likewise
	Class   admission.Class  // what it is served before and after where there is not room for all: see ToOptions
	Weight  int              // its share of the requests that other routes would take just as well
	Rewrite *Rewrite         // nil: the target is sent on as it came
	To      Destination
	GRPC    Switch      // whether requests of type application/grpc are gRPC, and application/grpc-web is made so
	GRPCTo  Destination // where those go; nil: To

	Listeners  []string             // condition: by Listener.Name, those that the request may have come by; nil: all
	ClientCert *ClientCertCondition // condition: what the client has to have shown; nil: anything or nothing
	When       *lang.Condition      // condition: of the phase lang.Request, of one scope, asked last; nil: none

	Tunnels Tunnels       // which requests may turn their connection into a tunnel; the zero value: WebSocket
	Timeout time.Duration // from the request's head to the end of the answer, tunnels aside; 0: no limit
	Filters []*Filter
	Without []string // filters of the Snapshot, by name, that do not run for the route, but for their BeforeRoute

	// BufferRequest is how many bytes of a request's body are received whole before it is sent on, with its length; a
	// larger one is answered 413. 0: it is sent on as it comes.
	BufferRequest int
	// ReadBody is how many bytes of a request's body are received before filters of the route run, which see them: see
	// Exchange.Body. They are sent on as they came, and the rest as it comes. 0: nothing is waited for.
	ReadBody int

	Log    []AccessLog            // by Reactor.Index; nil: the listener's
	LogsBy map[string][]AccessLog // in place of Log for the requests of listeners, by Listener.Name

	Tracing *Tracing // in place of the Tracing of listeners that have one; nil: theirs

	Meter *meter.Route // counts its requests, where Listener.Meter is set; nil: as those that no route takes

	Pages     *Pages // in place of the proxy's own for failures, before the listener's; nil: none
	Intercept bool   // pages replace answers from To with their statuses, too

	chain          *chain
	captures       bool              // templates name match.N, the groups of When
	rest           int               // where in a path {rest} begins
	lead, grpcLead lead              // of To and GRPCTo
	rewrite        func(x *Exchange) // of Rewrite; nil: there is none
	tag            observe.Tag
	pattern        string // of paths, as traces have it
}

// NewRoute makes a Route of a pattern such as "api.example.com/v1/*", as a configuration has it: a host,
// which may be left out, and a path, of which "*" at the end takes all that follows. Its name is the pattern.
func NewRoute(pattern string, to Destination) (Route, error) {
	p, err := route.ParsePattern(pattern)
	if err != nil {
		return Route{}, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	return Route{Name: pattern, Host: p.Host, Path: p.Path, Exact: p.Exact, To: to}, nil
}

// MustRoute is NewRoute for patterns that stand in the program: a wrong one panics.
func MustRoute(pattern string, to Destination) Route {
	r, err := NewRoute(pattern, to)
	if err != nil {
		panic(err)
	}
	return r
}

// errBeforeRoute refuses a filter of a route that has a function BeforeRoute.
var errBeforeRoute = errors.New("the phase BeforeRoute is for filters of all routes")

// Snapshot is a set of routes and filters.
// Immutable.
type Snapshot struct {
	routes route.Table[*Route]
	chain  *chain
	named  map[string]Destination // for Named; nil: none
	own    map[string]*Snapshot   // of listeners, by their names; nil: none has one
	held   any                    // see Hold
	number uint32                 // how many this process has made, this one included
}

// snapshots is how many were made.
var snapshots atomic.Uint32

// Name gives d a name by which filters choose it: see Named. To be called before s is used.
func (s *Snapshot) Name(name string, d Destination) {
	if s.named == nil {
		s.named = make(map[string]Destination)
	}
	s.named[name] = d
}

// For shows own in place of s to requests that come by the listener of that name, with filters of its own. To be called
// before s is used.
func (s *Snapshot) For(listener string, own *Snapshot) {
	if s.own == nil {
		s.own = make(map[string]*Snapshot)
	}
	own.number, own.held = s.number, s.held
	s.own[listener] = own
}

// Hold keeps v reachable for the garbage collector as long as an exchange may use s, or one of its own for a listener.
// To be called before For.
func (s *Snapshot) Hold(v any) { s.held = v }

// of returns the Snapshot for the requests of l.
func (s *Snapshot) of(l *Listener) *Snapshot {
	if s.own != nil {
		if own := s.own[l.Name]; own != nil {
			return own
		}
	}
	return s
}

// NewSnapshot composes routes and the filters that run for every request.
func NewSnapshot(routes []Route, filters []*Filter) (*Snapshot, error) {
	if err := checkFilters(filters); err != nil {
		return nil, err
	}
	own, gates, err := gatedAll(filters, 0)
	if err != nil {
		return nil, err
	}
	whens, err := conditionsOf(routes, filters)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{chain: compose(own), number: snapshots.Add(1)}
	s.routes.Grow(len(routes))
	for i := range yield.Over(len(routes)) {
		r := routes[i]
		if r.When != nil {
			r.When, r.captures = whens[r.When.String()], r.namesMatch(filters)
		}
		if err := s.add(&r, own, gates); err != nil {
			return nil, fmt.Errorf("%s: %w", r.title(i, len(routes)), err)
		}
	}
	return s, nil
}

// errScopes refuses two conditions that could not be told apart.
var errScopes = errors.New("another route has the same condition, for another scope")

// conditionsOf returns the conditions of routes by their texts. One whose groups a text names is a capturing one.
func conditionsOf(routes []Route, filters []*Filter) (list map[string]*lang.Condition, err error) {
	for i := range yield.Over(len(routes)) {
		r := &routes[i]
		if r.When == nil {
			continue
		}
		if list == nil {
			list = make(map[string]*lang.Condition)
		}
		when, known := list[r.When.String()]
		if !known {
			when = r.When
		} else if !when.Same(r.When) {
			return nil, fmt.Errorf("%s: %w: %s", r.title(i, len(routes)), errScopes, r.When)
		}
		if r.namesMatch(filters) {
			if when, err = when.Capturing(); err != nil {
				return nil, fmt.Errorf("%s: %w", r.title(i, len(routes)), err)
			}
		}
		list[r.When.String()] = when
	}
	return list, nil
}

// namesMatch reports whether a text of r, or of one of filters, names the groups of r.When.
func (r *Route) namesMatch(filters []*Filter) bool {
	for _, to := range []Destination{r.To, r.GRPCTo} {
		if d, ok := to.(Matching); ok && d.NamesMatch() {
			return true
		}
	}
	if w := r.Rewrite; w != nil && w.Path != nil && w.Path.NamesMatch() {
		return true
	}
	names := func(f *Filter) bool { return f != nil && f.NamesMatch }
	return slices.ContainsFunc(filters, names) || slices.ContainsFunc(r.Filters, names)
}

// without returns the filters that Route.Without leaves.
func (r *Route) without(filters []*Filter) ([]*Filter, error) {
	for _, name := range r.Without {
		if !slices.ContainsFunc(filters, func(f *Filter) bool { return f.Name == name }) {
			return nil, fmt.Errorf("there is no filter %q for all routes that Without could leave out", name)
		}
	}
	if len(r.Without) == 0 {
		return slices.Clip(filters), nil
	}
	out := func(f *Filter) bool { return slices.Contains(r.Without, f.Name) }
	return slices.DeleteFunc(slices.Clone(filters), out), nil
}

// add composes r, which s takes over, and the filters of all routes, of which gates have a When.
func (s *Snapshot) add(r *Route, filters []*Filter, gates int) error {
	if err := r.check(); err != nil {
		return err
	}
	all, err := r.without(filters)
	if err != nil {
		return err
	}
	own, _, err := gatedAll(r.Filters, gates)
	if err != nil {
		return err
	}
	all = append(all, own...)
	r.lead, r.grpcLead = leadTo(r.To), leadTo(r.GRPCTo)
	if r.pattern = r.Path; !r.Exact {
		r.pattern = strings.TrimRight(r.Path, "/") + "/*"
	}
	r.rest = len(strings.TrimRight(route.NormalPath(r.Path), "/"))
	if r.Rewrite != nil {
		f, err := r.Rewrite.filter()
		if err != nil {
			return err
		}
		r.rewrite, all = f.UpstreamRequest, append([]*Filter{f}, all...)
	}
	r.chain = compose(all)
	return s.routes.Add(r.rule(), r)
}

// title names r, which is routes[i] of n.
func (r *Route) title(i, n int) string {
	if r.Name != "" {
		return fmt.Sprintf("route %q", r.Name)
	}
	p := route.Pattern{Host: r.Host, Path: cmp.Or(r.Path, "/"), Exact: r.Exact}
	return fmt.Sprintf("route %d of %d (%s)", i+1, n, p)
}

// rule says which requests r takes.
func (r *Route) rule() route.Rule {
	return route.Rule{
		Host: r.Host, Path: r.Path, Exact: r.Exact, Methods: r.Methods, Header: r.Header, Query: r.Query,
		Listeners: r.Listeners, ClientCert: r.ClientCert, When: r.When, Weight: r.Weight,
	}
}

// pages returns the pages of r, which may be nil.
func (r *Route) pages() *Pages {
	if r == nil {
		return nil
	}
	return r.Pages
}

var errNowhere = errors.New("it leads nowhere: To is nil")

// check reports what is wrong with r, its place among others aside.
func (r *Route) check() error {
	if r.To == nil {
		return errNowhere
	}
	if err := checkFilters(r.Filters); err != nil {
		return err
	}
	for _, to := range []Destination{r.To, r.GRPCTo} {
		if c, ok := to.(Checked); ok {
			if err := c.Check(); err != nil {
				return err
			}
		}
	}
	for i, f := range r.Filters {
		if f.BeforeRoute != nil {
			return fmt.Errorf("%s: %w", f.title(i, len(r.Filters)), errBeforeRoute)
		}
	}
	return r.Tunnels.check()
}

// PathOnward returns the path that the destination of the route would see, as Route.Rewrite makes it; nil where
// SetDestination has chosen another one. For filters of the phase Request. Borrowed until the Request changes.
func (x *Exchange) PathOnward() []byte {
	if x.chosen.to != nil {
		return nil
	}
	h, came := &x.Request, x.Request.Target
	if x.route.rewrite != nil {
		x.route.rewrite(x)
	}
	path := h.Path()
	h.Target = came
	return path
}
