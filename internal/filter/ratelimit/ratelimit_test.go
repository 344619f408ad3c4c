package ratelimit_test

import (
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/internal/filter/ratelimit"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/test/filterrig"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/proxy"
)

// rig is a server with one limit.
type rig struct {
	*filterrig.Rig
	*plugin.Build
	said testutil.Output // by the filter
}

func newRig(t *testing.T, c *ratelimit.Config) *rig {
	t.Helper()
	return newRigOn(t, 0, c)
}

func newRigOn(t *testing.T, reactors int, c *ratelimit.Config) *rig {
	t.Helper()
	var store plugin.Store
	g := &rig{Build: &plugin.Build{Name: "api", Type: "rate_limit", Reactors: 2, Kept: store.Claim()}}
	g.Logger = slog.New(slog.NewTextHandler(&g.said, nil))
	f, err := ratelimit.New(c, g.Build)
	if err != nil {
		t.Fatal(err)
	}
	g.Rig = filterrig.NewOn(t, reactors, f)
	return g
}

// wantCounts compares what is counted with want: allowed, limited, delayed.
func (g *rig) wantCounts(t *testing.T, want ...uint64) {
	t.Helper()
	for i, result := range []string{"allowed", "limited", "delayed"} {
		if n := g.Counter(result).Load(); n != want[i] {
			t.Errorf("%d are counted as %s, want %d", n, result, want[i])
		}
	}
}

