package config

import (
	"bytes"
	"fmt"
	"sort"
	"unicode/utf8"
)

// Pos is a place in a configuration file. Line and Column start at 1; Column counts characters, not bytes.
// Line 0 stands for the file as a whole.
type Pos struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

// String returns file:line:column, or the file alone when the place is the whole file.
func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// source is the text of one file with its line starts. Immutable after newSource.
type source struct {
	name  string
	text  []byte
	lines []int // offset of the first byte of each line
	order int   // in which the files of one configuration were read
	colon bool  // key: value instead of key = value
}

func newSource(name string, text []byte) *source {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	s := &source{name: name, text: text[:len(text):len(text)], lines: []int{0}}
	for i, c := range text {
		if c == '\n' {
			s.lines = append(s.lines, i+1)
		}
	}
	return s
}

// span returns the place of the bytes from from up to to.
func (s *source) span(from, to int) span { return span{s, from, to} }

// lineAt returns the number, starting at 1, of the line that holds the byte at off.
func (s *source) lineAt(off int) int {
	return sort.Search(len(s.lines), func(i int) bool { return s.lines[i] > off })
}

// line returns the text of a line without its end.
func (s *source) line(number int) []byte {
	from, to := s.lines[number-1], len(s.text)
	if number < len(s.lines) {
		to = s.lines[number]
	}
	return bytes.TrimRight(s.text[from:to], "\r\n")
}

// span is a range of bytes of a source. The zero span is nowhere.
type span struct {
	src      *source
	from, to int
}

func (s span) valid() bool { return s.src != nil }

func (s span) before(t span) bool { return s.compare(t) < 0 }

// compare orders places: nowhere first, then file by file as they were read.
func (s span) compare(t span) int {
	switch {
	case s.src == t.src:
		return s.from - t.from
	case s.src == nil:
		return -1
	case t.src == nil:
		return 1
	}
	return s.src.order - t.src.order
}

func (s span) pos() Pos {
	if s.src == nil {
		return Pos{}
	}
	line := s.src.lineAt(s.from)
	start := s.src.lines[line-1]
	return Pos{File: s.src.name, Line: line, Column: utf8.RuneCount(s.src.text[start:s.from]) + 1}
}

// seenFrom names the place for a message that stands at from: the line alone within one file, the file too otherwise.
func (s span) seenFrom(from span) string {
	p := s.pos()
	if s.src == from.src {
		return fmt.Sprintf("line %d", p.Line)
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}
