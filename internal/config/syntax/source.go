package syntax

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"sort"
	"strings"
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

// FileLine returns p without its column.
func (p Pos) FileLine() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Source is the text of one file. Immutable once ParseTree has returned.
type Source struct {
	Name   string // the path, as messages show it
	Text   []byte // without a byte order mark
	Colon  bool   // the format writes key: value, not key = value; set by ParseTree
	order  int    // its number among the files of one configuration
	lines  []int  // the offset of the first byte of each line
	marks  []int  // how many characters are before each offset that is a multiple of markEvery
	hidden []Span // of values that are secrets
	above  int    // lines of the file before the text: of an Excerpt
}

const markEvery = 1 << 10

// NewSource returns the source with that text, which must not change afterwards. Problems are sorted by order, then by
// place.
func NewSource(name string, text []byte, order int) *Source {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	s := &Source{Name: name, Text: text[:len(text):len(text)], order: order, lines: []int{0}, marks: []int{0}}
	for i, c := range text {
		if c == '\n' {
			s.lines = append(s.lines, i+1)
		}
		if (i+1)%markEvery == 0 {
			s.marks = append(s.marks, s.charactersBefore(i+1))
		}
	}
	return s
}

// charactersBefore returns how many characters begin before an offset: a file may be one line with ten thousands of
// values, each of which has a column.
func (s *Source) charactersBefore(off int) int {
	at := min(off/markEvery, len(s.marks)-1)
	n := s.marks[at]
	for _, c := range s.Text[at*markEvery : off] {
		if utf8.RuneStart(c) {
			n++
		}
	}
	return n
}

// Excerpt returns the source that has one line of a file, which no configuration consists of: a list that one names.
// Problems in it come after all others.
func Excerpt(name string, line int, text string) *Source {
	text = strings.TrimRight(text, "\r\n")
	text = cmp.Or(text, " ")
	s := NewSource(name, []byte(text), math.MaxInt)
	s.above = line - 1
	return s
}

// At returns the place of the word at a column of the first line. Columns start at 1 and count characters.
func (s *Source) At(column int) Span {
	from := 0
	for ; column > 1 && from < len(s.Text); column-- {
		_, size := utf8.DecodeRune(s.Text[from:])
		from += size
	}
	from = min(from, len(s.Text)-1)
	to := from + 1
	for to < len(s.Text) && strings.IndexByte(" \t\r\n#", s.Text[to]) < 0 {
		to++
	}
	return s.Span(from, to)
}

// Span returns the place of the bytes from offset from up to offset to.
func (s *Source) Span(from, to int) Span { return Span{s, from, to} }

// Begin returns the place of the first line that is neither blank nor a comment.
func (s *Source) Begin() Span {
	for i, from := range s.lines {
		line := bytes.TrimSpace(s.line(i + 1))
		if len(line) > 0 && line[0] != '#' {
			from += bytes.Index(s.line(i+1), line)
			return s.Span(from, from+len(line))
		}
	}
	return s.Span(0, 0)
}

// lineAt returns the number, starting at 1, of the line that holds the byte at off.
func (s *Source) lineAt(off int) int {
	return sort.Search(len(s.lines), func(i int) bool { return s.lines[i] > off })
}

func (s *Source) line(number int) []byte {
	from, to := s.lines[number-1], len(s.Text)
	if number < len(s.lines) {
		to = s.lines[number]
	}
	return bytes.TrimRight(s.Text[from:to], "\r\n")
}

// Span is a range of bytes of a Source. The zero Span is nowhere.
type Span struct {
	Source   *Source
	From, To int
}

// IsValid reports whether the span is somewhere.
func (s Span) IsValid() bool { return s.Source != nil }

// Compare orders places: nowhere first, then by the order of the sources, then by offset.
func (s Span) Compare(t Span) int {
	switch {
	case s.Source == t.Source:
		return s.From - t.From
	case s.Source == nil:
		return -1
	case t.Source == nil:
		return 1
	}
	return s.Source.order - t.Source.order
}

// Pos returns where the span begins.
func (s Span) Pos() Pos {
	if s.Source == nil {
		return Pos{}
	}
	line := s.Source.lineAt(s.From)
	column := s.Source.charactersBefore(s.From) - s.Source.charactersBefore(s.Source.lines[line-1]) + 1
	return Pos{File: s.Source.Name, Line: line + s.Source.above, Column: column}
}

// RelativeTo names the place in a message about from: by its line in the same file, with the file otherwise.
func (s Span) RelativeTo(from Span) string {
	p := s.Pos()
	if s.Source == from.Source {
		return fmt.Sprintf("line %d", p.Line)
	}
	return p.FileLine()
}
