package server

import (
	"cmp"
	"crypto/tls"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/filter/rules"
	"github.com/edge-proxy/edge/internal/forward/sticky"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/route"
	"github.com/edge-proxy/edge/internal/route/target"
	"github.com/edge-proxy/edge/internal/server/dynamic"
	"github.com/edge-proxy/edge/internal/server/tlsrules"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/cache"
	"github.com/edge-proxy/edge/session"
)

// DryRequest is a request for DryRun.
type DryRequest struct {
	Listener   *config.Listener // of the configuration: that it comes by
	Wire       []byte           // its head, in HTTP/1.1 with the empty line at the end
	Body       []byte           // whole; empty: it has none
	Client     netip.AddrPort   // of the connection; invalid: it is a Unix socket
	Port       uint16           // of the listener that the client has come to; 0: a Unix socket
	Secured    bool             // by TLS
	ServerName string           // that its handshake asked for
	Verified   bool             // the client has shown a certificate that leads to a trusted one
	Shake      *DryHandshake    // of its connection; nil: that is not secured
	Cache      *cache.Zone      // what it has for the request is a part of the result; nil: no cache is asked

	Stopwatch *lang.Stopwatch // measures clauses; nil: none is measured
	// Look is called with the request as texts of the language see it, once: after the rules of the listener and those
	// for all, when the route is known, or before, where it is answered before. nil: not called.
	Look func(x *lang.X)
}

// DryResult is what becomes of a DryRequest.
type DryResult struct {
	Routes []route.Explained[*config.Route] // nil: it was answered before a route was looked for
	Path   string                           // that the routes saw
	Route  *config.Route                    // that takes it; nil: none
	Sent   []byte                           // its head as it leaves for a backend, in HTTP/1.1; nil: edge answers
	GRPC   bool                             // it goes to the backend as gRPC

	// Backend is the index of the backend of its upstream that its cookie or its key leads to while all are up; -1
	// where neither does.
	Backend int
	Cookie  CookieVerdict // of the cookie that keeps clients at backends

	// Dest is where the request says it goes, where dest has variables: "http://host:port", or the text that is none.
	// DestRefused is why it may not, "" when it may: then the addresses of the name are judged when they are looked up.
	Dest, DestRefused string

	// Shares is the part of the requests that each backend of its upstream gets from this instance while all are up and
	// equally fast, and neither a cookie nor a key decides.
	Shares []float64
	To     *config.Upstream // that it is sent to; nil: none, or where dest has variables
	Rules  []DryRule        // that were asked, in their order
	Unused []bool           // says of each backend whether this instance does not use it: another zone or subset

	Client netip.Addr // the client, as a trusted proxy names it; invalid: a Unix socket

	Defined *config.Definition // the one of [destinations] that takes it, which is not asked; nil: none does

	Cache  *cache.Explained // what the cache before To or Defined does with it; nil: it is not asked
	Purges bool             // the cache answers, since the method is PURGE

	Status int               // of the answer of edge's own; 0 where the request is sent, or Defined takes it
	Fields map[string]string // of that answer, by their names
	Reason string            // of its record in the access log; "": it is no failure
	Text   string            // what it says of the failure: one sentence
}

// DryRule is a rule that a DryRequest was held against.
type DryRule struct {
	Rule *config.Rule
	rules.Asked
}

// CookieVerdict says what a request with the cookie of a sticky upstream is worth.
type CookieVerdict uint8

// The verdicts.
const (
	CookieNone    CookieVerdict = iota // the request has none, or the upstream sets none
	CookieGood                         // it names DryResult.Backend
	CookieBad                          // it has ended, or names none of the backends, or is not signed by a secret here
	CookieUnknown                      // it is signed by a secret that a process drew
)

