package metrics

import (
	"fmt"
	"maps"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/h3"
	"github.com/edge-proxy/edge/internal/base/tally"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/forward/admission"
	"github.com/edge-proxy/edge/internal/forward/ejection"
	"github.com/edge-proxy/edge/internal/http3/quicconn"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/server/dynamic"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/internal/upstream/health"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/quic"
	"github.com/edge-proxy/edge/session"
)

// Sample is what was counted up to some moment.
type Sample struct {
	Engine     engine.Stats
	TLS        tlsconn.Stats
	Handshakes Handshakes
	Proxy      proxy.Stats

	Registrations Registrations

	Certificates int
	FirstExpiry  int64  // Unix seconds; 0: there is no certificate
	Loops        []Loop // by Reactor.Index

	expiries map[string]validity // by the name of the certificate; of the first to expire with that name

	listeners map[string]*Listener
	bare      map[string]*Bare // by name, of services that are no HTTP
	upstreams map[string]*upstream.Stats
	checks    map[string]*health.Stats
	agents    map[string]*health.Stats
	services  map[string]*Service
	backends  map[string][]member
	members   map[string]*backend.Stats
	dynamic   map[string]*dynamic.Stats
	limits    map[string]*admission.Stats
}

// Service is what was counted of the backends of one upstream together.
type Service struct{ Ejections ejection.Counts }

// member is what is known of one backend.
type member struct {
	address string
	up      bool
	weight  float64
}

// backendsMax bounds the backends of one upstream that have series of their own.
const backendsMax = 1000

// others is the label of all backends beyond the limit: no backend has this address.
const others = "other"

// AddBackend adds a backend that the upstream with that name has, and the share of the requests that it is to get.
// Those beyond the thousandth are added up.
func (s *Sample) AddBackend(name, address string, up bool, weight float64) {
	s.backends[name] = append(s.backends[name], member{address, up, weight})
}

// eachBackend yields what value says of each backend in s.
func (s *Sample) eachBackend(value func(b *member) float64, yield func(value float64, labels ...observe.Label)) {
	for name, all := range s.backends {
		for i := range all {
			b := &all[i]
			label := observe.Label{Name: "backend", Value: b.address}
			if i >= backendsMax {
				label.Value = others
			}
			yield(value(b), observe.Label{Name: "upstream", Value: name}, label)
		}
	}
}

// Registrations is what others find of the process, and what was counted of that.
type Registrations struct {
	Known, Unknown int // now
	Puts, Failures uint64
}

// Listener is what all addresses of one listener have counted.
type Listener struct {
	Sessions
	H3Codec h3.Stats
	QUIC    QUIC
	Conns   int // open now, over TCP
}

// Bare is what the addresses of a service that is no HTTP have counted.
type Bare struct {
	Conns int // open now
}

// Sessions is what a session.Server has counted.
type Sessions struct {
	session.ServerStats
	Codec h2.Stats
}

// QUIC is what a quicconn.Server has counted.
type QUIC struct {
	quicconn.Stats
	Codec quic.Stats
}

// NewSample makes one in which nothing was counted.
func NewSample() *Sample {
	return &Sample{listeners: make(map[string]*Listener), bare: make(map[string]*Bare),
		upstreams: make(map[string]*upstream.Stats),
		checks:    make(map[string]*health.Stats), agents: make(map[string]*health.Stats),
		services: make(map[string]*Service), backends: make(map[string][]member),
		dynamic: make(map[string]*dynamic.Stats), members: make(map[string]*backend.Stats),
		limits: make(map[string]*admission.Stats), expiries: make(map[string]validity)}
}

// Listener returns the counters of the listener with that name, to add to.
func (s *Sample) Listener(name string) *Listener { return entry(s.listeners, name) }

// Bare returns the counters of the service that is no HTTP with that name, to add to.
func (s *Sample) Bare(name string) *Bare { return entry(s.bare, name) }

// Upstream returns the counters of the upstream with that name, to add to.
func (s *Sample) Upstream(name string) *upstream.Stats { return entry(s.upstreams, name) }

// Service returns what is known of the backends of the upstream with that name, to add to.
func (s *Sample) Service(name string) *Service { return entry(s.services, name) }

