package hpack

import (
	"github.com/edge-proxy/edge/internal/base/huffman"
	"github.com/edge-proxy/edge/internal/stream/section"
	"github.com/edge-proxy/edge/message"
)

// DecoderOptions of a Decoder. The zero value sets no limit to the list.
type DecoderOptions struct {
	// ListMax is how large the fields of one block may be together, as RFC 9113 §6.5.2 counts them: name, value and
	// 32 for each field. 0 is no limit: the caller's limit on the block is the only one.
	ListMax int

	// Scratch is where literals are decoded, shared by all decoders of a reactor: what it holds is needed only from
	// Begin to the end of a block, so no two of them may be within a block at a time. nil: the decoder has its own.
	Scratch *[]byte
}

// Decoder decodes the header blocks of one direction of a connection. Owned by its reactor, not to be copied.
//
//	once a call has returned another error than ErrListSize, every call returns it
//	table.max <= limit unless shrink; shrink => table.max > limit
//	ready <=> err == nil and not shrink
type Decoder struct {
	table   table
	limit   int  // what the peer may set table.max to
	shrink  bool // the peer has to lower table.max, since limit fell below it
	behind  bool // a field of the block was read
	list    int  // size of the block's fields so far
	listMax int
	ready   bool // Next may take its short ways
	ahead   ahead
	scratch *[]byte
	own     []byte
	err     error
}

// Init makes d ready for a new connection. It keeps the memory of an earlier one.
func (d *Decoder) Init(o DecoderOptions) {
	*d = Decoder{table: d.table, own: d.own, limit: defaultTableSize, listMax: o.ListMax, scratch: o.Scratch,
		ready: true}
	d.table.reset(defaultTableSize)
	if d.scratch == nil {
		d.scratch = &d.own
	}
	if d.listMax <= 0 {
		d.listMax = huffman.IntegerMax
	}
}

// SetMax sets the limit of the table size: call it when the peer has acknowledged our SETTINGS_HEADER_TABLE_SIZE.
func (d *Decoder) SetMax(n int) {
	d.limit = min(n, huffman.IntegerMax)
	// RFC 9113 §4.3.1: a block that follows the acknowledgement of a smaller size has to begin with an update.
	d.shrink = d.table.max > d.limit
	d.ready = d.err == nil && !d.shrink
}

// Begin starts a block.
func (d *Decoder) Begin() {
	d.check()
	d.behind, d.list, d.ahead = false, 0, ahead{}
}

// Next decodes the field at the front of block, which is the whole rest of a header block, and reports how many bytes
// it took. f.Line is nil when they were nothing but updates of the table size. block and f are borrowed.
func (d *Decoder) Next(block []byte) (n int, f section.Field, err error) {
	if len(block) > 0 && d.ready {
		// What is most frequent, an index of one byte, takes the shortest way.
		if c := block[0]; c > 0x80 && c < 0xff {
			index := uint32(c & 0x7f)
			if index <= staticLen {
				if s := &staticRendered[index]; d.count(len(s.Line) - lineOverhead + entryOverhead) {
					d.behind = true
					return 1, *s, nil
				}
			} else if t := &d.table; index-staticLen <= t.next-t.oldest {
				if e := t.entry(t.next - (index - staticLen)); d.count(e.cost()) {
					d.behind = true
					return 1, section.Field{Line: t.line(e), NameLen: e.nameLen, Traits: e.traits}, nil
				}
			}
		} else if c < 0x80 && c&0xe0 != 0x20 {
			d.behind = true
			if n, f, err = d.literal(block, 0); err != nil {
				return d.settle(n, err)
			}
			return n, f, nil
		}
	}
	return d.next(block)
}

// next is Next for every kind of field.
func (d *Decoder) next(block []byte) (n int, f section.Field, err error) {
	if d.err != nil {
		return 0, section.Field{}, d.err
	}
	for n < len(block) && block[n]&0xe0 == 0x20 {
		if n, err = d.update(block, n); err != nil {
			return d.settle(0, err)
		}
	}
	if n == len(block) {
		return n, section.Field{}, nil
	}
	if d.shrink {
		return d.settle(0, errNoUpdate)
	}
	d.behind = true
	if block[n]&0x80 != 0 {
		n, f, err = d.indexed(block, n)
	} else {
		n, f, err = d.literal(block, n)
	}
	if err != nil {
		return d.settle(n, err)
	}
	return n, f, nil
}

// settle returns an error, which ends d unless it is ErrListSize.
func (d *Decoder) settle(n int, err error) (int, section.Field, error) {
	if err != ErrListSize {
		d.err, d.ready = err, false
		n = 0
	}
	return n, section.Field{}, err
}

