package registry

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-proxy/edge/internal/discovery/locator"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// noted is a Registry that notes what it is asked, and does what it is told to.
type noted struct {
	begun time.Time

	mu    sync.Mutex
	calls []string
	times []time.Duration
	does  func(ctx context.Context) error
}

// told has the registry do something else from now on.
func (n *noted) told(does func(ctx context.Context) error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.does = does
}

func works(context.Context) error { return nil }

func fails(context.Context) error { return errors.New("no") }

func hangs(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func panics(context.Context) error { panic("oh") }

func (n *noted) note(call string) func(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls, n.times = append(n.calls, call), append(n.times, time.Since(n.begun))
	return n.does
}

func (n *noted) Put(ctx context.Context, e *Entry) (string, error) {
	return "10.0.0.1" + e.Address, n.note("put " + e.Address)(ctx)
}

func (n *noted) Withdraw(ctx context.Context) error {
	does := n.note("withdraw")
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return does(ctx)
}

// run runs a test of a Registration in virtual time, and returns the events of the log, without their levels.
func run(t *testing.T, e Entry, test func(t *testing.T, r *Registration, n *noted, tally *Tally)) (events []string) {
	t.Helper()
	var out bytes.Buffer
	testutil.EventLog(t, slog.NewTextHandler(&out, nil))
	testutil.Bubble(t, func(t *testing.T) {
		n, tally := &noted{begun: time.Now(), does: works}, &Tally{}
		r := Register(Options{To: "here", Registry: n, Entry: e, Tally: tally})
		synctest.Wait()
		test(t, r, n, tally)
		r.Withdraw(t.Context())
	})
	return eventsOf(out.String())
}

// eventsOf returns the events of a log, without their times and levels.
func eventsOf(text string) (events []string) {
	for line := range strings.Lines(text) {
		_, line, _ = strings.Cut(strings.TrimSpace(line), "msg=")
		events = append(events, line)
	}
	return events
}

func TestRegistration_renewsEachThirdOfItsTTL(t *testing.T) {
	e := Entry{Address: ":80", TTL: 9 * time.Second}
	events := run(t, e, func(t *testing.T, r *Registration, n *noted, tally *Tally) {
		if !r.Known() {
			t.Error("not known at once")
		}
		testutil.Pass(time.Minute)
		for i, at := range n.times {
			if i > 0 && (at-n.times[i-1] > 3*time.Second || at-n.times[i-1] < 2400*time.Millisecond) {
				t.Errorf("renewed after %s", at-n.times[i-1])
			}
		}
		if len(n.times) < 20 || tally.Puts.Load() != uint64(len(n.times)) || tally.Failures.Load() != 0 {
			t.Errorf("%d calls, %d counted", len(n.times), tally.Puts.Load())
		}
		if !r.Withdraw(t.Context()) || r.Withdraw(t.Context()) || n.calls[len(n.calls)-1] != "withdraw" {
			t.Error("withdrawn twice, or not at all", n.calls)
		}
	})
	want := []string{
		"registered registry=here name=10.0.0.1:80 address=10.0.0.1:80 ttl=9s",
		"withdrawn registry=here name=10.0.0.1:80 address=10.0.0.1:80",
	}
	if !slices.Equal(events, want) {
		t.Errorf("logged %q", events)
	}
}

func TestRegistration_triesAgain(t *testing.T) {
	events := run(t, Entry{Name: "one", Address: ":80", TTL: 30 * time.Second},
		func(t *testing.T, r *Registration, n *noted, tally *Tally) {
			n.told(fails)
			time.Sleep(11 * time.Second) // until it is renewed
			if !r.Known() {
				t.Error("others find it until its TTL is over")
			}
			testutil.Pass(time.Minute)
			if r.Known() {
				t.Error("known though its TTL is over")
			}
			failed := n.times[1:]
			least := []time.Duration{0, 800, 1600, 3200, 6400, 8000, 8000, 8000}
			for i, d := range least[1:] {
				pause := failed[i+1] - failed[i]
				if d *= time.Millisecond; pause < d || pause > d*5/4 {
					t.Errorf("pause %d was %s, want %s at least and a quarter more at most", i+1, pause, d)
				}
			}
			if tally.Failures.Load() != uint64(len(failed)) {
				t.Errorf("%d failures counted, not %d", tally.Failures.Load(), len(failed))
			}
			n.told(works)
			time.Sleep(10 * time.Second)
			if !r.Known() {
				t.Error("not known again")
			}
			n.told(fails)
		})
	if len(events) != 4 || !strings.HasPrefix(events[1], `"registration failed" registry=here name=one error=no`) ||
		!strings.HasPrefix(events[2], `"registered again" registry=here name=one address=10.0.0.1:80 after=1m`) ||
		!strings.HasPrefix(events[3], `"withdrawal failed" registry=here name=one error=no`) {
		t.Errorf("logged %q", events)
	}
}

// A registry that does not answer delays neither Start nor Withdraw.
func TestRegistration_doesNotWait(t *testing.T) {
	begun := time.Now()
	events := run(t, Entry{Address: ":80"}, func(t *testing.T, r *Registration, n *noted, _ *Tally) {
		n.told(hangs)
		r.Update(Entry{Address: ":81"})
		synctest.Wait() // the registry is asked, and does not answer
		r.Update(Entry{Address: ":82"})
		r.Update(Entry{Address: ":82"})
		synctest.Wait()
		if want := []string{"put :80", "put :81"}; !slices.Equal(n.calls, want) {
			t.Errorf("%q, want %q", n.calls, want)
		}
		before := time.Now()
		n.told(works)
		if !r.Withdraw(t.Context()) || time.Since(before) != 0 {
			t.Errorf("withdrawn after %s", time.Since(before))
		}
	})
	if len(events) != 2 || time.Since(begun) > testutil.Patience {
		t.Errorf("logged %q", events)
	}
}

// A try takes 5 s at most, and what a registry of a program does wrong is its failure alone.
func TestRegistration_survivesItsRegistry(t *testing.T) {
	events := run(t, Entry{Address: ":80"}, func(t *testing.T, r *Registration, n *noted, tally *Tally) {
		n.told(hangs)
		until := func(failures uint64, most time.Duration) {
			t.Helper()
			begun := time.Now()
			for tally.Failures.Load() < failures {
				time.Sleep(time.Millisecond)
			}
			if took := time.Since(begun); took > most {
				t.Errorf("failure %d came after %s", failures, took)
			}
		}
		until(1, TTL/3+putMax+time.Second/100)
		n.told(panics)
		until(2, time.Second+time.Second/100)
		n.told(works)
		time.Sleep(TTL / 3)
		if !r.Known() {
			t.Error("not known again")
		}
	})
	if len(events) < 5 || !strings.Contains(events[1], `error="context deadline exceeded"`) ||
		!strings.Contains(events[2], `panic=oh`) {
		t.Errorf("logged %q", events)
	}
}

// A registry that heeds no context, or panics, holds up no withdrawal for longer than it may take. What it has done by
// then counts.
func TestRegistration_registryThatDoesNotReturn(t *testing.T) {
	const most = 2 * time.Second
	for what, c := range map[string]struct {
		put, withdraw bool // hangs
		found         bool
		events        []string
	}{
		"the first Put": {true, false, false, []string{
			`"withdrawal failed" registry=here name=:80 error=` + notReturned}},
		"Withdraw": {false, true, true, []string{
			"registered registry=here name=10.0.0.1:80 address=10.0.0.1:80 ttl=15s",
			`"withdrawal failed" registry=here name=10.0.0.1:80 error=` + notReturned}},
	} {
		var out bytes.Buffer
		testutil.EventLog(t, slog.NewTextHandler(&out, nil))
		testutil.Bubble(t, func(t *testing.T) {
			released := make(chan struct{})
			deaf := func(context.Context) error { <-released; return errors.New("late") }
			n := &noted{begun: time.Now(), does: works}
			if c.put {
				n.told(deaf)
			}
			r := Register(Options{To: "here", Registry: n, Entry: Entry{Address: ":80"}})
			synctest.Wait()
			if c.withdraw {
				n.told(deaf)
			}
			ctx, cancel := context.WithTimeout(t.Context(), most)
			defer cancel()
			begun := time.Now()
			if found := r.Withdraw(ctx); found != c.found {
				t.Errorf("%s: found: %v", what, found)
			}
			if took := time.Since(begun); took != most+endMax {
				t.Errorf("%s: withdrawn after %s", what, took)
			}
			if got := eventsOf(out.String()); !slices.Equal(got, c.events) {
				t.Errorf("%s: logged %q", what, got)
			}
			close(released)
		})
	}
	events := run(t, Entry{Address: ":80"}, func(t *testing.T, r *Registration, n *noted, _ *Tally) {
		n.told(panics)
		if !r.Withdraw(t.Context()) {
			t.Error("not found")
		}
	})
	if len(events) != 3 || !strings.Contains(events[1], "panic=oh") ||
		!strings.HasPrefix(events[2], `"withdrawal failed"`) {
		t.Errorf("logged %q", events)
	}
}

const notReturned = `"the registry does not return"`

// A Put that succeeds while the end begins counts: others may have found what it made known.
func TestRegistration_endsDuringTheFirstPut(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		n := &noted{begun: time.Now()}
		n.told(func(ctx context.Context) error { <-ctx.Done(); return nil })
		testutil.EventLog(t, slog.DiscardHandler)
		r := Register(Options{To: "here", Registry: n, Entry: Entry{Address: ":80"}})
		synctest.Wait()
		n.told(works)
		if !r.Withdraw(t.Context()) || !slices.Equal(n.calls, []string{"put :80", "withdraw"}) {
			t.Errorf("found: %v, calls: %q", r.Known(), n.calls)
		}
	})
}

