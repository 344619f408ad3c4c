package discovery

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"

	"github.com/edge-proxy/edge/backend/registry"
	"github.com/edge-proxy/edge/internal/discovery/locator"
)

// agent is what registries know edge by.
const agent = "edge-discovery"

// Locator is the text that names a source or a registry, as in discover = "sockets:///run/app", in its parts.
type Locator = locator.Locator

// Maker makes a source of a program's own kind. It must return at once, and open nothing.
type Maker func(l *Locator) (Source, error)

// Opening says what Open needs beside a text. The zero value is good.
type Opening struct {
	Names  Names            // nil: the servers of the machine
	Makers map[string]Maker // by scheme, for the kinds that a program adds
}

// Open makes the source that a text names: the package comment lists them. Nothing is asked before it runs.
func Open(text string, o Opening) (Source, error) {
	l, err := locator.Parse(text, slices.Collect(maps.Keys(o.Makers))...)
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
	case "etcd":
		return &etcdSource{bases: registry.Bases(l), prefix: l.Name, ca: l.Params.Get("ca")}, nil
	case "consul":
		return newConsul(l), nil
	case "k8s":
		return &kubeSource{namespace: l.Host, service: l.Name, port: l.PortName, api: l.Params.Get("api"),
			ca: l.Params.Get("ca"), tokenFile: l.Params.Get("token_file")}, nil
	case "docker":
		port, _ := strconv.Atoi(l.Params.Get("port"))
		return &dockerSource{label: l.Name, port: port, network: l.Params.Get("network"),
			socket: cmp.Or(l.Params.Get("socket"), dockerSocket)}, nil
	}
	source, err := o.Makers[l.Scheme](l)
	if err == nil && source == nil {
		err = fmt.Errorf("%q: its maker made no source", text)
	}
	return source, err
}

// newConsul makes the source of a service of Consul. What the locator says beside is passed on.
func newConsul(l *locator.Locator) *consulSource {
	s := &consulSource{base: registry.Bases(l)[0], service: l.Name, params: url.Values{}, ca: l.Params.Get("ca"),
		tokenFile: l.Params.Get("token_file")}
	for _, name := range []string{"tag", "dc", "near"} {
		if value := l.Params.Get(name); value != "" {
			s.params.Set(name, value)
		}
	}
	return s
}
