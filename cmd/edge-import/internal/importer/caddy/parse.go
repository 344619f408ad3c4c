package caddy

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// directive is one directive with the lines inside its braces. Immutable after compile, but for used.
//
//	reverse_proxy /api/* localhost:3000      name args
//	handle @m { … }                          name args block
//
// The directives of a snippet or a file stand in place of the import that names it.
type directive struct {
	name  string
	text  string   // as findings name it
	args  []string // of a site its addresses; of a directive that is compiled those after its matcher
	block []*directive
	at    plan.Place
	used  bool // a part of the program, or among the findings

	// What compile adds.
	known   bool
	do      deed         // nil: it runs program
	program []*directive // of block
	when    *matcher     // nil: always
	joined  bool         // it runs for those requests for which the one before it does
	group   *group       // of the directives of a group, only the first one whose matcher holds runs
}

// arg returns the argument i, or "".
func (d *directive) arg(i int) string {
	if i < len(d.args) {
		return d.args[i]
	}
	return ""
}

// lines returns what stands inside the braces of d, which is read by that.
func (d *directive) lines() []*directive {
	for _, c := range d.block {
		c.used = true
	}
	return d.block
}

func (d *directive) as(words []string) *directive {
	return &directive{name: words[0], args: words[1:], text: d.text, block: d.block, at: d.at}
}

// places returns the lines of d and of what stands inside its braces.
func (d *directive) places() []plan.Place {
	list := []plan.Place{d.at}
	for _, c := range d.block {
		list = append(list, c.places()...)
	}
	return list
}

// Limits of a file with all that it imports.
const (
	depthMax  = 32
	tokensMax = 500000
)

// parser reads files into directives. Owned by one goroutine.
type parser struct {
	*plan.Plan
	read     *plan.Reader
	dir      string  // of the first file
	tokens   []token // that are left of a file, a snippet or a block
	count    int     // of directives, and of tokens that are imported
	imported int     // how many imports are in each other here
	snippets map[string][]token
	err      error

	global []*directive // options before the sites
	sites  []*directive
}

// lex returns the tokens of a file that findings call name.
func (p *parser) lex(path, name string) ([]token, error) {
	text, err := p.read.Read(path)
	return lex(p.withEnvironment(strings.TrimPrefix(string(text), "\ufeff"), name), name, p.Lose), err
}

func (p *parser) next() token {
	t := p.tokens[0]
	p.tokens = p.tokens[1:]
	return t
}

// opened takes the brace that opens a block, if that comes next.
func (p *parser) opened() bool {
	opens := len(p.tokens) > 0 && p.tokens[0].is("{")
	if opens {
		p.next()
	}
	return opens
}

// line takes the words up to a brace or the end of the line. The words of a site go on after a comma.
func (p *parser) line(site bool) *directive {
	d := &directive{at: p.tokens[0].at}
	var words []string
	for n := 0; len(p.tokens) > 0; n++ {
		t := p.tokens[0]
		more := n == 0 || site && strings.HasSuffix(words[n-1], ",")
		if t.is("{") || t.is("}") || t.first && !more {
			break
		}
		words = append(words, p.next().text)
	}
	d.text = strings.Join(words, " ")
	if site {
		d.args = strings.Fields(strings.ReplaceAll(d.text, ",", " "))
	} else {
		d.name, d.args = words[0], words[1:]
	}
	return d
}

// top parses what stands outside of all braces: options, snippets, sites and imports.
func (p *parser) top() {
	for len(p.tokens) > 0 {
		t := p.tokens[0]
		if t.is("import") {
			p.imports(p.top)
			continue
		} else if t.is("}") {
			p.stray()
			continue
		}
		d := p.line(true)
		switch braces := p.opened(); {
		case len(d.args) == 0 && braces:
			p.global = append(p.global, p.block(0, true)...)
		case braces && strings.HasPrefix(d.text, "(") && strings.HasSuffix(d.text, ")"):
			p.snippets[strings.Trim(d.text, "()")] = p.raw()
		default:
			d.block = p.block(0, braces)
			p.sites = append(p.sites, d)
		}
	}
}

// stray reads a brace that closes nothing.
func (p *parser) stray() {
	p.Lose(p.next().at, "}", "no block is open")
	p.take(1)
}

