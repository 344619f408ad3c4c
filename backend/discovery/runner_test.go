package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/testutil/dnsserver"
)

// Thousands of changes in virtual time would be as many lines.
func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}

// told is a Source that publishes what it is told.
type told chan func(publish func([]backend.Spec, error)) error

func (s told) Run(ctx context.Context, publish func([]backend.Spec, error)) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case do := <-s:
			if err := do(publish); err != nil {
				return err
			}
		}
	}
}

// find has the source find backends.
func (s told) find(addresses ...string) {
	s <- func(publish func([]backend.Spec, error)) error {
		list := make([]backend.Spec, len(addresses))
		for i, a := range addresses {
			list[i].Address = a
		}
		publish(list, nil)
		return nil
	}
	synctest.Wait()
}

// fail has it fail.
func (s told) fail(err error) {
	s <- func(publish func([]backend.Spec, error)) error {
		publish(nil, err)
		return nil
	}
	synctest.Wait()
}

// members lists the ports of the members, which are at 10.0.0.1, in order.
func members(s *backend.Set) string {
	var all []string
	for _, m := range s.Members() {
		all = append(all, strings.TrimPrefix(m.Address(), "10.0.0.1:"))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// run runs a test of a Runner in virtual time.
func run(t *testing.T, o Options, test func(t *testing.T, s told, r *Runner, set *backend.Set, want func(string))) {
	t.Helper()
	testutil.Bubble(t, func(t *testing.T) {
		s, set := told(make(chan func(func([]backend.Spec, error)) error)), backend.NewSet()
		o.Upstream, o.Name, o.Source = "users", "told", s
		r := Start(o)
		r.Join(set)
		test(t, s, r, set, func(want string) {
			t.Helper()
			if got := members(set); got != want {
				t.Errorf("members %q, want %q", got, want)
			}
		})
		r.Stop()
	})
}

func TestRunner_debounces(t *testing.T) {
	run(t, Options{}, func(t *testing.T, s told, _ *Runner, set *backend.Set, want func(string)) {
		s.find("10.0.0.1:1")
		want("1") // the first answer at once
		stays := set.Members()[0]
		s.find("10.0.0.1:1", "10.0.0.1:2")
		time.Sleep(99 * time.Millisecond)
		s.find("10.0.0.1:1", "10.0.0.1:3")
		want("1")
		testutil.Pass(debounce)
		want("1 3")
		for i := range 15 { // a change each 80 ms: applied after a second all the same
			s.find("10.0.0.1:1", fmt.Sprintf("10.0.0.1:%d", 100+i))
			testutil.Pass(80 * time.Millisecond)
		}
		if got := members(set); got == "1 3" {
			t.Error("nothing was applied for more than a second")
		}
		s.find("10.0.0.1:1", "10.0.0.1:9")
		s.find("10.0.0.1:1", "10.0.0.1:114")
		testutil.Pass(debounce)
		want("1 114")
		if set.Members()[0] != stays {
			t.Error("a member that stays is another one")
		}
	})
}

// An error keeps the members: for ever, or for StaleOK.
func TestRunner_errorsKeep(t *testing.T) {
	run(t, Options{}, func(t *testing.T, s told, _ *Runner, _ *backend.Set, want func(string)) {
		s.find("10.0.0.1:1")
		for range 100 {
			s.fail(errors.New("SERVFAIL"))
			time.Sleep(time.Hour)
		}
		want("1")
	})
	run(t, Options{StaleOK: time.Minute}, func(t *testing.T, s told, _ *Runner, _ *backend.Set, want func(string)) {
		s.find("10.0.0.1:1")
		s.fail(errors.New("SERVFAIL"))
		time.Sleep(30 * time.Second)
		s.fail(errors.New("REFUSED"))
		time.Sleep(30*time.Second - time.Millisecond)
		want("1")
		s.find("10.0.0.1:1") // works again
		time.Sleep(time.Hour)
		s.fail(errors.New("SERVFAIL"))
		time.Sleep(time.Minute - time.Millisecond)
		want("1")
		testutil.Pass(time.Millisecond)
		want("")
		time.Sleep(time.Hour)
		s.find("10.0.0.1:1")
		want("1")
	})
}

// The first of empty answers in a row is logged, with the reason where the source knows one.
func TestRunner_warnsOnceOfNone(t *testing.T) {
	for _, tc := range []struct {
		name string
		say  func(s told)
		want int
		why  string
	}{
		{"never any", func(s told) { s.find(); s.find(); s.find() }, 1, ""},
		{"none for certain", func(s told) { s.fail(None); s.fail(None) }, 1, ""},
		{"with a reason", func(s told) { s.fail(noneBecause("web-1 is starting")) }, 1, "web-1 is starting"},
		{"a reason beside a list", func(s told) {
			s <- func(publish func([]backend.Spec, error)) error {
				publish([]backend.Spec{{Address: "10.0.0.1:1"}}, noneBecause("another is starting"))
				return nil
			}
		}, 0, "added=[10.0.0.1:1]"},
		{"there are some between", func(s told) { s.find(); s.find("10.0.0.1:1"); s.find() }, 2, ""},
		{"a failure between", func(s told) { s.find(); s.fail(errors.New("SERVFAIL")); s.find() }, 1, ""},
	} {
		var log testutil.Output
		testutil.EventLog(t, slog.NewTextHandler(&log, nil))
		run(t, Options{}, func(_ *testing.T, s told, _ *Runner, _ *backend.Set, _ func(string)) { tc.say(s) })
		text := log.String()
		if n := strings.Count(text, "discovery found nothing"); n != tc.want || !strings.Contains(text, tc.why) {
			t.Errorf("%s: %d warnings, want %d with %q: %s", tc.name, n, tc.want, tc.why, text)
		}
	}
}

// That there is none is believed after three answers, after a while, or when it is certain.
func TestRunner_noneIsBelievedLater(t *testing.T) {
	run(t, Options{}, func(t *testing.T, s told, _ *Runner, _ *backend.Set, want func(string)) {
		s.find()
		want("")
		s.find("10.0.0.1:1")
		s.find()
		s.find()
		time.Sleep(29 * time.Second)
		want("1")
		s.find("10.0.0.1:1")
		s.find()
		time.Sleep(29 * time.Second)
		s.fail(errors.New("SERVFAIL")) // takes nothing back
		testutil.Pass(time.Second)
		want("")
		s.find("10.0.0.1:2")
		want("2")
		s.find()
		s.find()
		s.find()
		testutil.Pass(debounce)
		want("")
		s.find("10.0.0.1:3")
		want("3")
		s.fail(None)
		testutil.Pass(debounce)
		want("")
	})
	run(t, Options{EmptyAfter: time.Hour}, func(t *testing.T, s told, _ *Runner, _ *backend.Set, want func(string)) {
		s.find("10.0.0.1:1")
		s.find()
		time.Sleep(time.Hour - time.Millisecond)
		want("1")
		testutil.Pass(time.Millisecond)
		want("")
	})
}

// What cannot be a member is left out; a list of nothing else, or of too many, is a failure.
func TestRunner_refusesWhatIsNoBackend(t *testing.T) {
	run(t, Options{}, func(t *testing.T, s told, _ *Runner, _ *backend.Set, want func(string)) {
		publish := func(list ...backend.Spec) {
			s <- func(publish func([]backend.Spec, error)) error {
				publish(list, nil)
				return nil
			}
			testutil.Pass(debounce)
		}
		publish(backend.Spec{Address: "10.0.0.1:1", Weight: 65535}, backend.Spec{Address: "10.0.0.1:1", Weight: 65536},
			backend.Spec{Address: "10.0.0.1:2", Weight: -1}, backend.Spec{Address: "10.0.0.1"}, backend.Spec{},
			backend.Spec{Address: "10.0.0.1:0"}, backend.Spec{Address: "unix:"}, backend.Spec{Address: "10.0.0.1:http"})
		want("1")
		publish(backend.Spec{Address: "10.0.0.1"})
		want("1")
		publish(slices.Repeat([]backend.Spec{{Address: "10.0.0.1:1"}}, membersMax+1)...)
		want("1")
		publish(backend.Spec{Address: "unix:/run/x"})
		want("unix:/run/x")
	})
}

// Names take look-ups, of which there may be fewer than of backends; those that are left out are the same each time.
func TestRunner_boundsNames(t *testing.T) {
	var log testutil.Output
	testutil.EventLog(t, slog.NewTextHandler(&log, nil))
	run(t, Options{}, func(t *testing.T, s told, _ *Runner, set *backend.Set, _ func(string)) {
		all := []string{"10.0.0.1:1", "unix:/run/x"}
		for i := range namesMax + 5 {
			all = append(all, fmt.Sprintf("h%04d.example:80", i))
		}
		for range 3 {
			s.find(all...)
			testutil.Pass(time.Second)
			if n := set.Len(); n != namesMax+2 {
				t.Errorf("%d members", n)
			}
			slices.Reverse(all)
		}
	})
	if !strings.Contains(log.String(), `backends=5 error="\"h1000.example:80\": more than 1000 host names"`) {
		t.Error(log.String())
	}
}

// A source that returns or panics is run again, later each time; one that worked meanwhile, soon.
func TestRunner_runsAgain(t *testing.T) {
	var log testutil.Output
	testutil.EventLog(t, slog.NewTextHandler(&log, nil))
	run(t, Options{}, func(t *testing.T, s told, r *Runner, _ *backend.Set, want func(string)) {
		s <- func(func([]backend.Spec, error)) error { return errors.New("connection lost") }
		<-r.Ready()
		var waits []time.Duration
		for i := range 8 {
			begun := time.Now()
			s <- func(publish func([]backend.Spec, error)) error {
				if i == 5 {
					publish([]backend.Spec{{Address: "10.0.0.1:1"}}, nil)
				}
				if i%2 == 0 {
					panic("out of order")
				}
				return errors.New("connection lost again")
			}
			waits = append(waits, time.Since(begun))
		}
		for i, base := range []time.Duration{1, 2, 4, 8, 16, 30, 1, 2} {
			if low, high := base*800*time.Millisecond, base*1200*time.Millisecond; waits[i] < low || waits[i] > high {
				t.Errorf("waited %s before run %d, want %d s", waits[i], i, base)
			}
		}
		want("1")
	})
	for _, event := range []string{"discovery failed", "discovery panicked", "discovery works again",
		"discovery changed", "connection lost", "runner_test.go"} {
		if !strings.Contains(log.String(), event) {
			t.Errorf("the log lacks %s:\n%s", event, log.String())
		}
	}
}

// A server that answers SERVFAIL, or nothing, for ten minutes takes no member away and is not flooded.
func TestRunner_serverThatFailsForTenMinutes(t *testing.T) {
	for _, how := range []dnsserver.Failure{dnsserver.ServFail, dnsserver.Refused, dnsserver.Drop, dnsserver.NoSOA,
		dnsserver.Lame} {
		for _, text := range []string{"dns://web.example:80", "srv+dns://_http._tcp.example"} {
			testutil.Bubble(t, func(t *testing.T) {
				srv, set := dnsserver.New(), backend.NewSet()
				srv.Answer("web.example.", "A 5 10.0.0.1", "A 5 10.0.0.2", "AAAA 5 2001:db8::1")
				srv.Answer("_http._tcp.example.", "SRV 5 0 0 80 web.example.")
				source, err := Open(text, Opening{Names: names(t, srv)})
				testutil.Must(t, err)
				r := Start(Options{Source: source})
				r.Join(set)
				synctest.Wait()
				before, begun := set.Members(), srv.Asked("web.example. A")+srv.Asked("_http._tcp.example. SRV")
				if len(before) != 3 || before[0].Host() != "web.example:80" {
					t.Fatalf("%s: %d members", text, len(before))
				}
				srv.Fail("", how)
				if how == dnsserver.NoSOA {
					srv.Forget("web.example.")
					srv.Forget("_http._tcp.example.")
				}
				testutil.Pass(10 * time.Minute)
				if !slices.Equal(set.Members(), before) {
					t.Errorf("%s, failure %d: members became %v", text, how, members(set))
				}
				if n := srv.Asked("web.example. A") + srv.Asked("_http._tcp.example. SRV") - begun; n > 100 {
					t.Errorf("%s, failure %d: asked %d times", text, how, n)
				}
				srv.Fail("", dnsserver.None)
				srv.Answer("web.example.", "A 5 10.0.0.2", "AAAA 5 2001:db8::1")
				srv.Answer("_http._tcp.example.", "SRV 5 0 0 80 web.example.")
				testutil.Pass(time.Minute)
				isNew := func(m *backend.Member) bool { return !slices.Contains(before, m) }
				if got := set.Members(); len(got) != 2 || slices.ContainsFunc(got, isNew) {
					t.Errorf("%s, failure %d: after it %v", text, how, members(set))
				}
				r.Stop()
			})
		}
	}
}

// A name that is denied ends its members after three answers; a target of "." at once.
func TestRunner_deniedNames(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		srv, set := dnsserver.New(), backend.NewSet()
		srv.Answer("a.example.", "A 5 10.0.0.1")
		srv.Answer("_http._tcp.example.", "SRV 5 0 0 80 a.example.")
		var runners []*Runner
		for _, text := range []string{"dns://a.example:81", "srv+dns://_http._tcp.example"} {
			source, err := Open(text, Opening{Names: names(t, srv)})
			testutil.Must(t, err)
			r := Start(Options{Name: text, Source: source})
			r.Join(set)
			runners = append(runners, r)
		}
		want := func(want string) {
			t.Helper()
			synctest.Wait()
			if got := members(set); got != want {
				t.Errorf("members %q, want %q", got, want)
			}
		}
		want("80 81")
		srv.Answer("_http._tcp.example.", "SRV 5 0 0 0 .")
		time.Sleep(5 * time.Second)
		want("81")
		srv.Forget("a.example.")
		time.Sleep(5 * time.Second)
		want("81")
		time.Sleep(30 * time.Second)
		want("")
		srv.Answer("a.example.", "A 5 10.0.0.1")
		time.Sleep(10 * time.Second)
		want("81")
		for _, r := range runners {
			r.Stop()
		}
	})
}

