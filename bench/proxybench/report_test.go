package proxybench

import (
	"bytes"
	"testing"
)

func TestReport_printsEveryPeer(t *testing.T) {
	rounds := []round{
		{
			"floor": {CPUPerRequest: 10}, "nginx": {CPUPerRequest: 12.5},
			"before": {CPUPerRequest: 12}, "edge": {CPUPerRequest: 10.5, Errors: 1, Detail: "oops"},
		},
		{"floor": {CPUPerRequest: 11}, "nginx": {CPUPerRequest: 13.75}},
	}
	s := &ScenarioResult{Name: "small", RoundsKept: 2}
	for _, name := range []string{"floor", "edge", "nginx", "h2o"} {
		s.Peers = append(s.Peers, summarize(name, rounds))
	}
	if got := s.Peers[2].ToFloor.Median; got != 1.25 {
		t.Errorf("nginx is %v of the floor, want 1.25", got)
	}
	if got := s.Peers[1].ToNginx.Median; got != 0.84 {
		t.Errorf("edge is %v of nginx, want 0.84", got)
	}
	if got := s.Peers[1].ToBefore.Median; got != 0.875 {
		t.Errorf("edge is %v of the one before, want 0.875", got)
	}
	var b bytes.Buffer
	if err := (&Report{Scenarios: []*ScenarioResult{s}}).WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1.25", "0.84", "0.875", "h2o", "failed", "edge: oops"} {
		if !bytes.Contains(b.Bytes(), []byte(want)) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
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
