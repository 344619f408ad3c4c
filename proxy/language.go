package proxy

import (
	"encoding/hex"
	"net/netip"
	"sync"
	"time"

	"github.com/edge-proxy/edge/internal/base/tally"
	"github.com/edge-proxy/edge/internal/exchange/variables"
	"github.com/edge-proxy/edge/internal/match/regex"
	"github.com/edge-proxy/edge/internal/route"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

// View returns x as texts of the language see it: what package variables has, the path that routing saw, the target and
// the host that it saw, and the fields as they are now. The groups of Route.When are match.N; the groups of a condition
// that was evaluated since the last View are forgotten. It is for the goroutine that owns x, and borrowed until the
// callback returns, or View is called for another exchange inside of it, as Fetch may do. It allocates nothing once
// the reactor has evaluated a text.
func View(x *Exchange) *lang.X {
	e := evaluationOf(x)
	if x.route == nil {
		return e.look(x, e.pathBefore(&x.Request, x.listener.reading()))
	}
	return e.look(x, x.Path())
}

// Holds returns a function that evaluates c, which is for the phase of a request or a later one: for Filter.When. See
// Evaluate.
func Holds(c *lang.Condition) func(x *Exchange) bool {
	return func(x *Exchange) bool { return Evaluate(x, View(x), c) }
}

// Evaluate evaluates c for v, the View of x. Some servers read a path in another way than routes do: two slashes as
// one, or "%2F" as a slash. Where c holds for some of the readings alone, a client could step around it, so that the
// request is refused when it would be sent on, as it is where the readings lead to different routes: see
// route.Readings. With Listener.Paths = raw there is one reading alone, the reading of the bytes as they came: c is as
// good as the origin's reading of them.
//
// A request is refused where c did not see all that it asks for, also where it would not be sent on: see RefuseUnasked.
func Evaluate(x *Exchange, v *lang.X, c *lang.Condition) bool {
	before := v.State.Unasked()
	held := askReadings(x, v, c)
	RefuseUnasked(x, v.State, before)
	return held
}

// RefuseUnasked refuses x if a text that decides about it did not see all that it asks for since s had counted
// before: there was no room for what it computes, or json could not read what it was asked about. It returns why x is
// refused, or nil.
func RefuseUnasked(x *Exchange, s *lang.State, before lang.Unasked) *Error {
	switch now := s.Unasked(); {
	case now == before || x.step >= stepForward:
		return nil
	case now.JSON != before.JSON:
		x.refusal = jsonUnreadable
	default:
		x.refusal = conditionCut
	}
	return x.refusal
}

// unasked returns why RefuseUnasked refused the exchange, before it is sent on; nil: it has not.
func (p *progress) unasked() *Error {
	if f := p.refusal; p.step < stepForward && (f == conditionCut || f == jsonUnreadable) {
		return f
	}
	return nil
}

func askReadings(x *Exchange, v *lang.X, c *lang.Condition) bool {
	if !c.NamesPath() && x.variants == 0 || x.refusal != nil || x.step >= stepForward {
		return c.Holds(v)
	}
	holding := 0
	n := eachReading(x, v, nil, func() {
		if c.Holds(v) {
			holding++
		}
	})
	if holding > 0 && holding < n {
		x.refusal = AmbiguousPath
	}
	return c.Holds(v) // once more: its groups are c's
}

// EachReading calls f for each reading of the path that routing sees or saw: see route.Readings. v, the View of x, has
// that reading meanwhile, and so have the texts of SetTemplate and match.N, the groups of when or of the route. when is
// the condition that has just held for v; nil: there was none. It returns how many readings there are; 0, and f is not
// called: text, which f is about, is the same in all of them.
func EachReading(x *Exchange, v *lang.X, text *lang.Template, when *lang.Condition, f func()) int {
	if !text.NamesPath() && x.variants == 0 {
		return 0
	}
	return eachReading(x, v, when, f)
}

func eachReading(x *Exchange, v *lang.X, when *lang.Condition, f func()) int {
	e, target, usual := evaluationOf(x), x.routed, v.Path
	if x.route == nil {
		target = x.Request.Target
	}
	n := e.readings.Of(x.Request.Bytes(target), x.listener.reading())
	if n > route.ReadingsMax && x.refusal == nil {
		x.refusal = AmbiguousPath
	}
	all := n
	if x.variants > 0 { // a rewrite may have come after them
		all = max(n, int(x.variants)+1)
	}
	for i := range all {
		if v.Path = usual; i < n {
			v.Path = e.readings.At(i)
		}
		e.variant = i
		e.regroup(x, v, when)
		f()
	}
	v.Path, e.variant = usual, 0
	if all > 0 {
		e.regroup(x, v, when)
	}
	return all
}

// regroup makes match.N the groups of the reading that v has.
func (e *evaluation) regroup(x *Exchange, v *lang.X, when *lang.Condition) {
	if x.matched {
		m := routeMatch.Of(x)
		v.State.SetMatch(x.Request.Bytes(m.subject), m.groups[:])
		if e.variant > 0 && x.route.When.Holds(v) {
			if subject, groups := v.State.Match(); groups != nil {
				e.found.subject, e.found.groups = append(e.found.subject[:0], subject...), *groups
				v.State.SetMatch(e.found.subject, e.found.groups[:])
			}
		}
	}
	if when != nil {
		when.Holds(v)
	}
}

// Refused returns why x is refused when it would be sent on, as Ask says; nil: it is not.
func Refused(x *Exchange) *Error { return x.refusal }

// evaluation is what texts of the language are evaluated with.
// Owned by its reactor, or by the worker that owns an exchange.
type evaluation struct {
	view  lang.X
	head  message.Head // of the view, where the request is rewritten already
	state *lang.State
	path  []byte // of a request that has no route
	text  []byte // of a field

	readings route.Readings // of the path of a request
	variant  int            // the reading that texts of SetTemplate are asked for: see EachReading

	counted Language // that a worker has counted when it gave this back; guarded by idleEvaluations.mu

	found matchOf // of the search for a route
}

// matchOf is a match of a Route.When, until the route is chosen.
type matchOf struct {
	when    string // its text; "": there is none
	subject []byte
	groups  regex.Groups
}

// evaluationOf returns what texts are evaluated with on this goroutine, which owns x.
func evaluationOf(x *Exchange) *evaluation {
	if x.origin != nil {
		return x.origin.evaluation(x.local.proxy)
	}
	l := x.local
	if l.language == nil {
		l.language = newEvaluation(l.proxy)
	}
	l.language.state.Now = l.now()
	return l.language
}

// stats returns the counters of e.
func (e *evaluation) stats() Language { return Language{e.state.Cut(), e.state.Patterns.Stats()} }

// WorkerLanguage returns the counters of evaluations by workers, which no reactor has. Safe for any goroutine.
func (p *Proxy) WorkerLanguage() (sum Language) {
	p.idle.mu.Lock()
	defer p.idle.mu.Unlock()
	for _, e := range p.idle.all {
		tally.Add(&sum, &e.counted)
	}
	return sum
}

func newEvaluation(p *Proxy) *evaluation {
	e := &evaluation{state: lang.NewState()}
	e.state.Patterns = regex.NewCache(p.patterns)
	return e
}

// look makes the view show x, whose path is read as path.
func (e *evaluation) look(x *Exchange, path []byte) *lang.X {
	v := &e.view
	v.Request, v.Answer, v.Path, v.Body = &x.Request, nil, path, bodyOf(x)
	e.variant = 0 // a condition that panicked may have left another reading
	v.Subject, v.State = (*subject)(x), e.state
	if x.route != nil && (x.Request.Target != x.routed || x.Request.Authority != x.asked) {
		e.head = x.Request
		e.head.Target, e.head.Authority = x.routed, x.asked
		v.Request = &e.head
	}
	if x.Response.Status > 0 {
		v.Answer = &x.Response
	}
	if x.matched {
		m := routeMatch.Of(x)
		e.state.SetMatch(x.Request.Bytes(m.subject), m.groups[:])
	} else {
		e.state.SetMatch(nil, nil)
	}
	return v
}

// pathBefore returns the path of a request that has no route, as routes will see it.
func (e *evaluation) pathBefore(h *message.Head, r route.Reading) []byte {
	e.path = route.AppendPath(e.path[:0], h.Bytes(h.Target), r)
	return e.path
}

// matchKept is the match of the Route.When of an exchange, in the bytes of its request.
type matchKept struct {
	subject message.Span
	groups  regex.Groups
}

var routeMatch = NewLocal[matchKept]()

// Holds evaluates the condition of a route that is looked at: see route.Arrival.
func (x *arrival) Holds(when *lang.Condition, path []byte) bool {
	e := evaluationOf((*Exchange)(x))
	before := e.state.Unasked()
	v, others := e.look((*Exchange)(x), path), 0
	for e.variant = int(x.variants); e.variant > 0; e.variant-- {
		if when.Holds(v) {
			others++
		}
	}
	held := when.Holds(v)
	if held && others < int(x.variants) || !held && others > 0 {
		x.refusal = AmbiguousPath
	}
	RefuseUnasked((*Exchange)(x), e.state, before)
	if !held {
		return false
	}
	// A search may read a path in two ways, and ask twice: the groups are the first search's.
	if text := when.String(); e.found.when != text {
		if subject, groups := e.state.Match(); groups != nil {
			e.found.when, e.found.groups = text, *groups
			e.found.subject = append(e.found.subject[:0], subject...)
		}
	}
	return true
}

// forgetMatch begins a search for a route. e may be nil.
func (e *evaluation) forgetMatch() {
	if e != nil {
		e.found.when = ""
	}
}

// foundMatch returns the match of the condition of the route that was chosen; nil: it has no groups. e may be nil.
func (e *evaluation) foundMatch(when *lang.Condition) *matchOf {
	if e == nil || e.found.when != when.String() {
		return nil
	}
	return &e.found
}

// TextsMax is how many texts of different names an exchange may have.
const TextsMax = 16

// texts are what rules have set for an exchange, in the bytes of its request.
type texts struct {
	user   message.Span
	claims Claims
	n      int
	list   [TextsMax]namedText
}

type namedText struct {
	name   string
	text   message.Span
	others []message.Span // by the readings of the path after the first; nil: the text is the same in all of them
}

var textsOf = NewLocal[texts]()

// named returns the text that is called name, which may be a new one; nil where there are TextsMax others.
func (t *texts) named(name string) *namedText {
	i := 0
	for i < t.n && t.list[i].name != name {
		i++
	}
	if i == len(t.list) {
		return nil
	}
	t.n = max(t.n, i+1)
	t.list[i].name, t.list[i].others = name, nil
	return &t.list[i]
}

// SetText sets the variable local.NAME of x, in place of what it was. value is copied. It reports false where x has
// TextsMax others already: then nothing is set.
func SetText(x *Exchange, name string, value []byte) bool {
	t := textsOf.Of(x).named(name)
	if t != nil {
		t.text = keep(&x.Request, value)
	}
	return t != nil
}

// SetTemplate is SetText with what text makes of v, the View of x. Where the path can be read in several ways, the text
// is made of each of them, and Ask holds a condition against all. when is the condition that has just held for v, in
// whose groups text may look; nil: it had none. It allocates for a path with several readings alone.
func SetTemplate(x *Exchange, v *lang.X, name string, text *lang.Template, when *lang.Condition) {
	value := func() message.Span {
		base := x.Request.Base
		return keep(&x.Request, text.Append(base, v)[len(base):])
	}
	first := value() // which may look at the text of that name
	var all []message.Span
	EachReading(x, v, text, when, func() { all = append(all, value()) })
	t := textsOf.Of(x).named(name)
	if t == nil {
		return
	}
	if t.text = first; len(all) > 1 {
		t.others, x.variants = all[1:], max(x.variants, uint8(len(all)-1))
	}
}

// SetUser sets auth.user of x: the user that a filter has made sure of. "" is no user.
func SetUser(x *Exchange, name string) { textsOf.Of(x).user = keep(&x.Request, name) }

// Claims are what an authentication filter knows of the user beside the name: the claims of a token, the attributes of
// a certificate or of a directory. What has no values is missing.
type Claims interface {
	// Claim appends the values of a claim to dst. They hold until the exchange ends, and are not written. It runs on
	// the goroutine that owns the exchange, and takes as little time as a look-up in a map.
	Claim(name string, dst [][]byte) [][]byte
}

// SetClaims sets what auth.claim.NAME of x is, in place of what it was: claims that a filter has verified. nil: there
// are none. A pointer to what a Local has makes no garbage.
func SetClaims(x *Exchange, c Claims) { textsOf.Of(x).claims = c }

// keep copies a text into the bytes of the request h, where it holds until the exchange ends.
func keep[T string | []byte](h *message.Head, text T) message.Span {
	at := uint32(len(h.Base))
	h.Base = append(h.Base, text...)
	return message.Span{At: at, Len: uint32(len(text))}
}

// subject is an Exchange as its variables see it, by conversion.
type subject Exchange

var _ variables.Subject = (*subject)(nil)

// What the variables ask: see variables.Subject.
func (x *subject) ClientIP() netip.Addr  { return (*Exchange)(x).ClientIP() }
func (x *subject) Peer() netip.AddrPort  { return session.PeerIP((*Exchange)(x).Client()) }
func (x *subject) SocketIP() netip.Addr  { return session.SocketIP((*Exchange)(x).Client()) }
func (x *subject) Local() netip.AddrPort { return (*Exchange)(x).Client().Local().IP }
func (x *subject) ListenerName() string  { return x.listener.Name }
func (x *subject) TraceID() []byte       { return x.traceID() }
func (x *subject) Attempts() int         { return int(x.up.Attempts) }
func (x *subject) Bytes() (in, out int64) {
	if o := x.origin; o != nil { // more may come meanwhile, and the reactor counts it
		return o.in, o.out
	}
	return x.bodyIn, x.toDown.Passed
}

func (x *subject) ClientPort() uint16 {
	if x.client.IsValid() {
		return 0
	}
	return x.Peer().Port()
}

func (x *subject) RouteName() string {
	if x.route == nil {
		return ""
	}
	return x.route.Name
}

func (x *subject) AppendID(dst []byte) []byte {
	if len(x.given) > 0 {
		return append(dst, x.given...)
	}
	id := x.ownID()
	return hex.AppendEncode(dst, id[:])
}

func (x *subject) Rest(path []byte) []byte {
	if x.route == nil || x.route.Exact {
		return nil
	}
	if len(path) == 0 || path[0] != '/' { // "*", or the authority of CONNECT
		return nil
	}
	return path[min(x.route.rest, len(path)):]
}

func (x *subject) SampleRate() string { return x.local.sampleRate }

func (x *subject) User() []byte {
	if t := textsOf.Of((*Exchange)(x)); t.user.Len > 0 {
		return x.Request.Bytes(t.user)
	}
	return nil
}

func (x *subject) Claim(name string, dst [][]byte) [][]byte {
	if c := textsOf.Of((*Exchange)(x)).claims; c != nil {
		return c.Claim(name, dst)
	}
	return dst
}

func (x *subject) Text(name string) []byte {
	t := textsOf.Of((*Exchange)(x))
	for i := range t.n {
		if t.list[i].name == name {
			text := t.list[i].text
			if of := evaluationOf((*Exchange)(x)).variant; of > 0 && of <= len(t.list[i].others) {
				text = t.list[i].others[of-1]
			}
			return x.Request.Bytes(text)
		}
	}
	return nil
}

func (x *subject) Status() int {
	n := (*Exchange)(x).Status()
	if n == 0 && x.fault != nil {
		return x.fault.Status
	}
	return n
}

func (x *subject) Upstream() (u variables.Upstream) {
	u.Addr, u.Status = (*Exchange)(x).Backend(), int(x.answered)
	if a := &x.up; a.FirstByte > 0 {
		u.Time = time.Duration(a.FirstByte - a.Connected)
	}
	return u
}

// Duration is measured by the reactor's clock. On a worker it is as long as when that began.
func (x *subject) Duration() time.Duration {
	if x.origin != nil {
		return time.Duration(x.origin.now - x.started)
	}
	return time.Duration(x.local.reactor.Now() - x.started)
}

func (x *subject) Fault() (by, kind string) {
	if x.fault == nil {
		return "", ""
	}
	return x.fault.From.String(), string(x.fault.Kind)
}

func (x *subject) Cache() (status, reason string, age time.Duration) {
	c := CachedOf((*Exchange)(x))
	return c.Status.String(), c.Reason.Word(), time.Duration(c.Age) * time.Second
}

func (x *subject) Encoded() (coding string, saved int64) {
	if !x.toDown.Encoded {
		return "", 0
	}
	c := encodingOf.Of((*Exchange)(x))
	return c.coding, c.in - c.out
}

func (x *subject) Source() string {
	switch {
	case x.ours:
		return "own"
	case x.answered > 0, x.fault == nil && x.cached.answers():
		return "upstream"
	}
	return ""
}

// idleEvaluations are the evaluations of workers that own no exchange: there are never more than there were workers at
// once. Guarded by mu.
type idleEvaluations struct {
	mu   sync.Mutex
	list []*evaluation
	all  []*evaluation // those in use too
}

// evaluation returns the evaluation of the worker that owns the exchange which came from o.
func (o *origin) evaluation(p *Proxy) *evaluation {
	if o.language == nil {
		o.language = p.idle.take(p)
	}
	o.language.state.Now = time.Now().UnixNano()
	return o.language
}

func (i *idleEvaluations) take(p *Proxy) *evaluation {
	i.mu.Lock()
	defer i.mu.Unlock()
	if n := len(i.list); n > 0 {
		e := i.list[n-1]
		i.list = i.list[:n-1]
		return e
	}
	e := newEvaluation(p)
	i.all = append(i.all, e)
	return e
}

// giveBack takes the evaluation of a worker that is done with its exchange; nil: it had none.
func (i *idleEvaluations) giveBack(e *evaluation) {
	if e == nil {
		return
	}
	e.view, e.head = lang.X{}, message.Head{}
	counted := e.stats()
	i.mu.Lock()
	defer i.mu.Unlock()
	e.counted = counted
	i.list = append(i.list, e)
}
