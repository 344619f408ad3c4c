package registry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// agentFake is an agent of Consul, as its documentation describes it. Checks of TTL do not expire by themselves.
// Safe for any goroutine.
type agentFake struct {
	mu       sync.Mutex
	token    string
	services map[string]consulService // by ID
	passed   int
	asked    []string
}

func (a *agentFake) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, q.Method+" "+q.URL.RequestURI())
	if q.Header.Get("X-Consul-Token") != a.token {
		http.Error(w, "Permission denied", 403)
		return
	}
	switch id, path := lastOf(q.URL.Path); q.Method + " " + path {
	case "PUT /v1/agent/service/":
		var s consulService
		d := json.NewDecoder(q.Body)
		d.DisallowUnknownFields()
		if err := d.Decode(&s); err != nil || id != "register" || s.Weights.Passing < 1 {
			http.Error(w, fmt.Sprint("bad request: ", err), 400)
			return
		}
		a.services[s.ID] = s
	case "PUT /v1/agent/service/deregister/":
		if _, known := a.services[id]; !known {
			http.Error(w, `Unknown service ID "`+id+`"`, 404)
			return
		}
		delete(a.services, id)
	case "PUT /v1/agent/check/pass/":
		if s, known := a.services[strings.TrimPrefix(id, "service:")]; !known || s.Check.TTL == "" {
			http.Error(w, `Unknown check ID "`+id+`"`, 404)
			return
		}
		a.passed++
	case "GET /v1/agent/service/":
		s, known := a.services[id]
		if !known {
			http.Error(w, `unknown service ID: `+id, 404)
			return
		}
		_ = json.NewEncoder(w).Encode(s)
	case "GET /v1/health/service/":
		w.Header().Set("X-Consul-Index", "7")
		var all []any
		for _, s := range a.services {
			all = append(all, map[string]any{"Node": map[string]string{"Address": "10.0.0.99"}, "Service": s})
		}
		_ = json.NewEncoder(w).Encode(all)
	default:
		http.NotFound(w, q)
	}
}

// lastOf cuts the last part of a path.
func lastOf(path string) (last, before string) {
	i := strings.LastIndexByte(path, '/') + 1
	return path[i:], path[:i]
}

func (a *agentFake) since() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.asked
	a.asked = nil
	return strings.Join(all, ", ")
}

func (a *agentFake) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.services)
}

// ids lists what is registered.
func (a *agentFake) ids() (all []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id := range a.services {
		all = append(all, id)
	}
	slices.Sort(all)
	return all
}

func TestConsul_service(t *testing.T) {
	t.Parallel()
	token := filepath.Join(t.TempDir(), "token")
	testutil.Must(t, os.WriteFile(token, []byte("secret\n"), 0o600))
	fake := &agentFake{token: "secret", services: map[string]consulService{}}
	text := "consul://" + serve(t, fake) + "/users?tag=v2&token_file=" + token
	g := open(t, text)
	asked := func(want string) {
		t.Helper()
		if got := fake.since(); got != want {
			t.Errorf("asked %q, want %q", got, want)
		}
	}
	const id = "users-10.0.0.7:8080"
	const register = "PUT /v1/agent/service/register?replace-existing-checks=true"
	const pass = "PUT /v1/agent/check/pass/service:" + id
	e := Entry{Address: "10.0.0.7:8080", Weight: 3, Zone: "b", TTL: 30 * time.Second}
	if at := put(t, g, e); at != e.Address {
		t.Errorf("registered at %s", at)
	}
	asked(register)
	s := fake.services[id]
	s.Meta = map[string]string{"zone": s.Meta["zone"]}
	body, err := json.Marshal(s)
	testutil.Must(t, err)
	const want = `{"ID":"users-10.0.0.7:8080","Name":"users","Address":"10.0.0.7","Tags":["v2"],"Port":8080,` +
		`"Meta":{"zone":"b"},"Weights":{"Passing":3,"Warning":3},` +
		`"Check":{"Name":"edge","TTL":"30s","Status":"passing","DeregisterCriticalServiceAfter":"1m0s"}}`
	if string(body) != want {
		t.Errorf("%s, want %s", body, want)
	}
	if got := Found(t, text); !slices.Equal(got, []string{"10.0.0.7:8080 3 b"}) {
		t.Errorf("found %q", got)
	}
	fake.since()
	put(t, g, e)
	asked(pass)
	fake.forget()
	put(t, g, e)
	asked(pass + ", " + register) // the agent began anew
	e.Weight = 5
	put(t, g, e)
	asked(register)
	withdraw(t, g)
	asked("GET /v1/agent/service/" + id + ", PUT /v1/agent/service/deregister/" + id)
	withdraw(t, g) // what is gone is no error
	if left := fake.ids(); len(left) > 0 {
		t.Errorf("%q is left", left)
	}
}

func TestConsul_addressOfTheAgent(t *testing.T) {
	t.Parallel()
	fake := &agentFake{services: map[string]consulService{}}
	text := "consul://" + serve(t, fake) + "/users"
	g := open(t, text)
	e := Entry{Address: ":8080", Check: "/healthz", TTL: 2 * time.Minute}
	put(t, g, e)
	if got := Found(t, text); !slices.Equal(got, []string{"10.0.0.99:8080 1"}) {
		t.Errorf("found %q", got)
	}
	c := fake.services["users-8080"].Check
	if c.HTTP != "http://127.0.0.1:8080/healthz" || c.Interval != "40s" || c.TTL != "" || c.Status != "critical" ||
		c.Deregister != "4m0s" {
		t.Errorf("%+v", c)
	}
	put(t, g, e)
	fake.forget()
	put(t, g, e)
	if got := fake.ids(); !slices.Equal(got, []string{"users-8080"}) {
		t.Errorf("registered %q", got)
	}
}

// A process leaves alone what the one that replaces it has registered.
func TestConsul_laterProcessHasTheService(t *testing.T) {
	t.Parallel()
	fake := &agentFake{services: map[string]consulService{}}
	text := "consul://" + serve(t, fake) + "/users"
	old, next := open(t, text), open(t, text)
	put(t, old, Entry{Name: "a", Address: ":1"})
	put(t, next, Entry{Name: "a", Address: ":1"})
	withdraw(t, old)
	if got := fake.ids(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("%q is left", got)
	}
	withdraw(t, next)
	if got := fake.ids(); len(got) > 0 {
		t.Errorf("%q is left", got)
	}
}

func TestConsul_errors(t *testing.T) {
	t.Parallel()
	fake := &agentFake{token: "other", services: map[string]consulService{}}
	text := "consul://" + serve(t, fake) + "/users"
	for address, want := range map[string]string{":80": "403 Permission denied", "unix:/run/x": "host:port alone"} {
		g, e := open(t, text), Entry{Address: address}.filled()
		for range 2 { // the second one registers again too
			if _, err := g.Put(t.Context(), &e); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", address, err, want)
			}
		}
	}
	if n := strings.Count(fake.since(), "register"); n != 2 {
		t.Errorf("asked %d times, not twice", n)
	}
	e := Entry{Address: ":80"}.filled()
	if _, err := open(t, text+"?token_file=/missing").Put(t.Context(), &e); !os.IsNotExist(err) {
		t.Error(err)
	}
	if _, err := open(t, text+"?ca=/missing").Put(t.Context(), &e); !os.IsNotExist(err) {
		t.Error(err)
	}
}
