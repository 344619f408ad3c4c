package table

import (
	"fmt"
	"net/netip"
	"sync/atomic"
)

// Keys says what a table is asked by.
type Keys uint8

// The kinds of keys.
const (
	Addresses Keys = iota // IP addresses and prefixes
	Texts                 // texts, byte by byte
)

// String is the name of the kind: "addresses" or "texts".
func (k Keys) String() string {
	if k == Texts {
		return "texts"
	}
	return "addresses"
}

// Options bound a table. The zero value is a table of addresses with the default bounds.
type Options struct {
	Keys       Keys
	FileMax    int64   // bytes of a file, inline entries included; 0: 256 MiB; 2 GiB at most
	EntriesMax int     // entries of one table; 0: 16 777 216, which is also the most
	MemoryMax  int64   // bytes of one table while it is built, its file included; 0: 1 GiB
	Budget     *Budget // shared by tables; nil: none

	// Decode reads the file of a map of addresses that has another form than lines; nil: it has lines. file is borrowed
	// until the build ends.
	Decode func(file []byte) (Decoded, error)
	// Lost is the error of a Refresh whose file lacks Marks that the one before has; nil: it may lack them.
	Lost func(marks uint64) error
}

// Decoded is a file that Options.Decode has read. Owned by the goroutine that builds.
type Decoded interface {
	// EntriesMax is how many entries Each has at most.
	EntriesMax() int
	// Each calls add with each entry, and ends with the first error. No two prefixes have an address in common. value
	// is borrowed until add returns, and has 65535 bytes at most.
	Each(add func(p netip.Prefix, value []byte) error) error
	// Marks are bits that say what the values have, once Each has returned: see Stats.
	Marks() uint64
}

// Numbers of bounds, positions of records and refs of values stay within 32 bits.
const (
	entriesMax = 1 << 24
	fileMax    = 1<<31 - 1
)

func (o *Options) setDefaults() {
	if o.FileMax <= 0 {
		o.FileMax = 256 << 20
	}
	o.FileMax = min(o.FileMax, fileMax)
	if o.EntriesMax <= 0 || o.EntriesMax > entriesMax {
		o.EntriesMax = entriesMax
	}
	if o.MemoryMax <= 0 {
		o.MemoryMax = 1 << 30
	}
}

// Budget bounds the memory of all tables that share it. Generations that wait for the garbage collector count.
// Safe for any goroutine.
type Budget struct {
	max  int64
	used atomic.Int64
}

// NewBudget makes a budget of so many bytes.
func NewBudget(bytes int64) *Budget { return &Budget{max: bytes} }

// take counts bytes, or returns false when there are not so many left. A nil budget has them always.
func (b *Budget) take(bytes int64) bool {
	if b == nil {
		return true
	}
	if b.used.Add(bytes) > b.max {
		b.used.Add(-bytes)
		return false
	}
	return true
}

func (b *Budget) give(bytes int64) {
	if b != nil {
		b.used.Add(-bytes)
	}
}

func inUnits(bytes int64) string {
	switch {
	case bytes >= 10<<20:
		return fmt.Sprintf("%d MiB", (bytes+1<<20-1)>>20)
	case bytes >= 10<<10:
		return fmt.Sprintf("%d KiB", (bytes+1<<10-1)>>10)
	}
	return fmt.Sprintf("%d bytes", bytes)
}
