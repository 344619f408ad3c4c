package issue

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// Three replicas that want the same names make one order a name, and all have the certificate at once.
func TestRenewer_replicas(t *testing.T) {
	long(t)
	bubble(t, func(t *testing.T) {
		a := newScripted(t, "first")
		shared := newMemory()
		var all []*rig
		for range 3 {
			r := start(t, nil, Plan{Storage: shared.process(), Authorities: one(a),
				Subjects: []Subject{{"a.test"}, {"b.test"}, {"c.test"}, {"d.test"}, {"e.test"}}})
			all = append(all, r)
		}
		pass(12 * time.Second)
		for _, name := range []string{"a.test", "b.test", "c.test", "d.test", "e.test"} {
			if tries, issued := a.count(name); tries != 1 || issued != 1 {
				t.Errorf("%s: %d tries, %d certificates", name, tries, issued)
			}
			serial := all[0].wantBy(t, name, "first")
			for _, r := range all[1:] {
				if got := r.wantBy(t, name, "first"); got != serial {
					t.Errorf("%s: replicas have different certificates", name)
				}
			}
		}
		pass(200 * day)
		if tries, issued := a.count("a.test"); tries != 4 || issued != 4 {
			t.Errorf("%d tries, %d certificates in 200 days", tries, issued)
		}
	})
}

// Whatever the moment in which a process is killed, the next one presents a whole pair, and makes one further order at
// the most. No lock is left.
func TestRenewer_killedAtEachStep(t *testing.T) {
	for _, renews := range []bool{false, true} {
		for step := range 25 {
			bubble(t, func(t *testing.T) { killAt(t, step, renews) })
		}
	}
}

// killAt kills a process at a step of its first order, or of a renewal.
func killAt(t *testing.T, step int, renews bool) {
	a := newScripted(t, "first")
	shared := newMemory()
	plan := Plan{Storage: shared.process(), Authorities: one(a), Subjects: []Subject{{"a.test"}}}
	before := ""
	if renews {
		r := start(t, nil, plan)
		pass(time.Minute)
		before = r.wantBy(t, "a.test", "first")
		r.Stop()
		pass(61 * day)
	}
	tries, _ := a.count("a.test")
	killed := shared.process()
	killed.left = step
	plan.Storage = killed
	r := start(t, nil, plan)
	pass(10 * time.Second)
	r.Stop()
	killed.kill()

	plan.Storage = shared.process()
	r = start(t, nil, plan)
	_, now := r.by("a.test")
	if renews && now == "" {
		t.Errorf("step %d: no whole pair", step)
	}
	if _, issued := a.count("a.test"); renews && now != before && issued != 2 {
		t.Errorf("step %d: the pair before was lost", step)
	}
	pass(2 * time.Minute)
	r.wantBy(t, "a.test", "first")
	if now, _ := a.count("a.test"); now-tries > 2 {
		t.Errorf("step %d: %d orders", step, now-tries)
	}
	at := siteOf("first", "a.test")
	keys := shared.all()
	next := keys[at.nextKey()]
	if shared.locked() > 0 || next != nil && !bytes.Equal(next, keys[at.key()]) {
		t.Errorf("step %d: a lock or the key of no certificate is left", step)
	}
}

