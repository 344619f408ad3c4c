package server

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/server/metrics"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/proxy"
)

// part is one thing that a configuration describes and a reload replaces. It lasts as long as its Server: now is what
// it has for the present configuration, next what a reload makes. All methods but describe and stop are called with
// shared.applying and shared.mu held, and know the reload by shared.reload.
//
//	all prepare ──► all commit, until one fails ──► all retire ──► all describe
//	     └───────error──────┴──► reload.undo: now is as it was
type part interface {
	// prepare makes what the configuration needs. Requests see nothing of it. A reload that fails forgets it.
	prepare() error
	// commit shows others what was prepared: clients, registries, and last of all requests. What it does can be
	// undone, except in the last part of the list.
	commit() error
	// retire puts next in the place of now, and ends what now alone had, once its last request has ended.
	retire()
	// describe says what counts, with ledger.mu held.
	describe(l *ledger)
	// stop ends what now has. The reactors have ended.
	stop() error
}

// nothing has each method of a part, and does nothing: parts embed it for the steps that they do not take.
type nothing struct{}

func (nothing) prepare() error   { return nil }
func (nothing) commit() error    { return nil }
func (nothing) retire()          {}
func (nothing) describe(*ledger) {}
func (nothing) stop() error      { return nil }

// reload makes a configuration the present one.
// Owned by the goroutine that holds shared.applying.
type reload struct {
	config *config.Config
	listen bool     // it opens listeners; false before Server.Listen
	partly bool     // it goes without addresses that cannot be opened
	lost   []error  // why addresses could not be opened, where partly is set
	failed error    // of all parts so far; nil: none has failed
	undone []func() // take back what was made
}

// onFailure registers f to be called when the reload fails. It takes back what was made just now.
func (r *reload) onFailure(f func()) { r.undone = append(r.undone, f) }

// undo takes back what was made, the last thing first.
func (r *reload) undo() {
	for _, f := range slices.Backward(r.undone) {
		f()
	}
}

// program is what the program around a Server makes of a configuration: Options.Prepare.
type program struct {
	nothing
	*shared
	take func() // the commit of Options.Prepare
}

func (p *program) prepare() (err error) {
	if p.opts.Prepare == nil {
		return nil
	}
	take, undo, err := p.opts.Prepare(p.reload.config)
	if err == nil {
		p.take = take
		p.reload.onFailure(func() {
			p.take = nil
			undo()
		})
	}
	return err
}

func (p *program) retire() {
	if p.take != nil {
		p.take()
		p.take = nil
	}
}

// shared is what the parts of a Server have in common.
// Safe for any goroutine, as far as fields are not guarded.
type shared struct {
	opts     Options
	engine   *engine.Engine
	proxy    *proxy.Proxy
	secure   *tlsconn.Handshaker
	counters *metrics.Counters
	traffic  *metrics.Traffic
	kept     plugin.Store // by modules, over reloads

	// applying orders what replaces the present configuration, and is taken before mu. mu is free while a reload waits
	// for registries: others count, look and end meanwhile.
	applying sync.Mutex

	reload *reload // that is under way; guarded by applying

	mu sync.Mutex
	lifecycle
}

// Reactors returns how many event loops there are.
func (s *shared) Reactors() int { return len(s.engine.Reactors()) }

// lock takes applying and mu, in their order, for what replaces the present configuration.
func (s *shared) lock() (unlock func()) {
	s.applying.Lock()
	s.mu.Lock()
	return func() {
		s.mu.Unlock()
		s.applying.Unlock()
	}
}

// lifecycle says how far a Server is.
type lifecycle struct {
	state     state         // guarded by shared.mu; see enter
	suspended bool          // nothing is accepted before Handover.Resume; guarded by shared.mu
	phase     atomic.Uint32 // state and suspendedPhase, for Ready; stored under shared.mu

	ending, stopping context.Context // done after Drain and Stop, and after Stop
	end, cut         func()          // end them
}

type state uint8

const (
	made state = iota
	listening
	serving
	draining
	stopped
)

// suspendedPhase is added to a state in lifecycle.phase: lifecycle.suspended.
const suspendedPhase = 1 << 8

// enter puts the Server into a state, suspended or not. shared.mu is held.
func (l *lifecycle) enter(next state, suspended bool) {
	l.state, l.suspended = next, suspended
	phase := uint32(next)
	if suspended {
		phase |= suspendedPhase
	}
	l.phase.Store(phase)
}

// isSuspended reports whether another process may serve in place of this one. Safe for any goroutine.
func (l *lifecycle) isSuspended() bool { return l.phase.Load()&suspendedPhase != 0 }

// constant returns the constant of type T for the word in a field of c, which points to a struct of package config. The
// tag "enum" of the field has the words in the order of the constants, of which the first is 0.
func constant[T ~uint8](c any, field *string) T {
	of := reflect.ValueOf(c).Elem()
	for i := range of.NumField() {
		if f := of.Field(i); f.CanInterface() && f.Addr().Interface() == any(field) {
			return T(max(slices.Index(strings.Fields(of.Type().Field(i).Tag.Get("enum")), *field), 0))
		}
	}
	panic("server: the field is not one of the struct")
}

// orNone translates none, which is 0 in a configuration and -1 in options.
func orNone[N int | int64](n N) N {
	if n == 0 {
		return -1
	}
	return n
}
