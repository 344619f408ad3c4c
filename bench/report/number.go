package report

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Digits writes three digits of v, or all before the point.
func Digits(v float64) string {
	switch a := math.Abs(v); {
	case a < 9.995:
		return fmt.Sprintf("%.2f", v)
	case a < 99.95:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// Nanos writes ns with three digits and a unit.
func Nanos(ns float64) string {
	for _, unit := range []string{"ns", "µs", "ms"} {
		if ns < 999.5 {
			return Digits(ns) + " " + unit
		}
		ns /= 1000
	}
	return Digits(ns) + " s"
}

// Time writes d with three digits and a unit, and a dash for 0: it is not known.
func Time(d time.Duration) string {
	if d == 0 {
		return "–"
	}
	return Nanos(float64(d))
}

// Count writes a number with the digits that matter.
func Count(v float64) string {
	switch {
	case v >= 1e5:
		return fmt.Sprintf("%.0fk", v/1e3)
	case v >= 1e4:
		return fmt.Sprintf("%.1fk", v/1e3)
	case v >= 100 || v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.1f", v)
}

// Spread is a median with its quartiles.
type Spread struct {
	Q1     float64 `json:"q1"`
	Median float64 `json:"median"`
	Q3     float64 `json:"q3"`
}

// SpreadOf returns the spread of values, which it leaves as they are.
func SpreadOf(values []float64) Spread {
	sorted := slices.Sorted(slices.Values(values))
	return Spread{Quantile(sorted, 0.25), Quantile(sorted, 0.5), Quantile(sorted, 0.75)}
}

// Median returns the median of values, 0 without any.
func Median(values []float64) float64 { return SpreadOf(values).Median }

// Quantile interpolates between the two nearest of sorted; without any it is 0.
func Quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	at := q * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}
