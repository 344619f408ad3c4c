package explain

// odds returns the share of the requests that each backend gets while all are up and equally fast: by its weight. Every
// method that there is keeps to the weights then.
func odds(weights []int) []float64 {
	all := 0
	for _, w := range weights {
		all += w
	}
	shares := make([]float64, len(weights))
	for i, w := range weights {
		if all > 0 {
			shares[i] = float64(w) / float64(all)
		}
	}
	return shares
}
