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
		rounds: map[scaleCell][]round{
			{"small", "runtime", 1}: {
				{"edge": {RequestsPerSecond: 900, CPUPerRequest: 10, Busy: 0.5, P99: time.Millisecond}},
				{"edge": {RequestsPerSecond: 1000, CPUPerRequest: 11, Busy: 0.6, P99: 2 * time.Millisecond, Errors: 1}},
				{"edge": {RequestsPerSecond: 5000, CPUPerRequest: 12, Busy: 0.7, P99: 3 * time.Millisecond, Errors: 2}},
			},
			{"small", "runtime", 4}: {{"edge": {RequestsPerSecond: 3000, CPUPerRequest: 13, Busy: 2}}},
		},
	}
	var b bytes.Buffer
	if err := run.print(&b); err != nil {
		t.Fatal(err)
	}
	printed := strings.Join(strings.Fields(b.String()), " ")
	if n := strings.Count(b.String(), " runtime ") + strings.Count(b.String(), " spin "); n != 8 {
		t.Errorf("%d rows", n)
	}
	for _, want := range []string{
		"small runtime 1 1000 11.00 60% 2.00 ms 3 1.00", "small runtime 4 750 13.00 50% – 0 0.75",
	} {
		if !strings.Contains(printed, want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
