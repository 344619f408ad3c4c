package poller

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// spin keeps the processor.
func spin(d time.Duration) {
	for begun := time.Now(); time.Since(begun) < d; {
		continue
	}
}

// Whatever comes between the readings of the two clocks, before or after that of the kernel's, Now never lags it, and
// leads it by no more than came between in the best of the tries.
func TestEpoll_nowDoesNotLagTheTimer(t *testing.T) {
	const long = 20 * time.Millisecond
	none := func(int) time.Duration { return 0 }
	for name, c := range map[string]struct {
		before, after func(try int) time.Duration
	}{
		"after":  {none, func(int) time.Duration { return long }},
		"before": {func(try int) time.Duration { return long * time.Duration((try+1)%3) }, none},
	} {
		t.Run(name, func(t *testing.T) {
			var k epoll
			try := 0
			err := k.tie(func() (int64, error) {
				spin(c.before(try))
				at, err := monotonic()
				spin(c.after(try))
				try++
				return at, err
			})
			testutil.Must(t, err)
			for range 100 {
				before, _ := monotonic()
				now := k.Now()
				after, _ := monotonic()
				if now < before || now > after+int64(long/2) {
					lead := time.Duration(now - after)
					t.Fatalf("Now leads the kernel's clock by %v to %v", lead, time.Duration(now-before))
				}
			}
		})
	}
}

func TestEpoll_tieFails(t *testing.T) {
	var k epoll
	want := errors.New("no clock")
	if err := k.tie(func() (int64, error) { return 0, want }); err != want {
		t.Errorf("got %v", err)
	}
}

func TestWakeOne_isOneInTheOrderOfTheMachine(t *testing.T) {
	if n := binary.NativeEndian.Uint64(wakeOne[:]); n != 1 {
		t.Errorf("an eventfd reads %d", n)
	}
}