// DryRun finds out what a server of cfg does with a request: the proxy takes it with the listeners and routes of cfg,
// and nothing is sent. No address is opened, no backend looked up, no log written. The filters of a program do not run.
// The error says what is wrong with cfg; a request that cannot be decoded is a result.
func DryRun(cfg *config.Config, q *DryRequest) (*DryResult, error) {
	e, err := engine.New(engine.Options{Reactors: 1})
	if err != nil {
		return nil, err
	}
	defer e.Stop()
	run := &dryRun{request: q, routes: served(cfg), zone: cfg.Global.Zone, result: DryResult{Backend: -1}}
	snapshot, err := run.snapshot(cfg)
	if err != nil {
		return nil, err
	}
	p := proxy.New(e, snapshot)
	p.SetName(viaOf(cfg))
	requests := proxyListener(q.Listener, []proxy.AccessLog{run})
	guardBy(requests, handshakeRules(cfg, q.Listener, nil, func(string) tlsrules.Certificate { return nil }))
	service := p.Service(requests)
	e.Start()
	done := make(chan struct{})
	e.Reactors()[0].Post(&engine.Task{Run: func(r *engine.Reactor) {
		defer close(done)
		run.take(r, service)
	}})
	<-done
	if run.explainErr != nil {
		return nil, run.explainErr
	}
	return &run.result, nil
}

// leaves reports whether something else than edge answers.
func (r *DryResult) leaves() bool { return r.Sent != nil || r.Defined != nil }

// dryRun is the client of a DryRequest, its access log, and what it leads to.
// Owned by the reactor between take and its end.
type dryRun struct {
	session.NopStream
	request *DryRequest
	routes  []*config.Route // as the snapshot has them
	zone    string          // where the process runs
	result  DryResult

	looked bool // DryRequest.Look was called

	explainErr error
}

// snapshot returns the routes of a server of cfg, which lead to the ends of d.
func (d *dryRun) snapshot(cfg *config.Config) (*proxy.Snapshot, error) {
	said := choicesOf(cfg)
	p := &routes{
		shared: &shared{reload: &reload{config: cfg}}, choices: &said, ends: &dryEnds{d, cfg, said},
		watch: func(r *config.Rule, asked rules.Asked) { d.result.Rules = append(d.result.Rules, DryRule{r, asked}) },
	}
	p.first = []*proxy.Filter{{Name: "dry run begins", BeforeRoute: func(x *proxy.Exchange) proxy.Verdict {
		proxy.View(x).State.Stopwatch = d.request.Stopwatch
		return proxy.Next
	}}}
	p.last = []*proxy.Filter{{
		Name: "dry run", BeforeRoute: d.explain, Request: d.look,
		Error: func(_ *proxy.Exchange, e *proxy.Error) proxy.Verdict {
			d.result.Text = e.Text
			return proxy.Next
		},
		Log: func(x *proxy.Exchange, _ *observe.Record) { d.look(x) },
	}}
	routes, named, err := p.all(d.routes, p.leading)
	if err != nil {
		return nil, err
	}
	return p.snapshot(d.routes, routes, d.request.Listener, named)
}

func (d *dryRun) look(x *proxy.Exchange) proxy.Verdict {
	if look := d.request.Look; look != nil && !d.looked {
		d.looked = true
		look(proxy.View(x))
	}
	return proxy.Next
}

// dryEnds are the ends of routes in a dry run.
type dryEnds struct {
	*dryRun
	config  *config.Config
	choices choices
}

// filter returns a filter that does nothing.
func (d *dryEnds) filter(name string) (*proxy.Filter, error) { return &proxy.Filter{Name: name}, nil }

// build returns nil: nothing is counted.
func (d *dryEnds) build(string) *plugin.Build { return nil }

// destination takes what the destination of that name would.
func (d *dryEnds) destination(name string) (proxy.Destination, error) {
	taken := proxy.Answer(204, "", "")
	return proxy.DestinationFunc(func(*proxy.Exchange) proxy.Destination {
		d.result.Defined = d.config.Find(plugin.Destinations, name)
		return taken
	}), nil
}

