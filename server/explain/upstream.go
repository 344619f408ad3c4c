package explain

import (
	"cmp"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/route/target"
	"github.com/edge-proxy/edge/server"
)

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
