package explain

import (
	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/server"
)

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
