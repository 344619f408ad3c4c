package config

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/syntax"
)

const (
	includeKey      = "include"
	includeDepthMax = 8
	includeFilesMax = 4096 // files of one configuration
)

// loader reads a file and those it includes, and merges their trees into one.
type loader struct {
	options Options
	rep     *Report
	onDisk  bool // there is a folder that include can be relative to
	main    *syntax.Source
	root    *syntax.Node
	sources int
	bytes   int
	open    []string        // the files being read, by their real paths, each included by the one before
	done    map[string]bool // those that were merged, by their real paths
	broken  bool            // something was left out: names may seem to be missing that are not
}

// file reads one file and merges it. at is where another file names it, nowhere for the first one.
func (l *loader) file(path string, at syntax.Span) {
	if l.root != nil && l.sources >= includeFilesMax {
		l.fault(at, "more than %d files", includeFilesMax)
		return
	}
	real := realPath(path)
	if at.IsValid() && slices.Contains(l.open, real) {
		l.fault(at, "%s includes itself", syntax.QuotePath(path))
		return
	}
	if l.done[real] {
		return
	}
	text, err := readConfig(path, fileBytesMax-l.bytes, at.IsValid())
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
	tree, whole := syntax.ParseTree(src, l.rep)
	l.broken = l.broken || !whole
	syntax.Expand(tree, l.rep, l.options.lookup(), l.options.Dir)
	more := tree.Remove(includeKey)
	if l.root == nil {
		l.main, l.root = src, tree
	} else {
		m := merger{rep: l.rep}
		m.tables(l.root, tree, schema())
	}
	if more != nil {
		l.include(more, filepath.Dir(name))
	}
}

// include reads the files that the value n of the key names, relative to folder.
func (l *loader) include(n *syntax.Node, folder string) {
	if !l.onDisk {
		l.fault(n.Head, "a configuration that is not a file cannot include others")
		return
	}
	if len(l.open) > includeDepthMax {
		l.fault(n.Head, "files include each other more than %d deep", includeDepthMax)
		return
	}
	d := &decoder{rep: l.rep}
	right := each(d, n, "a path", func(c *syntax.Node, pattern string) bool {
		return l.pattern(c, pattern, folder)
	})
	l.broken = l.broken || !right
}

// pattern reads the files that match, in the order of their names.
func (l *loader) pattern(n *syntax.Node, pattern, folder string) bool {
	full := pattern
	if !filepath.IsAbs(pattern) && folder != "." {
		full = filepath.Join(escapeGlob(folder), pattern)
	}
	paths, err := filepath.Glob(full)
	if err != nil {
		l.rep.Errorf(n.Value, "", "%s is not a pattern of file names", syntax.Quote(pattern))
		return false
	}
	single := !strings.ContainsAny(pattern, `*?[`)
	if single && len(paths) == 0 {
		l.rep.Errorf(n.Value, "", "cannot read %s: no such file or directory", syntax.QuotePath(full))
		return false
	}
	found := false
	for _, path := range paths {
		if !single && skipped(path, pattern) {
			continue
		}
		found = true
		l.file(path, n.Value)
	}
	if !found {
		l.rep.Notef(codeEmptyInclude, n.Value, "no file matches %s", syntax.Quote(pattern))
	}
	return true
}

// skipped tells whether a pattern means path although it matches: neither folders nor hidden files, which editors and
// mounted volumes leave, unless it says so.
func skipped(path, pattern string) bool {
	at, err := os.Stat(path)
	hidden := strings.HasPrefix(filepath.Base(path), ".") && !strings.HasPrefix(filepath.Base(pattern), ".")
	return hidden || err == nil && at.IsDir()
}

var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

func escapeGlob(path string) string { return globEscaper.Replace(path) }

func (l *loader) fault(at syntax.Span, format string, args ...any) {
	l.broken = true
	l.rep.Errorf(at, "", format, args...)
}

// realPath names a file the same whichever way leads to it.
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

// readConfig reads a file, of at most bytesMax. One that another file includes has to be a regular one: what a pattern
// finds may be a pipe, and opening that could wait for ever.
func readConfig(path string, bytesMax int, included bool) ([]byte, error) {
	if at, err := os.Stat(path); included && err == nil && !at.Mode().IsRegular() && !at.IsDir() {
		return nil, syntax.ErrNotRegular
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, int64(bytesMax)+1))
	if err == nil && len(text) > bytesMax {
		err = errLarge
	}
	return text, err
}
