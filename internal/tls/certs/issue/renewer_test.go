package issue

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// bubble runs f where time is simulated.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	testutil.Bubble(t, f)
}

// A name gets a certificate at once, which is renewed after two thirds of its life, in place.
func TestRenewer_issuesAndRenews(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := newScripted(t, "first")
		r := start(t, nil, Plan{Storage: newMemory().process(), Authorities: one(a),
			Subjects: []Subject{{"a.test"}, {"b.test", "*.b.test", "192.0.2.7"}, {"a.test"}}})
		if _, by := r.by("a.test"); by != "" {
			t.Error("it has a certificate already")
		}
		pass(5 * time.Second)
		serial := r.wantBy(t, "a.test", "first")
		for _, name := range []string{"b.test", "x.b.test", "192.0.2.7"} {
			r.wantBy(t, name, "first")
		}
		for _, name := range []string{"x.a.test", "x.y.b.test", "test", ""} {
			r.wantBy(t, name, "")
		}
		pass(60*day - time.Minute)
		if now := r.wantBy(t, "a.test", "first"); now != serial {
			t.Error("it was renewed early")
		}
		pass(2 * time.Minute)
		r.wantRenewed(t, "a.test", serial)
		if tries, issued := a.count("a.test"); tries != 2 || issued != 2 {
			t.Errorf("%d tries, %d certificates", tries, issued)
		}
		if len(a.old) != 2 || a.old[0].DNSNames[0] != "a.test" && a.old[1].DNSNames[0] != "a.test" {
			t.Errorf("%d orders name the certificate before", len(a.old))
		}
		all := r.All()
		if len(all) != 2 || all[0].Authority != "first" || all[0].Failures != 0 || !all[0].Next.Before(all[0].Expires) {
			t.Errorf("%+v", all)
		}
		if told := r.told(Ordered); len(told) != 4 || told[0].Err != nil || told[0].Expires.IsZero() {
			t.Errorf("%+v", told)
		}
	})
}

// A certificate is renewed in the window that its authority tells, at one moment for all replicas; the authority is
// asked four times a day at the most.
func TestRenewer_window(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := newScripted(t, "first")
		begin := time.Now()
		from, to := begin.Add(20*day), begin.Add(22*day)
		a.window = func(*x509.Certificate) (Window, error) { return Window{Start: from, End: to, Again: begin}, nil }
		shared := newMemory()
		plan := Plan{Storage: shared.process(), Authorities: one(a), Subjects: []Subject{{"a.test"}}}
		r := start(t, nil, plan)
		pass(day)
		if a.asked < 4 || a.asked > 5 {
			t.Errorf("asked %d times", a.asked)
		}
		next := r.All()[0].Next
		if next.Before(from) || next.After(to) {
			t.Errorf("%v, want between %v and %v", next, from, to)
		}
		plan.Storage = shared.process()
		other := start(t, nil, plan)
		if at := other.All()[0].Next; !at.Equal(next) {
			t.Errorf("another replica renews at %v, this one at %v", at, next)
		}
		a.set(func() { a.window = func(*x509.Certificate) (Window, error) { return Window{}, errors.New("down") } })
		pass(next.Sub(time.Now()) + 10*time.Second)
		if _, issued := a.count("a.test"); issued != 2 {
			t.Errorf("%d certificates", issued)
		}
		// It ends after the certificate: its authority is not believed.
		a.set(func() {
			a.window = func(leaf *x509.Certificate) (Window, error) {
				return Window{Start: leaf.NotAfter, End: leaf.NotAfter.Add(day)}, nil
			}
		})
		pass(day)
		if s := r.All()[0]; !s.Next.Before(s.Expires.Add(-20 * day)) {
			t.Errorf("it is renewed at %v, and ends at %v", s.Next, s.Expires)
		}
	})
}

// An authority whose certificates are always due again gets an order every two hours.
func TestRenewer_dueAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := newScripted(t, "first")
		a.window = func(leaf *x509.Certificate) (Window, error) {
			return Window{Start: leaf.NotBefore.Add(-day), End: leaf.NotBefore.Add(-time.Hour)}, nil
		}
		start(t, nil, planOf(a))
		pass(5 * day)
		if most := a.triesIn("a.test", day); most > 12 {
			t.Errorf("%d orders a day", most)
		}
	})
}

