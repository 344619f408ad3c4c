package sticky_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/internal/forward/sticky"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

const secret = "a secret of 26 characters."

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func mustNew(t testing.TB, set *backend.Set, o sticky.Options) *sticky.Cookie {
	t.Helper()
	c, err := sticky.New(set, o)
	testutil.Must(t, err)
	return c
}

// valueOf returns the value of the cookie that c sets for m at a time.
func valueOf(t testing.TB, c *sticky.Cookie, m *backend.Member, at time.Time) []byte {
	t.Helper()
	field := string(c.Append(nil, m, false, at))
	cookie, err := http.ParseSetCookie(field)
	if err != nil {
		t.Fatalf("%q: %v", field, err)
	}
	return []byte(cookie.Value)
}

// The field is one that a client understands, with the attributes that keep the cookie from scripts and other sites.
func TestCookie_field(t *testing.T) {
	set := backend.Of("10.0.0.1:80")
	for _, secure := range []bool{false, true} {
		c := mustNew(t, set, sticky.Options{TTL: 90 * time.Second})
		field := string(c.Append([]byte("before "), set.Members()[0], secure, noon))
		text, ok := strings.CutPrefix(field, "before ")
		got, err := http.ParseSetCookie(text)
		if err != nil || !ok {
			t.Fatalf("%q: %v", field, err)
		}
		if got.Name != "edge_sid" || len(got.Value) != sticky.TokenLen || got.Path != "/" || got.MaxAge != 90 ||
			!got.HttpOnly || got.SameSite != http.SameSiteLaxMode || got.Secure != secure || got.Domain != "" {
			t.Errorf("%q is %+v", field, got)
		}
		if strings.Contains(text, "10.0") {
			t.Errorf("%q tells the address", text)
		}
	}
}

// The member of a cookie is found while it serves or drains, and not while anything else is against it.
func TestCookie_reasons(t *testing.T) {
	set := backend.Of("10.0.0.1:80", "10.0.0.2:80", "10.0.0.2:80", "unix:/a")
	c := mustNew(t, set, sticky.Options{})
	late := noon.Add(31 * time.Minute)
	for _, m := range set.Members() {
		v := valueOf(t, c, m, noon)
		if got, renew := c.Find(v, noon); got != m || renew {
			t.Errorf("%s: %v, %v", m.Address(), got, renew)
		}
		if got, renew := c.Find(v, late); got != m || !renew {
			t.Errorf("%s, late: %v, %v", m.Address(), got, renew)
		}
		m.Down(backend.Draining)
		if got, renew := c.Find(v, late); got != m || renew {
			t.Errorf("%s, draining: %v, %v", m.Address(), got, renew)
		}
		for _, r := range []backend.Reason{backend.Health, backend.Ejected, backend.Operator} {
			m.Down(r)
			if got, _ := c.Find(v, noon); got != nil {
				t.Errorf("%s, %v: found", m.Address(), r)
			}
			m.Up(r)
		}
		m.Up(backend.Draining)
		if got, _ := c.Find(v, noon.Add(61*time.Minute)); got != nil {
			t.Errorf("%s: found after the end", m.Address())
		}
	}
}

// Members come and go: a cookie names its member wherever it stands in the list, and nothing once the member has gone.
func TestCookie_membersChange(t *testing.T) {
	set := backend.NewSet()
	c := mustNew(t, set, sticky.Options{Secrets: []string{secret}})
	list := func(n ...int) (all []backend.Spec) {
		for _, i := range n {
			all = append(all, backend.Spec{Address: fmt.Sprintf("10.0.0.%d:80", i)})
		}
		return all
	}
	set.Update(list(1, 2, 3))
	values := map[string][]byte{}
	for _, m := range set.Members() {
		values[m.Address()] = valueOf(t, c, m, noon)
	}
	two := set.Members()[1]
	set.Update(list(4, 3, 1))
	for address, v := range values {
		m, _ := c.Find(v, noon)
		if address == "10.0.0.2:80" {
			if m != nil {
				t.Error("a member that has gone is found")
			}
		} else if m == nil || m.Address() != address {
			t.Errorf("%s: %v", address, m)
		}
	}
	if field := c.Append(nil, two, false, noon); len(field) > 0 {
		t.Errorf("%q keeps a client at a member that has gone", field)
	}
	set.Update(list(2))
	if m, _ := c.Find(values["10.0.0.2:80"], noon); m == nil || m == two {
		t.Error("a member that has come back is not found")
	}
	c.Stop()
	set.Update(list(2, 5))
	for _, v := range values {
		if m, _ := c.Find(v, noon); m != nil {
			t.Errorf("%s is found after Stop", m.Address())
		}
	}
}

