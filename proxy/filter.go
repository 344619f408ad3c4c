package proxy

import (
	"errors"
	"fmt"
	"slices"

	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/message"
)

// Phase is a set of phases of a Filter.
type Phase uint16

// The phases whose functions may block, when Filter.Blocking names them.
const (
	PhaseBeforeRoute Phase = 1 << iota
	PhaseRequest
	PhaseResponse
)

// Filter is a set of optional functions, one for each phase of an exchange.
// Immutable once it is part of a Snapshot. Its functions run on the exchange's reactor and must return at once, except
// the functions of the phases in Blocking: these run on a worker, which alone owns the exchange meanwhile.
type Filter struct {
	Name string

	// When says for which exchanges the filter is: where it is false none of its functions runs, and a body passes as
	// it comes. It is asked once an exchange, on its reactor, when the first function would run; for a filter that
	// changes what is sent on or answered, before the request is sent on. nil: for all.
	When func(x *Exchange) bool

	// BeforeRoute runs when the head has come, before a route is chosen. Only for filters of a Snapshot.
	BeforeRoute func(x *Exchange) Verdict
	// Request runs when the route is known. Both see the head as it came and may change it.
	Request func(x *Exchange) Verdict
	// UpstreamRequest runs once, before the head is sent on for the first time.
	UpstreamRequest func(x *Exchange)
	// ConnectFailed runs when a connection to a backend failed, before another is tried. After Respond none is. Where
	// two attempts are made at a time (a hedge), and the other one goes on, it does not run.
	ConnectFailed func(x *Exchange, e *Error) Verdict
	// Connected runs when a backend has been given the head: on a connection of the pool, or a fresh connection that
	// may still be connecting. The second one of two attempts at a time is not told of.
	Connected func(x *Exchange)
	// RequestBody gets the body in pieces; what it passes to Emit goes on. in is borrowed until return.
	RequestBody func(x *Exchange, in []byte, end bool) Verdict
	// UpstreamResponse runs when the final head has come from the backend, as it came.
	UpstreamResponse func(x *Exchange)
	// Response runs before the final head is sent to the client, also the head of an answer of the proxy's own.
	Response func(x *Exchange) Verdict
	// ResponseBody gets the body in pieces; what it passes to Emit goes on. in is borrowed until return.
	ResponseBody func(x *Exchange, in []byte, end bool) Verdict
	// Encode runs before the final head is sent to the client, after Response of all filters, unless the answer is a
	// tunnel. end: it has no body. It may change the head, and return the Encoder that the body passes through after
	// ResponseBody of all filters; nil: it passes as it is. After the first Encoder no other filter is asked.
	Encode func(x *Exchange, end bool) Encoder
	// Trailers may change the trailer fields of an answer.
	Trailers func(x *Exchange, h *message.Head)
	// Error runs for a failure that the proxy is about to answer. Next leaves it to the next filter and then to the
	// proxy's page, Respond answers instead, and Resend makes another attempt, after which Error may run again. e is
	// borrowed until return, and of this exchange alone: its Status (400 to 599), Text and Token may be changed, for
	// the filters after this one and the page. Logs keep its Reason.
	Error func(x *Exchange, e *Error) Verdict
	// Log runs last, when all is known, whether there is an access log or not. r is borrowed until return; what is
	// changed in it, access logs get changed.
	Log func(x *Exchange, r *observe.Record)

	// Explain says in a clause what the filter does with the answer to request, whose head alone is known: for `edge
	// explain`. On any goroutine, beside no exchange.
	Explain func(request *message.Head) string

	// Blocking names the phases whose functions may block.
	Blocking Phase

	// NamesMatch says that a text of the filter names match.N, the groups of Route.When (lang.Template.NamesMatch):
	// they are kept for it.
	NamesMatch bool

	gate  gate     // made of When by gated
	owned []string // fields of the request that it sets or removes: trailers have none of them
}

// Own says that f sets or removes these fields of requests: trailers that name them are not sent on. To be called
// before f is part of a Snapshot.
func (f *Filter) Own(names ...string) { f.owned = append(f.owned, names...) }

// judged is one function of a phase that gives a verdict.
type judged struct {
	named[func(x *Exchange) Verdict]
	blocking bool
}

// named is a function of a filter, and the name of that for the log.
type named[F any] struct {
	run  F
	name string
}

type (
	onExchange = func(x *Exchange)
	onBody     = func(x *Exchange, in []byte, end bool) Verdict
	onFailure  = func(x *Exchange, e *Error) Verdict
	onEncode   = func(x *Exchange, end bool) Encoder
	onTrailers = func(x *Exchange, h *message.Head)
	onRecord   = func(x *Exchange, r *observe.Record)
)

// chain is a list of filters, composed by phase.
// Immutable.
type chain struct {
	beforeRoute, request, response []judged
	upstreamRequest, connected     []named[onExchange]
	upstreamResponse               []named[onExchange]
	requestBody, responseBody      []named[onBody]
	connectFailed, onError         []named[onFailure]
	encode                         []named[onEncode]
	trailers                       []named[onTrailers]
	log                            []named[onRecord]
	owned                          []string

	requestGates, responseGates []gate // of requestBody and responseBody, where all of them have one
}

