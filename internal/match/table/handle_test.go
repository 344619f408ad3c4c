package table

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func has(l *List, a string) bool { return l.HasAddr(netip.MustParseAddr(a)) }

func TestHandle_swapsWhenCommitted(t *testing.T) {
	l := NewList("x", Options{})
	if has(l, "10.0.0.1") || l.HasText(nil) || l.HasAddr(netip.Addr{}) || !l.Stats().Built.IsZero() {
		t.Error("a new list has something")
	}
	u, err := l.Prepare(Source{Inline: []Entry{{Key: "10.0.0.0/8"}}})
	if err != nil || !u.Changed || has(l, "10.0.0.1") {
		t.Fatalf("prepared: %v, %v", u, err)
	}
	u.Commit()
	if !has(l, "10.0.0.1") || !has(l, "::ffff:10.0.0.1") {
		t.Error("it does not have what was committed")
	}
	if s := l.Stats(); s.Entries != 1 || s.Bytes == 0 || s.Built.IsZero() {
		t.Errorf("committed: %+v", s)
	}
	if l.HasAddr(netip.Addr{}) || has(l, "fe80::1%a-long-name-of-an-interface") {
		t.Error("it has what it cannot have")
	}
	again, err := l.Prepare(Source{Inline: []Entry{{Key: "10.0.0.0/8"}}})
	if err != nil || again.Changed {
		t.Errorf("the same again: %+v, %v", again, err)
	}
	other := load(t, l, Source{Inline: []Entry{{Key: "::1"}}})
	again.Commit() // an older one, of which nothing was built
	u.Commit()     // it was committed before
	if !other.Changed || !has(l, "10.0.0.1") || has(l, "::1") {
		t.Error("the last commit does not count")
	}
}

// replace writes a file as an operator should: a new one, renamed.
func replace(t *testing.T, path, text string) {
	t.Helper()
	next := filepath.Join(filepath.Dir(path), "next")
	if err := errors.Join(os.WriteFile(next, []byte(text), 0o600), os.Rename(next, path)); err != nil {
		t.Fatal(err)
	}
}

