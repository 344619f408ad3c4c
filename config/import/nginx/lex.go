package nginx

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// directive is one directive of the file with what is inside it.
//
//	proxy_pass http://api;            name args
//	location /api { … }               name args block
//
// The lines of a file that include names stand where the include stood.
type directive struct {
	name  string
	args  []string
	block []*directive // of a directive with braces
	open  bool         // it has braces
	at    plan.Place
	used  bool // it is in the result, or among the findings

	unread bool // an include of a file that cannot be read
}

// text returns the directive as a finding names it.
func (d *directive) text() string {
	return strings.Join(append([]string{d.name}, d.args...), " ")
}

// arg returns the argument i, or "".
func (d *directive) arg(i int) string {
	if i < len(d.args) {
		return d.args[i]
	}
	return ""
}

// child returns the last directive of that name directly inside d, or nil.
func (d *directive) child(name string) *directive {
	for _, c := range slices.Backward(d.block) {
		if c.name == name {
			return c
		}
	}
	return nil
}

// token is a word, or one of the signs ; { }.
type token struct {
	text   string
	line   int
	sign   bool
	quoted bool
}

// lexer cuts a text into tokens.
type lexer struct {
	text string
	at   int
	line int
}

// next returns the next token; ok is false at the end.
func (l *lexer) next() (t token, ok bool) {
	for l.at < len(l.text) {
		c := l.text[l.at]
		switch {
		case c == '\n':
			l.line++
			l.at++
		case c == ' ' || c == '\t' || c == '\r':
			l.at++
		case c == '#':
			for l.at < len(l.text) && l.text[l.at] != '\n' {
				l.at++
			}
		case c == ';' || c == '{' || c == '}':
			l.at++
			return token{text: string(c), line: l.line, sign: true}, true
		case c == '"' || c == '\'':
			return l.quoted(c), true
		default:
			return l.word(), true
		}
	}
	return token{line: l.line}, false
}

// quoted reads a string. A backslash stands before a quotation mark, a backslash, and the letters of C.
func (l *lexer) quoted(mark byte) token {
	t := token{line: l.line, quoted: true}
	var b strings.Builder
	for l.at++; l.at < len(l.text); l.at++ {
		c := l.text[l.at]
		switch {
		case c == mark:
			l.at++
			t.text = b.String()
			return t
		case c == '\\' && l.at+1 < len(l.text):
			l.at++
			b.WriteString(unescape(l.text[l.at]))
			if l.text[l.at] == '\n' {
				l.line++
			}
			continue
		case c == '\n':
			l.line++
		}
		b.WriteByte(c)
	}
	t.text = b.String()
	return t
}

// unescape returns what a backslash and c stand for.
func unescape(c byte) string {
	switch c {
	case '"', '\'', '\\', ' ', ';', '#', '{', '}':
		return string(c)
	case 't':
		return "\t"
	case 'r':
		return "\r"
	case 'n':
		return "\n"
	}
	return "\\" + string(c)
}

// word reads a word without quotes. A brace after a dollar belongs to a variable: ${name}.
func (l *lexer) word() token {
	t := token{line: l.line}
	var b strings.Builder
	for ; l.at < len(l.text); l.at++ {
		c := l.text[l.at]
		variable := strings.HasSuffix(b.String(), "$")
		if c == '{' && variable {
			if end := strings.IndexAny(l.text[l.at:], "} \t\r\n;"); end > 0 && l.text[l.at+end] == '}' {
				b.WriteString(l.text[l.at : l.at+end+1])
				l.at += end
				continue
			}
		}
		if strings.IndexByte(" \t\r\n;{", c) >= 0 {
			break
		}
		if c == '\\' && l.at+1 < len(l.text) && l.text[l.at+1] != '\n' {
			l.at++
			b.WriteString(unescape(l.text[l.at]))
			continue
		}
		b.WriteByte(c)
	}
	t.text = b.String()
	return t
}

// skipBlock leaves out a block in another language, up to the brace that closes it.
func (l *lexer) skipBlock() {
	for depth := 1; l.at < len(l.text) && depth > 0; l.at++ {
		switch c := l.text[l.at]; c {
		case '\n':
			l.line++
		case '{':
			depth++
		case '}':
			depth--
		case '"', '\'':
			l.quoted(c)
			l.at--
		case '-':
			if strings.HasPrefix(l.text[l.at:], "--") && !strings.HasPrefix(l.text[l.at:], "--[[") {
				for l.at+1 < len(l.text) && l.text[l.at+1] != '\n' {
					l.at++
				}
			}
		}
	}
}

