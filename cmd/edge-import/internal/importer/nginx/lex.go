package nginx

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// directive is one directive of the file with what is inside it.
//
//	proxy_pass http://api;            name args
//	location /api/ { … }               name args block
//
// The lines of a file that include names stand where the include stood. It stands there itself where the file cannot be
// read.
type directive struct {
	name  string
	args  []string
	block []*directive // of a directive with braces
	at    plan.Place
	used  bool // it is in the result, or among the findings

	last   map[string]*directive // the last ones of block by their names; nil: nothing has asked for one
	guards []*directive          // directives of block that let some requests through and refuse others; with last
}

// text returns the directive as a finding names it.
func (d *directive) text() string {
	return strings.Join(append([]string{d.name}, d.args...), " ")
}

func textOf(list []*directive) (text string) {
	for _, d := range list {
		text += d.text() + "\n"
	}
	return text
}

// arg returns the argument i, or "".
func (d *directive) arg(i int) string {
	if i >= 0 && i < len(d.args) {
		return d.args[i]
	}
	return ""
}

// child returns the last directive of that name directly inside d, or nil.
func (d *directive) child(name string) *directive {
	if d.last == nil && len(d.block) > 0 {
		d.last = map[string]*directive{}
		for _, c := range d.block {
			d.last[c.name] = c
			if guardName().MatchString(c.name) && !slices.Contains(noGuards, c.name) {
				d.guards = append(d.guards, c)
			}
		}
	}
	return d.last[name]
}

func (d *directive) each(f func(*directive)) {
	f(d)
	for _, c := range d.block {
		c.each(f)
	}
}

// guardName matches directives that let some requests through and refuse others, which edge cannot.
var guardName = plan.Expr(`^(include|auth_[a-z]+|auth_jwt_enabled|(server_rewrite|rewrite|access)_by_lua.*|js_access|` +
	`secure_link|valid_referers)$`)

// noGuards are directives that guardName matches, and that refuse nothing or are carried.
var noGuards = []string{"auth_basic", "auth_delay", "auth_http"}

// token is a word, or one of the signs ; { }.
type token struct {
	text string
	line int
	sign bool
}

type lexer struct {
	text string
	at   int
	line int
}

// next returns the next token; ok is false at the end.
func (l *lexer) next() (t token, ok bool) {
	for ; l.at < len(l.text); l.at++ {
		switch c := l.text[l.at]; c {
		case '\n':
			l.line++
		case ' ', '\t', '\r':
		case '#':
			l.read("\n")
			l.at--
		case ';', '{', '}':
			l.at++
			return token{string(c), l.line, true}, true
		case '"', '\'':
			l.at++
			t = token{line: l.line}
			t.text = l.read(string(c))
			l.at++
			return t, true
		default:
			return token{text: l.read(" \t\r\n;{"), line: l.line}, true
		}
	}
	return token{line: l.line}, false
}

// read returns the text up to one of some bytes. A brace after a dollar belongs to a variable: ${name}.
func (l *lexer) read(ends string) string {
	var b strings.Builder
	for ; l.at < len(l.text); l.at++ {
		c := l.text[l.at]
		variable := c == '{' && l.at > 0 && l.text[l.at-1] == '$'
		if strings.IndexByte(ends, c) >= 0 && !variable {
			break
		}
		if c == '\\' && l.at+1 < len(l.text) && ends != "\n" {
			l.at++
			if c = l.text[l.at]; strings.IndexByte("trn", c) >= 0 {
				c = "\t\r\n"[strings.IndexByte("trn", c)]
			} else if strings.IndexByte("\"'\\ ;#{}", c) < 0 {
				b.WriteByte('\\')
			}
		}
		if l.text[l.at] == '\n' {
			l.line++
		}
		b.WriteByte(c)
	}
	return b.String()
}

