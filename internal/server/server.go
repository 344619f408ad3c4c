package server

import (
	"cmp"
	"context"
	cryptorand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/discovery"
	"github.com/edge-proxy/edge/backend/registry"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/caching"
	"github.com/edge-proxy/edge/internal/config/language"
	"github.com/edge-proxy/edge/internal/http3/quicconn"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/server/metrics"
	"github.com/edge-proxy/edge/internal/tls/certs"
	"github.com/edge-proxy/edge/internal/tls/certs/issue"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/internal/upstream/health"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/handler"
)

// readMax is more than the largest head that a configuration can allow, so that a larger one is answered by 431.
const readMax = 1<<20 + 64<<10

var (
	errBegun  = errors.New("the server listens already, or has ended")
	errEnding = errors.New("the process is ending")

	errNotServing = errors.New("the process does not serve yet")
)

// Options are what a Server needs in addition to its configuration. The zero value is good.
type Options struct {
	// Lookup resolves the names of backends; nil: the resolver of the system. Safe for any goroutine.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Explain logs every request that failed, with a hint: for a person at a terminal.
	Explain bool
	// Filters are filters of the program that a configuration may name beside the ones of [filters]: in [defaults] for
	// all requests, in a listener or a route for its own.
	Filters map[string]*proxy.Filter
	// Named lets requests find the upstreams of a configuration by their names (proxy.Named, Transport) where there is
	// neither a filter of the program nor an entry of [destinations], which is reason enough.
	Named bool
	// Destinations are destinations of the program that a configuration may name as "dest", beside upstreams and
	// [destinations]. They go on over reloads.
	Destinations map[string]proxy.Destination
	// Services are services of the program, by the names of their tables in [services]. They go on over reloads.
	Services map[string]*plugin.Service
	// Sources are kinds of sources of backends that a configuration may name by their schemes, in "discover".
	Sources map[string]discovery.Maker
	// Registries are kinds of registries that a configuration may name by their schemes, in [register].
	Registries map[string]registry.Maker
	// StateDir is the folder for files that edge makes for itself; "": STATE_DIRECTORY, /var/lib/edge, or one in the
	// home directory, as New finds them.
	StateDir string
	// Owner owns the files that edge makes for itself; nil: the user and the group of the process.
	Owner *Owner
	// Adopt are listening sockets that exist already, each with its descriptor, from another process, see
	// Handover.Sockets, or from a supervisor such as systemd, see SocketOf. Listen takes over those that the
	// configuration names; Claims says which. Descriptors of Held ones stay the caller's, which keeps them open until
	// Stop: reloads may name and drop their addresses as often as they like.
	Adopt []Socket
	// Suspended makes Start run everything but accept no connection and announce nothing, before Resume does.
	Suspended bool
	// Before is the process that this one takes over from; 0: none.
	Before int
	// TicketKeys are the first keys of session tickets, from another process; none: new ones are made.
	TicketKeys [][32]byte
	// QUICSecret is the source of ids and tokens of QUIC, from another process; zero: a random one is made. Generation
	// counts the processes that have taken over from each other.
	QUICSecret quicconn.Secret
	Generation int
	// CacheFrom is the end of a connection to another process: Theirs of its Handover.OfferCache. The cache takes over
	// from that process. Without a cache the Server closes it. nil: there is no such process, or it has no cache.
	CacheFrom *os.File
	// Prepare is called for each configuration that is applied, and builds what follows it outside the Server.
	// Unless it fails, commit or undo is called next. None of the three may call the Server. nil: there is nothing.
	Prepare func(cfg *config.Config) (commit, undo func(), err error)
	// Listens returns the addresses of the process beside listeners, such as [admin]: requests that name their own
	// destination do not lead there. Safe for any goroutine. nil: there are none.
	Listens func() []netip.AddrPort
	// Version returns the number of the present configuration, for edge_config_version. It must not ask for counters.
	// Safe for any goroutine. nil: how many were applied, the first one among them.
	Version func() int
	// Reserve is told how many bytes of memory the Server has outside of the Go heap, for the store of a cache, when
	// that changes; 0: none any more. It must not call the Server. nil: not called.
	Reserve func(bytes int64)
}

