package proxy

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/exchange/content"
	"github.com/edge-proxy/edge/internal/exchange/forwarding"
	"github.com/edge-proxy/edge/internal/exchange/recent"
	"github.com/edge-proxy/edge/internal/forward"
	"github.com/edge-proxy/edge/internal/match/regex"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

// New makes a Proxy on the reactors of e that starts with s.
func New(e *engine.Engine, s *Snapshot) *Proxy {
	p := &Proxy{name: forwarding.NewName(DefaultName), patterns: regex.NewBudget(0),
		loads: content.NewLoads()}
	p.snapshot.Store(s)
	for _, r := range e.Reactors() {
		p.local = append(p.local, newLocal(p, r))
	}
	return p
}

func newLocal(p *Proxy, r *engine.Reactor) *local {
	ids := [2]uint64{rand.Uint64(), rand.Uint64()}
	l := &local{proxy: p, reactor: r, ids: ids,
		attempts: forward.Local{Reactor: r, Waits: forward.Waits{Reactor: r}}}
	l.free.trim.Run = func(*engine.Reactor) { l.trimFree() }
	return l
}

// SetName sets the name of p in Via and Proxy-Status, a token. To be called before Service.
func (p *Proxy) SetName(name string) { p.name = forwarding.NewName(name) }

// Swap puts s in the place of the present Snapshot and returns that one. Exchanges in progress keep the one they began
// with.
func (p *Proxy) Swap(s *Snapshot) *Snapshot { return p.snapshot.Swap(s) }

// Stats returns the counters on r. On r only.
func (p *Proxy) Stats(r *engine.Reactor) Stats {
	l := p.local[r.Index()]
	s := l.stats
	s.Active, s.Stats = l.active, l.attempts.Stats
	if l.language != nil {
		s.Language = l.language.stats()
	}
	return s
}

// Generation returns the number of the present Snapshot.
func (p *Proxy) Generation() uint32 { return p.snapshot.Load().number }

// Remember makes each reactor remember its last requests: n of all, and n of those that failed, were tried again, or
// waited for the head of their answer for slow or longer. With n = 0 they remember none, and forget those that they
// have.
func (p *Proxy) Remember(n int, slow time.Duration) {
	for _, l := range p.local {
		var fresh *recent.Rings
		if n > 0 {
			fresh = recent.New(n, slow)
		}
		l.reactor.Post(&engine.Task{Run: func(*engine.Reactor) {
			if l.rings != nil && fresh != nil {
				fresh.Take(l.rings)
			}
			l.rings = fresh
		}})
	}
}

// Recent returns up to n of the requests that r remembers, the last one first. With bad, they are those that failed,
// were tried again or were slow. before is recent.Newest, or Next of the page before. on is false where r remembers
// none. Runs on r.
func (p *Proxy) Recent(r *engine.Reactor, bad bool, before uint64, n int) (page recent.Page, on bool) {
	l := p.local[r.Index()]
	page.Prefix = l.ids[0]
	if l.rings == nil {
		return page, false
	}
	page.Wall, page.Room = l.now()-r.Now(), l.rings.Len()
	page.Records, page.Next = l.rings.AppendTo(make([]recent.Record, 0, n), bad, before, n)
	return page, true
}

// Rings returns where r remembers requests, for a record of a connection below HTTP; nil: nothing is remembered. On r.
func (p *Proxy) Rings(r *engine.Reactor) *recent.Rings { return p.local[r.Index()].rings }

// NewID returns a new number, as requests have them: recent.Record.ID is its second half. On r.
func (p *Proxy) NewID(r *engine.Reactor) [16]byte {
	l := p.local[r.Index()]
	l.ids[1]++
	return l.idOf(l.ids[1])
}

// Service is a session.Service of a Proxy: the requests of one listener, whose configuration may change.
// Safe for any goroutine.
type Service struct {
	proxy    *Proxy
	listener atomic.Pointer[Listener] // nil: next knows it
	next     atomic.Pointer[Service]
}

// Service makes a Service of p for the requests of l.
func (p *Proxy) Service(l *Listener) *Service {
	s := &Service{proxy: p}
	s.Use(l)
	return s
}

// Use puts l in the place of the present Listener. Exchanges in progress keep the Listener that they began with.
func (s *Service) Use(l *Listener) { s.listener.Store(l.composed()) }

// Follow makes next serve the requests of s, whatever next uses from now on, until Use. Services that follow each other
// must not form a circle.
func (s *Service) Follow(next *Service) {
	s.next.Store(next)
	s.listener.Store(nil)
}

// present returns the Listener of requests that begin now.
func (s *Service) present() *Listener {
	for {
		if l := s.listener.Load(); l != nil {
			return l
		}
		s = s.next.Load()
	}
}

// Accept begins an exchange.
func (s *Service) Accept(r *engine.Reactor, down session.Stream) session.Receiver {
	x := s.proxy.local[r.Index()].take()
	x.down, x.listener = down, s.present()
	return (*downSide)(x)
}

// Refused logs a request that never became an exchange.
func (s *Service) Refused(r *engine.Reactor, peer poller.Addr, status int, cause error) {
	l := s.proxy.local[r.Index()]
	l.stats.Refused++
	l.logRefused(s.present(), peer, status, cause)
}
