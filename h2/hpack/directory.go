package hpack

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// directory finds the entries of an encoder's table by the hash of name and value, and those whose name is in no static
// table by the hash of the name. Entries of one bucket form a chain from the newest to the oldest; nothing is taken out
// when an entry dies, for a chain ends where the numbers are no longer alive.
//
//	fields[hash] ──► number 41 ──► number 17 ──► number 3, evicted: the end
//
//	len(links) == len(table.entries); the link of entry n is links[n & mask]
//	an entry that is alive is in the chains of its field and of its name
//	a chain goes from larger to smaller numbers: it ends where a stale bucket says otherwise
type directory struct {
	links  []link
	fields []uint32 // by hash of the field: the newest entry
	names  []uint32 // by hash of the name: the newest entry
}

// link is what the directory keeps for an entry.
type link struct {
	field     uint32 // hash of name and value
	name      uint32 // hash of the name
	nextField uint32 // the next older entry in the bucket
	nextName  uint32
}

// reset forgets what the directory holds and keeps its memory.
func (d *directory) reset() {
	clear(d.fields)
	clear(d.names)
}

// add enters the newest entry of t.
func (d *directory) add(t *table, field, name uint32) {
	if len(d.links) != len(t.entries) {
		d.rebuild(t)
	}
	d.enter(t.next-1, field, name)
}

func (d *directory) enter(n, field, name uint32) {
	mask := uint32(len(d.links) - 1)
	f, g := &d.fields[field&mask], &d.names[name&mask]
	d.links[n&mask] = link{field: field, name: name, nextField: *f, nextName: *g}
	*f, *g = n, n
}

// rebuild makes room for as many entries as t has room for now. The newest one is not yet entered.
func (d *directory) rebuild(t *table) {
	old := d.links
	size := len(t.entries)
	d.links, d.fields, d.names = make([]link, size), make([]uint32, size), make([]uint32, size)
	for n := t.oldest; n != t.next-1; n++ {
		l := old[n&uint32(len(old)-1)]
		d.enter(n, l.field, l.name)
	}
}

// find returns the distance from the next number to the entry that is this field, 0 when there is none.
func (d *directory) find(t *table, hash uint32, l *label, value []byte) int {
	if len(d.links) == 0 {
		return 0
	}
	mask, size := uint32(len(d.links)-1), t.next-t.oldest
	// Numbers are compared by their distance from next: it is 1 for the newest and grows along the chain.
	for n, last := d.fields[hash&mask], uint32(0); ; {
		distance := t.next - n
		if distance-1 >= size || distance <= last {
			return 0
		}
		k := &d.links[n&mask]
		if k.field == hash {
			if e := t.entry(n); bytes.Equal(t.value(e), value) && l.names(t, e) {
				return int(distance)
			}
		}
		n, last = k.nextField, distance
	}
}

// findName is find for any entry of that name.
func (d *directory) findName(t *table, l *label) int {
	if len(d.links) == 0 {
		return 0
	}
	mask, size := uint32(len(d.links)-1), t.next-t.oldest
	for n, last := d.names[l.hash&mask], uint32(0); ; {
		distance := t.next - n
		if distance-1 >= size || distance <= last {
			return 0
		}
		k := &d.links[n&mask]
		if k.name == l.hash && l.names(t, t.entry(n)) {
			return int(distance)
		}
		n, last = k.nextName, distance
	}
}

const (
	hashSeed = 0x9e3779b97f4a7c15
	caseless = 0x2020202020202020
)

// hashValue hashes b, eight bytes a step. It does not resist a search for collisions, and need not: a chain is no
// longer than the table.
func hashValue(seed uint32, b []byte) uint32 { return hashWords(uint64(seed), b, 0) }

// hashName is hashValue without regard to case.
func hashName(b []byte) uint32 { return hashWords(0, b, caseless) }

func hashWords(h uint64, b []byte, fold uint64) uint32 {
	n := len(b)
	h ^= uint64(n) * hashSeed
	for i := 0; i+8 < n; i += 8 {
		h = mix(h ^ (binary.LittleEndian.Uint64(b[i:]) | fold))
	}
	h = mix(h ^ (lastWord(b) | fold))
	return uint32(h ^ h>>32)
}

// lastWord returns the last eight bytes of b, or all of it when it is shorter.
func lastWord(b []byte) uint64 {
	switch n := len(b); {
	case n >= 8:
		return binary.LittleEndian.Uint64(b[n-8:])
	case n >= 4:
		return uint64(binary.LittleEndian.Uint32(b)) | uint64(binary.LittleEndian.Uint32(b[n-4:]))<<32
	case n > 0:
		return uint64(b[0]) | uint64(b[n/2])<<8 | uint64(b[n-1])<<16
	}
	return 0
}

func mix(x uint64) uint64 {
	hi, lo := bits.Mul64(x^hashSeed, 0xd6e8feb86659fd93)
	return hi ^ lo
}
