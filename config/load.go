package config

import (
	"os"
	"time"

	"github.com/edge-proxy/edge/config/syntax"
)

const fileBytesMax = 16 << 20 // of all files of a configuration

// Options say how a configuration is read. The zero value is good.
type Options struct {
	// Set holds "key=value" entries, which beat what the files say; the last one for a key wins.
	Set []string
	// LookupEnv returns a variable that a string names as ${NAME}; nil is os.LookupEnv.
	LookupEnv func(name string) (value string, found bool)
	// Dir is where a relative path of ${file:…} begins; "": the working directory.
	Dir string
	// TextOnly looks at what is written alone: Load does not open the certificates that the files name.
	TextOnly bool
}

func (o Options) lookup() func(string) (string, bool) {
	if o.LookupEnv == nil {
		return os.LookupEnv
	}
	return o.LookupEnv
}

// Load reads the file at path and those it includes, and checks them. The Config is nil when the Report has errors.
func Load(path string) (*Config, *Report) { return Options{}.Load(path) }

// Parse checks the text of a configuration; name stands for the file in messages, and its extension tells the format.
// An empty text is a configuration too: the hello page. src must not change afterwards. The Config is nil when the
// Report has errors.
func Parse(name string, src []byte) (*Config, *Report) { return Options{}.Parse(name, src) }

// Load is like the function Load, with options.
func (o Options) Load(path string) (*Config, *Report) {
	l := &loader{options: o, rep: &Report{}, onDisk: true, done: make(map[string]bool)}
	l.file(path, syntax.Span{})
	return l.finish(path)
}

// Parse is like the function Parse, with options.
func (o Options) Parse(name string, src []byte) (*Config, *Report) {
	l := &loader{options: o, rep: &Report{}}
	if len(src) > fileBytesMax {
		l.fault(syntax.Span{}, "%s", errLarge)
	} else {
		l.text(name, src)
	}
	return l.finish(name)
}

// finish turns the merged tree into a Config.
func (l *loader) finish(name string) (*Config, *Report) {
	if l.root == nil {
		l.rep.Finish(name, nil)
		return nil, l.rep
	}
	for _, text := range l.options.Set {
		l.override(text)
	}
	doc := decode(l.root, l.rep)
	fill(&doc.top, nil)
	var c *Config
	// With a part of the files left out, names would seem to be missing that are not.
	if !l.broken && !l.rep.Full() {
		var open *opener
		if l.onDisk && !l.options.TextOnly {
			open = &opener{now: time.Now()}
		}
		c = resolve(doc, l.main, l.rep, open)
	}
	l.rep.Finish(name, doc.top.allow)
	if !l.rep.OK() {
		return nil, l.rep
	}
	return c, l.rep
}
