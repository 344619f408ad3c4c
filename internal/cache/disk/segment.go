package disk

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// segment is a file with records: the one to which the writer writes, or a full one. Any goroutine may read it,
// while it has a reference.
//
//	refs counts the list, and every reader: the last one closes the file
//	bytes below size are never written again, but for the front of a Draft, and size never falls
type segment struct {
	number uint32
	file   *os.File
	size   atomic.Int64
	refs   atomic.Int32
}

func (s *segment) release() {
	if s.refs.Add(-1) == 0 {
		_ = s.file.Close()
	}
}

// segments are all of a Store, the oldest first. Safe for any goroutine.
type segments struct {
	mu   sync.RWMutex
	list []*segment
}

// take returns a segment with a reference for the caller; nil: it was removed.
func (l *segments) take(number uint32) *segment {
	l.mu.RLock()
	defer l.mu.RUnlock()
	i, ok := slices.BinarySearchFunc(l.list, number, func(s *segment, n uint32) int { return int(s.number) - int(n) })
	if !ok {
		return nil
	}
	l.list[i].refs.Add(1) // the list has one: see drop
	return l.list[i]
}

// all returns the list, which does not change.
func (l *segments) all() []*segment {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.Clone(l.list)
}

// bytes returns how many bytes all have.
func (l *segments) bytes() (sum int64) {
	for _, s := range l.all() {
		sum += s.size.Load()
	}
	return sum
}

// add adds s, which is newer than all others.
func (l *segments) add(s *segment) {
	s.refs.Store(1)
	l.mu.Lock()
	l.list = append(l.list, s)
	l.mu.Unlock()
}

// drop takes the oldest one out.
func (l *segments) drop() {
	l.mu.Lock()
	s := l.list[0]
	l.list = slices.Delete(l.list, 0, 1)
	l.mu.Unlock()
	s.release()
}

// rooms are the segments of Drafts to which none is written now, and which are not full. Safe for any goroutine.
type rooms struct {
	mu       sync.Mutex
	segments []uint32
}

const roomsMax = 64 // others are not written to any more

func (r *rooms) add(segment uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.segments = append(r.segments, segment); len(r.segments) > roomsMax {
		r.segments = r.segments[1:]
	}
}

// take returns the segment that was added last, with a reference for the caller, and where it ends; nil: there is none.
func (r *rooms) take(of *segments) (in *segment, at int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n := len(r.segments) - 1; n >= 0 && in == nil; n-- {
		in = of.take(r.segments[n])
		r.segments = r.segments[:n]
	}
	if in != nil {
		at = roundUp(in.size.Load(), pageSize)
	}
	return in, at
}

func segmentName(number uint32) string { return fmt.Sprintf("%08x.seg", number) }
func listName(number uint32) string    { return fmt.Sprintf("%08x.idx", number) }

// openSegments opens all segments that the folder has. With empty set it removes them instead.
func (s *Store) openSegments(empty bool) error {
	files, err := fs.ReadDir(s.root.FS(), ".")
	if err != nil {
		return err
	}
	for _, f := range files { // by name, so the oldest first
		hex, isSegment := strings.CutSuffix(f.Name(), ".seg")
		number, err := strconv.ParseUint(hex, 16, 32)
		if list, ok := strings.CutSuffix(f.Name(), ".idx"); ok && empty && len(list) == 8 {
			_ = s.root.Remove(f.Name())
		}
		switch {
		case !isSegment, err != nil, len(hex) != 8, number == 0:
		case empty:
			_ = s.root.Remove(f.Name())
		default:
			one := &segment{number: uint32(number)}
			if one.file, err = s.open(f.Name(), os.O_RDONLY); err != nil {
				return err
			}
			at, err := one.file.Stat()
			if err != nil {
				return err
			}
			one.size.Store(at.Size())
			s.segments.add(one)
		}
	}
	return nil
}

// remove removes the files of a segment.
func (s *Store) remove(number uint32) {
	_ = s.root.Remove(listName(number)) // in this order: a segment without a list is not read
	_ = s.root.Remove(segmentName(number))
}
