package engine_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

// errBoom is what handlers of these tests panic with. Not a string: in a checked build a string is an invariant.
var errBoom = errors.New("boom")

func TestMain(m *testing.M) {
	// Panics of handlers are part of these tests, and their stacks only hide what failed.
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}

func TestReactor_panicCostsOneConn(t *testing.T) {
	boom := func(*engine.Conn) { panic(errBoom) }
	for _, tc := range []struct {
		name, want string
		script     *script
		do         func(g *rig, c *engine.Conn, fd poller.FD)
	}{
		{"OnOpen", "open close(handler panicked)", &script{onOpen: boom}, nil},
		{"OnData", "open data(x) close(handler panicked)",
			&script{onData: func(c *engine.Conn, _ []byte) int { panic(errBoom) }},
			func(g *rig, _ *engine.Conn, fd poller.FD) { g.inject(fd, "x") }},
		{"OnData of kept bytes", "open data(x) data(xy) close(handler panicked)",
			&script{onData: func(c *engine.Conn, in []byte) int {
				if len(in) > 1 {
					panic(errBoom)
				}
				return 0
			}},
			func(g *rig, _ *engine.Conn, fd poller.FD) { g.inject(fd, "x"); g.inject(fd, "y") }},
		{"OnSendable", "open sendable close(handler panicked)", &script{onSendable: boom},
			func(g *rig, c *engine.Conn, _ poller.FD) { g.on(func() { c.Write(make([]byte, 3000)) }) }},
		{"OnTimeout", "open timeout close(handler panicked)", &script{onTimeout: boom},
			func(g *rig, c *engine.Conn, _ poller.FD) { g.on(func() { c.SetTimeout(1) }); g.pass(time.Second) }},
		{"OnEOF", "open eof close(handler panicked)", &script{onEOF: boom},
			func(g *rig, _ *engine.Conn, fd poller.FD) { g.loop.Finish(fd) }},
		{"OnClose", "open close(test)",
			&script{onClose: func(*engine.Conn, error) { panic(errBoom) }},
			func(g *rig, c *engine.Conn, _ poller.FD) { g.on(func() { c.Close(errTest) }) }},
	} {
		g := newRig(t, engine.Options{SendLow: 1000})
		by := &script{}
		_, byFD := g.open(by)
		c, fd := g.open(tc.script)
		if tc.do != nil {
			tc.do(g, c, fd)
		}
		g.ticks(2)
		g.want(tc.name+": "+tc.script.events(), tc.name+": "+tc.want)
		g.inject(byFD, "hi")
		g.want(by.events(), "open data(hi)")
		st := g.reactor.Stats()
		if st.Panics != 1 || st.Conns != 1 || st.BufBytes != 0 || g.loop.Sock(fd).Open {
			t.Fatalf("%s: %+v", tc.name, st)
		}
	}
}

func TestReactor_panicOfOneEventDoesNotTouchTheOthersOfItsBatch(t *testing.T) {
	g := newRig(t, engine.Options{})
	var fds []poller.FD
	var all []*script
	for i := range 20 {
		s := &script{}
		if i%2 == 0 {
			s.onData = func(*engine.Conn, []byte) int { panic(errBoom) }
		}
		_, fd := g.open(s)
		fds, all = append(fds, fd), append(all, s)
	}
	for _, fd := range fds {
		g.loop.Inject(fd, []byte("x"))
	}
	ran := false
	g.reactor.Post(&engine.Task{Run: func(*engine.Reactor) { panic(errBoom) }})
	g.reactor.Post(&engine.Task{Run: func(*engine.Reactor) { ran = true }})
	g.ticks(2)
	for i, s := range all {
		want := "open data(x)"
		if i%2 == 0 {
			want += " close(handler panicked)"
		}
		g.want(s.events(), want)
	}
	if !ran || g.reactor.Stats().Panics != 11 {
		t.Fatalf("task ran %v, %d panics", ran, g.reactor.Stats().Panics)
	}
}

