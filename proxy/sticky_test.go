package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/forward/retry"
	"github.com/edge-proxy/edge/internal/forward/sticky"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/warm"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
)

// kept is a proxy whose clients stay at their origins.
type kept struct {
	*rig
	set    *backend.Set
	cookie *sticky.Cookie
}

// keepClients makes a proxy in front of the origins, of which it picks in turns.
func keepClients(t *testing.T, o upstream.Options, grpc proxy.Switch, to proxy.ToOptions, addresses ...string) *kept {
	t.Helper()
	k := &kept{set: backend.Of(addresses...)}
	var err error
	if k.cookie, err = sticky.New(k.set, sticky.Options{}); err != nil {
		t.Fatal(err)
	}
	o.Backends, to.Method, to.Sticky = k.set, balance.RoundRobin, k.cookie
	k.rig = newRigWith(t, engine.Options{Reactors: 1}, func(e *engine.Engine) []proxy.Route {
		return []proxy.Route{{Name: "all", GRPC: grpc, To: proxy.To(upstream.New(e, o), &to)}}
	})
	return k
}

// client returns one with a memory for cookies.
func client(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Jar: jar, Transport: &http.Transport{}}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// ask returns the body of an answer, and whether a cookie came with it.
func (k *kept) ask(t *testing.T, c *http.Client, method string) (body string, set bool) {
	t.Helper()
	req, err := http.NewRequest(method, k.url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if method == "POST" {
		req.Header.Set("Content-Type", "application/grpc")
	}
	resp, body := testutil.Do(t, c, req)
	if resp.StatusCode != 200 {
		t.Fatalf("%s: %q", resp.Status, body)
	}
	return body, len(resp.Cookies()) > 0
}

// telling answers with its name.
func telling(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Method == "POST" {
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Trailer", "Grpc-Status")
			defer w.Header().Set("Grpc-Status", "0")
		}
		_, _ = io.WriteString(w, name)
	}
}

// Each client stays at the backend of its first request, over both versions of HTTP and for calls of gRPC, and is given
// one cookie.
func TestSticky_keepsClients(t *testing.T) {
	for _, c := range []struct {
		name, origin, method string
		protocol             upstream.Protocol
		grpc                 proxy.Switch
	}{
		{"h1", "h1", "GET", upstream.H1, proxy.Off},
		{"h2", "h2", "GET", upstream.H2, proxy.Off},
		{"gRPC", "h2", "POST", upstream.H2, proxy.On},
	} {
		t.Run(c.name, func(t *testing.T) {
			var addresses []string
			for i := range 3 {
				addresses = append(addresses, newFaulty(t, c.origin, telling(fmt.Sprint("origin ", i))).address)
			}
			k := keepClients(t, upstream.Options{Protocol: c.protocol}, c.grpc, proxy.ToOptions{}, addresses...)
			var seen []string
			for range 6 {
				one := client(t)
				first, set := k.ask(t, one, c.method)
				if !set {
					t.Error("a new client has no cookie")
				}
				seen = append(seen, first)
				for range 5 {
					if again, set := k.ask(t, one, c.method); again != first || set {
						t.Errorf("%s after %s, a new cookie: %v", again, first, set)
					}
				}
			}
			if slices.Sort(seen); len(slices.Compact(seen)) != 3 {
				t.Errorf("6 clients are at %q", seen)
			}
		})
	}
}