// skipBlock leaves out a block in Lua, up to the brace that closes it.
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
			l.at++
			l.read(string(c))
		case '-':
			if strings.HasPrefix(l.text[l.at:], "-- ") {
				l.read("\n")
				l.at--
			}
		}
	}
}

// Limits of a tree.
const (
	depthMax      = 64     // blocks in blocks, and files that include files
	directivesMax = 100000 // in all files
)

// file parses one file; depth counts the files and blocks around it.
func (im *importer) file(path string, depth int) ([]*directive, error) {
	text, err := im.read.Read(path)
	if err != nil {
		return nil, err
	}
	name, err := filepath.Rel(im.dir, path)
	if err != nil || strings.HasPrefix(name, "..") {
		name = path
	}
	l := &lexer{text: strings.TrimPrefix(string(text), "\ufeff"), line: 1}
	return im.block(l, name, depth, false), nil
}

// block parses directives up to the brace that closes them, or to the end of the file.
func (im *importer) block(l *lexer, file string, depth int, inner bool) (list []*directive) {
	var d *directive
	for {
		t, ok := l.next()
		at := plan.Place{File: file, Line: t.line}
		if !t.sign && ok {
			if d == nil {
				d = &directive{name: t.text, at: at}
				im.count++
			} else {
				d.args = append(d.args, t.text)
			}
			continue
		}
		switch {
		case im.count > directivesMax:
			im.Lose(at, "the rest", "more than 100000 directives")
			l.at = len(l.text)
			return list
		case d != nil && (!ok || t.text == "}"):
			im.Lose(d.at, d.text(), "a ; is missing")
			d = nil
		case !ok && inner, d == nil && ok && !inner && t.text == "}":
			im.Lose(at, cmp.Or(t.text, "the end of the file"), "the other brace of the block is missing")
		}
		switch {
		case !ok || inner && t.text == "}":
			return list
		case d == nil:
		case t.text == "{":
			switch {
			case strings.HasSuffix(d.name, "_by_lua_block"):
				l.skipBlock()
			case depth >= depthMax:
				im.Lose(d.at, d.name, "more than 64 blocks in each other")
				d.used = true
				l.skipBlock()
			default:
				d.block = im.block(l, file, depth+1, true)
			}
			list, d = append(list, d), nil
		default:
			list, d = append(list, im.include(d, depth)...), nil
		}
	}
}

// harmless matches files that programs and distributions bring along, and whose lines refuse nothing.
var harmless = plan.Expr(`(^|/)((fastcgi|uwsgi|scgi|proxy)(_params|\.conf)|fastcgi-php\.conf|mime\.types|` +
	`ssl[-_.a-z]*|options-ssl-nginx\.conf|snakeoil\.conf|koi-(utf|win)|win-utf)$`)

// include returns d, or the directives of the files that it includes.
func (im *importer) include(d *directive, depth int) (list []*directive) {
	if d.name != "include" || len(d.args) != 1 {
		return []*directive{d}
	}
	pattern := im.path(d.args[0])
	if depth >= depthMax {
		im.Lose(d.at, d.text(), "more than 64 files include each other")
		return nil
	}
	files, err := im.read.Glob(pattern)
	wild := strings.ContainsAny(pattern, "*?[")
	switch {
	case err == nil && len(files) == 0 && wild:
		im.Note(d.at, d.text(), "no file matches it")
		return nil
	case err != nil || !wild:
		files = []string{pattern}
	}
	for _, file := range files {
		more, err := im.file(file, depth+1)
		if list = append(list, more...); err == nil {
			continue
		}
		why := "the file cannot be read: what it says is not in the result"
		if depth > 0 && !harmless().MatchString(file) {
			why += "; what it may refuse is closed: 403"
			list = append(list, &directive{name: d.name, args: d.args, at: d.at, used: true})
		}
		im.Lose(d.at, d.text(), why)
	}
	im.Note(d.at, d.text(), "its lines are taken as if they stood here")
	return list
}
