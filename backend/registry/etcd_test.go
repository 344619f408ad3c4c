package registry

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// serve runs a registry until the test ends.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	return testutil.ServeHTTP(t, testutil.Listen(t), h.ServeHTTP)
}

// gateway is the JSON gateway of etcd with the part of its data model that registrations use.
// Safe for any goroutine.
type gateway struct {
	mu     sync.Mutex
	last   int64           // lease
	leases map[int64]int64 // their TTLs
	keys   map[string]leased
	asked  []string
}

type leased struct {
	value []byte
	lease int64
}

func newGateway() *gateway { return &gateway{leases: map[int64]int64{}, keys: map[string]leased{}} }

// expire ends a lease, 0: all, as the time does.
func (g *gateway) expire(lease int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for id := range g.leases {
		if lease == 0 || id == lease {
			g.end(id)
		}
	}
}

func (g *gateway) end(id int64) {
	delete(g.leases, id)
	for key, of := range g.keys {
		if of.lease == id {
			delete(g.keys, key)
		}
	}
}

func (g *gateway) remove(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.keys, key)
}

// has lists the keys with their values and leases.
func (g *gateway) has() (all []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for key, of := range g.keys {
		all = append(all, fmt.Sprintf("%s %s %d", key, of.value, of.lease))
	}
	slices.Sort(all)
	return all
}

// since returns what was asked for since it was called last.
func (g *gateway) since() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := g.asked
	g.asked = nil
	return strings.Join(all, " ")
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, strings.TrimPrefix(q.URL.Path, "/v3/"))
	var of struct {
		etcdLease
		etcdPut
		etcdTxn
		RangeEnd []byte `json:"range_end"`
	}
	if q.URL.Path == "/v3/watch" {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		g.mu.Unlock()
		<-q.Context().Done()
		g.mu.Lock()
		return
	}
	if err := json.NewDecoder(q.Body).Decode(&of); err != nil {
		http.Error(w, err.Error(), 400)
		return
	}
	answer := map[string]any{"header": map[string]string{"revision": "7"}}
	lost := false
	switch q.URL.Path {
	case "/v3/lease/grant":
		g.last++
		g.leases[g.last] = of.TTL
		answer["ID"], answer["TTL"] = fmt.Sprint(g.last), fmt.Sprint(of.TTL)
	case "/v3/lease/keepalive":
		result := map[string]string{"ID": fmt.Sprint(of.ID)}
		if ttl := g.leases[of.ID]; ttl > 0 {
			result["TTL"] = fmt.Sprint(ttl)
		}
		answer = map[string]any{"result": result}
	case "/v3/lease/revoke":
		lost = g.leases[of.ID] == 0
		g.end(of.ID)
	case "/v3/kv/put":
		lost = !g.write(of.etcdPut)
	case "/v3/kv/txn":
		_, exists := g.keys[string(of.Compare[0].Key)]
		if c := of.Compare[0]; !exists && c.Target == "CREATE" && c.Result == "EQUAL" && c.Create == 0 {
			lost = !g.write(of.Success[0].Put)
		}
	case "/v3/kv/range":
		var pairs []map[string][]byte
		for key, one := range g.keys {
			if key >= string(of.Key) && key < string(of.RangeEnd) {
				pairs = append(pairs, map[string][]byte{"key": []byte(key), "value": one.value})
			}
		}
		answer["kvs"] = pairs
	}
	if lost {
		http.Error(w, `{"error":"etcdserver: requested lease not found","code":5}`, 404)
		return
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (g *gateway) write(p etcdPut) bool {
	if g.leases[p.Lease] == 0 {
		return false
	}
	g.keys[string(p.Key)] = leased{p.Value, p.Lease}
	return true
}

func TestEtcd_keyLivesAsLongAsItsLease(t *testing.T) {
	t.Parallel()
	fake := newGateway()
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	testutil.Must(t, err)
	_ = dead.Close()
	text := "etcd://" + dead.Addr().String() + "," + serve(t, fake) + "/users" // by the second server
	g := open(t, text)
	want := func(asked string, all ...string) {
		t.Helper()
		if got := fake.has(); !slices.Equal(got, all) {
			t.Errorf("%q, want %q", got, all)
		}
		if got := fake.since(); got != asked {
			t.Errorf("asked %q, want %q", got, asked)
		}
	}
	e := Entry{Address: ":8080", Weight: 3, Zone: `b "x"`, TTL: 1500 * time.Millisecond}
	if at := put(t, g, e); at != "127.0.0.1:8080" {
		t.Errorf("registered at %s", at)
	}
	const first = `users/127.0.0.1:8080 {"address":"127.0.0.1:8080","weight":3,"zone":"b \"x\""} `
	want("lease/grant kv/put", first+"1")
	if fake.leases[1] != 2 {
		t.Errorf("a TTL of %d s", fake.leases[1])
	}
	if got := Found(t, text+"/"); !slices.Equal(got, []string{`127.0.0.1:8080 3 b "x"`}) {
		t.Errorf("found %q", got)
	}
	fake.since()
	put(t, g, e)
	want("lease/keepalive kv/txn", first+"1")
	fake.remove("users/127.0.0.1:8080")
	put(t, g, e)
	want("lease/keepalive kv/txn", first+"1") // somebody had removed the key
	fake.expire(1)
	put(t, g, e)
	want("lease/keepalive lease/grant kv/put", first+"2") // this process was held up
	e.Weight, e.Zone = 1, ""
	put(t, g, e)
	const second = `users/127.0.0.1:8080 {"address":"127.0.0.1:8080","weight":1} `
	want("lease/keepalive kv/put", second+"2")
	e.TTL = time.Minute
	put(t, g, e)
	want("lease/grant kv/put", second+"3")
	withdraw(t, g)
	want("lease/revoke")
	withdraw(t, g)
	want("")
}

// A process takes the key from the one that it replaces, whose withdrawal and last renewals leave it alone.
func TestEtcd_laterProcessHasTheKey(t *testing.T) {
	t.Parallel()
	fake := newGateway()
	text := "etcd://" + serve(t, fake) + "/users/"
	old, next := open(t, text), open(t, text)
	put(t, old, Entry{Name: "a", Address: "10.0.0.1:1"})
	put(t, next, Entry{Name: "a", Address: "10.0.0.1:1"})
	put(t, old, Entry{Name: "a", Address: "10.0.0.1:1"})
	want := []string{`users/a {"address":"10.0.0.1:1","weight":1} 2`}
	if got := fake.has(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	withdraw(t, old)
	if got := fake.has(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	fake.expire(0)
	withdraw(t, next) // its lease has expired: there is nothing to take back
}

// What a server answers that is none is an error, and nothing else.
func TestEtcd_oddAnswers(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{"{}": "no lease", "x": "invalid character", "": "unexpected end"} {
		at := serve(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { fmt.Fprint(w, body) }))
		g, e := open(t, "etcd://"+at+"/users/"), Entry{Address: ":1"}.filled()
		if _, err := g.Put(t.Context(), &e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", body, err)
		}
		withdraw(t, g)
	}
	e := Entry{Address: ":1"}.filled()
	if _, err := open(t, "etcd://127.0.0.1:1/users/?ca=/missing").Put(t.Context(), &e); err == nil {
		t.Error("no error without the file of authorities")
	}
}
