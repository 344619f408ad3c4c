package caddy

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// directive is one directive with what is inside its braces.
//
//	reverse_proxy /api/* localhost:3000      name args
//	handle @m { … }                          name args block
//
// The directives of a snippet or a file stand in place of the import that names it.
type directive struct {
	name  string
	args  []string
	block []*directive
	open  bool // it has braces
	at    plan.Place
	used  bool // a part of the program, or among the findings
}

// text returns the directive as a finding names it.
func (d *directive) text() string {
	return strings.Join(append([]string{d.name}, d.args...), " ")
}

// arg returns the argument i, or "".
func (d *directive) arg(i int) string {
	if i >= 0 && i < len(d.args) {
		return d.args[i]
	}
	return ""
}

// child returns the first directive of that name inside d, or nil.
func (d *directive) child(name string) *directive {
	for _, c := range d.block {
		if c.name == name {
			return c
		}
	}
	return nil
}

// markAll marks d and what is inside it as used.
func (d *directive) markAll() {
	d.used = true
	for _, c := range d.block {
		c.markAll()
	}
}

// Limits of a file with all that it imports.
const (
	depthMax  = 32
	tokensMax = 100000
)

// parser reads files into the blocks of sites.
type parser struct {
	read     *plan.Reader
	plan     *plan.Plan
	dir      string // of the first file
	tokens   []token
	count    int
	snippets map[string][]token

	global []*directive // options before the sites
	sites  []*directive // name is "", args are the addresses
}

// file parses the first file.
func (p *parser) file(path string) error {
	tokens, err := p.lex(path, filepath.Base(path))
	if err != nil {
		return err
	}
	p.tokens = tokens
	p.snippets = map[string][]token{}
	for len(p.tokens) > 0 {
		p.top()
	}
	return nil
}

// lex returns the tokens of a file that findings call name.
func (p *parser) lex(path, name string) ([]token, error) {
	text, err := p.read.Read(path)
	if err != nil {
		return nil, err
	}
	plain := withEnvironment(strings.TrimPrefix(string(text), "\ufeff"),
		func(line int, variable, why string, lost bool) {
			at := plan.Place{File: name, Line: line}
			if lost {
				p.plan.Lose(at, "{$"+variable+"}", why)
				return
			}
			p.plan.Note(at, "{$"+variable+"}", why)
		})
	l := &lexer{text: plain, file: name, wrong: p.plan.Lose}
	return l.all(), nil
}

// next takes a token.
func (p *parser) next() token {
	t := p.tokens[0]
	p.tokens = p.tokens[1:]
	return t
}

// top parses what stands outside of all braces: options, a snippet, a site, or an import.
func (p *parser) top() {
	if t := p.tokens[0]; t.text == "import" && !t.quoted {
		p.next()
		p.imports(t)
		return
	}
	d := &directive{at: p.tokens[0].at}
	more, braces := true, false
	for len(p.tokens) > 0 {
		t := p.tokens[0]
		if t.opens() {
			p.next()
			braces = true
			break
		}
		if t.first && !more {
			break
		}
		p.next()
		more = strings.HasSuffix(t.text, ",") || len(d.args) == 0 && t.text == ""
		if key := strings.TrimSuffix(t.text, ","); key != "" {
			d.args = append(d.args, key)
		}
		if t.closes() {
			p.plan.Lose(t.at, "}", "no block is open")
			return
		}
	}
	switch name := d.arg(0); {
	case len(d.args) == 0 && braces:
		p.global = append(p.global, p.block(true, 0)...)
	case strings.HasPrefix(name, "(") && strings.HasSuffix(name, ")") && braces:
		p.snippets[strings.Trim(name, "()")] = p.raw()
	case strings.HasPrefix(name, "&(") && braces:
		d.block = p.block(true, 0)
		p.loseBlock(d, "routes with names are not known: write the lines where they are invoked")
	default:
		d.open = braces
		d.block = p.block(braces, 0)
		p.sites = append(p.sites, d)
	}
}

// raw takes the tokens up to the brace that closes the block.
func (p *parser) raw() (list []token) {
	for depth := 0; len(p.tokens) > 0; {
		t := p.next()
		switch {
		case t.opens():
			depth++
		case t.closes() && depth == 0:
			return list
		case t.closes():
			depth--
		}
		list = append(list, t)
	}
	if len(list) > 0 {
		p.plan.Lose(list[len(list)-1].at, "the end of the file", "a block is not closed")
	}
	return list
}

// block parses directives up to the brace that closes them, or to the end of the file.
func (p *parser) block(braces bool, depth int) (list []*directive) {
	for len(p.tokens) > 0 {
		t := p.next()
		switch {
		case t.closes() && braces:
			return list
		case t.closes():
			p.plan.Lose(t.at, "}", "no block is open")
		case t.opens():
			p.plan.Lose(t.at, "{", "a block without a name")
			p.raw()
		case t.text == "import" && !t.quoted:
			p.imports(t)
		default:
			list = append(list, p.directive(t, depth))
		}
	}
	if braces {
		p.plan.Lose(plan.Place{File: p.plan.File, Line: 1}, "the end of the file", "a block is not closed")
	}
	return list
}

