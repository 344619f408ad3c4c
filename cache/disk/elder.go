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

// Late makes the file to which a process writes its purges after it has given the folder at path up. Call it before
// Close. Each Purged is one Write of Append.
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

// elders are the processes that had the folder before and go on. Any goroutine may ask what they have purged: that is
// one system call for each while there is nothing new.
type elders struct {
	list atomic.Pointer[[]*elder] // nil: there are none
	next atomic.Int64             // when it is looked at whether they have ended
	mu   sync.Mutex               // for reading files, and for changing list
}

type elder struct {
	file *os.File
	read atomic.Int64 // bytes
}

const elderStep = int64(time.Second)

// find looks for files of processes that had the folder before.
func (e *elders) find(path string) {
	names, _ := filepath.Glob(filepath.Join(path, elderPrefix+"*"))
	var all []*elder
	for _, name := range names {
		if f, err := os.Open(name); err == nil {
			all = append(all, &elder{file: f})
		}
	}
	if len(all) > 0 {
		e.list.Store(&all)
	}
}

// Heard returns what processes that had the folder before have purged since it was asked last. now is in ns.
func (s *Store) Heard(now int64) (all []Purged) {
	e := &s.elders
	list := e.list.Load()
	if list == nil {
		return nil
	}
	news := now >= e.next.Load()
	for _, one := range *list {
		news = news || one.left() > 0
	}
	if !news {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if list = e.list.Load(); list == nil {
		return nil
	}
	look := now >= e.next.Load()
	if look {
		e.next.Store(now + elderStep)
	}
	var rest []*elder
	for _, one := range *list {
		// A process that has ended has written all.
		ended := look && unix.Flock(int(one.file.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil
		if all = one.hear(all); ended {
			_ = os.Remove(one.file.Name())
		} else {
			rest = append(rest, one)
		}
	}
	if len(rest) == 0 {
		e.list.Store(nil) // others may look at the files still, which are closed when nothing refers to them
	} else if len(rest) < len(*list) {
		e.list.Store(&rest)
	}
	return all
}

// left returns how many bytes of whole entries were not read.
func (one *elder) left() int64 {
	var at unix.Stat_t
	if unix.Fstat(int(one.file.Fd()), &at) != nil {
		return 0
	}
	return (at.Size - one.read.Load()) / journalEntry * journalEntry
}

// hear appends what was not read.
func (one *elder) hear(all []Purged) []Purged {
	p := make([]byte, one.left())
	if len(p) == 0 || readAt(one.file, p, one.read.Load()) != nil {
		return all
	}
	one.read.Add(int64(len(p)))
	for ; len(p) > 0; p = p[journalEntry:] { // nothing can have damaged it: the machine has not crashed since
		all = append(all, parsePurged(p))
	}
	return all
}
