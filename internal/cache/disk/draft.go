package disk

import (
	"errors"
	"os"
	"sync/atomic"
)

// Block is the unit in which a Draft is written.
const Block = blockSize

// Draft is a record whose body is written while it comes, to a segment that nothing else is written to meanwhile. It is
// found after Commit, and never without. Its body may be read as far as it is written. For one goroutine, but for Body.
type Draft struct {
	Body
	head
	stamp   uint64
	front   []byte // of the record, without sums
	failure error  // of a write
}

// Draft makes a record with a body of length bytes.
func (s *Store) Draft(key, record []byte, stamp uint64, length int64) *Draft {
	d := &Draft{head: head{s.hash(key), len(key), len(record), length}, stamp: stamp}
	d.front = d.head.append(nil, key, record)
	d.Body = Body{store: s, hash: d.head.hash, Length: length, sums: make([]byte, 4*d.blocks()),
		checked: make([]atomic.Uint32, (d.blocks()+31)/32)}
	d.open.Store(true)
	return d
}

// promisedFraction is the part of a Store that may be promised to bodies that have not come yet: no more is emptied for
// clients that ask for many and take none.
const promisedFraction = 4

// Begin asks for room for d. Then made is called on another goroutine; the caller calls no method of d before. Begin
// reports false, and made is not called, where nothing is written now, or too much is on its way. It does not block.
func (d *Draft) Begin(made func(error)) bool {
	s := d.store
	d.rest.Store(d.size())
	return s.promised.Add(d.size()) <= s.opts.Size/promisedFraction &&
		s.enqueue(item{act: d.place, over: made}, nil, nil)
}

var errLength = errors.New("disk: a body is longer than it was said to be")

// Write writes the next part of the body: whole blocks, or all that is left. Then done is called on another goroutine;
// the caller calls no method of d before. It does not block.
func (d *Draft) Write(p []byte, done func(error)) {
	go func() { done(d.write(p)) }()
}

func (d *Draft) write(p []byte) error {
	at := d.have.Load()
	if at+int64(len(p)) > d.Length {
		return errLength
	}
	if err := d.store.writeAt(d.segment.file, p, d.at+at); err != nil {
		d.failure = err
		d.leave(false)
		d.end()
		return err
	}
	appendSums(d.sums[:at/blockSize*4], p) // to where there is room for all
	for block := at / blockSize; block*blockSize < at+int64(len(p)); block++ {
		d.check(block)
	}
	d.segment.size.Store(d.at + d.have.Add(int64(len(p))))
	d.rest.Add(-int64(len(p)))
	d.store.promised.Add(-int64(len(p)))
	return nil
}

// Commit puts the record, whose body is whole, into the index. The record that was there under its key is forgotten at
// once. It does not block.
func (d *Draft) Commit() {
	d.leave(true)
	d.store.index.remove(d.head.hash, 0)
	d.end()
}

// end queues d for the writer to enter.
func (d *Draft) end() {
	d.segment.refs.Add(1)
	one := item{act: d.enter, over: func(error) { d.segment.release() }}
	if !d.store.enqueue(one, nil, nil) {
		one.close(errNotNow)
	}
}

// start is where the record begins in its segment.
func (d *Draft) start() int64 { return d.at - d.before() }

// place gives d its room.
func (d *Draft) place() error {
	s := d.store
	again, entries, err := s.reclaimFor(0)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		if err = s.makeRoom(int64(len(again)) + pageSize); err != nil {
			return err
		}
		s.writer.add(again, entries)
	}
	in, at := s.rooms.take(&s.segments)
	if in == nil {
		var list *os.File
		if in, list, err = s.makeSegment(); err != nil {
			return err
		}
		_ = list.Close()
		in.refs.Add(1)
	}
	d.segment, d.at, d.Body.place = in, at+d.before(), placeOf(in.number, at)
	return nil
}

// enter writes what d lacks and has it found, or returns its failure.
func (d *Draft) enter() error {
	s := d.store
	if d.failure != nil || d.have.Load() != d.Length {
		return d.failure
	}
	p := append(d.front, d.sums...)
	seal(p)
	if err := s.pwrite(d.segment.file, p, d.start()); err != nil {
		return err
	}
	list, err := s.open(listName(d.segment.number), os.O_WRONLY|os.O_APPEND)
	if os.IsNotExist(err) { // the segment was removed since
		s.counts.dropped.Add(1)
		return nil
	} else if err != nil {
		return err
	}
	defer list.Close()
	e := entry{d.head.hash, d.stamp, d.start()}
	if err = s.enlist(list, []entry{e}); err == nil {
		s.index.put(e.hash, d.Body.place, false)
	}
	return err
}
