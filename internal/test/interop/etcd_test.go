package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/discovery"
	"github.com/edge-proxy/edge/backend/registry"
	"github.com/edge-proxy/edge/internal/discovery/locator"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// etcdAt runs Debian's etcd.
func etcdAt(t *testing.T) string {
	t.Helper()
	path, client, peer, dir := sbin(t, "etcd"), freePort(t), freePort(t), t.TempDir()
	testutil.Start(t, testutil.Command{Path: path, Args: []string{"--data-dir", dir,
		"--listen-client-urls", "http://" + client.String(), "--advertise-client-urls", "http://" + client.String(),
		"--listen-peer-urls", "http://" + peer.String(), "--initial-advertise-peer-urls", "http://" + peer.String(),
		"--initial-cluster", "default=http://" + peer.String()}})
	testutil.Eventually(t, testutil.Minutes, func() bool {
		resp, err := http.Get("http://" + client.String() + "/health")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == 200
	}, "etcd is healthy")
	return client.String()
}

// etcdCall posts to the JSON gateway.
func etcdCall(t *testing.T, at, path string, body map[string]any) (answer struct {
	Header struct{ Revision string }
	Count  string // "" is none
}) {
	t.Helper()
	text, err := json.Marshal(body)
	testutil.Must(t, err)
	resp, err := http.Post("http://"+at+path, "application/json", bytes.NewReader(text))
	testutil.Must(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Fatalf("%s: %s", path, resp.Status)
	}
	testutil.Must(t, json.NewDecoder(resp.Body).Decode(&answer))
	return answer
}

// followed follows a registry, and returns the members and what waits for their addresses, which are told by their
// ports where they are at 10.0.0.1.
func followed(t *testing.T, text string) (set *backend.Set, becomes func(want string)) {
	t.Helper()
	source, err := discovery.Open(text, discovery.Opening{})
	testutil.Must(t, err)
	set = backend.NewSet()
	r := discovery.Start(discovery.Options{Upstream: "users", Name: "etcd", Source: source})
	t.Cleanup(r.Stop)
	r.Join(set)
	return set, func(want string) {
		t.Helper()
		testutil.Eventually(t, testutil.Minutes, func() bool {
			var all []string
			for _, m := range set.Members() {
				all = append(all, strings.TrimPrefix(m.Address(), "10.0.0.1:"))
			}
			slices.Sort(all)
			return strings.Join(all, " ") == want
		}, want)
	}
}

// What is put, removed, compacted and leased in etcd is seen.
func TestDiscovery_etcd(t *testing.T) {
	t.Parallel()
	at := etcdAt(t)
	put := func(key, value string, lease string) string {
		t.Helper()
		body := map[string]any{"key": []byte(key), "value": []byte(value)}
		if lease != "" {
			body["lease"] = lease
		}
		return etcdCall(t, at, "/v3/kv/put", body).Header.Revision
	}
	put("users/a", "10.0.0.1:1", "")
	put("other/a", "10.0.0.1:9", "")
	set, becomes := followed(t, "etcd://"+at+"/users/")
	becomes("1")
	put("users/b", `{"address": "10.0.0.1:2", "weight": 3}`, "")
	becomes("1 2")
	for i := range 100 {
		put("users/many/"+fmt.Sprint(i), fmt.Sprintf("10.0.0.1:%d", 100+i), "")
	}
	testutil.Eventually(t, testutil.Minutes, func() bool { return set.Len() == 102 }, "102 members")
	etcdCall(t, at, "/v3/kv/deleterange", map[string]any{
		"key": []byte("users/many/"), "range_end": []byte("users/many0"),
	})
	becomes("1 2")
	etcdCall(t, at, "/v3/kv/compaction", map[string]any{"revision": put("users/c", "10.0.0.1:3", "")})
	becomes("1 2 3")
	etcdCall(t, at, "/v3/lease/grant", map[string]any{"ID": "77", "TTL": "2"})
	put("users/d", "10.0.0.1:4", "77")
	becomes("1 2 3 4")
	becomes("1 2 3") // nobody keeps the lease alive
}

// storagesAt returns two processes' storages in an etcd, of whose servers the first one is down.
func storagesAt(t *testing.T, at string) (a, b *registry.Storage) {
	for _, s := range []**registry.Storage{&a, &b} {
		l, err := locator.Parse("etcd://127.0.0.1:1," + at + "/edge/")
		if err == nil {
			*s, err = registry.OpenStorage(l)
		}
		testutil.Must(t, err)
	}
	return a, b
}

