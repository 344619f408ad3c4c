package rotate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/base/safeopen"
)

const (
	pieceBytes = 128 << 10 // compressed at a time, which takes some milliseconds
	pauseShare = 4         // pauses are so many times as long: event loops have the processor meanwhile
)

// Tidy removes what is beyond p.Keep and p.KeepFor of what the log at path was renamed to, then compresses the rest,
// unless p says that it stays as it is: on a full disk the one makes room for the other. A file to which a process
// still writes, or which another process compresses, waits: left reports that. Tidy returns early, and leaves no
// half of a file, when ctx ends. What others have removed meanwhile, with its folder or without, is no error.
func Tidy(ctx context.Context, p *Policy, path string, now time.Time) (left bool, err error) {
	all, err := rotatedOf(path)
	if err != nil {
		return false, wrapped(err)
	}
	var errs []error
	var whole []string // the ones to compress, the newest first
	kept := 0
	var last time.Time
	for _, f := range all {
		if f.ending.half {
			errs = append(errs, wrapped(removeHalf(f.path)))
			continue
		}
		if !f.at.Equal(last) { // what was compressed and could not be removed counts once
			last = f.at
			kept++
		}
		switch {
		case p.Keep > 0 && kept > p.Keep, p.KeepFor > 0 && now.Sub(f.since(now)) > p.KeepFor:
			errs = append(errs, wrapped(os.Remove(f.path)))
		case f.ending.compressor == "":
			whole = append(whole, f.path)
		}
	}
	c := compressors[p.Compress]
	if c == nil {
		whole = nil
	}
	for _, path := range whole {
		err := c.compress(ctx, path)
		if errors.Is(err, errInUse) {
			left, err = true, nil
		}
		errs = append(errs, wrapped(err))
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			break // there is no room for the others either
		}
	}
	return left, errors.Join(errs...)
}

// wrapped says that an error is of this package. It returns nil where a file or its folder is not there any more.
func wrapped(err error) error {
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("rotate: %w", err)
}

// compress makes path.gz, or the like, of path. Until it is whole it has another name.
func (c *compressor) compress(ctx context.Context, path string) (err error) {
	from, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer from.Close() //nolint:errcheck // it was read
	if err := take(from); err != nil {
		return err
	}
	at, err := from.Stat()
	if err != nil {
		return err
	}
	half := path + c.ending + halfEnding
	if err := os.Remove(half); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	to, err := safeopen.Open(half, os.O_WRONLY|os.O_CREATE|os.O_EXCL, at.Mode().Perm())
	if err != nil {
		return err
	}
	if err = c.pour(ctx, to, from); err == nil {
		err = errors.Join(to.Chmod(at.Mode().Perm()), grown(from, at))
	}
	if err = errors.Join(err, to.Close()); err == nil {
		err = os.Rename(half, path+c.ending)
	}
	if err == nil {
		return os.Remove(path)
	}
	_ = os.Remove(half)
	if ctx.Err() != nil {
		return nil // the next Tidy does it
	}
	return err
}

// errInUse says that another process writes to a file, or compresses it.
var errInUse = errors.New("the file is in use")

// take locks f against other processes that tidy up, until f is closed. Two of them would take each other's half file
// for a leftover, and remove what it is made of. It returns errInUse where another one has the lock, or
// has f open for writing: a process that drains opens no log again, and its last lines would go to a removed file.
func take(f *os.File) error {
	fd := int(f.Fd())
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return errInUse
	} // a file system without locks has none to wait for
	at, err := f.Stat()
	if err != nil {
		return err
	}
	if st, ok := at.Sys().(*syscall.Stat_t); ok && st.Nlink == 0 {
		return fs.ErrNotExist // the other one has done it meanwhile
	}
	// A lease to read is refused while the file is open for writing; it is given back at once, as no process opens the
	// file by this name to write. Where the kernel gives none at all, grown sees lines that come meanwhile.
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	if errors.Is(err, unix.EAGAIN) {
		return errInUse
	}
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
		return err
	}
	return nil
}

// removeHalf removes a file that is not whole, unless another process is making it.
func removeHalf(path string) error {
	whole := strings.TrimSuffix(path, halfEnding)
	from, err := os.OpenFile(strings.TrimSuffix(whole, filepath.Ext(whole)), os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err == nil {
		defer from.Close() //nolint:errcheck // nothing was written
		if err := unix.Flock(int(from.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
			return nil
		}
	}
	return os.Remove(path)
}

// grown returns errInUse if a file is not what it was.
func grown(f *os.File, was fs.FileInfo) error {
	at, err := f.Stat()
	if err == nil && at.Size() != was.Size() {
		err = errInUse
	}
	return err
}

// pour compresses from into to, with pauses.
func (c *compressor) pour(ctx context.Context, to io.Writer, from io.Reader) error {
	z, err := c.open(to)
	if err != nil {
		return err
	}
	for {
		begun := time.Now()
		_, err := io.CopyN(z, from, pieceBytes)
		if errors.Is(err, io.EOF) {
			return z.Close()
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pauseShare * time.Since(begun)):
		}
	}
}
