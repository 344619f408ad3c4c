package importer

import (
	"maps"
	"slices"

	"github.com/edge-proxy/edge/config/import/caddy"
	"github.com/edge-proxy/edge/config/import/haproxy"
	"github.com/edge-proxy/edge/config/import/nginx"
	"github.com/edge-proxy/edge/config/import/plan"
)

// readers read a file of a program, by its name.
var readers = map[string]func(path string, read *plan.Reader) (*plan.Plan, error){
	"caddy":   caddy.Import,
	"haproxy": haproxy.Import,
	"nginx":   nginx.Import,
}

// Programs returns the names of the programs whose files can be read.
func Programs() []string { return slices.Sorted(maps.Keys(readers)) }

// Import reads the file at path, which is one of program, and what it includes. The error is that of reading the file;
// all else is among the findings of the plan. program is one of Programs.
func Import(program, path string, read *plan.Reader) (*plan.Plan, error) {
	return readers[program](path, read)
}
