package hpack

import (
	"bytes"

	"github.com/edge-proxy/edge/internal/base/huffman"
	"github.com/edge-proxy/edge/internal/stream/section"
	"github.com/edge-proxy/edge/message"
)

// EncoderOptions of an Encoder. The zero value is good.
type EncoderOptions struct {
	TableMax int // the largest table that it uses, whatever the peer offers; 0 is 4096, negative is none
}

// Encoder encodes the header blocks of one direction of a connection. Owned by its reactor.
//
//	directory names every entry of table
type Encoder struct {
	table     table
	directory directory
	tableMax  int
	low       int  // the lowest size that was set since the last block, IntegerMax if none
	pending   bool // an update of the size is due

	// seen remembers the hashes of volatile fields that were sent as literals, the last one for each low nibble.
	seen [16]uint32
}

// Init makes e ready for a new connection. It keeps the memory of an earlier one.
func (e *Encoder) Init(o EncoderOptions) {
	*e = Encoder{table: e.table, directory: e.directory, tableMax: o.TableMax, low: huffman.IntegerMax}
	if o.TableMax == 0 {
		e.tableMax = defaultTableSize
	}
	e.table.reset(defaultTableSize)
	e.directory.reset()
	e.SetMax(defaultTableSize)
}

// SetMax takes the SETTINGS_HEADER_TABLE_SIZE of the peer. The next Begin writes what follows from it.
func (e *Encoder) SetMax(n int) {
	n = max(min(n, e.tableMax), 0)
	if n == e.table.max {
		return
	}
	e.low = min(e.low, n)
	e.pending = true
	e.table.resize(n)
}

// Begin starts a block: it appends the updates of the table size that are due.
func (e *Encoder) Begin(dst []byte) []byte {
	e.check()
	if !e.pending {
		return dst
	}
	// RFC 7541 §4.2: of several changes the lowest and the last are told.
	if e.low < e.table.max {
		dst = huffman.AppendInteger(dst, 0x20, 5, e.low)
	}
	e.pending, e.low = false, huffman.IntegerMax
	return huffman.AppendInteger(dst, 0x20, 5, e.table.max)
}

// AppendMethod appends :method.
func (e *Encoder) AppendMethod(dst, method []byte) []byte {
	switch string(method) {
	case "GET":
		return append(dst, 0x82)
	case "POST":
		return append(dst, 0x83)
	}
	return e.field(dst, pseudoAt(section.Method), nil, method, indexed)
}

// AppendScheme appends :scheme.
func (e *Encoder) AppendScheme(dst, scheme []byte) []byte {
	switch string(scheme) {
	case "http":
		return append(dst, 0x86)
	case "https":
		return append(dst, 0x87)
	}
	return e.field(dst, pseudoAt(section.Scheme), nil, scheme, indexed)
}

// AppendAuthority appends :authority.
func (e *Encoder) AppendAuthority(dst, host []byte) []byte {
	return e.field(dst, pseudoAt(section.Authority), nil, host, indexed)
}

// AppendPath appends :path. One with a query never enters the table: it seldom comes again, and may hold
// secrets.
func (e *Encoder) AppendPath(dst, target []byte) []byte {
	switch string(target) {
	case "/":
		return append(dst, 0x84)
	case "/index.html":
		return append(dst, 0x85)
	}
	p := volatile
	if bytes.IndexByte(target, '?') >= 0 {
		p = plain
	}
	return e.field(dst, pseudoAt(section.Path), nil, target, p)
}

// AppendProtocol appends :protocol (RFC 8441).
func (e *Encoder) AppendProtocol(dst, protocol []byte) []byte {
	return e.field(dst, pseudoAt(section.Protocol), nil, protocol, indexed)
}

// AppendStatus appends :status. status is one of 100..999.
func (e *Encoder) AppendStatus(dst []byte, status int) []byte {
	switch status {
	case 200:
		return append(dst, 0x88)
	case 204:
		return append(dst, 0x89)
	case 206:
		return append(dst, 0x8a)
	case 304:
		return append(dst, 0x8b)
	case 400:
		return append(dst, 0x8c)
	case 404:
		return append(dst, 0x8d)
	case 500:
		return append(dst, 0x8e)
	}
	digits := [3]byte{byte('0' + status/100), byte('0' + status/10%10), byte('0' + status%10)}
	return e.field(dst, pseudoAt(section.Status), nil, digits[:], indexed)
}