func TestReactor_panicOfTaskAndTimer(t *testing.T) {
	g := newRig(t, engine.Options{})
	var log []string
	timer := &engine.Timer{Run: func(*engine.Reactor) { log = append(log, "timer"); panic(errBoom) }}
	later := &engine.Task{Run: func(*engine.Reactor) { log = append(log, "later"); panic(errBoom) }}
	last := &engine.Task{Run: func(*engine.Reactor) { log = append(log, "last") }}
	g.on(func() {
		g.reactor.Arm(timer, g.reactor.Now()+1)
		g.reactor.Defer(later)
		g.reactor.Defer(last)
	})
	g.pass(time.Second)
	g.want(strings.Join(log, " "), "later last timer")
}

func TestReactor_panicOfAcceptCostsThatConnOnly(t *testing.T) {
	g := newRig(t, engine.Options{})
	g.listen(engine.ListenOptions{})
	n := 0
	s := &script{}
	g.accept = func(*engine.Conn) engine.Handler {
		if n++; n%2 == 1 {
			panic(errBoom)
		}
		return s
	}
	for range 6 {
		g.loop.Offer(g.door, loopback)
	}
	g.ticks(2)
	g.want(s.events(), "open open open")
	for range 2 {
		g.loop.Offer(g.door, loopback)
	}
	g.listener.Close()
	g.ticks(2)
	g.want(s.events(), "open open open open")
	if st := g.reactor.Stats(); st.Panics != 4 || st.Conns != 4 {
		t.Fatalf("%+v", st)
	}
}

func TestReactor_acceptThatGivesNoHandlerCloses(t *testing.T) {
	g := newRig(t, engine.Options{})
	g.listen(engine.ListenOptions{})
	g.accept = func(*engine.Conn) engine.Handler { return nil }
	fd := g.loop.Offer(g.door, loopback)
	g.ticks(2)
	if g.loop.Sock(fd).Open || g.engine.Conns() != 0 || g.listener.Conns() != 0 {
		t.Fatal("still open")
	}
}

func TestReactor_selfDeferringTaskDoesNotKeepTheTick(t *testing.T) {
	g := newRig(t, engine.Options{})
	n := 0
	task := &engine.Task{}
	task.Run = func(r *engine.Reactor) { n++; r.Defer(task) }
	g.on(func() { g.reactor.Defer(task) })
	s := &script{}
	_, fd := g.open(s)
	g.inject(fd, "x")
	g.want(s.events(), "open data(x)")
	if n == 0 || n > 1000 {
		t.Fatalf("ran %d times in a few ticks", n)
	}
}

func TestReactor_bulkReaderWaitsForItsNextTurn(t *testing.T) {
	g := newRig(t, engine.Options{})
	reads := 0
	_, bulk := g.open(&script{})
	s := &script{}
	_, fd := g.open(s)
	g.kernel.onRead = func(f poller.FD, p []byte) (int, syscall.Errno) {
		if f != bulk {
			return g.loop.Read(f, p)
		}
		reads++
		return len(p), 0 // always more
	}
	g.loop.Inject(bulk, []byte("x"))
	g.loop.Inject(fd, []byte("x"))
	g.ticks(1)
	if reads == 0 || reads > 16 {
		t.Fatalf("%d reads in one tick", reads)
	}
	g.want(s.events(), "open data(x)")
	before := reads
	g.ticks(1)
	if reads == before {
		t.Fatal("the bulk reader has no further turn")
	}
}

