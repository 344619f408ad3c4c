package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend/registry"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/discovery/locator"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// addresses returns the lines of a file of registrations without their comments.
func addresses(t *testing.T, path string) (all []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, " #")
		all = append(all, line)
	}
	slices.Sort(all)
	return all
}

// Others find the addresses of listeners as they are open, and those of services beside edge, through reloads.
func TestRegistrations_followTheConfiguration(t *testing.T) {
	testutil.CheckLeaks(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "users")
	file := func(registrations string) string {
		return quiet + fmt.Sprintf(`
http = { name = "web", listen = "127.0.0.1:0" }
listeners = [{ name = "all", listen = "0.0.0.0:0" }, { name = "unix", listen = "unix:%s/sock" }]
routes = [{ pattern = "/*", dest = "status:200" }]
`, dir) + strings.ReplaceAll(registrations, "FILE", `to = "file://`+path+`", linger = "0s", ttl = "1h"`)
	}
	s := start(t, Options{}, "%s", file(`register = [
	{ FILE }, { FILE, listener = "all", weight = 2, name = "a" }, { FILE, listener = "unix" },
	{ FILE, address = "10.0.0.9:5432", zone = "b" }, { FILE, address = ":81" },
	{ FILE, address = "10.0.0.8", listener = "all" },
]`))
	web := strings.TrimPrefix(urlOf(t, s, "web"), "http://")
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(urlOf(t, s, "all"), "http://"))
	becomes := func(want ...string) {
		t.Helper()
		slices.Sort(want)
		var got []string
		defer func() {
			if t.Failed() {
				t.Logf("%q, want %q", got, want)
			}
		}()
		testutil.Eventually(t, testutil.Patience, func() bool {
			got = addresses(t, path)
			return slices.Equal(got, want)
		})
	}
	becomes(web, "127.0.0.1:"+port+" weight=2", "unix:"+dir+"/sock", "10.0.0.9:5432 zone=b", "127.0.0.1:81",
		"10.0.0.8:"+port)
	const puts = 6
	testutil.Eventually(t, testutil.Patience, func() bool {
		return counter(s, "edge_registrations", "known") == 6 &&
			counter(s, "edge_register_puts_total", "success") == puts
	})
	apply(t, s, "%s", file(`register = [{ FILE }, { FILE, listener = "all", name = "a", weight = 3 },
	{ FILE, address = "10.0.0.9:5432", zone = "b" }]`))
	becomes(web, "127.0.0.1:"+port+" weight=3", "10.0.0.9:5432 zone=b")
	testutil.Eventually(t, testutil.Patience, func() bool {
		return counter(s, "edge_register_puts_total", "success") == puts+1
	}, "one entry has changed, and is put again alone")
	d := apply(t, s, "%s", file(`register = [{ FILE, address = "10.0.0.9:5432", zone = "b" }]`))
	if got := addresses(t, path); !slices.Equal(got, []string{"10.0.0.9:5432 zone=b"}) {
		t.Errorf("%q is known after the reload", got)
	}
	if len(d.Removed)+len(d.Changed) == 0 {
		t.Errorf("the reload tells nothing: %+v", d)
	}
	testutil.Must(t, s.Stop())
	if got := addresses(t, path); len(got) > 0 {
		t.Errorf("%q is known after the end", got)
	}
}

// asked is a registry that asks what it registers when it is withdrawn.
type asked struct {
	mu        sync.Mutex
	address   string
	withdrawn chan int // the status of the answer; 0: there was none
}

func (a *asked) Put(_ context.Context, e *registry.Entry) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.address = e.Address
	return e.Address, nil
}

func (a *asked) Withdraw(context.Context) error {
	a.withdrawn <- answerAt("http://" + a.at())
	return nil
}

func (a *asked) at() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.address
}

// answerAt asks on a connection of its own; 0: nobody answered.
func answerAt(url string) int {
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: testutil.Patience}
	resp, err := c.Get(url)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// startAsked runs a Server whose listener is registered in an asked.
func startAsked(t *testing.T, linger string) (*Server, *asked) {
	t.Helper()
	a := &asked{withdrawn: make(chan int, 1)}
	text := quiet + `http = { name = "web", listen = "127.0.0.1:0" }
routes = [{ pattern = "/*", dest = "status:200" }]
register = { to = "asked://x", linger = "` + linger + `" }`
	cfg := parseBy(t, config.Options{Registries: []string{"asked"}}, text)
	s := serve(t, cfg, Options{Registries: map[string]registry.Maker{
		"asked": func(*locator.Locator) (registry.Registry, error) { return a, nil },
	}})
	waitCounter(t, s, 1, "edge_registrations", "known")
	return s, a
}

// A drain begins with the withdrawal; only then are connections refused.
func TestRegistrations_withdrawnBeforeTheDrain(t *testing.T) {
	s, a := startAsked(t, "1ms")
	if !s.Drain(testutil.Patience) {
		t.Error("not drained")
	}
	if status := <-a.withdrawn; status != 200 {
		t.Errorf("status %d at the withdrawal", status)
	}
	if status := answerAt("http://" + a.at()); status != 0 {
		t.Errorf("status %d after the drain", status)
	}
}

