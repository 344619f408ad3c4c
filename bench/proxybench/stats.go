package proxybench

import (
	"math"
	"slices"
)

// Spread is a median with its quartiles.
type Spread struct {
	Q1     float64 `json:"q1"`
	Median float64 `json:"median"`
	Q3     float64 `json:"q3"`
}

func spreadOf(values []float64) Spread {
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	return Spread{Q1: quantile(sorted, 0.25), Median: quantile(sorted, 0.5), Q3: quantile(sorted, 0.75)}
}

func median(values []float64) float64 { return spreadOf(values).Median }

// quantile interpolates between the two nearest of sorted; without any it is 0.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	at := q * float64(len(sorted)-1)
	low := int(math.Floor(at))
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

// steady tells for each floor whether it lies within tolerance of the median of all. Where none does
// (an even number of them can lie around the median on both sides) there is nothing to choose by.
func steady(floors []float64, tolerance float64) (keep []bool, kept int) {
	m := median(floors)
	keep = make([]bool, len(floors))
	for i, f := range floors {
		if keep[i] = math.Abs(f-m) <= tolerance*m; keep[i] {
			kept++
		}
	}
	return keep, kept
}
