package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Source is a body that is read when its record is written, and closed then, whether it was written or not.
type Source interface {
	io.ReaderAt
	io.Closer
}

const (
	queueMax   = 16 << 20 // bytes that wait to be written
	batchSize  = 1 << 20  // bytes that are written at once
	gatherTime = 100 * time.Millisecond
	slowTime   = time.Second // a write that takes longer is a failure
	pauseMin   = 10 * time.Second
	pauseMax   = 5 * time.Minute
)

// writer is what the goroutine that writes segments has, and the queue to it.
//
//	Write ─► bytes, items ─► batch ─► segment, then its list, then the index
type writer struct {
	paused atomic.Bool

	mu     sync.Mutex
	bytes  []byte // keys and records of items
	items  []item
	queued int64 // bytes of items with their bodies
	over   bool  // no goroutine writes any more
	wake   chan struct{}

	// Owned by the goroutine.
	spare   []byte // memory of bytes
	unused  []item // of items
	segment *segment
	list    *os.File // of segment
	at      int64    // where batch goes in segment
	batch   []byte   // bytes at its end that are not written
	entries []entry  // of these
	piece   []byte   // of a body
	number  uint32   // of the last segment
	until   time.Time
	step    time.Duration // of the last pause; 0: all went well since
}

// item is a record that waits, or something else to do.
type item struct {
	head
	stamp  uint64
	source Source       // of the body; nil: there is none beside the record
	act    func() error // in place of all this; nil: it is a record
	over   func(error)  // is told what came of that, or errNotNow
}

// entry is a record that is in the batch, or was written.
type entry struct {
	hash, stamp uint64
	at          int64
}

// Write queues a record to be written under a key, with a body of length bytes where that is not nil. A stamp is the
// caller's: see Options.Replay. The record that is there under the key is forgotten at once. It does not block.
func (s *Store) Write(key, record []byte, stamp uint64, body Source, length int64) {
	one := item{head: head{s.hash(key), len(key), len(record), length}, stamp: stamp, source: body}
	s.index.remove(one.hash, 0)
	if !s.enqueue(one, key, record) {
		one.close(errNotNow)
	}
}

// enqueue queues an item for the goroutine. It reports false, and counts that, where nothing is written now.
func (s *Store) enqueue(one item, key, record []byte) bool {
	w := &s.writer
	w.mu.Lock()
	ok := !w.over && !w.paused.Load() && w.queued < queueMax && len(key) <= keyMax && len(record) <= recordMax
	if ok {
		w.bytes = append(append(w.bytes, key...), record...)
		w.items = append(w.items, one)
		if w.queued += one.size(); one.act != nil { // a caller waits
			w.queued += batchSize
		}
	}
	full := w.queued >= batchSize || len(w.items) == 1
	w.mu.Unlock()
	if !ok {
		s.counts.dropped.Add(1)
	} else if full {
		signal(w.wake)
	}
	return ok
}

// errNotNow is why nothing is written for a while.
var errNotNow = errors.New("disk: nothing is written now")

// close says that nothing more happens to one.
func (one *item) close(err error) {
	if one.source != nil {
		_ = one.source.Close()
	}
	if one.over != nil {
		one.over(err)
	}
}

// begin makes the writer ready to make the segment that follows those that there are. What the last process has written
// last is not written on: whether it is whole is not known.
func (w *writer) begin(s *Store) {
	if all := s.segments.all(); len(all) > 0 {
		w.number = all[len(all)-1].number
	}
	w.piece = make([]byte, batchSize)
}

// keepWriting writes what waits until the Store is closed.
func (s *Store) keepWriting() {
	defer s.ended.Done()
	w := &s.writer
	timer := time.NewTimer(0)
	for open := true; open; {
		select {
		case <-w.wake:
		case <-s.closing:
			open = false
		}
		if open && s.waits() < batchSize {
			timer.Reset(gatherTime)
			select {
			case <-w.wake:
			case <-timer.C:
			case <-s.closing:
				open = false
			}
		}
		w.mu.Lock()
		bytes, items := w.bytes, w.items
		w.bytes, w.items, w.queued, w.over = w.spare[:0], w.unused[:0], 0, !open
		w.mu.Unlock()
		s.writeAll(bytes, items)
		clear(items)
		if w.spare, w.unused = bytes[:0], items[:0]; cap(bytes) > 8*batchSize { // a burst is over
			w.spare, w.unused = nil, nil
		}
	}
	s.seal()
}

func (s *Store) waits() int64 {
	s.writer.mu.Lock()
	defer s.writer.mu.Unlock()
	return s.writer.queued
}

