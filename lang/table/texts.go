package table

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
)

// texts is a hash table of keys, by open addressing. Immutable once it is built.
//
//	slot     63…32 tag of the hash │ 31…0 position of the record + 1; 0: empty
//	record   length of the key, 2 bytes │ the key │ in a map: the ref of its value, 4 bytes
//
// The hash is seeded: nobody outside can choose keys that meet.
type texts struct {
	seed    maphash.Seed
	slots   []uint64
	records []byte
	used    int // bytes of records
	longest int // key
}

// slotsFor is how many slots n keys have: a power of two, of which two thirds are taken at most.
func slotsFor(n int) int { return 1 << bits.Len(uint(n+n/2)) }

// keyOverhead is what a record has beside its key, at most.
const keyOverhead = 6

// init gets memory for n keys, and for size bytes of records, which are below 4 GiB.
func (t *texts) init(m *memory, n, size int) (err error) {
	t.seed = maphash.MakeSeed()
	if t.slots, err = slice[uint64](m, slotsFor(n)); err != nil {
		return err
	}
	t.records, err = slice[byte](m, size)
	return err
}

const (
	tagMask      = ^uint64(1<<32 - 1)
	positionMask = 1<<32 - 1
)

// find returns the slot of key, or the empty one where it would be, and what follows the key in its record.
func (t *texts) find(key []byte) (slot uint64, follows []byte, ok bool) {
	hash := maphash.Bytes(t.seed, key)
	mask := uint64(len(t.slots) - 1)
	for slot = hash & mask; ; slot = (slot + 1) & mask {
		word := t.slots[slot&mask]
		if word == 0 {
			return slot, nil, false
		}
		if (word^hash)&tagMask != 0 {
			continue
		}
		rec := t.records[word&positionMask-1:]
		n := int(binary.LittleEndian.Uint16(rec))
		if n == len(key) && string(rec[2:2+n]) == string(key) {
			return slot, rec[2+n:], true
		}
	}
}

// has reports whether key is there.
func (t *texts) has(key []byte) bool {
	if len(key) > t.longest || len(t.slots) == 0 {
		return false
	}
	_, _, ok := t.find(key)
	return ok
}

// ref is what a map says for key, or 0.
func (t *texts) ref(key []byte) uint32 {
	if len(key) > t.longest || len(t.slots) == 0 {
		return 0
	}
	_, follows, ok := t.find(key)
	if !ok {
		return 0
	}
	return refIn(follows)
}

// refIn is the ref after a key.
func refIn(follows []byte) uint32 { return binary.LittleEndian.Uint32(follows) }

// add puts a key that is not there into the slot that find returned. ref is 0 in a list.
func (t *texts) add(slot uint64, key []byte, ref uint32) {
	at := t.used
	binary.LittleEndian.PutUint16(t.records[at:], uint16(len(key)))
	t.used += 2 + copy(t.records[at+2:], key)
	if ref != 0 {
		binary.LittleEndian.PutUint32(t.records[t.used:], ref)
		t.used += 4
	}
	t.slots[slot] = maphash.Bytes(t.seed, key)&tagMask | uint64(at+1)
	t.longest = max(t.longest, len(key))
}