// Answers come before requests of the same batch, whichever the kernel told of first; among themselves both keep its
// order. A connection that has a place on the list already keeps that.
func TestReactor_answersComeBeforeRequests(t *testing.T) {
	g := newRig(t, engine.Options{})
	var order []string
	say := func(name string) *script {
		return &script{onData: func(_ *engine.Conn, in []byte) int {
			order = append(order, name+string(in))
			return len(in)
		}}
	}
	_, client1 := g.open(say("client1"))
	_, origin1 := g.dial(say("origin1"))
	c2, client2 := g.open(say("client2"))
	_, origin2 := g.dial(say("origin2"))
	inject := func() {
		order = order[:0]
		for _, fd := range []poller.FD{client1, origin1, client2, origin2} {
			g.loop.Inject(fd, []byte("!"))
		}
	}
	inject()
	g.ticks(1)
	g.want(strings.Join(order, " "), "origin1! origin2! client1! client2!")
	g.on(c2.PauseRead)
	inject()
	g.ticks(1)
	g.want(strings.Join(order, " "), "origin1! origin2! client1!")
	order = order[:0]
	g.reactor.Post(&engine.Task{Run: func(*engine.Reactor) { c2.ResumeRead() }})
	g.loop.Inject(origin1, []byte("?"))
	g.ticks(1)
	g.want(strings.Join(order, " "), "origin1? client2!")
}

func TestReactor_turnsEndByTime(t *testing.T) {
	g := newRig(t, engine.Options{})
	var order []string
	var fds []poller.FD
	for range 100 {
		_, fd := g.open(&script{onData: func(_ *engine.Conn, in []byte) int {
			g.loop.Advance(int64(time.Millisecond))
			order = append(order, "data")
			return len(in)
		}})
		fds = append(fds, fd)
	}
	for _, fd := range fds {
		g.loop.Inject(fd, []byte("x"))
	}
	g.ticks(1)
	g.on(func() { order = append(order, "task") })
	if len(order) == 101 && order[100] == "task" || len(order) < 2 || g.reactor.Stats().TurnsCut == 0 {
		t.Fatalf("mail waited for %d turns of 1 ms", len(order))
	}
	for range 20 {
		g.ticks(1)
	}
	if len(order) != 101 {
		t.Fatalf("%d of 100 turns", len(order)-1)
	}
}

func TestReactor_armInTheTickOfTheFiringReplacesIt(t *testing.T) {
	g := newRig(t, engine.Options{})
	n := 0
	timer := &engine.Timer{Run: func(*engine.Reactor) { n++ }}
	c, _ := g.open(&script{onTimeout: func(*engine.Conn) {
		// Runs in the tick in which both fired, before the timer's task.
		g.reactor.Arm(timer, g.reactor.Now()+int64(time.Second))
	}})
	g.on(func() {
		g.reactor.Arm(timer, g.reactor.Now()+1)
		c.SetTimeout(1)
	})
	g.pass(10 * time.Millisecond)
	if n != 0 {
		t.Fatal("the time that was replaced fired")
	}
	g.pass(2 * time.Second)
	if n != 1 {
		t.Fatalf("fired %d times", n)
	}
	g.on(func() { g.reactor.Arm(timer, g.reactor.Now()+1); g.reactor.Disarm(timer) })
	g.pass(time.Second)
	if n != 1 {
		t.Fatal("fired although disarmed")
	}
}

func TestReactor_acceptPausesWithoutSpinning(t *testing.T) {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOTSOCK} {
		g := newRig(t, engine.Options{})
		g.listen(engine.ListenOptions{})
		s := &script{}
		g.accept = func(*engine.Conn) engine.Handler { return s }
		tries, full := 0, true
		g.kernel.onAccept = func(l poller.FD) (poller.FD, poller.Addr, syscall.Errno) {
			tries++
			if full {
				return poller.NoFD, poller.Addr{}, e
			}
			return g.loop.Accept(l)
		}
		g.loop.Offer(g.door, loopback)
		g.ticks(100)
		if tries != 1 {
			t.Fatalf("%v: accept was tried %d times in 100 ticks", e, tries)
		}
		full = false // without a new edge
		g.pass(50 * time.Millisecond)
		g.want(s.events(), "open")
	}
}

