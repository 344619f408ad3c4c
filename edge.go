package edge

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/discovery"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/exchange/trace"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/internal/upstream/health"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// Server is an engine with listeners and a set of routes. Fill in the fields, then
// Run it, or Start and Shutdown. The zero value of all fields but Routes is good.
// The fields must not change after Start. The methods are safe for any goroutine.
type Server struct {
	Addr    string          // host:port, with port 0 for a free one, or unix:/path; "": 127.0.0.1:8080
	Routes  []proxy.Route   // where requests go
	Filters []*proxy.Filter // for the requests of all routes
	Share   bool            // others may listen on its addresses too, but for UDP, and get a part of the connections
	Grace   time.Duration   // for requests in progress, once Run is to end; 0: 10 s
	TLS     *tls.Config     // certificates and all else of HTTPS; HTTP/2 unless NextProtos says otherwise; nil: plain
	HTTP3   bool            // at the UDP port of the same number, of which answers over TCP tell; needs TLS

	Engine   engine.Options
	Session  session.ServerOptions
	Listener proxy.Listener

	Listeners []Listener // further ones, for the same routes

	ConnFilters []*session.ConnFilter // for the connections of all listeners

	AccessLog io.Writer // gets a line of JSON for each request, from a goroutine; nil: there is no access log
	Traces    *Traces   // requests are recorded as parts of their traces, on all listeners; nil: none is

	engine     *engine.Engine
	proxy      *proxy.Proxy
	handshaker *tlsconn.Handshaker // of all listeners; nil: none of them has TLS
	listeners  []*engine.Listener
	resolvers  []*discovery.Resolver
	checks     []check
	watches    []*health.Watch
	log        *observe.Sink // nil without AccessLog
	logs       []proxy.AccessLog
	traces     *observe.Sink  // nil without Traces
	tracing    *proxy.Tracing // likewise
}

// Traces says which requests of a Server are recorded as spans, and where: see proxy.Tracing.
type Traces struct {
	Exporter RecordWriter  // takes records on a goroutine, such as one of NewOTLP; it is not closed
	Share    float64       // of the traces that begin here, from 0 to 1
	Most     float64       // traces a second at the most; 0: any number
	Tracing  proxy.Tracing // what else is said of them; Server sets its To and its Sampler
}

// Listener is a further listener of a Server. Its fields are as in the Server.
type Listener struct {
	Addr     string
	TLS      *tls.Config
	HTTP3    bool
	Listener proxy.Listener
}

// Defaults of a Server.
const (
	addrDefault  = "127.0.0.1:8080"
	graceDefault = 10 * time.Second
)

// Serve listens on addr and serves the routes until SIGINT or SIGTERM comes; then requests in progress are finished. It
// returns nil then, unlike http.ListenAndServe: write "if err := edge.Serve(…); err != nil", not log.Fatal of the call.
func Serve(addr string, routes ...proxy.Route) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	s := &Server{Addr: addr, Routes: routes}
	return s.Run(ctx)
}

// Run serves until ctx ends, and then for as long as requests in progress take, at most for Grace. It returns nil when
// all of them were finished.
func (s *Server) Run(ctx context.Context) error {
	if err := s.Start(); err != nil {
		return err
	}
	for _, address := range s.ListenAddrs() {
		slog.Info("proxy listens", "address", address)
	}
	<-ctx.Done()
	grace := cmp.Or(s.Grace, graceDefault)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	return s.Shutdown(ctx)
}

// Start opens the listener and serves. The error names a wrong field, or says why the address cannot be used.
func (s *Server) Start() (err error) {
	defer func() {
		if err != nil {
			s.stop()
			s.engine, s.handshaker, s.resolvers, s.listeners = nil, nil, nil, nil // Start may be called again
			s.log, s.logs, s.watches = nil, nil, nil
		}
	}()
	all := append([]Listener{{s.Addr, s.TLS, s.HTTP3, s.Listener}}, s.Listeners...)
	for i := range all {
		if err := all[i].Listener.Check(all[i].TLS); err != nil {
			return fmt.Errorf("listen on %q: %w", all[i].Addr, err)
		}
	}
	if err := s.makeEngine(); err != nil {
		return err
	}
	routes, err := s.bind()
	if err != nil {
		return err
	}
	snapshot, err := proxy.NewSnapshot(routes, s.Filters)
	if err != nil {
		return err
	}
	s.proxy = proxy.New(s.engine, snapshot)
	if err := errors.Join(s.openLog(), s.openTraces()); err != nil {
		return err
	}
	for i := range all {
		if err := s.listen(&all[i]); err != nil {
			return err
		}
	}
	monitor := health.NewMonitor(s.engine)
	for _, c := range s.checks {
		s.watches = append(s.watches, monitor.Watch(c.set, c.options))
	}
	s.engine.Start()
	return nil
}

