package process

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// Work is ready by its word or by its end; after an error or a panic it begins again, later each time.
func TestBackgrounds(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		var begun []time.Duration
		start := time.Now()
		ended := false
		b := &backgrounds{all: []Background{
			{"done", func(context.Context, func()) error { return nil }},
			{"lasting", func(ctx context.Context, ready func()) error {
				time.Sleep(time.Second)
				ready()
				ready() // a second word means nothing
				<-ctx.Done()
				ended = true
				return ctx.Err()
			}},
			{"failing", func(ctx context.Context, ready func()) error {
				ready()
				switch begun = append(begun, time.Since(start)); len(begun) {
				case 1:
					return errors.New("not yet")
				case 2:
					panic("not now")
				case 8:
					time.Sleep(2 * time.Minute)
				}
				return errors.New("again")
			}},
		}}
		if err := b.begin(); err != nil || time.Since(start) != time.Second {
			t.Fatalf("%v after %v", err, time.Since(start))
		}
		if err := b.begin(); err != nil {
			t.Error(err) // it runs already
		}
		time.Sleep(10 * time.Minute)
		b.end()
		b.end()
		if !ended {
			t.Error("the end does not wait")
		}
		const s = time.Second
		want := []time.Duration{0, 1 * s, 3 * s, 7 * s, 15 * s, 31 * s, 61 * s, 91 * s, 91*s + 121*s}
		for i, at := range want {
			if begun[i] != at {
				t.Errorf("begun at %v, want %v", begun, want)
				break
			}
		}
		n := len(begun)
		time.Sleep(time.Minute)
		if len(begun) != n {
			t.Error("work begins after the end")
		}
	})
}

// Work that is not ready keeps a process from serving, and work that does not end keeps it from ending for 5 s.
func TestBackgrounds_late(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		stuck := make(chan struct{})
		b := &backgrounds{all: []Background{{"slow", func(context.Context, func()) error { <-stuck; return nil }}}}
		start := time.Now()
		err := b.begin()
		if err == nil || !strings.Contains(err.Error(), "background slow: it is not ready after 30s") {
			t.Error(err)
		}
		b.end()
		if took := time.Since(start); took != readyWait+endWait {
			t.Error(took)
		}
		close(stuck)
	})
}
