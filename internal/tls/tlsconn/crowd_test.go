package tlsconn

import (
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// When there are too many, the one that has stood still for longest gives way; one that we wait for only after
// patience, one that computes never.
func TestCrowd_victim(t *testing.T) {
	const most = 3
	second := int64(time.Second)
	c := &crowd{}
	enter := func(now int64) (h, victim *seat) {
		h = wish(false)
		victim = c.enter(h, most, now)
		if victim != nil && victim != h {
			c.leave(victim)
		}
		return h, victim
	}
	silent, _ := enter(1 * second)
	asking, _ := enter(2 * second)
	asking.crowd.Remove() // its ClientHello has come
	late, _ := enter(3 * second)
	if h, victim := enter(4 * second); victim != silent {
		t.Fatal("the oldest that said nothing stays")
	} else if c.leave(h); c.n != 2 {
		t.Fatalf("%d are in progress", c.n)
	}
	c.stand(&c.awaited, late, 4*second)
	fresh, _ := enter(5 * second)
	if _, victim := enter(6 * second); victim != late {
		t.Fatal("one that has kept us waiting for two seconds stays")
	}
	c.leave(asking)
	enter(6 * second)
	for c.silent.Len() > 0 {
		h := c.silent.First()
		c.stand(&c.awaited, h, 6*second)
	}
	if h, victim := enter(6*second + patience); victim != h || c.n != most {
		t.Fatal("there is room, though all were computed and may answer yet")
	}
	if _, victim := enter(6*second + patience + 1); victim != fresh {
		t.Fatal("nobody gives way after patience")
	}
	c.silent.First().crowd.Remove()
	c.awaited.First().crowd.Remove()
	c.awaited.First().crowd.Remove()
	if h, victim := enter(60 * second); victim != h || c.n != most {
		t.Fatal("there is room, though all compute")
	}
}

// The budget of memory bounds how many handshakes there may be, where nobody says it.
func TestNewHandshaker_defaults(t *testing.T) {
	for _, c := range []struct {
		memory    int64
		max, want int
	}{{4 << 20, 0, 64}, {1 << 40, 0, 10000}, {4 << 20, 500, 500}, {1 << 10, 0, 1}} {
		e, err := engine.New(engine.Options{Reactors: 1, Memory: c.memory})
		testutil.Must(t, err)
		h := NewHandshaker(e, HandshakerOptions{Max: c.max})
		if h.share != c.want {
			t.Errorf("%d handshakes in %d bytes, want %d", h.share, c.memory, c.want)
		}
		e.Start()
		e.Stop()
	}
}

// A processor is left to reactors, where there is more than one.
func TestComputingDefault(t *testing.T) {
	for processors, want := range map[int]int{1: 1, 2: 1, 3: 2, 4: 3, 8: 6, 64: 48} {
		if n := computing(processors); n != want {
			t.Errorf("%d of %d processors, want %d", n, processors, want)
		}
	}
}
