package lint

import (
	"strings"
	"testing"
)

// TestAllow fails for each exception that is malformed or that nothing needs.
func TestAllow(t *testing.T) {
	all, err := findings()
	if err != nil {
		t.Fatal(err)
	}
	var found []finding
	for _, r := range rules {
		found = append(found, all[r.name]...)
	}
	for _, f := range unused(found, exceptions(t)) {
		t.Error(f)
	}
}

func TestAllow_coversWhatItNames(t *testing.T) {
	found := []finding{
		{rule: "go", path: "engine/a.go", symbol: "run"},
		{rule: "go", path: "engine/a.go", symbol: "stop"},
		{rule: "go", path: "engine/b.go", symbol: "run"},
		{rule: "clock", path: "engine/a.go", symbol: "run"},
		{rule: "go", path: "observe/a.go", symbol: "drain"},
	}
	list, wrong := parseAllow([]byte("# remark\n\n" +
		"go engine/a.go:run one per reactor\n" +
		"go observe/ the one writer\n" +
		"doc engine/a.go nothing needs this\n"))
	if len(wrong) != 0 || len(list) != 3 {
		t.Fatalf("read %v, wrong %v", list, wrong)
	}
	left := remaining(found, list)
	if len(left) != 3 || left[0] != found[1] || left[1] != found[2] || left[2] != found[3] {
		t.Errorf("remaining: %v", left)
	}
	if idle := unused(found, list); len(idle) != 1 || idle[0].line != 5 {
		t.Errorf("unused: %v", idle)
	}
}

func TestAllow_wantsAReason(t *testing.T) {
	list, wrong := parseAllow([]byte("go engine/a.go:run\nno-such-rule a.go because of this\n" +
		"go engine/a.go one per reactor\ngo engine/a.go one per reactor\n"))
	if len(list) != 1 || len(wrong) != 3 {
		t.Fatalf("read %v, wrong %v", list, wrong)
	}
	for i, part := range []string{"reason", "no rule", "twice"} {
		if !strings.Contains(wrong[i].says, part) {
			t.Errorf("finding %d says %q, want %q in it", i, wrong[i].says, part)
		}
	}
}
