package rules

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/edge-proxy/edge/internal/exchange/location"
	"github.com/edge-proxy/edge/internal/filter/ratelimit"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/cache"
)

// newSet makes a filter of rules, which runs in one phase: proxy.PhaseBeforeRoute, for a filter of a Snapshot, or
// proxy.PhaseRequest. It checks them. b may be nil.
func newSet(rules []Rule, in proxy.Phase, b *plugin.Build) (*set, *proxy.Filter, error) {
	s := &set{before: in == proxy.PhaseBeforeRoute, counters: counters{
		b.Counter("responded"), b.Counter("redirected"), b.Counter("denied"), b.Counter("dropped"),
		b.Counter("tarpitted"), b.Counter("tarpit_full"),
	}}
	f := &proxy.Filter{Name: "rules"}
	noted := false
	for i := range rules {
		r := &rules[i]
		c, err := newRule(r)
		if err == nil && r.Limit != nil {
			c.limit, err = newLimit(rules[:i+1], b)
			s.limits = append(s.limits, c.limit)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", title(r, i), err)
		}
		s.rules = append(s.rules, c)
		for _, field := range r.RequestFields {
			f.Own(field.Name)
		}
		if len(r.RequestFields) > 0 {
			f.UpstreamRequest = s.setFields
		}
		if len(r.AnswerFields) > 0 || r.Limit != nil {
			f.Response = s.answer
		}
		f.NamesMatch = f.NamesMatch || c.names || r.When != nil && r.When.NamesMatch()
		noted = noted || r.Tag != "" || r.Tarpit > 0 || r.Name != "" && (r.Ends() || r.Limit != nil)
	}
	if noted {
		f.Log = s.log
	}
	if s.before {
		f.BeforeRoute = s.run
	} else {
		f.Request = s.run
	}
	return s, f, nil
}

func title(r *Rule, i int) string {
	if r.Name != "" {
		return fmt.Sprintf("rule %q", r.Name)
	}
	return fmt.Sprintf("rule %d", i+1)
}

// newLimit makes the limit of the last of rules, which are among those that b is for. Its counters have the name of the
// rule.
func newLimit(rules []Rule, b *plugin.Build) (*ratelimit.Limit, error) {
	last := len(rules) - 1
	r, whose := &rules[last], ""
	own := plugin.Build{Name: cmp.Or(r.Name, title(r, last)), Type: "rate_limit"}
	if b != nil {
		own.Logger, own.Reactors, own.Kept, whose = b.Logger, b.Reactors, b.Kept, b.Name
		if r.Name == "" {
			own.Name += " of " + b.Name
		}
	}
	before := 0 // of the same name: each counts apart
	for i := range rules[:last] {
		if rules[i].Name == r.Name && rules[i].Limit != nil {
			before++
		}
	}
	if r.Name != "" && before > 0 {
		whose = fmt.Sprintf("%d in %s", before+1, whose)
	}
	return ratelimit.NewLimit(r.Limit, &own, whose)
}

// set is the rules of a filter. Immutable.
type set struct {
	rules    []*rule
	limits   []*ratelimit.Limit
	before   bool // they run before a route is chosen
	counters counters

	watch func(i int, asked Asked) // nil: not called; see Maker.Watch
}

// rule is a Rule that was made ready. Immutable.
type rule struct {
	*Rule
	when    *lang.Condition
	names   bool // a template names match.N
	late    bool // a template for the answer names match.N
	rewrite *location.Template
	to      *location.Template // of the redirect
	query   *query
	request []field
	answer  []field
	escape  func(dst []byte, from int) []byte // of values in the body
	refusal *proxy.Error                      // of Deny and Drop
	limit   *ratelimit.Limit                  // nil: there is none
}

func newRule(of *Rule) (*rule, error) {
	if err := of.Check(); err != nil {
		return nil, err
	}
	r := &rule{Rule: of, when: of.When, query: newQuery(of.Query), refusal: refusalOf(of),
		request: newFields(of.RequestFields), answer: newFields(of.AnswerFields)}
	for _, t := range of.templates() {
		r.names = r.names || namesMatch(t)
	}
	for _, f := range r.answer {
		r.late = r.late || namesMatch(f.value)
	}
	r.names = r.names || r.late
	var err error
	if r.when != nil && r.names {
		if r.when, err = r.when.Capturing(); err != nil {
			return nil, err
		}
	}
	if of.Rewrite != nil {
		if r.rewrite, err = location.Path(of.Rewrite); err != nil {
			return nil, err
		}
	}
	if to := of.Redirect; to != nil {
		if r.to, err = location.Location(to.To); err != nil {
			return nil, err
		}
	}
	if of.Respond != nil {
		r.escape = escapeFor(of.Respond.Type)
	}
	return r, nil
}

