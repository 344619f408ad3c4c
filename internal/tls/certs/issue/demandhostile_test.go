package issue

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// took begins a handshake for a name with a deadline of a minute, and returns whether it has a certificate, and after
// how long it has ended.
func (r *rig) took(name string) (with bool, took time.Duration) {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	with = r.Obtain(ctx, r.set, name) != nil
	return with, time.Since(begun)
}

// A name of handshakes that the Plan has later is the Plan's: nobody is asked for it, and it is renewed unused. Its
// certificate is not ordered again, though the Storage fails just then.
func TestObtain_planned(t *testing.T) {
	for _, demands := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			a := newScripted(t, "first")
			r, asks := demanding(t, a, 10)
			if r.obtain("new.test", 1) != 1 {
				t.Fatal("it has none")
			}
			first := r.wantBy(t, "new.test", "first")
			pass(30 * time.Second) // no look is under way, whose lock would be left and tried each second for 61 days
			if !demands {
				r.plan.Demand = nil
			}
			r.plan.Subjects = append(r.plan.Subjects, Subject{"new.test"})
			r.plan.Storage.(*process).fail(errors.New("down"))
			r.reload()
			if now := r.wantBy(t, "new.test", "first"); now != first {
				t.Error("it has another certificate")
			}
			pass(5 * time.Second) // a look and an order
			r.plan.Storage.(*process).fail(nil)
			asks.set(nil, "new.test")
			pass(61 * day)
			r.wantRenewed(t, "new.test", first)
			if all := r.All(); len(all) != 2 {
				t.Errorf("%+v", all)
			}
			a.wantTries("new.test", 2)
		})
	}
}

// Handshakes whose name waits for its order have the certificate when it comes, also where the Set has changed
// meanwhile; the next ones wait with them.
func TestObtain_queuedOverReload(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := newScripted(t, "first")
		r, _ := demanding(t, a, 10)
		pass(time.Minute)
		a.takes = 10 * time.Second
		var work sync.WaitGroup
		for i := range parallel + 2 {
			work.Go(func() {
				if with, after := r.took(fmt.Sprintf("n%d.test", i)); !with || after > 25*time.Second {
					t.Errorf("n%d.test: %t after %v", i, with, after)
				}
			})
		}
		pass(time.Second)
		r.reload()
		work.Go(func() {
			if with, _ := r.took("n5.test"); !with {
				t.Error("after the reload it does not wait")
			}
		})
		work.Wait()
		r.Renewer.mu.Lock()
		defer r.Renewer.mu.Unlock()
		if r.flights.waiting != 0 || len(r.flights.of) != 0 {
			t.Errorf("%d wait, flights %v", r.flights.waiting, r.flights.of)
		}
	})
}

// Where the Set that comes does not have a name, and where the Renewer stops, nobody waits for it any more.
func TestObtain_given(t *testing.T) {
	for _, end := range []func(r *rig){
		func(r *rig) { r.plan.Demand = nil; r.reload() },
		func(r *rig) { r.plan.Proofs = "other"; r.reload() },
		func(r *rig) { r.Use(nil) },
		func(r *rig) { r.Stop() },
	} {
		bubble(t, func(t *testing.T) {
			a := newScripted(t, "first")
			r, _ := demanding(t, a, 10)
			pass(time.Minute)
			a.takes = 30 * time.Second
			var work sync.WaitGroup
			for i := range 2 * parallel {
				work.Go(func() {
					if with, after := r.took(fmt.Sprintf("n%d.test", i)); after == time.Minute {
						t.Errorf("%t after %v", with, after)
					}
				})
			}
			pass(time.Second)
			end(r)
			work.Wait()
		})
	}
}

// A Stop while a lock of another replica is waited for ends the handshakes.
func TestObtain_stopAtLock(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, _ := demanding(t, newScripted(t, "first"), 10)
		pass(time.Minute)
		other := r.plan.Storage.(*process).memory.process()
		testutil.Must(t, other.Lock(t.Context(), lockName(folderName([]string{"new.test"}))))
		done := make(chan time.Duration)
		go func() {
			_, after := r.took("new.test")
			done <- after
		}()
		pass(time.Second)
		r.Stop()
		if after := <-done; after > 5*time.Second {
			t.Errorf("it has ended after %v", after)
		}
	})
}

// However many handshakes begin and leave, a bounded number of names is asked for at once.
func TestObtain_leave(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, _ := demanding(t, newScripted(t, "first"), 10)
		var now, most atomic.Int32
		r.plan.Demand = &Demand{Every: time.Minute, Burst: 10, Allow: func(context.Context, string) (bool, error) {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer now.Add(-1)
			<-time.After(2 * time.Second)
			return false, nil
		}}
		r.reload()
		for i := range 1000 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			r.Obtain(ctx, r.set, fmt.Sprintf("n%d.test", i))
			cancel()
		}
		if n := most.Load(); n > waitersMost {
			t.Errorf("%d names are asked for at once", n)
		}
	})
}

// A Storage that hangs ends no flight later than it ends a look.
func TestObtain_storageHangs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := newScripted(t, "first")
		r, _ := demanding(t, a, 10)
		storage := &hanging{newMemory().process()}
		r.plan.Storage = storage
		pass(time.Minute)
		r.reload()
		pass(time.Minute)
		storage.fail(errors.New("hangs"))
		r.took("new.test")
		pass(10 * time.Minute)
		r.wantBy(t, "new.test", "first")
	})
}

