package health_test

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream/health"
	"github.com/edge-proxy/edge/poller"
)

func TestMain(m *testing.M) {
	// Members that fail are what these tests are about, and their lines only hide what failed.
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// failedBy returns how many checks have failed for a reason, one of health.Words.
func failedBy(s health.Stats, word string) uint64 {
	return s.Failed[slices.Index(health.Words(), word)]
}

// world is members of one set that are checked, on simulated sockets.
type world struct {
	t       testing.TB
	w       *sim.World
	reactor *engine.Reactor
	monitor *health.Monitor
	watch   *health.Watch
	set     *backend.Set
	origins []*sim.Listener
	asked   int // requests that came to any of them
}

func addr(i int) poller.Addr {
	return poller.Addr{IP: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 80)}
}

// checked returns the usual options.
func checked() health.Options {
	return health.Options{
		Name: "api", Timeout: time.Second,
		Rules: health.Rules{
			Interval: 5 * time.Second, Fast: time.Second, Down: 5 * time.Second, Rise: 2, Fall: 3,
		},
	}
}

func newWorld(t testing.TB, w *sim.World, o health.Options, members int) *world {
	w.Net.SegmentMin, w.Net.BufferMin = 256, 256 // heads come whole, nearly always: this is not about codecs
	e, err := engine.New(engine.Options{
		Reactors: 1, Kernel: func(i int) (poller.Kernel, error) { return w.Kernel(i), nil },
	})
	testutil.Must(t, err)
	x := &world{t: t, w: w, reactor: e.Reactors()[0], monitor: health.NewMonitor(e), set: backend.NewSet()}
	w.Add(x.reactor)
	var list []backend.Spec
	for i := range members {
		l := w.Serve(addr(i + 1))
		l.Handle = x.answers(ok)
		x.origins = append(x.origins, l)
		list = append(list, backend.Spec{Address: addr(i + 1).String()})
	}
	if o.Rules.Start != health.StartUp {
		x.set.JoinWith(backend.Health)
	}
	x.set.Update(list)
	x.watch = x.monitor.Watch(x.set, o)
	return x
}

// answers returns an origin's way of answering each request.
func (x *world) answers(text string) func(p *sim.Peer) {
	came := map[*sim.Peer]string{}
	return func(p *sim.Peer) {
		heads := strings.Split(came[p]+string(p.Take()), "\r\n\r\n")
		came[p] = heads[len(heads)-1]
		for range heads[1:] {
			x.asked++
			p.SendString(text)
		}
	}
}

func (x *world) run(what string, until func() bool) {
	x.t.Helper()
	if err := x.w.Run(until, 1_000_000); err != nil {
		x.t.Fatalf("%s: %v", what, err)
	}
}

// pass lets so much time pass.
func (x *world) pass(d time.Duration) {
	x.t.Helper()
	over := false
	x.w.After(d, func() { over = true })
	x.run("the time passes", func() bool { return over })
}

func (x *world) down(i int) bool { return x.set.Members()[i].Reasons()&backend.Health != 0 }

