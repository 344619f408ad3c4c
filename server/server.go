package server

import (
	"context"
	cryptorand "crypto/rand"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/discovery"
	"github.com/edge-proxy/edge/backend/discovery/registry"
	"github.com/edge-proxy/edge/certs"
	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/language"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/filter"
	"github.com/edge-proxy/edge/observe"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/dynamic"
	"github.com/edge-proxy/edge/server/metrics"
	"github.com/edge-proxy/edge/server/tlsrules"
	"github.com/edge-proxy/edge/tlsconn"
	"github.com/edge-proxy/edge/upstream/health"
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
	// Filters are those of the program that a configuration may name beside those of [filters]: in [defaults] for all
	// requests, in a listener or a route for its own.
	Filters map[string]*proxy.Filter
	// Sources are kinds of sources of backends that a configuration may name by their schemes, in "discover".
	Sources map[string]discovery.Maker
	// Registries are kinds of registries that a configuration may name by their schemes, in [register].
	Registries map[string]registry.Maker
	// StateDir is the folder for files that edge makes for itself; "": STATE_DIRECTORY, /var/lib/edge, or one in the
	// home directory, as New finds them.
	StateDir string
	// Owner owns the files that edge makes for itself; nil: the user and the group of the process.
	Owner *Owner
	// Adopt are listening sockets that exist already, each with its descriptor: those of another process, see
	// Handover.Sockets, or of a supervisor such as systemd, see SocketOf. Listen takes over those that the
	// configuration names; Claims says which. Descriptors of Held ones stay the caller's, which keeps them open until
	// Stop: reloads may name and drop their addresses as often as they like.
	Adopt []Socket
	// Suspended has Start run everything but accept no connection and announce nothing, before Resume does.
	Suspended bool
	// TicketKeys are the first keys of session tickets, those of another process; none: new ones are made.
	TicketKeys [][32]byte
	// Prepare is called for each generation, with its configuration, and builds what follows it outside the Server.
	// Unless it fails, commit or undo is called next. None of the three may call the Server. nil: there is nothing.
	Prepare func(cfg *config.Config) (commit, undo func(), err error)
	// Listens returns the addresses of the process beside listeners, such as [admin]: requests that name their own
	// destination do not lead there. Safe for any goroutine. nil: there are none.
	Listens func() []netip.AddrPort
	// Version returns the number of the present configuration, for edge_config_version. It must not ask for counters.
	// Safe for any goroutine. nil: how many were applied, the first one among them.
	Version func() int
}

// Owner is a user and a group. A number below 0 stands for that of the process.
type Owner struct{ UID, GID int }

// Server is the present generation, with what all generations share.
// Safe for any goroutine, except those of its reactors.
type Server struct {
	opts    Options
	engine  *engine.Engine
	proxy   *proxy.Proxy
	secure  *tlsconn.Handshaker
	tickets *certs.Tickets
	monitor *health.Monitor
	trust   *certs.Follower // of the files of authorities
	tables  *language.Follower
	begun   *config.Config // that New was given

	kept       filter.Store    // by filters, over reloads
	shakes     tlsrules.Counts // of rules on handshakes
	registered registry.Tally
	ending     chan struct{} // closed by Drain and Stop
	endOnce    sync.Once
	stopping   chan struct{} // closed by Stop
	stopOnce   sync.Once

	instance uint64 // spreads the checks of several instances
	drawn    string // the secret of sticky cookies for which the configuration has none

	own ownAddresses

	counters   *metrics.Counters
	pages      *metrics.Pages
	ledger     ledger
	traffic    *metrics.Traffic
	handshakes []handshakes // by Reactor.Index

	// applying orders what replaces the present generation, and is taken before mu. mu is free while a reload waits
	// for registries: others count, look and end meanwhile.
	applying sync.Mutex

	mu      sync.Mutex
	state   state       // guarded by mu; see enter
	present *generation // guarded by mu

	phase atomic.Uint32 // state and suspendedPhase, for Ready; stored under mu

	withdrawing bool // a reload has released mu while it waits for registries; guarded by mu

	lingering []*sink                 // that a reload took away, until they are closed; guarded by mu
	closing   []*listener             // that a reload took away, until their sockets are closed; guarded by mu
	handover  Handover                // guarded by mu
	looking   []*dynamic.Destinations // that a reload took away, which may still look names up; guarded by mu
}

