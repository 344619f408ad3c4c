package schema

import (
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/edge-proxy/edge/internal/config/syntax"
)

// Files are the texts that a configuration was read from, and what led to them: enough to read it again as it was, and
// to see whether the files have changed. What ${file:…} and keys such as "cert" name is not among the texts.
// Not changed after the Load that filled it in.
type Files struct {
	Main   string   `json:"main"`             // the first one, absolute
	Texts  []Text   `json:"texts"`            // in the order in which they were read, each once
	Globs  []Glob   `json:"globs,omitempty"`  // patterns of include
	Quoted []string `json:"quoted,omitempty"` // paths of ${file:…}
}

// Text is one file.
type Text struct {
	Path string `json:"path"` // as it was opened, absolute
	Real string `json:"real"` // without links
	Text []byte `json:"text"` // nil: it could not be read

	At fs.FileInfo `json:"-"` // what the file was like just before it was read; nil: it was not read by this process
}

// Glob is a pattern of include with the files that it stood for.
type Glob struct {
	Pattern string   `json:"pattern"` // absolute
	Paths   []string `json:"paths"`
}

// Size returns how many bytes the texts have.
func (f *Files) Size() (n int) {
	for i := range f.Texts {
		n += len(f.Texts[i].Text)
	}
	return n
}

// Paths returns the paths of all files that were opened, or should have been.
func (f *Files) Paths() []string {
	all := slices.Clone(f.Quoted)
	for i := range f.Texts {
		all = append(all, f.Texts[i].Path)
	}
	return all
}

// Same reports whether both have the same files with the same texts.
func (f *Files) Same(other *Files) bool {
	return f.Main == other.Main && slices.EqualFunc(f.Texts, other.Texts, func(a, b Text) bool {
		return a.Path == b.Path && string(a.Text) == string(b.Text)
	})
}

// Unchanged reports whether the disk has what f has.
func (f *Files) Unchanged() bool {
	for i := range f.Texts {
		t := &f.Texts[i]
		now, err := syntax.ReadRegular(t.Path, len(t.Text), errLarge)
		if err != nil || string(now) != string(t.Text) {
			return false
		}
	}
	for i := range f.Globs {
		if paths, err := f.Globs[i].Find(); err != nil || !slices.Equal(paths, f.Globs[i].Paths) {
			return false
		}
	}
	return true
}

// Find returns the paths that the pattern stands for now.
func (g *Glob) Find() ([]string, error) { return find(g.Pattern) }

// find returns the files that match a pattern, in the order of their names. Folders and hidden files are left out, but
// a file that is named in full is not.
func find(pattern string) ([]string, error) {
	paths, err := filepath.Glob(pattern)
	if err != nil || !isPattern(pattern) {
		return paths, err
	}
	return slices.DeleteFunc(paths, func(path string) bool { return skipped(path, pattern) }), nil
}

// realPath returns the path of a file without links.
func (l *loader) realPath(path string) string {
	if kept := l.options.Kept; kept != nil {
		if t := kept.text(path); t != nil {
			return t.Real
		}
	}
	return realPath(path)
}

// text returns the file that was opened by a path, or nil.
func (f *Files) text(path string) *Text {
	for i := range f.Texts {
		if t := &f.Texts[i]; t.Path == absolute(path) && t.Text != nil {
			return t
		}
	}
	return nil
}

// read returns the text of a file: from Options.Kept, else from the disk. Each text is noted in Options.Record.
func (l *loader) read(path, real string, included bool) (text []byte, err error) {
	var at fs.FileInfo
	if kept := l.options.Kept; kept == nil {
		if included { // what a pattern finds may be a pipe
			err = syntax.CheckRegular(path)
		}
		if err == nil {
			text, at, err = syntax.Read(path, FileBytesMax-l.bytes, errLarge)
		}
		if err == nil && text == nil {
			text = []byte{} // nil stands for a file that could not be read
		}
	} else if t := kept.text(path); t != nil {
		text = t.Text
	} else {
		err = fs.ErrNotExist
	}
	if r := l.options.Record; r != nil {
		r.Texts = append(r.Texts, Text{absolute(path), real, text, at})
	}
	return text, err
}

// glob returns the files that match a pattern, as read does.
func (l *loader) glob(pattern string) (paths []string, err error) {
	if kept := l.options.Kept; kept != nil {
		for i := range kept.Globs {
			if g := &kept.Globs[i]; g.Pattern == absolute(pattern) {
				paths = g.Paths
			}
		}
	} else if paths, err = find(pattern); err != nil {
		return nil, err
	}
	if r := l.options.Record; r != nil {
		g := Glob{absolute(pattern), make([]string, len(paths))}
		for i, path := range paths {
			g.Paths[i] = absolute(path)
		}
		r.Globs = append(r.Globs, g)
	}
	return paths, nil
}

// absolute returns a path that means the same after the process has gone to another folder.
func absolute(path string) string {
	if p, err := filepath.Abs(path); err == nil {
		return p
	}
	return path
}