// template compiles a key of fields of the request.
func template(t *testing.T, text string) *lang.Template {
	t.Helper()
	key, err := plugin.Template(text, lang.Request)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestFilter_refusesWhatIsTooMuchByAddress(t *testing.T) {
	for name, client := range filterrig.Clients(t) {
		g := newRig(t, &ratelimit.Config{Rate: plugin.Rate{Count: 1, Per: time.Hour}, Burst: 2})
		for i, c := range []struct {
			client string
			status int
		}{
			{"192.0.2.1", 200}, {"192.0.2.1", 200}, {"192.0.2.1", 429}, {"::ffff:192.0.2.1", 429}, {"192.0.2.2", 200},
			{"2001:db8::1", 200}, {"2001:db8::2", 200}, {"2001:db8::3", 429}, {"2001:db8:0:1::1", 200},
		} {
			resp, _ := testutil.Do(t, client, g.From(t, c.client, "/"))
			if resp.StatusCode != c.status {
				t.Errorf("%s: request %d is answered %d, want %d", name, i, resp.StatusCode, c.status)
			}
			after, err := strconv.Atoi(resp.Header.Get("Retry-After"))
			if resp.StatusCode == 429 && (err != nil || after < 3600 || after > 3961) {
				t.Errorf("%s: Retry-After: %d (%v), want an hour and up to a tenth", name, after, err)
			}
			if resp.StatusCode == 200 && err == nil {
				t.Errorf("%s: an answer has Retry-After", name)
			}
		}
		g.wantCounts(t, 6, 3, 0)
	}
}

// A key that is the network of a client means the same whether it is made a text or not.
func TestFilter_countsByNetwork(t *testing.T) {
	clients := []string{
		"192.0.2.1", "::ffff:192.0.2.1", "192.0.2.77", "192.0.3.1", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1",
	}
	for key, statuses := range map[string][]int{
		"{client.ip}":                {200, 429, 200, 200, 200, 200, 200},
		"{cidr(client.ip, 24, 64)}":  {200, 429, 429, 200, 200, 429, 200},
		"{cidr(client.ip, 24, 128)}": {200, 429, 429, 200, 200, 200, 200},
		"{ cidr(client.ip,8,32) }":   {200, 429, 429, 429, 200, 429, 429},
	} {
		for _, text := range []string{key, "is " + key} {
			g := newRig(t, &ratelimit.Config{Key: template(t, text), Rate: plugin.Rate{Count: 1, Per: time.Hour}})
			client := filterrig.Clients(t)["HTTP/1"]
			for i, from := range clients {
				if resp, _ := testutil.Do(t, client, g.From(t, from, "/")); resp.StatusCode != statuses[i] {
					t.Errorf("%s: %s is answered %d, want %d", text, from, resp.StatusCode, statuses[i])
				}
			}
		}
	}
}

func TestFilter_countsByItsKey(t *testing.T) {
	g := newRig(t, &ratelimit.Config{
		Key: template(t, "{header.x-key}"), Rate: plugin.Rate{Count: 1, Per: time.Hour}, Status: 503,
	})
	client := filterrig.Clients(t)["HTTP/1"]
	long := strings.Repeat("a", 15<<10)
	for _, c := range []struct {
		name, key string
		status    int
	}{
		{"a key", "a", 200}, {"again", "a", 503}, {"another key", "b", 200}, {"a key is its case", "A", 200},
		{"an empty key is not counted", "", 200}, {"nor limited", "", 200},
		{"a long key", long + "a", 200}, {"that differs at its end", long + "b", 200}, {"again", long + "a", 503},
	} {
		req := g.From(t, "", "/")
		if c.key != "" {
			req.Header.Set("X-Key", c.key)
		}
		resp, _ := testutil.Do(t, client, req)
		if resp.StatusCode != c.status {
			t.Errorf("%s: %d, want %d", c.name, resp.StatusCode, c.status)
		}
		if resp.Header.Get("RateLimit") != "" {
			t.Errorf("%s: the answer tells what is left of a key", c.name)
		}
	}
}

// A text beside the value has requests without the value counted together, and "static:" counts all requests together.
func TestFilter_countsTogetherWhereItIsSaid(t *testing.T) {
	for _, key := range []string{"id={header.x-key}", "static:all"} {
		g := newRig(t, &ratelimit.Config{Key: template(t, key), Rate: plugin.Rate{Count: 1, Per: time.Hour}})
		client := filterrig.Clients(t)["HTTP/1"]
		for i, want := range []int{200, 429} {
			if resp, _ := testutil.Do(t, client, g.From(t, "", "/")); resp.StatusCode != want {
				t.Errorf("%s: request %d is answered %d, want %d", key, i, resp.StatusCode, want)
			}
		}
	}
}

// A path counts in each way that servers read it, so that no spelling of it is a key of its own.
func TestFilter_countsByReadingsOfThePath(t *testing.T) {
	g := newRig(t, &ratelimit.Config{Key: template(t, "{path}"), Rate: plugin.Rate{Count: 1, Per: time.Hour}})
	client := filterrig.Clients(t)["HTTP/1"]
	for _, c := range []struct {
		path   string
		status int
	}{
		{"/login", 200}, {"//login", 429}, {"/%2flogin", 429}, {"/x//../login", 429},
		{"/other//x", 200}, {"/other/x", 429},
	} {
		req := g.From(t, "", "/")
		req.URL.Path, req.URL.RawPath = strings.ReplaceAll(c.path, "%2f", "/"), c.path
		if resp, _ := testutil.Do(t, client, req); resp.StatusCode != c.status {
			t.Errorf("%s: %d, want %d", c.path, resp.StatusCode, c.status)
		}
	}
}

func TestFilter_tellsWhatIsLeft(t *testing.T) {
	for form, want := range map[string][]string{
		"":      {`"api";q=3;w=180|"api";r=2;t=60`, `"api";q=3;w=180|"api";r=1;t=120`},
		"draft": {`"api";q=3;w=180|"api";r=2;t=60`, `"api";q=3;w=180|"api";r=1;t=120`},
		"x":     {"3|2|60", "3|1|120"},
		"off":   {"", ""},
	} {
		g := newRig(t, &ratelimit.Config{Rate: plugin.Rate{Count: 1, Per: time.Minute}, Burst: 3, Fields: form})
		client := filterrig.Clients(t)["HTTP/1"]
		for i := range want {
			resp, _ := testutil.Get(t, client, g.URL)
			var got []string
			for _, name := range []string{
				"RateLimit-Policy", "RateLimit", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset",
			} {
				got = append(got, resp.Header.Values(name)...)
			}
			if line := strings.Join(got, "|"); line != want[i] {
				t.Errorf("%q, answer %d: %s, want %s", form, i, line, want[i])
			}
		}
	}
}

// Limits of one chain are one list in the draft.
func TestFilter_tellsOfSeveral(t *testing.T) {
	var all []*proxy.Filter
	for i, name := range []string{"a", "b"} {
		f, err := ratelimit.New(&ratelimit.Config{Rate: plugin.Rate{Count: i + 1, Per: time.Minute}},
			&plugin.Build{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	g := filterrig.New(t, all...)
	resp, _ := testutil.Get(t, filterrig.Clients(t)["HTTP/1"], g.URL)
	got := fmt.Sprint(resp.Header.Values("RateLimit-Policy"), resp.Header.Values("RateLimit"))
	if want := `["a";q=1;w=60 "b";q=2;w=60] ["a";r=0;t=60 "b";r=1;t=30]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	resp, _ = testutil.Get(t, filterrig.Clients(t)["HTTP/1"], g.URL) // the first one refuses, the second is not asked
	got = fmt.Sprint(resp.StatusCode, resp.Header.Values("RateLimit"), len(resp.Header.Values("Retry-After")))
	if want := `429 ["a";r=0;t=60] 1`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// What is more than the rate waits for its turn, as much as the burst has room for. However slowly requests come, the
// answers are as far apart as the rate says. There is one reactor, since each has a clock of its own: on another one a
// request may come a moment before the requests that it follows, and find no room.
func TestFilter_delays(t *testing.T) {
	const apart, clients = 200 * time.Millisecond, 4
	for name, client := range filterrig.Clients(t) {
		rate := plugin.Rate{Count: 5, Per: time.Second}
		g := newRigOn(t, 1, &ratelimit.Config{Rate: rate, Burst: 3, Mode: "delay"})
		began := time.Now()
		statuses := make(chan int)
		for range clients {
			req := g.From(t, "", "/")
			go func() {
				resp, err := client.Do(req)
				if err != nil {
					statuses <- 0
					return
				}
				resp.Body.Close()
				statuses <- resp.StatusCode
			}()
		}
		passed := time.Duration(0)
		for range clients {
			switch status := <-statuses; status {
			case 200:
				if took := time.Since(began); took < passed*apart-2*time.Millisecond {
					t.Errorf("%s: answer %d after %v", name, passed, took)
				}
				passed++
			case 429:
			default:
				t.Errorf("%s: %d", name, status)
			}
		}
		if n := g.Counter("delayed").Load(); passed < 3 || n == 0 || g.LateResumes() != 0 {
			t.Errorf("%s: %d passed, %d delayed, %d late", name, passed, n, g.LateResumes())
		}
	}
}

// A client that leaves gives its place back; where there is none a request is refused.
func TestFilter_delaysNoMoreThanItsBound(t *testing.T) {
	g := newRig(t, &ratelimit.Config{
		Rate: plugin.Rate{Count: 1, Per: time.Minute}, Burst: 100, Mode: "delay", MaxDelay: time.Minute, MaxDelayed: 1,
	})
	client := filterrig.Clients(t)["HTTP/1"]
	for i, want := range []int{200, 0, 429} {
		address := fmt.Sprint("192.0.2.", min(i, 1))
		if want != 0 {
			if resp, _ := testutil.Do(t, client, g.From(t, address, "/")); resp.StatusCode != want {
				t.Errorf("request %d: %d, want %d", i, resp.StatusCode, want)
			}
			continue
		}
		w := g.Dial(t)
		defer w.Close()
		w.Send(strings.Repeat("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n", 2))
		testutil.Eventually(t, testutil.Patience, func() bool { return g.Counter("delayed").Load() == 1 }, "it waits")
	}
}

func TestFilter_onlyLogs(t *testing.T) {
	g := newRig(t, &ratelimit.Config{Rate: plugin.Rate{Count: 1, Per: time.Hour}, Mode: "log"})
	client := filterrig.Clients(t)["HTTP/1"]
	for range 3 {
		if resp, _ := testutil.Get(t, client, g.URL); resp.StatusCode != 200 {
			t.Error(resp.Status)
		}
	}
	g.wantCounts(t, 1, 2, 0)
}

// More keys than there is room for: nobody is refused for it, and the operator is told once.
func TestFilter_fullTable(t *testing.T) {
	g := newRig(t, &ratelimit.Config{Rate: plugin.Rate{Count: 1, Per: time.Hour}, MaxKeys: 1})
	client := filterrig.Clients(t)["HTTP/1"]
	for i := range 50 {
		if resp, _ := testutil.Do(t, client, g.From(t, fmt.Sprint("192.0.2.", i), "/")); resp.StatusCode != 200 {
			t.Errorf("client %d: %d", i, resp.StatusCode)
		}
	}
	if n := g.Counter("evicted").Load(); n != 42 { // one bucket has 8 cells
		t.Errorf("%d are counted as evicted", n)
	}
	if said := g.said.String(); strings.Count(said, "max_keys") != 1 {
		t.Errorf("the log has %q", said)
	}
}

// What was counted is known after a reload, unless the limit is another one.
func TestNew_keepsOverReloads(t *testing.T) {
	var store plugin.Store
	client := filterrig.Clients(t)["HTTP/1"]
	load := func(c ratelimit.Config) int {
		t.Helper()
		claims := store.Claim() // never released: as the former generation, which is still in use
		f, err := ratelimit.New(&c, &plugin.Build{Name: "api", Type: "rate_limit", Reactors: 2, Kept: claims})
		if err != nil {
			t.Fatal(err)
		}
		g := filterrig.New(t, f)
		resp, _ := testutil.Get(t, client, g.URL)
		return resp.StatusCode
	}
	c := ratelimit.Config{Rate: plugin.Rate{Count: 1, Per: time.Hour}}
	if first, second := load(c), load(c); first != 200 || second != 429 {
		t.Errorf("%d, after a reload %d", first, second)
	}
	c.Status, c.Fields = 503, "off"
	if got := load(c); got != 503 {
		t.Errorf("%d after other keys have changed", got)
	}
	c.Burst = 2
	if got := load(c); got != 200 {
		t.Errorf("%d after the limit has changed", got)
	}
}

func TestNew_refusesMistakes(t *testing.T) {
	rate := plugin.Rate{Count: 1, Per: time.Second}
	for want, c := range map[string]*ratelimit.Config{
		"rate: it is required":     {},
		`mode: it must be "reject`: {Rate: rate, Mode: "shed"},
		"fills again in more than": {Rate: plugin.Rate{Count: 1, Per: 24 * time.Hour}, Burst: 1e6},
		"key: it is the same for":  {Rate: rate, Key: template(t, "header.x-api-key")},
	} {
		if _, err := ratelimit.New(c, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want one that says %q", err, want)
		}
	}
}

func Example() {
	limit, err := ratelimit.New(&ratelimit.Config{Rate: plugin.Rate{Count: 1, Per: time.Minute}}, nil)
	if err != nil {
		log.Fatal(err)
	}
	s := &edge.Server{Addr: "127.0.0.1:0", Filters: []*proxy.Filter{limit}, Routes: []proxy.Route{
		{To: proxy.Answer(200, "text/plain", "welcome\n")},
	}}
	if err := s.Start(); err != nil {
		log.Fatal(err)
	}
	for range 2 {
		resp, err := http.Get("http://" + s.ListenAddr())
		if err != nil {
			log.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		fmt.Println(resp.StatusCode, resp.Header.Get("RateLimit"))
	}
	http.DefaultClient.CloseIdleConnections()
	// Output:
	// 200 "rate_limit";r=0;t=60
	// 429 "rate_limit";r=0;t=60
}