// update reads a change of the table size (RFC 7541 §6.3).
func (d *Decoder) update(block []byte, at int) (next int, err error) {
	if d.behind {
		return 0, errLateUpdate // RFC 7541 §4.2: it stands at the beginning of a block
	}
	size, next, err := huffman.ReadInteger(block, at, 5)
	if err != nil {
		return 0, err
	}
	if size > d.limit {
		return 0, errTableSize
	}
	d.table.resize(size)
	d.shrink, d.ready = false, true
	return next, nil
}

// indexed reads a field that a table holds (RFC 7541 §6.1).
func (d *Decoder) indexed(block []byte, at int) (next int, f section.Field, err error) {
	index, next, err := huffman.ReadInteger(block, at, 7)
	if err != nil {
		return 0, section.Field{}, err
	}
	f, ok := d.at(index)
	if !ok {
		return 0, section.Field{}, errIndex
	}
	if !d.count(len(f.Line) - lineOverhead + entryOverhead) {
		return next, section.Field{}, ErrListSize
	}
	return next, f, nil
}

// at returns the field that index names.
func (d *Decoder) at(index int) (f section.Field, ok bool) {
	if uint(index) < uint(len(staticRendered)) {
		return staticRendered[index], index > 0
	}
	n := uint32(index - staticLen)
	if n > d.table.next-d.table.oldest {
		return section.Field{}, false
	}
	e := d.table.entry(d.table.next - n)
	return section.Field{Line: d.table.line(e), NameLen: e.nameLen, Traits: e.traits}, true
}

func (d *Decoder) count(size int) bool {
	d.list += size
	if d.list > d.listMax {
		d.list = huffman.IntegerMax // the rest of the block cannot fit either
		return false
	}
	return true
}

// literal reads a field that is spelled out, its name perhaps taken from a table (RFC 7541 §6.2).
func (d *Decoder) literal(block []byte, at int) (next int, f section.Field, err error) {
	c, bits := block[at], uint(4)
	if c&0x40 != 0 {
		bits = 6
	}
	start := d.resume(len(block) - at)
	index, next := int(c)&(1<<bits-1), at+1
	if index == 1<<bits-1 {
		if index, next, err = huffman.ReadInteger(block, at, bits); err != nil {
			return 0, section.Field{}, err
		}
	}
	var nameLen uint32
	var traits section.Traits
	if index > staticLen {
		named, ok := d.at(index)
		if !ok {
			return 0, section.Field{}, errIndex
		}
		nameLen, traits = named.NameLen, named.Traits
		traits.Bad &^= section.BadValue
		copy(d.room(start + int(nameLen) + 2)[start:], named.Line[:nameLen+2])
	} else if index > 0 {
		named := &staticRendered[index]
		nameLen, traits = named.NameLen, section.Traits{ID: named.ID, Pseudo: named.Pseudo}
		if d.ahead.left == 0 {
			d.put(start, &staticFronts[index])
		}
	} else if nameLen, traits, next, err = d.name(block, next, start); err != nil && err != ErrListSize {
		return 0, section.Field{}, err
	}
	tooLong := err != nil
	value := start + int(nameLen) + 2
	end, next, control, err := d.text(block, next, value, true)
	if err != nil && err != ErrListSize {
		return 0, section.Field{}, err
	}
	if tooLong || err != nil {
		if c&0x40 != 0 {
			d.table.evict(0) // the field is larger than the table, see stringMax
		}
		d.list = huffman.IntegerMax
		return next, section.Field{}, ErrListSize
	}
	buf := *d.scratch
	traits.Bad |= section.CheckValue(buf[value:end], control)
	buf[end], buf[end+1] = '\r', '\n'
	line := buf[start : end+2]
	if c&0x40 != 0 {
		copy(d.table.insert(len(line), nameLen, traits), line)
	}
	if !d.count(len(line) - lineOverhead + entryOverhead) {
		return next, section.Field{}, ErrListSize
	}
	traits.Never = c&0xf0 == 0x10
	return next, section.Field{Line: line, NameLen: nameLen, Traits: traits}, nil
}

// name reads a name that is spelled out to start in the scratch.
func (d *Decoder) name(block []byte, at, start int) (nameLen uint32, traits section.Traits, next int, err error) {
	if id := codedName(block, at); id != message.Other {
		k := &names[id]
		if d.ahead.left == 0 {
			d.put(start, &k.front)
		}
		return uint32(len(k.text)), section.Traits{ID: id}, at + len(k.literal), nil
	}
	end, next, _, err := d.text(block, at, start, false)
	if err != nil {
		return 0, section.Traits{}, next, err
	}
	buf := *d.scratch
	traits = section.CheckName(buf[start:end])
	buf[end], buf[end+1] = ':', ' '
	return uint32(end - start), traits, next, nil
}