// Dynamic returns the counters of the upstream with that name, whose destinations requests name, to add to. Their
// connections are shown as connections of an upstream.
func (s *Sample) Dynamic(name string) *dynamic.Stats { return entry(s.dynamic, name) }

// validity is from when to when a certificate is valid, in Unix seconds.
type validity struct{ begins, expires int64 }

// AddCertificate adds a certificate, and from when to when it is valid.
func (s *Sample) AddCertificate(name string, from, until time.Time) {
	begins, expires := from.Unix(), until.Unix()
	s.Certificates++
	if s.FirstExpiry == 0 || expires < s.FirstExpiry {
		s.FirstExpiry = expires
	}
	if first, known := s.expiries[name]; !known || expires < first.expires {
		s.expiries[name] = validity{begins, expires}
	}
}

// Forget removes what is known of the checks and backends of the upstream with that name.
func (s *Sample) Forget(name string) {
	delete(s.checks, name)
	delete(s.agents, name)
	delete(s.services, name)
	delete(s.members, name)
	delete(s.backends, name)
}

// Clone returns a copy of what no reactor counts.
func (s *Sample) Clone() *Sample {
	c := NewSample()
	c.Registrations, c.Certificates, c.FirstExpiry = s.Registrations, s.Certificates, s.FirstExpiry
	c.expiries, c.backends = maps.Clone(s.expiries), maps.Clone(s.backends)
	copyAll(c.checks, s.checks)
	copyAll(c.agents, s.agents)
	copyAll(c.services, s.services)
	copyAll(c.members, s.members)
	return c
}

func copyAll[S any](to, from map[string]*S) {
	for name, s := range from {
		*entry(to, name) = *s
	}
}

// AddMembers adds what was counted of the backends of the upstream with that name.
func (s *Sample) AddMembers(name string, of backend.Stats) { tally.Add(entry(s.members, name), &of) }

// AddLanguage adds what evaluations of conditions and templates on workers have counted.
func (s *Sample) AddLanguage(of proxy.Language) { tally.Add(&s.Proxy.Language, &of) }

// Limits returns the counters of the limits of the upstream with that name, to add to.
func (s *Sample) Limits(name string) *admission.Stats { return entry(s.limits, name) }

// AddChecks adds what was counted of the checks of the upstream with that name.
func (s *Sample) AddChecks(name string, of health.Stats) { tally.Add(entry(s.checks, name), &of) }

// AddAgents adds what was counted of the agents of the upstream with that name.
func (s *Sample) AddAgents(name string, of health.Stats) { tally.Add(entry(s.agents, name), &of) }

// entry returns the entry of m with that name, a new one if there is none.
func entry[S any](m map[string]*S, name string) *S {
	if m[name] == nil {
		m[name] = new(S)
	}
	return m[name]
}

// Counters are the series of a server under the names that users see.
type Counters struct {
	Registry observe.Registry
	Version  func() int // of the configuration in force; nil: reloads are counted. Immutable once values are read

	reloads      outcomes
	applied      atomic.Int64 // when the present configuration was applied, Unix ns
	certificates outcomes
	rotations    *observe.Counter

	shown   atomic.Pointer[Sample]
	past    *Sample                                     // what Retire was given
	readers map[readerKey]func(s reflect.Value) float64 // of rows
	named   named                                       // what is listed under names of the configuration
}

// outcomes counts what may succeed or fail.
type outcomes map[bool]*observe.Counter

func (c *Counters) outcomes(name, help string) outcomes {
	return outcomes{
		true:  c.Registry.Counter(name, help, observe.Label{Name: "result", Value: "success"}),
		false: c.Registry.Counter(name, help, observe.Label{Name: "result", Value: "failure"}),
	}
}

