package proxy

import (
	"slices"

	"github.com/edge-proxy/edge/internal/exchange/trace"
	"github.com/edge-proxy/edge/internal/forward"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

// Tracing says which requests of a listener or a route are recorded as parts of their traces, and where: when an
// exchange is over, its Record is given to To, with a Span. Immutable.
//
// A request that names its trace (W3C Trace Context) stays in that, any other one begins a trace. Whether the trace is
// recorded is decided once, before the request is sent on, and backends are told: by the caller where Accept says so,
// else by Sampler.
type Tracing struct {
	To      []AccessLog       // by Reactor.Index, such as logs of a Sink that takes records; nil: nothing is recorded
	Accept  Acceptance        // whose word about being recorded counts; of a Listener
	Sampler *trace.Sampler    // nil: nothing but what Accept and Always say
	Status  []StatusRange     // of answers: such requests are recorded in any case
	Always  []*lang.Condition // for the phase of the log: requests that they hold for, likewise
	Name    *lang.Template    // of the span of a request; nil: the method and the path of the route

	Attributes   []Attribute
	FieldsAsked  []string // fields of requests that spans have, by names in lower case
	FieldsAnswer []string // likewise of answers
}

// StatusRange is a range of statuses, the ends included.
type StatusRange struct{ From, To uint16 }

// Attribute is an attribute of spans that no convention has.
type Attribute struct {
	Name  string
	Value *lang.Template // for the phase of the log; a span has no attribute without a value
}

// part is the part of an exchange in a trace. Owned by its exchange, which keeps it for the next request.
type part struct {
	joining
	hex   []byte            // the identity of the trace; of a request without Tracing too, where that is looked for
	tried []observe.Attempt // that ended without the answer
	spent observe.Timings   // by these attempts, out of the sums of the request
}

// joining is the part that is cleared before the next request.
type joining struct {
	on      bool // there is a trace
	came    bool // the request has named it
	decided bool
	sampled bool     // others were told that it is recorded
	apart   bool     // the attempts belong to no exchange: backends are told of the span id
	id      trace.ID // of the span of the request; zeros: not yet
	context trace.Context
}

// leave forgets the request.
func (p *part) leave() {
	if p.joining, p.hex = (joining{}), p.hex[:0]; len(p.tried) > 0 {
		p.tried, p.spent = p.tried[:0], observe.Timings{}
	}
}

// sampling reports whether attempts get spans. p may be nil.
func (p *part) sampling() bool { return p != nil && p.sampled }

// partOf returns the part of k.
func partOf(k *record) *part {
	if k.part == nil {
		k.part = new(part)
	}
	return k.part
}

// joined makes the request part of the trace that it names, or of a new one. It is a guard.
func joined(k *record, h *message.Head) *Error {
	p := partOf(k)
	if p.on { // it is a sub-request
		return nil
	}
	p.on = true
	if p.context, p.came = trace.Of(h); !p.came {
		p.context.Begin()
	} else if by := k.listener.Tracing.Accept; by == AcceptAll || by == AcceptTrusted && k.trusted {
		p.decided, p.sampled = true, p.context.Flags&trace.Sampled != 0
	}
	p.hex = observe.AppendHex(p.hex, p.context.Trace[:])
	return nil
}

// tracing returns what holds for the part of k.
func (k *record) tracing() *Tracing {
	if k.route != nil && k.route.Tracing != nil {
		return k.route.Tracing
	}
	return k.listener.Tracing
}

// decide decides whether the exchange of k is recorded, once, unless the route that is chosen later records nothing.
func (p *part) decide(k *record) {
	t := k.tracing()
	switch off := t == nil || t.To == nil; {
	case off:
		p.sampled = false
	case p.id != trace.ID{}:
		return
	case !p.decided && t.Sampler != nil:
		r := k.local.reactor
		p.sampled = t.Sampler.Take(r.Index(), p.context.Trace, r.Now())
	}
	p.decided, p.id = true, trace.NewID()
	if p.context.Flags &^= trace.Sampled; p.sampled {
		p.context.Flags |= trace.Sampled
	}
}

// passOn says in h, the request of k that is sent on, whether it is recorded. A request that came with a trace and is
// not recorded goes on as it came. A trace that begins here goes on without being sampled then, so that backends do not
// begin others.
func (p *part) passOn(h *message.Head, k *record) {
	if p.decide(k); p.sampled || !p.came {
		p.context.Set(h, p.id)
	}
}

// join makes p a part of the trace of another one, with parent as the parent.
func (p *part) join(of *part, parent, id trace.ID) {
	p.on, p.came, p.decided, p.sampled, p.context, p.id = true, true, true, of.sampled, of.context, id
	p.context.Parent, p.hex = parent, append(p.hex, of.hex...)
}

// subPart makes y, of a sub-request of x with the head h, part of the trace of x.
func subPart(y, x *record, h *message.Head) {
	if x.part == nil || !x.part.on {
		return
	}
	x.part.decide(x)
	partOf(y).join(x.part, x.part.id, trace.ID{})
	if y.part.sampled || !x.part.came {
		y.part.context.Set(h, x.part.id)
	}
}

// forkPart makes the attempts of y, of a fork of x, attempts of x in its trace. With apart x never gets them.
func forkPart(y, x *record, apart bool) {
	if x.part != nil && x.part.on {
		partOf(y).join(x.part, x.part.context.Parent, x.part.id)
		y.part.apart = apart
	}
}

// credit gives p the attempts of a fork. Both may be nil.
func (p *part) credit(of *part) {
	if p != nil && of != nil && of.on {
		p.tried, p.spent = append(p.tried[:0], of.tried...), of.spent
	}
}

// noteTried keeps an attempt of x that ended without the answer.
func (p *part) noteTried(e *forward.Ended, x *Exchange) {
	a := p.attempt(&e.Try, x)
	switch {
	case e.Failure != nil:
		a.Error = e.Failure.(*Error).Token
	case e.Status > 0:
		a.Status = e.Status
	default:
		a.Error = withdrawn
	}
	p.tried = append(p.tried, a)
	p.spent = observe.Timings{Queue: x.up.Waited, Connect: x.up.Dialled, TLS: x.up.Secured}
}

// withdrawn is the error of an attempt that is taken back, because another one was answered.
const withdrawn = "cancelled"

// attempt returns what a span says of t, an attempt of x that ends now.
func (p *part) attempt(t *forward.Try, x *Exchange) observe.Attempt {
	now := x.local.reactor.Now()
	a := observe.Attempt{
		ID: t.Span, Ended: now - x.started, Number: t.Number, Backend: t.Member.Address(),
		Secured: t.Secured, Proto: uint8(t.Version), Reused: t.Reused, Hedge: t.Hedge,
		T: observe.Timings{
			Queue: x.up.Waited - p.spent.Queue, Connect: x.up.Dialled - p.spent.Connect,
			TLS: x.up.Secured - p.spent.TLS,
		},
	}
	began := now
	if t.Version != 0 {
		began = t.Connected
	}
	a.Began = max(began-a.T.Queue-a.T.Connect-x.started, 0)
	if t.FirstByte > 0 {
		a.T.FirstByte, a.T.Body = t.FirstByte-t.Connected, now-t.FirstByte
	}
	if a.ID == (trace.ID{}) {
		a.ID = trace.NewID() // no connection came about, or it is recorded although others were not told
	}
	return a
}

// recorded reports whether x, which is over, is recorded as part of its trace, as t says. p may be nil.
func (p *part) recorded(t *Tracing, x *Exchange) bool {
	if p == nil || !p.on || t.To == nil {
		return false
	}
	if p.decide(&x.record); p.sampled {
		return true
	}
	status, _ := x.outcome()
	for _, r := range t.Status { // by far cheaper than a condition
		if int(r.From) <= status && status <= int(r.To) {
			return true
		}
	}
	return slices.ContainsFunc(t.Always, func(c *lang.Condition) bool { return c.Holds(View(x)) })
}

// fill makes the span of x, which is over, for its record.
func (s *spanRoom) fill(t *Tracing, x *Exchange) *observe.Span {
	p := x.part
	s.Trace, s.ID, s.Parent, s.Flags = p.context.Trace, p.id, p.context.Parent, p.context.Flags
	if s.State = nil; p.came {
		s.State = x.Request.Peek(message.TraceState)
	}
	s.Pattern, s.Secured, s.Error, s.Target = "", x.Request.HTTPS, "", nil
	if x.route != nil {
		s.Pattern = x.route.pattern
	}
	if s.Peer = session.PeerIP(x.down); x.fault != nil {
		s.Error = x.fault.Token
	}
	if x.Request.Target != x.target {
		s.Target = x.listener.Redact.Text(&s.hidden, x.Request.Bytes(x.Request.Target))
	}
	s.Attempts = append(s.Attempts[:0], p.tried...)
	if last := x.up.Last(); last.Member != nil && !last.Told {
		a := p.attempt(&last, x)
		if b := x.past.credited(); b != nil {
			a.Secured = b.Upstream.Options().TLS.On
		}
		if a.Status = int(x.answered); x.fault != nil && x.fault.From != SideClient {
			a.Error = x.fault.Token
		}
		s.Attempts = append(s.Attempts, a)
	}
	s.Name, s.Attributes = nil, s.Attributes[:0]
	if s.text = s.text[:0]; t.Name != nil {
		s.Name = s.value(t.Name, x)
	}
	for i := range t.Attributes {
		if v := s.value(t.Attributes[i].Value, x); len(v) > 0 {
			s.Attributes = append(s.Attributes, observe.Member{Name: t.Attributes[i].Name, Value: v})
		}
	}
	s.Request = appendHeads(s.Request[:0], &x.Request, t.FieldsAsked, x.listener.Redact)
	s.Answer = appendHeads(s.Answer[:0], &x.Response, t.FieldsAnswer, x.listener.Redact)
	return &s.Span
}

// value returns what v is for x, redacted, as much as a record has of it. It holds until the next fill.
func (s *spanRoom) value(v *lang.Template, x *Exchange) []byte {
	from := len(s.text)
	s.text = v.Append(s.text, View(x))
	s.text = s.text[:from+len(observe.Cut(s.text[from:], observe.TextMax))]
	return hide(s.text[from:], x.listener.Redact)
}

// hide returns text, or a redacted copy. Seldom anything is hidden, so that the copy may be allocated.
func hide(text []byte, d *observe.Redaction) []byte {
	var room []byte
	return d.Text(&room, text)
}

// appendHeads appends the first field of each name that h has.
func appendHeads(dst []observe.Member, h *message.Head, names []string, d *observe.Redaction) []observe.Member {
	for _, name := range names {
		if i := h.Find(name); i >= 0 {
			dst = append(dst, observe.Member{Name: name, Value: hide(h.Value(i), d)})
		}
	}
	return dst
}