// Limits of a tree.
const (
	depthMax      = 64     // blocks in blocks, and files that include files
	directivesMax = 100000 // in all files
)

// parser reads files into one tree.
type parser struct {
	read  *plan.Reader
	plan  *plan.Plan
	dir   string // where includes begin
	count int
}

// file parses one file; depth counts the files and blocks around it.
func (p *parser) file(path string, depth int) ([]*directive, error) {
	text, err := p.read.Read(path)
	if err != nil {
		return nil, err
	}
	name := path
	if depth > 0 {
		if short, err := filepath.Rel(p.dir, path); err == nil && !strings.HasPrefix(short, "..") {
			name = short
		}
	} else {
		name = filepath.Base(path)
	}
	l := &lexer{text: strings.TrimPrefix(string(text), "\ufeff"), line: 1}
	return p.block(l, name, depth, false), nil
}

// block parses directives up to the brace that closes them, or to the end of the file.
func (p *parser) block(l *lexer, file string, depth int, inner bool) (list []*directive) {
	var d *directive
	for {
		t, ok := l.next()
		at := plan.Place{File: file, Line: t.line}
		switch {
		case !ok:
			if d != nil {
				p.plan.Lose(d.at, d.text(), "the file ends within it")
			} else if inner {
				p.plan.Lose(at, "the end of the file", "a block is not closed")
			}
			return list
		case !t.sign && d == nil:
			d = &directive{name: t.text, at: at}
			if p.count++; p.count > directivesMax {
				p.plan.Lose(at, "the rest", "more than 100000 directives")
				l.at = len(l.text)
				return list
			}
		case !t.sign:
			d.args = append(d.args, t.text)
		case t.text == "}":
			if d != nil {
				p.plan.Lose(d.at, d.text(), "a ; is missing")
				d = nil
			}
			if inner {
				return list
			}
			p.plan.Lose(at, "}", "no block is open")
		case d == nil:
			if t.text == "{" {
				p.plan.Lose(at, "{", "a block without a name")
				l.skipBlock()
			}
		case t.text == "{":
			p.braces(l, d, file, depth)
			list, d = append(list, d), nil
		default:
			list, d = append(list, p.include(d, file, depth)...), nil
		}
	}
}

// braces parses what is inside d.
func (p *parser) braces(l *lexer, d *directive, file string, depth int) {
	d.open = true
	switch {
	case strings.HasSuffix(d.name, "_by_lua_block"):
		l.skipBlock()
	case depth >= depthMax:
		p.plan.Lose(d.at, d.name, "more than 64 blocks in each other")
		d.used = true
		l.skipBlock()
	default:
		d.block = p.block(l, file, depth+1, true)
	}
}

// harmless matches files that programs and distributions bring along, and whose lines refuse nothing.
var harmless = plan.Expr(`(^|/)((fastcgi|uwsgi|scgi|proxy)(_params|\.conf)|fastcgi-php\.conf|mime\.types|` +
	`ssl[-_.a-z]*|options-ssl-nginx\.conf|snakeoil\.conf|koi-(utf|win)|win-utf)$`)

// include returns d, or the directives of the files that it includes.
func (p *parser) include(d *directive, _ string, depth int) (list []*directive) {
	if d.name != "include" || len(d.args) != 1 {
		return []*directive{d}
	}
	pattern := d.args[0]
	if !strings.HasPrefix(pattern, "/") && p.dir != "" {
		pattern = filepath.Join(p.dir, pattern)
	}
	if depth >= depthMax {
		p.plan.Lose(d.at, d.text(), "more than 64 files include each other")
		return nil
	}
	files, err := p.read.Glob(pattern)
	wild := strings.ContainsAny(pattern, "*?[")
	switch {
	case err == nil && len(files) == 0 && wild:
		p.plan.Note(d.at, d.text(), "no file matches it")
		return nil
	case err != nil || !wild:
		files = []string{pattern}
	}
	for _, file := range files {
		more, err := p.file(file, depth+1)
		if err != nil {
			why := "the file cannot be read: what it says is not in the result"
			if strings.HasSuffix(file, "mime.types") {
				p.plan.Note(d.at, d.text(), "types of files: edge serves none")
				continue
			}
			if depth > 0 && !harmless().MatchString(file) {
				why += "; what it may refuse is closed: 403"
				list = append(list, &directive{name: d.name, args: d.args, at: d.at, used: true, unread: true})
			}
			p.plan.Lose(d.at, d.text(), why)
			continue
		}
		list = append(list, more...)
	}
	p.plan.Note(d.at, d.text(), "its lines are taken as if they stood here")
	return list
}
