package builtin_test

import (
	"fmt"
	"log"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/internal/filter/builtin"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/test/filterrig"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/warm"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/proxy"
)

// newBuild returns the build of a filter that may keep state and count, as a reload would make it.
func newBuild(name, of string) *plugin.Build {
	var store plugin.Store
	return &plugin.Build{Name: name, Type: of, Reactors: 2, Kept: store.Claim()}
}

// made is the filter that a constructor makes.
func made[C any](
	t testing.TB, build func(*C, *plugin.Build) (*proxy.Filter, error), c *C, b *plugin.Build,
) *proxy.Filter {
	t.Helper()
	f, err := filterrig.Made(build, c, b)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func faultRig(t *testing.T, c *builtin.Fault) (*filterrig.Rig, *plugin.Build) {
	t.Helper()
	b := newBuild("chaos", "fault")
	f := made(t, builtin.NewFault, c, b)
	return filterrig.New(t, f), b
}

func TestFault_abortsAll(t *testing.T) {
	for name, client := range filterrig.Clients(t) {
		g, b := faultRig(t, &builtin.Fault{Abort: "100%", Status: 502})
		if resp, _ := testutil.Get(t, client, g.URL); resp.StatusCode != 502 || g.Seen.Load() != 0 {
			t.Errorf("%s: %d, the origin saw %d", name, resp.StatusCode, g.Seen.Load())
		}
		if n := b.Counter("aborted").Load(); n != 1 {
			t.Errorf("%s: counted %d", name, n)
		}
	}
}

func TestFault_cuts(t *testing.T) {
	g, _ := faultRig(t, &builtin.Fault{Abort: "100%", Cut: true})
	w := g.Dial(t)
	w.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if got := w.ReadAll(); got != "" {
		t.Errorf("HTTP/1: %q", got)
	}
	if resp, err := filterrig.Clients(t)["HTTP/2"].Get(g.URL); err == nil {
		resp.Body.Close()
		t.Errorf("HTTP/2: %d, want a reset", resp.StatusCode)
	}
}

// A delayed request goes on, or is aborted, after its time.
func TestFault_delays(t *testing.T) {
	for abort, want := range map[string]int{"": 200, "100%": 503} {
		for name, client := range filterrig.Clients(t) {
			g, b := faultRig(t, &builtin.Fault{Abort: abort, Delay: "100%", DelayFor: 20 * time.Millisecond})
			began := time.Now()
			resp, _ := testutil.Get(t, client, g.URL)
			if took := time.Since(began); resp.StatusCode != want || took < 20*time.Millisecond {
				t.Errorf("%s: %d after %v", name, resp.StatusCode, took)
			}
			if n := b.Counter("delayed").Load(); n != 1 {
				t.Errorf("%s: counted %d", name, n)
			}
		}
	}
}

// Beyond its bound nothing is delayed.
func TestFault_delaysNoMoreThanItsBound(t *testing.T) {
	g, b := faultRig(t, &builtin.Fault{Delay: "100%", DelayFor: time.Minute, DelayMost: 1})
	w := g.Dial(t)
	w.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	testutil.Eventually(t, testutil.Patience, func() bool { return b.Counter("delayed").Load() == 1 }, "one is held")
	if resp, _ := testutil.Get(t, filterrig.Clients(t)["HTTP/1"], g.URL); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
	if n := b.Counter("undelayed").Load(); n != 1 {
		t.Errorf("counted %d", n)
	}
	w.Close() // the client leaves, and its place is free
	testutil.Eventually(t, testutil.Patience, func() bool {
		w := g.Dial(t)
		w.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		defer w.Close()
		return b.Counter("delayed").Load() >= 2
	}, "another one is held")
	if n := g.LateResumes(); n != 0 {
		t.Errorf("%d late resumes", n)
	}
}

// Half of the keys are aborted, and always the same half.
func TestFault_keysFareAlike(t *testing.T) {
	key, err := plugin.Template("{header.x-key}", lang.Request)
	if err != nil {
		t.Fatal(err)
	}
	client := filterrig.Clients(t)["HTTP/1"]
	var first []int
	for range 2 {
		g, b := faultRig(t, &builtin.Fault{Abort: "50%", Key: key})
		for i := range 40 {
			req := g.From(t, "", "/")
			req.Header.Set("X-Key", strconv.Itoa(i))
			resp, _ := testutil.Do(t, client, req)
			if len(first) < 40 {
				first = append(first, resp.StatusCode)
			} else if resp.StatusCode != first[i] {
				t.Errorf("key %d: %d, and before %d", i, resp.StatusCode, first[i])
			}
		}
		if n := b.Counter("aborted").Load(); n != 18 { // it is the same everywhere
			t.Errorf("%d of 40 are aborted", n)
		}
	}
}

func TestFault_allocatesNothing(t *testing.T) {
	f := made(t, builtin.NewFault, &builtin.Fault{Abort: "0.0000001%", Delay: "0.0000001%"}, nil)
	g := warm.New(t, warm.Browser, &proxy.Listener{}, f)
	if n := testutil.Allocs(1000, g.Exchange); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestNewFault_refusesMistakes(t *testing.T) {
	for want, c := range map[string]*builtin.Fault{
		"do nothing":                {},
		`abort: "5" is no share`:    {Abort: "5"},
		`abort: "-1%" is no share`:  {Abort: "-1%"},
		`delay: "101%" is no share`: {Delay: "101%"},
		`delay: "NaN%" is no share`: {Delay: "NaN%"},
		"delay_for: it must be":     {Delay: "1%", DelayFor: time.Hour},
	} {
		if _, err := filterrig.Made(builtin.NewFault, c, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want one that says %q", err, want)
		}
	}
}

func ExampleFault() {
	chaos, err := filterrig.Made(builtin.NewFault, &builtin.Fault{Abort: "100%", Status: 504}, nil)
	if err != nil {
		log.Fatal(err)
	}
	s := &edge.Server{Addr: "127.0.0.1:0", Filters: []*proxy.Filter{chaos}, Routes: []proxy.Route{
		{To: proxy.Answer(200, "text/plain", "welcome\n")},
	}}
	if err := s.Start(); err != nil {
		log.Fatal(err)
	}
	resp, err := http.Get("http://" + s.ListenAddr())
	if err != nil {
		log.Fatal(err)
	}
	resp.Body.Close()
	fmt.Println(resp.StatusCode)
	http.DefaultClient.CloseIdleConnections()
	// Output: 504
}
