package certs

import (
	"io/fs"
	"maps"
	"slices"
	"sync"
	"time"
)

// Stamps are what files looked like at some moment, by their paths. Owned by the maker.
type Stamps map[string]stamp

// StampsOf looks at files. To miss no change, call it before the files are read.
func StampsOf(paths []string) Stamps {
	s := make(Stamps)
	for _, path := range paths {
		s[path] = stampOf(path)
	}
	return s
}

// Put notes what a file was like when it was opened, in place of what a look at its path has found.
func (s Stamps) Put(path string, at fs.FileInfo) { s[path] = stampIn(at) }

// Follower reports changes of files that its caller reads: files of authorities.
// Safe for any goroutine.
//
//	seen ── a change ──► latest ── the same at the next look ──► changed ── it has read them ──► Use
//	                        ▲                                       │ it could not
//	                        └───────────────────────────────────────┘
type Follower struct {
	changed func(paths []string, again bool) bool
	every   time.Duration
	ticks   *time.Ticker // stands still while there is no file

	mu     sync.Mutex
	seen   Stamps // stamps of the files as they were read; guarded by mu
	latest Stamps // stamps of the last look, nil when it found no change; guarded by mu
	failed Stamps // those that could not be read; guarded by mu

	stop  chan struct{}
	ended chan struct{}
	once  sync.Once
}

// Follow looks every so often at the files that Use names, until Stop. changed is called with the paths of those that
// have changed, once they were not written to for that long; it reports whether they could be read, and is called
// again, with again, as long as not. It runs on the goroutine of the Follower and may call Use.
func Follow(every time.Duration, changed func(paths []string, again bool) bool) *Follower {
	f := &Follower{changed: changed, every: every, ticks: time.NewTicker(every), stop: make(chan struct{}),
		ended: make(chan struct{})}
	f.ticks.Stop()
	go func() {
		defer close(f.ended)
		defer f.ticks.Stop()
		for {
			select {
			case <-f.stop:
				return
			case <-f.ticks.C:
				f.look()
			}
		}
	}()
	return f
}

// Use says which files to watch from now on, with their stamps when they were read.
func (f *Follower) Use(s Stamps) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen, f.latest, f.failed = s, nil, nil
	if f.ticks.Stop(); len(s) > 0 {
		f.ticks.Reset(f.every)
	}
}

// Stop ends the Follower and waits until it has: not within changed.
func (f *Follower) Stop() {
	f.once.Do(func() { close(f.stop) })
	<-f.ended
}

// look compares the files with their stamps.
func (f *Follower) look() {
	f.mu.Lock()
	now := StampsOf(slices.Sorted(maps.Keys(f.seen)))
	var paths []string
	for path, s := range now {
		if s != f.seen[path] {
			paths = append(paths, path)
		}
	}
	settled := maps.Equal(now, f.latest)
	again := maps.Equal(now, f.failed)
	f.latest = now
	if len(paths) == 0 {
		f.latest, f.failed = nil, nil
	}
	f.mu.Unlock()
	if len(paths) == 0 || !settled {
		return
	}
	slices.Sort(paths)
	if f.changed(paths, again) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = now
}
