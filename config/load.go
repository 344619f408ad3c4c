package config

import (
	"time"

	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
)

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
	// Filters are the names of the filters that the program has. The binary edge has none.
	Filters []string
	// Ignored are files that the one to load was chosen from and that are not read: a warning each.
	Ignored []string
}

// Load reads the file at path and those it includes, and checks them. The Config is nil when the Report has errors.
func Load(path string) (*Config, *Report) { return Options{}.Load(path) }

// Parse checks the text of a configuration; name stands for the file in messages, and its extension tells the format.
// An empty text is a configuration too: the hello page. src must not change afterwards. The Config is nil when the
// Report has errors.
func Parse(name string, src []byte) (*Config, *Report) { return Options{}.Parse(name, src) }

// Load is like the function Load, with options.
func (o Options) Load(path string) (*Config, *Report) {
	var now time.Time
	if !o.TextOnly {
		now = time.Now()
	}
	return o.configOf(path, edge().Load(path, o.reading()), now)
}

// Parse is like the function Parse, with options.
func (o Options) Parse(name string, src []byte) (*Config, *Report) {
	return o.configOf(name, edge().Parse(name, src, o.reading()), time.Time{})
}

func (o Options) reading() schema.Options {
	return schema.Options{Set: o.Set, LookupEnv: o.LookupEnv, Dir: o.Dir}
}

// configOf gives the files, the first of which is called name, their meaning.
func (o Options) configOf(name string, file *schema.Document, now time.Time) (*Config, *Report) {
	doc, rep := documentOf(file), file.Report
	file.Fill(doc.top)
	for _, other := range o.Ignored {
		rep.Warnf(codeIgnoredFile, syntax.Span{}, "name one with -c, or remove the other",
			"%s is not read: %s goes before it", syntax.QuotePath(other), syntax.QuotePath(name))
	}
	var c *Config
	// With a part of the files left out, names would seem to be missing that are not.
	if file.Whole && !rep.Full() {
		c = resolve(file, doc, now, o.Filters)
	}
	rep.Finish(name, doc.top.allow)
	if !rep.OK() {
		return nil, rep
	}
	return c, rep
}