// leadTo shows what c sends to u.
func (d *dryEnds) leadTo(u *config.Upstream, c *config.Route, _ bool) (proxy.Destination, error) {
	set, index := d.membersOf(u)
	// All have the weight 0, or are in other zones.
	if len(index) == 0 && len(u.Discovery.Sources) == 0 && u.Failover == "" {
		return proxy.DestinationFunc(func(*proxy.Exchange) proxy.Destination { return nil }), nil
	}
	by := chooserOf(u, c, set, index, d.config.Language.Scope())
	choose := func(x *proxy.Exchange) string {
		if d.result.Backend, d.result.Cookie = by.pick(x); len(u.Backends) == 0 {
			return ""
		}
		return u.Backends[max(d.result.Backend, 0)].String()
	}
	return d.show(u, choose, u.TLS.On, func() {
		d.result.To = u
		d.result.share(u, set, index)
	}), nil
}

// show notes the head that u is sent at the address that choose returns, and calls sent.
func (d *dryEnds) show(
	u *config.Upstream, choose func(x *proxy.Exchange) string, secured bool, sent func(),
) proxy.Destination {
	o := &proxy.ToOptions{Host: hostOf(u), NoVia: !u.Via}
	return proxy.Show(choose, secured, o, func(x *proxy.Exchange, call bool) {
		d.result.Sent, d.result.GRPC = h1.AppendRequest(nil, &x.Request), call
		sent()
	})
}

// share notes which of the backends of u get how much: see membersOf.
func (r *DryResult) share(u *config.Upstream, set *backend.Set, index []int) {
	r.Shares, r.Unused = make([]float64, len(u.Backends)), make([]bool, len(u.Backends))
	for i := range r.Unused {
		r.Unused[i] = !slices.Contains(index, i)
	}
	for slot, share := range set.Shares() {
		r.Shares[index[slot]] = share
	}
}

// DryRoute returns the upstream that a connection of the TCP service l leads to, nil where it leads nowhere, and the
// number of the route that takes it, below 0 where none does. name is what its client asks for in a handshake, if any;
// client is invalid for a Unix socket.
func DryRoute(cfg *config.Config, l *config.Listener, client netip.AddrPort, name string) (*config.Upstream, int) {
	d := &tlsconn.Digest{Peer: poller.Addr{IP: client}}
	for i := range l.Routes {
		if r := &l.Routes[i]; r.When == nil || tlsrules.HoldsFor(r.When, d, name, nil, l.Name) {
			return &cfg.Upstreams[r.Upstream], i
		}
	}
	if to := cfg.Relays[l.Name].Upstream; to >= 0 {
		return &cfg.Upstreams[to], -1
	}
	return nil, -1
}

// DryRelay returns where a connection of the listener l that leads to u goes: Backend, Shares and Unused. name is what
// its client asks for in a handshake, if any; client is invalid for a Unix socket.
func DryRelay(cfg *config.Config, l *config.Listener, u *config.Upstream, client netip.Addr, name string) *DryResult {
	d := &dryRun{zone: cfg.Global.Zone, result: DryResult{Backend: -1}}
	set, index := d.membersOf(u)
	d.result.share(u, set, index)
	if by := chooserOf(u, &config.Route{}, set, index, cfg.Language.Scope()); by.keys != nil {
		of := &tlsconn.Digest{Peer: poller.Addr{IP: netip.AddrPortFrom(client, 0)}, ServerName: name}
		if key, ok := connectionKey(balance.ByName(u.LoadBalancing), u.ConnectionKey, of, l.Name); ok {
			d.result.Backend = by.picker.Pick(by.view, nil, &balance.Request{Key: key, Keyed: true})
		}
	}
	return &d.result
}

// dryCache stands in for the cache of a route in a dry run: it notes what the cache would do with a request, which goes
// on.
type dryCache struct {
	onward proxy.Destination
	route  cache.Route
	run    *dryRun
}

var _ proxy.Front = (*dryCache)(nil)

// Open notes what the cache would do.
func (d *dryCache) Open(x *proxy.Exchange, _ session.Receiver) proxy.Opening {
	purging, refusal := d.route.Purging(x)
	switch {
	case !purging:
		d.run.result.Cache = d.route.Explain(x, d.run.request.Cache)
		return proxy.Opening{Onward: true}
	case refusal == nil:
		refusal = new(proxy.Respond(200, ""))
	}
	d.run.result.Purges = true
	return proxy.Opening{Verdict: refusal}
}

