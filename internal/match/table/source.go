package table

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/internal/base/yield"
)

// Entry is one entry of a configuration. A list has no values.
type Entry struct{ Key, Value string }

// Source is where the content of a table comes from: entries, a file, or both, which are put together.
type Source struct {
	Inline []Entry
	File   string // path, or ""
}

func (s Source) equal(other Source) bool {
	return s.File == other.File && slices.Equal(s.Inline, other.Inline)
}

// content is a source as it was read.
type content struct {
	source Source
	text   []byte // of the file, in the memory of a build
	stamp  stamp
	sum    [sha256.Size]byte // of all of it
}

// stamp tells whether a file may have changed since it was read.
type stamp struct {
	info   fs.FileInfo // nil: no file
	readAt time.Time
}

// settledAfter is how old a change must be before the times of a file tell of the next one: clocks of file systems
// have steps of up to two seconds.
const settledAfter = 2 * time.Second

// holds reports whether the file certainly has the content that was read.
func (s *stamp) holds(now fs.FileInfo) bool {
	return s.info != nil && sameFile(s.info, now) && s.readAt.Sub(s.info.ModTime()) > settledAfter
}

// sameFile reports whether nothing tells two looks at a file apart.
func sameFile(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && changedAt(a) == changedAt(b)
}

const (
	readPiece = 256 << 10
	readTries = 3
)

// errChanging is why a file is not taken that is written again and again.
var errChanging = errors.New("it changes while it is read: write a new file and rename it")

func (o *Options) read(m *memory, s Source) (c content, err error) {
	var pace yield.Pace
	c.source = s
	for try := 0; s.File != ""; try++ {
		c.text, c.stamp, err = o.readFile(m, s.File, &pace)
		if err == nil {
			break
		}
		if !errors.Is(err, errChanging) || try == readTries-1 {
			return c, err
		}
	}
	if size := inlineBytes(s.Inline) + int64(len(c.text)); size > o.FileMax {
		return c, fmt.Errorf("%s of entries: no more than %s are possible", inUnits(size), inUnits(o.FileMax))
	}
	c.digest(&pace)
	return c, nil
}

// readFile reads a file whole. A look before and one after tell whether the file was written meanwhile.
func (o *Options) readFile(m *memory, path string, pace *yield.Pace) (text []byte, s stamp, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe must not keep the worker waiting
	if err != nil {
		return nil, s, err
	}
	defer f.Close() //nolint:errcheck // it was read
	s.readAt = time.Now()
	if s.info, err = f.Stat(); err != nil {
		return nil, s, err
	}
	size := s.info.Size()
	switch {
	case !s.info.Mode().IsRegular():
		return nil, s, &fs.PathError{Op: "read", Path: path, Err: errors.New("it is no regular file")}
	case size > o.FileMax:
		return nil, s, &fs.PathError{Op: "read", Path: path,
			Err: fmt.Errorf("it has %s: no more than %s are possible", inUnits(size), inUnits(o.FileMax))}
	}
	if text, err = slice[byte](m, int(size)); err != nil {
		return nil, s, err
	}
	for at := 0; at < len(text); {
		n, err := f.Read(text[at:min(at+readPiece, len(text))])
		at += n
		if err == io.EOF {
			return nil, s, &fs.PathError{Op: "read", Path: path, Err: errChanging}
		}
		if err != nil {
			return nil, s, err
		}
		pace.Step()
	}
	now, err := f.Stat()
	more, _ := f.Read(make([]byte, 1)) // files of /proc have no size
	if err == nil && (more > 0 || !sameFile(s.info, now)) {
		err = &fs.PathError{Op: "read", Path: path, Err: errChanging}
	}
	return text, s, err
}

func (c *content) digest(pace *yield.Pace) {
	h := sha256.New()
	var n [8]byte
	put := func(s string) {
		binary.LittleEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		io.WriteString(h, s) //nolint:errcheck // a hash takes all
	}
	for _, e := range c.source.Inline {
		put(e.Key)
		put(e.Value)
	}
	put(c.source.File)
	for at := 0; at < len(c.text); at += readPiece {
		h.Write(c.text[at:min(at+readPiece, len(c.text))])
		pace.Step()
	}
	h.Sum(c.sum[:0])
}

func inlineBytes(all []Entry) (n int64) {
	for _, e := range all {
		n += int64(len(e.Key)) + int64(len(e.Value))
	}
	return n
}
