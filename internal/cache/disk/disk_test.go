package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

const (
	sizeMin  = 64 << 20 // bytes: the least Options.Size
	slotSize = 16
)

// rig is a Store in a folder.
type rig struct {
	*Store
	t      *testing.T
	opts   Options
	purged []Purged
	last   uint64

	mu   sync.Mutex
	told []string
	fail func(call string) error
}

func begin(t *testing.T) *rig {
	r := &rig{t: t, opts: Options{Path: t.TempDir(), Size: sizeMin, Memory: 1 << 20, Seed: 7}}
	r.opts.Replay = func(all []Purged, last uint64) { r.purged, r.last = all, last }
	r.opts.Tell = func(err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.told = append(r.told, err.Error())
	}
	r.opts.fail = func(call string) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.fail == nil {
			return nil
		}
		return r.fail(call)
	}
	r.open()
	t.Cleanup(func() { r.Close() })
	return r
}

func (r *rig) open() {
	r.t.Helper()
	s, err := Open(r.opts)
	if err != nil {
		r.t.Fatal(err)
	}
	r.Store = s
}

// reopen is the next process. It returns when the index is there.
func (r *rig) reopen() {
	r.t.Helper()
	r.Close()
	r.open()
	r.index.settle(r.Store)
}

// settle makes the index, which may be under way already.
func (x *index) settle(s *Store) {
	s.ended.Add(1)
	s.recover()
}

func (r *rig) failWith(f func(call string) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = f
}

// source is a body that is there.
type source struct {
	*bytes.Reader
	closed atomic.Int32
}

func (s *source) Close() error {
	s.closed.Add(1)
	return nil
}

// recordOf and bodyOf are what the tests have under a key.
func recordOf(key string, n int) []byte { return stream(key, n) }
func bodyOf(key string, n int) []byte   { return stream("body of "+key, n) }

func stream(seed string, n int) []byte {
	var of [32]byte
	copy(of[:], seed)
	p := make([]byte, n)
	_, _ = rand.NewChaCha8(of).Read(p)
	return p
}

// put writes a record of n bytes, with a body of m bytes where that is not 0.
func (r *rig) put(key string, n, m int) {
	if m == 0 {
		r.Write([]byte(key), recordOf(key, n), 1, nil, 0)
		return
	}
	r.Write([]byte(key), recordOf(key, n), 1, &source{Reader: bytes.NewReader(bodyOf(key, m))}, int64(m))
}

// wait waits until a key is found.
func (r *rig) wait(key string) {
	r.t.Helper()
	testutil.Eventually(r.t, testutil.Patience, func() bool { return r.Has([]byte(key)) }, "%q is not found", key)
}

// get returns whether a key is found; what is found has to be right.
func (r *rig) get(key string, n, m int) bool {
	r.t.Helper()
	record, body := r.Read([]byte(key))
	if record == nil {
		return false
	}
	if !bytes.Equal(record, recordOf(key, n)) {
		r.t.Fatalf("%q: a wrong record", key)
	}
	if (body == nil) != (m == 0) {
		r.t.Fatalf("%q: a body, or none", key)
	}
	if body == nil {
		return true
	}
	defer body.Close()
	whole := bodyOf(key, m)
	fd, at := body.File()
	for from := int64(0); from < int64(m); {
		to, err := body.Load(from)
		if err != nil {
			return false
		}
		p := make([]byte, to-from)
		if n, err := unix.Pread(int(fd), p, at+from); err != nil || n != len(p) || !bytes.Equal(p, whole[from:to]) {
			r.t.Fatalf("%q: wrong bytes at %d: %v", key, from, err)
		}
		from = to
	}
	if ready := body.Ready(0); ready != 0 && ready != min(int64(m), loadMax) {
		r.t.Fatalf("%q: %d bytes are ready after all were read", key, ready)
	}
	return true
}

