package qpack

import (
	"github.com/edge-proxy/edge/internal/base/huffman"
	"github.com/edge-proxy/edge/internal/stream/section"
)

// The first octet of a field line (RFC 9204 §4.5).
//
//	1 T index:6               indexed; T: in the static table
//	0 1 N T index:4           a literal with the name of an entry
//	0 0 1 N H length:3        a literal with a name in full; H: that is Huffman code
//	0 0 0 1 …, 0 0 0 0 …      relative to a base: only the dynamic table has that
const (
	indexed      = 0x80
	indexedFixed = 0x40
	literalIndex = 0x40
	neverIndex   = 0x20
	fixedIndex   = 0x10
	literalName  = 0x20
	neverName    = 0x10
	nameBits     = 3
)

const (
	fieldOverhead = 32 // RFC 9114 §4.2.2
	lineOverhead  = 4  // ": " and CRLF
	scratchLeast  = 512
)

// DecoderOptions of a Decoder. The zero value sets no limit to the list.
type DecoderOptions struct {
	// ListMax bounds the size of the fields of one section together, as RFC 9114 §4.2.2 counts it: name, value and
	// 32 for each field. 0 is no limit: the caller's limit on the section is the only one.
	ListMax int
}

// Decoder decodes field sections, one after the other, of any connection. Owned by its reactor, not to be copied.
type Decoder struct {
	list    int // size of the section's fields so far
	listMax int
	scratch []byte // where literals are decoded
}

// Init makes d ready for sections with these options.
func (d *Decoder) Init(o DecoderOptions) {
	*d = Decoder{scratch: d.scratch, listMax: o.ListMax}
	if d.listMax <= 0 {
		d.listMax = huffman.IntegerMax
	}
}

// Begin starts a section and returns how long its prefix is (RFC 9204 §4.5.1).
func (d *Decoder) Begin(block []byte) (n int, err error) {
	d.list = 0
	count, n, err := huffman.ReadInteger(block, 0, 8)
	if err != nil {
		return 0, err
	}
	// A section that needs entries of the dynamic table, or has a base below zero.
	if count != 0 || n < len(block) && block[n]&0x80 != 0 {
		return 0, errDynamic
	}
	if n == len(block) {
		return 0, errTruncated
	}
	// The base means nothing here. It may be an integer of 62 bits (§4.1.1).
	if n++; block[n-1] == 0x7f {
		for n < len(block) && block[n]&0x80 != 0 {
			n++
		}
		n++
	}
	if n > len(block) {
		return 0, errTruncated
	}
	return n, nil
}

// Next decodes the field at the front of block, which is the whole rest of a section and not empty, and reports how
// many bytes it took. block and f are borrowed.
func (d *Decoder) Next(block []byte) (n int, f section.Field, err error) {
	c := block[0]
	if c&(indexed|indexedFixed) == indexed|indexedFixed {
		index, n := int(c&0x3f), 1
		if index == 0x3f {
			if index, n, err = huffman.ReadInteger(block, 0, 6); err != nil {
				return 0, f, err
			}
		}
		if uint(index) >= staticLen {
			return 0, f, errIndex
		}
		s := &staticRendered[index]
		if !d.count(len(s.Line)) {
			return n, f, ErrListSize
		}
		return n, *s, nil
	}
	return d.literal(block)
}

func (d *Decoder) count(line int) bool {
	d.list += line - lineOverhead + fieldOverhead
	if d.list > d.listMax {
		d.list = huffman.IntegerMax // the rest of the section cannot fit either
		return false
	}
	return true
}

// literal reads a field that is spelled out, its name perhaps taken from the table (RFC 9204 §4.5.4, §4.5.6).
func (d *Decoder) literal(block []byte) (n int, f section.Field, err error) {
	c := block[0]
	tooLong := false
	switch {
	case c&(indexed|literalIndex|fixedIndex) == literalIndex|fixedIndex:
		index, next, err := huffman.ReadInteger(block, 0, 4)
		if err != nil {
			return 0, f, err
		}
		if index >= staticLen {
			return 0, f, errIndex
		}
		s := &staticRendered[index]
		f.NameLen, f.Traits, n = s.NameLen, s.Traits, next
		copy(d.room(int(s.NameLen)+2), s.Line[:s.NameLen+2])
		f.Never = c&neverIndex != 0
	case c&(indexed|literalIndex|literalName) == literalName:
		f.NameLen, f.Traits, n, err = d.name(block)
		if tooLong = err == ErrListSize; err != nil && !tooLong {
			return 0, section.Field{}, err
		}
		f.Never = c&neverName != 0
	default:
		return 0, f, errDynamic
	}
	value := int(f.NameLen) + 2
	end, n, control, err := d.text(block, n, 7, value)
	switch {
	case err == ErrListSize || err == nil && tooLong:
		d.list = huffman.IntegerMax
		return n, section.Field{}, ErrListSize
	case err != nil:
		return 0, section.Field{}, err
	}
	buf := d.scratch
	f.Bad |= section.CheckValue(buf[value:end], control)
	buf[end], buf[end+1] = '\r', '\n'
	f.Line = buf[:end+2]
	if !d.count(len(f.Line)) {
		return n, section.Field{}, ErrListSize
	}
	return n, f, nil
}

// name reads a name that is spelled out at the front of block to the front of the scratch.
func (d *Decoder) name(block []byte) (nameLen uint32, traits section.Traits, next int, err error) {
	end, next, _, err := d.text(block, 0, nameBits, 0)
	if err != nil {
		return 0, traits, next, err
	}
	buf := d.scratch
	traits = section.CheckName(buf[:end])
	buf[end], buf[end+1] = ':', ' '
	return uint32(end), traits, next, nil
}

// room returns the scratch with a length of at least n. What it held is kept.
func (d *Decoder) room(n int) []byte {
	if n > len(d.scratch) {
		buf := make([]byte, max(scratchLeast, 2*len(d.scratch), n))
		copy(buf, d.scratch)
		d.scratch = buf
	}
	return d.scratch
}

// text reads the string at block[at], whose length has a prefix of bits bits, to the scratch from to on. It returns
// where it ends there, with room for two more bytes. It returns ErrListSize and what follows when the string is longer
// than the list may be. control says that a control character other than HTAB is in it.
func (d *Decoder) text(block []byte, at int, bits uint, to int) (end, next int, control bool, err error) {
	if at >= len(block) {
		return 0, 0, false, errTruncated
	}
	coded := block[at]>>bits&1 != 0
	size, at, err := huffman.ReadInteger(block, at, bits)
	if err != nil {
		return 0, 0, false, err
	}
	if size > len(block)-at {
		return 0, 0, false, errTruncated
	}
	next = at + size
	if !coded {
		if size > d.listMax {
			return 0, next, false, ErrListSize
		}
		end = to + size
		buf := d.room(end + 2)
		copy(buf[to:], block[at:next])
		return end, next, section.HasControl(buf[to:end]), nil
	}
	if size > d.listMax && size*8/huffman.CodeMax > d.listMax {
		return 0, next, false, ErrListSize
	}
	buf := d.room(to + huffman.Room(size) + 2)
	end, control, err = huffman.Decode(buf, block, huffman.Run{At: to, Bit: at * 8, End: next})
	return end, next, control, err
}