// New registers what a server with that number of reactors has under any configuration.
func New(reactors int) *Counters {
	c := &Counters{past: NewSample(), readers: make(map[readerKey]func(reflect.Value) float64),
		named: named{headings: make(map[headingKey]*heading), now: time.Now}}
	c.Begin(config.SeriesMaxDefault)
	c.Show(NewSample())
	r := &c.Registry
	register(c, engineRows, nil, func(s *Sample) *engine.Stats { return &s.Engine })
	register(c, proxyRows, nil, func(s *Sample) *proxy.Stats { return &s.Proxy })
	register(c, tlsRows, nil, func(s *Sample) *tlsconn.Stats { return &s.TLS })
	register(c, handshakeRows(), nil, func(s *Sample) *Handshakes { return &s.Handshakes })
	register(c, registrationRows, nil, func(s *Sample) *Registrations { return &s.Registrations })
	register(c, certificateRows, nil, func(s *Sample) *Sample { return s })
	r.Gauge("edge_loop_slowest_tick_seconds", "The longest turn of an event loop so far; 0: none took above 1 ms.",
		func() float64 { return time.Duration(c.shown.Load().Engine.SlowestTick).Seconds() })
	r.Gauge("edge_loops", "Event loops.", func() float64 { return float64(reactors) })
	r.Gauge("edge_tls_lends_buffers", "1: connections borrow the buffers for TLS records; 0: each keeps its own.",
		func() float64 { return oneIf(tlsconn.LendsBuffers()) })
	r.Gauges("edge_backend_up", "1: the backend gets requests; 0: there is a reason against it.",
		func(yield func(value float64, labels ...observe.Label)) {
			c.shown.Load().eachBackend(func(b *member) float64 { return oneIf(b.up) }, yield)
		})
	r.Gauges("edge_backend_weight", "The share of the requests that the backend is to get while it is up.",
		func(yield func(value float64, labels ...observe.Label)) {
			c.shown.Load().eachBackend(func(b *member) float64 { return b.weight }, yield)
		})
	validities := func(of func(v validity) int64) func(yield func(value float64, labels ...observe.Label)) {
		return func(yield func(value float64, labels ...observe.Label)) {
			for name, v := range c.shown.Load().expiries {
				yield(float64(of(v)), observe.Label{Name: "name", Value: name})
			}
		}
	}
	r.Gauges("edge_certificate_not_after_timestamp_seconds", "When a certificate in use expires.",
		validities(func(v validity) int64 { return v.expires }))
	r.Gauges("edge_certificate_not_before_timestamp_seconds", "From when on a certificate in use is valid.",
		validities(func(v validity) int64 { return v.begins }))
	c.registerLoops()
	registerProgram(r)
	r.Gauge("edge_config_version", "The number of the configuration in force: edge status says it, too.",
		func() float64 {
			if c.Version != nil {
				return float64(c.Version())
			}
			return float64(1 + c.reloads[true].Load())
		})
	c.certificates = c.outcomes("edge_certificate_changes_total", "Changes of the files of certificates.")
	c.rotations = r.Counter("edge_tls_ticket_rotations_total", "Changes of the keys of session tickets.")
	c.reloads = c.outcomes("edge_config_reloads_total", "Reloads of the configuration.")
	r.Gauge("edge_config_last_success_timestamp_seconds", "When the present configuration was applied.",
		func() float64 { return float64(c.applied.Load()) / 1e9 })
	c.applied.Store(time.Now().UnixNano())
	return c
}

// registerLoops lists what is known of each event loop.
func (c *Counters) registerLoops() {
	each := func(name, help string, value func(l *Loop) float64) {
		c.Registry.Gauges(name, help, func(yield func(value float64, labels ...observe.Label)) {
			for i, l := range c.shown.Load().Loops {
				yield(value(&l), observe.Label{Name: "loop", Value: strconv.Itoa(i)})
			}
		})
	}
	each("edge_loop_busy_ratio", "The part of the time since the last look in which an event loop did not wait.",
		func(l *Loop) float64 { return l.Busy })
	each("edge_loop_lag_seconds", "How long the last task that an event loop was given for these numbers waited.",
		func(l *Loop) float64 { return l.Lag.Seconds() })
	each("edge_loop_stale", "1: the event loop did not answer within 100 ms, and what it counts is shown as it was.",
		func(l *Loop) float64 { return oneIf(l.Stale) })
}

func oneIf(holds bool) float64 {
	if holds {
		return 1
	}
	return 0
}

