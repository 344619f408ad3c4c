package h1

import "bytes"

// withCRLF returns a copy of the head at the start of b in which all lines end with CRLF, some of which end with LF
// alone there, and the length of that head. Its last line, which is empty, begins at last.
func withCRLF(b []byte, last int) (strict []byte, n int) {
	n = last + bytes.IndexByte(b[last:], '\n') + 1
	strict = make([]byte, 0, n+n/8)
	for line := range bytes.Lines(b[:n]) {
		strict = append(append(strict, bytes.TrimSuffix(line[:len(line)-1], []byte("\r"))...), "\r\n"...)
	}
	return strict, n
}
