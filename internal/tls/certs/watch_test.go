package certs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func rename(t *testing.T, from, to string) {
	t.Helper()
	testutil.Must(t, os.Rename(from, to))
}

func TestSet_looks(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	f := issue(t, ca, dir, "a", "old.example.org")
	s := newSet(t, nil, []Files{f, issue(t, ca, dir, "b", "default.example.org")})
	look := func(want int) []Change {
		t.Helper()
		changes := s.Look(time.Now())
		if len(changes) != want {
			t.Fatalf("%d changes, want %d: %v", len(changes), want, changes)
		}
		return changes
	}
	all := s.Chooser("", 0)
	look(0)
	issue(t, ca, dir, "a", "new.example.org")
	if c := look(1)[0]; c.Err != nil || c.Now.Subject() != "CN=new.example.org" {
		t.Errorf("%+v", c)
	}
	look(0)
	if got := chosen(t, all, "new.example.org"); got != "new.example.org" {
		t.Errorf("the new name gets %s", got)
	}
	// A certificate without its key does not fit: the old pair stays, and the second look reports it once.
	ca.IssueTo(t, dir, "next", nil, "next.example.org")
	rename(t, filepath.Join(dir, "next.pem"), f.Cert)
	look(0)
	var wrong *Mismatch
	if c := look(1)[0]; !errors.As(c.Err, &wrong) || c.Now.Subject() != "CN=new.example.org" {
		t.Errorf("%+v", c)
	}
	look(0)
	if got := chosen(t, all, "new.example.org"); got != "new.example.org" {
		t.Errorf("a wrong pair took over: %s", got)
	}
	rename(t, filepath.Join(dir, "next.key"), f.Key)
	if c := look(1)[0]; c.Err != nil || c.Now.Subject() != "CN=next.example.org" {
		t.Errorf("%+v", c)
	}
	testutil.Must(t, os.Remove(f.Key))
	look(0)
	if c := look(1)[0]; c.Err == nil {
		t.Errorf("a key that is gone: %+v", c)
	}
}

// Kubernetes swaps a link to a folder: the paths of the files stay what they are.
func TestSet_seesALinkSwapped(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	for _, version := range []string{"v1", "v2"} {
		testutil.Must(t, os.Mkdir(filepath.Join(dir, version), 0o755))
		issue(t, ca, filepath.Join(dir, version), "tls", version+".example.org")
	}
	link := filepath.Join(dir, "data")
	testutil.Must(t, os.Symlink("v1", link))
	s := newSet(t, nil, []Files{{Cert: filepath.Join(link, "tls.pem"), Key: filepath.Join(link, "tls.key")}})
	testutil.Must(t, os.Symlink("v2", link+".next"))
	rename(t, link+".next", link)
	if changes := s.Look(time.Now()); len(changes) != 1 || changes[0].Now.Subject() != "CN=v2.example.org" {
		t.Errorf("%+v", changes)
	}
}

// Unchanged pairs are taken over, changed ones are read.
func TestNewSet_takesOver(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	a, b := issue(t, ca, dir, "a", "a.example.org"), issue(t, ca, dir, "b", "b.example.org")
	old := newSet(t, nil, []Files{a, b})
	issue(t, ca, dir, "b", "b2.example.org")
	next := newSet(t, old, []Files{b}, []Files{a, a})
	if next.Chooser("", 1).groups[0].pairs[0] != old.groups[0].pairs[0] {
		t.Error("an unchanged pair was read again")
	}
	if got := chosen(t, next.Chooser("", 0), ""); got != "b2.example.org" {
		t.Errorf("a changed pair was not: %s", got)
	}
	if got := chosen(t, old.Chooser("", 0), "b.example.org"); got != "b.example.org" {
		t.Errorf("the old set was changed: %s", got)
	}
	if _, err := NewSet(old, []Files{{Cert: "/none"}, {Cert: "/neither"}}); err == nil {
		t.Error("missing files are no error")
	}
}

// While a configuration is applied the set before goes on looking. What it swaps is found by its new names later, too.
func TestNewSet_swappedMeanwhile(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	files := []Files{issue(t, ca, dir, "a", "a.example.org"), issue(t, ca, dir, "b", "old.example.org")}
	old := newSet(t, nil, files)
	next := newSet(t, old, files)
	issue(t, ca, dir, "b", "new.example.org")
	if changes := old.Look(time.Now()); len(changes) != 1 {
		t.Fatalf("%+v", changes)
	}
	next.Watch(time.Hour, func(Change) {})
	defer next.Stop()
	if got := chosen(t, next.Chooser("", 0), "new.example.org"); got != "new.example.org" {
		t.Errorf("got %s", got)
	}
}

func TestSet_watches(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	f := issue(t, ca, dir, "a", "old.example.org")
	testutil.Bubble(t, func(t *testing.T) {
		s := newSet(t, nil, []Files{f})
		s.Stop()
		told := make(chan Change, 8)
		s.Watch(2*time.Second, func(c Change) { told <- c })
		issue(t, ca, dir, "a", "new.example.org")
		if c := <-told; c.Now.Subject() != "CN=new.example.org" {
			t.Errorf("%+v", c)
		}
		s.Stop()
		s.Stop()
	})
}

func TestTickets_rotateByThemselves(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		tickets := NewTickets(nil, nil)
		first := tickets.Keys()[0]
		tickets.Every(time.Hour)
		time.Sleep(3*time.Hour - time.Minute) // synctest's clock
		if keys := tickets.Keys(); len(keys) != 3 || keys[2] != first {
			t.Errorf("%d keys after two rotations", len(keys))
		}
		tickets.Stop()
		tickets.Stop()
		time.Sleep(24 * time.Hour)
		if keys := tickets.Keys(); keys[2] != first {
			t.Error("it rotates after Stop")
		}
	})
}

// Where there are no files, no timer wakes the process.
func TestWatch_nothing(t *testing.T) {
	s := newSet(t, nil)
	if s.Watch(time.Hour, nil); s.stop != nil {
		t.Error("a set without certificates is watched")
	}
	s.Stop()
	testutil.Bubble(t, func(t *testing.T) {
		f := Follow(time.Second, nil)
		f.Stop() // the test takes the place of its goroutine
		for _, used := range []Stamps{nil, {"file": {}}, {}} {
			f.Use(used)
			ticked := false
			select {
			case <-f.ticks.C:
				ticked = true
			case <-time.After(time.Hour):
			}
			if ticked != (len(used) > 0) {
				t.Errorf("%d files: it ticks: %v", len(used), ticked)
			}
		}
	})
}
