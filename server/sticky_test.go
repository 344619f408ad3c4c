package server

import (
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

// A client stays at its backend over reloads: with a secret of the configuration or without one, when another backend
// comes, and while secrets change places. A new secret, or a file that is refused, does what is expected of it.
func TestServer_stickyOverReloads(t *testing.T) {
	var addresses []string
	for i := range 3 {
		address, _ := countingOrigin(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "origin ", i) })
		addresses = append(addresses, address)
	}
	conf := func(sticky string, backends ...string) string {
		return quiet + "listeners = [{ listen = \"127.0.0.1:0\" }]\n" +
			"[upstreams.all]\nload_balancing = \"round_robin\"\n" +
			"backends = [{ address = \"" + strings.Join(backends, "\" }, { address = \"") + "\" }]\n" +
			"sticky = " + sticky + "\n" +
			"[[routes]]\npattern = \"/*\"\ndest = \"all\"\n"
	}
	const bare = `{ cookie = "at" }`
	secret := func(list string) string { return fmt.Sprintf(`{ cookie = "at", ttl = "2h", secret = %s }`, list) }
	const one, two = `"the first of the secrets"`, `"the second of the secrets"`
	s := start(t, Options{}, "%s", conf(bare, addresses[:2]...))
	jar, err := cookiejar.New(nil)
	try(t, err)
	c := &http.Client{Jar: jar, Transport: &http.Transport{}}
	t.Cleanup(c.CloseIdleConnections)
	url := urlOf(t, s, "127.0.0.1:0")
	ask := func() (string, bool) {
		resp, body := testutil.Get(t, c, url)
		return body, len(resp.Cookies()) > 0
	}
	own, set := ask()
	if !set {
		t.Fatal("no cookie")
	}
	for _, step := range []struct {
		name, text string
		renewed    bool // the cookie is another one
	}{
		{"the same", conf(bare, addresses[:2]...), false},
		{"another backend", conf(bare, addresses...), false},
		{"in another order", conf(bare, addresses[2], addresses[1], addresses[0]), false},
		{"a secret", conf(secret(one), addresses...), true},
		{"a second one", conf(secret("["+one+", "+two+"]"), addresses...), false},
		{"the second one first", conf(secret("["+two+", "+one+"]"), addresses...), false},
		{"the second one alone", conf(secret(two), addresses...), true},
	} {
		if _, err := s.Apply(parse(t, step.text)); err != nil {
			t.Fatal(step.name, err)
		}
		got, set := ask()
		if set != step.renewed || !set && got != own {
			t.Errorf("%s: %s after %s, a new cookie: %v", step.name, got, own, set)
		}
		own = got
		if again, set := ask(); again != own || set {
			t.Errorf("%s: %s after %s, a new cookie: %v", step.name, again, own, set)
		}
	}
	bad := parse(t, conf(secret(one), addresses...))
	bad.Filters = []string{"none is called so"}
	if _, err := s.Apply(bad); err == nil {
		t.Fatal("a filter that is not there is found")
	}
	if got, set := ask(); got != own || set {
		t.Errorf("after a refused reload: %s after %s, a new cookie: %v", got, own, set)
	}
	mustApply(t, s, parse(t, conf(`{ cookie = "" }`, addresses...)))
	seen := map[string]bool{}
	for range 3 {
		got, set := ask()
		if seen[got] = true; set {
			t.Error("a cookie is set although there is none")
		}
	}
	if len(seen) != 3 {
		t.Errorf("answered by %v", seen)
	}
}
