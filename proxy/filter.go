package proxy

import (
	"errors"
	"fmt"
	"slices"

	"github.com/edge-proxy/edge/message"
)

// Verdict is what a filter decides: Next, Respond or Park. One of Respond is also what a Destination that answers by
// itself returns as its error.
// Immutable.
type Verdict struct {
	kind        verdictKind
	status      int
	body        string
	contentType string   // of body; "": plain text
	fields      []string // further ones of the answer: names and values in turn
}

type verdictKind uint8

const (
	next verdictKind = iota
	respond
	park
)

// The verdicts without a parameter.
var (
	Next = Verdict{kind: next} // go on
	Park = Verdict{kind: park} // wait for Ref.Resume, or for the client's end, whichever comes first
)

// Respond answers with status and a plain text instead of going on.
func Respond(status int, body string) Verdict {
	return Verdict{kind: respond, status: status, body: body}
}

// With returns v with a further field of the answer. Name and value must be valid: message.ValidName, ValidValue.
func (v Verdict) With(name, value string) Verdict {
	v.fields = append(slices.Clip(v.fields), name, value)
	return v
}

// Error makes a Verdict what Destination.Open may return.
func (v Verdict) Error() string { return "the destination answers by itself" }

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
// those of the phases in Blocking: these run on a worker, which alone owns the exchange meanwhile.
type Filter struct {
	Name string

	// BeforeRoute runs when the head has come, before a route is chosen. Only for filters of a Snapshot.
	BeforeRoute func(x *Exchange) Verdict
	// Request runs when the route is known. Both see the head as it came and may change it.
	Request func(x *Exchange) Verdict
	// UpstreamRequest runs once, before the head is sent on for the first time.
	UpstreamRequest func(x *Exchange)
	// ConnectFailed runs when a connection to a backend failed, before another is tried.
	ConnectFailed func(x *Exchange, cause error)
	// Connected runs when a backend has been given the head: on a connection of the pool, or a fresh one that may
	// still be connecting.
	Connected func(x *Exchange)
	// RequestBody gets the body in pieces; what it passes to Emit goes on. in is borrowed until return.
	RequestBody func(x *Exchange, in []byte, end bool) Verdict
	// UpstreamResponse runs when the final head has come from the backend, as it came.
	UpstreamResponse func(x *Exchange)
	// Response runs before the final head is sent to the client, also that of an answer of the proxy's own.
	Response func(x *Exchange) Verdict
	// ResponseBody gets the body in pieces; what it passes to Emit goes on. in is borrowed until return.
	ResponseBody func(x *Exchange, in []byte, end bool) Verdict
	// Trailers may change the trailer fields of an answer.
	Trailers func(x *Exchange, h *message.Head)
	// Error runs when the proxy is about to answer a failure with status.
	Error func(x *Exchange, status int)
	// Log runs last, when all is known.
	Log func(x *Exchange)

	// Blocking names the phases whose functions may block.
	Blocking Phase

	owned []string // fields of the request that it sets or removes: trailers have none of them
}

// judged is one function of a phase that gives a verdict.
type judged struct {
	run      func(x *Exchange) Verdict
	blocking bool
}

type (
	onExchange = func(x *Exchange)
	onBody     = func(x *Exchange, in []byte, end bool) Verdict
)

// chain is a list of filters, composed by phase.
// Immutable.
type chain struct {
	beforeRoute, request, response []judged
	upstreamRequest, connected     []onExchange
	upstreamResponse, log          []onExchange
	requestBody, responseBody      []onBody
	connectFailed                  []func(x *Exchange, cause error)
	trailers                       []func(x *Exchange, h *message.Head)
	onError                        []func(x *Exchange, status int)
	owned                          []string
}

// errBlocking refuses a filter whose Blocking names what it does not have.
var errBlocking = errors.New("Blocking names a phase that the filter has no function for")

func compose(filters []*Filter) (*chain, error) {
	c := &chain{}
	for _, f := range filters {
		if f.Blocking&PhaseBeforeRoute != 0 && f.BeforeRoute == nil ||
			f.Blocking&PhaseRequest != 0 && f.Request == nil ||
			f.Blocking&PhaseResponse != 0 && f.Response == nil {
			return nil, fmt.Errorf("filter %q: %w", f.Name, errBlocking)
		}
		c.beforeRoute = addJudged(c.beforeRoute, f.BeforeRoute, f.Blocking&PhaseBeforeRoute != 0)
		c.request = addJudged(c.request, f.Request, f.Blocking&PhaseRequest != 0)
		c.response = addJudged(c.response, f.Response, f.Blocking&PhaseResponse != 0)
		c.upstreamRequest = add(c.upstreamRequest, f.UpstreamRequest, f.UpstreamRequest != nil)
		c.connected = add(c.connected, f.Connected, f.Connected != nil)
		c.upstreamResponse = add(c.upstreamResponse, f.UpstreamResponse, f.UpstreamResponse != nil)
		c.log = add(c.log, f.Log, f.Log != nil)
		c.requestBody = add(c.requestBody, f.RequestBody, f.RequestBody != nil)
		c.responseBody = add(c.responseBody, f.ResponseBody, f.ResponseBody != nil)
		c.connectFailed = add(c.connectFailed, f.ConnectFailed, f.ConnectFailed != nil)
		c.trailers = add(c.trailers, f.Trailers, f.Trailers != nil)
		c.onError = add(c.onError, f.Error, f.Error != nil)
		c.owned = append(c.owned, f.owned...)
	}
	return c, nil
}

func add[F any](list []F, f F, on bool) []F {
	if !on {
		return list
	}
	return append(list, f)
}

func addJudged(list []judged, f func(x *Exchange) Verdict, blocking bool) []judged {
	if f == nil {
		return list
	}
	return append(list, judged{f, blocking})
}
