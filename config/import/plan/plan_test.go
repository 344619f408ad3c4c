package plan_test

import (
	"strings"
	"testing"

	"github.com/edge-proxy/edge/config/import/plan"
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
