package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/bench/proxybench"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/process"
)

// asChild makes the test binary be edge-bench: the runner starts itself for origin, floor, peers. With "run -c FILE" it
// is edge.
const asChild = "EDGE_BENCH_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" {
		if len(os.Args) == 4 && os.Args[1] == "run" {
			cfg, _ := config.Options{}.Load(os.Args[3])
			if err := process.Run(cfg, process.Options{}); err != nil {
				panic(err)
			}
			return
		}
		main()
		return
	}
	os.Exit(m.Run())
}

func options(t *testing.T) (o proxybench.Options, tmp string) {
	t.Helper()
	t.Setenv(asChild, "1")
	tmp = t.TempDir()
	t.Setenv("TMPDIR", tmp)
	return proxybench.Options{
		Self: os.Args[0], Edge: filepath.Join(tmp, "no-such-binary"), Load: "go", Rounds: 1,
		Window: time.Millisecond, Scenarios: []string{"small"},
	}, tmp
}

// Counts below zero would measure nothing, and show an empty table.
func TestProxy_refusesCountsBelowZero(t *testing.T) {
	for _, change := range []func(*proxybench.Options){
		func(o *proxybench.Options) { o.Rounds = -1 }, func(o *proxybench.Options) { o.Window = -time.Second },
	} {
		o, _ := options(t)
		change(&o)
		if _, err := proxybench.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "nothing would be") {
			t.Error(err)
		}
		err := proxybench.RunScale(t.Context(), proxybench.ScaleOptions{Options: o}, io.Discard)
		if err == nil || !strings.Contains(err.Error(), "nothing would be") {
			t.Error(err)
		}
	}
}

func TestProxy_measuresEveryPeerThatIsThere(t *testing.T) {
	o, tmp := options(t)
	o.Peers = []string{"fasthttp", "edge"}
	var notes strings.Builder
	o.Log = &notes
	report, err := proxybench.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err, notes.String())
	}
	if len(report.Scenarios) != 1 || len(report.Scenarios[0].Peers) != 2 {
		t.Fatalf("got %+v", report)
	}
	for _, p := range report.Scenarios[0].Peers {
		if len(p.Samples) == 0 || p.CPUPerRequest <= 0 || p.RequestsPerSecond <= 0 ||
			p.Errors != 0 || p.Memory.RSS <= 0 {
			t.Errorf("%s: %+v", p.Name, p)
		}
	}
	if !strings.Contains(notes.String(), "edge is left out") {
		t.Errorf("no note about the missing peer in %q", notes.String())
	}
	wantEmpty(t, tmp)
}

func TestProxy_measuresCaches(t *testing.T) {
	o, tmp := options(t)
	var notes strings.Builder
	o.Edge, o.Log = o.Self, &notes
	o.Scenarios, o.Peers = []string{"cache-1k", "cache-miss-16k"}, []string{"edge", "edge+own", "edge+cache"}
	report, err := proxybench.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err, notes.String())
	}
	for i, want := range []string{"floor edge+cache edge+own", "floor edge edge+cache"} {
		var names []string
		for _, p := range report.Scenarios[i].Peers {
			names = append(names, p.Name)
			if p.Errors != 0 || p.CPUPerRequest <= 0 || p.ToBeside.Median <= 0 {
				t.Errorf("%+v", p)
			}
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: %s were measured, want %s: %s", report.Scenarios[i].Name, got, want, notes.String())
		}
	}
	wantEmpty(t, tmp)
}

func TestScale_measuresEveryCell(t *testing.T) {
	o, tmp := options(t)
	var out, notes strings.Builder
	o.Edge, o.Log = o.Self, &notes
	o.Window = 50 * time.Millisecond // a busy machine may answer nothing in less
	err := proxybench.RunScale(t.Context(), proxybench.ScaleOptions{
		Options: o, Loops: []int{1, 2}, Parks: []string{"syscall+pin"}, Connections: 2,
	}, &out)
	if err != nil {
		t.Fatal(err, notes.String())
	}
	cells := regexp.MustCompile(`(?m)^ *(small|close) +syscall\+pin +[12] +[1-9]\d* .* 0 +\d+\.\d\d *$`)
	if n := len(cells.FindAllString(out.String(), -1)); n != 4 {
		t.Errorf("%d of 4 rows without errors in\n%s", n, out.String())
	}
	wantEmpty(t, tmp)
	if err := proxybench.RunScale(t.Context(), proxybench.ScaleOptions{Parks: []string{"slowly"}}, &out); err == nil ||
		!strings.Contains(err.Error(), `unknown way to sleep "slowly"; there are auto, runtime`) {
		t.Errorf("got %v", err)
	}
}

