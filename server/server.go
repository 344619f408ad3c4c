package server

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/edge-proxy/edge/certs"
	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/observe"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/server/metrics"
	"github.com/edge-proxy/edge/tlsconn"
)

// readMax is above the largest head that a configuration can allow, so that it is refused with 431 and not cut off.
const readMax = 1<<20 + 64<<10

var errEnding = errors.New("the process is ending")

// Options are what a Server has beside its configuration. The zero value is good.
type Options struct {
	// Lookup resolves the names of backends; nil: the resolver of the system. Safe for any goroutine.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Explain tells the event log of every request that failed: for one person at a terminal.
	Explain bool
	// StateDir is where what edge makes itself is kept; "": STATE_DIRECTORY, /var/lib/edge, or below the home.
	StateDir string
	// TicketKeys are the keys of session tickets to begin with, as another process had them; none: new ones.
	TicketKeys [][32]byte

	events *eventLog
	become *identity             // whom the process becomes; nil: nobody else
	opened func(s *Server) error // called when the listeners are open, before the first connection is accepted
}

// Server is one process put together from a configuration.
// Safe for any goroutine, except those of its reactors.
type Server struct {
	opts    Options
	engine  *engine.Engine
	proxy   *proxy.Proxy
	secure  *tlsconn.Handshaker
	tickets *certs.Tickets
	trust   *certs.Follower // set by New
	begun   *config.Config  // what New was given

	counters   *metrics.Counters
	handshakes []handshakes // by Reactor.Index

	mu      sync.Mutex
	state   state       // guarded by mu
	present *generation // guarded by mu

	lingering []*sink     // guarded by mu
	closing   []*listener // those that a reload took away, while their sockets close; guarded by mu
}

type state uint8

const (
	made state = iota
	serving
	draining
	stopped
)

// New makes a Server that listens nowhere yet: its logs are open, its backends are known.
func New(cfg *config.Config, o Options) (*Server, error) {
	e, err := engine.New(engine.Options{
		Reactors: cfg.Global.WorkerThreads, ReadMax: readMax, Memory: cfg.Global.MemoryLimit / 2,
		SpliceMin: orNone(cfg.Global.Splice), Park: parks[cfg.Global.Park], Pin: cfg.Global.Pin,
	})
	if err != nil {
		return nil, err
	}
	empty, err := proxy.NewSnapshot(nil, nil)
	if err != nil {
		return nil, err
	}
	s := &Server{
		opts: o, begun: cfg, engine: e, proxy: proxy.New(e, empty), present: &generation{config: &config.Config{}},
	}
	s.proxy.SetName(viaOf(cfg))
	s.secure = tlsconn.NewHandshaker(e, tlsconn.HandshakerOptions{
		Max: cfg.TLS.Handshakes, Timeout: cfg.TLS.HandshakeTimeout,
	})
	s.handshakes = make([]handshakes, len(e.Reactors()))
	s.counters = metrics.New(len(e.Reactors()))
	s.tickets = certs.NewTickets(o.TicketKeys, s.counters.CountRotation)
	if o.events != nil {
		o.events.register(&s.counters.Registry)
	}
	b := s.build(cfg)
	if err := errors.Join(b.openLogs(), b.openCertificates(), b.makeRoutes()); err != nil {
		b.undo()
		e.Stop()
		return nil, err
	}
	s.trust = certs.Follow(watchEvery, s.trustChanged)
	s.commit(b)
	return s, nil
}

// parks are the values of the key of that name.
var parks = map[string]poller.Park{
	"auto": poller.ParkAuto, "runtime": poller.ParkRuntime, "syscall": poller.ParkSyscall, "spin": poller.ParkSpin,
}

// viaOf returns the name of the process in Via.
func viaOf(cfg *config.Config) string {
	if cfg.Global.Via == "unique" {
		return fmt.Sprintf("%s-%08x", proxy.DefaultName, rand.Uint32())
	}
	return cfg.Global.Via
}

// Start opens the listeners and serves. When one cannot be opened, none is; Stop is still to be called.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != made {
		return errEnding
	}
	b := s.build(s.present.config)
	err := errors.Join(b.openLogs(), b.openCertificates(), b.makeRoutes())
	if err == nil {
		err = b.openListeners()
	}
	if err != nil {
		b.undo()
		return err
	}
	s.commit(b)
	if s.opts.opened != nil {
		if err := s.opts.opened(s); err != nil {
			return err
		}
	}
	s.state = serving
	s.engine.Start()
	return nil
}

// Addresses returns where the Server listens: for each address its listener's name and what the kernel says.
func (s *Server) Addresses() []Address {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Address
	for _, l := range s.present.listeners {
		all = append(all, Address{l.name, l.open.Addr(), l.secured})
	}
	return all
}

// Address is one address of a listener. Port 0 has been replaced by the one that was given.
type Address struct {
	Listener string
	Addr     poller.Addr
	TLS      bool // it takes TLS
}

// TicketKeys returns the keys of session tickets, for Options.TicketKeys of another process. They open the sessions of
// clients: a secret.
func (s *Server) TicketKeys() [][32]byte { return s.tickets.Keys() }

// AuthorityPath returns the file of the internal authority that certificates are of; "" when there is none.
func (s *Server) AuthorityPath() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.present.authority
}

// Conns returns how many connections of clients are open.
func (s *Server) Conns() int { return s.engine.Conns() }

// Drain accepts no connection any more and waits until those that are open have ended, at most for grace. It reports
// whether none was left. Stop, from another goroutine, cuts it short.
func (s *Server) Drain(grace time.Duration) bool {
	s.mu.Lock()
	if s.state == serving {
		s.state = draining
	}
	s.mu.Unlock()
	return s.engine.Drain(grace)
}

// Stop closes what is open and ends the reactors; the access logs are written to their end. A second call does nothing.
func (s *Server) Stop() error {
	s.trust.Stop() // it takes mu
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == stopped {
		return nil
	}
	s.collect()
	s.state = stopped
	s.engine.Stop()
	s.tickets.Stop()
	if s.present.certs != nil {
		s.present.certs.Stop()
	}
	for _, u := range s.present.upstreams {
		u.names.Stop()
	}
	var errs []error
	for _, k := range s.present.sinks {
		errs = append(errs, k.close())
	}
	for _, k := range s.lingering {
		errs = append(errs, k.close())
	}
	return errors.Join(errs...)
}

// Reopen opens the files of the logs again, after they were renamed.
func (s *Server) Reopen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == stopped {
		return errEnding
	}
	var errs []error
	if s.opts.events != nil {
		errs = append(errs, s.opts.events.reopen())
	}
	for path, k := range s.present.sinks {
		if err := k.sink.Reopen(); err != nil && !errors.Is(err, observe.ErrNoPath) {
			errs = append(errs, fmt.Errorf("access log %s: %w", path, err))
		}
	}
	return errors.Join(errs...)
}
