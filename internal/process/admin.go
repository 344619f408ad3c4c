package process

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/server"
	"github.com/edge-proxy/edge/internal/server/admin"
	"github.com/edge-proxy/edge/internal/server/inspect"
	"github.com/edge-proxy/edge/proxy"
)

// administration is the admin surface of the process, and what it asks: an admin.Process.
// Safe for any goroutine but a reactor's.
//
//	newAdministration ─► prepare, for each configuration ─► serve ─► drain ─► stop
type administration struct {
	surfaces *admin.Surfaces
	events   *eventLog
	signals  *Signals
	version  string // of the program
	file     string // "": none
	begun    time.Time

	parts    atomic.Pointer[parts] // nil before serve
	draining atomic.Bool
	waits    atomic.Bool // the addresses are another process's still: see take
	asked    atomic.Pointer[remembered]

	mu      sync.Mutex
	number  int       // of the configuration in force; guarded by mu
	applied time.Time // guarded by mu

	generations []generation // the last ones, the present one at the end; guarded by mu
}

// remembered is which requests event loops were told to remember.
type remembered struct {
	n    int
	slow time.Duration
}

// generation is one set of routes that requests were served by.
type generation struct {
	snapshot uint32 // proxy.Snapshot.Number
	number   int    // of the configuration, where versions are not kept
	applied  time.Time
}

// generationsKept bounds those that are remembered.
const generationsKept = 256

// parts is what there is once the Server was made.
// Immutable.
type parts struct {
	server  *server.Server
	inspect *inspect.Inspector
	reloads *reloads
	proxy   *proxy.Proxy
}

var (
	errStarts = errors.New("the process starts")
	errDrains = errors.New("the process drains")
)

// newAdministration makes one without an address, and gives the server a function that returns the addresses that it
// will have.
func newAdministration(o *Options, id *identity, events *eventLog) *administration {
	a := &administration{events: events, signals: o.Signals, version: o.Version, file: o.File, begun: time.Now()}
	if path, err := filepath.Abs(o.File); err == nil && o.File != "" {
		a.file = path
	}
	surface := admin.Options{File: a.file}
	if id != nil {
		surface.UID, surface.GID = id.UID, id.GID
	}
	a.surfaces, o.Server.Listens = admin.New(a, surface), a.listens
	return a
}

// listens is a server.Options.Listens.
func (a *administration) listens() (all []netip.AddrPort) {
	for _, one := range a.surfaces.Listening() {
		if at, err := netip.ParseAddrPort(one[1]); err == nil {
			all = append(all, netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port()))
		}
	}
	return all
}

// prepare is a server.Options.Prepare: it opens the addresses of a configuration.
func (a *administration) prepare(cfg *config.Config) (commit, undo func(), err error) {
	put, undo := func() {}, func() {}
	if !a.waits.Load() {
		if put, undo, err = a.surfaces.Prepare(cfg); err != nil {
			return nil, nil, err
		}
	}
	return func() {
		put()
		a.mu.Lock()
		defer a.mu.Unlock()
		a.applied = time.Now()
		if p := a.parts.Load(); p != nil {
			a.number++
			a.follow(p)
			a.remember(p, cfg)
		}
	}, undo, nil
}

// follow adds the routes that serve requests from now on to a.generations. a.mu is held.
func (a *administration) follow(p *parts) {
	if len(a.generations) == generationsKept {
		a.generations = a.generations[1:]
	}
	a.generations = append(a.generations, generation{p.proxy.Generation(), a.number, a.applied})
}

// remember makes the event loops remember requests as cfg says. Without an admin surface they remember none.
func (a *administration) remember(p *parts, cfg *config.Config) {
	n, slow := admin.Remembered(cfg)
	if len(a.surfaces.Addresses()) == 0 {
		n = 0
	}
	// An event loop that is told copies all that it remembers.
	now := &remembered{n, slow}
	if was := a.asked.Swap(now); was == nil || *was != *now {
		p.proxy.Remember(n, slow)
	}
}

// versionOf returns the version of the configuration that a proxy.Snapshot was made of, by the last 16 bits of the
// number of the snapshot. 0: it is not known.
func (a *administration) versionOf(snapshot uint16) int {
	list, _ := a.parts.Load().reloads.versions()
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := len(a.generations) - 1; i >= 0; i-- {
		g := &a.generations[i]
		switch {
		case uint16(g.snapshot) != snapshot:
			continue
		case len(list) == 0:
			return g.number
		case i == len(a.generations)-1:
			return list[len(list)-1].Number
		}
		for j := len(list) - 1; j >= 0; j-- { // a version is kept as soon as it was applied
			if list[j].At.Before(a.generations[i+1].applied) {
				return list[j].Number
			}
		}
	}
	return 0
}

// take takes the addresses of cfg from the process that serves them, or takes them back. from is its number; 0: it is
// not known.
func (a *administration) take(cfg *config.Config, from int) error {
	a.waits.Store(false)
	a.draining.Store(false)
	a.surfaces.Leave()
	put, _, err := a.surfaces.Replace(cfg, from)
	if err != nil {
		return fmt.Errorf("admin surface: %w", err)
	}
	put()
	if p := a.parts.Load(); p != nil {
		a.remember(p, cfg)
	}
	return nil
}