// In each phase: while it starts the origin, starts a peer, or measures.
func TestProxy_cleansUpWhenInterrupted(t *testing.T) {
	o, tmp := options(t)
	o.Window = time.Hour
	o.Peers = []string{"floor"}
	interrupt(t, tmp, []time.Duration{0, 5, 20, 80, 400, 1500}, func(ctx context.Context) error {
		_, err := proxybench.Run(ctx, o)
		return err
	})
}

// interrupt ends run after so many milliseconds, each time anew: nothing is to be left in dir.
func interrupt(t *testing.T, dir string, moments []time.Duration, run func(ctx context.Context) error) {
	t.Helper()
	for _, after := range moments {
		ctx, cancel := context.WithTimeout(t.Context(), after*time.Millisecond)
		if err := run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after %d ms: got %v", after, err)
		}
		cancel()
		wantEmpty(t, dir)
	}
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// runBench runs edge-bench with args.
func runBench(t *testing.T, args ...string) (out, notes string, err error) {
	t.Helper()
	t.Setenv("HITRATIO_TRACES", "")
	var stdout, stderr strings.Builder
	root := newRoot()
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	root.SetArgs(args)
	err = root.ExecuteContext(t.Context())
	return stdout.String(), stderr.String(), err
}

// wantComparison runs edge-bench with args twice: for JSON, which it returns, and compared with that, for a page with
// all of ids.
func wantComparison(t *testing.T, args []string, ids ...string) (asJSON, text string) {
	t.Helper()
	old, page := filepath.Join(t.TempDir(), "old.json"), filepath.Join(t.TempDir(), "out.html")
	asJSON, _, err := runBench(t, append(args, "--json")...)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(old, []byte(asJSON), 0o600); err != nil {
		t.Fatal(err)
	}
	text, _, err = runBench(t, append(args, "--compare", old, "--report", page)...)
	if err != nil || !strings.Contains(text, "\ncompared with ") {
		t.Errorf("%v\n%s", err, text)
	}
	b, err := os.ReadFile(page)
	if err != nil || !strings.HasSuffix(string(b), "</html>\n") {
		t.Errorf("%v\n%s", err, b)
	}
	for _, id := range append(ids, "changes") {
		if !strings.Contains(string(b), `id="`+id+`"`) {
			t.Errorf("no %s in\n%s", id, b)
		}
	}
	return asJSON, text
}

// refuses fails where edge-bench takes one of the lists of args, each after begin.
func refuses(t *testing.T, lists [][]string, begin ...string) {
	t.Helper()
	for _, args := range lists {
		if out, _, err := runBench(t, slices.Concat(begin, args)...); err == nil {
			t.Errorf("%v: no error, but %s", args, out)
		}
	}
}

// A file that a flag names keeps its text until there is another one for it.
func TestFill_keepsTheOldTextOfAFailedRun(t *testing.T) {
	name := filepath.Join(t.TempDir(), "out.svg")
	for _, c := range []struct {
		text, want string
		err        error
	}{{"a long one", "a long one", nil}, {"half", "a long one", errors.ErrUnsupported}, {"short", "short", nil}} {
		f, err := create(name)
		if err != nil {
			t.Fatal(err)
		}
		err = fill(f, func(w io.Writer) error {
			_, failed := io.WriteString(w, c.text)
			return errors.Join(failed, c.err)
		})
		if !errors.Is(err, c.err) {
			t.Errorf("%q: %v", c.text, err)
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != c.want {
			t.Errorf("after %q the file has %q: %v", c.text, got, err)
		}
	}
}

func TestRoot_refusesUnknownNames(t *testing.T) {
	refuses(t, [][]string{
		{"proxy", "--scenario", "nosuch"}, {"proxy", "--peers", "nosuch"}, {"peer", "nosuch"},
		{"proxy", "--nginx", "/nowhere/nginx"}, {"proxy", "--svg", "/nowhere/a.svg"},
		{"floor", "--origin", "nowhere"}, {"nosuch"},
	})
}
