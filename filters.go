package edge

import (
	"github.com/edge-proxy/edge/filter"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/proxy"
)

// What a type of filters uses of package filter.
type (
	Build   = filter.Build   // what New may use of the server; nil: there is none
	Report  = filter.Report  // takes what Check finds wrong
	Counter = filter.Counter // what Build.Counter returns
	Rate    = filter.Rate    // 100/s, as a field of a configuration
	Secret  = filter.Text    // a text that nobody is shown, as a field of a configuration
)

// RegisterFilter adds a type of filters: [filters.NAME] of a configuration file has it as type, and its keys are the
// fields of a C, which have tags. It is for init functions. A mistake in the tags and a name that is taken panic. See
// package filter.
func RegisterFilter[C any](name, doc string, create func(c *C, b *Build) (*proxy.Filter, error)) {
	filter.Register(name, doc, create)
}

// Completed returns c with the defaults of its fields, checked: what a type's function begins with, so that a program
// may call it with a struct of its own.
func Completed[C any](c *C, b *Build) (*C, error) { return filter.Completed(c, b) }

// Keep returns what create made for a filter of this name and type with this identity: the same over reloads.
func Keep[T any](b *Build, identity string, create func() (T, error)) (T, error) {
	return filter.Keep(b, identity, create)
}

// Condition compiles a condition for a field of a configuration that a program makes: see docs/DSL.md.
func Condition(text string, in lang.Phases) (*lang.Condition, error) {
	return filter.Condition(text, in)
}

// Template is Condition for a template.
func Template(text string, in lang.Phases) (*lang.Template, error) { return filter.Template(text, in) }
