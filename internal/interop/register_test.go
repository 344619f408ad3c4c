package interop

import (
	"context"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend/discovery/registry"
	"github.com/edge-proxy/edge/internal/testutil"
)

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
