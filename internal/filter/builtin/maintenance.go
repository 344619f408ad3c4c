package builtin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/filter"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/limits"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
)

// Maintenance is the table of a filter of the type "maintenance".
//
//	[filters.closed]
//	type   = "maintenance"
//	file   = "/run/edge/maintenance"
//	allow  = ["10.0.0.0/8"]
//	except = ["/healthz"]
//
// It is no page of failures: `error_pages` has those. Without a body of its own it shows the one for its status.
//
// # The file
//
// Nothing waits for the file system on an event loop, and nothing polls. A request that comes a second or more after
// the last look makes a worker look again, and waits for it; all others go by what the last look found. So an
// operator's own request, after a pause, sees what the file says now, and a busy server looks once a second.
//
//	reactor   request ─► 1 s since the last look? ─ yes ─► parked ──────────────────► goes on, or is answered
//	worker                          │ no                    └─ stat ─► closed or open ─┘
//	                                └─► by what is known
//
// The directory of the file is to be a local one: the request that causes the look waits as long as stat does.
//
// NewMaintenance looks once, so that the first request knows. The result of the last look is two atomics, which all
// reactors share. A request that passes costs a load and a comparison, and allocates nothing.
type Maintenance struct {
	On   bool   `edge:"on" doc:"Answer all requests that allow and except do not let through." example:"true"`
	File string `edge:"file" doc:"File that closes the site while it exists." example:"/run/edge/closed" local:"true"`

	Allow  []netip.Prefix `edge:"allow" doc:"Addresses of clients that get through." example:"10.0.0.0/8"`
	Except []string       `edge:"except" doc:"Paths that get through, such as health checks." example:"/healthz"`

	Status int `edge:"status" doc:"Status of the answer to requests." default:"503" min:"400" max:"599"`

	RetryAfter time.Duration `edge:"retry_after" doc:"Time clients are told to wait." default:"5m" min:"1s" max:"720h"`

	Body string `edge:"body" doc:"Body of the answer; without it, the error page of the status." unit:"lines"`
	Type string `edge:"content_type" doc:"Content type of the body." default:"text/plain; charset=utf-8"`
}

// Check finds a filter that would never answer.
func (c *Maintenance) Check(r *plugin.Report) {
	if !c.On && c.File == "" {
		r.At("on").Errorf("say on = true or name a file", "the filter would never answer")
	}
	if !message.ValidValue(c.Type) {
		r.At("content_type").Errorf("", "%q cannot stand in a field", c.Type)
	}
	for i, path := range c.Except {
		if !strings.HasPrefix(path, "/") {
			r.Element("except", i, len(c.Except)).Errorf("a path begins with /", "%q is no path", path)
		}
	}
}

func init() {
	plugin.Register(plugin.Filters, "maintenance", "Answers 503 while a switch is on or a file exists.", NewMaintenance)
}

// gate is a filter of this type. Safe for the reactors of a server.
type gate struct {
	on     bool
	file   string
	allow  []netip.Prefix
	except []string
	log    func(msg string, args ...any)

	shut    atomic.Bool  // the file exists
	looked  atomic.Int64 // reactor time of the last look
	blind   atomic.Bool  // the last look failed
	failure *proxy.Error
	refusal proxy.Verdict
}

// NewMaintenance makes a filter of c.
func NewMaintenance(c *Maintenance, b *plugin.Build) (*proxy.Filter, error) {
	g, err := newGate(c, b)
	if err != nil {
		return nil, err
	}
	return g.filter(c, b), nil
}

func newGate(c *Maintenance, b *plugin.Build) (*gate, error) {
	g := &gate{on: c.On, file: c.File, allow: c.Allow, except: c.Except, log: b.Log().Warn}
	if c.File != "" {
		if err := g.look(); err != nil {
			return nil, fmt.Errorf("file: %w", err)
		}
	}
	g.failure = filter.Refusal("maintenance", c.Status, "This is closed for maintenance.", false)
	g.refusal = proxy.Fail(g.failure)
	return g, nil
}

func (g *gate) filter(c *Maintenance, b *plugin.Build) *proxy.Filter {
	after := strconv.FormatInt(limits.Seconds(c.RetryAfter), 10)
	page := proxy.Respond(g.failure.Status, c.Body).Type(c.Type)
	refused := b.Counter("refused")
	return &proxy.Filter{
		Request: g.request,
		Error: func(x *proxy.Exchange, e *proxy.Error) proxy.Verdict {
			if !e.Is(g.failure) {
				return proxy.Next
			}
			if refused.Add(x); c.Body != "" {
				return page
			}
			return proxy.Next
		},
		Response: func(x *proxy.Exchange) proxy.Verdict {
			if f := x.Failure(); f != nil && f.Is(g.failure) {
				x.Response.AddID(message.RetryAfter, "Retry-After", after)
			}
			return proxy.Next
		},
	}
}

func (g *gate) request(x *proxy.Exchange) proxy.Verdict {
	if g.file != "" {
		now, last := x.Reactor().Now(), g.looked.Load()
		if now-last >= int64(time.Second) && !g.passes(x) && g.looked.CompareAndSwap(last, now) {
			return g.lookAgain(x)
		}
	}
	if g.closed() && !g.passes(x) {
		return g.refusal
	}
	return proxy.Next
}

func (g *gate) closed() bool { return g.on || g.shut.Load() }

// passes reports whether x gets through while the gate is closed.
func (g *gate) passes(x *proxy.Exchange) bool {
	if len(g.except) > 0 {
		path := x.Path()
		if slices.ContainsFunc(g.except, func(p string) bool { return string(path) == p }) {
			return true
		}
	}
	ip := x.ClientIP().Unmap()
	return slices.ContainsFunc(g.allow, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// lookAgain makes a worker look for the file, and x wait for it. Where no worker is free x goes by what is known.
func (g *gate) lookAgain(x *proxy.Exchange) proxy.Verdict {
	ref, job := x.Ref(), &engine.Job{}
	job.Do = func(context.Context) {
		switch err := g.look(); {
		case err == nil:
			g.blind.Store(false)
		case !g.blind.Swap(true):
			g.log("the file of a maintenance filter cannot be looked for: it goes by what it knew", "error", err)
		}
	}
	job.Done.Run = func(*engine.Reactor) { ref.Resume(g.verdict()) }
	if err := x.Reactor().Offload(job); err != nil {
		return g.verdict()
	}
	return proxy.Park
}

// verdict is the verdict on a request that does not pass.
func (g *gate) verdict() proxy.Verdict {
	if g.closed() {
		return g.refusal
	}
	return proxy.Next
}

// look notes whether the file exists. It blocks.
func (g *gate) look() error {
	_, err := os.Stat(g.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	g.shut.Store(err == nil)
	return nil
}
