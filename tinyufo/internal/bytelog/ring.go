package bytelog

import (
	"encoding/binary"
	"runtime"
	"sync/atomic"
)

// order is the byte order of the machine: the memory is read by no other.
var order = binary.NativeEndian

// header is the first word of a record.
//
//	63…32 size of the value │ 16 an expiry follows │ 15…0 size of the key
type header uint64

const (
	headerSize = 8
	expirySize = 4 // bytes
	expiryBit  = 16
)

func headerOf(key, value int, expiry uint32) header {
	h := header(value)<<32 | header(key)
	if expiry != 0 {
		h |= 1 << expiryBit
	}
	return h
}

func (h header) keyAt() uint64     { return headerSize + uint64(h>>expiryBit&1)*expirySize }
func (h header) keySize() uint64   { return uint64(uint16(h)) }
func (h header) valueSize() uint64 { return uint64(h >> 32) }

func (h header) valueAt() uint64 { return h.keyAt() + h.keySize() }

func (h header) size() uint64 { return (h.valueAt() + h.valueSize() + 7) &^ 7 }

// record is a header, an expiry of four bytes if there is one, a key and a value, rounded up to 8 bytes.
type record []byte

func (r record) put(h header, key, value []byte, expiry uint32) {
	order.PutUint64(r, uint64(h))
	at := h.keyAt()
	if expiry != 0 {
		order.PutUint32(r[headerSize:], expiry)
	}
	copy(r[at:], key)
	copy(r[at+uint64(len(key)):], value)
}

func (r record) header() header { return header(order.Uint64(r)) }

func (r record) key() []byte {
	h := r.header()
	return r[h.keyAt():][:h.keySize()]
}

func (r record) value() []byte {
	h := r.header()
	return r[h.keyAt()+h.keySize():][:h.valueSize()]
}

// expiry is 0 when there is none.
func (r record) expiry() uint32 {
	if r.header().keyAt() == headerSize {
		return 0
	}
	return order.Uint32(r[headerSize:])
}

// ring is a log of records in a ring of bytes. Offsets grow for ever; a record lies at its offset modulo the
// size, in one piece. Guarded by the shard's mutex.
//
//	tail <= head <= tail + len(bytes)
//	the bytes from gap to gapEnd, before the beginning of the ring, are unused
//	no location points to bytes outside of tail … head
//
// Readers do not know of rings. They may read a record while it is overwritten, and look at its location when they
// have: that is changed before the bytes are written again.
type ring struct {
	bytes       []byte
	start       uint64 // of bytes, in the memory of the shard
	size        uint64
	tail, head  uint64
	gap, gapEnd uint64
}

func (r *ring) init(memory []byte, start, end uint64) {
	*r = ring{bytes: memory[start:end:end], start: start, size: end - start}
}

// place is where the record at an offset is.
func (r *ring) place(offset uint64) location {
	return location((offset/r.size%lapMax+1)<<lapShift | (r.start+offset%r.size)>>3)
}

// next is where a record of n bytes begins when it is appended.
func (r *ring) next(n uint64) uint64 {
	if at := r.head % r.size; at+n > r.size {
		return r.head + r.size - at
	}
	return r.head
}

func (r *ring) fits(n uint64) bool { return r.next(n)+n-r.tail <= r.size }

// extend appends a record of n bytes, for which there is room, and returns it to be written.
func (r *ring) extend(n uint64) (place location, to record) {
	offset := r.next(n)
	if offset != r.head {
		r.gap, r.gapEnd = r.head, offset
	}
	r.head = offset + n
	return r.place(offset), record(r.bytes[offset%r.size:][:n])
}

// first is the oldest record. ok is false when there is none.
func (r *ring) first() (place location, rec record, ok bool) {
	if r.tail == r.gap && r.gap != r.gapEnd {
		r.tail = r.gapEnd
	}
	if r.tail == r.head {
		return 0, nil, false
	}
	return r.place(r.tail), r.at(r.tail), true
}

func (r *ring) at(offset uint64) record {
	rec := record(r.bytes[offset%r.size:])
	return rec[:rec.header().size()]
}

// drop gives up the oldest record, which is rec. No location points to it any more.
func (r *ring) drop(rec record) { r.tail += uint64(len(rec)) }

// after is the offset of the record after that at an offset.
func (r *ring) after(offset uint64) uint64 {
	offset += uint64(len(r.at(offset)))
	if offset == r.gap && r.gap != r.gapEnd {
		return r.gapEnd
	}
	return offset
}

// fence returns when the loads before it are complete, and keeps the stores after it from being seen before atomic
// stores before it. Loads and stores of amd64 are in order, and its atomic stores are complete when the next one
// begins. On others sync/atomic does not order the plain ones around it in that way: a locked operation between them
// does.
func fence() {
	if runtime.GOARCH != "amd64" {
		var word atomic.Uint32
		word.Add(1)
	}
}