// put copies the beginning of a line to the scratch.
func (d *Decoder) put(start int, f *front) {
	text := *f // by way of a copy, as what may overlap goes through memmove
	*(*front)(d.room(start + len(text))[start:]) = text
}

// room returns the scratch with a length of at least n. What it held is kept.
func (d *Decoder) room(n int) []byte {
	if buf := *d.scratch; n <= len(buf) {
		return buf
	}
	return d.grow(n)
}

func (d *Decoder) grow(n int) []byte {
	buf := make([]byte, max(lineBytesMin, 2*len(*d.scratch), n))
	copy(buf, *d.scratch)
	*d.scratch = buf
	return buf
}

// stringMax is the length above which a string is passed over: it fits neither in the list nor in the table.
func (d *Decoder) stringMax() int { return max(d.listMax, d.table.max) }

// text reads the string at block[at] to the scratch, from to on, and returns where it ends there, with room for two
// more bytes. It returns ErrListSize and what follows when the string is longer than stringMax. control says that a
// control character other than HTAB is in it. The string may be a string that is ahead, and if it is the value of a
// field, the next field may be taken ahead.
func (d *Decoder) text(block []byte, at, to int, value bool) (end, next int, control bool, err error) {
	if at >= len(block) {
		return 0, 0, false, errTruncated
	}
	coded := block[at]&0x80 != 0
	size := int(block[at] & 0x7f)
	at++
	if size == 0x7f {
		if size, at, err = huffman.ReadInteger(block, at-1, 7); err != nil {
			return 0, 0, false, err
		}
	}
	if size > len(block)-at {
		return 0, 0, false, errTruncated
	}
	next = at + size
	if !coded {
		if size > d.stringMax() {
			return 0, next, false, ErrListSize
		}
		end = to + size
		buf := d.room(end + 2)
		copy(buf[to:], block[at:next])
		return end, next, section.HasControl(buf[to:end]), nil
	}
	if longest := d.stringMax(); size > longest && size*8/huffman.CodeMax > longest {
		return 0, next, false, ErrListSize
	}
	buf := d.room(to + huffman.Room(size) + 2)
	r := huffman.Run{At: to, Bit: at * 8, End: next}
	if value {
		if d.ahead.left != 0 {
			r.At, r.Bit = to+d.ahead.symbols, len(block)*8-d.ahead.bits
			d.ahead.left = 0
		}
		if next-r.Bit>>3 >= huffman.RunMin {
			r = d.pair(block, r)
			buf = *d.scratch
		}
	}
	end, control, err = huffman.Decode(buf, block, r)
	return end, next, control, err
}

// ahead is the value of a field that follows, the beginning of which was decoded together with the field before.
type ahead struct {
	left    int // how much of the block was left at the field; 0 if none is ahead
	start   int // where its line goes in the scratch
	symbols int // how many are decoded
	bits    int // from the next one to the end of the block
}

// aheadMax bounds what the scratch holds of a block, and so how often a field can be ahead in a row.
const aheadMax = 4096

// resume returns where the line of the field goes before which left bytes of the block are left.
func (d *Decoder) resume(left int) int {
	if d.ahead.left != left {
		d.ahead = ahead{} // the block was given up
	}
	return d.ahead.start
}

// pair decodes what it can of r, the value of a field, and with it of the next value, if that is a literal with a name
// of the static table.
func (d *Decoder) pair(block []byte, r huffman.Run) huffman.Run {
	at := r.End
	if len(block)-at < huffman.RunMin+2 {
		return r
	}
	c, index, next := block[at], 0, at+1
	switch {
	case c&0xc0 == 0x40:
		index = int(c & 0x3f)
	case c&0xe0 == 0 && c&0x0f != 0x0f:
		index = int(c & 0x0f)
	default:
		return r
	}
	var name *front
	nameLen := 0
	if index == 0 {
		id := codedName(block, next)
		name, nameLen, next = &names[id].front, len(names[id].text), next+len(names[id].literal)
	} else if index <= staticLen {
		name, nameLen = &staticFronts[index], int(staticRendered[index].NameLen)
	}
	if nameLen == 0 || next >= len(block) || block[next] < 0x80|huffman.RunMin || block[next] == 0xff {
		return r
	}
	size := int(block[next] & 0x7f)
	next++
	if size > len(block)-next {
		return r
	}
	start := r.At + huffman.Room(r.End-r.Bit>>3) + 2
	value := start + nameLen + 2
	if start > aheadMax {
		return r
	}
	t := huffman.Run{At: value, Bit: next * 8, End: next + size}
	buf := d.room(value + huffman.Room(size) + frontMax)
	d.put(start, name)
	r, t = huffman.DecodePair(buf, block, r, t)
	d.ahead = ahead{left: len(block) - at, start: start, symbols: t.At - value, bits: len(block)*8 - t.Bit}
	return r
}