// before returns to with a stand-in for the cache before it.
func (d *dryEnds) before(to proxy.Destination, c *config.Route) proxy.Destination {
	if cached, on := d.choices.routeOf(d.config, c); on {
		return &dryCache{to, cached, d.dryRun}
	}
	return to
}

// Onward returns the destination that shows the request.
func (d *dryCache) Onward() proxy.Destination { return d.onward }

// OnPassed does nothing: there is no answer.
func (d *dryCache) OnPassed(*proxy.Exchange) {}

// lead shows what is sent to the destination that a request of r names, or refuses it. No name is looked up.
func (d *dryEnds) lead(r *proxy.Route, c *config.Route, u *config.Upstream) error {
	allowed, err := allowedBy(u)
	if err != nil {
		return err
	}
	r.GRPC = proxy.Switch(c.GRPC)
	r.To = proxy.DestinationFunc(func(x *proxy.Exchange) proxy.Destination {
		text := string(u.Named.Append(nil, &x.Request, x.Path(), proxy.View(x)))
		to, err := target.Parse(text)
		if err == nil {
			text = to.String()
			err = allowed.Check(&to)
		}
		d.result.Dest = text
		if err != nil {
			d.result.DestRefused = err.Error()
			return dynamic.Refused
		}
		choose := func(*proxy.Exchange) string { return to.Address() }
		return d.show(u, choose, to.Scheme == target.HTTPS, func() {})
	})
	return nil
}

// membersOf makes a set of the backends of u that this instance uses, as if all were up. index has their indices in u
// by slot.
func (d *dryRun) membersOf(u *config.Upstream) (set *backend.Set, index []int) {
	set = backend.NewSet()
	set.SetPolicy(policyOf(u, d.zone, instanceOf()))
	somewhere := []poller.Addr{{IP: netip.AddrPortFrom(netip.IPv4Unspecified(), 0)}} // of a name
	list := specsOf(u)
	for i := range list {
		list[i].Addrs = somewhere
	}
	set.Update(list)
	all := set.Members()
	for i := range list {
		if len(index) < len(all) && all[len(index)].Address() == list[i].Address {
			index = append(index, i)
		}
	}
	return set, index
}

// chooser picks by the cookie and the key of a request, while all backends are up.
// Owned by the reactor of the dry run.
type chooser struct {
	cookie string         // its name; "": there is none
	sticky *sticky.Cookie // nil: the process draws the secret

	keys   *keys // nil: the method does not look at a key
	picker balance.Picker
	view   *balance.View
	index  []int // of backends, by the slots of their set
}

func chooserOf(
	u *config.Upstream, c *config.Route, set *backend.Set, index []int, scope *lang.Scope,
) (by chooser) {
	by.cookie, by.index = u.Sticky.Cookie, index
	if m := (&members{set: set}); len(u.Sticky.Secrets) > 0 {
		_ = m.setCookie(u, "") // config has checked them
		by.sticky = m.cookie
	}
	method := balance.ByName(cmp.Or(c.LoadBalancing, u.LoadBalancing))
	if method == nil || method.Hash == nil {
		return by // one of [balance_methods] is not asked
	}
	backends, first := make([]balance.Backend, len(u.Backends)), u.FirstTier()
	for _, i := range index {
		if b := &u.Backends[i]; b.Tier == first {
			backends[i] = balance.Backend{Name: b.String(), Weight: b.Weight}
		}
	}
	by.keys, by.picker = newKeys(1, method, cmp.Or(c.HashKey, u.HashKey), scope), method.New(0, 1)
	by.view = balance.NewView(backends, nil)
	if method.Prepare != nil {
		method.Prepare(by.view)
	}
	return by
}

// pick returns the index of the backend that the cookie of x leads to, else its key; -1 where neither does.
func (c *chooser) pick(x *proxy.Exchange) (index int, said CookieVerdict) {
	if value := x.Request.PeekCookie(c.cookie); value != nil {
		if said = CookieUnknown; c.sticky != nil {
			m, _ := c.sticky.Find(value, time.Now())
			if m != nil {
				return c.index[m.Slot()], CookieGood
			}
			said = CookieBad
		}
	}
	if c.keys == nil {
		return -1, said
	}
	key, ok := c.keys.of(x)
	if !ok {
		return -1, said
	}
	return c.picker.Pick(c.view, nil, &balance.Request{Key: key, Keyed: true}), said
}