func TestReactor_pauseIsNotPutOffByTheNextOne(t *testing.T) {
	g := newRig(t, engine.Options{})
	g.listen(engine.ListenOptions{})
	s := &script{}
	g.accept = func(*engine.Conn) engine.Handler { return s }
	full := true
	g.kernel.onAccept = func(l poller.FD) (poller.FD, poller.Addr, syscall.Errno) {
		if full {
			return poller.NoFD, poller.Addr{}, syscall.EMFILE
		}
		return g.loop.Accept(l)
	}
	for range 3 {
		g.loop.Offer(g.door, loopback) // each is an edge, and each fails
		g.pass(10 * time.Millisecond)
	}
	full = false
	g.pass(12 * time.Millisecond)
	g.want(s.events(), "open open open")
}

func TestReactor_acceptGoesOnBehindADeadOne(t *testing.T) {
	g := newRig(t, engine.Options{})
	g.listen(engine.ListenOptions{})
	s := &script{}
	g.accept = func(*engine.Conn) engine.Handler { return s }
	aborted := false
	g.kernel.onAccept = func(l poller.FD) (poller.FD, poller.Addr, syscall.Errno) {
		if !aborted {
			aborted = true
			return poller.NoFD, poller.Addr{}, syscall.ECONNABORTED
		}
		return g.loop.Accept(l)
	}
	g.loop.Offer(g.door, loopback)
	g.ticks(2)
	g.want(s.events(), "open")
	if g.listener.Conns() != 1 || g.reactor.Stats().AcceptFailed != 1 {
		t.Fatalf("%d conns, %+v", g.listener.Conns(), g.reactor.Stats())
	}
}

// gate is full for as long as it says.
type gate bool

func (full *gate) Full(*engine.Reactor) (bool, int) { return bool(*full), 7 }

// While a gate is full, connections wait, as many as it says; a moment after it is not, they are accepted.
func TestListener_gate(t *testing.T) {
	g := newRig(t, engine.Options{})
	full := gate(true)
	g.listen(engine.ListenOptions{Gate: &full})
	accepted := 0
	g.accept = func(*engine.Conn) engine.Handler {
		accepted++
		return &script{}
	}
	g.loop.Offer(g.door, loopback)
	g.loop.Offer(g.door, loopback)
	g.ticks(5)
	if paused := g.reactor.Stats().AcceptPaused; accepted != 0 || paused == 0 {
		t.Fatalf("%d accepted, paused %d times", accepted, paused)
	}
	full = false
	g.pass(30 * time.Millisecond)
	if accepted != 2 || !slices.Equal(g.kernel.backlogs, []int{7, 0}) {
		t.Fatalf("%d accepted, backlogs of %v", accepted, g.kernel.backlogs)
	}
}

func TestReactor_connsMaxHoldsAndGivesWayAtOnce(t *testing.T) {
	g := newRig(t, engine.Options{})
	g.listen(engine.ListenOptions{ConnsMax: 2})
	var conns []*engine.Conn
	g.accept = func(c *engine.Conn) engine.Handler {
		conns = append(conns, c)
		return &script{}
	}
	for range 5 {
		g.loop.Offer(g.door, loopback)
	}
	g.ticks(3)
	if len(conns) != 2 || g.listener.Conns() != 2 {
		t.Fatalf("%d accepted, 2 allowed", len(conns))
	}
	g.on(func() { conns[0].Close(errTest) })
	g.ticks(2)
	if len(conns) != 3 {
		t.Fatalf("%d accepted after one closed, want 3", len(conns))
	}
}

// The connections of all listeners are bounded where as many descriptors are open. Above that they wait, unless an idle
// one makes room.
func TestEngine_connsMax(t *testing.T) {
	g := newRig(t, engine.Options{ConnsMax: 3})
	g.listen(engine.ListenOptions{})
	var conns []*engine.Conn
	g.accept = func(c *engine.Conn) engine.Handler {
		conns = append(conns, c)
		if len(conns) == 4 {
			return &yielder{}
		}
		return &script{}
	}
	for range 6 {
		g.loop.Offer(g.door, loopback)
	}
	g.pass(100 * time.Millisecond)
	if len(conns) != 3 || g.reactor.Stats().AcceptPaused == 0 {
		t.Fatalf("%d accepted, 3 allowed", len(conns))
	}
	g.on(func() { conns[0].Close(errTest) })
	g.pass(100 * time.Millisecond)
	if len(conns) != 4 {
		t.Fatalf("%d accepted after one closed, want 4", len(conns))
	}
	g.pass(2 * time.Second)
	if n := g.reactor.Stats().Yielded; len(conns) != 5 || n != 1 {
		t.Fatalf("%d accepted, %d made room, want 5 and 1", len(conns), n)
	}
}