// A client whose backend drains stays there, and no other one comes. One whose backend is closed gets another, and
// stays at that when the first is well again.
func TestSticky_drainedAndClosed(t *testing.T) {
	one, two := newFaulty(t, "h1", telling("one")), newFaulty(t, "h1", telling("two"))
	k := keepClients(t, upstream.Options{}, proxy.Off, proxy.ToOptions{}, one.address, two.address)
	c := client(t)
	own, _ := k.ask(t, c, "GET")
	m := k.set.Members()[slices.Index([]string{"one", "two"}, own)]
	m.Down(backend.Draining)
	for range 4 {
		if got, set := k.ask(t, c, "GET"); got != own || set {
			t.Errorf("%s of a client of %s that drains, a new cookie: %v", got, own, set)
		}
		if got, _ := k.ask(t, client(t), "GET"); got == own {
			t.Errorf("a new client is sent to %s, which drains", own)
		}
	}
	m.Down(backend.Health)
	other, set := k.ask(t, c, "GET")
	if other == own || !set {
		t.Errorf("%s, which is closed; a new cookie: %v", other, set)
	}
	m.Up(backend.Health | backend.Draining)
	for range 4 {
		if got, set := k.ask(t, c, "GET"); got != other || set {
			t.Errorf("%s of a client of %s, a new cookie: %v", got, other, set)
		}
	}
}

// A request that another backend answers in the end leaves its client there: the first one refuses connections, resets
// them, or answers 503.
func TestSticky_retried(t *testing.T) {
	for name, fails := range map[string]func(t *testing.T) string{
		"refused": refusing,
		"reset": func(t *testing.T) string {
			return newFaulty(t, "h1", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }).address
		},
		"503": func(t *testing.T) string { return newFaulty(t, "h1", failing(503, "sorry")).address },
	} {
		t.Run(name, func(t *testing.T) {
			bad, good := fails(t), newFaulty(t, "h1", telling("good"))
			k := keepClients(t, upstream.Options{}, proxy.Off,
				proxy.ToOptions{Retry: on(t, "connect", "reset", "503")}, bad, good.address)
			value := func(address string) string {
				for _, m := range k.set.Members() {
					if m.Address() == address {
						field := string(k.cookie.Append(nil, m, false, time.Now()))
						return strings.TrimSuffix(strings.SplitAfter(field, ";")[0], ";")
					}
				}
				return ""
			}
			for range 3 {
				req, err := http.NewRequest("GET", k.url, http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Cookie", "a=b; "+value(bad))
				resp, body := testutil.Do(t, http.DefaultClient, req)
				if len(resp.Cookies()) != 1 || body != "good" {
					t.Fatalf("%q with %q", body, resp.Cookies())
				}
				m, _ := k.cookie.Find([]byte(resp.Cookies()[0].Value), time.Now())
				if m == nil || m.Address() != good.address {
					t.Errorf("the cookie is that of %v", m)
				}
			}
		})
	}
}

// A new client whose request a second backend answers sooner stays there. One that belongs to a backend waits for it.
func TestSticky_hedged(t *testing.T) {
	slow := newFaulty(t, "h1", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Cookie") == "" {
			<-r.Context().Done()
			return
		}
		<-time.After(50 * time.Millisecond) // ten times what a hedge waits
		telling("slow")(w, r)
	})
	quick := newFaulty(t, "h1", telling("quick"))
	policy := on(t, "connect")
	policy.Hedge = &retry.Hedge{After: 5 * time.Millisecond}
	k := keepClients(t, upstream.Options{}, proxy.Off, proxy.ToOptions{Retry: policy}, slow.address, quick.address)
	for range 2 { // the first pick is the slow one once
		resp, body := testutil.Get(t, http.DefaultClient, k.url)
		if body != "quick" || len(resp.Cookies()) != 1 {
			t.Fatalf("%q with %q", body, resp.Cookies())
		}
		m, _ := k.cookie.Find([]byte(resp.Cookies()[0].Value), time.Now())
		if m == nil || m.Address() != quick.address {
			t.Errorf("the cookie is that of %v", m)
		}
	}
	own := string(k.cookie.Append(nil, k.set.Members()[0], false, time.Now()))
	resp, body := testutil.Do(t, http.DefaultClient, newGet(t, k.url, []string{"Cookie", strings.Split(own, ";")[0]}))
	if body != "slow" || len(resp.Cookies()) > 0 {
		t.Errorf("%q with %q for a client of the slow one", body, resp.Cookies())
	}
}

