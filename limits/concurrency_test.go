package limits_test

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/edge-proxy/edge/limits"
)

const ms = time.Millisecond

// service answers with so many workers, each in so much time, however many requests there are: what is above the
// workers waits inside.
type service struct {
	workers int
	work    time.Duration
}

// window is what is measured when so many requests are under way all the time.
func (s service) window(inFlight int, held bool) limits.Window {
	latency := s.work
	if inFlight > s.workers {
		latency = s.work * time.Duration(inFlight) / time.Duration(s.workers)
	}
	return limits.Window{
		Samples: max(50, int(float64(min(inFlight, s.workers))*float64(100*ms)/float64(s.work))), Latency: latency,
		InFlight: float64(inFlight), Most: inFlight, Held: held,
	}
}

// Where more requests come than a service takes, the limit comes near its workers and stays there, whatever it began
// with, also when the work changes.
func TestConcurrency_findsTheWorkers(t *testing.T) {
	for _, workers := range []int{8, 64, 500, 3000} {
		c := limits.NewConcurrency()
		for i := range 4000 {
			s := service{workers, 10 * ms}
			if i > 2000 {
				s.work = 40 * ms
			}
			c.Update(int64(i+1)*int64(100*ms), s.window(c.Limit(), true))
			probing := c.Limit() < workers
			// For 11 s after the work has changed nothing is known of it.
			if settled := i > 300 && i < 2000 || i > 2120; settled && !probing && c.Limit() > workers*3/2+8 {
				t.Fatalf("%d workers: after %d windows the limit is %d", workers, i, c.Limit())
			}
		}
		if floor := c.Floor(); floor < 38*ms || floor > 42*ms {
			t.Errorf("%d workers: the floor is %v", workers, floor)
		}
	}
}

// Where another limit holds requests back, below what the service takes, the limit stays within reach of what is under
// way: it would grow for ever, and be no bound when the other one is lifted.
func TestConcurrency_underAnotherLimit(t *testing.T) {
	c := limits.NewConcurrency()
	s, others := service{64, 10 * ms}, 40
	for i := range 5000 {
		c.Update(int64(i)*int64(100*ms), s.window(min(c.Limit(), others), true))
		if c.Limit() > 3*others || c.Limit() < 4 {
			t.Fatalf("window %d: limit %d where another one holds at %d", i, c.Limit(), others)
		}
	}
}

// While nothing is held back, the limit stays above what is under way, so that nothing will be, and falls slowly to
// three times of it.
func TestConcurrency_staysAbove(t *testing.T) {
	c, now := limits.NewConcurrency(), int64(0)
	for _, load := range []int{10, 30, 60, 100, 40, 3} {
		for range 500 {
			now += int64(100 * ms)
			c.Update(now, service{200, 10 * ms}.window(load, false))
			if c.Limit() < 2*load || c.Limit() < 20 {
				t.Fatalf("%d under way and a limit of %d", load, c.Limit())
			}
		}
		if c.Limit() > 3*load+21 {
			t.Errorf("%d under way, and a limit of %d after 50 s", load, c.Limit())
		}
	}
}

// A window without answers says nothing.
func TestConcurrency_emptyWindow(t *testing.T) {
	c := limits.NewConcurrency()
	c.Update(1, limits.Window{Held: true})
	if c.Limit() != 20 || c.Floor() != 0 {
		t.Errorf("a limit of %d, a floor of %v", c.Limit(), c.Floor())
	}
}

// Whatever is measured: the limit lets some requests through, and is no nonsense.
func FuzzConcurrency(f *testing.F) {
	f.Add([]byte("0123456789abcdef0123456789abcdef0123456789abcdef"))
	f.Add(make([]byte, 64))
	f.Fuzz(func(t *testing.T, p []byte) {
		c, now := limits.NewConcurrency(), int64(0)
		for ; len(p) >= 16; p = p[16:] {
			now += int64(binary.LittleEndian.Uint32(p))
			most := int(binary.LittleEndian.Uint16(p[4:]))
			c.Update(now, limits.Window{
				Samples:  int(binary.LittleEndian.Uint16(p[6:])),
				Latency:  time.Duration(binary.LittleEndian.Uint32(p[8:])) - 5,
				InFlight: float64(most) * float64(p[12]) / 255, Most: most, Held: p[13]&1 == 1,
			})
			if n := c.Limit(); n < 4 || n > 1<<40 || c.Floor() < 0 {
				t.Fatalf("a limit of %d, a floor of %v", n, c.Floor())
			}
		}
	})
}

func ExampleConcurrency() {
	c := limits.NewConcurrency()
	// A service has 64 workers of 10 ms, and more requests come than it takes: as many are under way as may be.
	for i := range 100 {
		inFlight := c.Limit()
		latency := 10 * time.Millisecond * time.Duration(max(inFlight, 64)) / 64
		c.Update(int64(i+1)*int64(limits.WindowLeast), limits.Window{
			Samples: 640, Latency: latency, InFlight: float64(inFlight), Most: inFlight, Held: true,
		})
	}
	fmt.Println(c.Limit() > 64, c.Limit() < 100, c.Floor())
	// Output: true true 10ms
}
