package packaging

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// The heading at the top of CHANGELOG.md is the one place that names the version; the chart and the manifests, which
// are used without make, repeat it.
func TestVersion_isThatOfTheChangelog(t *testing.T) {
	heading := regexp.MustCompile(`(?m)^## \[(\d+\.\d+\.\d+)\] - (unreleased|\d{4}-\d\d-\d\d)$`)
	m := heading.FindStringSubmatch(read(t, "../CHANGELOG.md"))
	if m == nil {
		t.Fatalf("CHANGELOG.md has no heading %v", heading)
	}
	want := m[1]
	if m[2] == "unreleased" {
		want += "-dev"
	}
	for target, has := range map[string]string{"bin/edge": "version=" + want + " ", "dist": "-version '" + want + "'"} {
		out, err := exec.Command("make", "-C", "..", "-n", target).CombinedOutput()
		if err != nil || !strings.Contains(string(out), has) {
			t.Errorf("make %s has no %q: %v\n%s", target, has, err, out)
		}
	}
	for file, line := range map[string]string{
		"helm/edge/Chart.yaml": "version: " + m[1], "kubernetes/edge.yaml": `app.kubernetes.io/version: "` + m[1] + `"`,
	} {
		if !strings.Contains(read(t, file), line) {
			t.Errorf("%s has no line %s", file, line)
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
