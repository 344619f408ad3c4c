package disk

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/base/safeopen"
)

// Options say what a Store is. Path, Size, Memory and Seed are needed.
type Options struct {
	Path   string // of the folder, which is there
	Size   int64  // bytes of all segments, 64 MiB at least
	Memory int64  // bytes of the index, of which a record takes 24
	Seed   uint64 // of hashes: what a folder with another one has is removed. See SeedOf
	// Replay is given the journal before any record is found. last is the greatest stamp of the newest segment.
	Replay func(all []Purged, last uint64)
	Tell   func(error) // is given failures, on any goroutine, seldom; nil: not called

	fail func(call string) error // for tests
}

const (
	segmentMax   = 64 << 20 // bytes after which a segment is full, unless there would be too many of them
	segmentsMax  = 1 << 10
	segmentsMin  = 16
	freeFraction = 20 // a 20th of the file system stays free
)

// Store keeps records on disk. Safe for any goroutine.
type Store struct {
	opts     Options
	root     *os.Root // the folder
	folder   *os.File // likewise
	lock     *os.File
	segments segments
	index    index
	journal  journal
	writer   writer
	counts   counts
	rooms    rooms
	promised atomic.Int64 // bytes of Drafts that have not come

	closing chan struct{}
	ended   sync.WaitGroup
}

type counts struct{ written, read, dropped, errors atomic.Uint64 }

// Stats are the counters of a Store.
type Stats struct {
	Objects int    // records that can be found
	Bytes   int64  // of segments
	Written uint64 // bytes
	Read    uint64 // records
	Dropped uint64 // records that were not written: too many waited, or the disk failed
	Errors  uint64 // of reading and writing, and damaged records
	Paused  int    // 1 while nothing is written, since the disk has failed, is slow or full; else 0
	Size    int64  // of Options
}

// Stats returns the counters.
func (s *Store) Stats() Stats {
	c := &s.counts
	all := Stats{Objects: int(s.index.entries.Load()), Bytes: s.segments.bytes(), Written: c.written.Load(),
		Read: c.read.Load(), Dropped: c.dropped.Load(), Errors: c.errors.Load(), Size: s.opts.Size}
	if s.writer.paused.Load() {
		all.Paused = 1
	}
	return all
}

// Open opens a folder, which no other process may have open. Its records are found from then on, the newest first.
func Open(o Options) (s *Store, err error) {
	s = &Store{opts: o, closing: make(chan struct{})}
	s.journal.wake, s.writer.wake = make(chan struct{}, 1), make(chan struct{}, 1)
	defer func() {
		if err != nil {
			s.closeFiles()
			s = nil
		}
	}()
	if err = s.openFolder(); err != nil {
		return s, err
	}
	if err = s.own(); err != nil {
		return s, err
	}
	purged, ok := s.loadJournal()
	if err = s.openSegments(!ok); err != nil {
		return s, err
	}
	if err = s.checkSpace(s.segments.bytes()); err != nil {
		return s, err
	}
	if err = s.rewriteJournal(shorten(purged)); err != nil {
		return s, err
	}
	o.Replay(purged, s.last())
	s.writer.begin(s)
	s.ended.Add(3)
	go s.recover()
	go s.keepJournal()
	go s.keepWriting()
	return s, nil
}

func (s *Store) openFolder() (err error) {
	if s.root, err = safeopen.OpenFolder(s.opts.Path); err == nil {
		s.folder, err = s.root.Open(".")
	}
	return err
}

// open opens a file of the folder.
func (s *Store) open(name string, flag int) (*os.File, error) {
	return safeopen.OpenIn(s.root, name, flag)
}