// Owner is a user and a group. A number below 0 stands for the process's own.
type Owner struct{ UID, GID int }

// owner returns the Owner, or numbers that stand for the user and the group of the process.
func (o *Options) owner() Owner { return *cmp.Or(o.Owner, &Owner{-1, -1}) }

// Server is a list of parts, with what they share.
// Safe for any goroutine, except the ones of its reactors.
type Server struct {
	shared
	begun   *config.Config // that New was given
	present *config.Config // guarded by mu
	parts   []part         // in the order in which a configuration needs them

	definitions   definitions
	logs          accessLogs
	traces        traces
	program       program
	issuing       issuing
	certificates  certificates
	listeners     listeners
	registrations registrations
	upstreams     upstreams
	relays        relays
	destinations  destinations
	caches        caches
	ledger        ledger
	routes        routes

	handover Handover
}

// New makes a Server that does not listen yet. It opens logs, reads certificates and looks up backends.
func New(cfg *config.Config, o Options) (*Server, error) {
	limit := cmp.Or(cfg.Global.MemoryLimit, engine.MemoryLimit())
	budget := cfg.Global.MemoryLimit / 2 // 0: the engine knows
	if caching.Any(cfg) {
		budget = (limit - cacheMemoryOf(caching.Of(cfg).Memory, limit)) / 2
	}
	e, err := engine.New(engine.Options{
		Reactors: cfg.Global.WorkerThreads, ReadMax: readMax, Memory: budget,
		SpliceMin: orNone(cfg.Global.Splice), Pin: cfg.Global.Pin, ConnsMax: connsMax(),
		Park: constant[poller.Park](&cfg.Global, &cfg.Global.Park),
	})
	if err != nil {
		return nil, err
	}
	if o.StateDir == "" {
		o.StateDir, _ = StateDir(os.Getuid()) // only an internal authority needs one
	}
	empty, err := proxy.NewSnapshot(nil, nil)
	if err != nil {
		return nil, err
	}
	if o.QUICSecret == (quicconn.Secret{}) {
		cryptorand.Read(o.QUICSecret[:]) //nolint:errcheck // never fails
	}
	s := &Server{begun: cfg, present: &config.Config{}}
	s.opts, s.engine, s.proxy = o, e, proxy.New(e, empty)
	s.suspended = o.Suspended
	s.ending, s.end = context.WithCancel(context.Background())
	s.stopping, s.cut = context.WithCancel(context.Background())
	name := viaOf(cfg)
	s.proxy.SetName(name)
	s.secure = tlsconn.NewHandshaker(e, tlsconn.HandshakerOptions{
		Max: cfg.TLS.Handshakes, Timeout: cfg.TLS.HandshakeTimeout,
	})
	s.counters = metrics.New(len(e.Reactors()))
	s.counters.Version = o.Version
	s.traffic = metrics.NewTraffic(len(e.Reactors()), cfg)
	s.counters.Registry.Attach(s.traffic)
	s.caches.name, s.caches.limit = name, limit
	s.assemble()
	s.kept.List(&s.counters.Registry)
	s.issuing.counts.list(&s.counters.Registry)
	listRules(&s.counters.Registry, &s.certificates.shakes)
	s.listeners.preambles.list(&s.counters.Registry)
	s.listeners.clients.list(&s.counters.Registry)
	s.relays.counts.list(&s.counters.Registry)
	s.counters.RegisterTables(s.routes.tables.Tables)
	s.counters.RegisterCache(s.caches.counted)
	if err := s.replace(&reload{config: cfg}); err != nil {
		s.certificates.trust.Stop()
		s.routes.tables.Stop()
		e.Stop()
		return nil, err
	}
	return s, nil
}

