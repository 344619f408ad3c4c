package importer

import (
	"maps"
	"slices"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/caddy"
	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/haproxy"
	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/nginx"
	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/pingora"
	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/traefik"
)

// readers returns what reads a file of a program, by the name of the program. No table of the importers is made at the
// start: a process that imports nothing does not touch their code.
func readers() map[string]func(path string, read *plan.Reader) (*plan.Plan, error) {
	return map[string]func(path string, read *plan.Reader) (*plan.Plan, error){
		"caddy":   caddy.Import,
		"haproxy": haproxy.Import,
		"nginx":   nginx.Import,
		"pingora": pingora.Import,
		"traefik": func(path string, read *plan.Reader) (*plan.Plan, error) {
			return traefik.Import([]string{path}, read)
		},
	}
}

// several returns what reads files of a program that are one configuration together.
func several() map[string]func(paths []string, read *plan.Reader) (*plan.Plan, error) {
	return map[string]func(paths []string, read *plan.Reader) (*plan.Plan, error){
		"traefik": traefik.Import,
	}
}

// Programs returns the names of the programs whose files can be read.
func Programs() []string { return slices.Sorted(maps.Keys(readers())) }

// Several reports whether a configuration of the program may be in several files that do not name each other.
func Several(program string) bool { return several()[program] != nil }

// Import reads the file at path, which is one of program, and what it includes. The error says why the file cannot be
// read; all else is among the findings of the plan. program is one of Programs. more are further files of the same
// configuration, of a program for which Several holds.
func Import(program, path string, read *plan.Reader, more ...string) (*plan.Plan, error) {
	if len(more) > 0 && Several(program) {
		return several()[program](append([]string{path}, more...), read)
	}
	return readers()[program](path, read)
}
