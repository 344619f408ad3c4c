package main

import (
	"fmt"
	"io"
	"os"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/bench/micro"
)

// progress tells on w what runs: with a bar on a terminal, else with a line for each step. finish leaves w as it was.
func progress(w io.Writer) (tell func(micro.Step), finish func()) {
	if isTerminal(w) {
		return progressBar(w)
	}
	return func(s micro.Step) { _, _ = fmt.Fprintf(w, "%d/%d %s\n", s.Round, s.Rounds, s.Name) }, func() {}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// What takes the bar away, which a newline ends. mpb does so by itself only when it draws by a clock of its own.
const (
	lineUp     = "\x1b[1A"
	clearBelow = "\x1b[J"
)

// progressBar draws once as each step begins, and not while it is measured.
func progressBar(w io.Writer) (tell func(micro.Step), finish func()) {
	var bars *mpb.Progress
	var bar *mpb.Bar
	redraw := make(chan any)
	name := make(chan string, 1) // what runs now; drawn by another goroutine
	name <- ""
	label := func(decor.Statistics) string {
		now := <-name
		name <- now
		return " " + now
	}
	tell = func(s micro.Step) {
		if bars == nil {
			bars = mpb.New(mpb.WithOutput(w), mpb.WithManualRefresh(redraw))
			bar = bars.New(int64(s.Steps), mpb.BarStyle().Lbound("").Filler("█").Tip("█").Padding("░").Rbound(""),
				mpb.BarWidth(24),
				mpb.AppendDecorators(decor.CountersNoUnit(" %d of %d"), decor.AverageETA(decor.ET_STYLE_GO,
					decor.WC{W: 8}), decor.Any(label)))
		}
		<-name
		name <- fmt.Sprintf("left: %d/%d %s", s.Round, s.Rounds, s.Name)
		bar.SetCurrent(int64(s.Done))
		redraw <- nil
	}
	finish = func() {
		if bars != nil {
			bar.Abort(false)
			bars.Wait()
			_, _ = io.WriteString(w, lineUp+clearBelow)
		}
	}
	return tell, finish
}