// While others hear of the withdrawal, connections are accepted. Stop cuts that short.
func TestRegistrations_linger(t *testing.T) {
	s, a := startAsked(t, "1m")
	begun := time.Now()
	var drain sync.WaitGroup
	drain.Go(func() { s.Drain(testutil.Patience) })
	<-a.withdrawn
	for range 3 {
		if status := answerAt("http://" + a.at()); status != 200 {
			t.Errorf("status %d after the withdrawal", status)
		}
	}
	if _, err := s.Apply(s.begun); !errors.Is(err, errEnding) {
		t.Errorf("applied while draining: %v", err)
	}
	_ = s.Stop()
	drain.Wait()
	if took := time.Since(begun); took > testutil.Patience {
		t.Errorf("ended after %s", took)
	}
}

// While a reload waits until others have heard of a withdrawal, the Server counts and drains: that ends the reload, and
// nothing has changed.
func TestRegistrations_drainDuringAReload(t *testing.T) {
	s, a := startAsked(t, "1m")
	next := parse(t, quiet+`http = { name = "other", listen = "127.0.0.1:0" }`)
	var failed error
	var reload sync.WaitGroup
	reload.Go(func() { _, failed = s.Apply(next) })
	<-a.withdrawn
	wantCounter(t, s, 0, "edge_registrations", "known")
	if status := answerAt("http://" + a.at()); status != 200 {
		t.Errorf("status %d while the reload waits", status)
	}
	if at := s.Addresses(); len(at) != 1 || at[0].Listener != "web" {
		t.Errorf("serves at %v while the reload waits", at)
	}
	if !s.Drain(testutil.Patience) {
		t.Error("not drained")
	}
	if reload.Wait(); !errors.Is(failed, errEnding) {
		t.Errorf("the reload: %v", failed)
	}
}

// While a reload waits until others have heard of a withdrawal, nothing is handed over.
func TestHandover_duringAReload(t *testing.T) {
	s, a := startAsked(t, "1m")
	sockets, err := s.Handover().Sockets()
	testutil.Must(t, err)
	defer closeSockets(sockets)
	var reload sync.WaitGroup
	reload.Go(func() { _, _ = s.Apply(parse(t, quiet+`http = { name = "other", listen = "127.0.0.1:0" }`)) })
	<-a.withdrawn
	if err := s.Handover().Suspend([]int{0}); !errors.Is(err, errApplying) {
		t.Errorf("suspended: %v", err)
	}
	if more, err := s.Handover().Sockets(); !errors.Is(err, errApplying) {
		t.Errorf("%d sockets, %v", len(more), err)
	}
	if status := answerAt("http://" + a.at()); status != 200 {
		t.Errorf("status %d while the reload waits", status)
	}
	_ = s.Stop()
	reload.Wait()
}

// A reload that takes the listener away too has it accept until others have heard of it.
func TestRegistrations_reloadWithdrawsFirst(t *testing.T) {
	s, a := startAsked(t, "1ms")
	apply(t, s, quiet+`http = { name = "other", listen = "127.0.0.1:0" }
routes = [{ pattern = "/*", dest = "status:200" }]`)
	if status := <-a.withdrawn; status != 200 {
		t.Errorf("status %d at the withdrawal", status)
	}
}

// A registry that cannot be reached delays neither the start nor the end.
func TestRegistrations_deadRegistry(t *testing.T) {
	begun := time.Now()
	s := start(t, Options{}, quiet+`http = { name = "web", listen = "127.0.0.1:0" }
routes = [{ pattern = "/*", dest = "status:200" }]
register = [{ to = "etcd://%s/users/", linger = "1m" }, { to = "consul://%[1]s/users", linger = "1m" }]`,
		testutil.FreeAddr(t))
	testutil.Eventually(t, testutil.Patience, func() bool {
		return counter(s, "edge_register_puts_total", "failure") >= 2
	})
	wantCounter(t, s, 2, "edge_registrations", "unknown")
	if !s.Drain(testutil.Patience) || time.Since(begun) > testutil.Patience {
		t.Errorf("drained after %s", time.Since(begun))
	}
}

// A registry that the program does not have, or cannot make, is an error, and a reload changes nothing then.
func TestRegistrations_thatAreNotThere(t *testing.T) {
	text := quiet + "http = { name = \"web\", listen = \"127.0.0.1:0\" }\nregister.to = \"mine://x\"\n"
	_, report := config.Options{Registries: []string{"mines"}}.Parse("test.toml", []byte(text))
	if report.OK() || !strings.Contains(report.Errors[0].Hint, `did you mean "mines"`) {
		t.Errorf("%+v", report.Errors)
	}
	cfg := parseBy(t, config.Options{Registries: []string{"mine"}}, text)
	s := start(t, Options{}, quiet+`http = { name = "web", listen = "127.0.0.1:0" }`)
	wantRefused(t, s, cfg, "register")
	wantStatus(t, direct, urlOf(t, s, "web"), 404, "after a reload that failed")
}