// check is what a Server has checked.
type check struct {
	set     *backend.Set
	options health.Options
}

// Check checks the backends of set from Start on: a backend that fails gets no requests until it passes again.
// With HealthStartChecked they get none before their first check either. Call it before Start, once for each set.
func (s *Server) Check(set *backend.Set, o HealthOptions) {
	if o.Rules.Start != health.StartUp {
		set.JoinWith(backend.Health)
		for _, m := range set.Members() {
			m.Mark(backend.Health, true, backend.Why{})
		}
	}
	s.checks = append(s.checks, check{set, o})
}

// makeEngine makes the engine, unless Bind has.
func (s *Server) makeEngine() (err error) {
	if s.engine == nil {
		s.engine, err = engine.New(s.Engine)
	}
	return err
}

// Bind returns d, which is one of Backends or To, as it is on the engine of s. The routes of s need no Bind: it is for
// what a DestinationFunc returns and what a filter gives to SetDestination. Call it once for each d and keep the
// result, which has the connections. Before Start, with the field Engine set; Start or Shutdown ends what it began.
func (s *Server) Bind(d proxy.Destination) (proxy.Destination, error) {
	u, ok := d.(*unbound)
	if !ok {
		return d, nil
	}
	if err := s.makeEngine(); err != nil {
		return nil, err
	}
	return s.open(u)
}

// openLog makes the access log, one for each reactor.
func (s *Server) openLog() (err error) {
	if s.AccessLog == nil {
		return nil
	}
	if s.log, err = observe.Open(observe.Options{Writer: s.AccessLog}); err != nil {
		return err
	}
	for range s.engine.Reactors() {
		s.logs = append(s.logs, s.log.AccessLog(observe.FormatJSON))
	}
	return nil
}

// openTraces makes the outputs of spans, one for each reactor.
func (s *Server) openTraces() (err error) {
	if s.Traces == nil {
		return nil
	}
	o := observe.Options{Records: s.Traces.Exporter, CloseWait: 2 * time.Second}
	if s.traces, err = observe.Open(o); err != nil {
		return err
	}
	t, reactors := s.Traces.Tracing, len(s.engine.Reactors())
	t.Sampler, t.To = trace.NewSampler(s.Traces.Share, s.Traces.Most, reactors), nil
	for range reactors {
		t.To = append(t.To, s.traces.AccessLog(observe.FormatJSON))
	}
	s.tracing = &t
	return nil
}

// listen opens l.
func (s *Server) listen(l *Listener) error {
	addr, err := poller.ParseAddr(cmp.Or(l.Addr, addrDefault))
	if err != nil {
		return fmt.Errorf("listen on %w", err)
	}
	if l.Listener.Log == nil {
		l.Listener.Log = s.logs
	}
	if l.Listener.Tracing == nil {
		l.Listener.Tracing = s.tracing
	}
	o := engine.ListenOptions{Addr: addr, Share: s.Share}
	if l.HTTP3 {
		return s.listenHTTP3(l, o)
	}
	return s.listenTCP(l, session.NewServer(s.engine, s.proxy.Service(&l.Listener), s.Session), o)
}

// listenTCP opens l, whose requests srv has.
func (s *Server) listenTCP(l *Listener, srv *session.Server, o engine.ListenOptions) error {
	accept := srv.Accept
	if l.TLS != nil {
		accept = s.secured(l.TLS, session.FilterSecured(l.Listener.Name, s.ConnFilters, accept))
		o.Gate = s.handshaker
	}
	open, err := s.engine.Listen(o, session.FilterAccepted(l.Listener.Name, s.ConnFilters, accept))
	if err != nil {
		return err
	}
	s.listeners = append(s.listeners, open)
	return nil
}

// shakes returns the Handshaker of all listeners.
func (s *Server) shakes() *tlsconn.Handshaker {
	if s.handshaker == nil {
		s.handshaker = session.NewHandshaker(s.engine)
	}
	return s.handshaker
}

// secured puts TLS before accept.
func (s *Server) secured(
	config *tls.Config, accept func(*engine.Conn) engine.Handler,
) func(*engine.Conn) engine.Handler {
	if len(config.NextProtos) == 0 {
		config = config.Clone()
		config.NextProtos = []string{"h2", "http/1.1"}
	}
	return s.shakes().Server(tlsconn.ServerOptions{Config: config, Plain: s.proxy.PlainOnTLS}, accept)
}

// ErrGrace says that Shutdown cut off requests that were in progress when its context ended.
var ErrGrace = errors.New("edge: requests in progress were cut off")

