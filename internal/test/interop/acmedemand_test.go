package interop

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// asked is a service that allows names below shop.test, but for those with "no" in front.
type asked struct {
	*httptest.Server
	mu    sync.Mutex
	names []string // guarded by mu
}

func newAsked(t *testing.T) *asked {
	a := &asked{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Query().Get("domain")
		a.mu.Lock()
		a.names = append(a.names, name)
		a.mu.Unlock()
		if r.URL.Query().Get("key") != "1" || !strings.HasSuffix(name, ".shop.test") || strings.HasPrefix(name, "no") {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *asked) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.names)
}

// Handshakes that wait for a name, and those that are refused since too many wait, leave others their turns.
func TestServe_onDemandLeavesTurns(t *testing.T) {
	if os.Getenv("EDGE_SOAK") == "" {
		t.Skip("compares rates: EDGE_SOAK=1")
	}
	a := newAsked(t)
	var hold atomic.Bool
	s := startServed(t, pebbleOptions{before: func(_ http.ResponseWriter, r *http.Request) bool {
		if hold.Load() && strings.HasPrefix(r.URL.Path, "/finalize-order/") {
			<-time.After(10 * time.Second)
		}
		return false
	}}, "on_demand = { ask = \"%s/?key=1\" }\n%s", a.URL, anyRoute)
	s.WaitPort(s.secure)
	s.presented("there.shop.test")
	// rate returns how many handshakes for a name that is there end in 5 s, beside a thousand a second for flood.
	rate := func(flood string) (n int) {
		end := time.Now().Add(5 * time.Second)
		var work sync.WaitGroup
		work.Go(func() {
			for next := time.Now(); next.Before(end); next = next.Add(time.Millisecond) {
				<-time.After(time.Until(next))
				work.Go(func() { s.presented(flood) })
			}
		})
		for time.Now().Before(end) {
			if s.presented("there.shop.test") != nil {
				n++
			}
		}
		work.Wait()
		return n
	}
	var ratios []float64
	for i := range 5 {
		without := rate("localhost") // is refused at once
		hold.Store(true)
		with := rate(fmt.Sprintf("new%d.shop.test", i))
		hold.Store(false)
		ratios = append(ratios, float64(with)/float64(without))
	}
	slices.Sort(ratios)
	t.Logf("%.3f of the rate beside names that are refused (%.3f)", ratios[2], ratios)
	if n := s.ordersMade(); n != 6 {
		t.Errorf("%d orders", n)
	}
}

const anyRoute = "\n[[routes]]\npattern = \"/*\"\ndest = \"127.0.0.1:1\"\n"

// The first handshake for a name waits for its certificate, if the service allows it. One order is made, however many
// ask. The next start asks again, and orders none.
func TestServe_onDemand(t *testing.T) {
	a := newAsked(t)
	s := startServed(t, pebbleOptions{}, "on_demand = { ask = \"%s/?key=1\" }\n%s", a.URL, anyRoute)
	s.WaitPort(s.secure)
	begun := time.Now()
	var wait sync.WaitGroup
	served := make(chan bool, 30)
	for range cap(served) {
		wait.Go(func() { served <- s.presented("a.shop.test") != nil })
	}
	wait.Wait()
	close(served)
	n := 0
	for ok := range served {
		if ok {
			n++
		}
	}
	if took := time.Since(begun); n != 10 || s.ordersMade() != 1 || a.count() != 1 || took > 2*time.Second {
		t.Errorf("%d handshakes have it after %v, %d orders, asked %v", n, took, s.ordersMade(), a.names)
	}
	if leaf := s.presented("A.shop.test"); leaf == nil || leaf.VerifyHostname("a.shop.test") != nil {
		t.Errorf("%v", leaf)
	}
	before := a.count()
	for _, name := range []string{"localhost", "no..shop.test", "-a.shop.test", "1.2.3.4", "a_b.shop.test",
		strings.Repeat("a", 64) + ".shop.test"} {
		if s.presented(name) != nil {
			t.Errorf("%s has a certificate", name)
		}
	}
	if n := a.count(); n != before {
		t.Errorf("asked for %q", a.names[before:])
	}
	for range 2 {
		_, err := tls.Dial("tcp", s.secure, &tls.Config{ServerName: "no.shop.test", InsecureSkipVerify: true})
		if err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("%v", err)
		}
	}
	if n := a.count(); n != before+1 {
		t.Errorf("asked for %q", a.names[before:])
	}
	if code := s.Stop(); code != 0 {
		t.Errorf("exit %d", code)
	}
	s.start()
	s.WaitPort(s.secure)
	if s.presented("a.shop.test") == nil || s.ordersMade() != 1 {
		t.Errorf("%d orders", s.ordersMade())
	}
}
