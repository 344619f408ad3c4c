package inspect

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/internal/server"
	"github.com/edge-proxy/edge/internal/server/admin"
	"github.com/edge-proxy/edge/internal/tls/certs"
)

// Inspector sees what a Server has, and keeps what operators have asked of its backends.
// Safe for any goroutine but a reactor's.
type Inspector struct {
	server *server.Server
	asked  asked

	foreign foreign
}

// New returns an Inspector of s.
func New(s *server.Server) *Inspector { return &Inspector{server: s} }

// Listeners returns the addresses that are served.
func (v *Inspector) Listeners() []admin.Listener {
	all := []admin.Listener{}
	for _, l := range v.server.Parts().Listeners {
		conns := l.Open.Conns()
		if l.HTTP3 != nil {
			conns += l.HTTP3.Conns()
		}
		all = append(all, admin.Listener{Name: l.Title, Address: l.Open.Addr().String(), TLS: l.TLS,
			HTTP3: l.UDP, Service: l.Service, Connections: conns})
	}
	return all
}

// Routes returns the routes of the present configuration, in the order of the files.
func (v *Inspector) Routes() []admin.Route {
	c := v.server.Parts().Config
	all := make([]admin.Route, len(c.Routes))
	for i := range c.Routes {
		r := &c.Routes[i]
		all[i] = admin.Route{Name: r.Name, Host: r.Host, Path: r.Path, Match: r.PathKind.String(), Methods: r.Methods,
			Listeners: r.Listeners, Weight: r.Weight, Kind: r.Dest.Kind.String(),
			To: r.Dest.Before(c.DestText(&r.Dest))}
		switch {
		case r.Off:
			all[i].Unused = "its weight is 0"
		case r.Shadowed:
			all[i].Unused = "an equal route comes first"
		}
	}
	return all
}

// Upstreams returns the upstreams with their backends, by name.
func (v *Inspector) Upstreams() []admin.Upstream {
	parts := v.server.Parts()
	all := make([]admin.Upstream, 0, len(parts.Backends))
	for _, name := range slices.Sorted(maps.Keys(parts.Backends)) {
		one := admin.Upstream{Name: name, Backends: []admin.Backend{}}
		if u := parts.Config.Upstream(name); u != nil {
			one.Method = u.LoadBalancing
		}
		for _, m := range parts.Backends[name].Members() {
			one.Backends = append(one.Backends, v.backend(m))
		}
		all = append(all, one)
	}
	return all
}

// States returns how many backends of each upstream serve, by name.
func (v *Inspector) States() []admin.UpstreamState {
	parts := v.server.Parts()
	all := make([]admin.UpstreamState, 0, len(parts.Backends))
	for _, name := range slices.Sorted(maps.Keys(parts.Backends)) {
		one := admin.UpstreamState{Name: name}
		for _, m := range parts.Backends[name].Members() {
			if one.Backends++; m.Reasons() == 0 {
				one.Serving++
			}
		}
		all = append(all, one)
	}
	return all
}

// backend says how m stands.
func (v *Inspector) backend(m *backend.Member) admin.Backend {
	b := admin.Backend{Address: m.Address(), State: admin.BackendServing, Weight: m.Weight(), Share: m.Part()}
	b.Tier, b.Zone = m.Place()
	b.Requests, b.Tunnels = m.InFlight()
	latency, _ := m.Latency()
	b.Latency = admin.Duration(latency.Round(time.Microsecond))
	reasons := m.Reasons()
	for bit := backend.Reason(1); bit <= reasons; bit <<= 1 {
		if reasons&bit != 0 {
			b.Reasons = append(b.Reasons, admin.Reason{Name: bit.String(), Cause: m.Why(bit).Word})
		}
	}
	switch {
	case reasons == 0:
	case reasons&^(backend.Draining|backend.AgentDrain) == 0:
		b.State = admin.BackendDraining
	default:
		b.State = admin.BackendDown
	}
	b.Until = v.asked.until(m)
	return b
}

// ChangeBackend does what an operator asks of a backend of an upstream, which is named by its address. It holds as long
// as the backend is a member of the upstream, over reloads. An error wraps admin.ErrUnknown or admin.ErrLast.
func (v *Inspector) ChangeBackend(upstream, address string, change *admin.BackendChange) (*admin.Backend, error) {
	set := v.server.Parts().Backends[upstream]
	if set == nil {
		return nil, fmt.Errorf("%w: an upstream %q", admin.ErrUnknown, upstream)
	}
	found, err := v.asked.changeAt(set.Members(), address, change)
	if err != nil {
		return nil, fmt.Errorf("no other backend of %s serves: %w", upstream, err)
	}
	if found == nil {
		return nil, fmt.Errorf("%w: a backend %q of %s", admin.ErrUnknown, address, upstream)
	}
	b := v.backend(found)
	return &b, nil
}

// Certificates returns the certificates of listeners, by their subjects.
func (v *Inspector) Certificates() []admin.Certificate {
	all := []admin.Certificate{}
	parts, now := v.server.Parts(), time.Now()
	for _, c := range parts.Ordered {
		one := admin.Certificate{Subject: c.Names[0], Hosts: c.Names, Issuer: c.Authority, Serial: c.Serial,
			From: c.Begins, Until: c.Expires, State: "none", Next: &c.Next, Order: c.Err}
		if c.Authority != "" {
			one.State = certificateStates[certs.StateOf(c.Begins, c.Expires, now)]
		}
		all = append(all, one)
	}
	if parts.Certificates == nil {
		return all
	}
	for _, c := range parts.Certificates.Certificates() {
		key := c.KeyID()
		one := admin.Certificate{Subject: c.Subject(), Hosts: c.Hosts, Issuer: c.Leaf.Issuer.String(),
			Serial: c.Leaf.SerialNumber.Text(16), From: c.Leaf.NotBefore, Until: c.Leaf.NotAfter,
			State: certificateStates[c.State(now)], KeyID: hex.EncodeToString(key[:])}
		if c.FilesErr != nil {
			one.Wrong = c.FilesErr.Error()
		}
		if c.StapleErr != nil {
			one.Staple = c.StapleErr.Error()
		}
		all = append(all, one)
	}
	slices.SortStableFunc(all, func(a, b admin.Certificate) int { return cmp.Compare(a.Subject, b.Subject) })
	return all
}

var certificateStates = map[certs.State]string{
	certs.Valid: "valid", certs.Expiring: "expiring", certs.Expired: "expired", certs.NotYetValid: "early",
}
