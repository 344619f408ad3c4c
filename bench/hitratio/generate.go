package hitratio

import (
	"math"
	"math/rand/v2"
	"sort"
)

// zipf draws ranks 0 … n-1, rank r with a weight of (r+1)^-s, by the inverse of the cumulative distribution.
type zipf struct{ upTo []float64 } // cumulative, the last one 1

func newZipf(n int, s float64) *zipf {
	z := &zipf{make([]float64, n)}
	sum := 0.0
	for r := range n {
		sum += math.Pow(float64(r+1), -s)
		z.upTo[r] = sum
	}
	for r := range n {
		z.upTo[r] /= sum
	}
	z.upTo[n-1] = 1
	return z
}

func (z *zipf) rank(rng *rand.Rand) uint64 { return uint64(sort.SearchFloat64s(z.upTo, rng.Float64())) }

// source makes keys, the same ones for the same seed.
type source func(seed uint64) []uint64

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// steady: the same popularity all the time.
func steady(keys int, s float64, requests int) source { return oneShots(keys, s, requests, 0) }

// rotating: each time that every requests were made, each key takes the popularity of the one some places further: the
// most popular become the least popular ones at once.
func rotating(keys int, s float64, requests, every int, part float64) source {
	return func(seed uint64) []uint64 {
		out := steady(keys, s, requests)(seed)
		shift := uint64(part * float64(keys))
		for i := range out {
			out[i] = (out[i] + uint64(i/every)*shift) % uint64(keys)
		}
		return out
	}
}

// swapping: each time that every requests were made, a part of the keys trade popularity with others at random.
func swapping(keys int, s float64, requests, every int, part float64) source {
	return func(seed uint64) []uint64 {
		out := steady(keys, s, requests)(seed)
		rng := newRand(seed + 1)
		key := rng.Perm(keys)
		for i := range out {
			if i%every == every-1 {
				for range int(part * float64(keys)) {
					a, b := rng.IntN(keys), rng.IntN(keys)
					key[a], key[b] = key[b], key[a]
				}
			}
			out[i] = uint64(key[out[i]])
		}
		return out
	}
}

// scans: bursts of length keys that never come again, each after every requests of a steady popularity.
func scans(keys int, s float64, requests, every, length int) source {
	return func(seed uint64) []uint64 {
		z, rng := newZipf(keys, s), newRand(seed)
		out := make([]uint64, 0, requests+every+length)
		once := uint64(keys)
		for len(out) < requests {
			for range every {
				out = append(out, z.rank(rng))
			}
			for range length {
				out = append(out, once)
				once++
			}
		}
		return out[:requests]
	}
}

// oneShots: a part of the requests are for keys that never come again.
func oneShots(keys int, s float64, requests int, part float64) source {
	return func(seed uint64) []uint64 {
		z, rng := newZipf(keys, s), newRand(seed)
		out := make([]uint64, requests)
		once := uint64(keys)
		for i := range out {
			if part > 0 && rng.Float64() < part {
				out[i] = once
				once++
			} else {
				out[i] = z.rank(rng)
			}
		}
		return out
	}
}

// thrice: every key comes three times within so many requests, and then never again, as in the trace corda.
func thrice(requests, within int) source {
	return func(seed uint64) []uint64 {
		rng := newRand(seed)
		out := make([]uint64, 0, requests+within)
		due := make([][]uint64, within) // by time, in a ring
		for now := 0; len(out) < requests; now++ {
			at := now % within
			out = append(append(out, due[at]...), uint64(now))
			due[at] = due[at][:0]
			// Each turn makes three requests on average: one key that is new and two that were due.
			for range 2 {
				then := (now + 1 + rng.IntN(within/3)) % within
				due[then] = append(due[then], uint64(now))
			}
		}
		return out[:requests]
	}
}

// loops: keys one after the other, again and again.
func loops(keys, requests int) source {
	return func(uint64) []uint64 {
		out := make([]uint64, requests)
		for i := range out {
			out[i] = uint64(i % keys)
		}
		return out
	}
}

// turns takes block requests of one source and of another by turns. Their keys are different ones.
func turns(block int, a, b source) source {
	return func(seed uint64) []uint64 {
		var out []uint64
		first, second := a(seed), b(seed+1)
		for len(first) >= block && len(second) >= block {
			out = append(out, first[:block]...)
			for _, key := range second[:block] {
				out = append(out, ^key)
			}
			first, second = first[block:], second[block:]
		}
		return out
	}
}
