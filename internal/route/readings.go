package route

import "bytes"

// Readings are the paths that servers make of one target, each once. A guard that holds for one of them has to hold for
// all: any of them may be what the backend acts on.
//
//	/api//x%2Fadmin/../b    ─►  /api//b            [0]: RFC 3986, as rules see it
//	                            /api/b             several slashes are one, at first or at last
//	                            /api//x/b, /api/x/b  %2F is a slash as well; so may be "\" and %5C
//	/a%40b                  ─►  /a%40b, /a@b       RFC 3986 §2.2 tells them apart, most servers do not
//
// A rewrite, and Paths of a listener, send on [0] in place of the path that came. So what servers make of [0] is among
// the readings: in "/api//admin//../b", the dots take away an empty segment where slashes are merged at last, and
// "admin" where they are merged at first.
//
// The zero value is ready. Owned by one goroutine.
type Readings struct {
	text []byte
	ends []int

	path []byte // that these are readings of: many conditions may ask for them
	how  reading
}

// ReadingsMax is how many readings a path may have: one with "//", "%2F", "\" and "%3A" has as many. The work for a
// path grows with their square: a text that a rule sets has a value in each, and a route's When is asked for all of
// these in each.
const ReadingsMax = 9

// Of reads the path of a target. It returns how many readings there are, of more than ReadingsMax only some; 0: all
// servers read the path alike.
func (r *Readings) Of(target []byte, how Reading) int {
	path, plain := pathOf(target)
	switch {
	case plain, how.Paths == PathsRaw, len(path) == 0 || path[0] != '/':
		return 0
	case how.Parameters == ParametersStripped:
		r.read(path, withoutParameters)
	default:
		r.read(path, 0)
	}
	return len(r.ends)
}

// At returns one of the readings. Borrowed until the next call of Of.
func (r *Readings) At(i int) []byte {
	if i == 0 {
		return r.text[:r.ends[0]]
	}
	return r.text[r.ends[i-1]:r.ends[i]]
}

// read is Of for a path that has more than one spelling. how says what is done with parameters.
func (r *Readings) read(path []byte, how reading) {
	if how == r.how && bytes.Equal(path, r.path) {
		return
	}
	r.path, r.how = append(r.path[:0], path...), how
	r.text, r.ends = r.text[:0], r.ends[:0]
	r.add(path, how)
	for _, from := range [...][]byte{path, r.At(0)} {
		odd := oddities(from)
		if odd == 0 {
			continue
		}
		for _, slashes := range [...]reading{0, encodedSlash, backslash, encodedSlash | backslash} {
			if how := how | slashes | odd&encodedOther; slashes&^odd == 0 && len(r.ends) <= ReadingsMax {
				r.add(from, how)
				r.add(from, how|mergedFirst)
				r.add(from, how|mergedLast)
			}
		}
	}
}

// add adds the reading of path by how, unless it is there already.
func (r *Readings) add(path []byte, how reading) {
	start := len(r.text)
	r.text = resolvePath(r.text, path, how)
	for i := range r.ends {
		if bytes.Equal(r.At(i), r.text[start:]) {
			r.text = r.text[:start]
			return
		}
	}
	r.ends = append(r.ends, len(r.text))
}