// Two of three replicas are killed at random for a day and a half, while certificates live for a day.
func TestRenewer_killedAtRandom(t *testing.T) {
	for seed := range uint64(testutil.RaceRounds(20)) {
		bubble(t, func(t *testing.T) {
			random := mathrand.New(mathrand.NewPCG(seed, 0))
			a := newScripted(t, "first")
			a.life = 24 * time.Hour
			shared := newMemory()
			plan := Plan{Storage: shared.process(), Authorities: one(a), Subjects: []Subject{{"a.test"}}}
			stays := start(t, nil, plan)
			defer stays.Stop()
			var dying [2]*rig
			for i := range dying {
				plan.Storage = shared.process()
				dying[i] = start(t, nil, plan)
			}
			for range 200 {
				pass(time.Duration(random.IntN(1200)) * time.Second)
				i := random.IntN(2)
				p := dying[i].plan.Storage.(*process)
				p.mu.Lock()
				p.kill()
				p.mu.Unlock()
				dying[i].Stop()
				plan.Storage = shared.process()
				dying[i] = start(t, nil, plan)
				if _, serial := stays.by("a.test"); serial == "" && time.Since(a.root.NotBefore) > 2*time.Hour {
					t.Errorf("seed %d: there is no certificate", seed)
				}
			}
			for _, r := range dying {
				r.Stop()
			}
			if tries, _ := a.count("a.test"); tries > 8 {
				t.Errorf("seed %d: %d tries in a day and a half", seed, tries)
			}
		})
	}
}

// While the Storage fails, certificates are presented and renewed in memory, and saved when it works again.
func TestRenewer_storageFails(t *testing.T) {
	long(t)
	bubble(t, func(t *testing.T) {
		a := newScripted(t, "first")
		a.life = 15 * day
		shared := newMemory()
		storage := shared.process()
		storage.fail(errors.New("disk full"))
		plan := Plan{Storage: storage, Authorities: one(a), Subjects: []Subject{{"a.test"}, {"b.test"}}}
		r := start(t, nil, plan)
		pass(time.Minute)
		r.wantBy(t, "a.test", "first")
		pass(10*day + time.Minute)
		serial := r.wantBy(t, "a.test", "first")
		if _, issued := a.count("a.test"); issued != 2 {
			t.Errorf("%d certificates", issued)
		}
		if told := len(r.told(Trouble)); told < 10*20 || told > 10*25 {
			t.Errorf("it was told %d times in 10 days", told)
		}
		storage.fail(nil)
		pass(61 * time.Second)
		if n := len(shared.all()); n != 2*4 {
			t.Errorf("%d keys were saved", n)
		}
		plan.Storage = shared.process()
		other := start(t, nil, plan)
		if got := other.wantBy(t, "a.test", "first"); got != serial {
			t.Error("another certificate was saved")
		}
		// It fails while an authority does: the pauses grow in memory.
		storage.fail(errors.New("disk full"))
		a.set(func() { a.fails = errors.New("down"); clear(a.tries) })
		other.Stop()
		pass(12 * day)
		if most := a.triesIn("a.test", day); most > 12 {
			t.Errorf("%d tries a day", most)
		}
	})
}

// A reload that wants another authority, account, kind of key, names or Storage has the certificate before presented
// until there is another one, and one reload after another one too.
func TestRenewer_changes(t *testing.T) {
	for name, change := range map[string]func(p *Plan, a, b *scripted){
		"authority": func(p *Plan, _, b *scripted) { p.Authorities = one(b) },
		"account": func(p *Plan, a, _ *scripted) {
			other := newScripted(a.t, "first")
			other.account, other.takes = "other", a.takes
			p.Authorities = one(other)
		},
		"key":     func(p *Plan, _, _ *scripted) { p.Key = P384 },
		"names":   func(p *Plan, _, _ *scripted) { p.Subjects = []Subject{{"a.test", "b.test"}} },
		"storage": func(p *Plan, _, _ *scripted) { p.Storage = newMemory().process() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a, b := newScripted(t, "first"), newScripted(t, "second")
				a.account, b.account = "one", "one"
				r := start(t, nil, planOf(a))
				pass(time.Minute)
				serial := r.wantBy(t, "a.test", "first")
				change(&r.plan, a, b)
				restarted := r.plan
				r.reload()
				pass(time.Second)
				r.reload()
				if _, now := r.by("a.test"); now != serial {
					t.Error("the certificate is gone")
				}
				pass(time.Minute)
				c := r.set.Find("a.test")
				if c == nil || fmt.Sprint(c.Leaf.SerialNumber) == serial {
					t.Fatal("there is no other certificate")
				}
				if kind := kindOf(c.Leaf.PublicKey); name == "key" && kind != P384 {
					t.Errorf("its key is a %s", kind)
				}
				serial = fmt.Sprint(c.Leaf.SerialNumber)
				other := start(t, nil, restarted)
				pass(time.Minute)
				if _, now := other.by("a.test"); now != serial {
					t.Error("a restart has another certificate")
				}
			})
		})
	}
}

