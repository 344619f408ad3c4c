package language

import (
	"errors"
	"sync"
	"time"

	"github.com/edge-proxy/edge/lang/table"
)

// Change is what a look at the file of a list or a map has found.
type Change struct {
	Kind, Name string // list or map
	File       string
	Entries    int   // that it has now
	Err        error // why the table stays as it was; nil: it has the new content
	More       int   // problems beside Err, of one file
}

// Follower looks at the files of lists and maps that have a refresh. Safe for any goroutine.
type Follower struct {
	tell func(Change)

	mu      sync.Mutex
	tables  []followed // guarded by mu; replaced as a whole
	changed chan struct{}

	stop  chan struct{}
	ended chan struct{}
	once  sync.Once
}

// followed is a table whose file is looked at.
type followed struct {
	loaded
	due    time.Time
	failed *string // what was wrong with the file at the last look; "": nothing
}

// Follow looks at the files of the Language that Use names, each as often as its refresh says, until Stop. tell runs on
// its goroutine: for a content that has changed, and once for one that is wrong.
func Follow(tell func(Change)) *Follower {
	f := &Follower{tell: tell, changed: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{})}
	go f.run()
	return f
}

// Use says which tables are in force; nil: none. It does not wait for a look that is under way.
func (f *Follower) Use(l *Language) {
	var tables []followed
	if l != nil {
		now := time.Now()
		for _, one := range l.loaded {
			if one.refresh > 0 && one.file != "" {
				tables = append(tables, followed{loaded: one, due: now.Add(one.refresh), failed: new(string)})
			}
		}
	}
	f.mu.Lock()
	f.tables = tables
	f.mu.Unlock()
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// Stop ends the Follower and waits until it has: not within tell.
func (f *Follower) Stop() {
	f.once.Do(func() { close(f.stop) })
	<-f.ended
}

// run sleeps until a table is due. Without any it sleeps until Use.
func (f *Follower) run() {
	defer close(f.ended)
	alarm := time.NewTimer(0)
	defer alarm.Stop()
	for {
		if next := f.look(time.Now()); next > 0 {
			alarm.Reset(next)
		} else {
			alarm.Stop()
		}
		select {
		case <-f.stop:
			return
		case <-f.changed:
		case <-alarm.C:
		}
	}
}

// look refreshes the tables that are due, and returns how long it is until the next one is; 0: there is none.
func (f *Follower) look(now time.Time) (next time.Duration) {
	f.mu.Lock()
	tables := f.tables
	f.mu.Unlock()
	for i := range tables {
		t := &tables[i]
		if !t.due.After(now) {
			t.refreshNow(f.tell)
			t.due = time.Now().Add(t.refresh)
		}
		if wait := max(time.Until(t.due), time.Millisecond); next == 0 || wait < next {
			next = wait
		}
	}
	return next
}

// refreshNow looks at the file of t.
func (t *followed) refreshNow(tell func(Change)) {
	c := Change{Kind: t.key.kind(), Name: t.key.name, File: t.file}
	u, err := t.handle.Refresh()
	switch {
	case err == nil && (u.Changed || *t.failed != ""):
		*t.failed, c.Entries = "", u.Stats.Entries
		tell(c)
	case err != nil && err.Error() != *t.failed:
		*t.failed, c.Err = err.Error(), err
		var problems table.Problems
		if errors.As(err, &problems) {
			c.Err, c.More = errors.New(problems[0].String()), len(problems)-1
		}
		tell(c)
	}
}
