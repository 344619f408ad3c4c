package hpack

import (
	"errors"
	"io"
	"slices"
	"strings"
)

// HeaderField is a field of a header block.
type HeaderField struct {
	Name, Value string
	Sensitive   bool // never to be indexed
}

// IsPseudo reports whether the name begins with a colon.
func (f HeaderField) IsPseudo() bool { return strings.HasPrefix(f.Name, ":") }

// Size is how RFC 7541 §4.1 counts the field.
func (f HeaderField) Size() uint32 { return uint32(len(f.Name) + len(f.Value) + 32) }

// tableSize is the size of a table whose peer says nothing else.
const tableSize = 4096

// table is a dynamic table.
//
//	size is the sum of Size over fields, and <= max
type table struct {
	fields    []HeaderField // the newest first
	size, max uint32
}

// add puts a field first.
func (t *table) add(f HeaderField) {
	t.fields = slices.Insert(t.fields, 0, f)
	t.size += f.Size()
	t.evict()
}

// evict removes the oldest fields until the rest fits.
func (t *table) evict() {
	for t.size > t.max {
		last := len(t.fields) - 1
		t.size -= t.fields[last].Size()
		t.fields = t.fields[:last]
	}
}

// check panics unless what the type says of t holds.
func (t *table) check() {
	sum := uint32(0)
	for _, f := range t.fields {
		sum += f.Size()
	}
	if sum != t.size || sum > t.max {
		panic("hpack: a table counts wrong")
	}
}

// at returns the field with an index.
func (t *table) at(i int) (HeaderField, bool) {
	switch {
	case i == 0:
	case i <= len(static):
		return HeaderField{Name: static[i-1][0], Value: static[i-1][1]}, true
	case i-len(static) <= len(t.fields):
		return t.fields[i-len(static)-1], true
	}
	return HeaderField{}, false
}

// find returns the index of a field, or of one of the same name, or 0.
func (t *table) find(f HeaderField) (index int, whole bool) {
	for i := 1; i <= len(static)+len(t.fields); i++ {
		have, _ := t.at(i)
		if have.Name != f.Name {
			continue
		}
		if have.Value == f.Value {
			return i, true
		}
		if index == 0 {
			index = i
		}
	}
	return index, false
}

// Encoder encodes the fields of a connection, one after the other.
type Encoder struct {
	w     io.Writer
	table table
}

// NewEncoder returns an Encoder that writes to w.
func NewEncoder(w io.Writer) *Encoder { return &Encoder{w, table{max: tableSize}} }

// WriteField writes a field. Unless it is Sensitive, it is in the table afterwards if it fits.
func (e *Encoder) WriteField(f HeaderField) error {
	defer e.table.check()
	index, whole := e.table.find(HeaderField{Name: f.Name, Value: f.Value})
	if whole && !f.Sensitive {
		return e.write(appendInteger(nil, 0x80, 7, index))
	}
	var p []byte
	if f.Sensitive {
		p = appendInteger(nil, 0x10, 4, index)
	} else if f.Size() <= e.table.max {
		p = appendInteger(nil, 0x40, 6, index)
		e.table.add(f)
	} else {
		p = appendInteger(nil, 0, 4, index)
	}
	if index == 0 {
		p = appendString(p, f.Name)
	}
	return e.write(appendString(p, f.Value))
}

func (e *Encoder) write(p []byte) error {
	_, err := e.w.Write(p)
	return err
}

// appendInteger appends an integer after the bits of a first byte (RFC 7541 §5.1).
func appendInteger(dst []byte, first byte, bits uint, n int) []byte {
	most := 1<<bits - 1
	if n < most {
		return append(dst, first|byte(n))
	}
	dst = append(dst, first|byte(most))
	for n -= most; n >= 0x80; n >>= 7 {
		dst = append(dst, byte(n)|0x80)
	}
	return append(dst, byte(n))
}

// appendString appends a string, by Huffman's code where that is shorter (RFC 7541 §5.2).
func appendString(dst []byte, s string) []byte {
	if code := AppendHuffmanString(nil, s); len(code) < len(s) {
		return append(appendInteger(dst, 0x80, 7, len(code)), code...)
	}
	return append(appendInteger(dst, 0, 7, len(s)), s...)
}

// Decoder decodes the header blocks of a connection.
type Decoder struct {
	table table
	limit uint32 // what the table's size may be set to
}

// NewDecoder returns a Decoder for a peer that was told limit as the size of its table.
func NewDecoder(limit uint32) *Decoder { return &Decoder{table{max: limit}, limit} }

// SetLimit is what the peer was told since.
func (d *Decoder) SetLimit(limit uint32) {
	d.limit = limit
	d.table.max = min(d.table.max, limit)
	d.table.evict()
}

var errBlock = errors.New("malformed header block")

// DecodeFull decodes a header block. After an error d is of no use.
func (d *Decoder) DecodeFull(p []byte) (fields []HeaderField, err error) {
	for len(p) > 0 {
		if p[0]&0xe0 == 0x20 { // the table's size, before all fields (RFC 7541 §4.2)
			n, rest, ok := integer(p, 5)
			if !ok || uint32(n) > d.limit || fields != nil {
				return fields, errBlock
			}
			d.table.max, p = uint32(n), rest
			d.table.evict()
			continue
		}
		f, rest, ok := d.field(p)
		if !ok {
			return fields, errBlock
		}
		fields, p = append(fields, f), rest
	}
	d.table.check()
	return fields, nil
}

// field decodes the field at the front of p.
func (d *Decoder) field(p []byte) (f HeaderField, rest []byte, ok bool) {
	bits := uint(4) // of a literal that is not indexed
	switch {
	case p[0]&0x80 != 0:
		index, rest, ok := integer(p, 7)
		if ok {
			f, ok = d.table.at(index)
		}
		return f, rest, ok
	case p[0]&0x40 != 0:
		bits = 6
	}
	indexed := bits == 6
	f.Sensitive = !indexed && p[0]&0x10 != 0
	index, rest, ok := integer(p, bits)
	if ok && index > 0 {
		var named HeaderField
		named, ok = d.table.at(index)
		f.Name = named.Name
	} else if ok {
		f.Name, rest, ok = text(rest)
	}
	if !ok {
		return f, rest, false
	}
	if f.Value, rest, ok = text(rest); ok && indexed {
		if f.Size() > d.table.max {
			d.table.fields, d.table.size = nil, 0
		} else {
			d.table.add(f)
		}
	}
	return f, rest, ok
}

// integer decodes an integer of the lower bits of the first byte and of what follows.
func integer(p []byte, bits uint) (n int, rest []byte, ok bool) {
	if len(p) == 0 {
		return 0, nil, false
	}
	most := 1<<bits - 1
	n, p = int(p[0])&most, p[1:]
	if n < most {
		return n, p, true
	}
	for shift := 0; len(p) > 0 && shift <= 28; shift += 7 {
		b := p[0]
		n, p = n+int(b&0x7f)<<shift, p[1:]
		if b < 0x80 {
			return n, p, true
		}
	}
	return 0, nil, false
}

// text decodes a string.
func text(p []byte) (s string, rest []byte, ok bool) {
	if len(p) == 0 {
		return "", nil, false
	}
	coded := p[0]&0x80 != 0
	n, rest, ok := integer(p, 7)
	if !ok || n > len(rest) {
		return "", nil, false
	}
	s, rest = string(rest[:n]), rest[n:]
	if coded {
		s, ok = HuffmanDecodeToString([]byte(s))
	}
	return s, rest, ok
}