// directive parses one directive after its name.
func (p *parser) directive(name token, depth int) *directive {
	d := &directive{name: name.text, at: name.at}
	if p.count++; p.count > tokensMax {
		p.plan.Lose(name.at, "the rest", "more than 100000 tokens")
		p.tokens = nil
	}
	for len(p.tokens) > 0 {
		t := p.tokens[0]
		switch {
		case t.opens() && depth >= depthMax:
			p.next()
			p.raw()
			p.plan.Lose(d.at, d.text(), "more than 32 blocks in each other")
			d.used = true
			return d
		case t.opens():
			p.next()
			d.open = true
			d.block = p.block(true, depth+1)
			return d
		case t.first || t.closes():
			return d
		case t.text == "{}" && !t.quoted:
			p.next()
			d.open = true
			return d
		}
		d.args = append(d.args, p.next().text)
	}
	return d
}

// imports puts the tokens of a snippet, or of the files that a pattern matches, where the import stands.
func (p *parser) imports(at token) {
	var args []string
	for len(p.tokens) > 0 && !p.tokens[0].first && !p.tokens[0].opens() && !p.tokens[0].closes() {
		args = append(args, p.next().text)
	}
	var block []token
	if len(p.tokens) > 0 && p.tokens[0].opens() && !p.tokens[0].first {
		p.next()
		block = p.raw()
	}
	what := "import " + strings.Join(args, " ")
	if len(args) == 0 || at.depth >= depthMax {
		p.plan.Lose(at.at, what, "it names nothing, or more than 32 of them import each other")
		return
	}
	tokens, found := p.snippets[args[0]]
	if found {
		p.plan.Note(at.at, what, "the lines of the snippet are taken as if they stood here")
	} else {
		tokens = p.files(at, args[0], what)
	}
	list := make([]token, 0, len(tokens))
	for i, t := range tokens {
		t.depth = at.depth + 1
		t.first = t.first || i == 0
		list = append(list, withArgs(t, args[1:], block)...)
	}
	if p.count += len(list); p.count > tokensMax {
		p.plan.Lose(at.at, what, "more than 100000 tokens")
		return
	}
	p.tokens = append(list, p.tokens...)
}

// files returns the tokens of files that are imported.
func (p *parser) files(at token, pattern, what string) (tokens []token) {
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(p.dir, filepath.Dir(at.at.File), pattern)
	}
	wild := strings.ContainsAny(pattern, "*?[")
	files, err := p.read.Glob(pattern)
	switch {
	case err == nil && len(files) == 0 && wild:
		p.plan.Note(at.at, what, "no file matches it")
		return nil
	case err != nil || !wild:
		files = []string{pattern}
	}
	for _, file := range files {
		name := file
		if short, err := filepath.Rel(p.dir, file); err == nil && !strings.HasPrefix(short, "..") {
			name = short
		}
		if wild && strings.HasPrefix(filepath.Base(file), ".") {
			continue
		}
		more, err := p.lex(file, name)
		if err != nil {
			p.plan.Lose(at.at, what, "the file cannot be read: what it says is not in the result")
			continue
		}
		tokens = append(tokens, more...)
	}
	p.plan.Note(at.at, what, "its lines are taken as if they stood here")
	return tokens
}

// withArgs returns what a token of a snippet stands for where that is imported with args and a block.
func withArgs(t token, args []string, block []token) []token {
	if t.text == "{block}" {
		return block
	}
	if inner, found := strings.CutPrefix(t.text, "{args["); found && strings.HasSuffix(inner, "]}") {
		from, to, several := strings.Cut(strings.TrimSuffix(inner, "]}"), ":")
		if several && !strings.ContainsAny(inner[:len(inner)-2], "{}") {
			first, last := number(from, 0), number(to, len(args))
			if first < 0 || first > last || last > len(args) {
				return []token{t}
			}
			var list []token
			for i, text := range args[first:last] {
				c := t
				c.text, c.first = text, t.first && i == 0
				list = append(list, c)
			}
			return list
		}
	}
	if strings.Contains(t.text, "{args") {
		for i, text := range args {
			n := strconv.Itoa(i)
			t.text = strings.NewReplacer("{args["+n+"]}", text, "{args."+n+"}", text).Replace(t.text)
		}
	}
	return []token{t}
}

// number returns s as a number, standIn where s is empty, and -1 where s is no number.
func number(s string, standIn int) int {
	if s == "" {
		return standIn
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// loseBlock adds a finding about a directive, and one about each line in it.
func (p *parser) loseBlock(d *directive, why string) {
	d.used = true
	what := d.text()
	if d.name == "" {
		what = strings.Join(d.args, " ")
	}
	p.plan.Lose(d.at, what, why)
	for _, c := range d.block {
		p.loseBlock(c, "it is inside "+what+", which is not carried")
	}
}

// named returns the directives of that name in a list.
func named(list []*directive, name string) []*directive {
	return slices.DeleteFunc(slices.Clone(list), func(d *directive) bool { return d.name != name })
}
