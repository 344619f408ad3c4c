package explain

import "github.com/edge-proxy/edge/config"

// odds returns the share of the requests that each backend gets while all are up and equally fast. chosen is the one
// that the key of the request leads to: it gets all of them. Without one, -1, the weights are the shares, whatever the
// method; backups get none, unless there is nothing else.
func odds(backends []config.Backend, chosen int) []float64 {
	shares := make([]float64, len(backends))
	if chosen >= 0 {
		shares[chosen] = 1
		return shares
	}
	for _, backups := range []bool{false, true} {
		all := 0
		for _, b := range backends {
			if b.Backup == backups {
				all += b.Weight
			}
		}
		for i, b := range backends {
			if all > 0 && b.Backup == backups {
				shares[i] = float64(b.Weight) / float64(all)
			}
		}
		if all > 0 {
			break
		}
	}
	return shares
}
