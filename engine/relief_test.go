package engine_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
)

// relenting gives back what it holds when it has waited for as long as it is asked for.
type relenting struct {
	script
	waited time.Duration
	holds  int
	asked  []time.Duration
}

func (y *relenting) Relieve(c *engine.Conn, age time.Duration) {
	y.asked = append(y.asked, age)
	if y.holds > 0 && y.waited >= age {
		c.Reactor().Account(-y.holds)
		y.holds = 0
	}
}

// Under pressure those are given up first that have kept us waiting longest, and no more of them than need be.
func TestRelief_longestFirst(t *testing.T) {
	for _, c := range []struct {
		name   string
		held   int // MiB in all, of 64
		waited []time.Duration
		given  string // the connections that gave up, in the order of waited
	}{
		{"below 80 %", 50, []time.Duration{time.Hour, time.Minute, time.Second}, "[false false false]"},
		{"longest first", 52, []time.Duration{2 * time.Second, time.Minute, 5 * time.Second}, "[false true false]"},
		{"as many as need be", 54, []time.Duration{2 * time.Second, time.Minute, 5 * time.Second}, "[false true true]"},
		{"not below 1 s at 80 %", 54, []time.Duration{time.Minute, 0, 900 * time.Millisecond}, "[true false false]"},
		{"250 ms at 90 %", 59, []time.Duration{300 * time.Millisecond, 0, 200e6}, "[true false false]"},
		{"anybody at 95 %", 62, []time.Duration{0, 0, 0}, "[true true true]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newRig(t, engine.Options{Memory: 64 << 20})
			var all []*relenting
			for _, w := range c.waited {
				y := &relenting{waited: w, holds: 2 << 20}
				g.open(y)
				all = append(all, y)
			}
			g.on(func() { g.reactor.Account(c.held << 20) })
			g.pass(100 * time.Millisecond)
			var given []bool
			for _, y := range all {
				given = append(given, y.holds == 0)
			}
			if got := fmt.Sprint(given); got != c.given {
				t.Fatalf("given up: %v, want %v; pressure %d", got, c.given, g.reactor.Pressure())
			}
			g.on(func() { g.reactor.Account(-int(g.reactor.Stats().BufBytes)) })
		})
	}
}

// Connections that this side has opened are asked as those of clients: a backend may keep us waiting, too.
func TestRelief_dialedConns(t *testing.T) {
	g := newRig(t, engine.Options{Memory: 64 << 20})
	y := &relenting{waited: time.Minute, holds: 2 << 20}
	g.dial(y)
	g.on(func() { g.reactor.Account(52 << 20) })
	g.pass(100 * time.Millisecond)
	if y.holds > 0 {
		t.Errorf("it has been asked %d times, and holds what it held", len(y.asked))
	}
	g.on(func() { g.reactor.Account(-int(g.reactor.Stats().BufBytes)) })
}

// A connection that closes and whose peer does not take the last of it is given up too.
func TestRelief_closingConns(t *testing.T) {
	g := newRig(t, engine.Options{Memory: 64 << 20, SendMax: 8 << 20})
	s := &script{}
	c, _ := g.open(s)
	g.loop.SendMax = 1
	g.on(func() {
		c.Write(make([]byte, 4<<20))
		c.Close(nil)
	})
	g.on(func() { g.reactor.Account(50 << 20) })
	g.pass(500 * time.Millisecond)
	if s.saw("close(" + engine.ErrTimeout.Error() + ")") {
		t.Fatal("given up after half a second")
	}
	g.pass(600 * time.Millisecond)
	if !s.saw("close("+engine.ErrTimeout.Error()+")") || g.reactor.Stats().GivenUp != 1 {
		t.Fatal(s.events(), g.reactor.Stats().GivenUp)
	}
	g.on(func() { g.reactor.Account(-50 << 20) })
}

// A handler that panics when it is asked costs its own connection only.
func TestRelief_panics(t *testing.T) {
	g := newRig(t, engine.Options{Memory: 64 << 20})
	bad := &panicky{}
	g.open(bad)
	good := &relenting{waited: time.Minute, holds: 10 << 20}
	g.open(good)
	g.on(func() { g.reactor.Account(55 << 20) })
	g.pass(100 * time.Millisecond)
	if !bad.saw("close("+engine.ErrPanic.Error()+")") || good.holds != 0 {
		t.Fatal(bad.events(), good.holds)
	}
	g.on(func() { g.reactor.Account(-45 << 20) })
}

