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
			want := time.Duration(c.steps)*c.step + time.Duration(c.slept)*pause
			if took := time.Since(begun); took != want {
				t.Errorf("%d steps of %v take %v, want %v", c.steps, c.step, took, want)
			}
		}
	})
}

// Over counts, pauses as a Pace does, and ends where its loop ends.
func TestOver(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		begun, next := time.Now(), 0
		for i := range Over(6) {
			if i != next {
				t.Errorf("%d comes after %d", i, next-1)
			}
			if next++; i == 4 {
				break
			}
			time.Sleep(most) // the work
		}
		if took := time.Since(begun); next != 5 || took != 4*most+2*pause {
			t.Errorf("%d steps took %v", next, took)
		}
	})
}
