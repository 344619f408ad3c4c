package proxybench

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/bench/report"
)

func TestReport_printsEveryPeer(t *testing.T) {
	rounds := []round{
		{
			"floor": {CPUPerRequest: 10}, "nginx": {CPUPerRequest: 12.5},
			"before": {CPUPerRequest: 12}, "edge": {CPUPerRequest: 10.5, Errors: 1, Detail: "oops"},
		},
		{"floor": {CPUPerRequest: 11}, "nginx": {CPUPerRequest: 13.75}},
	}
	s := &ScenarioResult{Name: "small", RoundsKept: 2, Beside: "edge"}
	for _, name := range []string{"floor", "edge", "nginx", "h2o"} {
		s.Peers = append(s.Peers, summarize(name, "edge", rounds))
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
	if got := s.Peers[0].ToBeside.Median; got != 10/10.5 {
		t.Errorf("the floor is %v of edge, want %v", got, 10/10.5)
	}
	cached := []round{{
		"before+cache": {CPUPerRequest: 4}, "nginx+cache": {CPUPerRequest: 5}, "edge+cache": {CPUPerRequest: 2},
	}}
	if got := summarize("edge+cache", "", cached); got.ToNginx.Median != 0.4 || got.ToBefore.Median != 0.5 {
		t.Errorf("among caches: %+v", got)
	}
	var b bytes.Buffer
	if err := (&Report{Scenarios: []*ScenarioResult{s}}).WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1.25", "0.84", "0.875", "h2o", "failed", "÷ edge [q", "0.952 [", "edge: oops"} {
		if !bytes.Contains(b.Bytes(), []byte(want)) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
}

// The page and the chart have what the tables have, programs once each, with their versions.
func TestReport_pageAndChart(t *testing.T) {
	rounds := []round{
		{"edge+h3": {CPUPerRequest: 10}, "edge": {CPUPerRequest: 9}, "nginx+h3": {CPUPerRequest: 25}},
		{"edge+h3": {CPUPerRequest: 20}, "edge": {CPUPerRequest: 18}, "nginx+h3": {CPUPerRequest: 60}},
	}
	s := &ScenarioResult{Name: "h3", What: "many streams"}
	for _, name := range []string{"edge", "edge+h3", "nginx+h3", "caddy+h3"} {
		s.Peers = append(s.Peers, summarize(name, "", rounds))
	}
	if got := s.Peers[2].ToEdge; got.Median != 2.75 {
		t.Errorf("nginx is %+v of edge, want 2.75", got)
	}
	alone := &ScenarioResult{Name: "small", What: "few streams", Peers: []PeerResult{{Name: "edge"}}}
	r := &Report{Scenarios: []*ScenarioResult{s, alone},
		Peers: []PeerFacts{{"edge", "edge 1"}, {"edge+h3", "edge 1"}, {"nginx", "nginx version: nginx/1.31.4"},
			{"nginx+h3", "nginx version: nginx/1.31.4"}}}
	if got := r.Programs(); len(got) != 2 {
		t.Errorf("%v", got)
	}
	chart := r.Chart()
	if len(chart.Rows) != 1 || len(chart.Rows[0].Points) != 1 || !slices.Equal(chart.Names, []string{"nginx 1.31.4"}) {
		t.Errorf("%+v", chart)
	}
	var page, svg bytes.Buffer
	if err := errors.Join(r.Page().Write(&page), chart.WriteSVG(&svg)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"nginx: 2.75 times edge&#39;s", "many streams", "<svg", "nginx 1.31.4"} {
		if !strings.Contains(page.String(), want) || !strings.Contains(svg.String(), want) {
			t.Errorf("%q is missing in\n%s\n%s", want, page.String(), svg.String())
		}
	}
	if strings.Contains(svg.String(), ">3×<") {
		t.Errorf("a point within the scale has a text:\n%s", svg.String())
	}
	s.Peers = append(s.Peers, PeerResult{Name: "caddy+h3", ToEdge: report.SpreadOf([]float64{217})},
		PeerResult{Name: "haproxy+h3", ToEdge: report.SpreadOf([]float64{313}), Errors: 1},
		PeerResult{Name: "gtlsserver", ToEdge: report.SpreadOf([]float64{414})})
	svg.Reset()
	if err := r.Chart().WriteSVG(&svg); err != nil || !strings.Contains(svg.String(), ">217×</text>") ||
		strings.Contains(svg.String(), "313") || strings.Contains(svg.String(), "414") {
		t.Errorf("%v\n%s", err, svg.String())
	}
	s.Peers[0].Errors = 1 // edge itself had an error
	if err := r.Chart().WriteSVG(&svg); err == nil {
		t.Error("ratios to an edge that has failed are drawn")
	}
	svg.Reset()
	if err := chart.WriteSVG(&svg); err != nil || strings.Contains(svg.String(), "few streams") ||
		!strings.Contains(page.String(), "2.62–2.88") {
		t.Errorf("%s\n%s", page.String(), svg.String())
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