// While an authority is down, the pauses between tries grow, and go on over restarts. A name has 12 tries a day at the
// most. The certificate before is presented.
func TestRenewer_pauses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := newScripted(t, "first")
		shared := newMemory()
		plan := Plan{Storage: shared.process(), Authorities: one(a), Subjects: []Subject{{"a.test"}, {"b.test"}}}
		r := start(t, nil, plan)
		pass(time.Minute)
		serial := r.wantBy(t, "a.test", "first")
		a.set(func() { a.fails = errors.New("down") })
		pass(60 * day)
		r.Stop()
		for range 10 {
			plan.Storage = shared.process()
			r = start(t, nil, plan)
			pass(2 * time.Hour)
			r.Stop()
		}
		if most := a.triesIn("a.test", day); most < 10 || most > 13 {
			t.Errorf("%d tries a day", most)
		}
		if now := r.wantBy(t, "a.test", "first"); now != serial {
			t.Error("another certificate")
		}
		if s := r.All()[0]; s.Failures < 10 || s.Err != "down" {
			t.Errorf("%+v", s)
		}
		a.set(func() { a.fails = nil })
		r = start(t, nil, plan)
		pass(6*time.Hour + time.Minute)
		if now := r.wantBy(t, "a.test", "first"); now == serial {
			t.Error("it was not renewed when the authority was there again")
		}
		if s := r.All()[0]; s.Failures != 0 || s.Err != "" {
			t.Errorf("%+v", s)
		}
	})
}

// An authority that wants no order before a time gets none; it may not ask for one at once either.
func TestRenewer_retryAfter(t *testing.T) {
	for _, c := range []struct{ after, want time.Duration }{
		{3 * time.Hour, 3 * time.Hour}, {0, time.Minute}, {-time.Hour, time.Minute}, {1000 * day, 7 * day},
	} {
		t.Run(c.after.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a := newScripted(t, "first")
				a.fails = &Early{errors.New("rate limited"), c.after}
				start(t, nil, planOf(a))
				pass(c.want - time.Second)
				a.wantTries("a.test", 1)
				pass(10 * time.Second)
				a.wantTries("a.test", 2)
			})
		})
	}
}

// The clock is set forth and back by a day while an authority is down, and while it is not.
func TestRenewer_clockJumps(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := newScripted(t, "first")
		var ahead clock
		storage := newMemory().process()
		plan := planOf(a)
		plan.Storage = storage
		r := start(t, ahead.now, plan)
		pass(time.Hour)
		for _, jump := range []time.Duration{day, -day, -day, day} {
			ahead.jump(jump)
			pass(6 * time.Hour)
			r.wantBy(t, "a.test", "first")
		}
		a.wantTries("a.test", 1)
		pass(50 * day)
		a.set(func() { a.fails = errors.New("down") })
		pass(20 * day)
		before, _ := a.count("a.test")
		for _, jump := range []time.Duration{-day, day, day, -day} {
			ahead.jump(jump)
			pass(6*time.Hour + 2*time.Minute)
		}
		if tries, _ := a.count("a.test"); tries-before > 12 || tries-before < 3 {
			t.Errorf("%d tries in a day", tries-before)
		}
		a.set(func() { a.fails = nil })
		ahead.jump(-day)
		pass(6*time.Hour + 2*time.Minute)
		if s := r.All()[0]; s.Failures != 0 {
			t.Errorf("a clock that was set back stops the tries: %+v", s)
		}
		if days := 73; storage.ops > days*24*15 {
			t.Errorf("%d operations of the Storage in %d days", storage.ops, days)
		}
	})
}

// An order that never ends is a failure after five minutes.
func TestRenewer_pendingOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := newScripted(t, "first")
		a.takes = 1000 * day
		start(t, nil, planOf(a))
		pass(day)
		if tries, _ := a.count("a.test"); tries < 8 || tries > 12 {
			t.Errorf("%d tries a day", tries)
		}
	})
}

// The second try asks the staging authority, and the authority itself if that went well; the third asks the next one.
func TestRenewer_staging(t *testing.T) {
	bubble(t, func(t *testing.T) {
		first, stage, second := newScripted(t, "first"), newScripted(t, "stage"), newScripted(t, "second")
		first.fails, stage.fails = errors.New("no"), errors.New("no")
		plan := Plan{Storage: newMemory().process(), Subjects: []Subject{{"a.test"}},
			Authorities: []Authority{{first, stage}, {second, nil}}}
		r := start(t, nil, plan)
		pass(30 * time.Second)
		first.wantTries("a.test", 1)
		pass(90 * time.Second)
		tries, _ := first.count("a.test")
		if staged, _ := stage.count("a.test"); tries != 1 || staged != 1 {
			t.Errorf("%d tries, %d at staging", tries, staged)
		}
		pass(3 * time.Minute)
		r.wantBy(t, "a.test", "second")
		// It is renewed at the first authority, whose failure is another one.
		first.set(func() { first.fails = nil })
		pass(61 * day)
		serial := r.wantBy(t, "a.test", "first")
		r.Stop()
		r = start(t, nil, plan)
		if now := r.wantBy(t, "a.test", "first"); now != serial {
			t.Error("of two pairs the older one was read")
		}
	})
}

