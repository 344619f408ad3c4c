package schema

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/internal/config/syntax"
)

// IncludeKey is the key at the top of a file that names other files.
const IncludeKey = "include"

// FileBytesMax bounds the bytes of all files of a configuration.
const FileBytesMax = 16 << 20

const (
	includeDepthMax = 8
	filesMax        = 4096 // of one configuration
)

// Options say how files are read. The zero value is good.
type Options struct {
	// Set holds "key=value" entries, which beat what the files say; the last one for a key wins.
	Set []string
	// Under are texts in TOML of the program itself: keys of the files go before their keys, and keys of an earlier
	// text before keys of a later one.
	Under []Under
	// LookupEnv returns a variable that a string names as ${NAME}; nil is os.LookupEnv.
	LookupEnv func(name string) (value string, found bool)
	// Dir is where a relative path of ${file:…} begins; "": the working directory.
	Dir string
	// Kept are texts to read in place of the disk: Load gets their Main. ${file:…} is read from the disk even so.
	Kept *Files
	// Sent says what the client that has sent the text in Kept may write; nil: no client has sent it.
	Sent *Sent
	// Record is filled in with what Load reads, also when it finds errors. nil: nothing is kept.
	Record *Files
}

// Load reads the file at path and those it includes.
func (s *Schema) Load(path string, o Options) *Document {
	l := s.newLoader(o)
	l.onDisk = true
	if o.Record != nil {
		*o.Record = Files{Main: absolute(path)}
	}
	l.file(path, syntax.Span{})
	return l.finish()
}

// Parse reads the text of a configuration. name stands for the file in messages, and its extension tells the format.
func (s *Schema) Parse(name string, text []byte, o Options) *Document {
	l := s.newLoader(o)
	if len(text) > FileBytesMax {
		l.fault(syntax.Span{}, "%s", errLarge)
	} else {
		l.text(name, text)
	}
	return l.finish()
}

// loader reads a file and those it includes, and merges their trees into one.
type loader struct {
	options Options
	schema  *Schema
	doc     *Document
	rep     *syntax.Report
	onDisk  bool // there is a folder that include can be relative to
	root    *syntax.Node
	sources int
	bytes   int
	open    []string        // the real paths of the files being read, each included by the one before
	done    map[string]bool // the real paths of the files that were merged
}

func (s *Schema) newLoader(o Options) *loader {
	if o.LookupEnv == nil {
		o.LookupEnv = os.LookupEnv
	}
	rep := &syntax.Report{}
	doc := s.newDocument(rep)
	doc.Whole, doc.sent = true, o.Sent
	return &loader{options: o, schema: s, doc: doc, rep: rep, done: make(map[string]bool)}
}

// finish applies the options to the merged tree and decodes it.
func (l *loader) finish() *Document {
	for _, u := range l.options.Under {
		l.putUnder(u)
	}
	if l.root == nil {
		return l.doc
	}
	for _, text := range l.options.Set {
		l.override(text)
	}
	l.doc.root = l.root
	l.doc.decode(l.root)
	if l.schema.Reserved.Implied != nil {
		if more := l.schema.Reserved.Implied(l.root); more != nil {
			l.doc.decode(more)
		}
	}
	return l.doc
}

// Under is a text of the program, with a name for messages: "(program)".
type Under struct{ Name, Text string }

// putUnder puts the text of the program under the tree of the files. Where the files set a key, by any of its names,
// their value counts. Tables with the same name become one, and entries of lists stand after the entries of the files.
func (l *loader) putUnder(u Under) {
	src := syntax.NewSource(u.Name, []byte(u.Text), l.sources)
	l.sources++
	tree, whole := syntax.ParseTOML(src, l.rep)
	l.doc.Whole = l.doc.Whole && whole
	syntax.Expand(tree, l.rep, l.options.LookupEnv, l.options.Dir)
	if n := tree.Remove(IncludeKey); n != nil {
		l.fault(n.Head, "the text of a program cannot include files")
	}
	if l.root == nil {
		l.doc.Main, l.root = src, tree
		return
	}
	at := l.schema.root
	cover(l.root, tree, at, tree, at)
	m := merger{rep: l.rep, under: true}
	m.tables(l.root, tree, at)
}

// file reads one file and merges it. at is where another file names it; the first file is named nowhere.
func (l *loader) file(path string, at syntax.Span) {
	if l.root != nil && l.sources >= filesMax {
		l.fault(at, "more than %d files", filesMax)
		return
	}
	real := l.realPath(path)
	if at.IsValid() && slices.Contains(l.open, real) {
		l.doc.Whole = false
		l.rep.Errorf(at, "leave it out", "%s includes itself", syntax.QuotePath(path))
		return
	}
	if l.done[real] {
		return
	}
	text, err := l.read(path, real, at.IsValid())
	if err != nil {
		what := "cannot read"
		if at.IsValid() {
			what += " " + syntax.QuotePath(path)
		}
		l.fault(at, "%s: %s", what, syntax.WithoutPath(err))
		return
	}
	l.done[real] = true
	l.open = append(l.open, real)
	l.text(path, text)
	l.open = l.open[:len(l.open)-1]
}

