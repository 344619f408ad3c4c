package explain

import "github.com/edge-proxy/edge/config"

// odds returns the share of the requests that each backend of u gets while all are up and equally fast. chosen is the
// one that the cookie or the key of the request leads to: it gets all of them. Without one, -1, the weights are the
// shares, whatever the method; backends of further tiers get none.
func odds(u *config.Upstream, chosen int) []float64 {
	shares := make([]float64, len(u.Backends))
	if chosen >= 0 {
		shares[chosen] = 1
		return shares
	}
	all, first := 0, u.FirstTier()
	for _, b := range u.Backends {
		if b.Tier == first {
			all += b.Weight
		}
	}
	for i, b := range u.Backends {
		if b.Tier == first {
			shares[i] = float64(b.Weight) / float64(all)
		}
	}
	return shares
}
