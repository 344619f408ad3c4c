package hpack

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/edge-proxy/edge/internal/stream/section"
)

func TestEntry_size(t *testing.T) {
	if n := unsafe.Sizeof(entry{}); n != 16 {
		t.Errorf("an entry has %d bytes: four to a cache line, none astride two", n)
	}
	// Larger ones travel through memory, which made an indexed field take five times as long.
	if n := unsafe.Sizeof(section.Field{}); n != 32 {
		t.Errorf("a Field has %d bytes, the compiler keeps 32 in registers", n)
	}
}

// An idle connection that has seen one request of a browser.
func TestTable_takesLittleMemory(t *testing.T) {
	var e Encoder
	var d Decoder
	e.Init(EncoderOptions{})
	d.Init(DecoderOptions{Scratch: new([]byte)})
	if n := cap(d.table.lines) + cap(d.table.entries) + cap(e.table.lines) + len(e.directory.links); n != 0 {
		t.Errorf("%d bytes before the first field", n)
	}
	if _, err := decodeAll(&d, appendFields(&e, nil, browser)); err != nil {
		t.Fatal(err)
	}
	n := int(unsafe.Sizeof(d)) + cap(d.table.lines) + 16*cap(d.table.entries)
	if n > 2048 {
		t.Errorf("a decoder has %d bytes", n)
	}
	n = int(unsafe.Sizeof(e)) + cap(e.table.lines) + (16+16+4+4)*cap(e.table.entries)
	if n > 2560 {
		t.Errorf("an encoder has %d bytes", n)
	}
}

// TestTable_isAQueue compares a table with a slice of lines, over lines of all sizes and changes of the maximum.
func TestTable_isAQueue(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 541))
	for range 50 {
		var tab table
		size := r.IntN(3000)
		tab.reset(size)
		var model [][]byte
		used := 0
		shrink := func() {
			for used > size {
				used -= len(model[0]) - lineOverhead + entryOverhead
				model = model[1:]
			}
		}
		for k := range 500 {
			if r.IntN(60) == 0 {
				size = r.IntN(3000)
				tab.resize(size)
				shrink()
			}
			line := bytes.Repeat([]byte{byte(k)}, lineOverhead+r.IntN(1+r.IntN(1+r.IntN(3000))))
			e := entry{size: uint32(len(line))}
			at := tab.insert(len(line), 0, section.Traits{})
			if (at != nil) != (e.cost() <= size) {
				t.Fatalf("a line of %d bytes, %d allowed", e.cost(), size)
			}
			if copy(at, line); at != nil {
				model = append(model, line)
				used += e.cost()
			} else {
				model, used = nil, 0
			}
			shrink()
			tab.check()
			if tab.used != used || tab.len() != len(model) || len(tab.lines) > 2*(2*3000+lineBytesMin) {
				t.Fatalf("%d bytes in %d entries, %d of memory; want %d in %d", tab.used, tab.len(), len(tab.lines),
					used, len(model))
			}
			for i, want := range model {
				if got := tab.line(tab.entry(tab.oldest + uint32(i))); !bytes.Equal(got, want) {
					t.Fatalf("entry %d: %x, want %x", i, got, want)
				}
			}
		}
	}
}