func TestOpen(t *testing.T) {
	mine := func(l *locator.Locator) (Registry, error) { return &noted{does: works}, nil }
	makers := map[string]Maker{
		"mine": mine, "broken": func(*locator.Locator) (Registry, error) { return nil, errors.New("broken") },
		"empty": func(*locator.Locator) (Registry, error) { return nil, nil },
	}
	for text, wrong := range map[string]string{
		"etcd://10.0.0.1:2379,b.test:2379/users/": "", "consul://127.0.0.1:8500/users?tag=a&ca=/x": "",
		"file:///run/users": "", "mine://any": "",
		"dns://a.test:80":                        `nothing is registered by "dns"; there are broken, consul,`,
		"k8s://shop/users":                       `nothing is registered by "k8s"`,
		"consul://127.0.0.1:8500/users?dc=b":     "dc and near are for finding alone",
		"consul://127.0.0.1:8500/users?near=_ag": "dc and near are for finding alone",
		"etcd://10.0.0.1:2379":                   "what to look for",
		"users":                                  "like scheme://where",
		"broken://x":                             "broken",
		"empty://x":                              "its maker made no registry",
	} {
		g, err := Open(text, Opening{Makers: makers})
		right := err == nil && g != nil
		if right != (wrong == "") || !right && (err == nil || !strings.Contains(err.Error(), wrong)) {
			t.Errorf("%s: %v, %v, want %q", text, g, err, wrong)
		}
	}
}
