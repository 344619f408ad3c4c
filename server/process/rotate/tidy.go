package rotate

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/internal/safeopen"
)

const (
	pieceBytes = 128 << 10 // compressed at a time, which takes some milliseconds
	pauseShare = 4         // pauses are so many times as long: event loops have the processor meanwhile
)

// Tidy compresses what the log at path was renamed to, unless p says that it stays as it is, and removes what is beyond
// p.Keep and p.KeepFor. It returns early, and leaves no half of a file, when ctx ends.
func Tidy(ctx context.Context, p *Policy, path string, now time.Time) error {
	all, err := rotatedOf(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the folder is gone
	}
	if err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	var errs []error
	kept := 0
	var last time.Time
	for _, f := range all {
		if f.ending == ".gz.tmp" {
			errs = append(errs, os.Remove(f.path))
			continue
		}
		if !f.at.Equal(last) { // what was compressed and could not be removed counts once
			last = f.at
			kept++
		}
		switch {
		case p.Keep > 0 && kept > p.Keep, p.KeepFor > 0 && now.Sub(f.at) > p.KeepFor:
			errs = append(errs, os.Remove(f.path))
		case f.ending == "" && p.Compress == "gzip":
			errs = append(errs, compress(ctx, f.path))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	return nil
}

// compress makes path.gz of path. Until it is whole it has another name.
func compress(ctx context.Context, path string) (err error) {
	from, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer from.Close() //nolint:errcheck // it was read
	at, err := from.Stat()
	if err != nil {
		return err
	}
	half := path + ".gz.tmp"
	to, err := safeopen.Open(half, os.O_WRONLY|os.O_CREATE|os.O_EXCL, at.Mode().Perm())
	if err != nil {
		return err
	}
	if err = pour(ctx, to, from); err == nil {
		err = errors.Join(to.Chmod(at.Mode().Perm()), grown(from, at))
	}
	if err = errors.Join(err, to.Close()); err == nil {
		err = os.Rename(half, path+".gz")
	}
	if err == nil {
		return os.Remove(path)
	}
	_ = os.Remove(half)
	if ctx.Err() != nil || errors.Is(err, errGrown) {
		return nil // the next Tidy does it
	}
	return err
}

// errGrown says that somebody still writes to a file: a process that ends has it open.
var errGrown = errors.New("the file grows")

// grown returns errGrown if a file is not what it was.
func grown(f *os.File, was fs.FileInfo) error {
	at, err := f.Stat()
	if err == nil && at.Size() != was.Size() {
		err = errGrown
	}
	return err
}

// pour compresses from into to, with pauses.
func pour(ctx context.Context, to io.Writer, from io.Reader) error {
	z, err := gzip.NewWriterLevel(to, gzip.BestSpeed)
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
