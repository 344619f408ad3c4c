package proxybench

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSelfOptions_placesWhatIsNotPlaced(t *testing.T) {
	for n, want := range map[int]struct {
		proxy, origin, load []int
		sharing             string
	}{
		1: {[]int{0}, []int{0}, []int{0}, "edge shares a CPU"},
		2: {[]int{1}, []int{0}, []int{0}, "load and origin share a CPU"},
		3: {[]int{2}, []int{0}, []int{1}, ""},
		4: {[]int{2, 3}, []int{0}, []int{1}, ""},
		5: {[]int{3, 4}, []int{0}, []int{1, 2}, ""},
		8: {[]int{4, 5, 6, 7}, []int{0, 1}, []int{2, 3}, ""},
	} {
		cpus := []int{0, 1, 2, 3, 4, 5, 6, 7}[:n]
		var o SelfOptions
		o.placeOn(cpus)
		if !slices.Equal(o.ProxyCPUs, want.proxy) || !slices.Equal(o.OriginCPUs, want.origin) ||
			!slices.Equal(o.LoadCPUs, want.load) {
			t.Errorf("%d CPUs: edge on %v, origin on %v, load on %v", n, o.ProxyCPUs, o.OriginCPUs, o.LoadCPUs)
		}
		notes := strings.Join(o.sharing(), "\n")
		if want.sharing == "" && notes != "" || !strings.Contains(notes, want.sharing) {
			t.Errorf("%d CPUs: %q", n, notes)
		}
	}
	o := SelfOptions{ProxyCPUs: []int{0}}
	if o.placeOn([]int{0, 1}); !slices.Equal(o.ProxyCPUs, []int{0}) || len(o.sharing()) != 2 {
		t.Errorf("%+v, %q", o, o.sharing())
	}
}

// A program that does not print its version is given up, with what it has started.
func TestVersionOf_endsWithAProgramThatHangs(t *testing.T) {
	script := filepath.Join(t.TempDir(), "hangs")
	if err := os.WriteFile(script, []byte("sleep 600\n:\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	if got := versionOf(ctx, "/bin/sh", script); got != "" || time.Since(began) > time.Minute {
		t.Errorf("%q after %v", got, time.Since(began))
	}
}
