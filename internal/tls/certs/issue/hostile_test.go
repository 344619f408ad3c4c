package issue

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// A state that somebody else wrote neither ends the process nor puts a renewal off.
func TestRenewer_hostileState(t *testing.T) {
	far, early := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), time.Time{}
	for name, change := range map[string]func(s *state){
		"negative failures": func(s *state) { s.Failures, s.Next = -7, early },
		"all failures":      func(s *state) { s.Failures, s.Next = 1<<63-1, early },
		"next":              func(s *state) { s.Failures, s.Next = 1, far },
		"tried":             func(s *state) { s.Tried, s.Next, s.Failures = far, far, 1 },
		"window":            func(s *state) { s.Start, s.End, s.Again = far, far.Add(day), far },
		"again":             func(s *state) { s.Again = far },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a := newScripted(t, "first")
				shared := newMemory()
				plan := Plan{Storage: shared.process(), Authorities: one(a), Subjects: []Subject{{"a.test"}}}
				r := start(t, nil, plan)
				pass(time.Minute)
				serial := r.wantBy(t, "a.test", "first")
				r.Stop()
				pass(61 * day)
				keys := shared.all()
				at := siteOf("first", "a.test").state()
				var s state
				testutil.Must(t, json.Unmarshal(keys[at], &s))
				change(&s)
				keys[at], _ = json.Marshal(&s)
				shared.change(keys)
				a.fails = errors.New("down")
				r = start(t, nil, plan)
				pass(time.Minute)
				a.set(func() { a.fails = nil })
				pass(8 * day)
				if now := r.wantBy(t, "a.test", "first"); now == serial {
					t.Errorf("it was not renewed: %+v", r.All()[0])
				}
			})
		})
	}
}

// A window of any times, and any time to ask again, is kept over a restart and has its limits.
func TestRenewer_hostileWindow(t *testing.T) {
	long(t)
	for name, w := range map[string]Window{
		"before year 0": {Start: time.Unix(-1<<40, 0), End: time.Unix(0, 0)},
		"last year":     {Start: time.Unix(0, 0), End: time.Unix(1<<62, 0), Again: time.Unix(1<<62, 0)},
		"again":         {Again: time.Unix(1<<62, 0)},
		"turned":        {Start: time.Unix(1<<33, 0), End: time.Unix(0, 0)},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a := newScripted(t, "first")
				a.window = func(*x509.Certificate) (Window, error) { return w, nil }
				r := start(t, nil, planOf(a))
				pass(59 * day)
				if told := r.told(Trouble); len(told) > 0 {
					t.Errorf("%v", told[0].Err)
				}
				if most := a.triesIn("a.test", day); most > 12 {
					t.Errorf("%d orders a day", most)
				}
				if a.asked < 50 && name != "before year 0" {
					t.Errorf("asked %d times in 59 days", a.asked)
				}
				before, _ := a.count("a.test")
				pass(2 * day)
				if now, _ := a.count("a.test"); now == before {
					t.Error("it was not renewed")
				}
			})
		})
	}
}

// Replicas that want different certificates for a name do not have each other's pauses forgotten.
func TestRenewer_pausesOfTwoPlans(t *testing.T) {
	bubble(t, func(t *testing.T) {
		shared := newMemory()
		a := newScripted(t, "first")
		a.fails = errors.New("down")
		for _, kind := range []KeyKind{P256, P384} {
			start(t, nil, Plan{Storage: shared.process(), Authorities: one(a), Key: kind,
				Subjects: []Subject{{"a.test"}}})
			pass(30 * time.Second)
		}
		pass(3 * day)
		if most := a.triesIn("a.test", day); most > 2*12 {
			t.Errorf("%d tries a day of two plans", most)
		}
	})
}

// hanging is a Storage that does not answer, until the end of each context.
type hanging struct{ *process }