// The budget for new names is not whole again after a reload.
func TestObtain_budgetOverReload(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, _ := demanding(t, newScripted(t, "first"), 2)
		got := int32(0)
		for i := range 6 {
			got += r.obtain(fmt.Sprintf("n%d.test", i), 1)
			r.reload()
		}
		if got != 2 {
			t.Errorf("%d new names", got)
		}
	})
}

// A handshake for a name that comes back after its certificate has ended waits for the next one.
func TestObtain_ended(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, _ := demanding(t, newScripted(t, "first"), 10)
		r.obtain("new.test", 1)
		first := r.wantBy(t, "new.test", "first")
		r.set.demanded.entry("new.test").used.Store(false)
		pass(95 * day)
		r.wantBy(t, "new.test", "")
		if n := r.obtain("new.test", 1); n != 1 {
			t.Error("it has none")
		}
		if now := r.wantBy(t, "new.test", "first"); now == first {
			t.Error("it has the certificate that has ended")
		}
	})
}

// A renewal that fails once does not have a name forgotten whose certificate is valid.
func TestObtain_renewalFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := newScripted(t, "first")
		a.life = 12 * day
		r, _ := demanding(t, a, 10)
		r.obtain("new.test", 1)
		first := r.wantBy(t, "new.test", "first")
		a.set(func() { a.fails = errors.New("down") })
		pass(9 * day)
		if len(r.All()) != 2 {
			t.Error("it is forgotten")
		}
		a.set(func() { a.fails = nil })
		pass(day)
		r.wantRenewed(t, "new.test", first)
		a.set(func() { a.fails = errors.New("down") })
		pass(16 * day)
		if len(r.All()) != 1 {
			t.Error("nobody uses it, and its certificate has ended: it is still there")
		}
	})
}

// A look that makes no order ends the wait too: the tries of the day are used up.
func TestObtain_noTries(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, _ := demanding(t, newScripted(t, "first"), 10)
		pass(time.Minute)
		e := &entry{names: []string{"new.test"}, folder: folderName([]string{"new.test"})}
		l := looking{journal: &r.journal, set: r.set, entry: e, state: state{Day: time.Now(), Tries: triesMost}}
		testutil.Must(t, l.saveState(t.Context()))
		if with, after := r.took("new.test"); with || after > 5*time.Second {
			t.Errorf("%t after %v", with, after)
		}
	})
}

// Whatever handshakes, reloads and failures there are at once, nobody waits at the end, and the counts are right.
func TestObtain_random(t *testing.T) {
	for seed := range uint64(testutil.RaceRounds(20)) {
		bubble(t, func(t *testing.T) {
			random := mathrand.New(mathrand.NewPCG(seed, 40))
			a := newScripted(t, "first")
			a.takes = 3 * time.Second
			r, asks := demanding(t, a, 30)
			plain := r.plan
			var work sync.WaitGroup
			for range 400 {
				pass(time.Duration(random.IntN(1000)) * time.Millisecond)
				name, set := fmt.Sprintf("n%d.test", random.IntN(40)), r.set
				switch random.IntN(12) {
				case 0:
					r.plan = plain
					r.plan.Subjects = append([]Subject{{name}}, plain.Subjects...)
					r.reload()
				case 1:
					r.plan = plain
					r.plan.Proofs = fmt.Sprint(random.IntN(2))
					r.reload()
				case 2:
					asks.set([]error{nil, errors.New("down")}[random.IntN(2)], name)
				case 3:
					a.set(func() { a.fails = []error{nil, errors.New("down")}[random.IntN(2)] })
				default:
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(20))*time.Second)
					work.Go(func() {
						defer cancel()
						if set.Find(name) == nil && set.Demands(name) {
							r.Obtain(ctx, set, name)
						}
					})
				}
			}
			work.Wait()
			pass(time.Minute)
			r.Renewer.mu.Lock()
			n := 0
			r.set.demanded.entries.Range(func(any, any) bool { n++; return true })
			if f := &r.flights; f.waiting != 0 || f.asking != 0 || len(f.of) != 0 || n != r.set.demanded.n {
				t.Errorf("seed %d: %+v, %d names, counted %d", seed, f, n, r.set.demanded.n)
			}
			r.Renewer.mu.Unlock()
			r.Stop()
		})
	}
}

// Handshakes cannot have a name ordered more often than another one, also where the Storage fails.
func TestObtain_tries(t *testing.T) {
	for _, fails := range []error{nil, errors.New("broken")} {
		bubble(t, func(t *testing.T) {
			a := newScripted(t, "first")
			r, _ := demanding(t, a, 100)
			pass(time.Minute)
			a.set(func() { a.fails = errors.New("down") })
			r.plan.Storage.(*process).fail(fails)
			for range 1000 {
				if r.set.Find("new.test") == nil { // as a handshake does
					r.obtain("new.test", 1)
				}
				pass(95 * time.Second)
			}
			if most := a.triesIn("new.test", day); most < 6 || most > triesMost {
				t.Errorf("%d tries a day, the Storage: %v", most, fails)
			}
		})
	}
}