func TestReactor_pressurePausesAcceptingAndReading(t *testing.T) {
	g := newRig(t, engine.Options{Memory: 64 << 20, SendMax: 128 << 20})
	hog, _ := g.open(&script{})
	s := &script{onData: func(*engine.Conn, []byte) int { return 0 }}
	_, fd := g.open(s)
	g.inject(fd, "a")
	g.loop.SendMax = 1
	g.on(func() { hog.Write(make([]byte, 62<<20)) })
	if p := g.reactor.Pressure(); p != engine.PressureShed {
		t.Fatalf("pressure %d", p)
	}
	accepted := 0
	g.accept = func(*engine.Conn) engine.Handler { accepted++; return &script{} }
	g.loop.Offer(g.door, loopback)
	g.inject(fd, "b") // holds less than its share: it is read
	g.want(s.events(), "open data(a) data(ab)")
	if accepted != 0 || g.reactor.Stats().AcceptPaused == 0 {
		t.Fatal("accepted under pressure")
	}
	g.on(func() { hog.Close(errTest) })
	g.pass(30 * time.Millisecond)
	if accepted != 1 {
		t.Fatal("not accepted when the pressure was gone")
	}
}

// What a handler keeps counts as what is in buffers does, and under pressure there comes less of it at a time.
func TestReactor_pressureMakesReadsSmall(t *testing.T) {
	g := newRig(t, engine.Options{Memory: 64 << 20})
	var sizes []int
	s := &script{onData: func(_ *engine.Conn, in []byte) int { sizes = append(sizes, len(in)); return len(in) }}
	_, fd := g.open(s)
	g.on(func() { g.reactor.Account(53 << 20) })
	g.inject(fd, strings.Repeat("a", 12<<10))
	g.ticks(2)
	g.on(func() { g.reactor.Account(-53 << 20) })
	g.inject(fd, strings.Repeat("a", 12<<10))
	g.ticks(2)
	if want := []int{4 << 10, 4 << 10, 4 << 10, 12 << 10}; !slices.Equal(sizes, want) {
		t.Fatalf("reads of %d bytes, want %d", sizes, want)
	}
}

// So it is where a Layer decodes what is read.
func TestReactor_pressureMakesReadsOfRecordsSmall(t *testing.T) {
	g := newRig(t, engine.Options{Memory: 64 << 20})
	largest := 0
	_, wire, _ := g.secured(&script{onData: func(_ *engine.Conn, in []byte) int {
		largest = max(largest, len(in))
		return len(in)
	}})
	records := strings.Repeat("d08aaaaaaaa", 2<<10)
	g.on(func() { g.reactor.Account(53 << 20) })
	wire(records)
	g.ticks(10)
	if largest == 0 || largest > 4<<10 {
		t.Errorf("%d bytes at once", largest)
	}
	g.on(func() { g.reactor.Account(-53 << 20) })
	wire(records)
	if largest != 16<<10 {
		t.Errorf("%d bytes at once when the pressure was gone", largest)
	}
}

