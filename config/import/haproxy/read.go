package haproxy

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// line is one line of a section, cut into words.
type line struct {
	words []string
	at    plan.Place
	used  bool
}

// text returns the line as a finding names it: without passwords and their hashes.
func (l *line) text() string {
	words := slices.Clone(l.words)
	for i := 1; i < len(words); i++ {
		if strings.HasSuffix(words[i-1], "password") || words[0] == "stats" && words[i-1] == "auth" {
			words[i] = "…"
		}
	}
	return strings.Join(words, " ")
}

// word returns the word i, or "".
func (l *line) word(i int) string {
	if i < len(l.words) {
		return l.words[i]
	}
	return ""
}

// rest returns the words from i on.
func (l *line) rest(i int) []string {
	return l.words[min(i, len(l.words)):]
}

// after returns the word that follows name among the words from 2 on, or "".
func (l *line) after(name string) string {
	for i := 1; i+1 < len(l.words); i++ {
		if l.words[i] == name {
			return l.words[i+1]
		}
	}
	return ""
}

// has reports whether a line has a word after the first.
func (l *line) has(word string) bool { return slices.Contains(l.rest(1), word) }

// section is a section of the file: "frontend web".
type section struct {
	kind, name string
	head       *line
	lines      []*line
	base       *section // the defaults that hold for it
}

// linesMax is how many lines a file may have.
const linesMax = 100000

// kinds are the words that begin sections.
var kinds = []string{"global", "defaults", "frontend", "backend", "listen", "peers", "resolvers", "mailers", "userlist",
	"program", "cache", "http-errors", "ring", "fcgi-app"}

// read cuts a file into sections.
func read(path string, r *plan.Reader, p *plan.Plan) (list []*section, err error) {
	text, err := r.Read(path)
	if err != nil {
		return nil, err
	}
	var at, base *section
	for i, s := range strings.Split(string(text), "\n") {
		place := plan.Place{File: filepath.Base(path), Line: i + 1}
		if i == linesMax {
			p.Lose(place, "the rest", "more than 100000 lines")
			break
		}
		words := cut(s)
		switch {
		case len(words) == 0:
		case slices.Contains(kinds, words[0]):
			l := &line{words: words, at: place}
			at = &section{kind: words[0], name: l.word(1), head: l, base: base}
			if at.kind == "defaults" {
				at.base, base = nil, at
			}
			list = append(list, at)
		case at == nil:
			p.Lose(place, strings.Join(words, " "), "it stands before all sections")
		default:
			at.lines = append(at.lines, &line{words: words, at: place})
		}
	}
	return list, nil
}

// cut cuts a line into words: quotes, backslashes, comments.
func cut(s string) (words []string) {
	var b strings.Builder
	inWord := false
	var mark byte
	end := func() {
		if inWord {
			words = append(words, b.String())
		}
		b.Reset()
		inWord = false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case mark != 0 && c == mark:
			mark = 0
		case c == '\\' && mark != '\'' && i+1 < len(s):
			if strings.IndexByte(` \#"'`, s[i+1]) >= 0 { // before all else it stands for itself
				i++
			}
			b.WriteByte(s[i])
			inWord = true
		case mark != 0:
			b.WriteByte(c)
		case c == '"' || c == '\'':
			mark, inWord = c, true
		case c == '#':
			end()
			return words
		case c == ' ' || c == '\t' || c == '\r':
			end()
		default:
			b.WriteByte(c)
			inWord = true
		}
	}
	end()
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

// all returns the lines of a section that begin with a word.
func (s *section) all(word string) (list []*line) {
	for _, l := range s.lines {
		if l.words[0] == word {
			list = append(list, l)
		}
	}
	return list
}