// gate reports whether a filter with a When is for an exchange. nil: it is.
type gate func(x *Exchange) bool

// errBlocking refuses a filter whose Blocking names what it does not have.
var errBlocking = errors.New("Blocking names a phase that the filter has no function for")

// checkFilters returns what is wrong with the first wrong one of a list.
func checkFilters(filters []*Filter) error {
	for i, f := range filters {
		switch {
		case f == nil:
			return fmt.Errorf("%s is nil", f.title(i, len(filters)))
		case f.Blocking&PhaseBeforeRoute != 0 && f.BeforeRoute == nil,
			f.Blocking&PhaseRequest != 0 && f.Request == nil,
			f.Blocking&PhaseResponse != 0 && f.Response == nil:
			return fmt.Errorf("%s: %w", f.title(i, len(filters)), errBlocking)
		}
	}
	return nil
}

// title names f, which may be nil and is filters[i] of n.
func (f *Filter) title(i, n int) string {
	if f == nil || f.Name == "" {
		return fmt.Sprintf("filter %d of %d", i+1, n)
	}
	return fmt.Sprintf("filter %q", f.Name)
}

// compose makes a chain of filters that were checked.
func compose(filters []*Filter) *chain {
	c := &chain{}
	for _, f := range filters {
		c.beforeRoute = addJudged(c.beforeRoute, f, f.BeforeRoute, PhaseBeforeRoute)
		c.request = addJudged(c.request, f, f.Request, PhaseRequest)
		c.response = addJudged(c.response, f, f.Response, PhaseResponse)
		c.upstreamRequest = add(c.upstreamRequest, f, f.UpstreamRequest, f.UpstreamRequest != nil)
		c.connected = add(c.connected, f, f.Connected, f.Connected != nil)
		c.upstreamResponse = add(c.upstreamResponse, f, f.UpstreamResponse, f.UpstreamResponse != nil)
		c.log = add(c.log, f, f.Log, f.Log != nil)
		c.requestBody = add(c.requestBody, f, f.RequestBody, f.RequestBody != nil)
		c.responseBody = add(c.responseBody, f, f.ResponseBody, f.ResponseBody != nil)
		c.connectFailed = add(c.connectFailed, f, f.ConnectFailed, f.ConnectFailed != nil)
		c.encode = add(c.encode, f, f.Encode, f.Encode != nil)
		c.trailers = add(c.trailers, f, f.Trailers, f.Trailers != nil)
		c.onError = add(c.onError, f, f.Error, f.Error != nil)
		c.owned = append(c.owned, f.owned...)
	}
	c.requestGates = gatesOf(filters, func(f *Filter) bool { return f.RequestBody != nil })
	c.responseGates = gatesOf(filters, func(f *Filter) bool { return f.ResponseBody != nil })
	return c
}

func add[F any](list []named[F], f *Filter, run F, on bool) []named[F] {
	if !on {
		return list
	}
	return append(list, named[F]{run, f.Name})
}

func addJudged(list []judged, f *Filter, run func(x *Exchange) Verdict, phase Phase) []judged {
	if run == nil {
		return list
	}
	blocking := f.Blocking&phase != 0
	if open := f.gate; open != nil && !blocking {
		ask := run
		run = func(x *Exchange) Verdict {
			if !open(x) {
				return Next
			}
			return ask(x)
		}
	} else if open != nil { // it is asked on the reactor, so that no worker begins in vain
		list = append(list, judged{named: named[func(x *Exchange) Verdict]{func(x *Exchange) Verdict {
			if !open(x) {
				x.at++ // past the function that may block
			}
			return Next
		}, f.Name}})
	}
	return append(list, judged{named[func(x *Exchange) Verdict]{run, f.Name}, blocking})
}

// gatesMax bounds the filters with a When that may run for an exchange.
const gatesMax = 256

// errGates refuses more than that.
var errGates = fmt.Errorf("more than %d filters have a condition", gatesMax)

// decisions are what Filter.When said of an exchange, by number.
type decisions struct{ asked, held [gatesMax / 64]uint64 }

var decided = NewLocal[decisions]()

// gatedAll returns filters that ask those with a When themselves, which get the numbers from first on, and the number
// after the last one.
func gatedAll(filters []*Filter, first int) (list []*Filter, after int, err error) {
	list = filters
	for i, f := range filters {
		if f.When == nil {
			continue
		}
		if first == gatesMax {
			return nil, 0, errGates
		}
		if &list[0] == &filters[0] {
			list = slices.Clone(filters)
		}
		list[i] = f.gated(first)
		first++
	}
	return list, first, nil
}