func TestReactor_readingIsPutOffAboveTheShareOnly(t *testing.T) {
	g := newRig(t, engine.Options{Memory: 64 << 20, SendMax: 128 << 20, ReadMax: 1 << 30})
	s := &script{onData: func(*engine.Conn, []byte) int { return 0 }}
	c, fd := g.open(s)
	g.open(&script{}) // each of the two has half
	g.loop.SendMax = 1
	g.inject(fd, "a")
	g.on(func() { c.Write(make([]byte, 63<<20)) })
	g.inject(fd, "b")
	g.ticks(5)
	g.want(s.events(), "open data(a)")
	if n := g.reactor.Stats().ReadPaused; n != 1 {
		t.Fatalf("read pauses: %d", n)
	}
	g.loop.SendMax = 0
	g.loop.Drained(fd)
	g.pass(50 * time.Millisecond)
	g.want(s.events(), "open data(a) sendable data(ab)")
}

func TestReactor_dialFailsAtOnce(t *testing.T) {
	g := newRig(t, engine.Options{})
	for _, tc := range []struct {
		errno syscall.Errno
		want  error
	}{
		{syscall.ENETUNREACH, syscall.ENETUNREACH},
		{syscall.EMFILE, engine.ErrNoDescriptors},
		{syscall.EAGAIN, syscall.EAGAIN}, // no local port left; only a Unix socket is tried again
	} {
		g.kernel.onConnect = func(poller.Addr, *poller.ConnectOptions) (poller.FD, syscall.Errno) {
			return poller.NoFD, tc.errno
		}
		s := &script{}
		g.on(func() {
			if _, err := g.reactor.Dial(loopback, s, nil); err != tc.want {
				t.Errorf("dial: %v, want %v", err, tc.want)
			}
		})
		g.pass(time.Minute)
		g.want(s.events(), "")
	}
}

func TestReactor_dialRetriesAFullUnixBacklog(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fails int
		pass  time.Duration
		want  string
	}{
		{"connects in the end", 5, 300 * time.Millisecond, "open"},
		{"times out", 1 << 30, 2 * time.Second, "close(connect timed out)"},
	} {
		g := newRig(t, engine.Options{})
		tries := 0
		g.kernel.onConnect = func(a poller.Addr, o *poller.ConnectOptions) (poller.FD, syscall.Errno) {
			if tries++; tries <= tc.fails {
				return poller.NoFD, syscall.EAGAIN
			}
			return g.loop.Connect(a, o)
		}
		s := &script{}
		var c *engine.Conn
		g.on(func() {
			var err error
			c, err = g.reactor.Dial(poller.Addr{Path: "/full"}, s, &engine.DialOptions{Timeout: time.Second})
			testutil.Must(t, err)
			c.Write([]byte("early"))
		})
		if c.Ref().Conn() != c {
			t.Fatal("a conn that waits has no ref")
		}
		for range 20 {
			g.pass(tc.pass / 20)
		}
		g.want(tc.name+": "+s.events(), tc.name+": "+tc.want)
		st := g.reactor.Stats()
		if tries > 50 || int(st.Redials) != min(tries, tc.fails) || (st.ConnectTimeouts == 1) != (tc.fails > tries) {
			t.Fatalf("%d attempts, %+v", tries, st)
		}
	}
}

func TestReactor_stopClosesEachOnce(t *testing.T) {
	g := newRig(t, engine.Options{})
	accepted := &script{}
	_, fd := g.open(accepted)
	g.kernel.onConnect = func(poller.Addr, *poller.ConnectOptions) (poller.FD, syscall.Errno) {
		return poller.NoFD, syscall.EAGAIN
	}
	waiting, late := &script{}, &script{}
	waiting.onClose = func(c *engine.Conn, _ error) {
		if _, err := c.Reactor().Dial(loopback, late, nil); err != engine.ErrStopped {
			t.Errorf("dial while stopping: %v", err)
		}
		if err := c.Reactor().Offload(&engine.Job{}); err != engine.ErrStopped {
			t.Errorf("offload while stopping: %v", err)
		}
	}
	g.on(func() { g.reactor.Dial(poller.Addr{Path: "/full"}, waiting, nil) })
	g.engine.Stop()
	g.engine.Stop()
	g.want(accepted.events(), "open close(engine is stopped)")
	g.want(waiting.events(), "close(engine is stopped)")
	g.want(late.events(), "")
	if g.loop.Sock(fd).Open || g.loop.Sock(g.door).Open {
		t.Fatal("a descriptor is open")
	}
}

