package proxybench

import (
	"math"
	"testing"
)

func TestSpreadOf(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   Spread
	}{
		{nil, Spread{}},
		{[]float64{3}, Spread{3, 3, 3}},
		{[]float64{2, 1}, Spread{1.25, 1.5, 1.75}},
		{[]float64{5, 1, 4, 2, 3}, Spread{2, 3, 4}},
		{[]float64{4, 3, 2, 1}, Spread{1.75, 2.5, 3.25}},
	} {
		got := spreadOf(c.values)
		for _, d := range []float64{got.Q1 - c.want.Q1, got.Median - c.want.Median, got.Q3 - c.want.Q3} {
			if math.Abs(d) > 1e-9 {
				t.Errorf("%v: got %v, want %v", c.values, got, c.want)
			}
		}
	}
}

func TestSpreadOf_leavesItsArgumentAlone(t *testing.T) {
	values := []float64{3, 1, 2}
	spreadOf(values)
	if values[0] != 3 || values[1] != 1 || values[2] != 2 {
		t.Errorf("sorted in place: %v", values)
	}
}

func TestSteady(t *testing.T) {
	for name, c := range map[string]struct {
		floors []float64
		want   []bool
	}{
		"none":              {nil, nil},
		"one":               {[]float64{10}, []bool{true}},
		"an outlier":        {[]float64{10, 10.5, 13, 9.6, 10.1}, []bool{true, true, false, true, true}},
		"one that is lower": {[]float64{10, 8.9, 10}, []bool{true, false, true}},
		"none is near":      {[]float64{5, 15}, []bool{false, false}},
	} {
		keep, kept := steady(c.floors, 0.10)
		count := 0
		for i := range c.want {
			if keep[i] != c.want[i] {
				t.Errorf("%s: got %v, want %v", name, keep, c.want)
				break
			}
			if keep[i] {
				count++
			}
		}
		if kept != count {
			t.Errorf("%s: kept %d, want %d", name, kept, count)
		}
	}
}