// assemble makes the parts, and lists them: each needs some of the parts before it. The routes are the last one, since
// what their commit does cannot be undone.
func (s *Server) assemble() {
	s.definitions.shared = &s.shared
	s.logs = accessLogs{shared: &s.shared, definitions: &s.definitions}
	s.traces.shared, s.traces.logs = &s.shared, &s.logs
	s.program.shared = &s.shared
	s.issuing.shared, s.issuing.definitions = &s.shared, &s.definitions
	s.certificates.shared, s.certificates.issuing = &s.shared, &s.issuing
	s.certificates.tickets = certs.NewTickets(s.opts.TicketKeys, s.counters.CountRotation)
	s.certificates.trust = certs.Follow(watchEvery, s.trustChanged)
	s.listeners = listeners{shared: &s.shared, definitions: &s.definitions, logs: &s.logs, traces: &s.traces,
		certificates: &s.certificates, relays: &s.relays, handshakes: make([]handshakes, s.Reactors()),
		own:      ownAddresses{others: s.opts.Listens},
		adoption: adoption{sockets: slices.Clone(s.opts.Adopt), claims: make([]*listener, len(s.opts.Adopt))}}
	s.registrations.shared, s.registrations.listeners = &s.shared, &s.listeners
	s.upstreams = upstreams{shared: &s.shared, definitions: &s.definitions, ledger: &s.ledger,
		monitor: health.NewMonitor(s.engine), instance: instanceOf(), drawn: cryptorand.Text()}
	s.relays = relays{shared: &s.shared, logs: &s.logs, upstreams: &s.upstreams, all: make(map[string]*relay),
		passed: make(passedServices)}
	s.destinations = destinations{shared: &s.shared, listeners: &s.listeners, upstreams: &s.upstreams}
	s.caches.shared = &s.shared
	s.routes = routes{shared: &s.shared, definitions: &s.definitions, logs: &s.logs, traces: &s.traces,
		upstreams: &s.upstreams, choices: &s.caches.choices,
		ends:   sending{&s.definitions, &s.upstreams, &s.destinations, &s.caches},
		tables: language.Follow(tellTable)}
	s.parts = []part{&s.definitions, &s.logs, &s.traces, &s.program, &s.issuing, &s.certificates, &s.listeners,
		&s.registrations, &s.upstreams, &s.relays, &s.destinations, &s.caches, &s.ledger, &s.routes}
	s.ledger.shared, s.ledger.parts = &s.shared, s.parts
	s.ledger.init()
	s.handover.server = s
}

func viaOf(cfg *config.Config) string {
	if cfg.Global.Via == "unique" {
		return fmt.Sprintf("%s-%08x", proxy.DefaultName, rand.Uint32())
	}
	return cfg.Global.Via
}

// Listen opens the listeners. Connections wait in the kernel until Start. When one cannot be opened, none is;
// Stop is still to be called.
func (s *Server) Listen() error {
	defer s.lock()()
	return s.listen()
}

// Start serves. It opens the listeners unless Listen has.
func (s *Server) Start() error {
	defer s.lock()()
	if s.state != listening {
		if err := s.listen(); err != nil {
			return err
		}
	}
	if err := s.caches.start(); err != nil {
		return err
	}
	s.enter(serving, s.suspended)
	s.engine.Start()
	s.ledger.answers(true)
	s.registrations.announce()
	s.issuing.look()
	return nil
}

// listen is Listen. s.applying and s.mu are held.
func (s *Server) listen() error {
	if s.state != made {
		return errBegun
	}
	if err := s.replace(&reload{config: s.present, listen: true}); err != nil {
		return err
	}
	s.state = listening
	return nil
}

// Addresses returns the addresses that the Server listens on.
func (s *Server) Addresses() []Address {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Address
	for _, l := range s.listeners.now {
		all = append(all, Address{l.title, l.open.Addr(), l.secured})
	}
	return all
}

// Address is one address of a listener.
type Address struct {
	Listener string      // its name; the address as it is written where there is none
	Addr     poller.Addr // with the port that the kernel chose where the configuration says 0
	TLS      bool        // it takes TLS
}

// TicketKeys returns the keys of session tickets, for Options.TicketKeys of another process. They are secret: they
// decrypt the sessions of clients.
func (s *Server) TicketKeys() [][32]byte { return s.certificates.tickets.Keys() }

// QUICSecret returns what Options.QUICSecret of another process has to be. It is secret: by it
// clients could choose their event loops and processes.
func (s *Server) QUICSecret() quicconn.Secret { return s.opts.QUICSecret }

