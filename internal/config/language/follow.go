package language

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/edge-proxy/edge/internal/match/table"
)

// Change is what a look at the file of a list or a map has found.
type Change struct {
	Kind, Name string // list or map
	File       string
	Entries    int   // that it has now
	Err        error // why the table stays as it was; nil: it has the new content
	More       int   // problems beside Err, of one file
}

// Table is a list, a map or a database in force, and what became of the looks at its file by refresh.
type Table struct {
	Kind, Name string
	Entries    int       // now
	Right      time.Time // when it was last found right, by a load or by a look
	Changed    uint64    // looks that found other content, and took it
	Unchanged  uint64    // looks that found what was there
	Failed     uint64    // looks that found something wrong
}

// Follower looks at the files of lists, maps and databases that have a refresh. Safe for any goroutine.
type Follower struct {
	tell func(Change)

	mu     sync.Mutex
	tables []followed            // guarded by mu; replaced as a whole
	all    map[tableKey]*watched // in force; guarded by mu, as what it has

	changed chan struct{}

	stop  chan struct{}
	ended chan struct{}
	once  sync.Once
}

// watched is a table in force.
type watched struct {
	handle handle
	Table
}

// followed is a table whose file is looked at.
type followed struct {
	loaded
	counts *watched
	due    time.Time
	failed *string // what was wrong with the file at the last look; "": nothing
}

// Follow looks at the files of the Language that Use names, each as often as its refresh says, until Stop. tell runs on
// its goroutine: for a content that has changed, and once for a wrong content.
func Follow(tell func(Change)) *Follower {
	f := &Follower{tell: tell, changed: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{})}
	go f.run()
	return f
}

// Use says which tables are in force; nil: none. It does not wait for a look that is under way.
func (f *Follower) Use(l *Language) {
	f.mu.Lock()
	f.use(l)
	f.mu.Unlock()
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// use is Use with mu locked. What a table has counted goes on.
func (f *Follower) use(l *Language) {
	before, now := f.all, time.Now()
	f.tables, f.all = nil, make(map[tableKey]*watched)
	if l == nil {
		return
	}
	for _, one := range l.loaded {
		w := before[one.key]
		if w == nil {
			w = &watched{Table: Table{Kind: one.key.kind(), Name: one.key.name}}
		}
		w.handle, w.Right = one.handle, now
		f.all[one.key] = w
		if one.refresh > 0 && one.file != "" {
			due := now.Add(one.refresh)
			f.tables = append(f.tables, followed{loaded: one, counts: w, due: due, failed: new(string)})
		}
	}
}

// Tables returns what is in force, by kind and name.
func (f *Follower) Tables() []Table {
	f.mu.Lock()
	defer f.mu.Unlock()
	tables := make([]Table, 0, len(f.all))
	for _, w := range f.all {
		w.Entries = w.handle.Stats().Entries
		tables = append(tables, w.Table)
	}
	slices.SortFunc(tables, func(a, b Table) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return tables
}

// count notes what a look has found.
func (f *Follower) count(w *watched, changed bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err != nil:
		w.Failed++
		return
	case changed:
		w.Changed++
	default:
		w.Unchanged++
	}
	w.Right = time.Now()
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
			t.refreshNow(f)
			t.due = time.Now().Add(t.refresh)
		}
		if wait := max(time.Until(t.due), time.Millisecond); next == 0 || wait < next {
			next = wait
		}
	}
	return next
}

func (t *followed) refreshNow(f *Follower) {
	c := Change{Kind: t.key.kind(), Name: t.key.name, File: t.file}
	u, err := t.handle.Refresh()
	f.count(t.counts, err == nil && u.Changed, err)
	switch {
	case err == nil && (u.Changed || *t.failed != ""):
		*t.failed, c.Entries = "", u.Stats.Entries
		f.tell(c)
	case err != nil && err.Error() != *t.failed:
		*t.failed, c.Err = err.Error(), err
		var problems table.Problems
		if errors.As(err, &problems) {
			c.Err, c.More = errors.New(problems[0].String()), len(problems)-1
		}
		f.tell(c)
	}
}