// Replicas with different accounts do not take the certificate of each other for one to be replaced, in a circle.
func TestRenewer_replicasOfTwoAccounts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		shared := newMemory()
		var authorities []*scripted
		for _, account := range []string{"one", "other"} {
			a := newScripted(t, "first")
			a.account = account
			authorities = append(authorities, a)
			start(t, nil, Plan{Storage: shared.process(), Authorities: one(a), Subjects: []Subject{{"a.test"}}})
			pass(time.Hour)
		}
		pass(30 * day)
		for _, a := range authorities {
			a.wantTries("a.test", 1)
			if len(a.old) > 0 {
				t.Errorf("the account %s has replaced the certificate of another one", a.account)
			}
		}
	})
}

// A restart with another authority presents the certificate of the authority before, as one by Caddy in its folder.
func TestRenewer_foreignFolder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := newScripted(t, "first"), newScripted(t, "second")
		shared := newMemory()
		plan := Plan{Storage: shared.process(), Authorities: one(a), Subjects: []Subject{{"a.test"}}}
		r := start(t, nil, plan)
		pass(time.Minute)
		r.Stop()
		keys := shared.all()
		delete(keys, siteOf("first", "a.test").state()) // Caddy has none
		shared.change(keys)
		r = start(t, nil, plan)
		pass(time.Minute)
		serial := r.wantBy(t, "a.test", "first")
		a.wantTries("a.test", 1)
		r.Stop()
		plan.Authorities = one(b)
		b.fails = errors.New("down")
		r = start(t, nil, plan)
		pass(time.Minute)
		if got := r.wantBy(t, "a.test", "first"); got != serial {
			t.Error("another certificate")
		}
		b.set(func() { b.fails = nil })
		pass(10 * time.Minute)
		r.wantBy(t, "a.test", "second")
	})
}

// A certificate that has ended is not presented while the Storage has one of another authority that has not.
func TestRenewer_endedPair(t *testing.T) {
	bubble(t, func(t *testing.T) {
		first, second := newScripted(t, "first"), newScripted(t, "second")
		second.life = 6 * day
		plan := planOf(first)
		plan.Authorities = append(plan.Authorities, Authority{Issuer: second})
		r := start(t, nil, plan)
		pass(time.Minute)
		first.set(func() { first.fails = errors.New("no") })
		pass(61 * day)
		r.wantBy(t, "a.test", "second")
		second.set(func() { second.fails = errors.New("no") })
		pass(7 * day)
		r.wantBy(t, "a.test", "first")
		other := start(t, nil, plan)
		other.wantBy(t, "a.test", "first")
	})
}