// read returns what a file of the folder has.
func (s *Store) read(name string) ([]byte, error) {
	f, err := s.open(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// own locks the folder, and checks that it may be written.
func (s *Store) own() (err error) {
	if s.lock, err = s.open("lock", os.O_RDWR|os.O_CREATE); err != nil {
		return err
	}
	for {
		err = unix.Flock(int(s.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		return &LockedError{s.opts.Path, s.owner()}
	} else if err != nil {
		return &os.PathError{Op: "flock", Path: s.lock.Name(), Err: err}
	}
	if err = s.lock.Truncate(0); err == nil {
		_, err = s.lock.WriteAt(fmt.Appendln(nil, os.Getpid()), 0)
	}
	return err
}

func (s *Store) owner() string {
	p := make([]byte, 20)
	n, err := s.lock.ReadAt(p, 0)
	if err != nil && err != io.EOF {
		return ""
	}
	return strings.TrimSpace(string(p[:n]))
}

// LockedError says that another process has a folder.
type LockedError struct{ Path, Process string }

// Error names the process.
func (e *LockedError) Error() string {
	return fmt.Sprintf("another process (%s) has the cache in %s", e.Process, e.Path)
}

// SpaceError says that a file system has no room for a Store.
type SpaceError struct {
	Path string
	Room int64 // bytes of the largest one for which it has
}

// Error says how much room there is.
func (e *SpaceError) Error() string {
	return fmt.Sprintf("the file system of %s has room for %d MiB, and keeps a 20th free", e.Path, e.Room>>20)
}

// space returns how many bytes of the file system may still be used.
func (s *Store) space() (int64, error) {
	var of unix.Statfs_t
	if err := unix.Fstatfs(int(s.folder.Fd()), &of); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: s.opts.Path, Err: err}
	}
	keep := of.Blocks / freeFraction
	return (int64(of.Bavail) - int64(keep)) * of.Bsize, nil
}

// CheckSpace reports a file system without room for a Store of size bytes in a folder, beside what the folder has. It
// changes nothing. A folder that this process may not read is no error.
func CheckSpace(path string, size int64) error {
	folder, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer folder.Close()
	files, err := folder.ReadDir(-1)
	have := int64(0)
	for _, f := range files {
		if at, err := f.Info(); err == nil && strings.HasSuffix(f.Name(), ".seg") {
			have += at.Size()
		}
	}
	s := &Store{opts: Options{Path: path, Size: size}, folder: folder}
	return cmp.Or(err, s.checkSpace(have))
}

// checkSpace reports a file system without room for what Options.Size has beside the bytes of segments that are there.
func (s *Store) checkSpace(have int64) error {
	free, err := s.space()
	if err == nil && free+have < s.opts.Size {
		err = &SpaceError{s.opts.Path, max(free+have, 0)}
	}
	return err
}

// segmentSize returns how many bytes a full segment has.
func (s *Store) segmentSize() int64 {
	return max(min(segmentMax, s.opts.Size/segmentsMin), s.opts.Size/segmentsMax)
}

// closeTime is how long Close waits for a disk that does not answer. Then another process may open the folder when this
// one has ended.
const closeTime = 5 * time.Second

// Close ends the Store: what waits is written, then another process may open the folder. What was read stays readable.
func (s *Store) Close() {
	close(s.closing)
	ended := make(chan struct{})
	go func() {
		s.ended.Wait()
		s.closeFiles()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(closeTime):
	}
}

func (s *Store) closeFiles() {
	for len(s.segments.all()) > 0 {
		s.segments.drop()
	}
	_, _ = s.folder.Close(), s.lock.Close() // nil: it was not opened
	if s.root != nil {
		_ = s.root.Close()
	}
}

// tell reports what went wrong.
func (s *Store) tell(err error) {
	if s.opts.Tell != nil {
		s.opts.Tell(err)
	}
}

// fault returns the error with which a test lets a call fail.
func (s *Store) fault(call string) error {
	if s.opts.fail == nil {
		return nil
	}
	return s.opts.fail(call)
}

func signal(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

func datasync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != syscall.EINTR {
			return err
		}
	}
}
