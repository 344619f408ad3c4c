package content

import (
	"errors"
	"os"
	"syscall"

	"github.com/edge-proxy/edge/poller"
)

// Body is a body that is in a file, or in a part of one. Safe for any goroutine.
type Body interface {
	// Take adds a reference, unless the body is gone. All else is for those who have one.
	Take() bool
	// Release gives a reference back.
	Release()
	// File returns the file, and where in it the body begins. What Ready and Load have named does not change any more.
	File() (from poller.File, at int64)
	// Ready returns up to where the body, from a byte on, can be read without waiting for a disk; from: it has to be
	// loaded. It does not block.
	Ready(from int64) (to int64)
	// Load reads the body from a byte on, and returns up to where it can be sent. It blocks.
	Load(from int64) (to int64, err error)
}

// File is a file as a Body: so many bytes as it has when it is opened. Where it becomes shorter while it is sent, the
// connection ends. Safe for any goroutine.
//
//	refs counts the owner, until Close, and every answer
type File struct {
	file *os.File
	size int64
	refs Refs
}

var errIrregular = errors.New("it is no regular file")

// Open opens a file. It blocks.
func Open(name string) (*File, error) {
	file, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // not to wait at a FIFO
	if err != nil {
		return nil, err
	}
	f, err := NewFile(file)
	if err != nil {
		file.Close()
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return f, nil
}

// NewFile takes over file, which has to be a regular one. After an error it is still the caller's.
func NewFile(file *os.File) (*File, error) {
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errIrregular
	}
	f := &File{file: file, size: info.Size()}
	f.refs.Init()
	return f, nil
}

// Size is how many bytes f has.
func (f *File) Size() int64 { return f.size }

// ReadAt reads from f, as os.File does.
func (f *File) ReadAt(p []byte, at int64) (int, error) { return f.file.ReadAt(p, at) }

// Close says that no further answer has f. What is on its way goes on; the last answer closes the file.
func (f *File) Close() { f.Release() }

// Release is a method of Body, and so are the others.
func (f *File) Release() {
	switch {
	case !f.refs.Drop():
	case f.size > closeMax: // beside the reactors: a file that was removed is freed now
		go f.file.Close() //nolint:errcheck // nothing was written
	default:
		f.file.Close() //nolint:errcheck // nothing was written
	}
}

// Take adds a reference.
func (f *File) Take() bool { return f.refs.Take() }

// closeMax is how many bytes a reactor frees.
const closeMax = 4 << 20

// File returns the whole file.
func (f *File) File() (from poller.File, at int64) { return poller.File(f.file.Fd()), 0 }

// pieceMax is how many bytes are read from a file at a time.
const pieceMax = 64 << 10

// windowMax is how many bytes of a file Ready looks at, and Load reads: what goes to one connection in its turn.
const windowMax = 256 << 10

// Ready asks the page cache.
func (f *File) Ready(from int64) (to int64) {
	n := min(windowMax, f.size-from)
	if at, _ := f.File(); !at.Cached(from, int(n)) {
		return from
	}
	return from + n
}

// Load reads what is no longer in the page cache.
func (f *File) Load(from int64) (to int64, err error) {
	p := make([]byte, max(min(pieceMax, f.size-from), 0))
	for to = from; to < min(from+windowMax, f.size); to += int64(len(p)) {
		p = p[:min(int64(len(p)), f.size-to)]
		if _, err = f.file.ReadAt(p, to); err != nil { // io.EOF: it was cut short
			return from, err
		}
	}
	return to, nil
}
