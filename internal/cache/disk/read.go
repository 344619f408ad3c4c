package disk

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"os"
	"sync/atomic"

	"github.com/edge-proxy/edge/poller"
)

// hash returns the hash of a key. XXH64 has keys whose hashes are the same for each second seed: by such a key a client
// would displace a record of others.
func (s *Store) hash(key []byte) uint64 {
	var room [256]byte
	sum := sha256.Sum256(append(binary.LittleEndian.AppendUint64(room[:0], s.opts.Seed), key...))
	return binary.LittleEndian.Uint64(sum[:])
}

// Has reports whether a record under a key may be read. It does not block.
func (s *Store) Has(key []byte) bool {
	_, ok := s.index.get(s.hash(key))
	return ok
}

// Forget forgets the record under a key; after a restart it may be found again. It does not block.
func (s *Store) Forget(key []byte) { s.index.remove(s.hash(key), 0) }

// Read returns the record under a key, in memory of its own, and its body where that is not in it; nil: there is none.
// It blocks. Damaged records are forgotten, and counted.
func (s *Store) Read(key []byte) (record []byte, body *Body) {
	hash := s.hash(key)
	at, ok := s.index.get(hash)
	if !ok {
		return nil, nil
	}
	of := s.segments.take(at.segment())
	if of == nil { // it was removed since
		s.index.remove(hash, at)
		return nil, nil
	}
	p, h, err := of.front(at.at())
	if err == nil {
		err = s.fault("read")
	}
	switch {
	case err != nil:
		s.counts.errors.Add(1)
		fallthrough
	case h.hash != hash || !bytes.Equal(p[recordHead:][:h.key], key):
		s.index.remove(hash, at)
		of.release()
		return nil, nil
	}
	s.counts.read.Add(1)
	record = p[recordHead+h.key:][:h.record:h.record]
	if h.body == 0 {
		of.release()
		return record, nil
	}
	body = &Body{store: s, segment: of, hash: hash, place: at, at: at.at() + h.before(), Length: h.body,
		sums:    bytes.Clone(p[recordHead+h.key+h.record:]), // p is much larger
		checked: make([]atomic.Uint32, (h.blocks()+31)/32)}
	body.have.Store(h.body)
	return record, body
}

const firstRead = 16 << 10 // bytes: most records are shorter

// front reads a record at a place, up to its body, and checks it.
func (s *segment) front(at int64) (p []byte, h head, err error) {
	p = make([]byte, min(firstRead, max(s.size.Load()-at, 0)))
	if err = readAt(s.file, p, at); err != nil {
		return nil, h, err
	}
	if h, err = parseHead(p, s.size.Load()-at); err != nil {
		return nil, h, err
	}
	if n := h.front(); n <= len(p) {
		p = p[:n]
	} else {
		p = append(make([]byte, 0, n), p...)
		if err = readAt(s.file, p[len(p):n], at+int64(len(p))); err != nil {
			return nil, h, err
		}
		p = p[:n]
	}
	if binary.LittleEndian.Uint32(p[4:]) != sum(p[8:]) {
		err = errDamaged
	}
	return p, h, err
}

// whole reads a record at a place, of most bytes, as it is.
func (s *segment) whole(at, most int64) (whole []byte, h head, err error) {
	p, h, err := s.front(at)
	if err == nil && h.size() > most {
		err = errTooLarge
	}
	if err != nil {
		return nil, h, err
	}
	whole = make([]byte, h.size())
	copy(whole, p)
	return whole, h, readAt(s.file, whole[h.before():][:h.body], at+h.before())
}

var errTooLarge = errors.New("disk: a record is too large to be written again")

func readAt(f *os.File, p []byte, at int64) error {
	_, err := f.ReadAt(p, at)
	return err
}

// Body is a body on disk, which stays there until Close, also when the Store is closed. Safe for any goroutine.
type Body struct {
	Length  int64
	store   *Store
	segment *segment
	hash    uint64
	place   place
	at      int64           // in segment
	sums    []byte          // of blocks
	checked []atomic.Uint32 // a bit for each block: its sum is right
	have    atomic.Int64    // bytes that are there: all, but of a Draft
	rest    atomic.Int64    // its bytes of Store.promised
	open    atomic.Bool     // more of it is written: see leave
}

// Weight is how many bytes of memory b takes.
func (b *Body) Weight() int64 { return int64(len(b.sums) + 4*len(b.checked) + 256) }

// File returns the file that has b from a byte on. It may be read up to where Ready or Load says.
func (b *Body) File() (descriptor uintptr, at int64) { return b.segment.file.Fd(), b.at }

// Close gives b back.
func (b *Body) Close() {
	b.leave(true)
	if b.segment != nil {
		b.segment.release()
	}
}

// leave says that no more of b is written. Others are written to its segment then, if that is good and not full.
func (b *Body) leave(good bool) {
	s := b.store
	if !b.open.Swap(false) {
		return
	}
	s.promised.Add(-b.rest.Swap(0))
	if good && b.segment != nil && b.segment.size.Load() < s.segmentSize() {
		s.rooms.add(b.segment.number)
	}
}

// loadMax is how many bytes Load reads.
const loadMax = 1 << 20

// Ready returns up to where b, from a byte on, can be read without waiting for the disk; from: unknown.
func (b *Body) Ready(from int64) int64 {
	first, end := from/blockSize, from/blockSize
	for last := min((b.Length+blockSize-1)/blockSize, first+loadMax/blockSize); end < last &&
		b.checked[end/32].Load()&(1<<(end%32)) != 0; end++ {
	}
	if end == first {
		return from
	}
	to := min(end*blockSize, b.Length)
	if !poller.File(b.segment.file.Fd()).Cached(b.at+from, int(to-from)) { // the kernel has given pages away
		return from
	}
	return to
}

// Load reads b from a byte on and checks it, and returns up to where it can be sent. It blocks. After an error the
// record is forgotten.
func (b *Body) Load(from int64) (to int64, err error) {
	if err = b.store.fault("load"); err == nil {
		to, err = b.load(from)
	}
	if err != nil {
		b.store.counts.errors.Add(1)
		b.store.index.remove(b.hash, b.place)
	}
	return to, err
}

// check notes that the sum of a block is right.
func (b *Body) check(block int64) { b.checked[block/32].Or(1 << (block % 32)) }

func (b *Body) load(from int64) (to int64, err error) {
	p := make([]byte, min(blockSize, b.Length))
	for block := from / blockSize; block*blockSize < min(b.have.Load(), from+loadMax); block++ {
		p = p[:min(blockSize, b.Length-block*blockSize)]
		if err := readAt(b.segment.file, p, b.at+block*blockSize); err != nil {
			return from, err
		}
		if binary.LittleEndian.Uint32(b.sums[4*block:]) != sum(p) {
			return from, errDamaged
		}
		b.check(block)
		to = block*blockSize + int64(len(p))
	}
	return to, nil
}