func TestServiceSpecs(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		srv := dnsserver.New()
		srv.Answer("s.example.", "SRV 5 10 0 80 a.example.", "SRV 5 10 3 80 b.example.", "SRV 5 20 1 80 c.example.",
			"SRV 5 700 60000 80 d.example.")
		srv.Answer("z.example.", "SRV 5 10 0 80 a.example.", "SRV 5 10 0 80 b.example.")
		srv.Answer("a.example.", "A 5 10.0.0.1")
		srv.Answer("b.example.", "A 5 10.0.0.2", "AAAA 5 ::2:2")
		srv.Answer("c.example.", "A 5 10.0.0.3")
		srv.Answer("d.example.", "A 5 10.0.0.4")
		for name, want := range map[string]string{
			"s.example": "10.0.0.1:80*1/0 10.0.0.2:80*1/0 [::2:2]:80*1/0 10.0.0.3:80*1/1 10.0.0.4:80*65535/2",
			"z.example": "10.0.0.1:80*2/0 10.0.0.2:80*1/0 [::2:2]:80*1/0",
		} {
			found, err := names(t, srv).Services(t.Context(), name)
			testutil.Must(t, err)
			var got []string
			for _, b := range serviceSpecs(found.List) {
				got = append(got, fmt.Sprintf("%s*%d/%d", b.Address, b.Weight, b.Tier))
			}
			if text := strings.Join(got, " "); text != want {
				t.Errorf("%s: %s, want %s", name, text, want)
			}
		}
	})
}

