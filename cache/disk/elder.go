package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A process that has given its folder to another one may still answer requests that end records: it writes these to a
// file of its own, which the other process reads before it answers.
const elderPrefix = "late-"

// Late makes the file for what is purged by this process after it has given the folder at path up. It is to be made
// before. Each Purged is one Write of AppendPurged.
func Late(path string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(path, fmt.Sprint(elderPrefix, os.Getpid())),
		os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err == nil {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			_ = f.Close()
		}
	}
	return f, err
}

// AppendPurged appends p as journals have it.
func AppendPurged(dst []byte, p Purged) []byte { return appendPurged(dst, p) }

// elders are the processes that had the folder before and go on.
type elders struct {
	some   atomic.Bool
	mu     sync.Mutex
	list   []*elder
	looked time.Time // when the files were last looked at whether they are over
}

type elder struct {
	file *os.File
	read int64
}

const elderStep = time.Second

// find looks for files of processes that had the folder before.
func (e *elders) find(path string) {
	names, _ := filepath.Glob(filepath.Join(path, elderPrefix+"*"))
	for _, name := range names {
		if f, err := os.Open(name); err == nil {
			e.list = append(e.list, &elder{file: f})
		}
	}
	e.some.Store(len(e.list) > 0)
}

// Elders reports whether Heard has to be asked before a record is used. It costs nothing.
func (s *Store) Elders() bool { return s.elders.some.Load() }

// Heard returns what processes that had the folder before have purged since it was asked last.
func (s *Store) Heard() (all []Purged) {
	e := &s.elders
	e.mu.Lock()
	defer e.mu.Unlock()
	over := time.Since(e.looked) > elderStep
	if over {
		e.looked = time.Now()
	}
	left := e.list[:0]
	for _, one := range e.list {
		// A process that is over writes no more after this.
		ended := over && unix.Flock(int(one.file.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil
		all = one.hear(all)
		if ended {
			_ = os.Remove(one.file.Name())
			_ = one.file.Close()
			continue
		}
		left = append(left, one)
	}
	e.list = left
	e.some.Store(len(left) > 0)
	return all
}

func (one *elder) hear(all []Purged) []Purged {
	at, err := one.file.Stat()
	if err != nil || at.Size()-one.read < journalEntry {
		return all
	}
	p := make([]byte, (at.Size()-one.read)/journalEntry*journalEntry)
	if readAt(one.file, p, one.read) != nil {
		return all
	}
	one.read += int64(len(p))
	return append(all, parseEntries(p)...)
}

// close forgets the files, which the next process finds.
func (e *elders) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, one := range e.list {
		_ = one.file.Close()
	}
	e.list = nil
	e.some.Store(false)
}