// CountReload counts a reload of the configuration, also a reload that has changed nothing because of an error.
func (c *Counters) CountReload(ok bool) {
	c.reloads[ok].Add(1)
	if ok {
		c.applied.Store(time.Now().UnixNano())
	}
}

// CountCertificate counts a change of the files of a certificate. Those that could not be read are not ok.
func (c *Counters) CountCertificate(ok bool) { c.certificates[ok].Add(1) }

// CountRotation counts a change of the keys of session tickets.
func (c *Counters) CountRotation() { c.rotations.Add(1) }

// Show makes s, and what Retire was given, the values of the registry. It takes over s.
func (c *Counters) Show(s *Sample) {
	c.place(s)
	c.forget()
	addPast(s, c.past)
	for _, l := range s.listeners {
		l.Conns = max(l.Conns, l.H2Open) // they are not counted at one moment
	}
	c.shown.Store(s)
}

// Retire remembers what the listeners and upstreams in s, which a reload takes away, have counted. It takes over s.
func (c *Counters) Retire(s *Sample) {
	c.place(s)
	addPast(c.past, s)
}

// register lists rows whose values stand in the result of "of"; where that is nil they are 0.
func register[S any](c *Counters, rows []row, labels []observe.Label, of func(*Sample) *S) {
	for _, r := range rows {
		all := append(labels[:len(labels):len(labels)], r.labels()...)
		read := c.reader(&r, reflect.TypeFor[S]())
		value := func() float64 {
			if s := of(c.shown.Load()); s != nil {
				return read(reflect.ValueOf(s).Elem())
			}
			return 0
		}
		if r.counts() {
			c.Registry.CounterFunc(r.name, r.help, func() uint64 { return uint64(value()) }, all...)
		} else {
			c.Registry.Gauge(r.name, r.help, value, all...)
		}
	}
}

// reader returns what reads the value of r from a struct of that type: one for all names.
func (c *Counters) reader(r *row, t reflect.Type) func(s reflect.Value) float64 {
	key := readerKey{t, r.from}
	read := c.readers[key]
	if read == nil {
		read = r.reader(t)
		c.readers[key] = read
	}
	return read
}

type readerKey struct {
	of   reflect.Type
	from string
}

func (r *row) counts() bool { return strings.HasSuffix(r.name, "_total") }

// labels returns the labels of r, which stand in one text with commas between.
func (r *row) labels() (labels []observe.Label) {
	for label := range strings.SplitSeq(r.label, ",") {
		if name, value, found := strings.Cut(label, "="); found {
			labels = append(labels, observe.Label{Name: name, Value: value})
		}
	}
	return labels
}

// reader returns what reads the value of r from an S, whose type is t.
func (r *row) reader(t reflect.Type) func(s reflect.Value) float64 {
	type term struct {
		sign  float64
		steps []int
	}
	var terms []term
	for name := range strings.SplitSeq(r.from, ",") {
		name, minus := strings.CutPrefix(name, "-")
		terms = append(terms, term{1, path(t, name)})
		if minus {
			terms[len(terms)-1].sign = -1
		}
	}
	return func(s reflect.Value) (sum float64) {
		for _, term := range terms {
			if v := at(s, term.steps); v.CanUint() {
				sum += term.sign * float64(v.Uint())
			} else {
				sum += term.sign * float64(v.Int())
			}
		}
		return sum
	}
}

// path returns the way to a value in a t: text has fields and places in arrays, with dots between.
func path(t reflect.Type, text string) (steps []int) {
	for name := range strings.SplitSeq(text, ".") {
		if place, err := strconv.Atoi(name); err == nil {
			steps, t = append(steps, place), t.Elem()
			continue
		}
		f, found := t.FieldByName(name)
		if !found {
			panic(fmt.Sprintf("metrics: %v has no field %s", t, name))
		}
		steps, t = append(steps, f.Index...), f.Type
	}
	return steps
}

func at(v reflect.Value, steps []int) reflect.Value {
	for _, i := range steps {
		if v.Kind() == reflect.Array {
			v = v.Index(i)
		} else {
			v = v.Field(i)
		}
	}
	return v
}
