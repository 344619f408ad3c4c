package program

import (
	"fmt"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/filter"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/proxy"
)

// NewFilter makes a filter of a type that edge or a module has, for routes in code, from the keys of a table of that
// type, as in NewFilter("rate_limit", `rate = "10/s"`). The error is a *ConfigError where they are wrong.
func NewFilter(typ, keys string) (*proxy.Filter, error) {
	table, err := tableOf("filters", typ, keys)
	if err != nil {
		return nil, err
	}
	return filter.Make(table, alone())
}

// NewDestination is like NewFilter, for types of destinations: NewDestination("static", `root = "/srv/www"`).
func NewDestination(typ, keys string) (proxy.Destination, error) {
	table, err := tableOf("destinations", typ, keys)
	if err != nil {
		return nil, err
	}
	return plugin.Make[proxy.Destination](table, alone())
}

// tableOf reads the table of a type, in a section of its own.
func tableOf(section, typ, keys string) (*plugin.Table, error) {
	text := fmt.Sprintf("[%s.%s]\ntype = %q\n%s", section, typ, typ, keys)
	c, report := config.Parse("(program)", []byte(text))
	if c == nil {
		return nil, &ConfigError{report}
	}
	return &c.Defined[0].Table, nil
}

// alone is what a type may use without a server: what it keeps is not shared with another filter, and is never closed.
func alone() *plugin.Build { return &plugin.Build{Kept: new(plugin.Store).Claim()} }
