package explain

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/route/target"
	"github.com/edge-proxy/edge/internal/server"
	"github.com/edge-proxy/edge/lang"
)

// Explain says what a server of cfg does with a request. The error says what is wrong with what was asked. cfg is not
// changed.
func Explain(cfg *config.Config, ask *Ask) (*Answer, error) {
	q, err := parse(ask)
	if err != nil {
		return nil, err
	}
	a := &Answer{
		Request: q.Request, OtherListeners: []Other{}, Fields: []string{}, OtherRoutes: []Other{}, Rules: []Rule{},
		Steps: []Step{}, Sent: []string{}, Settings: []config.Setting{}, Log: []string{}, Notes: []string{},
	}
	if q.Scheme == "tcp" {
		a.relay(cfg, q)
		return a, nil
	}
	in, others, note := q.choose(cfg.Listeners)
	a.OtherListeners = append(a.OtherListeners, others...)
	if note != "" {
		a.Notes = append(a.Notes, note)
	}
	if in.listener == nil {
		a.Why = "no listener takes it: the connection is refused, or another program answers"
		return a, nil
	}
	l := in.listener
	a.Listener = &Listener{
		Name: l.Name, At: l.Pos.FileLine(), Address: in.address.Text, TLS: l.TLS.String(), SNI: q.serverName(),
	}
	dry := q.arriveAt(cfg, &in)
	dry.Stopwatch = ask.Stopwatch
	if dry.Shake != nil {
		a.Handshake = handshakeOf(dry.Shake)
		if dry.Shake.Denied {
			a.Why = "a rule denies the handshake: there is no request"
			return a, nil
		}
		if u := dry.Shake.Passed; u != nil {
			s := &steps{places: cfg.Places, list: []Step{}}
			s.connection(l)
			a.passed(cfg, q, s, l, u)
			return a, nil
		}
	}
	if dry.Verified {
		a.note("the listener demands a certificate: it is explained as if the client had shown a valid one")
	}
	q.noteClient(a, len(l.Believed.Trusted.Networks) > 0 || l.Believed.Trusted.Unix)
	run, err := server.DryRun(cfg, dry)
	if err != nil {
		return nil, err
	}
	a.fill(cfg, q, l, run)
	return a, nil
}

// arriveAt returns the request as it comes to an address, after the handshake with a server of cfg.
func (q *asked) arriveAt(cfg *config.Config, in *place) *server.DryRequest {
	l := in.listener
	dry := &server.DryRequest{
		Listener: l, Wire: q.wire(), Body: []byte(q.body), Secured: q.Scheme == "https",
		ServerName: q.serverName(), Port: uint16(in.address.Port),
	}
	if in.address.Network != "unix" {
		dry.Client = netip.AddrPortFrom(q.client, 0)
	}
	if dry.Secured {
		dry.Shake = server.DryShake(cfg, l, dry.Client, dry.ServerName)
		dry.Verified = dry.Shake.Require
	}
	return dry
}

// errNoListener is a request that comes nowhere.
var errNoListener = errors.New("no listener of the configuration takes the request")

// arrive returns the request as it comes to a server of cfg.
func arrive(cfg *config.Config, ask *Ask) (*server.DryRequest, error) {
	q, err := parse(ask)
	if err != nil {
		return nil, err
	}
	in, _, _ := q.choose(cfg.Listeners)
	if in.listener == nil || q.Scheme == "tcp" {
		return nil, errNoListener
	}
	return q.arriveAt(cfg, &in), nil
}

// Look gives look the request as texts of the language see it in a server of cfg: with the listener and the route that
// take it, and with what the rules before the route have made of it. The error says what is wrong with what was asked.
func Look(cfg *config.Config, ask *Ask, look func(x *lang.X)) error {
	dry, err := arrive(cfg, ask)
	if err != nil {
		return err
	}
	looked := false
	dry.Look = func(x *lang.X) {
		looked = true
		x.State.Stopwatch = ask.Stopwatch
		look(x)
	}
	run, err := server.DryRun(cfg, dry)
	if err == nil && !looked { // it is no request
		err = fmt.Errorf("it is answered %d: %s", run.Status, run.Text)
	}
	return err
}