// gated returns f with functions that ask When themselves, whose answer has the number n. Functions of the phases that
// judge are left to addJudged.
func (f *Filter) gated(n int) *Filter {
	when, own, word, bit := f.When, *f, n/64, uint64(1)<<(n%64)
	open := func(x *Exchange) bool {
		d := decided.Of(x)
		if d.asked[word]&bit == 0 {
			if when(x) { // where it panics it is asked again, and the exchange fails
				d.held[word] |= bit
			}
			d.asked[word] |= bit
		}
		return d.held[word]&bit != 0
	}
	own.When, own.gate = nil, open
	if f.BeforeRoute == nil && f.Request == nil && f.changes() {
		own.Request = func(*Exchange) Verdict { return Next } // When is asked while the request can be refused: see Ask
	}
	own.UpstreamRequest = onExchangeIf(open, f.UpstreamRequest)
	own.Connected = onExchangeIf(open, f.Connected)
	own.UpstreamResponse = onExchangeIf(open, f.UpstreamResponse)
	own.RequestBody, own.ResponseBody = onBodyIf(open, f.RequestBody), onBodyIf(open, f.ResponseBody)
	own.ConnectFailed, own.Error = onFailureIf(open, f.ConnectFailed), onFailureIf(open, f.Error)
	if run := f.Encode; run != nil {
		own.Encode = func(x *Exchange, end bool) Encoder {
			if !open(x) {
				return nil
			}
			return run(x, end)
		}
	}
	if run := f.Trailers; run != nil {
		own.Trailers = func(x *Exchange, h *message.Head) {
			if open(x) {
				run(x, h)
			}
		}
	}
	if run := f.Log; run != nil {
		own.Log = func(x *Exchange, r *observe.Record) {
			if open(x) {
				run(x, r)
			}
		}
	}
	return &own
}

// changes reports whether f is there for what is sent on, or for the answer.
func (f *Filter) changes() bool {
	return f.UpstreamRequest != nil || f.RequestBody != nil || f.UpstreamResponse != nil || f.Response != nil ||
		f.ResponseBody != nil || f.Encode != nil || f.Trailers != nil
}

func onExchangeIf(open gate, run onExchange) onExchange {
	if run == nil {
		return nil
	}
	return func(x *Exchange) {
		if open(x) {
			run(x)
		}
	}
}

func onBodyIf(open gate, run onBody) onBody {
	if run == nil {
		return nil
	}
	return func(x *Exchange, in []byte, end bool) Verdict {
		if !open(x) {
			x.Emit(in)
			return Next
		}
		return run(x, in, end)
	}
}

func onFailureIf(open gate, run onFailure) onFailure {
	if run == nil {
		return nil
	}
	return func(x *Exchange, e *Error) Verdict {
		if !open(x) {
			return Next
		}
		return run(x, e)
	}
}

// gatesOf returns the gates of the filters that has names, nil where one of them has none.
func gatesOf(filters []*Filter, has func(f *Filter) bool) (list []gate) {
	for _, f := range filters {
		switch {
		case !has(f):
		case f.gate == nil:
			return nil
		default:
			list = append(list, f.gate)
		}
	}
	return list
}

// filtersRequest reports whether c has a filter for the body of the request of x, filtersAnswer for the body of its
// answer.
func (c *chain) filtersRequest(x *Exchange) bool {
	return len(c.requestBody) > 0 && (c.requestGates == nil || anyOpen(x, c.requestGates))
}

func (c *chain) filtersAnswer(x *Exchange) bool {
	return len(c.responseBody) > 0 && (c.responseGates == nil || anyOpen(x, c.responseGates))
}

// anyOpen reports whether one of the gates is open. A gate that panics counts as open: its filter asks it again, and
// the exchange ends.
func anyOpen(x *Exchange, gates []gate) (open bool) {
	defer func() {
		if p := recover(); p != nil {
			open = true
		}
	}()
	return slices.ContainsFunc(gates, func(g gate) bool { return g(x) })
}

// judgeBy runs the filters of list, filters of the step, from x.at on, until one says something else than Next or may
// block, which is returned instead of run. A panic is the verdict broken.
func judgeBy(x *Exchange, list []judged) (v Verdict, blocking *judged) {
	defer func() {
		if p := recover(); p != nil {
			x.caught(&x.Request, p, list[x.at-1].name)
			v = broken
		}
	}()
	for int(x.at) < len(list) {
		f := &list[x.at]
		x.at++
		if f.blocking {
			return Next, f
		}
		if v = f.run(x); v.kind != next {
			return v, nil
		}
	}
	return Next, nil
}

// tell runs the filters of list, each by call. A panic costs those after it their turn, and the result is false.
func tell[F any](x *Exchange, list []named[F], call func(F)) (whole bool) {
	i := 0
	defer func() {
		if p := recover(); p != nil {
			x.caught(&x.Request, p, list[i].name)
		}
	}()
	for ; i < len(list); i++ {
		call(list[i].run)
	}
	return true
}

// filters returns the chain of the route, or the chain of the snapshot where no route was chosen.
func (x *Exchange) filters() *chain {
	if x.route != nil {
		return x.route.chain
	}
	return x.snapshot.chain
}