func TestRecords_are_found_by_the_next_process(t *testing.T) {
	r := begin(t)
	sizes := map[string][2]int{"small": {1, 0}, "empty": {0, 0}, "long": {recordMax, 0}, "body": {100, 70_000},
		"block": {100, 2 * blockSize}, "large": {5, 3<<20 + 1}, strings.Repeat("k", keyMax): {3, 0}}
	for key, n := range sizes {
		r.put(key, n[0], n[1])
	}
	r.put("twice", 4, 0)
	r.Write([]byte("twice"), recordOf("twice", 9), 2, nil, 0)
	r.Write([]byte("too long"), make([]byte, recordMax+1), 1, nil, 0)
	for round := range 3 {
		for key, n := range sizes {
			if r.wait(key); !r.get(key, n[0], n[1]) {
				t.Errorf("round %d: %.10q is lost", round, key)
			}
		}
		if r.wait("twice"); !r.get("twice", 9, 0) {
			t.Error("the last record is lost")
		}
		if r.Has([]byte("too long")) {
			t.Error("a record that is too long is there")
		}
		r.reopen()
	}
	if r.last != 2 {
		t.Errorf("the last stamp is %d", r.last)
	}
	r.Forget([]byte("small"))
	if r.Has([]byte("small")) {
		t.Error("a record is found that was forgotten")
	}
}

func TestIndex_is_a_map(t *testing.T) {
	testutil.OnlyPlain(t)
	var x index
	model := make(map[uint64]place)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 300_000 {
		hash := random.Uint64N(20_000) * 0x9e3779b97f4a7c15
		if i%3 == 0 {
			hash = random.Uint64N(500) << 32 // of one shard, and of one home
		}
		at := placeOf(uint32(1+random.Uint64N(1<<28-1)), int64(random.Uint64N(1<<atBits))*unit)
		before, there := model[hash]
		switch random.IntN(4) {
		case 0:
			x.put(hash, at, false)
			model[hash] = at
		case 1:
			if x.put(hash, at, true); !there {
				model[hash] = at
			}
		case 2:
			if uses := x.remove(hash, before); (uses >= 0) != there {
				t.Fatalf("%x: removed %d times", hash, uses)
			}
			delete(model, hash)
		default:
			if got, ok := x.get(hash); ok != there || ok && !got.same(before) {
				t.Fatalf("%x: %x, %v; want %x, %v", hash, got, ok, before, there)
			}
		}
		if there && x.remove(hash, before+1<<usesBits) >= 0 {
			t.Fatalf("%x: it was removed at another place", hash)
		}
	}
	if int(x.entries.Load()) != len(model) {
		t.Errorf("%d entries, want %d", x.entries.Load(), len(model))
	}
	for hash, at := range model {
		if got, ok := x.get(hash); !ok || !got.same(at) {
			t.Errorf("%x is lost", hash)
		}
	}
}

func TestIndex_takes_24_bytes_a_record(t *testing.T) {
	testutil.OnlyPlain(t)
	var x index
	random := rand.New(rand.NewPCG(3, 4))
	for i := range 400_000 {
		if x.put(random.Uint64(), 1<<usesBits, true); i < 50_000 || i%20_000 != 0 {
			continue
		}
		slots := 0
		for j := range x.shards {
			slots += len(x.shards[j].slots)
		}
		if bytes := slots * slotSize; bytes > int(x.entries.Load())*entryMax {
			t.Errorf("%d records take %d bytes", x.entries.Load(), bytes)
		}
	}
}

func TestPlace_has_its_parts(t *testing.T) {
	for _, c := range []struct {
		segment uint32
		at      int64
	}{{1, 0}, {1<<28 - 1, (1<<atBits - 1) * unit}, {42, 64}} {
		if p := placeOf(c.segment, c.at) + usesMax; p.segment() != c.segment || p.at() != c.at || p.uses() != usesMax {
			t.Errorf("%+v: %d, %d, %d", c, p.segment(), p.at(), p.uses())
		}
	}
}

