package hpack

import (
	"errors"

	"github.com/edge-proxy/edge/internal/huffman"
	"github.com/edge-proxy/edge/message"
)

// Field is a field as it was decoded: the line that an HTTP/1 encoder would write for it, "name: value\r\n", also when
// it is a pseudo-field. Line is borrowed until the next call to the decoder. Four words and no more than four members:
// so it travels in registers.
type Field struct {
	Line    []byte
	NameLen uint32 // the name is Line[:NameLen]
	Traits
}

// Traits are what is known about a Field.
type Traits struct {
	ID     message.Name // Other for pseudo-fields
	Pseudo Pseudo
	Bad    Bad
	Never  bool // a proxy that sends the field on must not index it (RFC 7541 §6.2.3)
}

// Name returns the name as it came. Borrowed like f.Line.
func (f *Field) Name() []byte { return f.Line[:f.NameLen] }

// Value returns the value as it came. Borrowed like f.Line.
func (f *Field) Value() []byte { return f.Line[f.NameLen+2 : len(f.Line)-2] }

// Pseudo is the number of a pseudo-field.
type Pseudo uint8

// The pseudo-fields of RFC 9113 §8.3 and RFC 8441 §4.
const (
	Regular       Pseudo = iota // no pseudo-field
	Authority                   // :authority
	Method                      // :method
	Path                        // :path
	Scheme                      // :scheme
	Status                      // :status
	Protocol                    // :protocol
	PseudoUnknown               // a name that begins with a colon and is none of these
)

var pseudoNames = [...]string{
	Authority: ":authority", Method: ":method", Path: ":path", Scheme: ":scheme", Status: ":status",
	Protocol: ":protocol", PseudoUnknown: "",
}

// String returns the name with its colon, "" for Regular and PseudoUnknown.
func (p Pseudo) String() string { return pseudoNames[p] }

// Bad says what makes a field malformed (RFC 9113 §8.2.1): an error of the stream. The state of the table is right
// all the same, so that the connection goes on.
type Bad uint8

// What is wrong with a field.
const (
	BadName  Bad = 1 << iota // empty, with an upper-case letter or another byte that no token has, or 64 KiB long
	BadValue                 // with a control character other than HTAB, or white space at an end
)

// Errors of a block. All but ErrListSize leave the decoder of no use: the connection ends with COMPRESSION_ERROR.
var (
	ErrTruncated  = huffman.ErrTruncated
	ErrInteger    = huffman.ErrInteger
	ErrIndex      = errors.New("hpack: an index that no table entry has")
	ErrHuffman    = huffman.ErrCode
	ErrTableSize  = errors.New("hpack: a table size above the limit")
	ErrLateUpdate = errors.New("hpack: a table size update behind a field")
	ErrNoUpdate   = errors.New("hpack: the table was to shrink, and the block does not begin with that")

	// ErrListSize says that the fields of a block take more than DecoderOptions.ListMax bytes. The state of the table
	// is right: read on to the end of the block, each field gives this error, and refuse only the message.
	ErrListSize = errors.New("hpack: the fields of a block are too large together")
)
