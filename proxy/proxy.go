package proxy

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/lang/regex"
	"github.com/edge-proxy/edge/observe"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy/forward"
	"github.com/edge-proxy/edge/proxy/forwarding"
	"github.com/edge-proxy/edge/proxy/meter"
	"github.com/edge-proxy/edge/proxy/page"
	"github.com/edge-proxy/edge/proxy/recent"
	"github.com/edge-proxy/edge/route"
	"github.com/edge-proxy/edge/session"
	"github.com/edge-proxy/edge/tlsconn"
)

// Proxy takes requests from listeners and brings them where the routes of its present Snapshot say.
// Safe for any goroutine.
type Proxy struct {
	engine   *engine.Engine
	snapshot atomic.Pointer[Snapshot]
	local    []*local         // by Reactor.Index
	name     *forwarding.Name // immutable once a Service was made
	patterns *regex.Budget    // of the tables of regular expressions, on all reactors and workers
	idle     idleEvaluations
}

// local is the state that the exchanges of one reactor share.
// Owned by its reactor.
type local struct {
	proxy    *Proxy
	reactor  *engine.Reactor
	free     *Exchange
	kept     int // free ones
	active   int
	stats    Stats
	attempts forward.Local
	record   *observe.Record // filled for each exchange: too large for the stack of every one; nil while one is in use

	routing route.Local
	rings   *recent.Rings // of requests that have ended; nil: none is remembered

	language *evaluation // of texts; nil until the first one

	slab slab // what Locals have

	failing Error // what Error filters are given

	sampleRate string // of the record that is being logged; see Chooser

	emitted, input []byte // what body filters put out, and what the next one of them is given
	page           []byte // where bodies of the proxy's own are made
	coded          []byte // what gRPC-Web makes of a piece of a body

	refused  sessionRefusal // the last request that the session refused, until Refused logs it
	answered sessionEnd     // the last exchange that the session ended, until it answers

	ids      [2]uint64 // the first half and the last number of request ids
	wall     int64     // wall clock less reactor clock, ns
	date     []byte    // the Date field of this second
	dateTill int64     // reactor time at which it is over
}

// sessionRefusal is a request that the session answers and that never was an exchange.
type sessionRefusal struct {
	cause error // why; nil: there is none
	id    [16]byte
	bytes int // of the body of its answer
}

// sessionEnd is an exchange that the session answers.
type sessionEnd struct {
	cause error  // why; nil: there is none
	text  string // its number, which may be the number that it came with
}

// Stats are the counters of a Proxy on one reactor, or of all.
type Stats struct {
	Exchanges    uint64
	Answered     [6]uint64 // final answers by the first digit of their status
	Own          uint64    // answers of the proxy's own, faults among them
	Cut          uint64    // answers that were cut off because the backend failed after the head
	ClientGone   uint64    // exchanges whose client left
	LateResumes  uint64    // Resume of an exchange that was over or not parked
	Panics       uint64    // filters and handlers that panicked
	Shed         uint64    // refused under memory pressure or because the offload pool was full
	ShedRequests uint64    // refused because backends had as many requests as they may
	ShedAdaptive uint64    // refused because backends take no more at present
	ShedPending  uint64    // refused because too many waited for a backend
	TooLarge     uint64    // request bodies above the listener's limit
	Tunnels      uint64    // exchanges that became tunnels
	TunnelsIdle  uint64    // tunnels closed because nothing came through them
	Expired      uint64    // exchanges that took longer than Route.Timeout
	InterimsLost uint64    // 1xx heads above the limit of an exchange
	Refused      uint64    // requests that the session refused
	Loops        uint64    // requests that went in circles
	Logs         LogStats
	Language     Language
	Active       int
	forward.Stats
}

// Hedges are the counters of second attempts.
type Hedges = forward.Hedges

// New makes a Proxy on the reactors of e that starts with s.
func New(e *engine.Engine, s *Snapshot) *Proxy {
	p := &Proxy{engine: e, name: forwarding.NewName(DefaultName), patterns: regex.NewBudget(0)}
	p.snapshot.Store(s)
	for _, r := range e.Reactors() {
		p.local = append(p.local, newLocal(p, r))
	}
	return p
}

func newLocal(p *Proxy, r *engine.Reactor) *local {
	ids := [2]uint64{rand.Uint64(), rand.Uint64()}
	return &local{proxy: p, reactor: r, attempts: forward.Local{Reactor: r}, ids: ids}
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

// Remember has each reactor remember its last requests: n of all, and n of those that failed, were tried again, or
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

// Listener is what the proxy has to know of where a request came in. The zero value is good.
//
// StrictSNI, ClientCert and Fits guard every request of the listener, whatever its connections may be: one on a
// connection without TLS, as tlsconn.ServerOptions.Auto lets through, is sent to RedirectToHTTPS or answered 421.
// Immutable.
type Listener struct {
	Name      string
	BodyMax   int64             // largest request body; 0: no limit
	Log       []AccessLog       // by Reactor.Index; nil: no log
	Meter     *meter.Listener   // its requests are counted, for each route; nil: they are not
	Trusted   *forwarding.Trust // peers whose forwarding fields are believed; nil: nobody
	Forwarded bool              // write Forwarded (RFC 7239) beside X-Forwarded-*
	Paths     route.Paths       // how the paths of requests are read; the zero value is the safe way

	Parameters  route.Parameters // how the parameters of paths are read
	Underscores Underscores      // what becomes of fields with "_" in their names; the zero value is the safe way

	RequestID   *RequestID // the field that has the number of a request; nil: none has
	Traceparent bool       // requests that name no trace by a valid Traceparent (W3C Trace Context) begin one

	HSTS            string // Strict-Transport-Security of answers on connections that are secured; "": none
	RedirectToHTTPS uint16 // the port of https that all other requests are sent to, by 308; 0: they are served
	StrictSNI       bool   // 421 for another host than the TLS handshake named
	ClientCert      bool   // 421 on a connection whose client has shown no certificate that leads to a trusted one

	// Fits reports whether a connection may have requests for a host, empty where a request names none; 421 if not. It
	// is asked for each request. nil: any.
	Fits func(d *tlsconn.Digest, host []byte) bool

	NoVia       bool // clients are not told of the proxy by Via
	GRPC        bool // for routes that leave it to the listener: see Route.GRPC
	NoWebSocket bool // likewise: see Tunnels.WebSocket

	Pages *page.Set // in place of the proxy's own for failures, where a route has none; nil: none

	// Made by composed.
	guards       []guard
	answerFields []answerField // for the final head of an answer, before it is sent
	bodyMax      int64
	tag          observe.Tag
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