func (h *hanging) wait(ctx context.Context) error {
	if h.begin() == nil {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (h *hanging) Lock(ctx context.Context, name string) error {
	if err := h.wait(ctx); err != nil {
		return err
	}
	return h.process.Lock(ctx, name)
}

func (h *hanging) Load(ctx context.Context, key string) ([]byte, error) {
	if err := h.wait(ctx); err != nil {
		return nil, err
	}
	return h.process.Load(ctx, key)
}

func (h *hanging) Store(ctx context.Context, key string, value []byte) error {
	if err := h.wait(ctx); err != nil {
		return err
	}
	return h.process.Store(ctx, key, value)
}

// A Storage that hangs counts as failed: certificates are renewed in memory, and an event tells it.
func TestRenewer_storageHangs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := newScripted(t, "first")
		storage := &hanging{newMemory().process()}
		plan := planOf(a)
		plan.Storage = storage
		r := start(t, nil, plan)
		pass(time.Minute)
		serial := r.wantBy(t, "a.test", "first")
		storage.fail(errors.New("hangs"))
		pass(61 * day)
		r.wantRenewed(t, "a.test", serial)
		if len(r.told(Trouble)) == 0 {
			t.Error("nobody was told")
		}
	})
}

// Names whose locks somebody has for days do not keep other names from their turn.
func TestRenewer_locksOfOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := newScripted(t, "first")
		shared := newMemory()
		other := shared.process()
		plan := Plan{Storage: shared.process(), Authorities: one(a)}
		for i := range 20 {
			name := fmt.Sprintf("a%d.test", i)
			plan.Subjects = append(plan.Subjects, Subject{name})
			testutil.Must(t, other.Lock(t.Context(), lockName(name)))
		}
		plan.Subjects = append(plan.Subjects, Subject{"free.test"})
		r := start(t, nil, plan)
		pass(20 * time.Minute)
		r.wantBy(t, "free.test", "first")
	})
}

// Certificates may live for seconds, end before they begin, or begin in the far future: their authority gets few
// orders, and such a certificate replaces no good certificate.
func TestRenewer_oddLives(t *testing.T) {
	long(t)
	for name, c := range map[string]struct {
		begins, ends time.Duration
		refused      bool
		most         int
	}{
		"seconds":          {0, 5 * time.Second, false, 24 * 12},
		"minutes":          {0, 5 * time.Minute, false, 24 * 12},
		"end before begin": {12 * time.Hour, time.Hour, true, 12},
		"one moment":       {time.Hour, time.Hour, true, 12},
		"far future":       {300 * day, 400 * day, true, 12},
		"almost ended":     {-90 * day, time.Minute, false, 12},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a := newScripted(t, "first")
				a.life = 3 * day
				r := start(t, nil, planOf(a))
				pass(time.Minute)
				serial := r.wantBy(t, "a.test", "first")
				a.set(func() {
					a.wrong = func(o *Order, template *x509.Certificate) []byte {
						template.NotBefore, template.NotAfter = time.Now().Add(c.begins), time.Now().Add(c.ends)
						return a.sign(template, o.CSR.PublicKey)
					}
				})
				pass(60 * time.Hour)
				if now := r.wantBy(t, "a.test", "first"); c.refused != (now == serial) {
					t.Errorf("refused %t", now == serial)
				}
				if most := a.triesIn("a.test", day); most > c.most {
					t.Errorf("%d orders a day", most)
				}
			})
		})
	}
}

// A process that is stopped and started in a loop, while the authority is slow, has it asked no more often.
func TestRenewer_stoppedInLoop(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := newScripted(t, "first")
		a.takes = time.Minute
		plan := planOf(a)
		for range 200 {
			r := start(t, nil, plan)
			pass(30 * time.Second)
			r.Stop()
		}
		if tries, _ := a.count("a.test"); tries > 12 {
			t.Errorf("%d tries", tries)
		}
	})
}

// picky is a Storage that has no place for pairs, only for small texts.
type picky struct{ *process }

func (p picky) Store(ctx context.Context, key string, value []byte) error {
	if !strings.HasSuffix(key, stateFile) {
		return errors.New("no space")
	}
	return p.process.Store(ctx, key, value)
}

// A Storage that keeps the state but not the pair: restarts have the pauses of failures.
func TestRenewer_pairNotSaved(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := newScripted(t, "first")
		plan := planOf(a)
		plan.Storage = picky{newMemory().process()}
		for range 200 {
			r := start(t, nil, plan)
			pass(30 * time.Second)
			r.Stop()
		}
		if tries, _ := a.count("a.test"); tries > 12 {
			t.Errorf("%d tries", tries)
		}
	})
}

