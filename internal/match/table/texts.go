package table

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
)

// texts is a hash table of keys, by open addressing. Immutable once it is built.
//
//	slot     63…32 tag of the hash │ 31…0 position of the record + 1; 0: empty
//	record   ref of the value, 4 bytes, 1 in a list │ length of the key, 2 bytes │ the key
//
// The hash is seeded: nothing outside of the process can choose keys that meet.
type texts struct {
	seed    maphash.Seed
	slots   []uint64
	records []byte
	used    int // bytes of records
	longest int // key
}

// slotsFor is how many slots n keys have: a power of two, of which two thirds are taken at most.
func slotsFor(n int) int { return 1 << bits.Len(uint(n+n/2)) }

// recordHead is what a record has before its key.
const recordHead = 6

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

// find returns the slot of key and its ref, or the empty slot where it would be and 0.
func (t *texts) find(key []byte) (slot uint64, ref uint32) {
	hash := maphash.Bytes(t.seed, key)
	mask := uint64(len(t.slots) - 1)
	for slot = hash & mask; ; slot = (slot + 1) & mask {
		word := t.slots[slot&mask]
		if word == 0 {
			return slot, 0
		}
		if (word^hash)&tagMask != 0 {
			continue
		}
		rec := t.records[word&positionMask-1:]
		n := int(binary.LittleEndian.Uint16(rec[4:]))
		if n == len(key) && string(rec[recordHead:recordHead+n]) == string(key) {
			return slot, binary.LittleEndian.Uint32(rec)
		}
	}
}

// ref is the ref of key, or 0 when it is not there.
func (t *texts) ref(key []byte) uint32 {
	if len(key) > t.longest || len(t.slots) == 0 {
		return 0
	}
	_, ref := t.find(key)
	return ref
}

// add puts a key that is not there into the slot that find returned.
func (t *texts) add(slot uint64, key []byte, ref uint32) {
	rec := t.records[t.used:]
	binary.LittleEndian.PutUint32(rec, ref)
	binary.LittleEndian.PutUint16(rec[4:], uint16(len(key)))
	copy(rec[recordHead:], key)
	t.slots[slot] = maphash.Bytes(t.seed, key)&tagMask | uint64(t.used+1)
	t.used += recordHead + len(key)
	t.longest = max(t.longest, len(key))
}
