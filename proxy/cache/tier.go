package cache

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/edge-proxy/edge/internal/cache/disk"
)

// tier is the disk of a Zone. Safe for any goroutine.
type tier struct {
	options disk.Options // without Path there is none
	now     atomic.Pointer[disk.Store]

	mu     sync.Mutex
	purged []disk.Purged // while it is not open
}

// purgedMax bounds tier.purged.
const purgedMax = 1 << 16

// ErrDisk is the error of a purge after which what is on disk may come back at the next start.
var ErrDisk = errors.New("cache: the purge could not be written to disk: purge again")

// open opens the disk, unless closed says that the tier is closed, or it is open.
func (t *tier) open(closed *atomic.Bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.options.Path == "" || t.now.Load() != nil || closed.Load() {
		return nil
	}
	d, err := disk.Open(t.options)
	if err != nil {
		return err
	}
	d.Purge(t.purged, nil)
	t.purged = nil
	t.now.Store(d)
	return nil
}

// close lets another process use the disk, if elsewhere says that it does; nil: in any case.
func (t *tier) close(elsewhere func() bool) {
	var d *disk.Store
	t.mu.Lock()
	if elsewhere == nil || elsewhere() {
		d = t.now.Swap(nil)
	}
	t.mu.Unlock()
	if d != nil {
		d.Close() // it may take long
	}
}

// note writes down what was purged. done is told when that is on disk, if there is one; nil: no caller waits.
func (t *tier) note(all []disk.Purged, done func(error)) {
	var err error
	if t.options.Path != "" {
		if d := t.now.Load(); d != nil && d.Purge(all, done) || t.noteClosed(all, done) {
			return
		}
		err = ErrDisk
	}
	if done != nil {
		done(err)
	}
}

// noteClosed notes what was purged while the disk is not open. It reports false where that is not on disk.
func (t *tier) noteClosed(all []disk.Purged, done func(error)) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d := t.now.Load(); d != nil && d.Purge(all, done) { // it was opened just now
		return true
	}
	if t.purged = append(t.purged, all...); len(t.purged) > purgedMax {
		last := disk.Purged{Kind: disk.Everything}
		for _, p := range t.purged {
			last.Stamp = max(last.Stamp, p.Stamp)
		}
		t.purged = []disk.Purged{last}
	}
	return false
}

// largest returns the bytes of the largest body that is written to the disk while it comes. That holds also while the
// disk is not open, so that no answer is taken for too large later.
func (t *tier) largest() int64 {
	if t.options.Path == "" {
		return 0
	}
	return min(t.options.Size/bodiesMin, bodyLargest)
}

// has reports whether the disk has a record under a key.
func (t *tier) has(key []byte) bool {
	d := t.now.Load()
	return d != nil && d.Has(key)
}

// read returns the record under a key; nil: the disk has none. It blocks.
func (t *tier) read(key []byte) record {
	d := t.now.Load()
	if d == nil {
		return nil
	}
	r, b := d.Read(key)
	if b != nil {
		b.Close()
	}
	return r
}

// forget makes the disk forget the record under a key.
func (t *tier) forget(key []byte) {
	if d := t.now.Load(); d != nil {
		d.Forget(key)
	}
}

// write writes r to the disk, with its body where that is in a file.
func (t *tier) write(key []byte, r record, file *body) {
	d := t.now.Load()
	switch {
	case d == nil:
	case file == nil:
		d.Write(key, r, r.stamp(), nil, 0)
	case file.Take():
		file.pin(1)
		d.Write(key, r, r.stamp(), lentBody{file}, int64(r.bodyLen()))
	}
}

// lentBody is a body that the disk reads.
type lentBody struct{ *body }

// ReadAt reads a part of the body.
func (b lentBody) ReadAt(p []byte, at int64) (int, error) { return b.file.ReadAt(p, b.at+at) }

// Close gives the body back.
func (b lentBody) Close() error {
	b.pin(-1)
	b.Release()
	return nil
}
