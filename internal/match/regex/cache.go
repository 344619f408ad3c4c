package regex

import (
	"cmp"
	"sync"
	"sync/atomic"
	"weak"
)

// Budget bounds the bytes of the tables of all caches that share it. Safe for any goroutine.
type Budget struct {
	limit int64
	used  atomic.Int64
}

// BudgetDefault is the limit of a Budget of a process.
const BudgetDefault = 16 << 20

// NewBudget returns a budget of so many bytes, of BudgetDefault if that is 0.
func NewBudget(bytes int64) *Budget {
	bytes = cmp.Or(bytes, BudgetDefault)
	return &Budget{limit: bytes}
}

func (b *Budget) take(bytes int64) bool {
	if b.used.Add(bytes) > b.limit {
		b.used.Add(-bytes)
		return false
	}
	return true
}

func (b *Budget) give(bytes int64) { b.used.Add(-bytes) }

// Stats are counts of a Cache since it was made, but for Patterns and Bytes.
type Stats struct {
	Patterns  int    // that have a table now
	Bytes     int64  // of their tables
	Built     uint64 // states
	Flushed   uint64 // tables that were full
	Rested    uint64 // tables that were given up for a while: too often full, or over the budget
	Visited   uint64 // instructions, to build states
	Abandoned uint64 // texts that needed too much building
	Left      uint64 // bytes of texts that tables did not do
	Ungrouped uint64 // matches whose groups would have needed too much
}

// Cache has the tables of all patterns for one event loop. Owned by one goroutine.
//
//	tables[n] is nil or the table of the pattern that has, or had, the number n
type Cache struct {
	budget  *Budget
	tables  []*automaton
	hand    int // next table that is looked at for a pattern that is gone
	builder builder
	credit  int // instructions that may be visited to build states: creditMax at first, and more by each byte read
	tracks  tracks
	groups  backtracker
	visits  int  // that are left to find groups
	begun   bool // all texts share visits
	stats   Stats
}

// NewCache returns an empty cache. A nil budget is one of its own.
func NewCache(budget *Budget) *Cache {
	if budget == nil {
		budget = NewBudget(0)
	}
	return &Cache{budget: budget, credit: creditMax}
}

// Begin makes all texts whose groups are looked for until the next call share one bound. Without any call each text has
// the bound for itself.
func (c *Cache) Begin() { c.visits, c.begun = visitsMax, true }

// Close gives all tables up and their bytes back to the budget. The cache is empty then, and usable.
func (c *Cache) Close() {
	for _, a := range c.tables {
		if a != nil {
			a.drop(c)
		}
	}
	*c = *NewCache(c.budget)
}

// Stats returns the counts of the cache.
func (c *Cache) Stats() Stats {
	stats := c.stats
	for _, a := range c.tables {
		if a != nil && a.table != nil {
			stats.Patterns++
		}
	}
	return stats
}

// Rung returns which rung matches texts of p in this cache now: the pattern's rung, or NFA while its table rests.
func (c *Cache) Rung(p *Pattern) Rung {
	if a := c.lookUp(p); p.rung != Literal && a != nil && a.rest > 0 {
		return NFA
	}
	return p.rung
}

// lookUp returns the automaton of p, nil if there is none yet.
func (c *Cache) lookUp(p *Pattern) *automaton {
	if p.number < len(c.tables) {
		if a := c.tables[p.number]; a != nil && a.serial == p.serial {
			return a
		}
	}
	return nil
}

// admit makes an automaton for p, in place of one of a pattern that had its number before.
func (c *Cache) admit(p *Pattern) *automaton {
	for range 2 {
		c.sweepNext()
	}
	if p.number >= len(c.tables) {
		tables := make([]*automaton, max(p.number+1, 2*len(c.tables)))
		copy(tables, c.tables)
		c.tables = tables
	}
	if old := c.tables[p.number]; old != nil {
		old.drop(c)
		c.tables[p.number] = nil
	}
	a := &automaton{serial: p.serial, owner: weak.Make(p)}
	c.tables[p.number] = a
	return a
}

// sweep gives up the tables of all patterns that are gone. It reports whether there was one.
func (c *Cache) sweep() bool {
	found := false
	for range c.tables {
		found = c.sweepNext() || found
	}
	return found
}

// sweepNext looks at one table.
func (c *Cache) sweepNext() bool {
	if len(c.tables) == 0 {
		return false
	}
	c.hand = (c.hand + 1) % len(c.tables)
	a := c.tables[c.hand]
	if a == nil || a.owner.Value() != nil {
		return false
	}
	a.drop(c)
	c.tables[c.hand] = nil
	return true
}

// numbers are small numbers for the patterns of the process, each for one at a time. A Cache finds a table by the
// number; serials, which are never used twice, tell the patterns apart that had it one after the other.
var numbers struct {
	sync.Mutex
	free   []int
	used   int
	serial uint64
}

// takeNumber returns a number that no pattern has.
func takeNumber() (number int, serial uint64) {
	numbers.Lock()
	defer numbers.Unlock()
	numbers.serial++
	if last := len(numbers.free) - 1; last >= 0 {
		number = numbers.free[last]
		numbers.free = numbers.free[:last]
		return number, numbers.serial
	}
	numbers.used++
	return numbers.used - 1, numbers.serial
}

// releaseNumber runs when a pattern was collected.
func releaseNumber(number int) {
	numbers.Lock()
	defer numbers.Unlock()
	numbers.free = append(numbers.free, number)
}
