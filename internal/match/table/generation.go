package table

import (
	"runtime"
	"time"
)

// generation is the content of a table at one time. Immutable once it is built. What reads it keeps it alive until it
// has read: its memory is unmapped when nothing refers to it.
type generation struct {
	v4, v6 *ranges
	texts  texts
	values values
	stats  Stats
	memory *memory
}

// Stats describe a generation.
type Stats struct {
	Entries int           // as many as the source has, repeated ones included
	Bytes   int64         // of memory that the table takes
	Built   time.Time     // when; zero: nothing was built yet
	Took    time.Duration // to read and to build
	Marks   uint64        // of Options.Decode
}

// own ties the memory of g to its end.
func (g *generation) own(m *memory) {
	g.memory = m
	runtime.AddCleanup(g, (*memory).free, m)
}
