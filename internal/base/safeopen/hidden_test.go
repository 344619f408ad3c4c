package safeopen

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// What processes have left that were killed is removed, and nothing else.
func TestRemoveHidden(t *testing.T) {
	ended := exec.Command("true")
	testutil.Must(t, ended.Run())
	dead, parent := strconv.Itoa(ended.ProcessState.Pid()), strconv.Itoa(os.Getppid())
	dir := t.TempDir()
	path := filepath.Join(dir, "edge.pid")
	stay := []string{".edge.pid." + parent, ".edge.pid.+" + dead, ".edge.pid.old", ".other." + dead, "edge.pid"}
	for _, name := range append(stay, ".edge.pid."+dead, filepath.Base(Hidden(path))) {
		testutil.Must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	RemoveHidden(path)
	list, err := os.ReadDir(dir)
	testutil.Must(t, err)
	var left []string
	for _, e := range list {
		left = append(left, e.Name())
	}
	slices.Sort(stay)
	if !slices.Equal(left, stay) {
		t.Errorf("left are %q, not %q", left, stay)
	}
	RemoveHidden(filepath.Join(dir, "none", "x"))
}
