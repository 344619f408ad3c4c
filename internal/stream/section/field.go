package section

import (
	"encoding/binary"

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
	Never  bool // a proxy that sends the field on must not index it (RFC 7541 §6.2.3, RFC 9204 §4.5.4)
}

// Name returns the name as it came. Borrowed like f.Line.
func (f *Field) Name() []byte { return f.Line[:f.NameLen] }

// Value returns the value as it came. Borrowed like f.Line.
func (f *Field) Value() []byte { return f.Line[f.NameLen+2 : len(f.Line)-2] }

// Pseudo is the number of a pseudo-field.
type Pseudo uint8

// The pseudo-fields of RFC 9113 §8.3, RFC 9114 §4.3 and RFC 8441 §4.
const (
	Regular       Pseudo = iota // no pseudo-field
	Authority                   // :authority
	Method                      // :method
	Path                        // :path
	Scheme                      // :scheme
	Status                      // :status
	Protocol                    // :protocol
	PseudoUnknown               // a name that begins with a colon and is none of these
	PseudoCount                 // how many there are
)

var pseudoNames = [PseudoCount]string{
	Authority: ":authority", Method: ":method", Path: ":path", Scheme: ":scheme", Status: ":status",
	Protocol: ":protocol", PseudoUnknown: "",
}

// String returns the name with its colon, "" for Regular and PseudoUnknown.
func (p Pseudo) String() string { return pseudoNames[p] }

// Bad says what makes a field malformed (RFC 9113 §8.2.1, RFC 9114 §4.2): an error of the stream. The state of a table
// is right all the same, so that the connection goes on.
type Bad uint8

// What is wrong with a field.
const (
	BadName  Bad = 1 << iota // empty, with an upper-case letter or another byte that no token has, or 64 KiB long
	BadValue                 // with a control character other than HTAB, or white space at an end
)

// LookupPseudo returns the number of a name that begins with a colon, Regular for any other.
func LookupPseudo(name []byte) Pseudo {
	if len(name) == 0 || name[0] != ':' {
		return Regular
	}
	switch string(name) {
	case ":authority":
		return Authority
	case ":method":
		return Method
	case ":path":
		return Path
	case ":scheme":
		return Scheme
	case ":status":
		return Status
	case ":protocol":
		return Protocol
	}
	return PseudoUnknown
}

// CheckName tells which name it is, and whether RFC 9113 §8.2.1 and RFC 9114 §4.2 allow it.
func CheckName(name []byte) (t Traits) {
	if t.Pseudo = LookupPseudo(name); t.Pseudo != Regular {
		if t.Pseudo == PseudoUnknown && !message.ValidName(name[1:]) {
			t.Bad = BadName
		}
		return t
	}
	t.ID = message.LookupBytes(name)
	if t.ID == message.Other && !message.ValidName(name) || hasUpper(name) {
		t.Bad = BadName
	}
	return t
}

func hasUpper(name []byte) bool {
	for _, c := range name {
		if c-'A' < 26 {
			return true
		}
	}
	return false
}

const each = 0x0101010101010101

// HasControl reports whether a control character other than HTAB is in b, NUL, CR and LF among them.
func HasControl(b []byte) bool {
	if len(b) < 8 {
		return control(b)
	}
	for i := 0; i+8 < len(b); i += 8 {
		if suspect(binary.LittleEndian.Uint64(b[i:])) && control(b[i:i+8]) {
			return true
		}
	}
	last := b[len(b)-8:]
	return suspect(binary.LittleEndian.Uint64(last)) && control(last)
}

// suspect reports whether a byte of x is below 0x20 or 0x7f. It may say so wrongly, when one is HTAB or above another.
func suspect(x uint64) bool {
	del := x ^ 0x7f*each
	return ((x-0x20*each)&^x|(del-each)&^del)&(0x80*each) != 0
}

func control(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
}

// CheckValue tells what is wrong with a value. control says that HasControl holds for it.
func CheckValue(value []byte, control bool) Bad {
	if control || len(value) > 0 && (blank(value[0]) || blank(value[len(value)-1])) {
		return BadValue
	}
	return 0
}

func blank(c byte) bool { return c == ' ' || c == '\t' }
