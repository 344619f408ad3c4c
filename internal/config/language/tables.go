package language

import (
	"bufio"
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/match/geo/mmdb"
	"github.com/edge-proxy/edge/internal/match/table"
)

// TablesMax is how many bytes all lists and maps of a process have together, while they are built and when they are
// replaced too.
const TablesMax = 1 << 30

// handle is a list or a map.
type handle interface {
	Prepare(s table.Source) (*table.Update, error)
	Refresh() (*table.Update, error)
	Stats() table.Stats
}

// tableKey tells handles apart: a name that is asked in another way is another table.
type tableKey struct {
	name  string
	keys  table.Keys
	pairs bool
	geo   bool
}

// loaded is a table of a configuration.
type loaded struct {
	key     tableKey
	handle  handle
	file    string // "": there is none
	refresh time.Duration
	update  *table.Update // nil: its content could not be read
	differs bool          // from what the handle has in force
}

// Tables are the handles of a process. Safe for any goroutine.
type Tables struct {
	budget *table.Budget

	mu sync.Mutex
	// Guarded by mu.
	inForce map[tableKey]loaded
}

// NewTables returns the handles of a process that has none yet.
func NewTables() *Tables {
	return &Tables{budget: table.NewBudget(TablesMax), inForce: make(map[tableKey]loaded)}
}

// options of new handles. A configuration that is only checked has a budget of its own.
func (t *Tables) options(keys table.Keys) table.Options {
	if t == nil {
		return table.Options{Keys: keys, Budget: table.NewBudget(TablesMax)}
	}
	return table.Options{Keys: keys, Budget: t.budget}
}

// find returns the handle in force with that key, or nil.
func (t *Tables) find(key tableKey) handle {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.inForce[key].handle
}

// list returns the list in force with that name and those keys, or a new one.
func (t *Tables) list(name string, keys table.Keys) *table.List {
	if l, ok := t.find(tableKey{name: name, keys: keys}).(*table.List); ok {
		return l
	}
	return table.NewList(name, t.options(keys))
}

// table is list for a map.
func (t *Tables) table(name string, keys table.Keys) *table.Map {
	if m, ok := t.find(tableKey{name: name, keys: keys, pairs: true}).(*table.Map); ok {
		return m
	}
	return table.NewMap(name, t.options(keys))
}

// database is list for a database, whose name is its path.
func (t *Tables) database(path string) *table.Map {
	if m, ok := t.find(databaseKey(path)).(*table.Map); ok {
		return m
	}
	return table.NewMap(path, mmdb.Options(t.options(table.Addresses).Budget))
}

func databaseKey(path string) tableKey {
	return tableKey{name: path, keys: table.Addresses, pairs: true, geo: true}
}

// Differing returns the lists, maps and databases whose content is another one than that in force when Read was called,
// as "list office". Those that were not in force are not among them.
func (l *Language) Differing() (titles []string) {
	if l == nil {
		return nil
	}
	for i := range l.loaded {
		if one := &l.loaded[i]; one.differs {
			titles = append(titles, one.key.kind()+" "+one.key.name)
		}
	}
	return titles
}

// kind is list, map or database.
func (k *tableKey) kind() string {
	switch {
	case k.geo:
		return "database"
	case k.pairs:
		return "map"
	}
	return "list"
}

// Commit puts what Read has read into force: it is for the moment in which the configuration takes effect. Once more it
// does nothing.
func (l *Language) Commit() {
	if l == nil {
		return
	}
	inForce := make(map[tableKey]loaded, len(l.loaded))
	for _, one := range l.loaded {
		if one.update != nil {
			one.update.Commit()
		}
		inForce[one.key] = one
	}
	if t := l.tables; t != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.inForce = inForce
	}
}

// load prepares the content of a table, for Commit.
func (r *reader) load(key tableKey, h handle, s table.Source, refresh time.Duration) (*table.Update, error) {
	one := loaded{key: key, handle: h, file: s.File, refresh: refresh}
	if !r.options.Open {
		s.File = ""
	}
	inForce := !h.Stats().Built.IsZero()
	u, err := h.Prepare(s)
	if err == nil {
		one.update, one.differs = u, inForce && u.Changed
	}
	r.language.loaded = append(r.language.loaded, one)
	return u, err
}

// loadOf is load for an entry that may name a file.
func (r *reader) loadOf(g *schema.Given, key tableKey, h handle, s table.Source, refresh time.Duration) {
	at := g.Node().Head
	if s.File != "" && g.Has("file") {
		at = g.At("file")
	}
	if _, err := r.load(key, h, s, refresh); err != nil {
		r.reportTable(err, s.File, g, at)
	}
}

// reportTable reports why the content of a table could not be prepared; at is where its file is named.
func (r *reader) reportTable(err error, path string, g *schema.Given, at syntax.Span) {
	var problems table.Problems
	switch {
	case errors.As(err, &problems):
		for _, p := range problems {
			r.reportEntry(p, g, at)
		}
	case r.options.Unreadable != nil && r.options.Unreadable(err, at, path):
	default:
		hint := syntax.VariableHint(path)
		if errors.Is(err, fs.ErrNotExist) {
			hint = cmp.Or(hint, "a path begins at the working directory, or at the folder of this file")
		}
		r.rep.Errorf(at, hint, "cannot use %s: %s", syntax.QuotePath(path), syntax.WithoutPath(err))
	}
}

// reportEntry reports one entry of a table, at its place in the file that has it.
func (r *reader) reportEntry(p table.Problem, g *schema.Given, at syntax.Span) {
	if p.File != "" && p.Line > 0 {
		at = syntax.Excerpt(p.File, p.Line, lineOf(p.File, p.Line)).At(p.Column)
	} else if n := g.KeyNode("values"); p.File == "" && n != nil {
		at = n.Value
		if p.Index < len(n.Children) {
			at = n.Children[p.Index].Value
		}
	}
	r.rep.Errorf(at, p.Hint, "%s", p.Text)
}

// lineMax is how much of a line of a file is shown.
const lineMax = 4096

// lineOf returns the text of a line of a file, as far as it can be read.
func lineOf(path string, number int) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close() //nolint:errcheck // it is only read
	in := bufio.NewReaderSize(f, lineMax)
	for ; number > 1; number-- {
		for {
			_, err := in.ReadSlice('\n')
			if err == nil {
				break
			}
			if !errors.Is(err, bufio.ErrBufferFull) {
				return ""
			}
		}
	}
	text, err := in.ReadSlice('\n')
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
		return ""
	}
	return string(text)
}
