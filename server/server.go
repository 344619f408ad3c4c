package server

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
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

var (
	errBegun  = errors.New("the server has listened already")
	errEnding = errors.New("the process is ending")
)

// Options are what a Server has beside its configuration. The zero value is good.
type Options struct {
	// Lookup resolves the names of backends; nil: the resolver of the system. Safe for any goroutine.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Explain tells the event log of every request that failed: for one person at a terminal.
	Explain bool
	// StateDir is where what edge makes itself is kept; "": STATE_DIRECTORY, /var/lib/edge, or below the home, as the
	// process finds them in New.
	StateDir string
	// Owner is who owns what edge makes itself; nil: the user and the group of the process.
	Owner *Owner
	// TicketKeys are the keys of session tickets to begin with, as another process had them; none: new ones.
	TicketKeys [][32]byte
	// Prepare is called by Apply with the new configuration, and builds what follows it outside the Server. Without an
	// error one of commit and undo is called. None of the three may call the Server. nil: there is nothing.
	Prepare func(cfg *config.Config) (commit, undo func(), err error)
}

// Owner is a user and a group by number; one below 0 is that of the process.
type Owner struct{ UID, GID int }

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
	listening
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
	if o.StateDir == "" {
		o.StateDir, _ = stateDir(os.Getuid()) // only an internal authority needs one
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

// Listen opens the listeners. Connections wait in the kernel until Start. When one cannot be opened, none is; Stop is
// still to be called.
func (s *Server) Listen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listen()
}

// Start serves. It opens the listeners unless Listen has.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != listening {
		if err := s.listen(); err != nil {
			return err
		}
	}
	s.state = serving
	s.engine.Start()
	return nil
}

// listen is Listen. s.mu is held.
func (s *Server) listen() error {
	if s.state != made {
		return errBegun
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
	s.state = listening
	return nil
}

// Reactors returns how many event loops there are.
func (s *Server) Reactors() int { return len(s.engine.Reactors()) }

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
