package disk

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// A record in a segment, numbers little endian:
//
//	at  0  magic
//	    4  CRC-32C of all from 8 on, up to the body
//	    8  hash of the key
//	   16  bytes of the key
//	   20  bytes of the record
//	   24  bytes of the body
//	   32  key, record
//	       CRC-32C of each block of the body
//	       body, from the next page on
const (
	recordMagic = 0x72636465
	recordHead  = 32
	blockSize   = 64 << 10 // of a body
	pageSize    = 4 << 10
	keyMax      = 64 << 10
	recordMax   = 1 << 20
	bodyMax     = int64(1) << 40
)

// An entry of a list says hash, place and stamp of a record.
const entrySize = 24

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sum(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }

// appendSums appends the sum of each block of p.
func appendSums(dst, p []byte) []byte {
	for len(p) > 0 {
		n := min(len(p), blockSize)
		dst = binary.LittleEndian.AppendUint32(dst, sum(p[:n]))
		p = p[n:]
	}
	return dst
}

// errDamaged is why a record is not used.
var errDamaged = errors.New("disk: a record on disk is damaged")

// head is the head of a record.
type head struct {
	hash        uint64
	key, record int
	body        int64
}

// front is how many bytes there are of it but for the body.
func (h *head) front() int { return recordHead + h.key + h.record + 4*h.blocks() }

// align is the unit of places of the record. A body begins with a page, which sendfile is faster with.
func (h *head) align() int64 {
	if h.body > 0 {
		return pageSize
	}
	return unit
}

// before is how many bytes there are up to the body.
func (h *head) before() int64 {
	if h.body > 0 {
		return roundUp(int64(h.front()), pageSize)
	}
	return int64(h.front())
}

// size is how many bytes the record takes.
func (h *head) size() int64 { return roundUp(h.before()+h.body, unit) }

func (h *head) blocks() int { return int((h.body + blockSize - 1) / blockSize) }

func roundUp(n, to int64) int64 { return (n + to - 1) &^ (to - 1) }

// append appends the record without its body, whose sums are to follow.
func (h *head) append(dst, key, record []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, recordMagic)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	dst = binary.LittleEndian.AppendUint64(dst, h.hash)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(h.key))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(h.record))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.body))
	return append(append(dst, key...), record...)
}

// seal writes the sum of a record into it, which is there up to its body.
func seal(p []byte) { binary.LittleEndian.PutUint32(p[4:], sum(p[8:])) }

// parseHead reads the head of a record, of which room bytes can be there.
func parseHead(p []byte, room int64) (h head, err error) {
	if len(p) < recordHead || binary.LittleEndian.Uint32(p) != recordMagic {
		return h, errDamaged
	}
	key, record := binary.LittleEndian.Uint32(p[16:]), binary.LittleEndian.Uint32(p[20:])
	body := binary.LittleEndian.Uint64(p[24:])
	if key > keyMax || record > recordMax || body > uint64(bodyMax) {
		return h, errDamaged
	}
	h = head{binary.LittleEndian.Uint64(p[8:]), int(key), int(record), int64(body)}
	if h.before()+h.body > room {
		return h, errDamaged
	}
	return h, nil
}
