package proxybench

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestScale_printsWhatALoopCarries(t *testing.T) {
	run := &scaleRun{
		runner: &runner{report: &Report{}},
		o:      ScaleOptions{Options: Options{Rounds: 3}, Loops: []int{1, 4}},
		parks:  []ScalePark{{Name: "runtime"}, {Name: "spin"}},
		samples: map[ScaleCell][]Sample{
			{Scenario: "small", Park: "runtime", Loops: 1}: {
				{RequestsPerSecond: 900, CPUPerRequest: 10, Busy: 0.5, P99: time.Millisecond},
				{RequestsPerSecond: 1000, CPUPerRequest: 11, Busy: 0.6, P99: 2 * time.Millisecond, Errors: 1},
				{RequestsPerSecond: 5000, CPUPerRequest: 12, Busy: 0.7, P99: 3 * time.Millisecond, Errors: 2},
			},
			{Scenario: "small", Park: "runtime", Loops: 4}: {{RequestsPerSecond: 3000, CPUPerRequest: 13, Busy: 2}},
		},
	}
	want := ScaleCell{
		Scenario: "small", Park: "runtime", Loops: 1, PerSecond: 1000, CPUPerRequest: 11, Busy: 0.6,
		P99: 2 * time.Millisecond, Errors: 3,
	}
	if got := run.cells(); len(got) != 8 || got[0] != want || got[1].PerSecond != 750 || got[1].Busy != 0.5 {
		t.Errorf("got %+v", got)
	}
	var b bytes.Buffer
	if err := run.print(&b); err != nil {
		t.Fatal(err)
	}
	printed := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{
		"small runtime 1 1000 11.00 60% 2.00 ms 3 1.00", "small runtime 4 750 13.00 50% – 0 0.75",
	} {
		if !strings.Contains(printed, want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
