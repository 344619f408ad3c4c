package ejection

import "math"

// What Outlier asks for.
const (
	requestsLeast = 20   // of a member in a window
	marginLeast   = 0.05 // how much more of its requests fail than of the others
	ratioLeast    = 2    // and how many times as many
	evidenceLeast = 22   // and how much likelier it is that the member differs, as a logarithm
)

// Outlier reports whether a member of whose n requests some failed is worse than all members together, it among them,
// of whose total requests so many failed. The others are taken to have one failure more: few requests prove little.
//
// The evidence is the likelihood ratio of two shares against one (Wilks' G, halved), which a fair member exceeds about
// once in 10^10 windows. It counts how uncertain both shares are. A test by the deviations of the member alone does
// not: of four fair members with 5 % of failures it ejected 14 times an hour, and of a thousand with 20 requests in a
// window one every few seconds, since two failures of twenty are many deviations of a share of 0.001.
func Outlier(n, failed, total, totalFailed int) bool {
	if n < requestsLeast || failed == 0 {
		return false
	}
	p, q := float64(failed)/float64(n), share(total-n, totalFailed-failed)
	if p <= q+marginLeast || p <= ratioLeast*min(q, 0.5) {
		return false
	}
	of, others := float64(n), float64(total-n+2)
	both := (float64(failed) + q*others) / (of + others)
	return of*divergence(p, both)+others*divergence(q, both) > evidenceLeast
}

// share returns the share of requests that fail, taken for one more than did.
func share(n, failed int) float64 { return float64(failed+1) / float64(n+2) }

// divergence returns the relative entropy of a share p, where q was expected.
func divergence(p, q float64) (sum float64) {
	if p > 0 {
		sum += p * math.Log(p/q)
	}
	if p < 1 {
		sum += (1 - p) * math.Log((1-p)/(1-q))
	}
	return sum
}

// chance is how probable a row of failures may be by chance to eject a member.
const chance = 1e-12

// Surprising reports whether so many failures in a row mean something, where the share q of the requests to the other
// members fails. Where one of ten fails everywhere, five in a row come once in a hundred thousand requests.
func Surprising(row int, q float64) bool { return math.Pow(min(q, 0.5), float64(row)) <= chance }
