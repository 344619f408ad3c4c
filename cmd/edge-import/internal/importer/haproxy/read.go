package haproxy

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// line is one line of a section, cut into words.
type line struct {
	words []string
	at    plan.Place
	used  bool
}

var secret = plan.Expr(`((?:^stats auth|password) ).*`)

// text returns the line as a finding names it: without passwords and their hashes.
func (l *line) text() string { return secret().ReplaceAllString(strings.Join(l.words, " "), "$1…") }

// word returns the word i, or "". There may be no line.
func (l *line) word(i int) string {
	if l != nil && i < len(l.words) {
		return l.words[i]
	}
	return ""
}

func (l *line) rest(i int) []string { return l.words[min(i, len(l.words)):] }

// after returns the word that follows name among the words from 1 on, or "". There may be no line.
func (l *line) after(name string) string {
	if l == nil || !l.has(name) {
		return ""
	}
	return l.word(slices.Index(l.rest(1), name) + 2)
}

// has reports whether a line has a word after the first.
func (l *line) has(word string) bool { return slices.Contains(l.rest(1), word) }

// section is a section of the file: "frontend web".
type section struct {
	kind, name string
	head       *line
	lines      []*line
	base       *section // the defaults that hold for it
	upstream   string   // its name; "": it is not written yet
}

// wordsMax is how many words a line has, more than HAProxy reads.
const wordsMax = 1000

// kinds are the words that begin sections.
var kinds = []string{"global", "defaults", "frontend", "backend", "listen", "peers", "resolvers", "mailers", "userlist",
	"program", "cache", "http-errors", "ring", "fcgi-app"}

func read(path string, r *plan.Reader, p *plan.Plan) (list []*section, err error) {
	text, err := r.Read(path)
	var at, base *section
	for i, s := range strings.Split(string(text), "\n") {
		l := &line{words: cut(s), at: plan.Place{File: filepath.Base(path), Line: i + 1}}
		switch {
		case len(l.words) > wordsMax:
			return nil, fmt.Errorf("%s: a line of HAProxy has at most %d words", l.at, wordsMax)
		case len(l.words) == 0:
		case slices.Contains(kinds, l.words[0]):
			at = &section{kind: l.words[0], name: l.word(1), head: l, base: base}
			if at.kind == "defaults" {
				at.base, base = nil, at
			}
			list = append(list, at)
		case at == nil:
			p.Lose(l.at, l.text(), "it stands before all sections")
		default:
			at.lines = append(at.lines, l)
		}
	}
	return list, err
}

var (
	wordText = plan.Expr(`#.*|(?:\\.?|"(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s"'\\#])+`)
	quoted   = plan.Expr(`"(?:[^"\\]|\\.)*"?|'[^']*'?|\\[ \\#"']`)
	escaped  = plan.Expr(`\\([ \\#"'])`) // before all else a backslash stands for itself
)

// cut cuts a line into words, without quotes and comments.
func cut(s string) (words []string) {
	if !strings.ContainsAny(s, "\\\"'#") {
		return strings.Fields(s)
	}
	for _, word := range wordText().FindAllString(s, -1) {
		if word[0] == '#' {
			break
		}
		words = append(words, quoted().ReplaceAllStringFunc(word, func(m string) string {
			if m[0] == '\'' {
				return strings.Trim(m, "'")
			}
			if m[0] == '"' {
				m = strings.TrimSuffix(m[1:], `"`)
			}
			return escaped().ReplaceAllString(m, "$1")
		}))
	}
	return words
}

// find returns the last line of a section, or of its defaults, that begins with these words, and marks it as used.
func (s *section) find(words ...string) *line {
	for at := s; at != nil; at = at.base {
		for _, l := range slices.Backward(at.lines) {
			if len(l.words) >= len(words) && slices.Equal(l.words[:len(words)], words) {
				l.used = true
				return l
			}
		}
	}
	return nil
}

// mode returns the mode of a section; its line stays among the findings.
func (s *section) mode() string {
	l := s.find("mode")
	if l != nil {
		l.used = false
	}
	return cmp.Or(l.word(1), "tcp")
}

func (s *section) all(word string) (list []*line) {
	for _, l := range s.lines {
		if l.words[0] == word {
			list = append(list, l)
		}
	}
	return list
}

// lookup returns what a table says of a word: the text after the colon in the line that has the word before it.
func lookup(table, word string) string {
	for line := range strings.Lines(table) {
		words, says, _ := strings.Cut(line, ": ")
		if slices.Contains(strings.Fields(words), word) {
			return strings.TrimSpace(says)
		}
	}
	return ""
}
