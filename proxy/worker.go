package proxy

import (
	"context"
	"log/slog"
	"runtime/debug"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/invariant"
)

// offload runs f on a worker. x belongs to it until Done: what either stream brings meanwhile waits.
//
//	reactor   offload ─► working: bodies wait, the ends of streams are noted ─► Done ─► caught up, verdict acted on
//	worker                └─ f(x) ─────────────────────────────────────────────┘
func (x *Exchange) offload(f func(x *Exchange) Verdict) {
	x.charge()
	var v Verdict
	panicked := false
	x.Context() // made here, so that the client's end can cancel it while the worker owns x
	cancel := x.cancel
	job := &engine.Job{}
	job.Do = func(ctx context.Context) {
		stop := context.AfterFunc(ctx, cancel)
		defer stop()
		defer func() {
			if p := recover(); p != nil {
				panicked = true
				logPanic(p)
			}
		}()
		v = f(x)
	}
	job.Done.Run = func(*engine.Reactor) {
		defer x.rescue()
		x.working = false
		x.caughtUp(v, panicked)
	}
	if err := x.local.reactor.Offload(job); err != nil {
		x.fail(faultOverload)
		return
	}
	x.working = true
}

// caughtUp goes on with x when its worker is done: first with what happened meanwhile, then with the verdict.
func (x *Exchange) caughtUp(v Verdict, panicked bool) {
	gen, step, own := x.gen.Load(), x.step, x.own
	if panicked {
		x.local.stats.Panics++
	}
	switch {
	case x.downGone:
		x.finish()
		return
	case panicked:
		x.fail(faultInternal)
		return
	case x.lost != nil:
		x.fail(x.lost)
		return
	case x.step >= stepForward && x.toUp.waiting && !x.own:
		x.bodyWaited()
	case x.up != nil:
		(*upSide)(x).OnSendable(x.up)
	}
	if x.gen.Load() == gen && x.step == step && x.own == own {
		x.judge(v)
	}
}

// rescue ends x when a filter panics where there is no connection that the reactor could close for it: inside a task,
// or behind the end of the backend's. To be deferred.
func (x *Exchange) rescue() {
	p := recover()
	if p == nil {
		return
	}
	if invariant.On {
		panic(p)
	}
	logPanic(p)
	x.local.stats.Panics++
	x.parked = false
	x.cut(faultInternal)
}

// runLog runs the last phase. A panic there costs the filters behind it their turn and nothing else: there is nothing
// left to end.
func (x *Exchange) runLog(list []onExchange) {
	defer func() {
		if p := recover(); p != nil {
			if invariant.On {
				panic(p)
			}
			logPanic(p)
			x.local.stats.Panics++
		}
	}()
	for _, f := range list {
		f(x)
	}
}

func logPanic(p any) {
	slog.Error("filter or handler panicked", "panic", p, "stack", string(debug.Stack()))
}