func TestReactor_postsRunInOrderAcrossThreads(t *testing.T) {
	e := start(t, engine.Options{Reactors: 2})
	const producers, each = 8, 5000
	type numbered struct {
		engine.Task
		from, n int
	}
	var last [2][producers]int
	var left [2]atomic.Int64
	var wait sync.WaitGroup
	for i, r := range e.Reactors() {
		left[i].Store(producers * each)
		for p := range producers {
			wait.Go(func() {
				for n := range each {
					task := &numbered{from: p, n: n + 1}
					task.Run = func(*engine.Reactor) {
						if task.n != last[i][task.from]+1 {
							t.Errorf("reactor %d: task %d of %d after %d", i, task.n, task.from, last[i][task.from])
						}
						last[i][task.from] = task.n
						left[i].Add(-1)
					}
					r.Post(&task.Task)
				}
			})
		}
	}
	wait.Wait()
	testutil.Eventually(t, testutil.Patience, func() bool { return left[0].Load() == 0 && left[1].Load() == 0 })
}

// A post to a reactor that is about to sleep must not be missed: one task at a time, each posted when the one
// before has run, is where a lost wake-up would show as a hang.
func TestReactor_postNeverMissesASleeper(t *testing.T) {
	for _, park := range []poller.Park{poller.ParkAuto, poller.ParkRuntime, poller.ParkSyscall} {
		e, err := engine.New(engine.Options{Reactors: 2, Park: park})
		testutil.Must(t, err)
		e.Start()
		a, b := e.Reactors()[0], e.Reactors()[1]
		var n atomic.Int64
		ping, pong := &engine.Task{}, &engine.Task{}
		ping.Run = func(*engine.Reactor) { b.Post(pong) }
		pong.Run = func(*engine.Reactor) {
			if n.Add(1) < 20000 {
				a.Post(ping)
			}
		}
		a.Post(ping)
		for seen := int64(-1); seen < 20000; { // however slow the machine is: it goes on
			testutil.Eventually(t, testutil.Patience, func() bool { return n.Load() > seen }, "park %d goes on", park)
			seen = n.Load()
		}
		e.Stop()
	}
}

func TestReactor_postAfterStopIsHarmless(t *testing.T) {
	e, err := engine.New(engine.Options{Reactors: 2})
	testutil.Must(t, err)
	e.Start()
	stop := make(chan struct{})
	var wait sync.WaitGroup
	for _, r := range e.Reactors() {
		wait.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					r.Post(&engine.Task{Run: func(*engine.Reactor) {}})
					e.Stats()
				}
			}
		})
	}
	e.Stop()
	close(stop)
	wait.Wait()
}

func TestOffload_runsDoThenDone(t *testing.T) {
	e := start(t, engine.Options{Reactors: 1})
	done := make(chan error, 1)
	steps := ""
	j := &engine.Job{Do: func(context.Context) { steps += "do " }}
	j.Done.Run = func(*engine.Reactor) { done <- j.Err }
	offload(t, e, j)
	if err := <-done; err != nil || steps != "do " {
		t.Fatalf("%q, %v", steps, err)
	}
	j.Do = func(context.Context) { panic(errBoom) }
	offload(t, e, j)
	if err := <-done; err != engine.ErrPanic || e.Stats().OffloadPanics != 1 {
		t.Fatalf("a panic: %v, %+v", err, e.Stats())
	}
}

func TestOffload_cancelAndStopEndTheContext(t *testing.T) {
	e, err := engine.New(engine.Options{Reactors: 1})
	testutil.Must(t, err)
	e.Start()
	ended := make(chan struct{}, 2)
	jobs := [2]*engine.Job{}
	for i := range jobs {
		jobs[i] = &engine.Job{Do: func(ctx context.Context) { <-ctx.Done(); ended <- struct{}{} }}
		jobs[i].Done.Run = func(*engine.Reactor) {}
		offload(t, e, jobs[i])
	}
	e.Reactors()[0].Post(&engine.Task{Run: func(*engine.Reactor) { jobs[0].Cancel() }})
	<-ended
	e.Stop()
	<-ended
}

