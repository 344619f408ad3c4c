package plan

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Limits of what is read.
const (
	bytesMax = 64 << 20 // acme.json has 6 KiB or more for each certificate
	filesMax = 4096
)

var errTooMuch = errors.New("more than 64 MiB or 4096 files")

// Reader reads the files of another program. Owned by one goroutine.
type Reader struct {
	Files fs.FS // nil: the files of this machine

	bytes, files int
}

// Read returns the content of a file.
func (r *Reader) Read(path string) ([]byte, error) {
	if r.files++; r.files > filesMax {
		return nil, errTooMuch
	}
	var text []byte
	var err error
	if r.Files != nil {
		text, err = fs.ReadFile(r.Files, path)
	} else {
		var at fs.FileInfo
		if at, err = os.Stat(path); err == nil && !at.Mode().IsRegular() {
			return nil, fmt.Errorf("%s: not a regular file", path)
		} else if err == nil && at.Size() > bytesMax {
			return nil, errTooMuch
		}
		if err == nil {
			text, err = os.ReadFile(path)
		}
	}
	if r.bytes += len(text); r.bytes > bytesMax {
		return nil, errTooMuch
	}
	return text, err
}

// Glob returns the files that a pattern matches, in the order of their names.
func (r *Reader) Glob(pattern string) ([]string, error) {
	if r.Files != nil {
		return fs.Glob(r.Files, pattern)
	}
	return filepath.Glob(pattern)
}

// NamesOf returns the names of hosts in the first certificate of a text in PEM.
func NamesOf(text []byte) []string {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			return strings.Fields(strings.ToLower(strings.Join(c.DNSNames, " ")))
		}
	}
	return nil
}
