package server

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

// checkedOrigin is a backend whose checks can be made to fail, while it answers clients still.
type checkedOrigin struct {
	*httptest.Server
	ill    atomic.Bool
	checks atomic.Int64
}

func newCheckedOrigin(t *testing.T, name string) *checkedOrigin {
	o := &checkedOrigin{}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			fmt.Fprint(w, name)
			return
		}
		if o.checks.Add(1); o.ill.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(o.Close)
	return o
}

func (o *checkedOrigin) address() string { return o.Listener.Addr().String() }

// answersOf returns who answers so many requests.
func answersOf(t *testing.T, s *Server, n int) map[string]int {
	t.Helper()
	got := make(map[string]int)
	for range n {
		status, body := get(t, s, "web", "/")
		if status != 200 {
			body = fmt.Sprint(status)
		}
		got[body]++
	}
	return got
}

const checks = "[health_check]\npath = \"/healthz\"\n" +
	"interval = \"300ms\"\nfast_interval = \"10ms\"\ntimeout = \"300ms\"\n"

// A backend that fails its checks gets no request, and gets them again when they pass. A reload keeps what is known;
// without checks it serves.
func TestHealth_takesABackendAwayAndBringsItBack(t *testing.T) {
	var log testutil.Output
	testutil.EventLog(t, slog.NewTextHandler(&log, nil))
	one, two := newCheckedOrigin(t, "one"), newCheckedOrigin(t, "two")
	file := quiet + "[http]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n" +
		"[[routes]]\npattern = \"/*\"\ndest = \"" + one.address() + ", " + two.address() + "\"\n"
	s := start(t, Options{}, "%s", file+checks)
	testutil.Eventually(t, testutil.Patience, func() bool {
		return one.checks.Load() > 3 && two.checks.Load() > 3
	}, "both are checked")
	if got := answersOf(t, s, 8); got["one"] == 0 || got["two"] == 0 {
		t.Errorf("answers of %v", got)
	}
	name := fmt.Sprintf("%s, %s", one.address(), two.address())
	down := func() float64 { return counter(s, "edge_check_backends", name, "down") }
	two.ill.Store(true)
	testutil.Eventually(t, testutil.Patience, func() bool { return down() == 1 }, "two is down")
	if got := answersOf(t, s, 8); got["one"] != 8 {
		t.Errorf("two is down; answers of %v", got)
	}
	want := `level=WARN msg="backend down" upstream="?.*"? backend=` + regexp.QuoteMeta(two.address()) +
		` tier=0 reason=status expected=200-299 got=503 after=[13]/[13] took=\S+ next=\S+ (was_up=\S+ )?open=1/2`
	testutil.Eventually(t, testutil.Patience, func() bool { return regexp.MustCompile(want).MatchString(log.String()) },
		"a line like ", want, " in ", &log)

	apply(t, s, "%s", file+strings.Replace(checks, "10ms", "11ms", 1)) // other checks
	if down() != 1 {
		t.Error("a reload forgets that a backend is down")
	}
	if got := answersOf(t, s, 8); got["one"] != 8 {
		t.Errorf("after a reload answers of %v", got)
	}
	two.ill.Store(false)
	testutil.Eventually(t, testutil.Patience, func() bool { return down() == 0 }, "two is up")
	if n := strings.Count(log.String(), "msg=\"backend down\""); n != 1 {
		t.Errorf("%d lines say that it is down", n)
	}
	if n := strings.Count(log.String(), "msg=\"backend up\""); n != 1 {
		t.Errorf("%d lines say that it is up", n)
	}

	two.ill.Store(true)
	testutil.Eventually(t, testutil.Patience, func() bool { return down() == 1 }, "two is down again")
	apply(t, s, "%s", file) // no checks
	testutil.Eventually(t, testutil.Patience, func() bool { return answersOf(t, s, 8)["two"] > 0 }, "two serves")
	n := one.checks.Load()
	answersOf(t, s, 100)
	if m := one.checks.Load(); m != n {
		t.Errorf("%d checks after they were turned off", m-n)
	}
	wantCounter(t, s, 2, "edge_check_verdicts_total", name, "down")
}

// An upstream has checks of its own, or none where it says so.
func TestHealth_upstreamsOfTheirOwn(t *testing.T) {
	t.Parallel()
	one, two, three := newCheckedOrigin(t, "one"), newCheckedOrigin(t, "two"), newCheckedOrigin(t, "three")
	s := start(t, Options{}, "%s", quiet+"[http]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n"+
		"[[routes]]\npattern = \"/*\"\ndest = \"one\"\n[[routes]]\npattern = \"/2\"\ndest = \"two\"\n"+
		"[[routes]]\npattern = \"/3\"\ndest = \"three\"\n"+
		"[upstreams.one]\nbackends = [{ address = \""+one.address()+"\" }]\nhealth_check = { path = \"/none\" }\n"+
		"[upstreams.two]\nbackends = [{ address = \""+two.address()+"\" }]\nhealth_check = false\n"+
		"[upstreams.three]\nbackends = [{ address = \""+three.address()+"\" }]\n"+checks)
	testutil.Eventually(t, testutil.Patience, func() bool { return three.checks.Load() > 3 }, "three is checked")
	testutil.Eventually(t, testutil.Patience, func() bool {
		return counter(s, "edge_check_results_total", "one", "passed") > 3
	}, "one is checked by its own path")
	if one.checks.Load() > 0 || two.checks.Load() > 0 {
		t.Errorf("%d and %d checks that nobody asked for", one.checks.Load(), two.checks.Load())
	}
}

// A member that is to be checked before it serves answers 503 until then, and serves soon.
func TestHealth_checkedBeforeItServes(t *testing.T) {
	one := newCheckedOrigin(t, "one")
	one.ill.Store(true)
	s := start(t, Options{}, "%s", quiet+"[http]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n"+
		"[[routes]]\npattern = \"/*\"\ndest = \""+one.address()+"\"\n"+checks+"start = \"checked\"\n")
	if got := answersOf(t, s, 4); got["503"] != 4 {
		t.Errorf("before it is checked: %v", got)
	}
	one.ill.Store(false)
	testutil.Eventually(t, testutil.Patience, func() bool { return answersOf(t, s, 1)["one"] == 1 }, "it serves")
}

// With passive_counts a backend that answers requests is not checked.
func TestHealth_passiveCounts(t *testing.T) {
	t.Parallel()
	one := newCheckedOrigin(t, "one")
	s := start(t, Options{}, "%s", quiet+"[http]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n"+
		"[[routes]]\npattern = \"/*\"\ndest = \""+one.address()+"\"\n"+checks+"passive_counts = true\n")
	testutil.Eventually(t, testutil.Patience, func() bool {
		statusOf(t, s, "/")
		return counter(s, "edge_check_replaced_total") > 1
	}, "checks are left out")
}