// writeAll writes items, the keys and records of which are in p.
func (s *Store) writeAll(p []byte, items []item) {
	w := &s.writer
	w.paused.Store(time.Now().Before(w.until))
	var err error
	for i := range items {
		one := &items[i]
		key, record := p[:one.key], p[one.key:][:one.record]
		p = p[one.key+one.record:]
		if w.paused.Load() {
			s.counts.dropped.Add(1)
			one.close(errNotNow)
			continue
		}
		if one.act != nil {
			err = one.act()
		} else {
			err = s.put(one, key, record)
		}
		if err == nil && (len(w.batch) >= batchSize || i == len(items)-1) {
			err = s.flush()
		}
		if one.close(err); err != nil {
			s.pause(err)
		}
	}
	if w.paused.Load() { // no call wakes the writer while Write refuses all
		time.AfterFunc(time.Until(w.until), func() { w.paused.Store(false) })
	}
}

// put adds a record to the batch, or writes it where it has a body of its own.
func (s *Store) put(one *item, key, record []byte) error {
	w := &s.writer
	if err := s.makeRoom(one.size() + pageSize); err != nil {
		return err
	}
	w.pad(one.align())
	start := len(w.batch)
	at := w.at + int64(start)
	w.batch = one.append(w.batch, key, record)
	w.entries = append(w.entries, entry{one.hash, one.stamp, at})
	if one.source == nil {
		seal(w.batch[start:])
		return nil
	}
	// The body goes first, to its place after the sums, which are known then.
	before := one.before()
	for done := int64(0); done < one.body; {
		n, err := io.ReadFull(io.NewSectionReader(one.source, done, one.body-done), w.piece[:min(batchSize,
			one.body-done)])
		if err != nil {
			return err
		}
		w.batch = appendSums(w.batch, w.piece[:n])
		if err := s.pwrite(w.segment.file, w.piece[:n], at+before+done); err != nil {
			return err
		}
		done += int64(n)
	}
	seal(w.batch[start:])
	w.segment.size.Store(at + before + one.body) // before others find it
	if err := s.flush(); err != nil {
		return err
	}
	w.at = at + one.size()
	return nil
}

// pad fills the batch up to a multiple of to.
func (w *writer) pad(to int64) {
	at := w.at + int64(len(w.batch))
	w.batch = append(w.batch, make([]byte, roundUp(at, to)-at)...)
}

// pwrite writes p at an offset in a segment. A write that takes long is a failure.
func (s *Store) pwrite(f *os.File, p []byte, at int64) error {
	began := time.Now()
	err := s.writeAt(f, p, at)
	if took := time.Since(began); err == nil && took > slowTime {
		err = fmt.Errorf("a write took %v", took.Round(time.Millisecond))
	}
	return err
}

func (s *Store) writeAt(f *os.File, p []byte, at int64) error {
	err := s.fault("write")
	if err == nil {
		_, err = f.WriteAt(p, at)
	}
	if err == nil {
		s.counts.written.Add(uint64(len(p)))
	}
	return err
}

// flush writes the batch to its segment, then its entries to the list, then to the index.
func (s *Store) flush() error {
	w := &s.writer
	if len(w.batch) == 0 {
		return nil
	}
	err := s.pwrite(w.segment.file, w.batch, w.at)
	if err == nil {
		w.at += int64(len(w.batch))
		w.segment.size.Store(max(w.segment.size.Load(), w.at))
		err = s.enlist(w.list, w.entries)
	}
	if err != nil {
		return err
	}
	for _, e := range w.entries {
		s.index.put(e.hash, placeOf(w.segment.number, e.at), false)
	}
	w.step, w.batch, w.entries = 0, w.batch[:0], w.entries[:0]
	return nil
}

// enlist appends entries to the list of a segment.
func (s *Store) enlist(list *os.File, entries []entry) error {
	var p []byte
	for _, e := range entries {
		p = binary.LittleEndian.AppendUint64(p, e.hash)
		p = binary.LittleEndian.AppendUint64(p, uint64(e.at))
		p = binary.LittleEndian.AppendUint64(p, e.stamp)
	}
	err := s.fault("write list")
	if err == nil {
		_, err = list.Write(p)
	}
	return err
}

// pause stops writing for a while, twice as long as the last time if nothing was written since, and goes on with
// another segment then.
func (s *Store) pause(err error) {
	w := &s.writer
	w.step = min(max(2*w.step, pauseMin), pauseMax)
	w.until = time.Now().Add(w.step)
	s.counts.errors.Add(1)
	s.counts.dropped.Add(uint64(len(w.entries)))
	s.seal()
	s.tell(fmt.Errorf("nothing is written to the disk of the cache for %v: %w", w.step, err))
	w.paused.Store(true)
}

// seal ends the segment, and forgets the batch.
func (s *Store) seal() {
	w := &s.writer
	w.batch, w.entries = w.batch[:0], w.entries[:0]
	if w.segment == nil {
		return
	}
	_ = w.list.Close()
	w.segment, w.list = nil, nil
}
