package language

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// next returns the next change that a Follower tells.
func next(t *testing.T, told <-chan Change) Change {
	t.Helper()
	select {
	case c := <-told:
		return c
	case <-time.After(20 * time.Second):
		t.Fatal("nothing is told")
	}
	panic("unreachable")
}

// A changed file takes effect; a wrong one is told once, and what was there stays.
func TestFollower_refreshesFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "list.txt")
	write(t, file, "10.0.0.0/8\n")
	l := read(t, "[lists.net]\nrefresh = '100ms'\nfile = '"+file+"'\n"+
		"[lists.still]\nvalues = '10.0.0.1'\nrefresh = '100ms'\n", Options{Open: true, Tables: NewTables()})
	l.Commit()
	told := make(chan Change, 100)
	f := Follow(func(c Change) { told <- c })
	defer f.Stop()
	f.Use(l)

	write(t, file, "192.0.2.0/24\n10.0.0.0/8\n")
	if c := next(t, told); c.Err != nil || c.Entries != 2 || c.Name != "net" || c.Kind != "list" || c.File != file {
		t.Fatalf("told %+v", c)
	}
	if !holds(t, l, "192.0.2.1", "", "ip in list.net") {
		t.Error("the condition does not see it")
	}

	write(t, file, "nonsense\nmore\n")
	c := next(t, told)
	if c.Err == nil || !strings.Contains(c.Err.Error(), file+":1:1: ") || c.More != 1 {
		t.Fatalf("told %+v", c)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if c := next(t, told); c.Err == nil || !strings.Contains(c.Err.Error(), "no such file") {
		t.Fatalf("told %+v", c)
	}
	if !holds(t, l, "192.0.2.1", "", "ip in list.net") {
		t.Error("what was there does not stay")
	}

	write(t, file, "192.0.2.0/24\n10.0.0.0/8\n")
	if c := next(t, told); c.Err != nil || c.Entries != 2 {
		t.Fatalf("told %+v", c)
	}
	f.Use(nil)
	f.Stop()
	if next := f.look(time.Now().Add(time.Hour)); next != 0 {
		t.Errorf("without tables it looks again in %v", next)
	}
}
