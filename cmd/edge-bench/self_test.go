package main

import (
	"context"
	"io"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/bench/loadreport"
	"github.com/edge-proxy/edge/bench/proxybench"
)

// selfOptions make the test binary be edge-bench and edge.
func selfOptions(t *testing.T) (o proxybench.SelfOptions, tmp string) {
	base, tmp := options(t)
	base.Edge = base.Self
	return proxybench.SelfOptions{Options: base, Connections: 4, Duration: 30 * time.Millisecond}, tmp
}

func TestSelf_measuresEveryLoad(t *testing.T) {
	kinds := proxybench.SelfKinds
	if testing.Short() {
		kinds = kinds[len(kinds)-1:]
	}
	for _, kind := range kinds {
		t.Run(kind.Name, func(t *testing.T) {
			o, tmp := selfOptions(t)
			var notes strings.Builder
			o.Kind, o.Log = kind.Name, &notes
			r, err := proxybench.RunSelf(t.Context(), o)
			if err != nil {
				t.Fatal(err, notes.String())
			}
			if len(r.Rows) != 12 || strings.Count(notes.String(), "\n") != 12 {
				t.Fatalf("%d rows\n%s", len(r.Rows), notes.String())
			}
			for i, percent := range []int{0, 0, 10, 10, 25, 25, 50, 50, 75, 75, 90, 90} {
				row, target := r.Rows[i], []string{"direct", "edge"}[i%2]
				got := row.Result
				if row.Target != target || row.Percent != percent || got.Rate > 0 != (percent > 0) ||
					got.Requests == 0 || got.Failed() != 0 || row.CPUPerRequest > 0 != (target == "edge") {
					t.Errorf("%s %d %%: %+v, %+v", row.Target, row.Percent, row, got)
				}
			}
			closed, half := r.Rows[1].Result.PerSecond(), r.Rows[7].Result.Rate
			if math.Abs(2*half/closed-1) > 1e-9 {
				t.Errorf("half of %v is asked for by %v", closed, half)
			}
			if notes := strings.Join(r.Notes, "\n"); !strings.Contains(r.What, "edge on CPU ") ||
				!strings.Contains(notes, "a core that it fills") {
				t.Errorf("%q, %q", r.What, notes)
			}
			wantEmpty(t, tmp)
		})
	}
}

func TestSelf_printsComparesAndWritesAPage(t *testing.T) {
	o, tmp := selfOptions(t)
	args := []string{"self", "h1", "-c", "2", "-d", "20ms", "--rate", "200", "--edge", o.Edge}
	out, text := wantComparison(t, args, "curves")
	r, err := loadreport.Read(strings.NewReader(out))
	if err != nil || len(r.Rows) != 4 || r.Rows[3].Result.Rate != 200 {
		t.Fatalf("%+v, %v", r, err)
	}
	if !strings.HasPrefix(r.Command, "edge-bench self h1 --connections 2 --duration 20ms") {
		t.Error(r.Command)
	}
	if !strings.Contains(text, "edge, closed loop") {
		t.Error(text)
	}
	wantEmpty(t, tmp)
}

// In each phase: while it starts the origin or edge, or measures.
func TestSelf_cleansUpWhenInterrupted(t *testing.T) {
	o, tmp := selfOptions(t)
	o.Duration = time.Hour
	interrupt(t, tmp, []time.Duration{0, 5, 50, 300, 1500}, func(ctx context.Context) error {
		_, err := proxybench.RunSelf(ctx, o)
		return err
	})
}

func TestSelf_refuses(t *testing.T) {
	o, tmp := selfOptions(t)
	for name, set := range map[string]func(*proxybench.SelfOptions){
		"kind": func(o *proxybench.SelfOptions) { o.Kind = "h9" },
		"CPU":  func(o *proxybench.SelfOptions) { o.LoadCPUs = []int{100000} },
		"edge": func(o *proxybench.SelfOptions) { o.Edge = filepath.Join(tmp, "no-such-binary") },
	} {
		o, want := o, name
		o.Log = io.Discard
		set(&o)
		if _, err := proxybench.RunSelf(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	wantEmpty(t, tmp)
	refuses(t, [][]string{{"h9"}, {"h1", "h2"}, {"--rate", "x"}, {"--compare", "/dev/null"}}, "self")
}