// A member whose process is killed is down within interval + (fall - 1) fast + timeout; one whose host is silent too.
func TestWatch_declaresDownInTime(t *testing.T) {
	for name, die := range map[string]func(l *sim.Listener){
		"refuses": func(l *sim.Listener) {
			l.Close()
			for _, p := range l.Accepted() {
				p.Close()
			}
		},
		"is mute": func(l *sim.Listener) { l.Ignore(true) },
		"answers 503": func(l *sim.Listener) {
			l.Handle = func(p *sim.Peer) {
				if len(p.Take()) > 0 {
					p.SendString("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
				}
			}
			for _, p := range l.Accepted() {
				p.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			sim.Run(t, 30, func(t testing.TB, w *sim.World) {
				x := newWorld(t, w, checked(), 1)
				x.run("the first check", func() bool { return x.asked > 0 })
				x.pass(time.Duration(w.Rand().Int64N(int64(10 * time.Second))))
				died := w.Now()
				die(x.origins[0])
				if name == "is mute" {
					for _, p := range x.origins[0].Accepted() {
						p.StopReading()
					}
				}
				x.run("it is down", func() bool { return x.down(0) })
				if took := time.Duration(w.Now() - died); took > 8*time.Second+time.Millisecond {
					t.Errorf("declared down after %v", took)
				}
			})
		})
	}
}

// A member that comes back is up after two checks, the second one soon.
func TestWatch_comesBack(t *testing.T) {
	sim.Run(t, 50, func(t testing.TB, w *sim.World) {
		x := newWorld(t, w, checked(), 1)
		x.origins[0].Refuse(true)
		x.run("it is down", func() bool { return x.down(0) })
		x.pass(time.Minute)
		if why := x.set.Members()[0].Why(backend.Health); why.Word != "refused" {
			t.Errorf("down for %q", why.Word)
		}
		x.origins[0].Refuse(false)
		back := w.Now()
		x.run("it is up", func() bool { return !x.down(0) })
		if took := time.Duration(w.Now() - back); took > 6*time.Second+10*time.Millisecond {
			t.Errorf("up after %v", took)
		}
	})
}

// Checks share a connection, ten at a time.
func TestWatch_reusesTheConnection(t *testing.T) {
	sim.Run(t, 30, func(t testing.TB, w *sim.World) {
		x := newWorld(t, w, checked(), 1)
		x.run("25 checks", func() bool { return x.asked == 25 })
		x.pass(time.Millisecond * 500)
		if n := len(x.origins[0].Accepted()); n != 3 {
			t.Errorf("%d connections for 25 checks", n)
		}
		if s := x.watch.Stats(); s.Passed != 25 || s.Fresh != 3 {
			t.Errorf("%+v", s)
		}
	})
}

// A member that closes a connection that waits for the next check is well.
func TestWatch_triesAgainOnAFreshConnection(t *testing.T) {
	sim.Run(t, 50, func(t testing.TB, w *sim.World) {
		x := newWorld(t, w, checked(), 1)
		// Each connection is closed as soon as its second request comes: just when an idle one would be.
		served := map[*sim.Peer]int{}
		x.origins[0].Handle = func(p *sim.Peer) {
			n := strings.Count(string(p.Take()), "\r\n\r\n")
			if served[p] += n; served[p] == 2 && n > 0 {
				p.Close()
			} else if n > 0 {
				x.asked++
				p.SendString(ok)
			}
		}
		x.run("checks", func() bool { return x.asked == 8 })
		x.pass(time.Second)
		if s := x.watch.Stats(); s.Passed < 8 || failedBy(s, "reset") > 0 || x.down(0) {
			t.Errorf("%+v", s)
		}
	})
}

// No more than 256 connections are being made at a time. The others wait, and that is counted.
func TestWatch_boundsThoseThatConnect(t *testing.T) {
	sim.Run(t, 2, func(t testing.TB, w *sim.World) {
		o := checked()
		o.Rules.Start = health.StartChecked
		x := newWorld(t, w, o, 400)
		for _, l := range x.origins {
			l.Ignore(true)
		}
		all := func() bool {
			s := x.watch.Stats()
			return failedBy(s, "connect_timeout") >= 400
		}
		most := 0
		x.run("all have failed", func() bool {
			most = max(most, len(w.OpenSockets()))
			return all()
		})
		if s := x.watch.Stats(); most > 256+10 || s.Delayed == 0 {
			t.Errorf("%d sockets, %+v", most, s)
		}
	})
}

// An address that is passed over is used again when a check on a fresh connection to it has passed. One on a connection
// that stood before says nothing of others.
func TestWatch_readmitsAddresses(t *testing.T) {
	sim.Run(t, 20, func(t testing.TB, w *sim.World) {
		x := newWorld(t, w, checked(), 1)
		m := x.set.Members()[0]
		x.run("it was asked", func() bool { return x.asked > 1 })
		addr := (*m.Addrs())[0]
		m.PassOver(addr)
		asked := x.asked
		x.run("it was asked on the same connection", func() bool { return x.asked > asked+1 })
		if !m.PassesOver(addr) {
			t.Fatal("readmitted without a connection")
		}
		for _, p := range x.origins[0].Accepted() {
			p.Reset()
		}
		x.run("it is used again", func() bool { return !m.PassesOver(addr) })
	})
}

// When many fail together, the verdict waits for one result more; when it stays so, they are down.
func TestWatch_doubtsThatAllFail(t *testing.T) {
	sim.Run(t, 20, func(t testing.TB, w *sim.World) {
		o := checked()
		o.Rules.Interval, o.Rules.Down = time.Second, time.Second
		x := newWorld(t, w, o, 8)
		x.run("all were asked", func() bool { return x.asked > 20 })
		for _, l := range x.origins {
			l.Close()
			for _, p := range l.Accepted() {
				p.Reset()
			}
		}
		x.run("all are down", func() bool {
			for i := range 8 {
				if !x.down(i) {
					return false
				}
			}
			return true
		})
		if s := x.watch.Stats(); s.Doubted == 0 || s.Downs != 8 {
			t.Errorf("%+v", s)
		}
	})
}

// answerClient has m answer a client.
func (x *world) answerClient(m *backend.Member) {
	x.set.View(1, nil) // counts what members answer
	x.reactor.Post(&engine.Task{Run: func(r *engine.Reactor) { m.Answered(r, time.Millisecond) }})
	x.pass(time.Millisecond)
}

// A member that answers clients is not declared down because its checks are late. When it answers no more it is.
func TestWatch_excusesAMemberThatAnswersClients(t *testing.T) {
	sim.Run(t, 20, func(t testing.TB, w *sim.World) {
		x := newWorld(t, w, checked(), 1)
		m := x.set.Members()[0]
		x.origins[0].Handle = func(p *sim.Peer) { p.Take() }
		for begun := w.Now(); w.Now() < begun+int64(time.Minute); {
			x.answerClient(m)
			x.pass(time.Second)
		}
		if s := x.watch.Stats(); x.down(0) || s.Excused < 8 {
			t.Fatalf("down although it answers clients: %+v", s)
		}
		begun := w.Now()
		x.run("it is down", func() bool { return x.down(0) })
		if took := time.Duration(w.Now() - begun); took > 14*time.Second {
			t.Errorf("declared down after %v", took)
		}
	})
}

// failClient has a request of a client to m fail.
func (x *world) failClient(m *backend.Member) {
	x.set.View(1, nil)
	x.reactor.Post(&engine.Task{Run: func(r *engine.Reactor) { m.Failed(r) }})
	x.pass(time.Millisecond)
}

// A member whose requests fail does not answer clients: it is declared down when its checks are not answered either.
func TestWatch_doesNotExcuseFailedRequests(t *testing.T) {
	sim.Run(t, 20, func(t testing.TB, w *sim.World) {
		x := newWorld(t, w, checked(), 1)
		m := x.set.Members()[0]
		x.answerClient(m)
		x.pass(6 * time.Second)
		x.origins[0].Ignore(true)
		for _, p := range x.origins[0].Accepted() {
			p.StopReading()
		}
		for begun := w.Now(); w.Now() < begun+int64(20*time.Second); {
			x.failClient(m)
			x.pass(time.Second)
		}
		if s := x.watch.Stats(); !x.down(0) || s.Excused > 0 {
			t.Errorf("%+v", s)
		}
	})
}

// Where requests count, a member that answers them is not checked. After one that failed, or after an interval without
// any, it is.
func TestWatch_requestsTakeThePlaceOfChecks(t *testing.T) {
	sim.Run(t, 20, func(t testing.TB, w *sim.World) {
		o := checked()
		o.Passive = true
		x := newWorld(t, w, o, 1)
		m := x.set.Members()[0]
		answered := func(d time.Duration) {
			for end := w.Now() + int64(d); w.Now() < end; {
				x.answerClient(m)
				x.pass(time.Second)
			}
		}
		answered(6 * time.Second)
		asked := x.asked
		answered(time.Minute)
		if s := x.watch.Stats(); x.asked > asked || s.Replaced < 11 {
			t.Errorf("asked %d times, then %d: %+v", asked, x.asked, s)
		}
		x.failClient(m)
		answered(5 * time.Second)
		if x.asked != asked+1 {
			t.Errorf("after a failure asked %d times, want 1", x.asked-asked)
		}
		answered(time.Minute)
		if x.asked > asked+1 {
			t.Errorf("long after a failure asked %d times", x.asked-asked)
		}
		x.pass(11 * time.Second)
		if x.asked < asked+2 {
			t.Error("without requests it is not checked")
		}
		x.origins[0].Refuse(true)
		for _, p := range x.origins[0].Accepted() {
			p.Reset()
		}
		x.run("it is down", func() bool { return x.down(0) })
		replaced := x.watch.Stats().Replaced
		x.answerClient(m)
		x.origins[0].Refuse(false)
		x.run("it is up again", func() bool { return !x.down(0) })
		if n := x.watch.Stats().Replaced - replaced; n != 0 {
			t.Errorf("%d checks of a member that is down were left out", n)
		}
	})
}

// A refusal counts although the member answers clients: nobody can connect to it any more.
func TestWatch_doesNotExcuseARefusal(t *testing.T) {
	sim.Run(t, 20, func(t testing.TB, w *sim.World) {
		x := newWorld(t, w, checked(), 1)
		m := x.set.Members()[0]
		x.origins[0].Refuse(true)
		for begun := w.Now(); w.Now() < begun+int64(20*time.Second); {
			x.answerClient(m)
			x.pass(time.Second)
		}
		if !x.down(0) {
			t.Errorf("%+v", x.watch.Stats())
		}
	})
}

// Members come and go, options change, and all ends: no check outlives its member.
func TestWatch_follows(t *testing.T) {
	sim.Run(t, 50, func(t testing.TB, w *sim.World) {
		x := newWorld(t, w, checked(), 4)
		for i := range x.origins {
			x.origins[i].Refuse(i%2 == 0)
		}
		x.run("half are down", func() bool { return x.down(0) && x.down(2) })
		o := checked()
		o.Path = "/other"
		x.watch.Change(o)
		x.pass(time.Millisecond)
		if !x.down(0) || x.down(1) {
			t.Error("a change of the options forgets what is known")
		}
		x.set.Update([]backend.Spec{{Address: addr(1).String()}, {Address: addr(2).String()}})
		x.pass(time.Duration(w.Rand().Int64N(int64(20 * time.Second))))
		x.watch.Stop()
		x.pass(time.Second)
		if x.down(0) || x.down(1) {
			t.Error("down by checks that are off")
		}
		n := x.asked
		x.pass(time.Minute)
		if x.asked != n || len(w.OpenSockets()) > 0 {
			t.Errorf("%d checks after the end, %d sockets", x.asked-n, len(w.OpenSockets()))
		}
	})
}

// A member without an address is not down by its checks: when its name resolves it serves at once.
func TestWatch_nameThatDoesNotResolve(t *testing.T) {
	sim.Run(t, 20, func(t testing.TB, w *sim.World) {
		x := newWorld(t, w, checked(), 1)
		x.set.Update([]backend.Spec{{Address: addr(1).String()}, {Address: "api.test:80"}})
		x.pass(time.Minute)
		m := x.set.Members()[1]
		if m.Reasons() != backend.Names {
			t.Fatalf("down by %v", m.Reasons())
		}
		m.SetAddrs([]poller.Addr{addr(1)})
		if m.Reasons() != 0 {
			t.Errorf("down by %v", m.Reasons())
		}
		if s := x.watch.Stats(); failedBy(s, "dns") == 0 || s.Excused != failedBy(s, "dns") {
			t.Errorf("%+v", s)
		}
	})
}

// A member that is to be checked before it serves is closed until its first check, which comes within a second.
func TestWatch_checkedBeforeItServes(t *testing.T) {
	sim.Run(t, 50, func(t testing.TB, w *sim.World) {
		o := checked()
		o.Rules.Start = health.StartChecked
		x := newWorld(t, w, o, 1)
		if !x.down(0) {
			t.Fatal("it serves before its first check")
		}
		begun := w.Now()
		x.run("it serves", func() bool { return !x.down(0) })
		if took := time.Duration(w.Now() - begun); took > time.Second+10*time.Millisecond {
			t.Errorf("after %v", took)
		}
	})
}

// What an operator reads is told once for each change.
func TestWatch_tellsEachChangeOnce(t *testing.T) {
	sim.Run(t, 20, func(t testing.TB, w *sim.World) {
		x := newWorld(t, w, checked(), 3)
		var told []string
		x.set.OnChange(func(c *backend.Change) {
			told = append(told, fmt.Sprint(c.On, c.Why.Word, " ", c.Open, "/", c.Members))
		})
		x.run("checks", func() bool { return x.asked > 6 })
		x.origins[1].Refuse(true)
		for _, p := range x.origins[1].Accepted() {
			p.Reset()
		}
		x.run("it is down", func() bool { return x.down(1) })
		x.pass(time.Minute)
		x.origins[1].Refuse(false)
		x.run("it is up", func() bool { return !x.down(1) })
		x.pass(time.Minute)
		if got, want := strings.Join(told, ", "), "truerefused 2/3, falserefused 3/3"; got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	})
}

// A member that its agent keeps out for one reason after the other serves at no moment.
func TestWatch_agentChangesItsMind(t *testing.T) {
	sim.Run(t, 10, func(t testing.TB, w *sim.World) {
		o := checked()
		o.Kind, o.Send, o.Rules.Start = health.Agent, "how are you?\n", health.StartUp
		x := newWorld(t, w, o, 1)
		m, line := x.set.Members()[0], "maint"
		x.origins[0].Handle = func(p *sim.Peer) {
			if len(p.Take()) > 0 {
				p.SendString(line + "\n")
			}
		}
		serves := 0
		defer x.set.OnChange(func(c *backend.Change) { serves += c.Open })()
		x.run("maint", func() bool { return m.Reasons() == backend.Agent })
		for _, next := range []struct {
			line   string
			reason backend.Reason
		}{{"drain", backend.AgentDrain}, {"maint", backend.Agent}, {"ready down", backend.Agent},
			{"up drain", backend.AgentDrain}, {"down", backend.AgentDrain | backend.Agent}} {
			line = next.line
			x.run(line, func() bool { return m.Reasons() == next.reason })
		}
		if serves > 0 {
			t.Errorf("it serves %d times on the way", serves)
		}
	})
}