// A bit of every byte of the files of a segment is flipped in turn: no record is ever wrong, and nothing panics.
func TestFlips_never_give_a_wrong_byte(t *testing.T) {
	r := begin(t)
	keys := map[string][2]int{"a": {40, 0}, "b": {10, 300}, "c": {90, 0}}
	for key, n := range keys {
		r.put(key, n[0], n[1])
	}
	for key := range keys {
		r.wait(key)
	}
	r.Close()
	for _, name := range []string{"00000001.seg", "00000001.idx"} {
		path := filepath.Join(r.opts.Path, name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range whole {
			if whole[i] == 0 && i%61 > 0 { // most of these are nothing
				continue
			}
			bad := slices.Clone(whole)
			bad[i] ^= 1 << (i % 8)
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			r.open()
			r.index.settle(r.Store)
			lost := 0
			for key, n := range keys {
				if !r.get(key, n[0], n[1]) {
					lost++
				}
			}
			if lost > 1 {
				t.Errorf("%s: a flip at %d loses %d records", name, i, lost)
			}
			r.Close()
			for _, more := range []string{"00000002.seg", "00000002.idx"} {
				_ = os.Remove(filepath.Join(r.opts.Path, more))
			}
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.open()
}

// Files end anywhere, as after a crash of the machine.
func TestTorn_files_lose_only_what_is_not_there(t *testing.T) {
	r := begin(t)
	var keys []string
	for i := range 20 {
		keys = append(keys, fmt.Sprint("key ", i))
		r.put(keys[i], 300, i%2*1000)
	}
	for _, key := range keys {
		r.wait(key)
	}
	r.Close()
	for _, name := range []string{"00000001.seg", "00000001.idx"} {
		path := filepath.Join(r.opts.Path, name)
		whole, _ := os.ReadFile(path)
		for size := 0; size < len(whole); size += 37 * 10 / testutil.RaceRounds(10) {
			if err := os.WriteFile(path, whole[:size], 0o600); err != nil {
				t.Fatal(err)
			}
			r.open()
			r.index.settle(r.Store)
			for i, key := range keys {
				r.get(key, 300, i%2*1000)
			}
			r.Close()
		}
		_ = os.WriteFile(path, whole, 0o600)
	}
	r.open()
}

func TestReclaim_keeps_to_the_size_and_to_what_is_asked_for(t *testing.T) {
	r := begin(t)
	r.put("hot", 100, 0)
	r.put("hot body", 100, 200_000)
	r.wait("hot body")
	written := 0
	for i := range 1200 {
		key := fmt.Sprint(i)
		testutil.Eventually(t, testutil.Patience, func() bool { return r.waits() < queueMax/2 }, "nothing is written")
		r.put(key, 100, 150_000)
		written += 150_100
		if i%100 == 0 {
			r.wait(key)
			if !r.get("hot", 100, 0) || !r.get("hot body", 100, 200_000) {
				t.Fatalf("what is asked for was removed after %d", i)
			}
		}
		if have := r.segments.bytes(); have > r.opts.Size {
			t.Fatalf("%d bytes on disk, %d allowed", have, r.opts.Size)
		}
	}
	r.wait("1199")
	if r.Has([]byte("0")) {
		t.Error("the oldest record is still there")
	}
	if got := r.Stats().Written; got > uint64(written)*12/10 {
		t.Errorf("%d bytes were written for %d", got, written)
	}
	r.reopen()
	testutil.Eventually(t, testutil.Patience, func() bool { return r.Has([]byte("hot")) }, "what was asked for is lost")
}

func TestReclaim_bounds_the_index(t *testing.T) {
	r := begin(t)
	r.Close()
	r.opts.Memory = 24 * 5000
	r.open()
	for i := range 100 {
		for j := range 400 {
			r.put(fmt.Sprint(i, j), 300, 0)
		}
		r.put(fmt.Sprint("large", i), 1, 1<<20)
		r.wait(fmt.Sprint("large", i))
	}
	if n := r.index.entries.Load(); n > 5000+3200 { // a segment goes at a time
		t.Errorf("%d records are in an index for 5000", n)
	}
}

func TestBody_outlives_its_segment_and_the_store(t *testing.T) {
	r := begin(t)
	r.put("a", 10, 500_000)
	r.wait("a")
	_, body := r.Read([]byte("a"))
	s := r.segments.all()[0]
	r.reopen()
	r.remove(s.number)
	if _, err := body.Load(0); err != nil {
		t.Error(err)
	}
	fd, at := body.File()
	p := make([]byte, 500_000)
	if _, err := unix.Pread(int(fd), p, at); err != nil || !bytes.Equal(p, bodyOf("a", 500_000)) {
		t.Errorf("wrong bytes: %v", err)
	}
	body.Close()
	if _, err := unix.Pread(int(fd), p, at); s.refs.Load() != 0 {
		t.Errorf("the file is open still: %v", err)
	}
}

func TestFailing_writes_pause(t *testing.T) {
	for _, call := range []string{"write", "write list", "make"} {
		t.Run(call, func(t *testing.T) {
			r := begin(t)
			r.failWith(func(c string) error {
				if c == call {
					return unix.EIO
				}
				return nil
			})
			body := &source{Reader: bytes.NewReader(bodyOf("a", 100_000))}
			r.Write([]byte("a"), recordOf("a", 10), 1, body, 100_000)
			testutil.Eventually(t, testutil.Patience, func() bool { return r.Stats().Paused == 1 }, "it goes on")
			r.put("b", 10, 0)
			if s := r.Stats(); s.Dropped == 0 || s.Errors != 1 || body.closed.Load() != 1 || r.Has([]byte("a")) {
				t.Errorf("%+v, closed %d times", s, body.closed.Load())
			}
			r.failWith(nil)
			r.mu.Lock()
			if len(r.told) != 1 || !strings.Contains(r.told[0], "10s") {
				t.Errorf("told %q", r.told)
			}
			r.mu.Unlock()
			r.reopen()
			if r.put("c", 10, 0); r.Has([]byte("b")) {
				t.Error("what was dropped is there")
			}
			r.wait("c")
		})
	}
}

func TestFailing_reads_are_misses(t *testing.T) {
	r := begin(t)
	r.put("a", 10, 100_000)
	r.put("b", 10, 100_000)
	r.wait("b")
	r.failWith(func(c string) error {
		if c == "read" {
			return unix.EIO
		}
		return nil
	})
	if p, _ := r.Read([]byte("a")); p != nil || r.Has([]byte("a")) || r.Stats().Errors != 1 {
		t.Error("a record that cannot be read is found")
	}
	r.failWith(func(c string) error {
		if c == "load" {
			return unix.EIO
		}
		return nil
	})
	_, body := r.Read([]byte("b"))
	if _, err := body.Load(0); !errors.Is(err, unix.EIO) || r.Has([]byte("b")) {
		t.Errorf("%v, or it is found", err)
	}
	body.Close()
}

func TestOpen_errors(t *testing.T) {
	r := begin(t)
	var locked *LockedError
	if _, err := Open(r.opts); !errors.As(err, &locked) || locked.Process != fmt.Sprint(os.Getpid()) {
		t.Errorf("a second one: %v", err)
	}
	o := r.opts
	o.Path = filepath.Join(o.Path, "none")
	if _, err := Open(o); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	o.Path = t.TempDir()
	o.Size = 1 << 60
	var space *SpaceError
	if _, err := Open(o); !errors.As(err, &space) || space.Room <= 0 {
		t.Errorf("no room: %v", err)
	}
	o.Size = sizeMin
	if err := os.WriteFile(filepath.Join(o.Path, "journal.new"), nil, 0o400); err != nil {
		t.Fatal(err)
	}
	s, err := Open(o)
	if err != nil && os.Getuid() == 0 {
		t.Fatal(err)
	} else if err == nil {
		s.Close()
	}
}

func TestPurges_are_there_when_they_are_done(t *testing.T) {
	r := begin(t)
	r.put("a", 10, 0)
	r.wait("a")
	want := []Purged{{Name: 3, Stamp: 10, Kind: 1}, {Name: 4, Stamp: 11, Kind: 2}}
	for i, p := range want {
		done := make(chan error, 1)
		r.Purge([]Purged{p}, func(err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		file, _ := os.ReadFile(filepath.Join(r.opts.Path, "journal"))
		if all, ok := parseJournal(file, r.opts.Seed); !ok || !slices.Equal(all, want[:i+1]) {
			t.Errorf("%+v, %v", all, ok)
		}
	}
	r.Purge([]Purged{{Name: 3, Stamp: 12, Kind: 1}}, nil)
	r.reopen()
	if len(r.purged) != 3 || !r.Has([]byte("a")) {
		t.Errorf("%+v is purged", r.purged)
	}
	r.reopen()
	if want = []Purged{{4, 11, 2}, {3, 12, 1}}; !slices.Equal(r.purged, want) {
		t.Errorf("%+v, want %+v", r.purged, want)
	}
	r.Store.Close()
	if r.Purge(want, nil) {
		t.Error("a closed store takes a purge")
	}
	r.open()
}

// A journal that has lost anything but its end empties the store: what was purged does not come back.
func TestDamaged_journal_empties_the_store(t *testing.T) {
	for name, damage := range map[string]func(p []byte) []byte{
		"gone":         func([]byte) []byte { return nil },
		"head":         func(p []byte) []byte { p[3] ^= 1; return p },
		"seed":         func(p []byte) []byte { p[9] ^= 1; return p },
		"first entry":  func(p []byte) []byte { p[journalHead+5] ^= 1; return p },
		"its last end": func(p []byte) []byte { return p[:len(p)-3] },
		"last entry":   func(p []byte) []byte { p[len(p)-5] ^= 1; return p },
	} {
		r := begin(t)
		r.put("a", 10, 0)
		r.wait("a")
		r.Purge([]Purged{{1, 1, 1}, {2, 2, 2}, {3, 3, 3}}, nil)
		r.Close()
		p, err := os.ReadFile(filepath.Join(r.opts.Path, "journal"))
		if err != nil || len(p) != journalHead+3*journalEntry {
			t.Fatal(len(p), err)
		}
		if p = damage(p); p == nil {
			_ = os.Remove(filepath.Join(r.opts.Path, "journal"))
		} else if err := os.WriteFile(filepath.Join(r.opts.Path, "journal"), p, 0o600); err != nil {
			t.Fatal(err)
		}
		r.open()
		r.index.settle(r.Store)
		kept := name == "its last end" || name == "last entry"
		if kept {
			r.wait("a")
		}
		if r.Has([]byte("a")) != kept || kept && len(r.purged) != 2 {
			t.Errorf("%s: found %v, %d purged", name, r.Has([]byte("a")), len(r.purged))
		}
	}
}

func TestFailing_journal_empties_the_next_store(t *testing.T) {
	r := begin(t)
	r.put("a", 10, 0)
	r.wait("a")
	r.failWith(func(c string) error {
		if c == "write journal" {
			return unix.ENOSPC
		}
		return nil
	})
	done := make(chan error, 1)
	r.Purge([]Purged{{1, 1, 1}}, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Errorf("%v, although nothing comes back", err)
	}
	if !r.Has([]byte("a")) {
		t.Error("the present process has lost a record")
	}
	r.reopen()
	if r.Has([]byte("a")) || len(r.purged) > 0 {
		t.Error("a record is there without a journal")
	}
}

func TestShorten_bounds_a_journal(t *testing.T) {
	testutil.OnlyPlain(t)
	var all []Purged
	for i := range 3 * journalKeep {
		all = append(all, Purged{Name: uint64(i % (2 * journalKeep)), Stamp: uint64(i + 1), Kind: 1})
	}
	left := shorten(all)
	last := left[len(left)-1]
	if len(left) != journalKeep+1 || last != (Purged{Stamp: 2 * journalKeep, Kind: Everything}) {
		t.Errorf("%d are left, the last one is %+v", len(left), last)
	}
	for _, p := range left[:journalKeep] {
		if p.Stamp <= last.Stamp {
			t.Fatalf("%+v is left, which the last one stands for", p)
		}
	}
}

func FuzzParse(f *testing.F) {
	h := head{hash: 1, key: 2, record: 3}
	f.Add(h.append(nil, []byte("ke"), []byte("rec")), int64(100))
	f.Add(Purged{1, 2, 3}.Append(binary.LittleEndian.AppendUint64(nil, journalMagic)), int64(5))
	f.Fuzz(func(t *testing.T, p []byte, room int64) {
		if h, err := parseHead(p, room); err == nil && (h.before()+h.body > room || h.front() < recordHead) {
			t.Errorf("%+v has room in %d", h, room)
		}
		parseJournal(p, 0)
		if len(p) >= entrySize {
			if e := parseEntry(p); e.at >= 0 && placeOf(1, e.at).at() != e.at {
				t.Errorf("%d is no place", e.at)
			}
		}
	})
}