// text merges what one file says, then the files that it includes.
func (l *loader) text(name string, text []byte) {
	src := syntax.NewSource(name, text, l.sources)
	l.sources++
	l.bytes += len(text)
	tree, whole := l.tree(src)
	l.doc.Whole = l.doc.Whole && whole
	if sent := l.options.Sent; sent != nil && sent.Known != nil {
		l.refuseQuotes(tree)
	}
	quoted := syntax.Expand(tree, l.rep, l.options.LookupEnv, l.options.Dir)
	if r := l.options.Record; r != nil {
		for _, path := range quoted {
			r.Quoted = append(r.Quoted, absolute(path))
		}
	}
	more := tree.Remove(IncludeKey)
	if l.root == nil {
		l.doc.Main, l.root = src, tree
	} else {
		m := merger{rep: l.rep}
		m.tables(l.root, tree, l.schema.root)
	}
	if more != nil {
		l.include(more, filepath.Dir(name))
	}
}

// tree parses one file. A file of another program has one error, in place of one for each of its lines, and sets
// nothing.
func (l *loader) tree(src *syntax.Source) (root *syntax.Node, whole bool) {
	found := &syntax.Report{}
	root, whole = syntax.ParseTree(src, found)
	if foreign := l.schema.Reserved.Foreign; foreign != nil {
		read := root
		if !whole {
			read = nil
		}
		if at, message, hint := foreign(src, read); message != "" {
			l.rep.Errorf(at, hint, "%s", message)
			return &syntax.Node{}, false
		}
	}
	l.rep.Take(found, "")
	return root, whole
}

// include reads the files that the value n of the key names, relative to folder.
func (l *loader) include(n *syntax.Node, folder string) {
	if !l.onDisk || l.options.Sent != nil {
		l.fault(n.Head, "a configuration that is not a file cannot include others")
		return
	}
	if len(l.open) > includeDepthMax {
		l.fault(n.Head, "files include each other more than %d deep", includeDepthMax)
		return
	}
	d := &Decoder{Report: l.rep}
	right := d.Each(n, "a path", func(c *syntax.Node, pattern string) bool {
		return l.pattern(c, pattern, folder)
	})
	l.doc.Whole = l.doc.Whole && right
}

// pattern reads the files that match, in the order of their names.
func (l *loader) pattern(n *syntax.Node, pattern, folder string) bool {
	full := pattern
	if !filepath.IsAbs(pattern) && folder != "." {
		full = filepath.Join(globEscaper.Replace(folder), pattern)
	}
	paths, err := l.glob(full)
	if err != nil {
		l.rep.Errorf(n.Value, "", "%s is not a pattern of file names", syntax.Quote(pattern))
		return false
	}
	if !isPattern(pattern) && len(paths) == 0 {
		l.rep.Errorf(n.Value, "a path begins at the folder of this file", "cannot read %s: no such file or directory",
			syntax.QuotePath(full))
		return false
	}
	for _, path := range paths {
		l.file(path, n.Value)
	}
	if len(paths) == 0 {
		l.rep.Notef(CodeEmptyInclude, n.Value, "no file matches %s", syntax.Quote(pattern))
	}
	return true
}

// isPattern reports whether a text of include may stand for several files. What escapeGlob has escaped does not count.
func isPattern(s string) bool {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '*', '?', '[':
			return true
		case '\\':
			i++
		}
	}
	return false
}

// skipped reports whether a path that matches a pattern is not meant by it: a folder, or a hidden file, as editors and
// mounted volumes leave them, unless the pattern names hidden ones.
func skipped(path, pattern string) bool {
	at, err := os.Stat(path)
	hidden := strings.HasPrefix(filepath.Base(path), ".") && !strings.HasPrefix(filepath.Base(pattern), ".")
	return hidden || err == nil && at.IsDir()
}

var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

func (l *loader) fault(at syntax.Span, format string, args ...any) {
	l.doc.Whole = false
	l.rep.Errorf(at, "", format, args...)
}

// realPath returns one path for a file, whatever links lead to it.
func realPath(path string) string {
	if p, err := filepath.EvalSymlinks(path); err == nil {
		path = p
	}
	if p, err := filepath.Abs(path); err == nil {
		path = p
	}
	return path
}

var errLarge = errors.New("larger than 16 MiB")
