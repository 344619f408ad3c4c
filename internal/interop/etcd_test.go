package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/discovery"
	"github.com/edge-proxy/edge/internal/testutil"
)

// etcdAt runs Debian's etcd.
func etcdAt(t *testing.T) string {
	t.Helper()
	path, client, peer, dir := sbin(t, "etcd"), freePort(t), freePort(t), t.TempDir()
	var out testutil.Output
	c := exec.Command(path, "--data-dir", dir, "--listen-client-urls", "http://"+client.String(),
		"--advertise-client-urls", "http://"+client.String(), "--listen-peer-urls", "http://"+peer.String(),
		"--initial-advertise-peer-urls", "http://"+peer.String(), "--initial-cluster", "default=http://"+peer.String())
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if t.Failed() {
			t.Log(out.String())
		}
	})
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
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post("http://"+at+path, "application/json", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Fatalf("%s: %s", path, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
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
	source, err := discovery.Open("etcd://"+at+"/users/", discovery.Opening{})
	if err != nil {
		t.Fatal(err)
	}
	set, r := backend.NewSet(), discovery.Start(discovery.Options{Upstream: "users", Name: "etcd", Source: source})
	defer r.Stop()
	r.Join(set)
	becomes := func(want string) {
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
