package lang

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/edge-proxy/edge/message"
)

// json returns the value in a JSON text that the names of a path with dots lead to: texts decoded, objects and lists
// as they are written, and null as what is missing. Of members with one name the last counts, as for most readers.
func (s *State) json(b, path []byte) []byte {
	if !json.Valid(b) {
		return nil
	}
	value := bytes.Trim(b, jsonBlanks)
	for more := len(path) > 0; more; {
		var name []byte
		name, path, more = bytes.Cut(path, []byte{'.'})
		switch value[0] {
		case '{':
			value = s.jsonMember(value, name)
		case '[':
			value = jsonElement(value, name)
		default:
			return nil
		}
		if value == nil {
			return nil
		}
	}
	switch {
	case value[0] == '"':
		return s.Keep(appendJSONText(s.Room(), value))
	case string(value) == "null":
		return nil
	}
	return value
}

const jsonBlanks = " \t\r\n"

// jsonMember returns the value of the last member called name of an object that is valid.
func (s *State) jsonMember(object, name []byte) (found []byte) {
	rest := bytes.TrimLeft(object[1:], jsonBlanks)
	for rest[0] != '}' {
		n := jsonSpan(rest)
		match := string(appendJSONText(s.Room(), rest[:n])) == string(name)
		rest = bytes.TrimLeft(rest[n:], jsonBlanks)
		rest = bytes.TrimLeft(rest[1:], jsonBlanks) // the colon
		n = jsonSpan(rest)
		if match {
			found = rest[:n]
		}
		if rest = bytes.TrimLeft(rest[n:], jsonBlanks); rest[0] == ',' {
			rest = bytes.TrimLeft(rest[1:], jsonBlanks)
		}
	}
	return found
}

// jsonElement returns the element of a valid list that name is the index of.
func jsonElement(list, name []byte) []byte {
	index, ok := message.ParseLength(name)
	if !ok {
		return nil
	}
	for rest := bytes.TrimLeft(list[1:], jsonBlanks); rest[0] != ']'; index-- {
		n := jsonSpan(rest)
		if index == 0 {
			return rest[:n]
		}
		if rest = bytes.TrimLeft(rest[n:], jsonBlanks); rest[0] == ',' {
			rest = bytes.TrimLeft(rest[1:], jsonBlanks)
		}
	}
	return nil
}

// jsonSpan returns the length of the value at the begin of b, which is valid.
func jsonSpan(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 {
				return i
			}
		case ',', ':', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
			continue
		default:
			continue
		}
		if depth == 0 {
			return i + 1
		}
	}
	return len(b)
}

// appendJSONText appends what a valid text in quotes stands for.
func appendJSONText(dst, quoted []byte) []byte {
	b := quoted[1 : len(quoted)-1]
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\\')
		if i < 0 {
			return append(dst, b...)
		}
		dst = append(dst, b[:i]...)
		c := b[i+1]
		b = b[i+2:]
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r := hexRune(b)
			b = b[4:]
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if len(b) >= 6 && b[0] == '\\' && b[1] == 'u' {
					low = hexRune(b[2:])
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					b = b[6:]
				}
			}
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = append(dst, c)
	}
	return dst
}

// hexRune reads four digits, which are there.
func hexRune(b []byte) rune {
	n, _ := strconv.ParseUint(string(b[:4]), 16, 32)
	return rune(n)
}
