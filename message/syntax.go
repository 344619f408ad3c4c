package message

// The characters of a token (RFC 9110 §5.6.2), and lower case for every byte.
var token, lower = func() (t [256]bool, l [256]byte) {
	for i := range l {
		l[i] = byte(i)
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
		l[c-'a'+'A'] = byte(c)
	}
	for _, c := range "!#$%&'*+-.^_`|~0123456789" {
		t[c] = true
	}
	return t, l
}()

// ValidName reports whether name is a token, as the names of fields and methods have to be (RFC 9110 §5.6.2).
func ValidName[T string | []byte](name T) bool {
	if len(name) > 1<<16-1 {
		return false // Field.NameLen
	}
	for i := range len(name) {
		if !token[name[i]] {
			return false
		}
	}
	return len(name) > 0
}

// ValidValue reports whether value may stand in a field: no control character but HTAB, so no line end, and no white
// space at its ends (RFC 9110 §5.5).
func ValidValue[T string | []byte](value T) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return len(value) == 0 || !blank(value[0]) && !blank(value[len(value)-1])
}

// EqualFold reports whether b is s, letters of ASCII in any case.
func EqualFold(b []byte, s string) bool { return equalFold(b, s) }

// EqualFoldBytes is EqualFold for bytes.
func EqualFoldBytes(a, b []byte) bool { return equalFold(a, b) }

func equalFold[T string | []byte](b []byte, s T) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if lower[c] != lower[s[i]] {
			return false
		}
	}
	return true
}

func blank(c byte) bool { return c == ' ' || c == '\t' }