type state uint8

const (
	made state = iota
	listening
	serving
	draining
	stopped
)

// New makes a Server that does not listen yet. It opens logs, reads certificates and looks up backends.
func New(cfg *config.Config, o Options) (*Server, error) {
	e, err := engine.New(engine.Options{
		Reactors: cfg.Global.WorkerThreads, ReadMax: readMax, Memory: cfg.Global.MemoryLimit / 2,
		SpliceMin: orNone(cfg.Global.Splice), Pin: cfg.Global.Pin,
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
	s := &Server{
		opts: o, begun: cfg, engine: e, proxy: proxy.New(e, empty), present: &generation{config: &config.Config{}},
		drawn: cryptorand.Text(), stopping: make(chan struct{}), ending: make(chan struct{}),
	}
	s.own.others = o.Listens
	s.proxy.SetName(viaOf(cfg))
	s.monitor, s.instance = health.NewMonitor(e), instanceOf()
	s.secure = tlsconn.NewHandshaker(e, tlsconn.HandshakerOptions{
		Max: cfg.TLS.Handshakes, Timeout: cfg.TLS.HandshakeTimeout,
	})
	s.handshakes = make([]handshakes, len(e.Reactors()))
	s.counters = metrics.New(len(e.Reactors()))
	s.counters.Version = o.Version
	s.pages = metrics.NewPages(func() { s.gather(false) }, s.counters.Registry.AppendTo)
	s.traffic = metrics.NewTraffic(len(e.Reactors()), cfg)
	s.counters.Registry.Attach(s.traffic)
	s.kept.List(&s.counters.Registry)
	listRules(&s.counters.Registry, &s.shakes)
	s.ledger.init(e.Reactors(), s.traffic)
	s.tickets = certs.NewTickets(o.TicketKeys, s.counters.CountRotation)
	s.trust, s.tables = certs.Follow(watchEvery, s.trustChanged), language.Follow(tellTable)
	s.counters.RegisterTables(s.tables.Tables)
	s.handover.begin(s)
	if err := s.replace(cfg, false); err != nil {
		s.trust.Stop()
		s.tables.Stop()
		e.Stop()
		return nil, err
	}
	return s, nil
}

// viaOf returns the name in Via.
func viaOf(cfg *config.Config) string {
	if cfg.Global.Via == "unique" {
		return fmt.Sprintf("%s-%08x", proxy.DefaultName, rand.Uint32())
	}
	return cfg.Global.Via
}

// Listen opens the listeners. Connections wait in the kernel until Start. When one cannot be opened, none is;
// Stop is still to be called.
func (s *Server) Listen() error {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listen()
}

// Start serves. It opens the listeners unless Listen has.
func (s *Server) Start() error {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != listening {
		if err := s.listen(); err != nil {
			return err
		}
	}
	enter(s, serving, s.handover.suspended)
	s.engine.Start()
	s.ledger.answers(true)
	if !s.handover.suspended {
		s.announce()
	}
	return nil
}

// listen is Listen. s.applying and s.mu are held.
func (s *Server) listen() error {
	if s.state != made {
		return errBegun
	}
	if err := s.replace(s.present.config, true); err != nil {
		return err
	}
	s.state = listening
	return nil
}

// Reactors returns how many event loops there are.
func (s *Server) Reactors() int { return len(s.engine.Reactors()) }

// Addresses returns the addresses that the Server listens on.
func (s *Server) Addresses() []Address {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Address
	for _, l := range s.present.listeners {
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
func (s *Server) TicketKeys() [][32]byte { return s.tickets.Keys() }

// AuthorityPath returns the file of the internal authority; "" when no certificate is of it.
func (s *Server) AuthorityPath() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.present.authority
}

// Parts are what a Server consists of at a moment. It is for those that look at them.
type Parts struct {
	Engine       *engine.Engine
	Proxy        *proxy.Proxy
	Config       *config.Config
	Backends     map[string]*backend.Set // by the name of the upstream
	Certificates *certs.Set              // of listeners; nil: there are none
	Listeners    []Part
}

// Part is one address of a Server.
type Part struct {
	Title  string // as in Address
	Open   *engine.Listener
	TLS    bool
	V6Only bool // it takes no IPv4
}

// Parts returns what s consists of now.
func (s *Server) Parts() *Parts {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &Parts{Engine: s.engine, Proxy: s.proxy, Config: s.present.config, Certificates: s.present.certs,
		Backends: make(map[string]*backend.Set, len(s.present.services))}
	for name, of := range s.present.services {
		p.Backends[name] = of.set
	}
	for _, l := range s.present.listeners {
		if l.open != nil {
			p.Listeners = append(p.Listeners, Part{l.title, l.open, l.secured, l.sockets.V6Only})
		}
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

// suspendedPhase is added to a state in Server.phase: Handover.suspended.
const suspendedPhase = 1 << 8

// enter has s in a state, suspended or not. s.mu is held.
func enter(s *Server, next state, suspended bool) {
	s.state, s.handover.suspended = next, suspended
	phase := uint32(next)
	if suspended {
		phase |= suspendedPhase
	}
	s.phase.Store(phase)
}

// Conns returns how many connections of clients are open.
func (s *Server) Conns() int { return s.engine.Conns() }

// atOnce is closed.
var atOnce = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Drain withdraws what is registered, and waits until others have heard of it. Then it stops accepting and waits until
// open connections have ended, at most for grace. It reports whether none was left. Stop, from another goroutine, cuts
// it short.
func (s *Server) Drain(grace time.Duration) bool {
	s.mu.Lock()
	if s.handover.suspended {
		s.mu.Unlock()
		return s.handover.Drain(grace)
	}
	if s.state == serving {
		enter(s, draining, false)
	}
	s.endOnce.Do(func() { close(s.ending) }) // a reload gives up
	s.mu.Unlock()
	s.withdraw(s.takeRegistrations(), s.stopping)
	return s.engine.Drain(grace)
}

// Stop closes what is open, ends the reactors and writes the access logs to their end. A second call does nothing.
func (s *Server) Stop() error {
	s.endOnce.Do(func() { close(s.ending) })
	s.stopOnce.Do(func() { close(s.stopping) })
	s.withdraw(s.takeRegistrations(), s.stopping)
	s.trust.Stop() // without applying and mu, which trustChanged takes
	s.tables.Stop()
	s.applying.Lock()
	defer s.applying.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == stopped {
		return nil
	}
	s.gather(true)
	s.ledger.answers(false)
	enter(s, stopped, s.handover.suspended)
	s.engine.Stop()
	for _, l := range s.present.listeners {
		if l.open != nil {
			l.removeFile()
		}
	}
	s.tickets.Stop()
	if s.present.certs != nil {
		s.present.certs.Stop()
	}
	for _, d := range slices.AppendSeq(s.looking, maps.Values(s.present.destinations)) {
		d.Close()
	}
	for _, of := range s.present.services {
		of.stop()
	}
	var errs []error
	for _, k := range slices.AppendSeq(s.lingering, maps.Values(s.present.sinks)) {
		errs = append(errs, k.close())
	}
	return errors.Join(append(errs, s.kept.Close()...)...)
}

// Reopen opens the files of the access logs again, after they were renamed.
func (s *Server) Reopen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == stopped {
		return errEnding
	}
	var errs []error
	for path, k := range s.present.sinks {
		if err := k.sink.Reopen(); err != nil && !errors.Is(err, observe.ErrNoPath) {
			errs = append(errs, fmt.Errorf("access log %s: %w", path, err))
		}
	}
	return errors.Join(errs...)
}
