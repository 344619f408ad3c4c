package observe

import "fmt"

// Format is the form of a line of the access log.
type Format uint8

// The formats of the access log.
const (
	FormatJSON Format = iota
	FormatCommon
	FormatCombined
	FormatTimed // FormatCommon with the backend and the duration, for a person who watches; no configuration names it
)

// ParseFormat understands "json", "common" and "combined".
func ParseFormat(name string) (Format, error) {
	switch name {
	case "json":
		return FormatJSON, nil
	case "common":
		return FormatCommon, nil
	case "combined":
		return FormatCombined, nil
	}
	return 0, fmt.Errorf("log format %q is none of json, common, combined", name)
}

// AccessLog appends records to a Sink. Owned by one goroutine, usually a reactor.
type AccessLog struct {
	ring   *Ring
	format Format
	enc    Encoder
}

// AccessLog makes the log of one more producer, with a ring of its own.
func (s *Sink) AccessLog(format Format) *AccessLog {
	return &AccessLog{ring: s.Ring(), format: format}
}

// Append writes r as a line, without waiting and without allocating, or drops and counts it. r
// and all that it points to is borrowed until return.
func (a *AccessLog) Append(r *Record) {
	most := RecordMax
	if len(r.Fields) > 0 {
		most += fieldsMax
	}
	b := a.ring.Reserve(most)
	if b == nil {
		return
	}
	switch a.format {
	case FormatCommon:
		b = a.enc.AppendCommon(b, r)
	case FormatCombined:
		b = a.enc.AppendCombined(b, r)
	case FormatTimed:
		b = a.enc.AppendTimed(b, r)
	default:
		b = a.enc.AppendJSON(b, r)
	}
	a.ring.Commit(len(b))
}

// AppendLine writes a line that the caller has made, of LineMax bytes at most: bytes beyond it are cut off. The values
// in it are escaped: see EscapeText and EscapeJSON. line is borrowed until return.
func (a *AccessLog) AppendLine(line []byte) {
	line = line[:min(len(line), LineMax-1)]
	if b := a.ring.Reserve(len(line) + 1); b != nil {
		a.ring.Commit(len(append(append(b, line...), '\n')))
	}
}

// EscapeJSON appends the first 256 bytes of value as the inside of a JSON string: a client cannot end the string, nor
// the line.
func EscapeJSON(dst, value []byte) []byte { return appendJSON(dst, value) }

// EscapeText appends the first 256 bytes of value with \xNN for all but the characters of ASCII that are no control
// characters, quotation marks or backslashes: a client cannot end a text in quotation marks, nor the line.
func EscapeText(dst, value []byte) []byte { return appendCLF(dst, value) }

// Dropped is how many records found no room. Safe for any goroutine.
func (a *AccessLog) Dropped() uint64 { return a.ring.Dropped() }
