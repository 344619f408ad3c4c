package issue

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

const day = 24 * time.Hour

// scripted is an authority in this process: it issues certificates of one life, as its fields say.
type scripted struct {
	t       testing.TB
	key     string
	account string
	life    time.Duration
	takes   time.Duration // an order
	loose   bool          // a name may have two orders at once: replicas have no lock
	now     func() time.Time

	mu      sync.Mutex
	fails   error                                             // of every order; nil: none
	wrong   func(o *Order, template *x509.Certificate) []byte // the chain that is sent in place of the right one
	window  func(leaf *x509.Certificate) (Window, error)
	tries   map[string][]time.Time // by the first name
	issued  map[string]int
	at      map[string]int // orders under way
	asked   int            // for windows
	metas   []string
	old     []*x509.Certificate // that orders replaced
	root    *x509.Certificate
	rootKey *ecdsa.PrivateKey
}

func newScripted(t testing.TB, key string) *scripted {
	t.Helper()
	a := &scripted{t: t, key: key, life: 90 * day, takes: 3 * time.Second, now: time.Now,
		tries: map[string][]time.Time{}, issued: map[string]int{}, at: map[string]int{}}
	a.rootKey, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: key}, IsCA: true,
		BasicConstraintsValid: true, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(3650 * day)}
	der, err := x509.CreateCertificate(rand.Reader, root, root, a.rootKey.Public(), a.rootKey)
	testutil.Must(t, err)
	a.root, _ = x509.ParseCertificate(der)
	return a
}

func (a *scripted) Key() string     { return a.key }
func (a *scripted) Account() string { return a.account }

func (a *scripted) Issue(ctx context.Context, o *Order) (*Issued, error) {
	name := o.Names[0]
	a.mu.Lock()
	a.tries[name] = append(a.tries[name], a.now())
	a.at[name]++
	crowded := a.at[name] > 1 && !a.loose
	if o.Replaces != nil {
		a.old = append(a.old, o.Replaces)
	}
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		a.at[name]--
		a.mu.Unlock()
	}()
	if crowded { // the order of a process that was killed at this moment ends with it
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Millisecond):
		}
		a.mu.Lock()
		if a.at[name] > 1 {
			a.t.Errorf("%s: two orders at once", name)
		}
		a.mu.Unlock()
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(a.takes):
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fails != nil {
		return nil, a.fails
	}
	now := a.now()
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	template := &x509.Certificate{SerialNumber: serial, NotBefore: now, NotAfter: now.Add(a.life),
		DNSNames: o.CSR.DNSNames, IPAddresses: o.CSR.IPAddresses}
	if a.wrong != nil {
		if chain := a.wrong(o, template); chain != nil {
			return &Issued{Chain: chain}, nil
		}
	}
	a.issued[name]++
	return &Issued{Chain: a.sign(template, o.CSR.PublicKey), Meta: []byte(`{"url":"x"}`)}, nil
}

// sign returns the chain of a certificate in PEM.
func (a *scripted) sign(template *x509.Certificate, key any) []byte {
	der, err := x509.CreateCertificate(rand.Reader, template, a.root, key, a.rootKey)
	if err != nil {
		a.t.Error(err)
	}
	chain := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.root.Raw})...)
}

// wantTries wants so many orders that began with a name.
func (a *scripted) wantTries(name string, want int) {
	a.t.Helper()
	if tries, _ := a.count(name); tries != want {
		a.t.Errorf("%d tries for %s by account %q, want %d", tries, name, a.account, want)
	}
}

func (a *scripted) Window(_ context.Context, leaf *x509.Certificate) (Window, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	if a.window == nil {
		return Window{}, nil
	}
	return a.window(leaf)
}

func (a *scripted) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

func (a *scripted) count(name string) (tries, issued int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.tries[name]), a.issued[name]
}

// triesIn returns the most tries for a name in any span of time.
func (a *scripted) triesIn(name string, span time.Duration) (most int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, from := range a.tries[name] {
		n := 0
		for _, at := range a.tries[name][i:] {
			if at.Sub(from) < span {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// memory is a Storage that processes share.
type memory struct {
	mu    sync.Mutex
	keys  map[string][]byte
	locks map[string]*process
}

// process is a Storage as one process sees it. Once it is killed, none of its operations does anything.
type process struct {
	*memory
	mu     sync.Mutex
	fails  error // of every operation
	killed bool
	left   int // operations until it is killed; below 0: it is not
	ops    int
}

func newMemory() *memory { return &memory{keys: map[string][]byte{}, locks: map[string]*process{}} }

func (m *memory) process() *process { return &process{memory: m, left: -1} }

// all returns a copy of the keys.
func (m *memory) all() map[string][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.keys)
}

// locked returns how many locks are taken.
func (m *memory) locked() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.locks)
}

// change replaces the keys.
func (m *memory) change(keys map[string][]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys = keys
}

var errKilled = errors.New("killed")

// begin counts an operation.
func (p *process) begin() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left == 0 {
		p.kill()
	}
	p.left--
	p.ops++
	if p.killed {
		return errKilled
	}
	return p.fails
}

