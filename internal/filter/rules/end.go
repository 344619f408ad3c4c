package rules

import (
	"cmp"
	"context"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/filter"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
)

// TarpitMax is how many requests wait in tarpits at a time, in the process. One more is ended at once: what is meant to
// cost its client time must not cost the proxy its memory.
const TarpitMax = 1000

// tarpitted is how many wait.
var tarpitted atomic.Int32

// counters count what rules of one filter have ended. Immutable.
type counters struct {
	responded, redirected, denied, dropped, tarpitted, full *plugin.Counter
}

// refusalOf returns the failure that a rule makes of requests; nil: it makes none.
func refusalOf(r *Rule) *proxy.Error {
	switch {
	case r.Drop:
		return filter.Refusal("rule", 444, "A rule ends the connection.", true)
	case r.Deny != 0 || r.Tarpit > 0:
		return filter.Refusal("rule", cmp.Or(r.Deny, 403), "A rule refuses the request.", false)
	}
	return nil
}

// sign names r to the access log as the rule that ends x.
func (r *rule) sign(x *proxy.Exchange) {
	if r.Name != "" {
		local.Of(x).rule = r.Name
	}
}

// end ends the request by r.
func (s *set) end(x *proxy.Exchange, v *lang.X, r *rule) proxy.Verdict {
	r.sign(x)
	switch {
	case r.Respond != nil:
		s.counters.responded.Add(x)
		return r.respond(v)
	case r.to != nil:
		s.counters.redirected.Add(x)
		return r.redirect(&x.Request, v)
	case r.Tarpit > 0 && s.watch == nil:
		if tarpitted.Add(1) > TarpitMax {
			tarpitted.Add(-1)
			s.counters.full.Add(x)
			break
		}
		s.counters.tarpitted.Add(x)
		return park(x, r)
	}
	if r.Drop {
		s.counters.dropped.Add(x)
	} else {
		s.counters.denied.Add(x)
	}
	return proxy.Fail(r.refusal)
}

// respond answers. A body with values of the request is of its type alone: browsers that guess may take it for HTML.
func (r *rule) respond(v *lang.X) proxy.Verdict {
	body := ""
	if t := r.Respond.Body; t != nil {
		constant, ok := t.Constant()
		if body = constant; !ok {
			body = string(t.AppendEscaped(nil, v, r.escape))
			return proxy.Respond(r.Respond.Status, body).Type(r.Respond.Type).With("X-Content-Type-Options", "nosniff")
		}
	}
	return proxy.Respond(r.Respond.Status, body).Type(r.Respond.Type)
}

func (r *rule) redirect(h *message.Head, v *lang.X) proxy.Verdict {
	base, err := r.to.Append(h.Base, h, v)
	if err != nil {
		return proxy.Fail(failureOf(err))
	}
	return proxy.Respond(cmp.Or(r.Redirect.Status, 308), "").With("Location", string(base[len(h.Base):]))
}

// pit is the wait of one request in a tarpit. Owned by its reactor.
type pit struct {
	timer  engine.Timer
	ref    proxy.Ref
	over   context.Context // ends with the request
	until  int64           // reactor time
	ending *proxy.Error
	left   bool
}

// look is how often a request in a tarpit looks whether the process ends.
const look = int64(250 * time.Millisecond)

// park parks x for as long as r says.
func park(x *proxy.Exchange, r *rule) proxy.Verdict {
	reactor := x.Reactor()
	p := &pit{ref: x.Ref(), over: x.Context(), until: reactor.Now() + int64(r.Tarpit), ending: r.refusal}
	p.timer.Run = p.tick
	local.Of(x).pit = p
	reactor.Arm(&p.timer, min(p.until, reactor.Now()+look))
	return proxy.Park
}

// tick ends the request when it is time, or when the process drains: a drain does not wait for a tarpit. A request
// that has ended before gives back its place here where no filter of Log did: a filter that panics costs those after
// it their turn.
func (p *pit) tick(r *engine.Reactor) {
	now := r.Now()
	switch {
	case p.over.Err() != nil:
		p.leave(r)
	case now < p.until && !r.Engine().Draining():
		r.Arm(&p.timer, min(p.until, now+look))
	default:
		p.leave(r)
		p.ref.Resume(proxy.Fail(p.ending))
	}
}

// leave gives back the place of the request, which waits no longer.
func (p *pit) leave(r *engine.Reactor) {
	if !p.left {
		p.left = true
		tarpitted.Add(-1)
		r.Disarm(&p.timer)
	}
}
