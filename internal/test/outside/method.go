package outside

import "github.com/edge-proxy/edge/backend/balance"

// First is a balance.Picker: the first backend that is open gets all requests, the next ones stand by.
type First struct{}

// Pick chooses the first open backend that was not tried.
func (First) Pick(v *balance.View, _ *balance.Local, q *balance.Request) int {
	for i := range v.Len() {
		if v.Open(i) && !q.Tried.Has(i) {
			return i
		}
	}
	return -1
}