// run asks the rules, until one of them ends the request.
func (s *set) run(x *proxy.Exchange) proxy.Verdict {
	v := proxy.View(x)
	for i, r := range s.rules {
		if r.names && r.when == nil {
			v = proxy.View(x) // match.N does not belong to another rule
		}
		if s.watch != nil {
			if !s.tell(x, v, i) {
				continue
			}
		} else if r.when != nil && !proxy.Evaluate(x, v, r.when) {
			continue
		}
		before := v.State.Unasked()
		r.note(s, x, v)
		if f := proxy.RefuseUnasked(x, v.State, before); f != nil { // for a text that conditions ask about
			return proxy.Fail(f)
		}
		if r.Ends() {
			return s.end(x, v, r)
		}
		if r.limit != nil {
			if refused, ok := r.limit.Take(x, v, r.when); !ok {
				r.sign(x)
				return refused
			}
		}
		moved, failed := r.act(s, x, v)
		if failed != nil {
			return proxy.Fail(failed)
		}
		if moved {
			v = proxy.View(x) // before the route, the path is another one now
		}
	}
	return proxy.Next
}

// tell tells of rule i, and reports whether it holds for x, whose View is v.
func (s *set) tell(x *proxy.Exchange, v *lang.X, i int) bool {
	a, before := Asked{Held: true}, proxy.Refused(x)
	if when := s.rules[i].when; when != nil {
		a.Clauses = when.Explain(v)
		a.Held = proxy.Evaluate(x, v, when)
	}
	if e := proxy.Refused(x); before == nil {
		a.Refused = e
	}
	s.watch(i, a)
	return a.Held
}

// note does what a rule does that ends the request as well.
func (r *rule) note(s *set, x *proxy.Exchange, v *lang.X) {
	for i := range r.Set {
		r.store(x, v, &r.Set[i])
	}
	if r.Tag != "" {
		tag(x, r.Tag)
	}
	if r.NoLog && s.watch == nil {
		proxy.Unlog(x)
	}
	if r.On|r.Off != 0 {
		switched.Of(x).turn(r.On, r.Off)
	}
	if len(r.answer) > 0 {
		local.Of(x).keep(s, r, &x.Request, v)
	}
}

func (r *rule) store(x *proxy.Exchange, v *lang.X, t *Text) {
	if t.Value == nil {
		proxy.SetText(x, t.Name, nil)
		return
	}
	proxy.SetTemplate(x, v, t.Name, t.Value, r.when)
}

// act does what a rule does with a request that goes on. moved says that its target is another one.
func (r *rule) act(s *set, x *proxy.Exchange, v *lang.X) (moved bool, failed *proxy.Error) {
	if r.Timeout > 0 {
		x.SetTimeouts(proxy.Timeouts{Total: r.Timeout})
	}
	if r.To != nil {
		x.SetDestination(r.To)
	}
	if r.Cache != nil {
		cache.Choose(x, r.Cache)
	}
	for i := range r.request {
		if failed = local.Of(x).add(s, x, v, &r.request[i]); failed != nil {
			return false, failed
		}
	}
	h := &x.Request
	if r.rewrite != nil && h.Target.Len > 0 && h.Bytes(h.Target)[0] == '/' { // neither "*" nor the authority of CONNECT
		base, err := r.rewrite.Append(h.Base, h, v)
		if err != nil {
			return false, failureOf(err)
		}
		at := len(h.Base)
		h.Base, h.Target = base, message.Span{At: uint32(at), Len: uint32(len(base) - at)}
		moved = true
	}
	if r.query != nil {
		if failed = r.query.change(h, v); failed != nil {
			return false, failed
		}
		moved = true
	}
	return moved, nil
}

// state is what rules keep with an exchange.
type state struct {
	fields  [fieldsKept]sent // of the request, until it is sent on
	more    []sent           // beyond fieldsKept
	sending int

	held    [heldKept]held // rules that held and set fields of the answer
	rest    []held         // beyond heldKept
	holding int

	tags string // of rules, separated by blanks
	rule string // the name of the rule that ended the request
	pit  *pit   // that it is in, or was in
}

// How many of each are kept without an allocation.
const (
	fieldsKept = 8
	heldKept   = 4
)

var local = proxy.NewLocal[state]()

func tag(x *proxy.Exchange, text string) {
	if st := local.Of(x); st.tags == "" {
		st.tags = text
	} else if !strings.Contains(" "+st.tags+" ", " "+text+" ") {
		st.tags += " " + text
	}
}

// log notes in the access log what was done, and lets go of what waits. The filters of a listener, of all routes and of
// a route share a state: the first one notes it.
func (s *set) log(x *proxy.Exchange, _ *observe.Record) {
	st := local.Of(x)
	if st.pit != nil {
		st.pit.leave(x.Reactor())
	}
	if st.tags != "" {
		x.LogField("tags", st.tags)
		st.tags = ""
	}
	if st.rule != "" {
		x.LogField("rule", st.rule)
		st.rule = ""
	}
}