// The storage of certificates in etcd keeps values as certmagic's storages do.
func TestStorage_etcd(t *testing.T) {
	t.Parallel()
	at := etcdAt(t)
	a, b := storagesAt(t, at)
	ctx := t.Context()
	etcdCall(t, at, "/v3/kv/put", map[string]any{"key": []byte("edge0"), "value": []byte("of others")})
	values := map[string]string{"a/b/c": "1", "a/b/d": "", "a/e": "\x00\xff", "a/b0": "3", "ab": "4", "x/*.y": "5"}
	for key, value := range values {
		testutil.Must(t, a.Store(ctx, key, []byte(value)))
	}
	for key, value := range values {
		if got, err := b.Load(ctx, key); err != nil || string(got) != value {
			t.Errorf("%s: %q, %v", key, got, err)
		}
	}
	if _, err := b.Load(ctx, "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder: %v", err)
	}
	lists := func(when string, path string, recursive bool, want string) {
		t.Helper()
		keys, err := b.List(ctx, path, recursive)
		if got := strings.Join(keys, " "); err != nil || got != want {
			t.Errorf("%s, %q, %v: %q, %v, want %q", when, path, recursive, got, err, want)
		}
	}
	lists("all", "", true, "a/b/c a/b/d a/b0 a/e ab x/*.y")
	lists("all", "a", true, "a/b/c a/b/d a/b0 a/e")
	lists("all", "a/", false, "a/b a/b0 a/e")
	lists("all", "none", true, "")
	for _, key := range []string{"a/b", "none"} {
		if err := a.Delete(ctx, key); err != nil {
			t.Error(err)
		}
	}
	lists("without a/b", "", true, "a/b0 a/e ab x/*.y")
}

// A lock in etcd is one process's at a time, also when many wait, and for longer than its lease. Nothing is left of it.
func TestStorage_etcdLocks(t *testing.T) {
	t.Parallel()
	a, b := storagesAt(t, etcdAt(t))
	ctx := t.Context()
	var holders atomic.Int32
	var all sync.WaitGroup
	for i := range 6 {
		s := []*registry.Storage{a, b}[i%2]
		all.Go(func() {
			if err := s.Lock(ctx, "one"); err != nil {
				t.Error(err)
				return
			}
			if holders.Add(1) > 1 {
				t.Error("two have the lock")
			}
			<-time.After(50 * time.Millisecond)
			holders.Add(-1)
			if err := s.Unlock(ctx, "one"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if err := a.Unlock(ctx, "one"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a lock that nobody has: %v", err)
	}
	if keys, err := a.List(ctx, "", true); err != nil || len(keys) > 0 {
		t.Errorf("%q, %v", keys, err)
	}
	testutil.Must(t, a.Lock(ctx, "kept"))
	short, cancel := context.WithTimeout(ctx, 17*time.Second) // more than a lease
	defer cancel()
	if err := b.Lock(short, "kept"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the lock of another process: %v", err)
	}
	if err := a.Unlock(ctx, "kept"); err != nil {
		t.Error(err)
	}
	if err := b.Lock(ctx, "kept"); err != nil {
		t.Error(err)
	}
	if err := b.Unlock(ctx, "kept"); err != nil {
		t.Error(err)
	}
}

// What is registered in etcd is found there: it is renewed, put again after somebody has removed it, left to the
// process that comes after, withdrawn, and gone after its TTL when nobody renews it.
func TestRegister_etcd(t *testing.T) {
	t.Parallel()
	at := etcdAt(t)
	text := "etcd://" + at + "/users/"
	_, becomes := followed(t, text)
	open := func() registry.Registry {
		t.Helper()
		g, err := registry.Open(text, registry.Opening{})
		testutil.Must(t, err)
		return g
	}
	dead := registry.Entry{Address: "10.0.0.1:9", Weight: 1, TTL: 2 * time.Second}
	if _, err := open().Put(t.Context(), &dead); err != nil { // once, as a process that dies afterwards
		t.Fatal(err)
	}
	begun := time.Now()
	begin := func(e registry.Entry) *registry.Registration {
		return registry.Register(registry.Options{To: text, Registry: open(), Entry: e})
	}
	one := begin(registry.Entry{Address: ":80", TTL: 2 * time.Second})
	two := begin(registry.Entry{Name: "two", Address: "10.0.0.1:2", Weight: 3, Zone: "b", TTL: 3 * time.Second})
	becomes("127.0.0.1:80 2 9")
	etcdCall(t, at, "/v3/kv/deleterange", map[string]any{"key": []byte("users/two")})
	becomes("127.0.0.1:80 9")
	becomes("127.0.0.1:80 2 9")
	becomes("127.0.0.1:80 2") // the others are renewed
	if took := time.Since(begun); took < 2*time.Second {
		t.Errorf("expired after %s", took)
	}
	next := begin(registry.Entry{Name: "two", Address: "10.0.0.1:3", TTL: time.Minute})
	becomes("127.0.0.1:80 3")
	two.Withdraw(context.Background())
	one.Update(registry.Entry{Address: ":80", Zone: "c", TTL: time.Minute})
	if !one.Withdraw(context.Background()) {
		t.Error("it was not known")
	}
	becomes("3")
	next.Withdraw(context.Background())
	left := etcdCall(t, at, "/v3/kv/range", map[string]any{"key": []byte("users/"), "range_end": []byte("users0")})
	if left.Count != "" {
		t.Errorf("%s keys are left", left.Count)
	}
}
