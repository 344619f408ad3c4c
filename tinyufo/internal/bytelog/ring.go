package bytelog

import (
	"encoding/binary"
	"runtime"
	"sync/atomic"
)

// record is a header, a key and a value, rounded up to 8 bytes.
//
//	0…3 low bits of the hash │ 4…5 its tag │ 6…7 size of the key │ 8…11 size of the value │ 12…15 expiry │ key │ value
type record []byte

const headerSize = 16

var le = binary.LittleEndian

// recordSize is the size of a record.
func recordSize(key, value int) uint64 { return (headerSize + uint64(key) + uint64(value) + 7) &^ 7 }

func (r record) put(hash uint64, key, value []byte, expiry uint32) {
	le.PutUint32(r, uint32(hash))
	le.PutUint16(r[4:], uint16(hash>>48))
	le.PutUint16(r[6:], uint16(len(key)))
	le.PutUint32(r[8:], uint32(len(value)))
	le.PutUint32(r[12:], expiry)
	copy(r[headerSize:], key)
	copy(r[headerSize+len(key):], value)
}

// hash is what of the hash an index needs.
func (r record) hash() uint64   { return uint64(le.Uint32(r)) | uint64(le.Uint16(r[4:]))<<48 }
func (r record) keySize() int   { return int(le.Uint16(r[6:])) }
func (r record) valueSize() int { return int(le.Uint32(r[8:])) }
func (r record) expiry() uint32 { return le.Uint32(r[12:]) }
func (r record) key() []byte    { return r[headerSize:][:r.keySize()] }
func (r record) value() []byte  { return r[headerSize+r.keySize():][:r.valueSize()] }

// ring is a log of records in a ring of bytes. Offsets grow for ever; a record lies at its offset modulo the
// size, in one piece. Written under the shard's mutex.
//
//	tail <= head <= tail + len(bytes)
//	the bytes from gap to gapEnd, before the beginning of the ring, are unused
//
// Readers may read a record while it is overwritten. They look at the tail when they have: it is moved past a
// record before its bytes are written again.
type ring struct {
	bytes       []byte
	size        uint64
	tail        atomic.Uint64
	head        uint64
	gap, gapEnd uint64
}

func (r *ring) init(bytes []byte) {
	r.bytes, r.size = bytes, uint64(len(bytes))
	r.head = 8 // so that no location is 0
	r.tail.Store(8)
	r.gap = 0
}

// next is where a record of n bytes begins when it is appended.
func (r *ring) next(n uint64) uint64 {
	if at := r.head % r.size; at+n > r.size {
		return r.head + r.size - at
	}
	return r.head
}

// fits reports whether there is room for a record of n bytes.
func (r *ring) fits(n uint64) bool { return r.next(n)+n-r.tail.Load() <= r.size }

// extend appends a record of n bytes, for which there is room, and returns it to be written.
func (r *ring) extend(n uint64) (offset uint64, to record) {
	offset = r.next(n)
	if offset != r.head {
		r.gap, r.gapEnd = r.head, offset
	}
	r.head = offset + n
	at := offset % r.size
	return offset, record(r.bytes[at : at+n])
}

// first is the oldest record. ok is false when there is none.
func (r *ring) first() (offset uint64, rec record, ok bool) {
	offset = r.tail.Load()
	if offset == r.gap && r.gap != r.gapEnd {
		offset = r.gapEnd
		r.tail.Store(offset)
	}
	if offset == r.head {
		return 0, nil, false
	}
	return offset, r.at(offset), true
}

// at is the record at an offset.
func (r *ring) at(offset uint64) record {
	rec := record(r.bytes[offset%r.size:])
	return rec[:recordSize(rec.keySize(), rec.valueSize())]
}

// drop gives up the oldest record, which is rec.
func (r *ring) drop(rec record) { r.tail.Add(uint64(len(rec))) }

// after is the offset of the record after that at an offset.
func (r *ring) after(offset uint64) uint64 {
	offset += uint64(len(r.at(offset)))
	if offset == r.gap && r.gap != r.gapEnd {
		return r.gapEnd
	}
	return offset
}

// full is the offset of which low are the 48 low bits. It is no more than 2^47 away from the tail.
func (r *ring) full(low uint64) uint64 {
	tail := r.tail.Load()
	return tail + uint64(int64((low-tail)<<16)>>16)
}

// What a reader has found at a location.
const (
	readValue   = iota
	readOther   // another key
	readChanged // it was overwritten meanwhile, or perhaps was
)

// read appends the value at a location to dst, if the key is key. It may run while the ring is written.
func (r *ring) read(dst []byte, low uint64, key []byte) (value []byte, expiry uint32, found int) {
	offset := r.full(low)
	at := offset % r.size
	rec := record(r.bytes[at:])
	if len(rec) < headerSize {
		return dst, 0, readChanged
	}
	keySize, valueSize := rec.keySize(), rec.valueSize()
	end := headerSize + keySize + valueSize
	if end > len(rec) {
		return dst, 0, readChanged
	}
	found = readOther
	if keySize == len(key) && string(rec[headerSize:headerSize+keySize]) == string(key) {
		found, expiry = readValue, rec.expiry()
		value = append(dst, rec[headerSize+keySize:end]...)
	}
	loadsDone()
	if int64(r.tail.Load()-offset) > 0 {
		return dst, 0, readChanged
	}
	return value, expiry, found
}

// loadsDone returns when all loads before it are complete. Those of amd64 are in order, and sync/atomic's are
// no barrier for the ones before them elsewhere: a locked operation is.
func loadsDone() {
	if runtime.GOARCH != "amd64" {
		var word atomic.Uint32
		word.Add(1)
	}
}
