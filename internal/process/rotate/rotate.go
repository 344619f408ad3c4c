package rotate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// stamp is the form of the time in the name of a renamed file. Names of one log are in the order of renaming.
const stamp = "20060102T150405.000Z"

// failEvery is how often the same path may be the cause of an error.
const failEvery = time.Minute

// Rotator knows since when each log is written. Owned by one goroutine.
type Rotator struct {
	begun  map[string]time.Time // when the first line of the file came, as far as is known
	failed map[string]time.Time // when Look has last returned an error of the path
}

// NewRotator returns a Rotator.
func NewRotator() *Rotator {
	return &Rotator{begun: make(map[string]time.Time), failed: make(map[string]time.Time)}
}

// Moved is a log that was renamed.
type Moved struct{ Path, To string }

// Look renames the files of paths that are due at now, by p. The writers have to open the paths of what it returns
// again. The error says what could not be renamed.
func (r *Rotator) Look(p *Policy, paths []string, now time.Time) (moved []Moved, err error) {
	var errs []error
	for _, path := range paths {
		m, err := r.look(p, path, now)
		switch {
		case err != nil && now.Sub(r.failed[path]) >= failEvery:
			r.failed[path] = now
			errs = append(errs, fmt.Errorf("rotate: %w", err))
		case m != nil:
			moved = append(moved, *m)
		}
	}
	return moved, errors.Join(errs...)
}

// look renames the file at path if it is due.
func (r *Rotator) look(p *Policy, path string, now time.Time) (*Moved, error) {
	at, err := os.Lstat(path)
	if err != nil || !at.Mode().IsRegular() { // a link, such as to /dev/stdout, or a pipe is not ours to rename
		delete(r.begun, path)
		return nil, nil
	}
	if at.Size() == 0 {
		r.begun[path] = now
		return nil, nil
	}
	begun, known := r.begun[path]
	if !known { // of a process before: it was written until then at least
		begun = at.ModTime()
		r.begun[path] = begun
	}
	old := p.Every > 0 && now.UTC().Truncate(p.Every).After(begun)
	if !old && (p.Size == 0 || at.Size() < p.Size) {
		return nil, nil
	}
	to, err := rename(path, now)
	if err != nil {
		return nil, err
	}
	delete(r.begun, path)
	return &Moved{path, to}, nil
}

// rename gives path a name that no file has, and that sorts after the others: where the clock was set back, the
// newest file would seem to be the oldest.
func rename(path string, now time.Time) (to string, err error) {
	if all, _ := rotatedOf(path); len(all) > 0 && !all[0].at.Before(now.Truncate(time.Millisecond)) {
		now = all[0].at.Add(time.Millisecond)
	}
	for {
		to = path + "." + now.UTC().Format(stamp)
		if err = os.Link(path, to); err == nil { // unlike rename(2) it replaces nothing
			if err = os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				_ = os.Remove(to) // else each look would leave another name
				return "", err
			}
			return to, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			break
		}
		now = now.Add(time.Millisecond)
	}
	if _, failed := os.Lstat(to); errors.Is(failed, fs.ErrNotExist) { // a file system without hard links
		return to, os.Rename(path, to)
	}
	return "", err
}

// Settle gives the log its name back where no writer has made the path again: else the next look would not find it, and
// where the lines are would not be known.
func (m *Moved) Settle() error {
	if _, err := os.Lstat(m.Path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Link(m.To, m.Path); err != nil {
		return os.Rename(m.To, m.Path)
	}
	return os.Remove(m.To)
}

// rotated is a file that a log was renamed to. Its name is path and the time, maybe with an ending.
type rotated struct {
	path   string
	at     time.Time
	ending ending
}

// since returns when the last line was written, as far as the name can be right.
func (r *rotated) since(now time.Time) time.Time {
	if !r.at.After(now) {
		return r.at
	}
	if at, err := os.Lstat(r.path); err == nil {
		return at.ModTime()
	}
	return r.at
}

// rotatedOf lists the files that the log at path was renamed to, the newest first.
func rotatedOf(path string) ([]rotated, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	before := filepath.Base(path) + "."
	var all []rotated
	for i := len(entries) - 1; i >= 0; i-- { // in the order of names
		name := entries[i].Name()
		if len(name) < len(before)+len(stamp) || name[:len(before)] != before || !entries[i].Type().IsRegular() {
			continue
		}
		rest := name[len(before):]
		at, err := time.Parse(stamp, rest[:len(stamp)])
		if ending, known := endingOf(rest[len(stamp):]); err == nil && known {
			all = append(all, rotated{filepath.Join(filepath.Dir(path), name), at, ending})
		}
	}
	return all, nil
}
