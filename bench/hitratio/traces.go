package hitratio

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// runMax bounds the blocks that a line of an ARC trace stands for, and keysMax the keys of a trace, so that a broken
// file does not fill the memory.
const (
	runMax  = 1 << 20
	keysMax = 1 << 28
)

// ErrTrace is wrapped by what the readers return for bytes that are not of their form.
var ErrTrace = errors.New("not a trace of this form")

// Form reads the keys of a trace in the order of the accesses. in is borrowed until return.
type Form func(in io.Reader) ([]uint64, error)

// The forms of public traces.

// FormARC has lines "first count …": count consecutive blocks from first.
func FormARC(in io.Reader) ([]uint64, error) { return readLines(in, arcLine) }

// FormLIRS has a decimal key a line; lines that start with '*' are skipped.
func FormLIRS(in io.Reader) ([]uint64, error) { return readLines(in, lirsLine) }

// FormBE32 has 4 bytes a key, big-endian.
func FormBE32(in io.Reader) ([]uint64, error) {
	return readRecords(in, 4, func(b []byte) uint64 { return uint64(binary.BigEndian.Uint32(b)) })
}

// FormBE64 has 8 bytes a key, big-endian.
func FormBE64(in io.Reader) ([]uint64, error) { return readRecords(in, 8, binary.BigEndian.Uint64) }

func readRecords(in io.Reader, size int, key func([]byte) uint64) ([]uint64, error) {
	r := bufio.NewReaderSize(in, 1<<16)
	record := make([]byte, size)
	var keys []uint64
	for {
		if _, err := io.ReadFull(r, record); err == io.EOF {
			return keys, nil
		} else if err != nil {
			return nil, fmt.Errorf("record %d of %d bytes: %w: %w", len(keys)+1, size, ErrTrace, err)
		}
		if len(keys) == keysMax {
			return nil, fmt.Errorf("more than %d keys: %w", keysMax, ErrTrace)
		}
		keys = append(keys, key(record))
	}
}

// readLines calls add with each line that is not empty, cut of space.
func readLines(in io.Reader, add func(keys []uint64, line []byte) ([]uint64, error)) ([]uint64, error) {
	lines := bufio.NewScanner(in)
	var keys []uint64
	for n := 1; lines.Scan(); n++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		var err error
		if keys, err = add(keys, line); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if len(keys) > keysMax {
			return nil, fmt.Errorf("line %d: more than %d keys: %w", n, keysMax, ErrTrace)
		}
	}
	return keys, lines.Err()
}

func arcLine(keys []uint64, line []byte) ([]uint64, error) {
	columns := bytes.Fields(line)
	if len(columns) < 2 {
		return nil, fmt.Errorf("%q: %w", line, ErrTrace)
	}
	first, err := number(columns[0])
	if err != nil {
		return nil, err
	}
	count, err := number(columns[1])
	if err != nil {
		return nil, err
	}
	if count > runMax {
		return nil, fmt.Errorf("a run of %d blocks: %w", count, ErrTrace)
	}
	for i := range count {
		keys = append(keys, first+i)
	}
	return keys, nil
}

func lirsLine(keys []uint64, line []byte) ([]uint64, error) {
	if line[0] == '*' {
		return keys, nil
	}
	key, err := number(line)
	if err != nil {
		return nil, err
	}
	return append(keys, key), nil
}

func number(digits []byte) (uint64, error) {
	n, err := strconv.ParseUint(string(digits), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no key: %w", digits, ErrTrace)
	}
	return n, nil
}

// OpenTrace reads the trace of a file. A name that ends in .xz goes through the program xz, which must be in PATH.
func OpenTrace(name string, form Form) ([]uint64, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	read := form
	if strings.HasSuffix(name, ".xz") {
		read = func(in io.Reader) ([]uint64, error) { return readXZ(in, form) }
	}
	keys, err := read(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	return keys, nil
}

func readXZ(in io.Reader, form Form) ([]uint64, error) {
	xz := exec.Command("xz", "-dc")
	xz.Stdin = in
	out, err := xz.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := xz.Start(); err != nil {
		return nil, err
	}
	keys, err := form(out)
	out.Close() // ends xz, should it still write
	if werr := xz.Wait(); err == nil && werr != nil {
		err = fmt.Errorf("xz: %w", werr)
	}
	return keys, err
}