// fill says what came of the request.
func (a *Answer) fill(cfg *config.Config, q *asked, l *config.Listener, run *server.DryResult) {
	a.Request.Path = run.Path
	if run.Client.IsValid() {
		a.Request.Client = run.Client.String()
	}
	r := run.Route
	if r != nil {
		a.Route = routeOf(cfg, r, run)
	}
	a.OtherRoutes = otherRoutes(cfg, q, l, run)
	a.Rules = rulesOf(cfg, run.Rules)
	a.Steps = stepsOf(cfg, q, l, r, run.Rules)
	var u *config.Upstream
	if run.Sent != nil {
		if u = run.To; u == nil { // dest has variables
			u = &cfg.Upstreams[r.Dest.Upstream]
		}
		a.Upstream = upstreamOf(u, r, run)
		a.Sent = strings.Split(strings.TrimRight(string(run.Sent), "\r\n"), "\r\n")
		a.protocols(q, l, r, run)
		a.shape(u)
		a.sticky(u, run)
		if run.Dest != "" {
			a.note("the request leads to %s, which allow_dest lists: the addresses of a name are judged when they are "+
				"looked up", run.Dest)
		}
		if a.Upstream.Key != "" && run.Backend < 0 {
			a.note("the request has no %s, so it is balanced in turns", a.Upstream.Key)
		}
	} else {
		a.own(run)
	}
	if r != nil {
		a.Cache = cacheOf(cfg, r, run)
	}
	a.Settings = cfg.Places.Settings(cfg, l, r, u)
	a.Log, a.Traces = logOf(cfg, l, r), tracesOf(cfg, q, l, r)
}

// own says what edge answers by itself.
func (a *Answer) own(run *server.DryResult) {
	a.Status, a.Reason = run.Status, run.Reason
	for _, name := range []string{"Allow", "Location", "Proxy-Status", "Retry-After"} {
		if value, found := run.Fields[name]; found {
			a.Fields = append(a.Fields, name+": "+value)
		}
	}
	if run.Defined != nil {
		a.note("the destination %s takes it, of type %s: it was not asked", run.Defined.Name, run.Defined.Type)
		return
	}
	by := ""
	if n := len(a.Rules); n > 0 && run.Rules[n-1].Held && run.Rules[n-1].Rule.Ends() {
		by = a.Rules[n-1].title(n)
	}
	routeless := run.Route == nil && run.Routes != nil && (a.Status == 404 || a.Status == 405)
	switch {
	case by != "":
		a.Why = by + " answers"
	case routeless && a.Status == 404:
		a.Why = "no route takes it"
	case routeless:
		a.Why = "no route takes this method"
	case run.DestRefused != "":
		a.Why = fmt.Sprintf("%q is not allowed: %s", run.Dest, run.DestRefused)
	case run.Reason != "":
		a.Why = run.Text
	case run.Purges:
		a.Why = "the cache answers PURGE, by purge.allow of [cache]"
	case run.Route != nil:
		a.Why = "the route answers by itself"
	default:
		a.Why = "the listener answers, before a route is looked for"
	}
	if routeless && len(a.OtherRoutes) > 0 && a.OtherRoutes[0].near >= 0 {
		o := a.OtherRoutes[0]
		a.Why += "; the nearest is " + o.Name + in(o.At) + ": " + o.Text + unmet(o.When)
	}
}

// protocols notes what becomes of a request for a tunnel or of gRPC.
func (a *Answer) protocols(q *asked, l *config.Listener, r *config.Route, run *server.DryResult) {
	upgrade := q.field("Upgrade")
	passed := strings.Contains(strings.ToLower(string(run.Sent)), "\r\nupgrade: ")
	switch {
	case upgrade != "" && passed:
		a.note("the connection may become a tunnel: %s", upgrade)
	case upgrade != "":
		a.note("the upgrade to %s is not passed on: websocket and upgrades of route and listener say so", upgrade)
	case r.WebSocket == config.Off || r.WebSocket == config.Unset && !l.WebSocket:
		a.note("websocket = false: an upgrade would not be passed on")
	}
	switch {
	case run.GRPC:
		a.note("gRPC: connections to backends are HTTP/2, failures are a grpc-status")
	case r.GRPC == config.On:
		a.note("grpc = true: connections to backends are HTTP/2")
	}
}

