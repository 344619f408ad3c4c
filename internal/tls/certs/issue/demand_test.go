package issue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// allowing is what a Demand asks.
type allowing struct {
	mu    sync.Mutex
	asked map[string]int  // guarded by mu
	never map[string]bool // guarded by mu
	fails error           // guarded by mu
}

func (a *allowing) allow(_ context.Context, name string) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked[name]++
	return !a.never[name], a.fails
}

func (a *allowing) set(fails error, never ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fails, a.never = fails, make(map[string]bool)
	for _, name := range never {
		a.never[name] = true
	}
}

// demanding returns a Renewer that gets certificates for any name, and what it asks.
func demanding(t *testing.T, a *scripted, burst int) (*rig, *allowing) {
	asks := &allowing{asked: make(map[string]int), never: make(map[string]bool)}
	plan := planOf(a)
	plan.Demand = &Demand{Allow: asks.allow, Every: time.Minute, Burst: burst}
	return start(t, nil, plan), asks
}

// obtain begins n handshakes for a name, and returns how many have a certificate when all have ended.
func (r *rig) obtain(name string, n int) (with int32) {
	var work sync.WaitGroup
	var got atomic.Int32
	for range n {
		work.Go(func() {
			if r.Obtain(context.Background(), r.set, name) != nil {
				got.Add(1)
			}
		})
	}
	work.Wait()
	return got.Load()
}

// A name that handshakes ask for is ordered once, for as many as may wait.
func TestObtain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := newScripted(t, "first")
		a.takes = 10 * time.Second
		r, asks := demanding(t, a, 100)
		if n := r.obtain("new.test", 30); n != waitersEach {
			t.Errorf("%d handshakes have it", n)
		}
		r.wantBy(t, "new.test", "first")
		var work sync.WaitGroup
		var got atomic.Int32
		for i := range 20 {
			work.Go(func() { got.Add(r.obtain(fmt.Sprintf("n%d.test", i), 5)) })
		}
		work.Wait()
		if n := got.Load(); n != waitersMost {
			t.Errorf("%d handshakes have one", n)
		}
		pass(time.Hour)
		if tries, issued := a.count("new.test"); tries != 1 || issued != 1 || asks.asked["new.test"] != 2 {
			t.Errorf("%d tries, %d certificates, asked %d times", tries, issued, asks.asked["new.test"])
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if r.Obtain(ctx, r.set, "late.test") != nil {
			t.Error("it has come in a second")
		}
		pass(time.Minute)
		r.wantBy(t, "late.test", "first")
	})
}

// Names that are not allowed, too many new ones, and such as nobody can say anything of, have no order and no entry.
func TestObtain_refuses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := newScripted(t, "first")
		r, asks := demanding(t, a, 2)
		pass(time.Minute)
		asks.set(nil, "bad.test")
		r.obtain("bad.test", 1)
		asks.set(errors.New("down"))
		r.obtain("down.test", 1)
		asks.set(nil)
		for i, want := range []int32{1, 1, 0} {
			if n := r.obtain(fmt.Sprintf("n%d.test", i), 1); n != want {
				t.Errorf("n%d.test: %d", i, n)
			}
		}
		pass(time.Minute)
		if n := r.obtain("n3.test", 1); n != 1 {
			t.Error("the budget is not whole again")
		}
		if all := r.All(); len(all) != 4 {
			t.Errorf("%+v", all)
		}
		for name, demands := range map[string]bool{
			"a.test": false, "x.a.test": true, "": false, "test": false, "192.0.2.1": false, "::1": false,
			"a..b":    false,
			"a.test.": false, ".test": false, "*.test": false, "-a.test": false, "a-.test": false, "a_b.test": false,
			"a b.test": false, "a\x00.test": false, "A.test": false, "é.test": false, "xn--a.test": true, "1.a1": true,
			strings.Repeat("a", 63) + ".test": true, strings.Repeat("a", 64) + ".test": false,
			strings.Repeat("a.", 126) + "b": true, strings.Repeat("a.", 127) + "b": false,
		} {
			if got := r.set.Demands(name); got != demands {
				t.Errorf("%q: %t", name, got)
			}
		}
		a.set(func() { a.fails = errors.New("no such name") })
		pass(time.Hour)
		for range 3 {
			if n := r.obtain("fails.test", 1); n != 0 {
				t.Error("it has a certificate")
			}
		}
		a.wantTries("fails.test", 1)
	})
}

// A name is renewed while handshakes ask for it and it is allowed. Else it is dropped, and its files are there for the
// next one.
func TestObtain_renews(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := newScripted(t, "first")
		r, asks := demanding(t, a, 10)
		pass(time.Minute)
		for _, name := range []string{"used.test", "idle.test", "gone.test"} {
			r.obtain(name, 1)
		}
		first := r.wantBy(t, "used.test", "first")
		pass(59 * day)
		r.wantBy(t, "used.test", "first")
		r.wantBy(t, "gone.test", "first")
		asks.set(errors.New("down"))
		pass(2 * day)
		if now := r.wantBy(t, "used.test", "first"); now != first {
			t.Error("it was renewed, though nobody knows whether it may be")
		}
		asks.set(nil, "gone.test")
		pass(day)
		r.wantRenewed(t, "used.test", first)
		r.wantBy(t, "idle.test", "")
		r.wantBy(t, "gone.test", "")
		if all := r.All(); len(all) != 2 {
			t.Errorf("%+v", all)
		}
		if n := r.obtain("idle.test", 1); n != 1 {
			t.Error("its files are not used")
		}
		if n := r.obtain("gone.test", 1); n != 0 {
			t.Error("it is not allowed")
		}
	})
}

// Names of handshakes stay over a reload, also with orders under way, and over a restart as far as they are asked for.
func TestObtain_reload(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := newScripted(t, "first")
		r, _ := demanding(t, a, 10)
		pass(time.Minute)
		r.obtain("new.test", 1)
		a.takes = 10 * time.Second
		done := make(chan int32)
		go func() { done <- r.obtain("slow.test", 1) }()
		pass(time.Second)
		r.plan.Subjects = []Subject{{"b.test"}}
		before := r.set
		r.reload()
		if n := <-done; n != 1 {
			t.Error("the handshake has no certificate")
		}
		for _, name := range []string{"new.test", "slow.test"} {
			r.wantBy(t, name, "first")
			a.wantTries(name, 1)
		}
		if r.Obtain(t.Context(), before, "other.test") != nil {
			t.Error("a Set that is not used any more has got a certificate")
		}
		demand := r.plan.Demand
		r.plan.Demand = nil
		r.reload()
		if r.wantBy(t, "new.test", ""); r.set.Demands("other.test") {
			t.Error("it demands without a Demand")
		}
		r.Stop()
		r.plan.Demand = demand
		next := start(t, nil, r.plan)
		if n := next.obtain("new.test", 1); n != 1 {
			t.Error("its files are not used")
		}
		a.wantTries("new.test", 1)
	})
}

// After Stop nothing begins, and nobody waits.
func TestObtain_stop(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := newScripted(t, "first")
		a.takes = time.Hour
		r, _ := demanding(t, a, 10)
		done := make(chan int32)
		go func() { done <- r.obtain("new.test", 3) }()
		pass(time.Second)
		r.Stop()
		if n := <-done; n != 0 {
			t.Errorf("%d have a certificate", n)
		}
		if n := r.obtain("other.test", 1); n != 0 {
			t.Error("it has a certificate")
		}
	})
}