// Another process knows the cookies if it has the secret, whatever the order of its list and however it found them.
func TestCookie_otherInstances(t *testing.T) {
	here, there := backend.Of("10.0.0.1:80", "h:80"), backend.Of("h:80", "10.0.0.7:80", "10.0.0.1:80")
	for _, m := range there.Members() {
		m.Up(backend.Names)
	}
	for _, c := range []struct {
		name  string
		o     sticky.Options
		known bool
	}{
		{"the same", sticky.Options{Service: "api", Secrets: []string{secret}}, true},
		{"the new secret first", sticky.Options{Service: "api", Secrets: []string{"x" + secret, secret}}, true},
		{"another name", sticky.Options{Service: "web", Secrets: []string{secret}}, false},
		{"another secret", sticky.Options{Service: "api", Secrets: []string{"x" + secret}}, false},
		{"one that it drew", sticky.Options{Service: "api"}, false},
	} {
		a := mustNew(t, here, sticky.Options{Service: "api", Secrets: []string{secret}})
		b := mustNew(t, there, c.o)
		for _, m := range here.Members() {
			got, _ := b.Find(valueOf(t, a, m, noon), noon)
			if (got != nil) != c.known || c.known && got.Address() != m.Address() {
				t.Errorf("%s: %s is %v", c.name, m.Address(), got)
			}
		}
		a.Stop()
		b.Stop()
	}
}

// A cookie that lives longer than new ones do is renewed: the time to live was shortened.
func TestCookie_shorterTime(t *testing.T) {
	set := backend.Of("10.0.0.1:80")
	long := mustNew(t, set, sticky.Options{Secrets: []string{secret}, TTL: 24 * time.Hour})
	short := mustNew(t, set, sticky.Options{Secrets: []string{secret}, TTL: 2 * time.Minute})
	v := valueOf(t, long, set.Members()[0], noon)
	if m, renew := short.Find(v, noon); m == nil || !renew {
		t.Errorf("%v, %v", m, renew)
	}
}

func TestNew_refuses(t *testing.T) {
	set := backend.Of("10.0.0.1:80")
	for _, o := range []sticky.Options{
		{Name: "a b"}, {Name: "a;b"}, {Name: "a=b"}, {Name: "é"},
		{TTL: time.Second}, {TTL: -1}, {TTL: 2 * sticky.TTLMax},
		{Secrets: []string{"short"}},
	} {
		if _, err := sticky.New(set, o); err == nil {
			t.Errorf("%+v is good", o)
		}
	}
}

// To find a member and to set a cookie allocate nothing, whether there are two members or thousands.
func TestCookie_allocatesNothing(t *testing.T) {
	for _, n := range []int{2, 5000} {
		var list []backend.Spec
		for i := range n {
			list = append(list, backend.Spec{Address: fmt.Sprintf("10.0.%d.%d:80", i/256, i%256)})
		}
		set := backend.NewSet(list...)
		c := mustNew(t, set, sticky.Options{Secrets: []string{secret, "x" + secret}})
		m := set.Members()[n-1]
		v, bad := valueOf(t, c, m, noon), []byte(strings.Repeat("A", sticky.TokenLen))
		var field []byte
		if a := testutil.Allocs(100, func() {
			if got, _ := c.Find(v, noon); got != m {
				t.Fatal("not found")
			}
			if got, _ := c.Find(bad, noon); got != nil {
				t.Fatal("found")
			}
			field = c.Append(field[:0], m, true, noon)
		}); a != 0 {
			t.Errorf("%d members: %v allocations", n, a)
		}
	}
}

// Members come and go while cookies are looked up: one that is found is that of the cookie.
func TestCookie_whileMembersChange(t *testing.T) {
	set := backend.Of("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
	c := mustNew(t, set, sticky.Options{})
	all := set.Members()
	var values [][]byte
	for _, m := range all {
		values = append(values, valueOf(t, c, m, noon))
	}
	var over atomic.Bool
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			var field []byte
			for i := 0; !over.Load(); i++ {
				want := all[i%3].Address()
				if m, _ := c.Find(values[i%3], noon); m != nil && m.Address() != want {
					t.Errorf("%s for %s", m.Address(), want)
				}
				field = c.Append(field[:0], all[i%3], false, noon)
			}
		})
	}
	for i := range 200 {
		set.Update([]backend.Spec{{Address: "10.0.0.1:80"}, {Address: fmt.Sprintf("10.0.0.%d:80", 2+i%2)}})
	}
	c.Stop()
	over.Store(true)
	readers.Wait()
}

func BenchmarkCookie_find(b *testing.B) {
	set := backend.Of("10.0.0.1:80", "10.0.0.2:80")
	c := mustNew(b, set, sticky.Options{})
	v := valueOf(b, c, set.Members()[1], noon)
	b.ReportAllocs()
	for b.Loop() {
		c.Find(v, noon)
	}
}

func BenchmarkCookie_append(b *testing.B) {
	set := backend.Of("10.0.0.1:80", "10.0.0.2:80")
	c := mustNew(b, set, sticky.Options{})
	m := set.Members()[1]
	var field []byte
	b.ReportAllocs()
	for b.Loop() {
		field = c.Append(field[:0], m, true, noon)
	}
}
