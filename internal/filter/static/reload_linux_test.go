package static_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/filter/static"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// Destinations of one folder that reloads make one after the other hold each of its files once.
func TestStatic_reloadsHoldEachFileOnce(t *testing.T) {
	const files, reloads = 5, 20
	all := make(map[string]string)
	for i := range files {
		all[fmt.Sprint(i)] = strings.Repeat("x", 5000) // more than is held in memory
	}
	dir := site(t, all)
	for range reloads {
		url, plain := both(t, &static.Config{Root: dir})
		for name := range all {
			age(t, url, plain, "/"+name) // then the file is held
		}
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return openBelow(t, dir) == files },
		"each of the %d files is open once", files)
}

// Another configuration of a folder, and another folder of the same name, have files of their own.
func TestStatic_reloadsWithAnotherMeaningShareNothing(t *testing.T) {
	dir := site(t, map[string]string{"a": "before"})
	url, plain := both(t, &static.Config{Root: dir, CacheControl: map[string]string{"*": "no-store"}})
	age(t, url, plain, "/a")
	url, plain = both(t, &static.Config{Root: dir})
	age(t, url, plain, "/a")
	if resp, _ := ask(t, url, "GET", "/plain/a"); resp.Header.Get("Cache-Control") != "" {
		t.Errorf("Cache-Control of the configuration before: %q", resp.Header.Get("Cache-Control"))
	}
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(site(t, map[string]string{"a": "after"}), dir); err != nil {
		t.Fatal(err)
	}
	url, _ = both(t, &static.Config{Root: dir})
	if _, body := ask(t, url, "GET", "/plain/a"); body != "after" {
		t.Errorf("the file of the folder before: %q", body)
	}
}

// openBelow returns how many descriptors of the process are of files below dir.
func openBelow(t *testing.T, dir string) (n int) {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range list {
		to, _ := os.Readlink(filepath.Join("/proc/self/fd", fd.Name()))
		if strings.HasPrefix(to, dir+"/") {
			n++
		}
	}
	return n
}
