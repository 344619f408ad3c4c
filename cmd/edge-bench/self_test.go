package main

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
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
	for _, kind := range proxybench.SelfKinds {
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
	dir := t.TempDir()
	old, page := filepath.Join(dir, "old.json"), filepath.Join(dir, "out.html")
	args := []string{"self", "h1", "-c", "2", "-d", "20ms", "--rate", "200", "--edge", o.Edge}
	out, err := runURL(t, append(args, "--json")...)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(old, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := loadreport.Read(strings.NewReader(out))
	if err != nil || len(r.Rows) != 4 || r.Rows[3].Result.Rate != 200 {
		t.Fatalf("%+v, %v", r, err)
	}
	if !strings.HasPrefix(r.Command, "edge-bench self h1 --connections 2 --duration 20ms") {
		t.Error(r.Command)
	}
	out, err = runURL(t, append(args, "--compare", old, "--report", page)...)
	if err != nil || !strings.Contains(out, "\ncompared with ") || !strings.Contains(out, "edge, closed loop") {
		t.Errorf("%v\n%s", err, out)
	}
	b, err := os.ReadFile(page)
	if err != nil || !strings.Contains(string(b), `id="changes"`) || !strings.Contains(string(b), `id="curves"`) {
		t.Errorf("%v\n%s", err, b)
	}
	wantEmpty(t, tmp)
}

// In each phase: while it starts the origin or edge, or measures.
func TestSelf_cleansUpWhenInterrupted(t *testing.T) {
	o, tmp := selfOptions(t)
	o.Duration = time.Hour
	for _, after := range []time.Duration{0, 5, 50, 300, 1500} {
		ctx, cancel := context.WithTimeout(t.Context(), after*time.Millisecond)
		if _, err := proxybench.RunSelf(ctx, o); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after %d ms: got %v", after, err)
		}
		cancel()
		wantEmpty(t, tmp)
	}
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
	for _, args := range [][]string{
		{"self", "h9"}, {"self", "h1", "h2"}, {"self", "--rate", "x"}, {"self", "--compare", "/dev/null"},
	} {
		if _, err := runURL(t, args...); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}