// A cookie that edge has not made, or that has ended, is one that there is not. A backend gets it as any other.
func TestSticky_foreignCookies(t *testing.T) {
	origin := newFaulty(t, "h1", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Sent", r.Header.Get("Cookie"))
		w.Header().Add("Set-Cookie", "own=1")
	})
	k := keepClients(t, upstream.Options{}, proxy.Off, proxy.ToOptions{}, origin.address)
	old := string(k.cookie.Append(nil, k.set.Members()[0], false, time.Now().Add(-2*time.Hour)))
	for _, sent := range []string{
		"edge_sid=", "edge_sid=x", "edge_sid=" + strings.Repeat("A", sticky.TokenLen),
		strings.Split(old, ";")[0],
	} {
		resp, _ := testutil.Do(t, http.DefaultClient, newGet(t, k.url, []string{"Cookie", sent}))
		cookies := resp.Cookies()
		if len(cookies) != 2 || cookies[0].Name != "own" || cookies[1].Name != "edge_sid" {
			t.Errorf("%q: %q", sent, cookies)
		}
		if got := resp.Header.Get("X-Sent"); got != sent {
			t.Errorf("the backend is sent %q for %q", got, sent)
		}
	}
}

// An answer of the proxy's own keeps nobody anywhere.
func TestSticky_noBackend(t *testing.T) {
	k := keepClients(t, upstream.Options{}, proxy.Off, proxy.ToOptions{}, refusing(t))
	resp, _ := testutil.Get(t, http.DefaultClient, k.url)
	if resp.StatusCode != 502 || len(resp.Cookies()) > 0 {
		t.Errorf("%s with %q", resp.Status, resp.Cookies())
	}
}

// A cookie of another set would name members that the upstream does not have.
func TestSticky_ofAnotherSet(t *testing.T) {
	e := newEngine(t, engine.Options{Reactors: 1})
	defer e.Stop()
	c, err := sticky.New(backend.Of("10.0.0.1:80"), sticky.Options{})
	if err != nil {
		t.Fatal(err)
	}
	to := proxy.To(upstream.New(e, upstream.Options{Backends: backend.Of("10.0.0.1:80")}), &proxy.ToOptions{Sticky: c})
	if _, err := proxy.NewSnapshot([]proxy.Route{{To: to}}, nil); err == nil {
		t.Error("the route is accepted")
	}
}

// A client that comes back costs no allocation, and neither does one that gets a cookie with each answer.
func TestProxy_warmStickyAllocatesNothing(t *testing.T) {
	const secret = "a secret of 26 characters."
	set := backend.Of("10.0.0.1:80")
	c, err := sticky.New(set, sticky.Options{Secrets: []string{secret}})
	if err != nil {
		t.Fatal(err)
	}
	field := string(c.Append(nil, set.Members()[0], false, time.Now()))
	own := "; " + strings.Split(field, ";")[0]
	for _, cookie := range []string{own, ""} {
		request := strings.Replace(warm.Browser, "; consent=1", "; consent=1"+cookie, 1)
		g := warm.NewRouted(t, request, &proxy.Listener{}, func(origin *upstream.Upstream) []proxy.Route {
			s, err := sticky.New(origin.Options().Backends, sticky.Options{Secrets: []string{secret}})
			if err != nil {
				t.Fatal(err)
			}
			return []proxy.Route{{To: proxy.To(origin, &proxy.ToOptions{Sticky: s})}}
		})
		if !strings.HasPrefix(g.First, "HTTP/1.1 200 OK\r\n") ||
			strings.Contains(g.First, "\r\nSet-Cookie: edge_sid=") != (cookie == "") {
			t.Fatalf("got %q", g.First)
		}
		if allocs := testutil.Allocs(1000, g.Exchange); allocs != 0 {
			t.Errorf("%q: %v allocations", cookie, allocs)
		}
	}
}
