package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

const passwordMax = 1 << 10

// Errors of readPassword.
var (
	errGivenUp = errors.New("no password was given")
	errDiffer  = errors.New("the two passwords differ")
	errTooLong = fmt.Errorf("the password is longer than %d bytes", passwordMax)
)

// readPassword returns the first line of in, or the password that a person types twice where in is a terminal, to
// which questions leads as well.
//
// The terminal does not show what is typed, and is set back before readPassword returns. Meanwhile the keys that
// interrupt a program are characters, so that no signal ends the process with the terminal as it is: Ctrl-C and Ctrl-D
// give up. Backspace takes a character back, Ctrl-U all of them.
func readPassword(in io.Reader, questions io.Writer) ([]byte, error) {
	f, ok := in.(*os.File)
	if !ok {
		return firstLine(in)
	}
	before, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return firstLine(in)
	}
	hidden := *before
	hidden.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	hidden.Iflag |= unix.ICRNL
	hidden.Cc[unix.VMIN], hidden.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETSF, &hidden); err != nil {
		return nil, err
	}
	defer unix.IoctlSetTermios(int(f.Fd()), unix.TCSETSF, before)
	first, err := askFor(f, questions, "Password: ")
	if err != nil {
		return nil, err
	}
	again, err := askFor(f, questions, "Again: ")
	if err != nil {
		return nil, err
	}
	if string(first) != string(again) {
		return nil, errDiffer
	}
	return first, nil
}

func askFor(f *os.File, questions io.Writer, question string) ([]byte, error) {
	fmt.Fprint(questions, question)
	defer fmt.Fprintln(questions)
	return typed(f)
}

// The keys that mean something.
const (
	keyInterrupt = 3  // Ctrl-C
	keyEnd       = 4  // Ctrl-D
	keyBackspace = 8  // of some terminals
	keyEraseAll  = 21 // Ctrl-U
	keyDelete    = 0x7f
)

// typed reads characters up to the end of a line.
func typed(in io.Reader) ([]byte, error) {
	var text []byte
	var key [1]byte
	for {
		if _, err := io.ReadFull(in, key[:]); err != nil {
			return nil, errGivenUp
		}
		switch key[0] {
		case '\n', '\r':
			if len(text) == 0 {
				return nil, errGivenUp
			}
			return text, nil
		case keyInterrupt, keyEnd:
			return nil, errGivenUp
		case keyEraseAll:
			text = text[:0]
		case keyBackspace, keyDelete:
			_, size := utf8.DecodeLastRune(text)
			text = text[:len(text)-size]
		default:
			if len(text) == passwordMax {
				return nil, errTooLong
			}
			text = append(text, key[0])
		}
	}
}

// firstLine reads a password from what is no terminal.
func firstLine(in io.Reader) ([]byte, error) {
	lines := bufio.NewScanner(io.LimitReader(in, 2*passwordMax))
	if !lines.Scan() || len(lines.Bytes()) == 0 {
		return nil, errGivenUp
	}
	if len(lines.Bytes()) > passwordMax {
		return nil, errTooLong
	}
	return lines.Bytes(), lines.Err()
}
