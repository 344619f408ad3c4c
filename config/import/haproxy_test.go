package importer_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

// leftOutHAProxy are lines that HAProxy does not start with on this machine.
var leftOutHAProxy = regexp.MustCompile(`(?m)^\s*(user haproxy|group|chroot|daemon|errorfile|stats socket|log)\b.*$`)

// Every file of testdata/haproxy does here what HAProxy does with it, but for what its golden file lists.
func TestHAProxy_answersAreTheSame(t *testing.T) {
	binary, err := exec.LookPath("haproxy")
	if err != nil {
		if binary, err = exec.LookPath("/usr/sbin/haproxy"); err != nil {
			t.Skip("haproxy is not installed")
		}
	}
	compare(t, &dialect{
		program: "haproxy", pattern: "[0-9]*.cfg",
		listen:  regexp.MustCompile(`\bbind\s+(?:\*|[\d.]*):(\d+)`),
		backend: regexp.MustCompile(`\bserver\s+\S+\s+([\d.]+:\d+)`),
		files:   regexp.MustCompile(`\bcrt\s+(\S+)`),
		paths:   regexp.MustCompile(`\bpath(?:_beg)?\s+(/\S*)`),
		hosts:   regexp.MustCompile(`hdr(?:_end)?\(host\)\s+-i\s+([^}\n]*[^}\s])`),
		start: func(t *testing.T, dir, text string) {
			path := filepath.Join(dir, "main.cfg")
			text = leftOutHAProxy.ReplaceAllString(text, "")
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			testutil.Start(t, testutil.Command{Path: binary, Dir: dir, Args: []string{"-db", "-f", path}})
		},
	})
}
