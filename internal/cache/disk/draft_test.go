package disk

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// draft makes a Draft with a body of m bytes, which has its room.
func (r *rig) draft(key string, n, m int) *Draft {
	r.t.Helper()
	d := r.Draft([]byte(key), recordOf(key, n), 1, int64(m))
	made := make(chan error, 1)
	if !d.Begin(func(err error) { made <- err }) {
		r.t.Fatalf("%q: it is refused", key)
	}
	if err := <-made; err != nil {
		r.t.Fatalf("%q: %v", key, err)
	}
	return d
}

// write writes the next n bytes of the body of d.
func (r *rig) write(d *Draft, key string, n int) error {
	at := int(d.have.Load())
	done := make(chan error, 1)
	d.Write(bodyOf(key, int(d.Length))[at:at+n], func(err error) { done <- err })
	return <-done
}

// writeAll writes what is left of the body of d.
func (r *rig) writeAll(d *Draft, key string) {
	r.t.Helper()
	for d.have.Load() < d.Length {
		if err := r.write(d, key, int(min(16*Block, d.Length-d.have.Load()))); err != nil {
			r.t.Fatal(err)
		}
	}
}

func TestDraft_is_found_once_it_is_whole(t *testing.T) {
	r := begin(t)
	const size = 3<<20 + 12_345
	r.put("a", 50, 0)
	r.wait("a")
	d := r.draft("a", 100, size)
	if err := r.write(d, "a", 1<<20); err != nil {
		t.Fatal(err)
	}
	fd, at := d.File()
	p := make([]byte, 1<<20)
	if to, err := d.Load(0); err != nil || to != 1<<20 {
		t.Fatalf("%d, %v", to, err)
	}
	if _, err := unix.Pread(int(fd), p, at); err != nil || !bytes.Equal(p, bodyOf("a", size)[:1<<20]) {
		t.Fatalf("wrong bytes: %v", err)
	}
	if !r.get("a", 50, 0) {
		t.Error("what was there is forgotten before its time")
	}
	for i := range 40 { // beside it, so that its segment is full before it is whole
		r.put(fmt.Sprint(i), 100, 200_000)
	}
	r.wait("39")
	r.writeAll(d, "a")
	d.Commit()
	if record, body := r.Read([]byte("a")); body != nil { // the new one is found already
		body.Close()
	} else if record != nil {
		t.Error("what was there is not forgotten")
	}
	r.wait("a")
	d.Close()
	for range 2 {
		if !r.get("a", 100, size) || !r.get("39", 100, 200_000) {
			t.Fatal("it is not found")
		}
		r.reopen()
	}
	if r.promised.Load() != 0 {
		t.Errorf("%d bytes are promised", r.promised.Load())
	}
}

func TestDraft_that_is_left_is_not_found(t *testing.T) {
	r := begin(t)
	const size = 3 << 20
	for i := range 100 { // each has the room of the one before, but for what was written
		key := fmt.Sprint(i)
		d := r.draft(key, 100, size)
		if i%2 == 0 {
			if err := r.write(d, key, Block); err != nil {
				t.Fatal(err)
			}
		}
		d.Close()
		if r.Has([]byte(key)) {
			t.Fatal("it is found")
		}
	}
	if have := r.segments.bytes(); have > 10*size {
		t.Errorf("%d bytes on disk for nothing", have)
	}
	if r.promised.Load() != 0 || r.Stats().Errors != 0 {
		t.Errorf("%d bytes are promised; %+v", r.promised.Load(), r.Stats())
	}
	r.reopen()
	if n := r.index.entries.Load(); n != 0 {
		t.Errorf("%d records", n)
	}
}

