package plan

import (
	"cmp"
	slashpath "path"
	"slices"
	"strings"
	"sync"
)

// Word says what becomes of a word of a program's files: it is a key of edge, or a finding.
type Word struct {
	Says string // "key", "block", or "note", "lost" or another word that begins findings of the table
	Key  string // of edge
	Unit Unit   // of its value
	Why  string // the text of the finding; of a block, the name before the words of the lines in it
}

// Words is a table of words, by their names.
type Words struct {
	exact    map[string]Word
	patterns []string // in the order of the table; their words are in exact too
}

// ParseWords reads a table. A line has one or more names, then what they are; names before it may fill lines of their
// own. Of a name with dots a part may be "*". A line that begins with "#" is a comment.
//
//	proxy_connect_timeout       key timeouts.connect seconds
//	sendfile tcp_nopush         note nothing to write: edge looks at the machine itself
//	http.routers.*.rulesyntax   lost edge has no such thing
func ParseWords(table string) *Words {
	words := &Words{exact: map[string]Word{}}
	var names []string
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		at := slices.IndexFunc(fields, func(f string) bool { return slices.Contains(says, f) })
		if at < 0 {
			if len(fields) > 0 && fields[0] != "#" {
				names = append(names, fields...)
			}
			continue
		}
		w := Word{Says: fields[at], Why: strings.Join(fields[at+1:], " ")}
		if w.Says == "key" {
			w = Word{"key", fields[at+1], Unit(fields[at+2]), strings.Join(fields[at+3:], " ")}
		}
		for _, name := range append(names, fields[:at]...) {
			name = slashed().Replace(name)
			words.exact[name] = cmp.Or(words.exact[name], w)
			if strings.Contains(name, "*") {
				words.patterns = append(words.patterns, name)
			}
		}
		names = nil
	}
	return words
}

// says are the words of a table that end a list of names.
var says = []string{"key", "note", "lost", "unread", "block"}

// Find returns the first word of the table for a name: one without "*" goes first.
func (words *Words) Find(name string) (w Word, found bool) {
	name = slashed().Replace(name)
	if w, found = words.exact[name]; found {
		return w, true
	}
	for _, p := range words.patterns {
		if found, _ = slashpath.Match(p, name); found {
			return words.exact[p], true
		}
	}
	return w, false
}

// slashed has a name as a path of its parts.
var slashed = sync.OnceValue(func() *strings.Replacer { return strings.NewReplacer(".", "/", "/", "_") })

// Tell adds the finding of a word for a line; the table may lack the word.
func (p *Plan) Tell(w Word, at Place, line string) {
	p.add(Finding{at, w.Says != "note" && w.Says != "unread", line, cmp.Or(w.Why, "edge does not know it")})
}

// Put sets the key of a word in a block, and reports whether the value has the unit of the word. Any other value is
// a loss.
func (p *Plan) Put(b *Block, w Word, value string, at Place, line string) bool {
	text, ok := w.Unit.Value(value)
	if !ok {
		p.Lose(at, line, "edge does not know the value")
		return false
	}
	b.Set(w.Key, text, at)
	return true
}
