package builtin

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/internal/filter"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/proxy"
)

// Fault is the table of a filter of the type "fault". Shares are texts such as "0.1%".
//
//	[filters.chaos]
//	type      = "fault"
//	when      = 'header.x-chaos == "on"'
//	abort     = "1%"
//	status    = 503
//	delay     = "10%"
//	delay_for = "2s"
//
// It is no load generator, and nothing of it belongs into a configuration that is not for a test: the log has a line
// when a configuration with it is loaded.
//
// # What happens
//
// A request is delayed, aborted, both, or neither: the two shares are drawn independently of each other, by chance or
// by a key, whose requests then always fare alike, on every server and after a restart. A delay comes first. An aborted
// request is answered with a status or, with cut, by the end of its connection; a backend never sees it.
//
// A filter is safe for all reactors. A delayed request is parked with a timer of its reactor: see filter.DelayLine. A
// request that nothing happens to costs a random number or the hash of its key, and no allocation.
//
// So many requests are delayed at a time as delay_most says. Further ones are not delayed, and counted.
type Fault struct {
	Abort  string `edge:"abort" doc:"Share of requests that are aborted." default:"0%" example:"0.1%"`
	Status int    `edge:"status" doc:"Status of the answer to aborted requests." default:"503" min:"400" max:"599"`
	Cut    bool   `edge:"cut" doc:"Abort without an answer: close the connection; in HTTP/2, reset the stream."`

	Delay    string        `edge:"delay" doc:"Share of requests that are delayed." default:"0%" example:"10%"`
	DelayFor time.Duration `edge:"delay_for" doc:"Length of a delay." default:"1s" min:"1ms" max:"10m" example:"200ms"`

	DelayMost int `edge:"delay_most" doc:"Largest number of delayed requests." default:"1000" min:"1" max:"100000"`

	Key *lang.Template `edge:"key" doc:"Requests of one key share an outcome; default: random." example:"{client.ip}"`
}

// Check finds what is no share, and a filter that would do nothing.
func (c *Fault) Check(r *plugin.Report) {
	abort, ok := parseShare(c.Abort)
	delayed, okay := parseShare(c.Delay)
	if !ok {
		r.At("abort").Errorf(`write "0.1%", from "0%" to "100%"`, "%q is no share", c.Abort)
	}
	if !okay {
		r.At("delay").Errorf(`write "0.1%", from "0%" to "100%"`, "%q is no share", c.Delay)
	}
	if ok && okay && abort+delayed == 0 {
		r.At("abort").Errorf(`say abort = "1%" or delay = "1%"`, "the filter would do nothing")
	}
}

func init() {
	plugin.Register(plugin.Filters, "fault", "Fails and delays a share of requests, for tests.", NewFault)
}

// faults is a filter of this type. Safe for the reactors of a server.
type faults struct {
	abort, delay share
	delayFor     time.Duration
	key          *lang.Template // nil: by chance
	held         *filter.DelayLine
	abortion     proxy.Verdict

	aborted, delayed, undelayed *plugin.Counter
}

// NewFault makes a filter of c.
func NewFault(c *Fault, b *plugin.Build) (*proxy.Filter, error) {
	f := &faults{
		delayFor: c.DelayFor, key: c.Key, held: filter.NewDelayLine(c.DelayMost),
		aborted: b.Counter("aborted"), delayed: b.Counter("delayed"), undelayed: b.Counter("undelayed"),
	}
	f.abort, _ = parseShare(c.Abort)
	f.delay, _ = parseShare(c.Delay)
	f.abortion = proxy.Fail(proxy.NewError(proxy.Error{
		Kind: "fault", From: proxy.SideProxy, Status: c.Status, Token: "proxy_internal_response",
		Silent: c.Cut, Text: "This failure was made for a test.",
	}))
	b.Log().Warn("a filter makes requests fail on purpose", "abort", c.Abort, "delay", c.Delay)
	made := &proxy.Filter{Request: f.request, NamesMatch: f.key != nil && f.key.NamesMatch()}
	if f.delay > 0 {
		made.Log = func(x *proxy.Exchange, _ *observe.Record) { f.held.Leave(x) }
	}
	return made, nil
}

func (f *faults) request(x *proxy.Exchange) proxy.Verdict {
	v := proxy.Next
	drawn := f.draw(x)
	if f.abort.has(uint32(drawn >> 32)) {
		f.aborted.Add(x)
		v = f.abortion
	}
	if f.delay.has(uint32(drawn)) {
		if park, ok := f.held.Hold(x, f.delayFor, v); ok {
			f.delayed.Add(x)
			return park
		}
		f.undelayed.Add(x)
	}
	return v
}

// draw returns two numbers of 32 bits: of chance, or of the key.
func (f *faults) draw(x *proxy.Exchange) uint64 {
	if f.key == nil {
		return rand.Uint64()
	}
	// FNV-1a, which is the same everywhere, and the last step of MurmurHash3, which spreads it over all bits.
	h := uint64(14695981039346656037)
	for _, c := range filter.TextOf(x, f.key) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// share is a part of all numbers of 32 bits: those below it.
type share uint64

func (s share) has(n uint32) bool { return uint64(n) < uint64(s) }

func parseShare(text string) (_ share, ok bool) {
	number, ok := strings.CutSuffix(strings.TrimSpace(text), "%")
	percent, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if !ok || err != nil || !(percent >= 0 && percent <= 100) {
		return 0, false
	}
	return share(math.Round(percent / 100 * (1 << 32))), true
}