func TestDrafts_take_a_quarter_at_the_most(t *testing.T) {
	r := begin(t)
	var all []*Draft
	for i := range 5 {
		all = append(all, r.draft(fmt.Sprint(i), 10, 3<<20))
	}
	late := r.Draft([]byte("late"), nil, 1, 3<<20)
	if late.Begin(func(error) {}) {
		t.Error("all of the disk may be taken by what does not come")
	}
	late.Close()
	all[0].Close()
	all[0] = r.draft("0", 10, 3<<20)
	for i, d := range all {
		r.writeAll(d, fmt.Sprint(i))
		d.Commit()
		d.Close()
	}
	for i := range all {
		key := fmt.Sprint(i)
		if r.wait(key); !r.get(key, 10, 3<<20) {
			t.Errorf("%s is not found", key)
		}
	}
}

func TestDraft_outlives_its_segment(t *testing.T) {
	r := begin(t)
	const size = 3 << 20
	d := r.draft("a", 100, size)
	if err := r.write(d, "a", 1<<20); err != nil {
		t.Fatal(err)
	}
	for i := 0; r.segments.all()[0].number <= d.segment.number; i++ {
		key := fmt.Sprint(i)
		r.put(key, 100, 1<<20)
		r.wait(key)
	}
	r.writeAll(d, "a")
	fd, at := d.File()
	p := make([]byte, size)
	if _, err := unix.Pread(int(fd), p, at); err != nil || !bytes.Equal(p, bodyOf("a", size)) {
		t.Fatalf("wrong bytes: %v", err)
	}
	before := r.Stats().Dropped
	d.Commit()
	testutil.Eventually(t, testutil.Patience, func() bool { return r.Stats().Dropped > before }, "it is not dropped")
	if d.Close(); r.Has([]byte("a")) || r.Stats().Errors != 0 {
		t.Errorf("%+v", r.Stats())
	}
	if _, err := os.Stat(filepath.Join(r.opts.Path, listName(d.segment.number))); !os.IsNotExist(err) {
		t.Errorf("its list is there: %v", err)
	}
	left := r.draft("b", 100, size)
	number := left.segment.number
	for i := 0; r.segments.all()[0].number <= number; i++ {
		key := fmt.Sprint("more", i)
		r.put(key, 100, 1<<20)
		r.wait(key)
	}
	left.Close()
	if again := r.draft("c", 100, size); again.segment.number == number {
		t.Error("room in a segment that was removed is used")
	} else {
		again.Close()
	}
}

func TestDraft_outlives_the_store(t *testing.T) {
	r := begin(t)
	d := r.draft("a", 100, 200_000)
	r.reopen()
	r.writeAll(d, "a")
	fd, at := d.File()
	p := make([]byte, 200_000)
	if _, err := unix.Pread(int(fd), p, at); err != nil || !bytes.Equal(p, bodyOf("a", 200_000)) {
		t.Errorf("wrong bytes: %v", err)
	}
	d.Commit()
	d.Close()
	if d.Begin(func(error) {}) {
		t.Error("a Store that is closed makes room")
	}
	if r.Has([]byte("a")) {
		t.Error("it is found")
	}
}

func TestDraft_failures(t *testing.T) {
	for _, call := range []string{"write", "write list", "make"} {
		t.Run(call, func(t *testing.T) {
			r := begin(t)
			if call == "write" || call == "write list" {
				r.put("before", 10, 0) // there is a segment
				r.wait("before")
			}
			r.failWith(func(c string) error {
				if c == call {
					return unix.ENOSPC
				}
				return nil
			})
			d := r.Draft([]byte("a"), recordOf("a", 10), 1, 100_000)
			made := make(chan error, 1)
			if !d.Begin(func(err error) { made <- err }) {
				t.Fatal("it is refused")
			}
			err := <-made
			if err == nil {
				if err = r.write(d, "a", 100_000); err == nil {
					d.Commit()
				}
			}
			if (call == "write list") != (err == nil) || err != nil && !errors.Is(err, unix.ENOSPC) {
				t.Fatal(err)
			}
			d.Close()
			testutil.Eventually(t, testutil.Patience, func() bool { return r.Stats().Paused == 1 }, "it goes on")
			if s := r.Stats(); s.Errors != 1 || r.Has([]byte("a")) || r.promised.Load() != 0 {
				t.Errorf("%+v, %d bytes are promised", s, r.promised.Load())
			}
			if late := r.Draft([]byte("b"), nil, 1, 100_000); late.Begin(func(error) {}) {
				t.Error("it makes room while nothing is written")
			}
			if in, _ := r.rooms.take(&r.segments); in != nil && call != "write list" {
				t.Error("others are written where it has failed")
			}
			r.failWith(nil)
			r.reopen()
			if r.get("a", 10, 100_000) {
				t.Error("what failed is there")
			}
		})
	}
}

