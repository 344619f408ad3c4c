package regex

import "weak"

// Rows of a table that are no states.
const (
	rowUnknown = iota
	rowDead
	rowMatched
	rowsReserved
)

const (
	rowsMin        = 8       // of a new table
	flushesMax     = 4       // in a row, of a full table that was not worth being built
	worthBytes     = 64      // a table was worth it if it read so many bytes for each state
	restTexts      = 1024    // that the nfa matches before a table is tried again
	visitedMax     = 1 << 16 // instructions that one text may have visited to build states, some 0.5 ms
	creditMax      = 1 << 20 // instructions that all tables may visit beyond textCredit and one a byte, 10 ms
	textCredit     = 16      // what each text adds to the credit besides its bytes
	stateOverhead  = 80      // bytes of a state beside its row and its key: headers, its place in the index
	automatonBytes = 512     // of an automaton without states
)

// verdict is what a table says about a text.
type verdict uint8

const (
	refused verdict = iota
	matched
	undone // the nfa has to decide
)

// automaton is the table of one pattern in one Cache. Owned by the goroutine of the Cache.
//
//	row r of the table is table[r*stride : (r+1)*stride], its last column is for the end of the text
//	a value in the table is the offset of a row, and so is start
//	keys[i] says what the state of row rowsReserved+i is, index has the offset of its row
//	bytes is what the budget was asked for
type automaton struct {
	serial uint64
	owner  weak.Pointer[Pattern]
	table  []uint16
	stride int
	start  int // offset of the row that a text begins in, rowUnknown if it is not built
	keys   []string
	index  map[string]uint16
	bytes  int64

	bytesRead int // since the table was begun, before the text at hand
	flushes   int // in a row without being worth it
	rest      int // texts that are left to the nfa
}

// match runs the table over b, which follows the lead of p, and builds what is missing.
func (a *automaton) match(p *Pattern, c *Cache, b []byte) verdict {
	if a.rest > 0 {
		a.rest--
		return undone
	}
	c.builder.visited = 0
	c.credit = min(creditMax, c.credit+len(b)+textCredit)
	says := a.run(p, c, b)
	c.credit -= c.builder.visited
	c.stats.Visited += uint64(c.builder.visited)
	return says
}

// run is match without what limits it.
func (a *automaton) run(p *Pattern, c *Cache, b []byte) verdict {
	row, ok := a.start, true
	if row == rowUnknown {
		if row, ok = a.begin(p, c); !ok {
			return undone
		}
	}
	last := rowMatched * a.stride
	i := 0
	for ; row > last && i < len(b); i++ {
		from, next, read := scan(a.table, &p.classes.of, row, last, b[i:])
		i += read
		if row = next; row == rowUnknown {
			if row, ok = a.build(p, c, from, b[i], i); !ok {
				return undone
			}
		}
	}
	if row > last {
		row = a.finish(p, c, row)
	}
	a.bytesRead += i
	if row == last {
		return matched
	}
	return refused
}

// scan reads b from a state on until there is none to go to. It returns the last state, what the table has for the
// byte after it, and how many bytes it read before that one. At the end of b the last two are the state and len(b).
func scan(table []uint16, class *[256]uint8, row, last int, b []byte) (from, next, read int) {
	for i, c := range b {
		next := int(table[row+int(class[c])])
		if next <= last {
			return row, next, i
		}
		row = next
	}
	return row, row, len(b)
}

// begin builds the state in which a text begins, after the lead of the pattern.
func (a *automaton) begin(p *Pattern, c *Cache) (row int, ok bool) {
	w := &c.builder
	if c.credit <= 0 {
		c.stats.Abandoned++
		return 0, false
	}
	reached := w.begin(p)
	for i := 0; i < len(p.lead) && !reached; i++ {
		reached = w.read(p, p.lead[i])
	}
	if row, _, ok = a.enter(p, c, reached, 0); ok {
		a.start = row
	}
	return row, ok
}

// build builds what follows the state from with the byte b, of which the table has read so many of this text before.
func (a *automaton) build(p *Pattern, c *Cache, from int, b byte, read int) (row int, ok bool) {
	w := &c.builder
	if w.visited > visitedMax || w.visited > c.credit {
		c.stats.Abandoned++
		return 0, false
	}
	class := p.classes.of[b]
	w.load(p, a.keys[from/a.stride-rowsReserved])
	row, flushed, ok := a.enter(p, c, w.read(p, p.classes.bytes[class]), read)
	if ok && !flushed {
		a.table[from+int(class)] = uint16(row)
	}
	return row, ok
}

