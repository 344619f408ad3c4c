package mmdb

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/oschwald/maxminddb-golang/v2"

	"github.com/edge-proxy/edge/internal/match/geo"
	"github.com/edge-proxy/edge/internal/match/table"
)

// FileMax is how many bytes a database has at most.
const FileMax = 512 << 20

// memoryMax is for the estimate of a table: it takes each node of a tree for a network, which makes it twice as much as
// is needed. What a build really takes is bounded by the Budget.
const memoryMax = 4 << 30

// Options are the options of a table.Map that has a database. The memory is counted in budget, which may be nil.
func Options(budget *table.Budget) table.Options {
	return table.Options{
		Keys: table.Addresses, FileMax: FileMax, MemoryMax: memoryMax, Budget: budget, Decode: open,
		Lost: func(marks uint64) error { return fmt.Errorf("it has no %s any more", geo.Fields(marks)) },
	}
}

// database is a file that is read into a table. Owned by one goroutine.
type database struct {
	reader *maxminddb.Reader
	tree   tree
	record record
	has    geo.Fields

	// Places by the offset of the record in the file: many networks have the same one. They are in one text, each after
	// its length in two bytes; an offset leads to the place in it.
	known  map[uintptr]int
	places []byte
}

// errNone is what a file says that is none.
var errNone = errors.New("it is no database in the MaxMind DB format (.mmdb)")

// open reads the head of a database.
func open(file []byte) (table.Decoded, error) {
	r, err := maxminddb.OpenBytes(file, maxminddb.DisableStringCache())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNone, err)
	}
	m := &r.Metadata
	t := tree{text: file, nodes: uint32(m.NodeCount), bits: int(m.RecordSize)}
	if m.IPVersion == 4 {
		t.begin = 96
	}
	if uint64(m.NodeCount)*uint64(m.RecordSize)/4 > uint64(len(file)) {
		return nil, errTree
	}
	return &database{reader: r, tree: t, known: make(map[uintptr]int)}, nil
}

// EntriesMax is the limit for a tree: one more than it has nodes, and one for IPv4.
func (d *database) EntriesMax() int { return int(d.tree.nodes) + 2 }

// Marks are the geo.Fields.
func (d *database) Marks() uint64 { return uint64(d.has) }

// Each calls add with all networks that have something.
func (d *database) Each(add func(p netip.Prefix, value []byte) error) error {
	return d.tree.each(func(p netip.Prefix, record uintptr) error {
		place, err := d.place(record)
		if err != nil {
			return fmt.Errorf("the record of %s: %w", p, err)
		}
		if len(place) == 0 {
			return nil
		}
		return add(p, place)
	})
}

// place returns the Place of a record; empty: there is nothing of use.
func (d *database) place(offset uintptr) (geo.Place, error) {
	if at, ok := d.known[offset]; ok {
		return d.at(at), nil
	}
	d.record = record{}
	if err := d.reader.LookupOffset(offset).Decode(&d.record); err != nil {
		return nil, err
	}
	begin := len(d.places)
	places, has := geo.AppendPlace(append(d.places, 0, 0), &d.record.texts, d.record.asn)
	if has == 0 {
		places = places[:begin+2]
	}
	n := len(places) - begin - 2
	d.places, d.has = places, d.has|has
	d.places[begin], d.places[begin+1] = byte(n>>8), byte(n)
	d.known[offset] = begin
	return d.at(begin), nil
}

func (d *database) at(begin int) geo.Place {
	n := int(d.places[begin])<<8 | int(d.places[begin+1])
	return d.places[begin+2 : begin+2+n]
}