type panicky struct{ script }

func (*panicky) Relieve(*engine.Conn, time.Duration) { panic(errTest) }

// The turn after the one that brings the pressure to its last step refuses nothing: relief comes between the two, and
// frees at once what a connection that it closes had read.
func TestRelief_beforeTheNextTurn(t *testing.T) {
	for _, c := range []struct {
		name string
		hold int // beside what it has not read
		give func(c *engine.Conn)
	}{
		{"it holds less", 8 << 20, func(c *engine.Conn) { c.Reactor().Account(-8 << 20) }},
		{"it closes, with bytes unread", 0, func(c *engine.Conn) { c.Close(nil) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newRig(t, engine.Options{Memory: 64 << 20, ReadSize: 1 << 20, ReadMax: 16 << 20})
			slow := &yielding{give: c.give}
			slow.onData = func(*engine.Conn, []byte) int { return 0 }
			_, slowFD := g.open(slow)
			for range 10 - c.hold>>20 {
				g.inject(slowFD, string(make([]byte, 1<<20)))
			}
			g.on(func() { g.reactor.Account(c.hold) })
			held := g.reactor.Stats().BufBytes
			if held < 8<<20 {
				t.Fatalf("%d bytes are held", held)
			}
			hog, next := &script{}, &script{}
			hog.onData = func(c *engine.Conn, in []byte) int {
				c.Reactor().Account(int(62<<20 - held))
				hog.note("%v", c.Reactor().Overloaded())
				return len(in)
			}
			next.onData = func(c *engine.Conn, in []byte) int {
				next.note("%v %v", c.Reactor().Overloaded(), c.Reactor().Pressure() == engine.PressureShed)
				return len(in)
			}
			_, hogFD := g.open(hog)
			_, nextFD := g.open(next)
			g.loop.Inject(hogFD, []byte("x"))
			g.loop.Inject(nextFD, []byte("y"))
			g.ticks(3)
			g.want(hog.events()+" "+next.events(), "open data(x) false open data(y) false false")
			g.on(func() { g.reactor.Account(-int(62<<20 - held)) })
		})
	}
}

// yielding gives way once, at whatever age it is asked.
type yielding struct {
	script
	give func(c *engine.Conn)
}

func (y *yielding) Relieve(c *engine.Conn, _ time.Duration) {
	if y.give != nil {
		y.give(c)
		y.give = nil
	}
}

// When nothing gives way, new work is refused for as long as the pressure lasts.
func TestRelief_nobodyGivesWay(t *testing.T) {
	g := newRig(t, engine.Options{Memory: 64 << 20})
	s := &script{}
	s.onData = func(c *engine.Conn, in []byte) int {
		s.note("%v", c.Reactor().Overloaded())
		return len(in)
	}
	_, fd := g.open(s)
	g.on(func() { g.reactor.Account(62 << 20) })
	g.ticks(1)
	g.inject(fd, "a")
	g.on(func() { g.reactor.Account(-20 << 20) })
	g.inject(fd, "b")
	g.want(s.events(), "open data(a) true data(b) false")
	g.on(func() { g.reactor.Account(-42 << 20) })
}

// An answer that is queued until the end of the tick does not count as one that its client does not take, even if the
// connection closes after it.
func TestRelief_notSentYet(t *testing.T) {
	g := newRig(t, engine.Options{Memory: 64 << 20})
	s := &script{}
	s.onData = func(c *engine.Conn, in []byte) int {
		c.Write([]byte("answer"))
		c.Close(nil)
		c.Reactor().Account(62 << 20)
		return len(in)
	}
	_, fd := g.open(s)
	g.inject(fd, "x")
	if n := g.reactor.Stats().GivenUp; n != 0 || g.sent(fd) != "answer" {
		t.Fatalf("%d given up, %q sent", n, g.sent(fd))
	}
	g.on(func() { g.reactor.Account(-62 << 20) })
}
