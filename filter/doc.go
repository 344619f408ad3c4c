// Package filter is the registry of filter types: a filter has one name, in a configuration and in Go.
//
// A type is a struct, whose fields are the keys of its table, and a function that makes a proxy.Filter of one:
//
//	type Config struct {
//		Message string `edge:"message" doc:"What is answered." default:"go away" example:"\"later\""`
//	}
//
//	func init() { filter.Register("polite", "Asks for manners.", New) }
//
//	func New(c *Config, b *filter.Build) (*proxy.Filter, error)
//
// A file then says
//
//	[filters.manners]
//	type = "polite"
//
// and a program calls polite.New(&polite.Config{}, nil): it is the same filter. The packages below this one have the
// types that edge itself has, one each.
//
// Types are registered by init functions, and none afterwards: what is loaded later knows them all. All of this runs
// when a configuration is loaded, never for a request.
package filter
