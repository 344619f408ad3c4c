package tinyufo

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"time"

	"github.com/edge-proxy/edge/tinyufo/internal/sketch"
)

// Codec turns an entry into bytes and back. Both functions are called by the goroutine of SaveTo or LoadFrom.
type Codec[K comparable, V any] struct {
	Append func(dst []byte, key K, value V) ([]byte, error)
	Parse  func(src []byte) (K, V, error) // src is borrowed until return
}

// ErrFormat is what LoadFrom returns, wrapped, for what SaveTo has not written, or what was changed since.
var ErrFormat = errors.New("tinyufo: not what SaveTo has written")

const (
	saveMagic   = "tinyufo\x01"
	recordMax   = 1 << 30 // bytes of an entry: more is a length that is wrong
	recordChunk = 1 << 20 // bytes of an entry that are read before more room is made for it
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// SaveTo writes the entries to w, those used most first, with how much they were used and for how long they may
// still be returned. Others may use the cache meanwhile; each shard's policy stops while its entries are
// listed.
//
//	magic 8 │ record … │ 0
//
//	record  length of the entry + 1, uvarint
//	        time that is left in ns + 1, or 0 for ever, uvarint
//	        heat, 1 │ entry │ CRC-32C of all before, 4
func (c *Cache[K, V]) SaveTo(w io.Writer, codec Codec[K, V]) error {
	all := c.rank()
	slices.SortStableFunc(all, hottestFirst)
	out := bufio.NewWriter(w)
	out.WriteString(saveMagic) // out keeps its first error: Flush returns it
	var entry, record []byte
	for _, r := range all {
		left, ok := c.left(r.entry)
		if !ok {
			continue
		}
		var err error
		if entry, err = codec.Append(entry[:0], r.key, r.value); err != nil {
			return fmt.Errorf("tinyufo: an entry cannot be saved: %w", err)
		}
		record = binary.AppendUvarint(record[:0], uint64(len(entry))+1)
		record = binary.AppendUvarint(record, left)
		record = append(append(record, byte(r.heat)), entry...)
		record = binary.LittleEndian.AppendUint32(record, crc32.Checksum(record, castagnoli))
		if _, err := out.Write(record); err != nil {
			return err
		}
	}
	out.WriteByte(0)
	return out.Flush()
}

// LoadFrom reads what SaveTo has written, and takes in the entries as far as there is room, hottest first. Keys
// that are present keep their values. It returns how many entries it has taken in, also with an error:
// ErrFormat, io.ErrUnexpectedEOF when the end is missing, or one of the reader or of Parse.
func (c *Cache[K, V]) LoadFrom(r io.Reader, codec Codec[K, V]) (n int, err error) {
	in := &recordReader{in: bufio.NewReader(r)}
	if err := in.magic(); err != nil {
		return 0, err
	}
	for {
		entry, left, heat, err := in.next()
		if err != nil || entry == nil {
			return n, err
		}
		key, value, err := codec.Parse(entry)
		if err != nil {
			return n, fmt.Errorf("tinyufo: a saved entry cannot be read: %w", err)
		}
		var ttl time.Duration // as for Set
		if left > 0 {
			ttl = time.Duration(left - 1)
		} else if c.timed && c.tti == 0 {
			ttl = Forever
		}
		if c.restore(key, value, ttl, heat) {
			n++
		}
	}
}

// restore takes in an entry if there is room for it, and reports whether there was.
func (c *Cache[K, V]) restore(key K, value V, ttl time.Duration, heat int) bool {
	hash := c.hasher.of(key)
	e := c.makeEntry(key, value, ttl)
	if c.tooHeavy(e) || c.hasher.lost(key) {
		return false
	}
	s := c.shardOf(hash)
	s.mu.Lock()
	s.drain()
	weight := int64(1)
	if c.weighed {
		weight = int64(heavyOf(e).weight)
	}
	if s.small+s.main+weight > s.capacity {
		s.unlock(nil)
		return false
	}
	s.sketch.Add(uint32(hash), min(heat, sketch.Max)-1)
	return s.insertLocked(uint32(hash), e, nil)
}

// recordReader reads records and their checksums.
type recordReader struct {
	in     *bufio.Reader
	record []byte
}

func (r *recordReader) magic() error {
	var magic [len(saveMagic)]byte
	switch _, err := io.ReadFull(r.in, magic[:]); {
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	case err != nil:
		return err
	case string(magic[:]) != saveMagic:
		return fmt.Errorf("%w: it begins with %q", ErrFormat, magic)
	}
	return nil
}

// next reads one record. The entry is nil at the end, and valid until the next call.
func (r *recordReader) next() (entry []byte, left uint64, heat int, err error) {
	r.record = r.record[:0]
	length, err := r.uvarint()
	if err != nil || length == 0 {
		return nil, 0, 0, err
	}
	if left, err = r.uvarint(); err != nil {
		return nil, 0, 0, err
	}
	head := len(r.record)
	if length > recordMax {
		return nil, 0, 0, fmt.Errorf("%w: an entry of %d bytes", ErrFormat, length-1)
	}
	if err := r.read(int(length) + 4); err != nil { // the heat takes the byte that the length is too large by
		return nil, 0, 0, err
	}
	body := r.record[:len(r.record)-4]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(r.record[len(body):]) {
		return nil, 0, 0, fmt.Errorf("%w: a checksum is wrong", ErrFormat)
	}
	return body[head+1:], left, int(body[head]), nil
}

// read appends n bytes to the record, not trusting n with memory.
func (r *recordReader) read(n int) error {
	for n > 0 {
		step := min(n, recordChunk)
		at := len(r.record)
		r.record = slices.Grow(r.record, step)[:at+step]
		if _, err := io.ReadFull(r.in, r.record[at:]); err != nil {
			return unexpected(err)
		}
		n -= step
	}
	return nil
}

func (r *recordReader) uvarint() (uint64, error) {
	begin := len(r.record)
	for {
		b, err := r.in.ReadByte()
		if err != nil {
			return 0, unexpected(err)
		}
		r.record = append(r.record, b)
		if b < 0x80 {
			break
		}
	}
	x, n := binary.Uvarint(r.record[begin:])
	if n <= 0 {
		return 0, fmt.Errorf("%w: a number is too large", ErrFormat)
	}
	return x, nil
}

// unexpected is the error for a file that ends before its end.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
