package plan_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/syntax"
)

// A route with a condition that edge refuses is not there: without the condition it would take all requests.
func TestPlan_leavesOutRoutesWithoutTheirConditions(t *testing.T) {
	p := &plan.Plan{Program: "nginx", File: "f"}
	at := plan.Place{File: "f", Line: 7}
	p.Add("[[listeners]]", at).Set("listen", `":8080"`, at)
	inner := p.Add("[[routes]]", at)
	inner.Set("path", `"/inner/*"`, at)
	inner.Set("header", `{ "no name" = "x" }`, at)
	inner.Set("dest", `"http://127.0.0.1:3000"`, at)
	open := p.Add("[[routes]]", at)
	open.Set("path", `"/open"`, at)
	open.Set("dest", `"http://127.0.0.1:3001"`, at)
	open.Set("headers.request", `{ "no name" = "x" }`, at)
	text := string(p.Text(plan.TextOnly))
	if strings.Contains(text, "3000") || strings.Contains(text, "/inner") {
		t.Errorf("the route is there:\n%s", text)
	}
	if !strings.Contains(text, "3001") || strings.Contains(text, "no name") {
		t.Errorf("the other route is not there as it has to be:\n%s", text)
	}
	if p.Losses() != 2 {
		t.Error(p.Findings())
	}
}

// A listener that is to ask for certificates, and cannot, refuses all: without that it would let everybody in, and were
// it not there, its requests would come by another one.
func TestPlan_shutsListenersThatCannotAskForCertificates(t *testing.T) {
	p := &plan.Plan{Program: "nginx", File: "f"}
	at := plan.Place{File: "f", Line: 7}
	closed := p.Add("[[listeners]]", at)
	closed.Set("name", `"secure"`, at)
	closed.Set("listen", `":8443"`, at)
	closed.Set("cert", `"internal"`, at)
	closed.Set("client_ca", `"/none/such.pem"`, at)
	closed.Set("client_auth", `"require"`, at)
	p.Add("[[listeners]]", at).Set("listen", `":8080"`, at)
	p.Write([]*plan.Site{{Listeners: []string{"secure"}, Branches: []plan.Branch{{When: plan.Always,
		To: &plan.Target{End: plan.Dest("http://127.0.0.1:1")}, From: []plan.Place{at}}}}})
	text := string(p.Text(func(text []byte) *config.Report {
		report := plan.TextOnly(text)
		if i := bytes.Index(text, []byte("client_ca")); i >= 0 {
			line := 1 + bytes.Count(text[:i], []byte("\n"))
			report.Errors = append(report.Errors, config.Problem{
				Pos: syntax.Pos{Line: line}, Message: "there is no such file"})
		}
		return report
	}))
	if !strings.Contains(text, "[[rules]]\nwhen = 'listener == \"secure\"'\ndeny = 403\n") ||
		!strings.Contains(text, "8443") || strings.Contains(text, "client_") || p.Losses() != 1 {
		t.Errorf("%v\n%s", p.Findings(), text)
	}
}

