package proxy

import (
	"context"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/session"
)

// offload runs f on a worker. x belongs to it until Done: what either stream brings meanwhile waits.
//
//	reactor   offload ─► working: bodies and trailers wait, the ends of streams are noted ─► Done ─► caught up,
//	worker                └─ f(x) ──────────────────────────────────────────────────────────┘        verdict acted on
//
// The worker may use all that an Exchange exports. So the reactor leaves Request, Response and the Locals alone
// meanwhile, and what others write as well is made before.
func (x *Exchange) offload(f *judged) {
	x.local.keepLent()
	x.charge()
	var v Verdict
	x.Context() // the client's end cancels it
	x.ownID()   // the count is the reactor's
	from := &origin{peer: x.down.Peer(), local: x.down.Local(), digest: x.digest, now: x.local.reactor.Now()}
	from.socket = session.SocketIP(x.down)
	from.in, from.out = x.bodyIn, x.toDown.Passed
	x.origin = from
	cancel := x.ctx.cancel
	job := &engine.Job{}
	job.Do = func(ctx context.Context) {
		stop := context.AfterFunc(ctx, cancel)
		defer stop()
		defer func() { x.local.proxy.idle.giveBack(from.language) }()
		defer func() {
			if p := recover(); p != nil {
				v = broken
				x.logPanic(&x.Request, p, f.name)
			}
		}()
		v = f.run(x)
	}
	job.Done.Run = func(*engine.Reactor) {
		if invariant.On {
			defer checkExchange(x)
		}
		defer x.rescue()
		if x.working = false; x.downGone {
			x.down = x.origin // the stream may be another exchange's by now
		}
		x.origin = nil
		if v.kind == panicked {
			x.local.stats.Panics++
		}
		if r := x.resumed; r != nil && v.kind == park && !x.downGone {
			x.resumed = nil
			v = x.decided(r)
		} else if r != nil {
			x.resumed = nil
			x.local.stats.LateResumes++
		}
		caughtUp(x, v)
	}
	if err := x.local.reactor.Offload(job); err != nil {
		x.origin = nil
		x.fail(Overload)
		return
	}
	x.working = true
}

// caughtUp goes on with x when its worker is done: first with what happened meanwhile, then with the verdict.
func caughtUp(x *Exchange, v Verdict) {
	gen, step, own := x.gen, x.step, x.own
	switch {
	case x.downGone:
		x.finish()
		return
	case v.kind == panicked:
		x.fail(Internal)
		return
	case x.lost != nil:
		x.fail(x.lost)
		return
	}
	if l := &x.toDown; l.Late { // trailers of a request are sifted where they leave
		l.Late = false
		x.endAnswer()
	}
	switch {
	case x.step >= stepForward && x.up.Body.Waiting && !x.own:
		bodyWaited(x)
	case x.up.Stream != nil:
		(*upSide)(x).OnSendable(x.up.Stream)
	}
	if x.gen == gen && x.step == step && x.own == own {
		x.judge(v)
	}
}

// place is the function of a filter that an exchange has come to, among those that may park. It never comes to one
// twice, so that a place is the number of a park as well.
type place struct {
	step step
	at   uint16
}

// Ref names one park of an exchange for other goroutines. A Ref that outlives its park, or its exchange, does nothing.
// Immutable; safe for any goroutine.
type Ref struct {
	x       *Exchange
	reactor *engine.Reactor
	gen     uint64
	place   place
}

// Ref returns the name of x and of its park in the function that runs now. Take it inside the function that returns
// Park, before it does: a Ref that was taken in an earlier phase, or by an earlier filter, resumes nothing here.
func (x *Exchange) Ref() Ref { return Ref{x, x.local.reactor, x.gen, place{x.step, x.at}} }

// Resume goes on with a parked exchange: v is the verdict of the filter that parked it. It comes too late, and is
// counted, when the client has gone, when another call resumed it, or when it was answered meanwhile. It never comes
// too early: a worker may return Park after it. It allocates a task.
func (f Ref) Resume(v Verdict) { f.ResumeWith(func(*Exchange) Verdict { return v }) }

// ResumeWith is Resume with the verdict of decide, which runs on the reactor of the exchange, and only where it does
// not come too late: it may note in the exchange what was found out meanwhile.
func (f Ref) ResumeWith(decide func(x *Exchange) Verdict) {
	f.reactor.Post(&engine.Task{Run: func(*engine.Reactor) {
		x := f.x
		switch {
		case x.gen != f.gen || f.place != place{x.step, x.at}:
			x.local.stats.LateResumes++
		case x.working && x.resumed == nil:
			x.resumed = decide
		case !x.parked:
			x.local.stats.LateResumes++
		default:
			if invariant.On {
				defer checkExchange(x)
			}
			defer x.rescue()
			x.parked = false
			x.judge(x.decided(decide))
		}
	}})
}

// decided returns the verdict of decide, for the filter that ran last. A panic is the verdict broken.
func (x *Exchange) decided(decide func(x *Exchange) Verdict) (v Verdict) {
	defer func() {
		if p := recover(); p != nil {
			x.caught(&x.Request, p, x.judges()[x.at-1].name)
			v = broken
		}
	}()
	return decide(x)
}
