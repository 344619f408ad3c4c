//go:build apps

package apps

import (
	"fmt"
	"os"
	"testing"
	"text/tabwriter"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// app is an application with edge in front of it, and the count of what was asked. Owned by the goroutine of its test.
type app struct {
	*testing.T
	name, version string
	skipped       string // why nothing was asked
	asked, failed int
	ways          []*way // the first one does without edge
}

// rows are the applications of this run, for the summary.
var rows []*app

func TestMain(m *testing.M) {
	// Debian keeps servers where the PATH of a user does not lead.
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	code := testutil.Main(m)
	summary()
	os.Exit(code)
}

// begin makes the row of an application.
func begin(t *testing.T, name string) *app {
	a := &app{T: t, name: name, version: "-"}
	rows = append(rows, a)
	t.Cleanup(func() {
		if t.Failed() && a.failed == 0 {
			a.failed++ // it did not start
		}
	})
	return a
}

// skip ends the test of an application that cannot be had.
func (a *app) skip(format string, args ...any) {
	a.Helper()
	a.skipped = fmt.Sprintf(format, args...)
	a.Skip(a.skipped)
}

// all takes every way.
func all(*way) bool { return true }

// h1 takes the ways of clients that speak HTTP/1 alone.
func h1(w *way) bool { return !w.h2 }

// ask puts a question by each way that over takes. The answer has to be what the application answers directly, where
// the URL and the host of the way count as equal.
func (a *app) ask(question string, over func(*way) bool, answer func(t *testing.T, w *way) string) {
	a.Helper()
	var want string
	ok := a.Run(question+", directly", func(t *testing.T) { want = a.ways[0].mask(answer(t, a.ways[0])) })
	if !ok {
		a.failed++
		return
	}
	a.want(question, want, over, answer)
}

// want puts a question by each way through edge that over takes, for which the answer is known.
func (a *app) want(question, want string, over func(*way) bool, answer func(t *testing.T, w *way) string) {
	a.Helper()
	for _, w := range a.ways[1:] {
		if !over(w) {
			continue
		}
		a.asked++
		if !a.Run(question+", "+w.name, func(t *testing.T) {
			if got := w.mask(answer(t, w)); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		}) {
			a.failed++
		}
	}
}

// summary prints what was asked of which application.
func summary() {
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "\napplication\tversion\tasked\tok\tfailed")
	for _, a := range rows {
		if a.skipped != "" {
			fmt.Fprintf(out, "%s\t%s\tskipped: %s\n", a.name, a.version, a.skipped)
			continue
		}
		fmt.Fprintf(out, "%s\t%s\t%d\t%d\t%d\n", a.name, a.version, a.asked, max(a.asked-a.failed, 0), a.failed)
	}
	out.Flush()
}