// take counts what is read. A part of a file would lack the guards of the rest: too large a file is not read at all.
func (p *parser) take(n int) {
	if p.count += n; p.count > tokensMax {
		p.tokens, p.err = nil, fmt.Errorf("%s: more than 500,000 directives, with those of imports", p.File)
	}
}

// raw takes the tokens up to the brace that closes the block.
func (p *parser) raw() []token {
	all, depth := p.tokens, 0
	for len(p.tokens) > 0 {
		switch t := p.next(); {
		case t.is("{"):
			depth++
		case t.is("}") && depth == 0:
			return all[:len(all)-len(p.tokens)-1]
		case t.is("}"):
			depth--
		}
	}
	p.Lose(plan.Place{File: p.File, Line: 1}, "the end of the file", "a block is not closed")
	return all
}

// block parses directives up to the brace that closes them, or without braces up to the last token.
func (p *parser) block(depth int, braces bool) (list []*directive) {
	for len(p.tokens) > 0 {
		switch t := p.tokens[0]; {
		case t.is("}"):
			if braces {
				p.next()
				return list
			}
			p.stray()
		case p.opened():
			p.Lose(t.at, "{", "a block without a name")
			p.raw()
		case t.is("import"):
			p.imports(func() { list = append(list, p.block(depth, false)...) })
		default:
			list = append(list, p.directive(depth))
		}
	}
	if braces {
		p.Lose(plan.Place{File: p.File, Line: 1}, "the end of the file", "a block is not closed")
	}
	return list
}

func (p *parser) directive(depth int) *directive {
	d := p.line(false)
	switch open := p.opened(); {
	case open && depth == depthMax:
		p.tokens, p.err = nil, fmt.Errorf("%s: more than 32 blocks in each other", d.at)
	case open:
		d.block = p.block(depth+1, true)
	}
	p.take(1)
	return d
}

// imports parses the tokens of a snippet, or of the files that a pattern matches, where the import stands.
func (p *parser) imports(parse func()) {
	d := p.line(false)
	var block []token
	if p.opened() {
		block = p.raw()
	}
	if len(d.args) == 0 || p.imported == depthMax {
		p.Lose(d.at, d.text, "it names nothing, or more than 32 of them import each other")
		return
	}
	tokens, found := p.snippets[d.args[0]]
	if found {
		p.Note(d.at, d.text, "the lines of the snippet are taken as if they stood here")
	} else {
		tokens = p.files(d)
	}
	rest := p.tokens
	p.tokens = nil
	for _, t := range tokens {
		p.tokens = append(p.tokens, t.with(d.args[1:], block)...)
	}
	p.take(len(p.tokens))
	p.imported++
	parse()
	p.imported--
	p.tokens = rest
}

func (p *parser) files(d *directive) (tokens []token) {
	pattern := d.args[0]
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(p.dir, filepath.Dir(d.at.File), pattern)
	}
	files := []string{pattern}
	if strings.ContainsAny(pattern, "*?[") {
		files, _ = p.read.Glob(pattern) // a pattern with an error matches none
		if len(files) == 0 {
			p.Note(d.at, d.text, "no file matches it")
			return nil
		}
	}
	for _, file := range files {
		if file != pattern && strings.HasPrefix(filepath.Base(file), ".") {
			continue
		}
		name := file
		if short, err := filepath.Rel(p.dir, file); err == nil && !strings.HasPrefix(short, "..") {
			name = short
		}
		more, err := p.lex(file, name)
		if err != nil {
			p.Lose(d.at, d.text, "the file cannot be read: what it says is not in the result")
			continue
		}
		tokens = append(tokens, more...)
	}
	p.Note(d.at, d.text, "its lines are taken as if they stood here")
	return tokens
}

var severalArgs = plan.Expr(`^\{args\[(\d*):(\d*)\]\}$`)

// with returns what a token of a snippet stands for where that is imported with args and a block.
func (t token) with(args []string, block []token) (list []token) {
	if t.text == "{block}" {
		return block
	}
	if m := severalArgs().FindStringSubmatch(t.text); m != nil {
		first, _ := strconv.Atoi(m[1])
		last, err := strconv.Atoi(m[2])
		if err != nil || last > len(args) {
			last = len(args)
		}
		for i := first; i < last; i++ {
			list = append(list, token{args[i], t.at, t.quoted, t.first && i == first})
		}
		return list
	}
	for i, text := range args {
		n := strconv.Itoa(i)
		t.text = strings.NewReplacer("{args["+n+"]}", text, "{args."+n+"}", text).Replace(t.text)
	}
	return []token{t}
}

