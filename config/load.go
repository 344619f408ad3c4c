package config

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const fileBytesMax = 16 << 20

// Load reads the file at path and checks it. The Config is nil when the Report has errors.
func Load(path string) (*Config, *Report) {
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".yaml", ".yml", ".json":
		return failed(path, "files ending in "+ext+" are not supported by this version; write it as TOML")
	}
	f, err := os.Open(path)
	if err != nil {
		return failed(path, "cannot read: "+reason(err))
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, fileBytesMax+1))
	if err != nil {
		return failed(path, "cannot read: "+reason(err))
	}
	return Parse(path, text)
}

// Parse checks the text of a configuration; name stands for the file in messages. An empty text is a configuration
// too: the hello page. src must not change afterwards. The Config is nil when the Report has errors.
func Parse(name string, src []byte) (*Config, *Report) {
	if len(src) > fileBytesMax {
		return failed(name, "larger than 16 MiB")
	}
	rep := &Report{}
	s := newSource(name, src)
	root, whole := parseTOML(s, rep)
	doc := decode(root, rep)
	fill(&doc.top, nil)
	var c *Config
	// With a part of the file left out, names would seem to be missing that are not.
	if whole && !rep.full() {
		c = resolve(doc, s, rep)
	}
	rep.finish(name, doc.top.allow)
	if !rep.OK() {
		return nil, rep
	}
	return c, rep
}

func failed(file, message string) (*Config, *Report) {
	return nil, &Report{Errors: []Problem{{Pos: Pos{File: file}, Severity: SeverityError, Message: message}}}
}

// reason drops the path from an error of the file system: the message begins with it.
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return err.Error()
}