// finish returns where the end of the text leads to, dead or matched.
func (a *automaton) finish(p *Pattern, c *Cache, row int) int {
	end := &a.table[row+a.stride-1]
	if *end == rowUnknown {
		w := &c.builder
		w.load(p, a.keys[row/a.stride-rowsReserved])
		*end = uint16(rowDead * a.stride)
		if w.end(p) {
			*end = uint16(rowMatched * a.stride)
		}
	}
	return int(*end)
}

// enter returns the row of what the builder has made, a new one if there is none. flushed says that the table was full
// and that all rows from before are gone. ok is false if there can be no row.
func (a *automaton) enter(p *Pattern, c *Cache, reached bool, read int) (row int, flushed, ok bool) {
	a.stride = p.stride
	if dead := p.anchored && len(c.builder.now.kept) == 0; dead || reached {
		row = rowMatched
		if !reached {
			row = rowDead
		}
		if !a.makeRoom(c, rowsReserved, p.states) {
			a.restNow(c)
			return 0, false, false
		}
		return row * a.stride, false, true
	}
	key := c.builder.makeKey()
	if row, ok := a.index[string(key)]; ok {
		return int(row), false, true
	}
	if len(a.keys) == p.states {
		if !a.flush(c, read) {
			return 0, true, false
		}
		flushed = true
	}
	if !a.makeRoom(c, rowsReserved+len(a.keys)+1, p.states) || !a.charge(c, int64(len(key)+stateOverhead)) {
		a.restNow(c)
		return 0, true, false
	}
	row = (rowsReserved + len(a.keys)) * a.stride
	if a.index == nil {
		a.index = make(map[string]uint16)
	}
	name := string(key)
	a.keys = append(a.keys, name)
	a.index[name] = uint16(row)
	c.stats.Built++
	return row, flushed, true
}

// makeRoom grows the table until it has so many rows.
func (a *automaton) makeRoom(c *Cache, rows, states int) bool {
	have := len(a.table) / a.stride
	if rows <= have {
		return true
	}
	rows = min(max(rows, rowsMin, 2*have), rowsReserved+states)
	bytes := int64(2 * (rows - have) * a.stride)
	if have == 0 {
		bytes += automatonBytes
	}
	if !a.charge(c, bytes) {
		return false
	}
	table := make([]uint16, rows*a.stride)
	copy(table, a.table)
	a.table = table
	return true
}

// flush empties a full table. It returns false if the table was full too often without being worth it; it rests then.
func (a *automaton) flush(c *Cache, read int) bool {
	c.stats.Flushed++
	a.flushes++
	if a.bytesRead+read >= worthBytes*len(a.keys) {
		a.flushes = 0
	}
	if a.flushes == flushesMax {
		a.restNow(c)
		return false
	}
	keys := 0
	for _, key := range a.keys {
		keys += len(key) + stateOverhead
	}
	a.refund(c, int64(keys))
	clear(a.table)
	clear(a.keys)
	clear(a.index)
	a.keys, a.start, a.bytesRead = a.keys[:0], rowUnknown, -read
	return true
}

// restNow gives up the table and leaves texts to the nfa for a while.
func (a *automaton) restNow(c *Cache) {
	c.stats.Rested++
	a.drop(c)
	a.rest = restTexts
}

// drop gives up the table.
func (a *automaton) drop(c *Cache) {
	a.refund(c, a.bytes)
	*a = automaton{serial: a.serial, owner: a.owner}
}

// charge asks the budget for room, if need be after the tables of patterns that are gone were given up.
func (a *automaton) charge(c *Cache, bytes int64) bool {
	if !c.budget.take(bytes) && (!c.sweep() || !c.budget.take(bytes)) {
		return false
	}
	a.bytes += bytes
	c.stats.Bytes += bytes
	return true
}

// refund gives room back to the budget.
func (a *automaton) refund(c *Cache, bytes int64) {
	c.budget.give(bytes)
	a.bytes -= bytes
	c.stats.Bytes -= bytes
}