// AuthorityPath returns the file of the internal authority; "" when no certificate is of it.
func (s *Server) AuthorityPath() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.certificates.now.authority; a != nil {
		return a.Path
	}
	return ""
}

// Parts are what a Server consists of at a moment. It is for those that look at them.
type Parts struct {
	Engine       *engine.Engine
	Proxy        *proxy.Proxy
	Config       *config.Config
	Backends     map[string]*backend.Set // by the name of the upstream
	Certificates *certs.Set              // of listeners; nil: there are none
	Ordered      []issue.Status          // certificates of [acme]
	Listeners    []Part
}

// Part is one address of a Server.
type Part struct {
	Title  string // as in Address
	Open   *engine.Listener
	HTTP3  *engine.Listener // of its UDP port; nil: there is none
	UDP    string           // how its UDP port is: see admin.Listener
	TLS    bool
	V6Only bool // it takes no IPv4

	Service bool // it does not speak HTTP
}

// Parts returns what s consists of now.
func (s *Server) Parts() *Parts {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &Parts{Engine: s.engine, Proxy: s.proxy, Config: s.present, Certificates: s.certificates.now.set,
		Ordered: s.issuing.all(), Backends: make(map[string]*backend.Set, len(s.upstreams.now.services))}
	for name, of := range s.upstreams.now.services {
		p.Backends[name] = of.set
	}
	for _, l := range s.listeners.now {
		p.Listeners = append(p.Listeners,
			Part{l.title, l.open, l.http3.open.Load(), l.http3.state(), l.secured, l.sockets.V6Only, l.other != nil})
	}
	return p
}

// Ready returns why s is not ready for requests; nil: it is. It takes no lock: a reload holds mu while it looks names
// up, and a probe of Kubernetes gives up after a second.
func (s *Server) Ready() error {
	switch phase := s.phase.Load(); {
	case phase == uint32(serving):
		return nil
	case phase == uint32(serving)|suspendedPhase:
		return errSuspended
	case phase&^suspendedPhase > uint32(serving):
		return errEnding
	default:
		return errNotServing
	}
}

// Transport returns an http.RoundTripper to a destination of the present configuration, by its name: an upstream, or an
// entry of [destinations]; see Options.Named. Its requests count as of a listener "(program)". While the Server serves.
func (s *Server) Transport(name string) http.RoundTripper {
	const listener = "(program)"
	on := &proxy.Listener{Name: listener, NoVia: true, Meter: s.traffic.Listener(listener)}
	return handler.NewTransport(s.engine, s.proxy.Service(on), proxy.Named(name))
}

// Conns returns how many connections of clients are open.
func (s *Server) Conns() int { return s.engine.Conns() }

// Drain withdraws what is registered, and waits until others have heard of it. Then it stops accepting and waits until
// open connections have ended, at most for grace. It reports whether none was left. Stop, from another goroutine, cuts
// it short.
func (s *Server) Drain(grace time.Duration) bool {
	s.mu.Lock()
	if s.suspended {
		s.mu.Unlock()
		return s.handover.Drain(grace)
	}
	if s.state == serving {
		s.enter(draining, false)
	}
	s.end() // a reload gives up
	s.mu.Unlock()
	var ending sync.WaitGroup
	ending.Go(s.issuing.end) // proofs may take long to be removed
	defer ending.Wait()
	s.registrations.end(s.stopping)
	return s.engine.Drain(grace)
}

// Stop closes what is open, ends the reactors and writes the access logs to their end. A second call does nothing.
func (s *Server) Stop() error {
	s.end()
	s.cut()
	s.issuing.end()
	s.registrations.end(s.stopping)
	s.certificates.trust.Stop() // without applying and mu, which trustChanged takes
	s.routes.tables.Stop()
	defer s.lock()()
	if s.state == stopped {
		return nil
	}
	s.ledger.gather(true)
	s.ledger.answers(false)
	s.enter(stopped, s.suspended)
	s.engine.Stop()
	var errs []error
	for _, p := range slices.Backward(s.parts) {
		errs = append(errs, p.stop())
	}
	return errors.Join(errs...)
}

// Reopen opens the files of the access logs again, after they were renamed.
func (s *Server) Reopen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == stopped {
		return errEnding
	}
	return s.logs.reopen()
}
