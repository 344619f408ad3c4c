package program

import (
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/server"
)

// Types of RegisterSection. The keys of a section are the fields of a struct, with tags.
type (
	Section  = schema.Section  // where a section stands, and what checks its entries
	Given    = schema.Given    // the struct of an entry embeds it; it tells which keys the file gave, and where
	Target   = schema.Target   // a pointer to such a struct
	Document = schema.Document // takes what Section.Resolve finds wrong
)

// What Options.Started is told. Their fields and methods are edge's own, and change from version to version.
type (
	Config = config.Config
	Server = server.Server
)

// RegisterSection adds a section whose entries are read into an E, at Section.Path: "quota" is the table [quota],
// "routes.quota" is quota of a route. It is for init functions.
func RegisterSection[E any, T interface {
	*E
	Target
}](s Section) {
	config.Register[E, T](nil, s)
}

// Sections returns the entries of type T at the top of a configuration.
func Sections[T Target](c *Config) []T { return schema.All[T](c.Features) }