// A hundred members come and go each second for 200 s: those that stay are the same ones, and nothing grows.
func TestRunner_storm(t *testing.T) {
	run(t, Options{}, func(t *testing.T, s told, _ *Runner, set *backend.Set, _ func(string)) {
		stays := []string{"10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:3"}
		s.find(stays...)
		before, goroutines := set.Members(), runtime.NumGoroutine()
		list, rng := slices.Clone(stays), rand.New(rand.NewPCG(1, 2))
		slots := 0
		for i := range 20000 {
			if len(list) > 300 || len(list) > 3 && rng.IntN(2) == 0 {
				k := 3 + rng.IntN(len(list)-3)
				list = slices.Delete(slices.Clone(list), k, k+1)
			} else {
				list = append(slices.Clone(list), fmt.Sprintf("10.0.0.1:%d", 1000+i))
			}
			s.find(list...)
			time.Sleep(10 * time.Millisecond)
			if got := set.Members(); !slices.Equal(got[:3], before) {
				t.Fatalf("change %d: a member that stays is another one", i)
			} else if i == 2000 {
				slots = got[len(got)-1].Slot()
			}
		}
		testutil.Pass(debounce)
		if got := set.Members(); len(got) != len(list) || got[len(got)-1].Slot() > 2*slots+700 {
			t.Errorf("%d members of %d, last slot %d, early %d", len(got), len(list), got[len(got)-1].Slot(), slots)
		}
		if n := runtime.NumGoroutine(); n > goroutines+5 {
			t.Errorf("%d goroutines, %d before", n, goroutines)
		}
	})
}

// deaf is a Source that does not end with its context.
type deaf chan struct{}

func (d deaf) Run(_ context.Context, publish func([]backend.Spec, error)) error {
	publish([]backend.Spec{{Address: "10.0.0.1:80", Weight: 1}}, nil)
	<-d
	publish([]backend.Spec{{Address: "10.0.0.1:81", Weight: 1}}, nil)
	return nil
}

// A source that does not end with its context holds nobody up, and is heard no more.
func TestRunner_deafSource(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		set, source := backend.NewSet(), make(deaf)
		r := Start(Options{Name: "deaf", Source: source})
		r.Join(set)
		synctest.Wait()
		begun := time.Now()
		r.Stop()
		if took := time.Since(begun); took > stopWait {
			t.Errorf("it took %v", took)
		}
		close(source)
		time.Sleep(time.Minute)
		if got := members(set); got != "80" {
			t.Errorf("members %q", got)
		}
	})
}