// An order that went well at the staging authority is made at the authority itself at once.
func TestRenewer_stagingGoesWell(t *testing.T) {
	bubble(t, func(t *testing.T) {
		first, stage := newScripted(t, "first"), newScripted(t, "stage")
		first.fails = errors.New("no")
		r := start(t, nil, Plan{Storage: newMemory().process(), Subjects: []Subject{{"a.test"}},
			Authorities: []Authority{{first, stage}}})
		pass(30 * time.Second)
		first.set(func() { first.fails = nil })
		pass(time.Minute)
		r.wantBy(t, "a.test", "first")
		if tries, issued := stage.count("a.test"); tries != 1 || issued != 1 {
			t.Errorf("%d tries at staging, %d certificates", tries, issued)
		}
	})
}

// The first order for a name that leads elsewhere asks the staging authority first. Where that is wrong, the
// certificate comes all the same.
func TestRenewer_leadsElsewhere(t *testing.T) {
	for away, want := range map[string][3]int{"": {0, 1, 1}, "a.test": {1, 1, 1}, "down": {1, 0, 1}} {
		bubble(t, func(t *testing.T) {
			first, stage, asked := newScripted(t, "first"), newScripted(t, "stage"), 0
			first.life = 12 * day
			if away == "down" {
				stage.fails = errors.New("no proof")
			}
			start(t, nil, Plan{Storage: newMemory().process(), Subjects: []Subject{{"a.test"}},
				Authorities: []Authority{{first, stage}}, Leads: func(_ context.Context, names []string) bool {
					asked++
					return away == "" && names[0] == "a.test"
				}})
			pass(30 * time.Second)
			staged, _ := stage.count("a.test")
			if tries, _ := first.count("a.test"); staged != want[0] || tries != want[1] || asked != want[2] {
				t.Errorf("%q: %d tries at staging, %d at the authority, asked %d times", away, staged, tries, asked)
			}
			pass(11 * day) // a renewal is no first order
			renewed, _ := first.count("a.test")
			if asked != 1 || away != "down" && renewed < 2 {
				t.Errorf("%q: asked %d times, %d certificates", away, asked, renewed)
			}
		})
	}
}

// Ten orders in ten seconds for one account, four at once.
func TestRenewer_pace(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := newScripted(t, "first")
		a.takes = 100 * time.Millisecond
		plan := Plan{Storage: newMemory().process(), Authorities: one(a)}
		for i := range 40 {
			plan.Subjects = append(plan.Subjects, Subject{fmt.Sprintf("a%d.test", i)})
		}
		start(t, nil, plan)
		pass(2 * time.Minute)
		var times []time.Time
		a.mu.Lock()
		for _, list := range a.tries {
			times = append(times, list...)
		}
		a.mu.Unlock()
		slices.SortFunc(times, time.Time.Compare)
		if len(times) != 40 {
			t.Fatalf("%d orders", len(times))
		}
		for i := range times[10:] {
			if within := times[i+10].Sub(times[i]); within < 10*time.Second {
				t.Errorf("11 orders in %v", within)
			}
		}
		if took := times[39].Sub(times[0]); took > 40*time.Second {
			t.Errorf("40 orders took %v", took)
		}
	})
}

// Another way of proofs is tried at once, whatever failed before: an operator has mended what was wrong.
func TestRenewer_otherProofs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := newScripted(t, "first")
		a.fails = errors.New("no such record")
		r := start(t, nil, planOf(a))
		pass(10 * time.Minute)
		before, _ := a.count("a.test")
		for _, proofs := range []string{"", "dns", "dns"} {
			more := 0
			if proofs != r.plan.Proofs {
				more = 1
			}
			r.plan.Proofs = proofs
			r.reload()
			pass(5 * time.Second)
			a.wantTries("a.test", before+more)
			before, _ = a.count("a.test")
		}
	})
}