func TestHandle_refreshes(t *testing.T) {
	l := NewList("x", Options{})
	if u, err := l.Refresh(); err != nil || u.Changed {
		t.Errorf("no source: %v, %v", u, err)
	}
	path := write(t, []byte("10.0.0.1\n"))
	load(t, l, Source{File: path, Inline: []Entry{{Key: "::7"}}})
	refresh := func(want bool) {
		t.Helper()
		if u, err := l.Refresh(); err != nil || u.Changed != want {
			t.Fatalf("changed is %v, not %v: %v", u.Changed, want, err)
		}
	}
	refresh(false)
	replace(t, path, "10.0.0.2\n")
	refresh(true)
	if has(l, "10.0.0.1") || !has(l, "10.0.0.2") || !has(l, "::7") {
		t.Error("the content is not that of the file")
	}
	built := l.Stats().Built
	replace(t, path, "10.0.0.2\n") // another file, the same content
	refresh(false)
	if l.Stats().Built != built {
		t.Error("the same content was built again")
	}
	replace(t, path, "10.0.0.3\nwrong\n")
	if _, err := l.Refresh(); err == nil || !strings.Contains(err.Error(), path+":2:1: ") || !has(l, "10.0.0.2") {
		t.Errorf("a wrong file: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Refresh(); !errors.Is(err, fs.ErrNotExist) || !has(l, "10.0.0.2") {
		t.Errorf("no file: %v", err)
	}
	replace(t, path, "# none\n")
	refresh(false) // somebody may be about to write more
	u, err := l.Refresh()
	want := "list x: " + path + " has no entries"
	if err != nil || fmt.Sprint(u.Notes) != "["+want+"]" || has(l, "10.0.0.2") {
		t.Errorf("an empty file: %v, %v", u, err)
	}
}

// A file that is empty, or has lost half of its entries, for a moment takes nothing away from a list.
func TestHandle_looksTwiceAtWhatShrinks(t *testing.T) {
	l := NewList("x", Options{})
	const full = "10.0.0.1\n10.0.0.2\n10.0.0.3\n10.0.0.4\n"
	path := write(t, []byte(full))
	load(t, l, Source{File: path})
	for _, step := range []struct {
		text    string
		changed bool
		entries int
	}{
		{"", false, 4}, {full, false, 4}, // the writer is done
		{"", false, 4}, {"10.0.0.1\n", false, 4}, {"", false, 4}, // it is not
		{full + "10.0.0.5\n", true, 5},
		{full, true, 4}, {"10.0.0.1\n10.0.0.2\n10.0.0.3\n", true, 3},
		{"10.0.0.1\n", false, 3}, {"10.0.0.1\n", true, 1},
		{"", false, 1}, {"", true, 0}, {full, true, 4},
	} {
		replace(t, path, step.text)
		if u, err := l.Refresh(); err != nil || u.Changed != step.changed || l.Stats().Entries != step.entries {
			t.Errorf("%q: %v, changed %v, %d entries", step.text, err, u.Changed, l.Stats().Entries)
		}
	}
}

// A reload reads a file, a Refresh reads it after it has changed, and then the reload takes effect: what is newer
// stays. A reload that names another source has its way.
func TestHandle_overtakenByARefresh(t *testing.T) {
	l := NewList("x", Options{})
	path := write(t, []byte("10.0.0.1\n"))
	load(t, l, Source{File: path})
	prepare := func(s Source) *Update {
		t.Helper()
		u, err := l.Prepare(s)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	refreshTo := func(text string) {
		t.Helper()
		replace(t, path, text)
		if u, err := l.Refresh(); err != nil || !u.Changed {
			t.Fatal(u, err)
		}
	}
	for _, c := range []struct {
		reload      Source
		first, then string // of the file
		want        string
	}{
		{Source{File: path}, "10.0.0.1\n", "10.0.0.2\n", "10.0.0.2"}, // nothing had changed before
		{Source{File: path}, "10.0.0.3\n", "10.0.0.4\n", "10.0.0.4"}, // it had
		{Source{Inline: []Entry{{Key: "10.0.0.5"}}}, "10.0.0.6\n", "10.0.0.7\n", "10.0.0.5"},
	} {
		replace(t, path, c.first)
		u := prepare(c.reload)
		refreshTo(c.then)
		u.Commit()
		if !has(l, c.want) || l.Stats().Entries != 1 {
			t.Errorf("%s is not the content", c.want)
		}
		prepare(Source{File: path}).Commit()
	}
}

// A file is not read when its times tell that it has not changed: here it could not be.
func TestHandle_trustsOldTimes(t *testing.T) {
	l := NewList("x", Options{})
	path := write(t, []byte("10.0.0.1\n"))
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	load(t, l, Source{File: path})
	was := l.origin.sum
	l.origin.sum[0]++ // a second build would be seen
	if u, err := l.Refresh(); err != nil || u.Changed {
		t.Errorf("unchanged: %v, %v", u, err)
	}
	l.origin.sum = was
	if err := os.WriteFile(path, []byte("10.0.0.2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	if u, err := l.Refresh(); err != nil || !u.Changed || !has(l, "10.0.0.2") {
		t.Errorf("times that were set: %v, %v", u, err)
	}
}

func TestPrepare_keepsBounds(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	path := write(t, []byte("10.0.0.1\n10.0.0.2\n10.0.0.3\n"))
	for _, c := range []struct {
		opts   Options
		source Source
		want   string
	}{
		{Options{FileMax: 26}, Source{File: path}, "it has 27 bytes: no more than 26 bytes are possible"},
		{Options{FileMax: 27}, Source{File: path}, ""},
		{Options{FileMax: 27}, Source{File: path, Inline: []Entry{{Key: "::1"}}},
			"30 bytes of entries: no more than 27 bytes are possible"},
		{Options{EntriesMax: 2}, Source{File: path}, "3 entries: no more than 2 are possible"},
		{Options{MemoryMax: 100}, Source{File: path},
			"3 entries need up to 147 bytes while they are built: no more than 100 bytes are possible"},
		{Options{Budget: NewBudget(100)}, Source{File: path}, "the memory for tables is used up"},
		{Options{}, Source{File: pipe}, "it is no regular file"},
		{Options{}, Source{File: dir}, "it is no regular file"},
		{Options{}, Source{File: "/proc/self/status"}, "it changes while it is read: write a new file and rename it"},
		{Options{Keys: Texts}, Source{Inline: []Entry{{Key: strings.Repeat("x", 65536)}}},
			"a text of 65536 bytes: no more than 65535 are possible"},
	} {
		_, err := NewList("x", c.opts).Prepare(c.source)
		if (err == nil) != (c.want == "") || err != nil && !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %s", c.opts, err, c.want)
		}
		if b := c.opts.Budget; b != nil && b.used.Load() != 0 {
			t.Errorf("%d bytes of the budget are used by nobody", b.used.Load())
		}
	}
}

// The estimate is what a build takes at most, and not many times as much.
func TestSizes_total(t *testing.T) {
	const n = 20_000
	var texts bytes.Buffer
	for i := range n {
		fmt.Fprintf(&texts, "key%d value%d\n", i, i)
	}
	for _, c := range []struct {
		name  string
		keys  Keys
		pairs bool
		text  []byte
	}{
		{"IPv4", Addresses, false, prefixes(n, false)},
		{"IPv6", Addresses, false, prefixes(n, true)},
		{"map of IPv4", Addresses, true, bytes.ReplaceAll(prefixes(n, false), []byte("\n"), []byte(" x\n"))},
		{"texts", Texts, false, texts.Bytes()},
		{"map of texts", Texts, true, texts.Bytes()},
	} {
		h := &handle{}
		h.init("x", Options{Keys: c.keys}, c.pairs)
		scratch := &memory{}
		b := &builder{handle: h, content: &content{text: c.text}, owner: &memory{}, scratch: scratch}
		need := b.count().total(c.keys, c.pairs)
		if _, err := b.run(); err != nil && c.name != "map of IPv4" { // it has prefixes twice, with one value
			t.Fatal(err)
		}
		took := b.owner.bytes + scratch.bytes + int64(len(c.text))
		if took > need+need/8 || took < need/3 {
			t.Errorf("%s: %d bytes are estimated, %d are taken", c.name, need, took)
		}
		b.owner.free()
		scratch.free()
	}
}

// Nobody can read what is unmapped: readers go on while generations come and go, in memory that the kernel takes back.
func TestHandle_readersSurviveSwaps(t *testing.T) {
	budget := NewBudget(64 << 20)
	l := NewList("l", Options{Budget: budget})
	m := NewMap("m", Options{Keys: Texts, Budget: budget})
	var pairs bytes.Buffer
	n, rounds := 5000, 3
	if os.Getenv("EDGE_SOAK") != "" {
		n, rounds = 100_000, 50
	}
	for i := range n {
		fmt.Fprintf(&pairs, "key%d value%d\n", i, i)
	}
	all := prefixes(n, true)
	path, of := write(t, append(all, "192.0.2.0/24\n"...)), write(t, pairs.Bytes())
	load(t, l, Source{File: path})
	load(t, m, Source{File: of})
	var wg sync.WaitGroup
	var stop atomic.Bool
	for range 2 {
		wg.Go(func() {
			a := netip.MustParseAddr("192.0.2.7")
			key := []byte("key4999")
			var kept []byte
			for !stop.Load() {
				v, ok := m.Text(key)
				if !l.HasAddr(a) || !ok || string(v) != "value4999" || kept != nil && string(kept) != "value4999" {
					t.Error("a reader does not find what is in all generations")
					return
				}
				kept = v
				runtime.Gosched()
			}
		})
	}
	for i := range rounds {
		more := []Entry{{Key: fmt.Sprintf("10.0.0.%d", i), Value: "x"}}
		load(t, l, Source{File: path, Inline: more})
		load(t, m, Source{File: of, Inline: more})
		runtime.GC()
	}
	stop.Store(true)
	wg.Wait()
	if n := len(l.alive) + len(m.alive); n > 6 {
		t.Errorf("%d generations are still mapped", n)
	}
}

// What a reader has loaded is not unmapped, however often garbage is collected; what it has got of it stays valid after
// that, too.
func TestHandle_unmapsNothingThatIsRead(t *testing.T) {
	m := NewMap("m", Options{Keys: Texts})
	var text bytes.Buffer
	for i := range 10_000 {
		fmt.Fprintf(&text, "key%d value%d\n", i, i)
	}
	load(t, m, Source{File: write(t, text.Bytes())})
	value, _ := m.Text([]byte("key77"))
	old := m.current.Load()
	of := old.memory
	load(t, m, Source{Inline: []Entry{{"a", "b"}}})
	for range 5 {
		runtime.GC()
	}
	if of.freed.Load() || !of.isMapped() {
		t.Fatal("a generation is unmapped that a reader has")
	}
	if again, ok := old.value(old.texts.ref([]byte("key77"))); !ok || string(again) != "value77" {
		t.Errorf("%q, %v", again, ok)
	}
	testutil.Eventually(t, testutil.Patience, func() bool { runtime.GC(); return of.freed.Load() }, "it is unmapped")
	if string(value) != "value77" {
		t.Errorf("the value is %q after its table was unmapped", value)
	}
}

// A build leaves next to nothing to the garbage collector, in which the processor would help while it allocates.
func TestPrepare_allocatesOutsideOfTheHeap(t *testing.T) {
	for _, keys := range []Keys{Addresses, Texts} {
		l := NewList("l", Options{Keys: keys})
		path := write(t, prefixes(5000, true))
		n := 0
		if got := testutil.Allocs(3, func() {
			n++
			load(t, l, Source{File: path, Inline: []Entry{{Key: fmt.Sprint("::", n)}}})
		}); got > 150 {
			t.Errorf("%v: %v allocations for 5000 entries", keys, got)
		}
	}
}

// What nobody refers to goes back to the kernel, and its bytes to the budget.
func TestHandle_givesMemoryBack(t *testing.T) {
	budget := NewBudget(64 << 20)
	func() {
		l := NewList("l", Options{Budget: budget})
		u := load(t, l, Source{File: write(t, prefixes(20_000, false))})
		if budget.used.Load() != u.Stats.Bytes || !l.current.Load().memory.isMapped() {
			t.Errorf("%d bytes are used, not %d", budget.used.Load(), u.Stats.Bytes)
		}
	}()
	testutil.Eventually(t, testutil.Patience, func() bool {
		runtime.GC()
		return budget.used.Load() == 0
	}, "0 bytes are used")
}

func TestTables_lookUpsDoNotAllocate(t *testing.T) {
	l, m := NewList("l", Options{}), NewMap("m", Options{})
	lt, mt := NewList("l", Options{Keys: Texts}), NewMap("m", Options{Keys: Texts})
	for _, l := range []loader{l, m, lt, mt} {
		load(t, l, Source{Inline: []Entry{{"10.0.0.0/8", "a"}, {"2001:db8::/32", "b"}, {"10.1.0.0/16", "c"}}})
	}
	v4, v6, key := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1%eth0"), []byte("10.0.0.0/8")
	if n := testutil.Allocs(100, func() {
		_, a := m.Addr(v4)
		_, b := m.Addr(v6)
		_, c := mt.Text(key)
		if !l.HasAddr(v4) || !l.HasAddr(v6) || !lt.HasText(key) || !a || !b || !c {
			t.Error("a key is not there")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
