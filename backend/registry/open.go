package registry

import (
	"fmt"
	"maps"
	"slices"

	"github.com/edge-proxy/edge/internal/discovery/locator"
)

// agent is what registries know edge by.
const agent = "edge-register"

// Maker makes a registry of a program's own kind. It must return at once, and open nothing.
type Maker func(l *locator.Locator) (Registry, error)

// Opening says what Open needs beside a text. The zero value is good.
type Opening struct {
	Makers map[string]Maker // by scheme, for the kinds that a program adds
}

// Open makes the registry that a text names: the package comment lists them. Nothing is asked before the first Put.
// Each Registration needs one of its own.
func Open(text string, o Opening) (Registry, error) {
	l, err := locator.ParseRegistry(text, slices.Collect(maps.Keys(o.Makers))...)
	if err != nil {
		return nil, err
	}
	switch l.Scheme {
	case "etcd":
		return &etcdRegistry{bases: Bases(l), prefix: l.Name, ca: l.Params.Get("ca")}, nil
	case "consul":
		return newConsul(l), nil
	case "file":
		return &fileRegistry{path: l.Path, owner: newOwner()}, nil
	}
	registry, err := o.Makers[l.Scheme](l)
	if err == nil && registry == nil {
		err = fmt.Errorf("%q: its maker made no registry", text)
	}
	return registry, err
}