// shape makes the head what it is for the backends of u.
func (a *Answer) shape(u *config.Upstream) {
	if a.Upstream.Protocol == "h2" {
		a.Sent[0] = strings.TrimSuffix(a.Sent[0], "1.1") + "2"
	}
	if u.Host == "backend" && len(u.Backends) > 1 {
		a.note("each backend is sent its own address as Host")
	}
}

// sticky says what the cookie of u is worth that the request has.
func (a *Answer) sticky(u *config.Upstream, run *server.DryResult) {
	name := u.Sticky.Cookie
	switch run.Cookie {
	case server.CookieGood:
		a.note("the cookie %s keeps the client at %s", name, u.Backends[run.Backend].String())
	case server.CookieBad:
		a.note("the cookie %s is not believed: it has ended, it names no backend that there is, or another secret "+
			"signed it", name)
	case server.CookieUnknown:
		a.note("the process that made the cookie %s knows its backend: there is no secret in the configuration", name)
	}
}

// field returns the value of a field that was asked with, "" where there is none.
func (q *asked) field(name string) string {
	for _, f := range q.fields {
		if n, value, _ := strings.Cut(f, ": "); strings.EqualFold(n, name) {
			return value
		}
	}
	return ""
}

func routeOf(cfg *config.Config, r *config.Route, run *server.DryResult) *Route {
	out := &Route{Name: r.Name, At: r.Pos.FileLine(), Pattern: patternOf(r)}
	for i := range run.Routes {
		if e := &run.Routes[i]; e.Value == r {
			out.Weight, out.All, out.When = e.Weight, e.All, clausesOf(cfg, r.When, e.Clauses)
		}
	}
	switch d := &r.Dest; d.Kind {
	case config.DestUpstream, config.DestStatus:
		out.Leads = d.Kind.String() + " " + cfg.DestText(d)
	case config.DestRedirect:
		out.Leads = fmt.Sprintf("redirect %d to %s", cmp.Or(d.Status, 308), cfg.DestText(d))
	case config.DestDefined:
		out.Leads = fmt.Sprintf("destination %s, of type %s", d.Name, cfg.Find(plugin.Destinations, d.Name).Type)
	default:
		out.Leads = cfg.DestText(d)
	}
	out.Leads = r.Dest.Before(out.Leads)
	return out
}

func upstreamOf(u *config.Upstream, r *config.Route, run *server.DryResult) *Upstream {
	out := &Upstream{
		Name: u.Name, At: u.Pos.FileLine(), Method: cmp.Or(r.LoadBalancing, u.LoadBalancing), Protocol: u.Protocol,
		TLS: u.TLS.On, SNI: u.TLS.SNI, Verify: u.TLS.Verify, Backends: []Backend{}, Sticky: u.Sticky.Cookie,
	}
	if run.GRPC || r.GRPC == config.On {
		out.Protocol = "h2"
	}
	if config.Hashes(out.Method) {
		out.Key = cmp.Or(cmp.Or(r.HashKey, u.HashKey).String(), "client_ip")
	}
	if to, err := target.Parse(run.Dest); run.Dest != "" && err == nil {
		out.TLS = to.Scheme == target.HTTPS
		if to.Scheme == target.H2C {
			out.Protocol = "h2"
		}
		out.Backends = append(out.Backends, Backend{Address: to.Address(), Weight: 1, Odds: 1})
	}
	shares := odds(u, run)
	for i, b := range u.Backends {
		out.Backends = append(out.Backends, Backend{
			Address: b.String(), At: b.Pos.FileLine(), Weight: b.Weight, Backup: b.Backup, Tier: b.Tier, Zone: b.Zone,
			Unused: run.Unused[i], Odds: shares[i],
		})
	}
	return out
}

// odds returns the share of the requests that each backend of u gets while all are up and equally fast. The backend
// that the cookie or the key of the request leads to gets all of them. Where there is none, weights, tiers, zones and
// subsets decide, whatever the method.
func odds(u *config.Upstream, run *server.DryResult) []float64 {
	if run.Backend < 0 {
		return run.Shares
	}
	shares := make([]float64, len(u.Backends))
	shares[run.Backend] = 1
	return shares
}
