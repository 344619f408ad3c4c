package observe

import "bytes"

// AppendLogfmt appends r to dst as one line of logfmt, newline included: the members of AppendJSON as key=value with a
// space between them, and t.queue for a member of t. A value with a space, an equals sign or an escape in it, or
// without a byte, is in quotation marks and has the escapes of JSON. Allocates only when dst has no room for RecordMax.
func (e *Encoder) AppendLogfmt(dst []byte, r *Record) []byte {
	e.whole = e.AppendJSON(e.whole[:0], r)
	return appendLogfmt(dst, e.whole)
}

// appendLogfmt appends what line says, which AppendJSON has made: an object of texts and numbers, with objects of such.
func appendLogfmt(dst, line []byte) []byte {
	within, from := []byte(nil), len(dst) // the object that the members are in, and where the line begins
	for i := 0; i < len(line); {
		if c := line[i]; c != '"' { // between members
			if i++; c == '}' {
				within = nil
			}
			continue
		}
		key := inQuotes(line[i:])
		i += len(key) + len(`"":`)
		if line[i] == '{' {
			within = key
			continue
		}
		if len(dst) > from {
			dst = append(dst, ' ')
		}
		if within != nil {
			dst = append(append(dst, within...), '.')
		}
		dst = append(appendLogfmtKey(dst, key), '=')
		size := bytes.IndexAny(line[i:], ",}")
		if line[i] == '"' {
			value := inQuotes(line[i:])
			if size = len(value) + len(`""`); len(value) > 0 && isBare(value) {
				dst, i, size = append(dst, value...), i+size, 0
			}
		}
		dst, i = append(dst, line[i:i+size]...), i+size
	}
	return append(dst, '\n')
}

// isBare reports whether value, the inside of a JSON string, needs no quotation marks. Some readers end a value at
// spaces beyond ASCII.
func isBare(value []byte) bool {
	for _, c := range value {
		if c <= ' ' || c == '=' || c == '\\' || c > '~' {
			return false
		}
	}
	return true
}

// inQuotes returns the inside of the JSON string at the begin of p.
func inQuotes(p []byte) []byte {
	at := 1
	for ; p[at] != '"'; at++ {
		if p[at] == '\\' {
			at++
		}
	}
	return p[1:at]
}

// appendLogfmtKey appends a key, which a filter or a configuration may have chosen: logfmt has no quotes for keys.
func appendLogfmtKey(dst, key []byte) []byte {
	if len(key) == 0 {
		return append(dst, '_')
	}
	for _, c := range key {
		if c <= ' ' || c == '=' || c == '"' || c == '\\' {
			c = '_'
		}
		dst = append(dst, c)
	}
	return dst
}