// begin takes s, before its listeners accept, and makes its event loops remember requests from the first one on.
func (a *administration) begin(s *server.Server, r *reloads) {
	p := &parts{s, inspect.New(s), r, s.Parts().Proxy}
	a.mu.Lock()
	a.number = 1
	a.follow(p)
	a.mu.Unlock()
	a.parts.Store(p)
	a.remember(p, r.config())
}

// serve begins to answer.
func (a *administration) serve(s *server.Server) {
	a.surfaces.Register(s.Registry())
	a.surfaces.Start()
	for _, at := range a.surfaces.Listening() {
		slog.Info("listening", "section", at[0], "address", at[1])
	}
}

func (a *administration) Status() *admin.Status {
	p := a.parts.Load()
	level, until := a.events.present()
	st := &admin.Status{Version: a.version, PID: os.Getpid(), Started: a.begun, State: admin.Serving,
		Reactors: p.server.Reactors(), Connections: p.server.Conns(), Configuration: a.inForce(),
		Log:       admin.LogLevel{Level: level, Until: until},
		Listeners: p.inspect.Listeners(), Upstreams: p.inspect.States(), Admin: a.surfaces.Addresses(),
		Foreign: p.inspect.Foreign()}
	for _, c := range p.inspect.Certificates() {
		if c.Wrong != "" {
			st.Certificates = append(st.Certificates, c)
		}
	}
	if a.draining.Load() {
		st.State = admin.Draining
	} else if p.server.Ready() != nil {
		st.State = admin.Starting
	}
	return st
}

// inForce describes the configuration that holds.
func (a *administration) inForce() admin.InForce {
	a.mu.Lock()
	defer a.mu.Unlock()
	in, since := admin.InForce{File: a.file, Version: a.number, Applied: a.applied}, a.applied
	if p := a.parts.Load(); p != nil {
		in.Version = cmp.Or(p.reloads.version(), in.Version)
		if v := p.reloads.inForce(); v != nil {
			since = v.At
		}
		in.Differs = p.reloads.differs.Load() != nil
	}
	// Numbers begin anew in a process that finds no versions: the time tells its configurations from those before.
	in.Tag = fmt.Sprintf("%d-%x", in.Version, since.UnixMilli())
	return in
}

func (a *administration) versionNow() int { return a.inForce().Version }

func (a *administration) Configuration() (*admin.Configuration, error) {
	text := a.parts.Load().reloads.config().Written
	if text == nil {
		return nil, admin.ErrNoText
	}
	return &admin.Configuration{InForce: a.inForce(), Values: json.RawMessage(text)}, nil
}

func (a *administration) Inspect() admin.Inspector { return a.parts.Load().inspect }

func (a *administration) Requests(ctx context.Context, q *admin.RequestQuery) ([]admin.Request, error) {
	return a.parts.Load().inspect.Requests(ctx, q, a.versionOf)
}

func (a *administration) Reload(context.Context) (*admin.Reloaded, error) {
	if a.draining.Load() {
		return nil, fmt.Errorf("%w: %w", admin.ErrConflict, errDrains)
	}
	return a.reloaded(a.parts.Load().reloads.reload("api"))
}

// reloaded returns what a reload has done, for the API.
func (a *administration) reloaded(o *outcome) (*admin.Reloaded, error) {
	if errors.Is(o.Err, errNoFile) {
		return nil, fmt.Errorf("%w: %w", admin.ErrConflict, errNoFile)
	}
	now := a.inForce()
	done := &admin.Reloaded{Applied: o.Err == nil, Version: now.Version, Tag: now.Tag, Entries: o.Diff.Entries,
		Added: o.Diff.Added, Removed: o.Diff.Removed, Changed: o.Diff.Changed, Restart: o.Diff.Restart}
	if o.Report != nil {
		done.Findings = findings(o.Report)
	}
	if o.Err != nil && !errors.Is(o.Err, errInvalid) {
		done.Error = o.Err.Error()
	}
	var address *server.ListenError
	if errors.As(o.Err, &address) {
		done.Try = address.Try
	}
	return done, nil
}

func (a *administration) Stop(now bool) (*admin.Stopping, error) {
	sig, g := os.Signal(syscall.SIGTERM), &a.parts.Load().reloads.config().Global
	stopping := &admin.Stopping{PID: os.Getpid(), Grace: admin.Duration(g.GracePeriod + g.ShutdownTimeout)}
	if now {
		sig, stopping.Grace = syscall.SIGINT, 0
	}
	if !now && a.draining.Load() {
		return stopping, nil // a second SIGTERM would cut requests
	}
	select {
	case a.signals.ends <- sig:
	default: // two are on their way already
	}
	return stopping, nil
}

func (a *administration) SetLogLevel(level string, d time.Duration) (*admin.LogLevel, error) {
	a.events.setLevelFor(level, d)
	level, until := a.events.present()
	return &admin.LogLevel{Level: level, Until: until}, nil
}

func (a *administration) Ready() error {
	p := a.parts.Load()
	switch {
	case p == nil:
		return errStarts
	case a.draining.Load():
		return errDrains
	}
	return p.server.Ready()
}

func (a *administration) Metrics() http.Handler { return a.parts.Load().server.Metrics() }