// A job must not wait for one that blocks while there may be more workers.
func TestOffload_blockedJobsHoldNobodyUp(t *testing.T) {
	const workers = 20
	e := start(t, engine.Options{Reactors: 1, Offload: engine.OffloadOptions{Workers: workers, Queue: 1}})
	release := make(chan struct{})
	var begun, done atomic.Int64
	job := func() *engine.Job {
		j := &engine.Job{Do: func(context.Context) { begun.Add(1); <-release }}
		j.Done.Run = func(*engine.Reactor) { done.Add(1) }
		return j
	}
	for i := range int64(workers) {
		offload(t, e, job())
		testutil.Eventually(t, testutil.Patience, func() bool { return begun.Load() == i+1 }, "job %d begins", i)
	}
	var refused error
	ran := make(chan struct{})
	e.Reactors()[0].Post(&engine.Task{Run: func(r *engine.Reactor) {
		defer close(ran)
		if err := r.Offload(job()); err != nil {
			t.Errorf("one may wait: %v", err)
		}
		refused = r.Offload(job())
	}})
	<-ran
	if refused != engine.ErrOffloadFull || e.Stats().OffloadRefused != 1 {
		t.Fatalf("full: %v", refused)
	}
	close(release)
	testutil.Eventually(t, testutil.Patience, func() bool { return done.Load() == workers+1 })
}

// Jobs that last leave the workers to others, and have a bound of their own.
func TestOffload_lastingJobsHoldNobodyUp(t *testing.T) {
	const lasting = 20
	o := engine.OffloadOptions{Workers: 1, Queue: 1, Lasting: lasting}
	e := start(t, engine.Options{Reactors: 1, Offload: o})
	release, done := make(chan struct{}), make(chan error, lasting+1)
	job := func(lasts bool, do func(context.Context)) *engine.Job {
		j := &engine.Job{Lasts: lasts, Do: do}
		j.Done.Run = func(*engine.Reactor) { done <- j.Err }
		return j
	}
	for range lasting {
		offload(t, e, job(true, func(context.Context) { <-release }))
	}
	offload(t, e, job(false, func(context.Context) {}))
	testutil.Must(t, <-done)
	refused := make(chan error)
	e.Reactors()[0].Post(&engine.Task{Run: func(r *engine.Reactor) {
		refused <- r.Offload(job(true, func(context.Context) {}))
	}})
	if err := <-refused; err != engine.ErrOffloadFull {
		t.Fatal(err)
	}
	close(release)
	for range lasting {
		<-done
	}
	offload(t, e, job(true, func(context.Context) { panic(errBoom) }))
	if err := <-done; err != engine.ErrPanic {
		t.Fatal(err)
	}
}

// A Job that lacks a function is a mistake of its caller: it is told there, and the reactor goes on.
func TestReactor_refusesHalfAJob(t *testing.T) {
	e := start(t, engine.Options{Reactors: 1})
	said := make(chan any, 2)
	for _, j := range []*engine.Job{
		{Do: func(context.Context) {}}, {Done: engine.Task{Run: func(*engine.Reactor) {}}},
	} {
		e.Reactors()[0].Post(&engine.Task{Run: func(r *engine.Reactor) {
			defer func() { said <- recover() }()
			_ = r.Offload(j)
		}})
		if p := <-said; p != "engine: a Job needs Do and Done.Run" {
			t.Errorf("it is told %v", p)
		}
	}
}

// offload gives j on the first reactor.
func offload(t *testing.T, e *engine.Engine, j *engine.Job) {
	t.Helper()
	given := make(chan error, 1)
	e.Reactors()[0].Post(&engine.Task{Run: func(r *engine.Reactor) { given <- r.Offload(j) }})
	testutil.Must(t, <-given)
}
