package server

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/certs/issue"
	"github.com/edge-proxy/edge/internal/tls/certs/issue/acme"
)

// kept is an issue.Storage in memory, which may panic. Safe for any goroutine.
type kept struct {
	mu     sync.Mutex
	values map[string][]byte // guarded by mu
	lists  int               // calls of List; guarded by mu
	fails  bool
}

func (k *kept) enter() func() {
	if k.fails {
		panic("it must not")
	}
	k.mu.Lock()
	return k.mu.Unlock
}

func (k *kept) Store(_ context.Context, key string, value []byte) error {
	defer k.enter()()
	k.values[key] = value
	return nil
}

func (k *kept) Load(_ context.Context, key string) ([]byte, error) {
	defer k.enter()()
	if value, found := k.values[key]; found {
		return value, nil
	}
	return nil, fs.ErrNotExist
}

func (k *kept) Delete(_ context.Context, key string) error {
	defer k.enter()()
	if _, found := k.values[key]; !found {
		return fs.ErrNotExist // as some of certmagic's have it
	}
	delete(k.values, key)
	return nil
}

func (k *kept) List(ctx context.Context, path string, _ bool) ([]string, error) {
	defer k.enter()()
	k.lists++
	keys := slices.Collect(maps.Keys(k.values))
	keys = slices.DeleteFunc(keys, func(key string) bool { return !strings.HasPrefix(key, path) })
	if len(keys) == 0 {
		return nil, errors.Join(fs.ErrNotExist, ctx.Err())
	}
	return keys, ctx.Err()
}

func (k *kept) Lock(context.Context, string) error   { defer k.enter()(); return nil }
func (k *kept) Unlock(context.Context, string) error { defer k.enter()(); return nil }

func (k *kept) looked() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lists
}

// keptConfig is the configuration of a type of storages.
type keptConfig struct {
	Fails bool `edge:"fails" doc:"It panics."`
}

func init() {
	plugin.Register(plugin.Storages, "test_kept", "Keeps values.",
		func(c *keptConfig, b *plugin.Build) (issue.Storage, error) {
			return &kept{values: make(map[string][]byte), fails: c.Fails}, nil
		})
}

// A panic in a storage of a module is an error of it: names are ordered for, and the process goes on.
func TestPlugins_storages(t *testing.T) {
	text := quiet + secured(t, testutil.NewAuthority(t), t.TempDir()) + `
[acme]
ca = "https://127.0.0.1:1/dir"
hosts = "a.example.org"
storage = "mine"
[storages.mine]
type = "test_kept"
` + all200
	s := serve(t, parse(t, text), Options{})
	failed := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		all := s.issuing.all()
		return len(all) == 1 && all[0].Failures == 1 && strings.Contains(all[0].Err, "connection refused")
	}
	testutil.Eventually(t, testutil.Patience, failed)
	next := strings.Replace(text, `"test_kept"`, `"test_kept"`+"\nfails = true", 1)
	mustApply(t, s, parse(t, next))
	testutil.Eventually(t, testutil.Patience, failed)
}

// gated is a kept whose Lock waits, with what a module keeps for it.
type gated struct {
	kept
	locks, open chan struct{}
	closed      atomic.Int32
}

func (g *gated) Lock(context.Context, string) error {
	g.locks <- struct{}{}
	<-g.open
	return nil
}

func (g *gated) Close() { g.closed.Add(1) }

var gates = make(chan *gated, 10)

func init() {
	plugin.Register(plugin.Storages, "test_gated", "Keeps values, and has each lock waited for.",
		func(_ *struct{}, b *plugin.Build) (issue.Storage, error) {
			return plugin.Keep(b, "", func() (*gated, error) {
				g := &gated{locks: make(chan struct{}, 10), open: make(chan struct{})}
				g.values = make(map[string][]byte)
				gates <- g
				return g, nil
			})
		})
}

// A storage that a reload takes away is released after the last order that uses it.
func TestPlugins_storagesAreReleased(t *testing.T) {
	testutil.CheckLeaks(t)
	plain := quiet + secured(t, testutil.NewAuthority(t), t.TempDir()) + all200
	text := plain + `
[acme]
ca = "https://127.0.0.1:1/dir"
hosts = "a.example.org"
storage = "mine"
[storages.mine]
type = "test_gated"
`
	s := serve(t, parse(t, text), Options{})
	g := <-gates
	<-g.locks
	for range 3 {
		apply(t, s, "%s", text)
	}
	if len(gates) > 0 {
		t.Error("a reload without a change makes another one")
	}
	apply(t, s, "%s", plain)
	for range 5 {
		runtime.GC()
	}
	wantEqual(t, g.closed.Load(), 0, "released before the order has ended that uses it")
	close(g.open)
	testutil.Eventually(t, testutil.Patience, func() bool {
		runtime.GC()
		return g.closed.Load() == 1
	})
	if n := len(s.issuing.sharing.running); n > 0 {
		t.Errorf("%d are shared still", n)
	}
}

