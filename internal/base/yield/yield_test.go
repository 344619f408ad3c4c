package yield

import (
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// A loop sleeps after each stretch of work that was long enough, and only then.
func TestPace_Step(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		for _, c := range []struct {
			step  time.Duration
			steps int
			slept int
		}{{most, 1, 0}, {most / 2, 3, 0}, {most / 2, 4, 1}, {most + 1, 5, 4}, {0, 1000, 0}} {
			var p Pace
			begun := time.Now()
			for range c.steps {
				p.Step()
				time.Sleep(c.step) // the work
			}
			want := time.Duration(c.steps)*c.step + time.Duration(c.slept)*time.Microsecond
			if took := time.Since(begun); took != want {
				t.Errorf("%d steps of %v take %v, want %v", c.steps, c.step, took, want)
			}
		}
	})
}