// AppendField appends a field. id is the number of name; name, which may be in any case and is written in lower case,
// matters only when that is Other. forbid forbids all proxies on the way to index the field; for credentials the
// encoder does so of its own.
func (e *Encoder) AppendField(dst []byte, id message.Name, name, value []byte, forbid bool) []byte {
	p := names[id].policy
	if p == crumb {
		p = volatile
		if len(value) < crumbMin {
			p = never
		}
	}
	if forbid {
		p = never
	}
	if id == message.AcceptEncoding && string(value) == "gzip, deflate" && p != never {
		return append(dst, 0x80|16)
	}
	return e.field(dst, int(id), name, value, p)
}

// label is a name to be encoded.
type label struct {
	*known
	at     int    // its index in names, 0 when it has none
	name   []byte // then: as the caller spells it
	static int    // the index of the name in the static table, or 0
	hash   uint32
}

// field appends the field whose name is names[at], or name when at is 0.
func (e *Encoder) field(dst []byte, at int, name, value []byte, p policy) []byte {
	l := label{known: &names[at], at: at, static: int(names[at].static), hash: uint32(at)}
	if at == 0 {
		l.name, l.hash, l.static = name, hashName(name), unnumbered(name)
	}
	if p >= plain {
		return e.literal(dst, &l, value, p)
	}
	whole := hashValue(l.hash, value)
	if i := e.directory.find(&e.table, whole, &l, value); i != 0 {
		return huffman.AppendInteger(dst, 0x80, 7, staticLen+i)
	}
	if last := &e.seen[whole%uint32(len(e.seen))]; p == volatile && *last != whole {
		*last = whole
		p = plain
	}
	cost := l.len() + len(value) + entryOverhead
	if cost > e.table.max/2 {
		p = plain // it would push out too much
	}
	dst = e.literal(dst, &l, value, p)
	if p < plain {
		e.insert(&l, value, whole)
	}
	return dst
}

// literal appends a field that no table holds (RFC 7541 §6.2).
func (e *Encoder) literal(dst []byte, l *label, value []byte, p policy) []byte {
	index := l.static
	if index == 0 {
		if i := e.directory.findName(&e.table, l); i != 0 {
			index = staticLen + i
		}
	}
	switch {
	case p < plain:
		dst = huffman.AppendInteger(dst, 0x40, 6, index)
	case p == never:
		dst = huffman.AppendInteger(dst, 0x10, 4, index)
	default:
		dst = huffman.AppendInteger(dst, 0, 4, index)
	}
	switch {
	case index != 0:
	case l.at != 0:
		dst = append(dst, l.literal...)
	case len(l.name) <= nameRoom:
		var room [nameRoom]byte
		dst = huffman.AppendString(dst, message.AppendLower(room[:0], l.name), 0, 7)
	default:
		dst = message.AppendLower(huffman.AppendInteger(dst, 0, 7, len(l.name)), l.name)
	}
	return huffman.AppendString(dst, value, 0, 7)
}

// nameRoom is the longest name without a number that is Huffman coded.
const nameRoom = 64

// insert puts a field into the table, as the decoder of the peer will.
func (e *Encoder) insert(l *label, value []byte, whole uint32) {
	n := l.len()
	var traits section.Traits
	if l.at < int(message.NameCount) {
		traits.ID = message.Name(l.at)
	} else {
		traits.Pseudo = section.Pseudo(l.at - int(message.NameCount))
	}
	line := e.table.insert(n+len(value)+lineOverhead, uint32(n), traits)
	if l.at != 0 {
		line = line[copy(line, l.text):]
	} else {
		line = line[len(message.AppendLower(line[:0], l.name)):]
	}
	copy(line[2:], value)
	e.directory.add(&e.table, whole, l.hash)
}

func (l *label) len() int {
	if l.at != 0 {
		return len(l.text)
	}
	return len(l.name)
}

// names reports whether l is the name of an entry of t.
func (l *label) names(t *table, e *entry) bool {
	if l.at != 0 {
		return l.at == int(e.traits.ID) || l.at == pseudoAt(e.traits.Pseudo)
	}
	return e.traits == section.Traits{} && message.EqualFoldBytes(t.name(e), l.name)
}