func TestDraft_is_no_longer_than_it_said(t *testing.T) {
	r := begin(t)
	d := r.draft("a", 10, 2*Block)
	if err := r.write(d, "a", Block); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	d.Write(make([]byte, Block+1), func(err error) { done <- err })
	if err := <-done; !errors.Is(err, errLength) {
		t.Error(err)
	}
	d.Commit() // and it is not whole
	d.Close()
	r.put("b", 1, 0)
	if r.wait("b"); r.Has([]byte("a")) || r.Stats().Errors != 0 {
		t.Errorf("%+v", r.Stats())
	}
}

// The segment of records beside them is removed as others are when it is the oldest, and what was asked for is kept.
func TestDrafts_keep_to_the_size(t *testing.T) {
	r := begin(t)
	r.put("hot", 100, 0)
	r.wait("hot")
	for i := range 100 {
		key := fmt.Sprint(i)
		d := r.draft(key, 10, 3<<20)
		r.writeAll(d, key)
		d.Commit()
		d.Close()
		r.wait(key)
		if have := r.segments.bytes(); have > r.opts.Size {
			t.Fatalf("%d bytes on disk, %d allowed", have, r.opts.Size)
		}
		if i%7 == 0 && !r.get("hot", 100, 0) {
			t.Fatalf("what is asked for was removed after %d", i)
		}
	}
	if r.Has([]byte("0")) || !r.get("95", 10, 3<<20) {
		t.Error("the oldest record is there, or a new one is not")
	}
}

// TestDrafts_and_the_next_process ends the Store at any time: what is found is right.
func TestDrafts_and_the_next_process(t *testing.T) {
	r := begin(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	sizes := map[string]int{}
	for round := range testutil.RaceRounds(12) {
		open := map[string]*Draft{}
		for i := range 30 {
			key := fmt.Sprint(round, " ", i)
			sizes[key] = 100_000 + rnd.IntN(1<<20)
			switch d := r.Draft([]byte(key), recordOf(key, 10), 1, int64(sizes[key])); rnd.IntN(4) {
			case 0:
				r.put(key, 10, sizes[key])
			default:
				made := make(chan error, 1)
				if !d.Begin(func(err error) { made <- err }) || <-made != nil {
					d.Close()
					break
				}
				open[key] = d
			}
			for key, d := range open {
				n := int(min(d.Length-d.have.Load(), int64(Block*(1+rnd.IntN(8)))))
				if err := r.write(d, key, n); err != nil {
					t.Fatal(err)
				}
				end := d.have.Load() == d.Length
				if end {
					d.Commit()
				}
				if end || rnd.IntN(20) == 0 {
					d.Close()
					delete(open, key)
				}
			}
		}
		r.reopen()
		found := 0
		for key, n := range sizes {
			if r.get(key, 10, n) {
				found++
			}
		}
		if have := r.segments.bytes(); found == 0 || have > r.opts.Size {
			t.Fatalf("%d of %d are found, %d bytes", found, len(sizes), have)
		}
		for _, d := range open {
			d.Close()
		}
		if s := r.Stats(); s.Errors != 0 {
			t.Fatalf("%+v", s)
		}
	}
}