// explain notes what becomes of the routes. What refuses the request then says itself why.
func (d *dryRun) explain(x *proxy.Exchange) proxy.Verdict {
	all, path, err := proxy.ExplainRoutes(x)
	if err != nil {
		return proxy.Next
	}
	d.result.Path = path
	for i, one := range all {
		d.result.Routes = append(d.result.Routes, route.Explained[*config.Route]{
			Rule: one.Rule, Value: d.routes[i], Why: one.Why, Below: one.Below, Condition: one.Condition,
			Clauses: one.Clauses, Weight: one.Weight, All: one.All,
		})
		if one.Why == route.Takes {
			d.result.Route = d.routes[i]
		}
	}
	return proxy.Next
}

// errParked is an answer that did not come at once, where nothing can keep it waiting.
var errParked = errors.New("dry run: the request waits")

// take gives the request to the proxy, as a session would.
func (d *dryRun) take(r *engine.Reactor, service *proxy.Service) {
	var decoder h1.Decoder
	var h message.Head
	limits := sessionOptions(d.request.Listener).Limits
	decoder.InitRequests(&limits)
	_, event, _, err := decoder.Next(slices.Clone(d.request.Wire), &h)
	if err == nil && event&h1.HeadDone == 0 {
		err = errParked
	}
	if err != nil {
		d.refuse(r, service, err)
		return
	}
	to, body := service.Accept(r, d), d.request.Body
	to.OnHead(d, &h, len(body) == 0)
	if len(body) > 0 && !d.result.leaves() && d.result.Status == 0 { // it is waited for
		to.OnData(d, body, true)
	}
	if !d.result.leaves() && d.result.Status == 0 {
		d.explainErr = errParked
	}
}

// refuse answers a request that cannot be decoded, as a session would.
func (d *dryRun) refuse(r *engine.Reactor, service *proxy.Service, err error) {
	status := 400
	if malformed := (*h1.Error)(nil); errors.As(err, &malformed) {
		status = malformed.Status
	}
	answer := message.Head{Status: uint16(status)}
	service.Refusal(r, &answer, err)
	_ = d.SendHead(&answer, true)
	d.result.Text = err.Error()
	service.Refused(r, d.Peer(), status, err)
}

// SendHead takes the answer. The answer to a request that would be sent says nothing.
func (d *dryRun) SendHead(h *message.Head, _ bool) error {
	if d.result.leaves() || h.Status < 200 {
		return nil
	}
	d.result.Status, d.result.Fields = int(h.Status), make(map[string]string)
	for i := range h.Fields {
		if !h.Fields[i].Dropped() {
			d.result.Fields[string(h.Name(i))] = string(h.Value(i))
		}
	}
	return nil
}

// Append takes the record of the access log.
func (d *dryRun) Append(r *observe.Record) {
	d.result.Reason, d.result.Client = r.Reason, r.ClientIP
	if !d.result.leaves() && d.result.Status == 0 { // a rule ended it without an answer
		d.result.Status = r.Status
	}
}

// Local is the address that the client has come to.
func (d *dryRun) Local() poller.Addr {
	return poller.Addr{IP: netip.AddrPortFrom(netip.IPv6Unspecified(), d.request.Port)}
}

// Peer is the client.
func (d *dryRun) Peer() poller.Addr { return poller.Addr{IP: d.request.Client} }

// TLS tells of the connection of the client.
func (d *dryRun) TLS() *tlsconn.Digest {
	if !d.request.Secured {
		return nil
	}
	digest := &tlsconn.Digest{ServerName: d.request.ServerName, Verified: d.request.Verified,
		Version: tls.VersionTLS13, Peer: d.Peer()}
	if d.request.Shake != nil {
		digest.Asked = d.request.Shake.Asked
	}
	return digest
}
