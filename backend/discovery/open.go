package discovery

import (
	"fmt"

	"github.com/edge-proxy/edge/backend/discovery/locator"
)

// Maker makes a source of a program's own kind. It must return at once, and open nothing.
type Maker func(l *locator.Locator) (Source, error)

// Opening says what Open needs beside a text. The zero value is good.
type Opening struct {
	Names  Names            // nil: the servers of the machine
	Makers map[string]Maker // by scheme, for the kinds that a program adds
}

// Open makes the source that a text names: see package locator. Nothing is asked before it runs.
func Open(text string, o Opening) (Source, error) {
	own := make([]string, 0, len(o.Makers))
	for scheme := range o.Makers {
		own = append(own, scheme)
	}
	l, err := locator.Parse(text, own...)
	if err != nil {
		return nil, err
	}
	names := o.Names
	if names == nil {
		names = machine()
	}
	switch l.Scheme {
	case "dns":
		return &nameSource{names: names, host: l.Host, port: l.Port}, nil
	case "srv+dns":
		return &serviceSource{names: names, name: l.Host}, nil
	case "file":
		return &fileSource{path: l.Path}, nil
	}
	source, err := o.Makers[l.Scheme](l)
	if err == nil && source == nil {
		err = fmt.Errorf("%q: its maker made no source", text)
	}
	return source, err
}