// Shutdown stops accepting, waits for the requests in progress until ctx ends, and closes everything.
func (s *Server) Shutdown(ctx context.Context) error {
	grace := graceDefault
	if end, ok := ctx.Deadline(); ok {
		grace = time.Until(end)
	}
	whole := s.engine.Drain(grace)
	s.stop()
	if !whole {
		return ErrGrace
	}
	return nil
}

func (s *Server) stop() {
	for _, r := range s.resolvers {
		r.Stop()
	}
	for _, w := range s.watches {
		w.Stop()
	}
	if s.engine != nil {
		s.engine.Stop()
	}
	if s.log != nil {
		_ = s.log.Close() // what its writer refused is in the event log
	}
	if s.traces != nil {
		_ = s.traces.Close() // likewise
	}
}

// ListenAddr is where the first listener listens: with the port that was picked, once the Server was started.
func (s *Server) ListenAddr() string { return s.ListenAddrs()[0] }

// ListenAddrs is ListenAddr for all listeners: the address of Addr, then Listeners in their order.
func (s *Server) ListenAddrs() (all []string) {
	for _, l := range s.listeners {
		all = append(all, l.Addr().String())
	}
	return all
}

// Proxy returns the proxy below, once the Server was started: for its counters, and for Swap.
func (s *Server) Proxy() *proxy.Proxy { return s.proxy }

// Reactors returns the reactors, once the Server was started.
func (s *Server) Reactors() []*engine.Reactor { return s.engine.Reactors() }

// Backends leads to the servers at the given addresses (host:port or unix:/path), chosen by load and latency. It is for
// the routes of a Server, which connects them with its engine; where a filter or a function chooses, see Server.Bind.
func Backends(addresses ...string) proxy.Destination {
	return To(upstream.Options{Name: strings.Join(addresses, " "), Backends: backend.Of(addresses...)}, nil)
}

// To is proxy.To for the routes of a Server, which makes the upstream on its engine. to may be nil.
func To(o UpstreamOptions, to *proxy.ToOptions) proxy.Destination { return &unbound{o, to} }

// unbound is an upstream for which there is no engine yet.
type unbound struct {
	opts upstream.Options
	to   *proxy.ToOptions
}

// errUnbound refuses an unbound where no Server binds it.
var errUnbound = errors.New(
	"edge.Backends and edge.To are for the routes of a Server; elsewhere use Bind of the Server, or proxy.To")

// errNoBackend refuses an unbound that names no backend.
var errNoBackend = errors.New("there is no backend: Backends takes one address or more")

// Check refuses u: a Server puts an upstream in its place.
func (u *unbound) Check() error { return errUnbound }

// Open panics: a filter or a function chose u without Bind. The log says so, with the request.
func (u *unbound) Open(*proxy.Exchange, session.Receiver) proxy.Opening {
	panic(errUnbound)
}

// front is a Front that can stand before another destination, as one of package cache can.
type front interface {
	proxy.Front
	Before(d proxy.Destination) proxy.Front
}

// bind returns the routes with an upstream for each Backends in them; routes that share one share the upstream.
func (s *Server) bind() ([]proxy.Route, error) {
	bound := map[*unbound]proxy.Destination{}
	routes := slices.Clone(s.Routes)
	for i := range routes {
		r := &routes[i]
		for _, to := range []*proxy.Destination{&r.To, &r.GRPCTo} {
			d := *to
			f, isFront := d.(front)
			if isFront {
				d = f.Onward()
			}
			u, ok := d.(*unbound)
			if !ok {
				continue
			}
			if bound[u] == nil {
				d, err := s.open(u)
				if err != nil {
					if r.Name == "" {
						return nil, fmt.Errorf("route %d of %d: %w", i+1, len(routes), err)
					}
					return nil, fmt.Errorf("route %q: %w", r.Name, err)
				}
				bound[u] = d
			}
			if *to = bound[u]; isFront {
				*to = f.Before(bound[u])
			}
		}
	}
	return routes, nil
}

// open makes the upstream of u.
func (s *Server) open(u *unbound) (proxy.Destination, error) {
	up := upstream.New(s.engine, u.opts)
	set := up.Options().Backends
	if set.Len() == 0 {
		return nil, errNoBackend
	}
	for _, m := range set.Members() {
		if err := checkBackend(m.Address()); err != nil {
			return nil, fmt.Errorf("backend %q: %w", m.Address(), err)
		}
	}
	s.resolvers = append(s.resolvers, discovery.ResolveNames(up.Name(), set, discovery.NamesBy(nil)))
	return proxy.To(up, u.to), nil
}

var errBackend = errors.New("an address is host:port or unix:/path, without a scheme")

// checkBackend looks at an address as far as that is possible without resolving it.
func checkBackend(address string) error {
	if strings.HasPrefix(address, "unix:") {
		return nil
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return errBackend
	}
	return nil
}