// A clock that was ahead while a lock was waited for does not put the next look off.
func TestRenewer_clockAheadAtLock(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := newScripted(t, "first")
		shared := newMemory()
		other := shared.process()
		testutil.Must(t, other.Lock(t.Context(), lockName("a.test")))
		var ahead clock
		ahead.jump(365 * day)
		r := start(t, ahead.now, Plan{Storage: shared.process(), Authorities: one(a), Subjects: []Subject{{"a.test"}}})
		pass(90 * time.Second)
		ahead.jump(-365 * day)
		testutil.Must(t, other.Unlock(t.Context(), lockName("a.test")))
		pass(10 * time.Minute)
		r.wantBy(t, "a.test", "first")
	})
}

type unreadable struct{ *process }

func (p unreadable) Load(ctx context.Context, key string) ([]byte, error) {
	if strings.HasSuffix(key, stateFile) {
		return nil, errors.New("is larger than 1 MiB")
	}
	return p.process.Load(ctx, key)
}

// What cannot be read beside a pair does not hide the pair.
func TestRenewer_unreadableState(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := newScripted(t, "first")
		shared := newMemory()
		plan := Plan{Storage: shared.process(), Authorities: one(a), Subjects: []Subject{{"a.test"}}}
		r := start(t, nil, plan)
		pass(time.Minute)
		serial := r.wantBy(t, "a.test", "first")
		r.Stop()
		plan.Storage = unreadable{shared.process()}
		r = start(t, nil, plan)
		if got := r.wantBy(t, "a.test", "first"); got != serial {
			t.Error("the pair is not presented")
		}
	})
}

// Each set of names has a folder of its own, whose files and locks have names that a file system takes.
func TestFolderName(t *testing.T) {
	long := strings.Repeat(strings.Repeat("a", 49)+".", 5) + "xyz" // 253 bytes
	seen := map[string]bool{}
	for _, names := range [][]string{{long}, {long, "b"}, {long[1:]}, {"a"}, {"a", "b"}, {"*.a"}, {"日本"}, {"中国"},
		{"a/b"}, {"ab"}, {"..a"}} {
		folder := folderName(names)
		if seen[folder] || folder == "" {
			t.Errorf("%q: %q is another's", names, folder)
		}
		seen[folder] = true
		ctx := t.Context()
		f, at := newFolder(t, t.TempDir()), siteOf("first", folder)
		if err := errors.Join(f.Store(ctx, at.nextKey(), nil), f.Lock(ctx, lockName(folder)),
			f.Unlock(ctx, lockName(folder))); err != nil {
			t.Error(err)
		}
	}
}

// Reloads from one plan to another and back, by a controller in a loop, make few orders, whether they go well or not.
func TestRenewer_reloadsInLoop(t *testing.T) {
	long(t)
	for _, fails := range []error{nil, errors.New("down")} {
		bubble(t, func(t *testing.T) {
			a := newScripted(t, "first")
			a.fails = fails
			r := start(t, nil, planOf(a))
			for i := range 3*24*6 - 1 { // the fourth day begins with a try
				r.plan.Key = []KeyKind{P256, P384}[i%2]
				r.reload()
				pass(10 * time.Minute)
				if i > 0 && fails == nil && r.set.Find("a.test") == nil {
					t.Fatal("nothing is presented")
				}
			}
			if tries, _ := a.count("a.test"); tries > 3*triesMost {
				t.Errorf("%d tries in 3 days", tries)
			}
		})
	}
}

// A Storage that hangs while a configuration is loaded delays it for a time alone. What it has comes when it answers.
func TestLoad_storageHangs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, shared := newScripted(t, "first"), newMemory()
		plan := Plan{Storage: shared.process(), Authorities: one(a)}
		for i := range 50 {
			plan.Subjects = append(plan.Subjects, Subject{fmt.Sprintf("a%d.test", i)})
		}
		r := start(t, nil, plan)
		pass(time.Hour)
		serial := r.wantBy(t, "a49.test", "first")
		r.Stop()
		storage := &hanging{shared.process()}
		storage.fail(errors.New("hangs"))
		plan.Storage = storage
		begun := time.Now()
		r = start(t, nil, plan)
		if took := time.Since(begun); took > loadTime {
			t.Errorf("it takes %v", took)
		}
		if len(r.told(Trouble)) == 0 {
			t.Error("nobody was told")
		}
		storage.fail(nil)
		pass(time.Hour)
		if now := r.wantBy(t, "a49.test", "first"); now != serial {
			t.Error("it was ordered again")
		}
	})
}
