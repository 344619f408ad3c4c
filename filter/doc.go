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
// # Configurations
//
// The tag "edge" is the key of a field; others say what the reference page has: see schema.Struct. The types of fields
// are string, bool, *bool, int, int64 with unit:"size", time.Duration, []string, []netip.Prefix, map[string]string,
// Rate, Text (of which nobody sees the value), *lang.Condition, *lang.Template (phase:"answer" where they are evaluated
// when an answer is there), and a struct, which is a table inside.
//
// What types cannot say, a method Check(r *Report) of *Config does. New begins with Completed, which does for a program
// what a file has done already: zero fields get their defaults, and all is checked.
//
// # Life cycle
//
// New runs once for each filter of a configuration, when that is loaded, and again for each reload. What must outlive a
// reload, such as what was counted, comes from Keep. An error or a panic of New refuses the configuration, and the
// present one goes on.
//
// Types are registered by init functions, and none afterwards: what is loaded later knows them all. All of this runs
// when a configuration is loaded, never for a request.
package filter
