package plan_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/import/plan"
	"github.com/edge-proxy/edge/config/syntax"
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

// A listener that is to ask for certificates, and cannot, is not there: without that it would let everybody in.
func TestPlan_leavesOutListenersWithoutTheirGuards(t *testing.T) {
	p := &plan.Plan{Program: "nginx", File: "f"}
	at := plan.Place{File: "f", Line: 7}
	closed := p.Add("[[listeners]]", at)
	closed.Set("listen", `":8443"`, at)
	closed.Set("cert", `"internal"`, at)
	closed.Set("client_ca", `"/none/such.pem"`, at)
	closed.Set("client_auth", `"require"`, at)
	p.Add("[[listeners]]", at).Set("listen", `":8080"`, at)
	text := string(p.Text(func(text []byte) *config.Report {
		report := plan.TextOnly(text)
		if i := bytes.Index(text, []byte("client_ca")); i >= 0 {
			line := 1 + bytes.Count(text[:i], []byte("\n"))
			report.Errors = append(report.Errors, config.Problem{
				Pos: syntax.Pos{Line: line}, Message: "there is no such file"})
		}
		return report
	}))
	if strings.Contains(text, "8443") || !strings.Contains(text, "8080") || p.Losses() != 1 {
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