func TestLiteral_standsForItself(t *testing.T) {
	for text, want := range map[string]string{
		`path ~ "\.git"`: `'path ~ "\.git"'`, `it's`: `"it's"`, "a\nb": `"a\nb"`, "${A}": `'$${A}'`, "": `''`,
	} {
		if got := plan.Literal(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// A route may be there to refuse some requests: without its condition it refuses all.
func TestText_closesRoutesWhoseConditionIsRefused(t *testing.T) {
	p := &plan.Plan{Program: "x", File: "f"}
	b := p.Add("[[routes]]", plan.Place{File: "f", Line: 1})
	b.Set("path", plan.String("/a/*"), plan.Place{})
	b.Set("when", plan.Literal("path is wrong"), plan.Place{})
	b.Set("dest", plan.String("status:200"), plan.Place{})
	text := string(p.Text(plan.TextOnly))
	closed := strings.Contains(text, "\"/a/*\"\ndest = \"status:403\"\n")
	if !closed || strings.Contains(text, "when") || p.Losses() != 1 {
		t.Errorf("%s\n%v", text, p.Findings())
	}
}

// What refuses requests and is refused by edge leaves nothing open: a rule refuses all, a route without its filter too.
func TestPlan_closesWhatIsWrong(t *testing.T) {
	p := &plan.Plan{Program: "nginx", File: "f"}
	at := plan.Place{File: "f", Line: 7}
	p.Add("[[listeners]]", at).Set("listen", `":8080"`, at)
	wrong := p.Add("[[rules]]", at)
	wrong.Set("when", `"path =="`, at)
	wrong.Set("deny", `true`, at)
	status := p.Add("[[rules]]", at)
	status.Set("when", `"path == '/a'"`, at)
	status.Set("deny", `99`, at)
	field := p.Add("[[rules]]", at)
	field.Set("when", `"path == '/b'"`, at)
	field.Set("headers.request", `{ "no name" = "x" }`, at)
	p.Add("[filters.f]", at).Set("type", `"none such"`, at)
	guarded := p.Add("[[routes]]", at)
	guarded.Set("path", `"/g"`, at)
	guarded.Set("when", `"method == 'GET'"`, at)
	guarded.Set("dest", `"http://127.0.0.1:3000"`, at)
	guarded.Set("filters", `["f"]`, at)
	text := string(p.Text(plan.TextOnly))
	if got := strings.Count(text, "deny = true"); got != 2 || strings.Contains(text, "path ==\"") ||
		strings.Contains(text, "/b") || !strings.Contains(text, "when = \"path == '/a'\"") {
		t.Errorf("%d rules refuse all:\n%s", got, text)
	}
	if strings.Contains(text, "filters") || strings.Contains(text, "3000") ||
		!strings.Contains(text, "when = \"method == 'GET'\"\ndest = \"status:403\"") {
		t.Errorf("%s", text)
	}
	if p.Losses() < 5 {
		t.Errorf("%d losses: %v", p.Losses(), p.Findings())
	}
}

// Rules of a route that edge refuses are not those of the route before it.
func TestPlan_leavesOutRulesWithTheirRoute(t *testing.T) {
	p := &plan.Plan{Program: "nginx", File: "f"}
	at := plan.Place{File: "f", Line: 7}
	p.Add("[[listeners]]", at).Set("listen", `":8080"`, at)
	for _, path := range []string{`"/a"`, `"//wrong*/"`} {
		route := p.Add("[[routes]]", at)
		route.Set("path", path, at)
		route.Set("dest", `"status:200"`, at)
	}
	p.Add("[[routes.rules]]", at).Set("deny", `true`, at)
	text := string(p.Text(plan.TextOnly))
	if strings.Contains(text, "deny") || !strings.Contains(text, `"/a"`) || p.Losses() != 2 {
		t.Errorf("%s\n%v", text, p.Findings())
	}
}

// An error that names no line of the result ends the check too: blocks go, the last one first.
func TestText_endsWhereAnErrorHasNoLine(t *testing.T) {
	p := &plan.Plan{Program: "x", File: "f"}
	p.Add("[[routes]]", plan.Place{File: "f", Line: 1}).Set("path", plan.String("/a"), plan.Place{})
	text := p.Text(func([]byte) *config.Report {
		report := plan.TextOnly(nil)
		report.Errors = append(report.Errors, config.Problem{Message: "wrong"})
		return report
	})
	if strings.Contains(string(text), "routes") || p.Losses() != 1 {
		t.Errorf("%s\n%v", text, p.Findings())
	}
}

// No value of a unit that edge does not know is written.
func TestPut_findsWrongValues(t *testing.T) {
	p := &plan.Plan{}
	b := p.Block("[global]")
	w := plan.Word{Key: "grace_period", Unit: plan.Seconds}
	if p.Put(b, w, "soon", plan.Place{}, "a line") || b.Has("grace_period") {
		t.Error("it is written")
	}
	if p.Losses() != 1 {
		t.Error(p.Findings())
	}
}

// Files are read up to a limit of all their bytes and of their number.
func TestReader_limits(t *testing.T) {
	large := fstest.MapFS{"f": {Data: make([]byte, 33<<20)}}
	r := &plan.Reader{Files: large}
	if _, err := r.Read("f"); err != nil {
		t.Error(err)
	}
	if _, err := r.Read("f"); err == nil {
		t.Error("66 MiB are read")
	}
	r = &plan.Reader{Files: fstest.MapFS{"f": {}}}
	for range 4096 {
		if _, err := r.Read("f"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Read("f"); err == nil {
		t.Error("4097 files are read")
	}
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, make([]byte, 65<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Dir(file)} {
		if _, err := new(plan.Reader).Read(path); err == nil {
			t.Error(path, "is read")
		}
	}
}

// What the language has no text for is unknown, and so is all that more ways lead to than routes are written for.
func TestCond_whatTheLanguageLacks(t *testing.T) {
	const all = "'`\""
	for name, c := range map[string]*plan.Cond{"control": plan.Compare("x", "==", "a\nb"),
		"quotes": plan.Compare("x", "==", all), "path": plan.PathIs("/" + all)} {
		if c != plan.Unknown {
			t.Errorf("%s: %v", name, c)
		}
	}
	var paths []*plan.Cond
	for i := range 30 {
		paths = append(paths, plan.All(plan.PathIs(fmt.Sprint("/", i)), plan.HostIs(fmt.Sprint(i, ".test"))))
	}
	p := &plan.Plan{}
	to := &plan.Target{End: plan.Dest("http://127.0.0.1:1"), Keys: []plan.Setting{{Name: "websocket", Value: "false"}}}
	p.Write([]*plan.Site{{Branches: []plan.Branch{{When: plan.Any(paths...), To: to}}}})
	if text := string(p.Text(plan.TextOnly)); strings.Count(text, "[[r") != 2 {
		t.Error(text)
	}
}

// Requests that no route takes would go to an upstream called default.
func TestNamed_isNotDefault(t *testing.T) {
	p := &plan.Plan{}
	if name := p.Named("upstreams", "default", nil); name != "default-2" {
		t.Error(name)
	}
}
