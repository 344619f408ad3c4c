package upstream_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/session"
)

// An address that does not answer is passed over until a connection of its own stands: nobody waits for it.
func TestRevisit_untilItCanBeReached(t *testing.T) {
	sim.Run(t, 100, func(t testing.TB, w *sim.World) {
		set := backend.Of(addr(1).String(), addr(2).String())
		x := newWorld(t, w, upstream.Options{Backends: set, Connect: 500 * time.Millisecond}, 2)
		dead := set.Members()[0]
		x.origins[0].Ignore(true)
		a := x.beginAt(dead)
		x.run(func() bool { return a.reset && dead.Reasons() == backend.Unreachable })
		for range 4 {
			if m := x.u.View().Pick(x.reactor, nil); m == dead {
				t.Fatal("it is picked")
			}
		}
		// It is tried after 10 s and after 20 s more, and can be reached when it is tried for the third time.
		begun := w.Now()
		w.After(40*time.Second, func() { x.origins[0].Ignore(false) })
		x.run(func() bool { return dead.Reasons() == 0 })
		if took := time.Duration(w.Now() - begun); took < 70*time.Second || took > 80*time.Second {
			t.Errorf("it was passed over for %v", took)
		}
		if n := x.stats(); n.PassedOver != 1 {
			t.Errorf("%+v", n)
		}
		// Not long afterwards it is silent again: then the time is longer at once.
		x.origins[0].Ignore(true)
		a = x.beginAt(dead)
		x.run(func() bool { return a.reset && dead.Reasons() == backend.Unreachable })
		x.origins[0].Ignore(false)
		begun = w.Now()
		x.run(func() bool { return dead.Reasons() == 0 })
		if took := time.Duration(w.Now() - begun); took < 79*time.Second || took > 82*time.Second {
			t.Errorf("then it was passed over for %v", took)
		}
	})
}

// A client that has given up after a while has found the address silent too; one that leaves at once has found nothing.
func TestRevisit_clientsThatGaveUp(t *testing.T) {
	sim.Run(t, 100, func(t testing.TB, w *sim.World) {
		x := newWorld(t, w, upstream.Options{}, 1)
		m := first(x.u)
		x.origins[0].Ignore(true)
		for _, c := range []struct {
			after time.Duration
			want  backend.Reason
		}{{100 * time.Millisecond, 0}, {1500 * time.Millisecond, backend.Unreachable}} {
			gone := false
			s, _ := x.open(m)
			leave := &engine.Task{Run: func(*engine.Reactor) { s.Reset(session.Cancelled); gone = true }}
			w.After(c.after, func() { x.reactor.Post(leave) })
			x.run(func() bool { return gone && x.stats().Connections == 0 })
			if m.Reasons() != c.want {
				t.Errorf("after %v: reasons %b, want %b", c.after, m.Reasons(), c.want)
			}
		}
	})
}

// When the upstream is closed nobody would try the address any more: it is used as ever.
func TestRevisit_ofAnUpstreamThatCloses(t *testing.T) {
	sim.Run(t, 100, func(t testing.TB, w *sim.World) {
		x := newWorld(t, w, upstream.Options{Connect: time.Second}, 1)
		m := first(x.u)
		x.origins[0].Ignore(true)
		a := x.begin()
		x.run(func() bool { return a.reset && m.Reasons() != 0 })
		x.u.Close()
		x.run(func() bool { return m.Reasons() == 0 })
	})
}

// An address that answers now and then, as one does whose queue of connections is full, is told once, and visited by
// one at a time, however often it is passed over.
func TestRevisit_ofWhatFlaps(t *testing.T) {
	var told bytes.Buffer
	testutil.EventLog(t, slog.NewTextHandler(&told, nil))
	sim.Run(t, 20, func(t testing.TB, w *sim.World) {
		told.Reset()
		x := newWorld(t, w, upstream.Options{Connect: 100 * time.Millisecond}, 1)
		m := first(x.u)
		x.origins[0].Ignore(true)
		for i := range 30 { // in 3 s
			if i > 0 {
				m.Readmit(addr(1)) // as a connection that stood does
			}
			a := x.beginAt(m)
			x.run(func() bool { return a.reset && m.Reasons() == backend.Unreachable })
		}
		if n := strings.Count(told.String(), "is passed over"); n != 1 || x.stats().PassedOver != 30 {
			t.Errorf("it is told %d times, %+v", n, x.stats())
		}
		// At the end it is found again, also where it was used again and passed over once more.
		w.After(time.Minute, func() { x.origins[0].Ignore(false) })
		x.run(func() bool { return m.Reasons() == 0 })
		x.origins[0].Ignore(true)
		a := x.beginAt(m)
		x.run(func() bool { return a.reset && m.Reasons() == backend.Unreachable })
		x.origins[0].Ignore(false)
		x.run(func() bool { return m.Reasons() == 0 })
		if n := strings.Count(told.String(), "is passed over"); n != 2 {
			t.Errorf("then it is told %d times", n)
		}
	})
}

// What refuses is asked again by a connection of its own after half a second, then after a second and after two.
func TestRevisit_ofWhatRefuses(t *testing.T) {
	sim.Run(t, 100, func(t testing.TB, w *sim.World) {
		x := newWorld(t, w, upstream.Options{}, 1)
		x.origins[0].Refuse(true)
		a := x.begin()
		x.run(func() bool { return a.reset })
		m, begun := first(x.u), w.Now()
		if m.Reasons() != backend.Unreachable {
			t.Errorf("reasons %b", m.Reasons())
		}
		w.After(3*time.Second, func() { x.origins[0].Refuse(false) })
		x.run(func() bool { return m.Reasons() == 0 })
		if took := time.Duration(w.Now() - begun); took < 3400*time.Millisecond || took > 3700*time.Millisecond {
			t.Errorf("it was passed over for %v", took)
		}
	})
}