// Answers of an authority that are no certificate for the order are refused. What was presented stays.
func TestRenewer_wrongAnswers(t *testing.T) {
	long(t)
	for want, wrong := range map[string]func(a *scripted, o *Order, c *x509.Certificate) []byte{
		"without the name a.test": func(a *scripted, o *Order, c *x509.Certificate) []byte {
			c.DNSNames = []string{"b.test"}
			return a.sign(c, o.CSR.PublicKey)
		},
		"expired": func(a *scripted, o *Order, c *x509.Certificate) []byte {
			c.NotAfter = c.NotBefore.Add(time.Second)
			c.NotBefore = c.NotBefore.Add(-day)
			c.NotAfter = c.NotBefore.Add(time.Hour)
			return a.sign(c, o.CSR.PublicKey)
		},
		"does not verify": func(a *scripted, o *Order, c *x509.Certificate) []byte {
			other := newScripted(a.t, "first")
			chain := string(a.sign(c, o.CSR.PublicKey))
			own, _, _ := strings.Cut(chain[1:], "-----BEGIN")
			_, root, _ := strings.Cut(string(other.sign(c, o.CSR.PublicKey))[1:], "-----BEGIN")
			return []byte("-" + own + "-----BEGIN" + root)
		},
		"do not belong together": func(a *scripted, _ *Order, c *x509.Certificate) []byte {
			key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			return a.sign(c, key.Public())
		},
		"holds no certificate": func(*scripted, *Order, *x509.Certificate) []byte { return []byte("<html>") },
		"damaged": func(a *scripted, o *Order, c *x509.Certificate) []byte {
			chain := a.sign(c, o.CSR.PublicKey)
			return chain[:len(chain)-40]
		},
	} {
		t.Run(want, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a := newScripted(t, "first")
				r := start(t, nil, planOf(a))
				pass(time.Minute)
				serial := r.wantBy(t, "a.test", "first")
				a.set(func() { a.wrong = func(o *Order, c *x509.Certificate) []byte { return wrong(a, o, c) } })
				pass(61 * day)
				if got := r.wantBy(t, "a.test", "first"); got != serial {
					t.Error("it was replaced")
				}
				if s := r.All()[0]; !strings.Contains(s.Err, want) || s.Failures < 5 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// lister is a Storage whose List has keys of others too.
type lister struct{ *process }

func (l lister) List(context.Context, string, bool) ([]string, error) {
	return slices.Collect(maps.Keys(l.memory.all())), nil
}

// Files of a certificate that nobody wants are removed 90 days after its end, and no other ones.
func TestRenewer_forgets(t *testing.T) {
	long(t)
	bubble(t, func(t *testing.T) {
		a := newScripted(t, "first")
		shared := newMemory()
		plan := Plan{Authorities: one(a), Subjects: []Subject{{"a.test"}, {"b.test"}}}
		plan.Storage = lister{shared.process()}
		r := start(t, nil, plan)
		pass(time.Minute)
		keys := shared.all()
		keys["certificates/first/x/y"] = nil
		keys["saved/b.test/b.test.crt"] = keys[siteOf("first", "b.test").chain()]
		shared.change(keys)
		r.plan.Subjects = plan.Subjects[:1]
		r.reload()
		r.wantBy(t, "b.test", "")
		gone := siteOf("first", "b.test").chain()
		pass(179 * day)
		if shared.all()[gone] == nil {
			t.Error("it was removed early")
		}
		pass(3 * day)
		if keys := shared.all(); keys[gone] != nil || len(keys) != 6 {
			t.Errorf("%d keys are left", len(keys))
		}
		r.wantBy(t, "a.test", "first")
	})
}

// Files that are cut at any byte are no pair, and another certificate comes; a state that is cut is forgotten.
func TestRenewer_cutFiles(t *testing.T) {
	long(t)
	bubble(t, func(t *testing.T) {
		a := newScripted(t, "first")
		a.takes = time.Second
		shared := newMemory()
		plan := Plan{Storage: shared.process(), Authorities: one(a), Subjects: []Subject{{"a.test"}}}
		r := start(t, nil, plan)
		pass(time.Minute)
		r.Stop()
		whole := shared.all()
		for key, text := range whole {
			for n := range text {
				cut := maps.Clone(whole)
				cut[key] = text[:n]
				shared.change(cut)
				plan.Storage = shared.process()
				r := start(t, nil, plan)
				c := r.set.Find("a.test")
				pass(10 * time.Second)
				pair := strings.HasSuffix(key, ".crt") || strings.HasSuffix(key, ".key")
				if broken := len(r.told(Broken)) == 1; broken == (c != nil) || !pair && c == nil {
					t.Errorf("%s cut after %d bytes: broken %t", key, n, broken)
				}
				r.wantBy(t, "a.test", "first")
				r.Stop()
			}
		}
	})
}