// do counts an operation and runs f on the memory.
func (p *process) do(f func()) error {
	err := p.begin()
	if err == nil {
		p.memory.mu.Lock()
		defer p.memory.mu.Unlock()
		f()
	}
	return err
}

// kill ends the process: its locks are free.
func (p *process) kill() {
	p.killed = true
	p.memory.mu.Lock()
	defer p.memory.mu.Unlock()
	maps.DeleteFunc(p.locks, func(_ string, by *process) bool { return by == p })
}

func (p *process) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fails = err
}

func (p *process) Store(_ context.Context, key string, value []byte) error {
	return p.do(func() { p.keys[key] = slices.Clone(value) })
}

func (p *process) Load(_ context.Context, key string) ([]byte, error) {
	var value []byte
	found := false
	err := p.do(func() { value, found = p.keys[key] })
	if err == nil && !found {
		err = fs.ErrNotExist
	}
	return value, err
}

func (p *process) Delete(_ context.Context, key string) error {
	return p.do(func() {
		maps.DeleteFunc(p.keys, func(k string, _ []byte) bool { return k == key || strings.HasPrefix(k, key+"/") })
	})
}

func (p *process) List(_ context.Context, at string, recursive bool) ([]string, error) {
	found := map[string]bool{}
	err := p.do(func() {
		for key := range p.keys {
			if below, in := strings.CutPrefix(key, at+"/"); in {
				if first, _, _ := strings.Cut(below, "/"); !recursive {
					below = first
				}
				found[at+"/"+below] = true
			}
		}
	})
	return slices.Collect(maps.Keys(found)), err
}

func (p *process) Lock(ctx context.Context, name string) error {
	for {
		var taken bool
		if err := p.do(func() {
			if taken = p.locks[name] != nil; !taken {
				p.locks[name] = p
			}
		}); err != nil || !taken {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

func (p *process) Unlock(_ context.Context, name string) error {
	return p.do(func() { delete(p.locks, name) })
}

// rig is one Renewer with a plan.
type rig struct {
	*Renewer
	plan   Plan
	set    *Set
	mu     sync.Mutex
	events []Event
}

// start begins a Renewer that looks after a plan until the test ends. now may be nil.
func start(t *testing.T, now func() time.Time, plan Plan) *rig {
	t.Helper()
	r := &rig{plan: plan}
	r.Renewer = New(Options{Now: now, Tell: func(e Event) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.events = append(r.events, e)
	}})
	t.Cleanup(r.Stop)
	r.reload()
	return r
}

// reload has the plan looked after.
func (r *rig) reload() {
	r.set = r.Load(context.Background(), r.plan)
	r.Use(r.set)
}

func (r *rig) told(kind EventKind) (list []Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Kind == kind {
			list = append(list, e)
		}
	}
	return list
}

// by returns the common name of the authority of the certificate for a name, and its serial number.
func (r *rig) by(name string) (authority, serial string) {
	c := r.set.Find(name)
	if c == nil {
		return "", ""
	}
	return c.Leaf.Issuer.CommonName, fmt.Sprint(c.Leaf.SerialNumber)
}

func (r *rig) wantBy(t *testing.T, name, authority string) (serial string) {
	t.Helper()
	got, serial := r.by(name)
	if got != authority {
		t.Errorf("the certificate for %s is of %q, want %q", name, got, authority)
	}
	return serial
}

// wantRenewed wants another certificate of the first authority than before.
func (r *rig) wantRenewed(t *testing.T, name, before string) {
	t.Helper()
	if now := r.wantBy(t, name, "first"); now == before {
		t.Errorf("%s was not renewed", name)
	}
}

// long skips a test of months where it is run for races alone: shorter ones have the same goroutines.
func long(t *testing.T) {
	t.Helper()
	if testutil.RaceOn && testing.Short() {
		t.Skip("months take long with the race detector")
	}
}

func one(a Issuer) []Authority { return []Authority{{Issuer: a}} }

// planOf returns a plan with one name and a Storage of its own.
func planOf(a Issuer) Plan {
	return Plan{Storage: newMemory().process(), Authorities: one(a), Subjects: []Subject{{"a.test"}}}
}

// pass lets time go by in a bubble.
func pass(d time.Duration) { <-time.After(d) }

// clock is a wall clock that is set.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) jump(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}