type token struct {
	text   string
	at     plan.Place
	quoted bool // it stood in quotes, or in a heredoc: a brace in it opens nothing
	first  bool // of its line
}

// is reports whether t is a word without quotes: a brace, or import.
func (t token) is(word string) bool { return t.text == word && !t.quoted }

// finder is told of what is wrong in a file.
type finder func(at plan.Place, what, why string)

// lexeme matches the beginning of a text: the end of a line; what stands between tokens, where a line may go on after
// a backslash; a string, where \" stands for a quotation mark; one without escapes; the mark of a heredoc; or a word.
var lexeme = plan.Expr(`(?s)^(?:(\n)|((?:[\t\v\f\r\pZ\x{85}]|\\\r?\n)+|#[^\n]*)` +
	`|"((?:\\"|[^"])*)("?)` + "|`([^`]*)(`?)" + `|<<([\w-]+)\r?\n|[^\s\v\pZ\x{85}]+)`)

// lex cuts a text into tokens. Quotes, backticks and heredocs are one token each.
func lex(text, file string, wrong finder) (list []token) {
	line, first := 1, true
	for text != "" {
		t := token{at: plan.Place{File: file, Line: line}, first: first, quoted: true}
		m := lexeme().FindStringSubmatch(text)
		size := len(m[0])
		switch {
		case m[1]+m[2] != "":
			first = first || m[1] != ""
		case text[0] == '"' || text[0] == '`':
			if t.text = m[5] + strings.ReplaceAll(m[3], `\"`, `"`); m[4]+m[6] == "" {
				wrong(t.at, "the end of the file", "a quotation mark is not closed")
			}
		case m[7] != "":
			size += t.readHeredoc(text[size:], m[7], wrong)
		default:
			if strings.HasSuffix(m[0], `\`) && lineGoesOn().MatchString(text[size-1:]) {
				size--
			}
			t.text, t.quoted = text[:size], false
			if strings.HasPrefix(t.text, `\<`) { // no heredoc
				t.text = t.text[1:]
			}
		}
		if t.is("{}") {
			t.text = "{"
			list, first = append(list, t, token{text: "}", at: t.at}), false
		} else if m[1]+m[2] == "" {
			list, first = append(list, t), false
		}
		line += strings.Count(text[:size], "\n")
		text = text[size:]
	}
	return list
}

var lineGoesOn = plan.Expr(`^\\\r?\n`)

// readHeredoc reads the lines up to the marker. The space before the marker is removed from each line.
func (t *token) readHeredoc(text, marker string, wrong finder) (length int) {
	t.quoted = true
	body, _, found := strings.Cut(text, marker)
	if !found {
		wrong(t.at, "<<"+marker, "the file ends within it")
		return len(text)
	}
	end := strings.LastIndexByte(body, '\n') + 1
	padding := body[end:]
	lines := strings.Split(strings.TrimSuffix(body[:end], "\n"), "\n")
	for i, line := range lines {
		line = strings.TrimRight(line, "\r")
		if line != "" && !strings.HasPrefix(line, padding) {
			wrong(t.at, "<<"+marker, "a line of it does not begin with the space that its end begins with")
		}
		lines[i] = strings.TrimPrefix(line, padding)
	}
	t.text = strings.Join(lines, "\n")
	return len(body) + len(marker)
}

// variable matches {$NAME} and {$NAME:default}.
var variable = plan.Expr(`\{\$[^:}\n]+(:[^}\n]*)?\}`)

// withEnvironment replaces the variables in the text of a file by what the environment has.
func (p *parser) withEnvironment(text, file string) string {
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines {
		lines[i] = variable().ReplaceAllStringFunc(line, func(whole string) string {
			name, standIn, usual := strings.Cut(whole[2:len(whole)-1], ":")
			value, set := os.LookupEnv(name)
			if at := (plan.Place{File: file, Line: i + 1}); set || usual {
				p.Note(at, whole, "the environment of the import has it, or its default stands in; ${"+name+
					":-…} in edge.toml reads that of edge")
			} else {
				p.Lose(at, whole, "the environment of the import does not have it: it is empty")
			}
			return map[bool]string{true: value, false: standIn}[set]
		})
	}
	return strings.Join(lines, "")
}
