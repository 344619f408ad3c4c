package process

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/admin"
	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/server"
	"github.com/edge-proxy/edge/server/inspect"
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

	mu      sync.Mutex
	number  int       // of the configuration in force; guarded by mu
	applied time.Time // guarded by mu
}

// parts is what there is once the Server was made.
// Immutable.
type parts struct {
	server  *server.Server
	inspect *inspect.Inspector
	reloads *reloads
}

var (
	errStarts = errors.New("the process starts")
	errDrains = errors.New("the process drains")
)

// newAdministration makes one without an address.
func newAdministration(o *Options, id *identity, events *eventLog) *administration {
	a := &administration{events: events, signals: o.Signals, version: o.Version, file: o.File, begun: time.Now()}
	if path, err := filepath.Abs(o.File); err == nil && o.File != "" {
		a.file = path
	}
	surface := admin.Options{}
	if id != nil {
		surface.UID, surface.GID = id.UID, id.GID
	}
	a.surfaces = admin.New(a, surface)
	return a
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
		if a.applied = time.Now(); a.parts.Load() != nil {
			a.number++
		}
	}, undo, nil
}

// take takes the addresses of cfg from the process that serves them, or takes them back.
func (a *administration) take(cfg *config.Config) error {
	a.waits.Store(false)
	a.draining.Store(false)
	a.surfaces.Leave()
	put, _, err := a.surfaces.Replace(cfg)
	if err != nil {
		return fmt.Errorf("admin surface: %w", err)
	}
	put()
	return nil
}

// both has two parts of the process follow a configuration.
func both(
	first, second func(cfg *config.Config) (commit, undo func(), err error),
) func(cfg *config.Config) (commit, undo func(), err error) {
	return func(cfg *config.Config) (commit, undo func(), err error) {
		commitFirst, undoFirst, err := first(cfg)
		if err != nil {
			return nil, nil, err
		}
		commitSecond, undoSecond, err := second(cfg)
		if err != nil {
			undoFirst()
			return nil, nil, err
		}
		return func() { commitFirst(); commitSecond() }, func() { undoSecond(); undoFirst() }, nil
	}
}

// serve begins to answer.
func (a *administration) serve(s *server.Server, r *reloads) {
	a.mu.Lock()
	a.number = 1
	a.mu.Unlock()
	a.parts.Store(&parts{s, inspect.New(s), r})
	a.surfaces.Start()
	for _, at := range a.surfaces.Listening() {
		slog.Info("listening", "section", at[0], "address", at[1])
	}
}

// Status is for admin.Process.
func (a *administration) Status() *admin.Status {
	p := a.parts.Load()
	level, until := a.events.present()
	st := &admin.Status{Version: a.version, PID: os.Getpid(), Started: a.begun, State: admin.Serving,
		Reactors: p.server.Reactors(), Connections: p.server.Conns(), Configuration: a.inForce(),
		Log:       admin.LogLevel{Level: level, Until: until},
		Listeners: p.inspect.Listeners(), Upstreams: p.inspect.States(), Admin: a.surfaces.Addresses(),
		Foreign: p.inspect.Foreign()}
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
	in := admin.InForce{File: a.file, Version: a.number, Applied: a.applied}
	if p := a.parts.Load(); p != nil {
		in.Version = cmp.Or(p.reloads.version(), in.Version)
		in.Differs = p.reloads.differs.Load()
	}
	return in
}

// Configuration is for admin.Process.
func (a *administration) Configuration() (*admin.Configuration, error) {
	text := a.parts.Load().reloads.config().Written
	if text == nil {
		return nil, admin.ErrNoText
	}
	return &admin.Configuration{InForce: a.inForce(), Values: json.RawMessage(text)}, nil
}

// Routes is for admin.Process.
func (a *administration) Routes() []admin.Route { return a.parts.Load().inspect.Routes() }

// Upstreams is for admin.Process.
func (a *administration) Upstreams() []admin.Upstream { return a.parts.Load().inspect.Upstreams() }

// ChangeBackend is for admin.Process.
func (a *administration) ChangeBackend(upstream, backend string, c *admin.BackendChange) (*admin.Backend, error) {
	return a.parts.Load().inspect.ChangeBackend(upstream, backend, c)
}

// Connections is for admin.Process.
func (a *administration) Connections(
	ctx context.Context, cursor string, n int, keep func(c *admin.Connection) bool,
) ([]admin.Connection, string, error) {
	return a.parts.Load().inspect.Connections(ctx, cursor, n, keep)
}

// Certificates is for admin.Process.
func (a *administration) Certificates() []admin.Certificate {
	return a.parts.Load().inspect.Certificates()
}

// Reload is for admin.Process.
func (a *administration) Reload(context.Context) (*admin.Reloaded, error) {
	if a.draining.Load() {
		return nil, fmt.Errorf("%w: %w", admin.ErrConflict, errDrains)
	}
	return a.reloaded(a.parts.Load().reloads.again("api"))
}

// reloaded returns what a reload has done, for the API.
func (a *administration) reloaded(o *outcome) (*admin.Reloaded, error) {
	if errors.Is(o.Err, errNoFile) {
		return nil, fmt.Errorf("%w: %w", admin.ErrConflict, errNoFile)
	}
	done := &admin.Reloaded{Applied: o.Err == nil, Version: a.inForce().Version, Entries: o.Diff.Entries,
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

// Stop is for admin.Process.
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

// SetLogLevel is for admin.Process.
func (a *administration) SetLogLevel(level string, d time.Duration) (*admin.LogLevel, error) {
	a.events.setLevelFor(level, d)
	level, until := a.events.present()
	return &admin.LogLevel{Level: level, Until: until}, nil
}

// Ready is for admin.Process.
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

// Metrics is for admin.Process.
func (a *administration) Metrics() http.Handler { return a.parts.Load().server.Metrics() }
