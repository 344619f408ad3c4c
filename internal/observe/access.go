package observe

// Format is the form of a line of the access log.
type Format uint8

// The formats of the access log, in the order of the words of a configuration.
const (
	FormatJSON Format = iota
	FormatCommon
	FormatCombined
	FormatLogfmt
	FormatTimed // FormatCommon with the backend and the duration, for a person who watches; no configuration names it
)

// AccessLog appends records to a Sink. Owned by one goroutine, usually a reactor.
type AccessLog struct {
	ring   *Ring
	format Format
	enc    Encoder
	framed bool   // the Sink takes records
	room   []byte // for a frame or a line
}

// AccessLog makes the log of one more producer, with a ring of its own.
func (s *Sink) AccessLog(format Format) *AccessLog {
	return &AccessLog{ring: s.Ring(), format: format, framed: s.writer.framed}
}

// Framed reports whether the output of a takes records.
func (a *AccessLog) Framed() bool { return a.framed }

// Append writes r as a line, without waiting and without allocating, or drops and counts it. r
// and all that it points to is borrowed until return.
func (a *AccessLog) Append(r *Record) {
	if a.framed {
		r.Line.Form = a.format
		a.room = AppendRecord(a.room[:0], r)
		a.ring.Write(a.room)
		return
	}
	if len(r.Members) > 0 { // they are seldom as long as they may be
		a.room = a.enc.appendForm(a.room[:0], a.format, r)
		a.ring.Write(a.room)
		return
	}
	most := RecordMax
	if len(r.Fields) > 0 {
		most += fieldsMax
	}
	b := a.ring.Reserve(most)
	if b == nil {
		return
	}
	a.ring.Commit(len(a.enc.appendForm(b, a.format, r)))
}

// AppendLine writes a line that the caller has made, of LineMax bytes at most: bytes beyond it are cut off. The values
// in it are escaped: see EscapeText and EscapeJSON. line is borrowed until return. Not for an output that takes
// records: see Record.Line.
func (a *AccessLog) AppendLine(line []byte) {
	line = line[:min(len(line), LineMax-1)]
	if b := a.ring.Reserve(len(line) + 1); b != nil {
		a.ring.Commit(len(append(append(b, line...), '\n')))
	}
}

// AppendLine appends r to dst as one line, newline included, as r.Line says. Allocates only when dst has no
// room for LineMax.
func (e *Encoder) AppendLine(dst []byte, r *Record) []byte {
	if len(r.Line.Text) > 0 {
		return append(append(dst, r.Line.Text...), '\n')
	}
	return e.appendForm(dst, r.Line.Form, r)
}

func (e *Encoder) appendForm(dst []byte, f Format, r *Record) []byte {
	switch f {
	case FormatCommon:
		return e.AppendCommon(dst, r)
	case FormatCombined:
		return e.AppendCombined(dst, r)
	case FormatTimed:
		return e.AppendTimed(dst, r)
	case FormatLogfmt:
		return e.AppendLogfmt(dst, r)
	}
	return e.AppendJSON(dst, r)
}

// EscapeJSON appends the first 256 bytes of value as the inside of a JSON string: a client cannot end the string, nor
// the line.
func EscapeJSON(dst, value []byte) []byte { return appendJSON(dst, value) }

// EscapeText appends the first 256 bytes of value with \xNN for all but the characters of ASCII that are no control
// characters, quotation marks or backslashes: a client cannot end a text in quotation marks, nor the line.
func EscapeText(dst, value []byte) []byte { return appendCLF(dst, value) }

// Dropped is how many records found no room. Safe for any goroutine.
func (a *AccessLog) Dropped() uint64 { return a.ring.Dropped() }