// What is not there is no error of List and Delete, whatever a module thinks of it.
func TestHeldStorage_missing(t *testing.T) {
	s := &heldStorage{Storage: &kept{values: map[string][]byte{"a": nil}}}
	keys, err := s.List(t.Context(), "b", false)
	if err = errors.Join(err, s.Delete(t.Context(), "b")); len(keys) > 0 || err != nil {
		t.Errorf("%q, %v", keys, err)
	}
	if _, err := s.Load(t.Context(), "b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	s.Storage.(*kept).fails = true
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := s.Load(ended, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("asked after the end of a context: %v", err)
	}
	for name, err := range map[string]error{
		"store": s.Store(t.Context(), "a", nil), "lock": s.Lock(t.Context(), "a"), "unlock": s.Unlock(t.Context(), "a"),
		"delete": s.Delete(t.Context(), "a"),
	} {
		if err == nil || err.Error() != "panic: it must not" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A reload lets Issuers go on that stay, ends those that go, and begins again with another storage.
func TestSharing_follows(t *testing.T) {
	testutil.CheckLeaks(t)
	ctx, cancel := context.WithCancel(t.Context())
	s := &sharing{}
	with := func(storage *kept, directories ...string) {
		s.next = sharedWith{storage: storage}
		for _, directory := range directories {
			i, err := acme.New(acme.Options{Directory: directory, Storage: storage, Challenges: &issue.Challenges{}})
			testutil.Must(t, err)
			s.next.issuers = append(s.next.issuers, i)
		}
		s.follow(ctx)
	}
	first, second := &kept{}, &kept{}
	looks := func(k *kept, want int) {
		t.Helper()
		testutil.Eventually(t, testutil.Patience, func() bool { return k.looked() >= want })
	}
	with(first, "https://a.test", "https://b.test", "https://a.test")
	looks(first, 2)
	with(first, "https://b.test", "https://c.test")
	if len(s.running) != 2 {
		t.Errorf("%d run", len(s.running))
	}
	looks(first, 3)
	with(second, "https://b.test")
	looks(second, 1)
	before := first.looked()
	with(second)
	if len(s.running) > 0 {
		t.Errorf("%d run", len(s.running))
	}
	cancel()
	s.work.Wait()
	if first.looked() > before+1 { // one may have been under way
		t.Errorf("%d looks after the end", first.looked()-before)
	}
}

// A held socket with the name of a listener has one of its addresses; the name of no listener means nothing, and so do
// names of sockets that no supervisor holds.
func TestHandover_checkNames(t *testing.T) {
	const file = quiet + "[[listeners]]\nname = \"web\"\nlisten = [\":8080\", \"unix:/run/web\"]\n" +
		"[[listeners]]\nname = \"api\"\nlisten = \"127.0.0.1:8081\"\n"
	cfg := parse(t, "routes = [{ pattern = \"/*\", dest = \"status:200\" }]\n"+file)
	for _, c := range []struct {
		socket Socket
		want   string // in the error; "": there is none
	}{
		{Socket{Listener: "web", Address: "[::]:8080"}, ""},
		{Socket{Listener: "web", Address: "0.0.0.0:8080"}, ""},
		{Socket{Listener: "web", Address: "unix:/run/web"}, ""},
		{Socket{Listener: "api", Address: "127.0.0.1:8081"}, ""},
		{Socket{Listener: "edge.socket", Address: "127.0.0.1:9"}, ""},
		{Socket{Address: "127.0.0.1:9"}, ""},
		{Socket{Listener: "web", Address: "[::]:8080", V6Only: true},
			`listener web: the socket "web" of the supervisor is [::]:8080 for IPv6 alone, and the listener of that ` +
				`name has :8080, unix:/run/web`},
		{Socket{Listener: "web", Address: "127.0.0.1:8081"}, `listener web: the socket "web" of the supervisor is ` +
			`127.0.0.1:8081, and`},
		{Socket{Listener: "api", Address: "unix:/run/web"}, `the socket "api" of the supervisor is unix:/run/web, ` +
			`and the listener of that name has 127.0.0.1:8081`},
	} {
		held := c.socket
		held.Held = true
		a := adoption{sockets: []Socket{c.socket, held}}
		err := a.checkNames(cfg)
		var at *ListenError
		switch {
		case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%+v: %v, want %q", c.socket, err, c.want)
		case err != nil && (!errors.As(err, &at) || at.Pos.Line == 0 || len(at.Try) < 2):
			t.Errorf("%+v: %+v says neither where nor what to do", c.socket, err)
		}
		a.sockets = a.sockets[:1]
		if err := a.checkNames(cfg); err != nil {
			t.Errorf("%+v is not held: %v", c.socket, err)
		}
	}
}

// A socket that no listener has comes with the line that gives it one.
func TestSocket_wayIn(t *testing.T) {
	cfg := parse(t, quiet+"http.listen = [\":8080\", \"unix:/run/web\"]\n"+all200)
	for _, c := range []struct {
		socket Socket
		want   string
	}{
		{Socket{Address: "[::]:8080", V6Only: true}, `the listener at :8080 has the port and not the address: ` +
			`listen = "[::]:8080" there`},
		{Socket{Address: "[::]:81"}, `a listener with listen = ":81", or`},
		{Socket{Address: "[::]:81", V6Only: true}, `a listener with listen = "[::]:81", or`},
		{Socket{Address: "unix:/run/other"}, `a listener with listen = "unix:/run/other", or`},
	} {
		wantPart(t, c.socket.wayIn(cfg), c.want, "%+v", c.socket)
	}
}
