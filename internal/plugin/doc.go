// Package plugin is the registry of the types that a program has, of edge and of modules: a type has one name, in a
// configuration and in Go.
//
// A type is of a kind (Kinds: filters, destinations, …). It is a struct, whose fields are the keys of its
// tables, and a function that makes a value of one. What the value is depends on the kind:
//
//	filter               *proxy.Filter
//	destination          proxy.Destination
//	balance method       *balance.Method
//	discoverer           discovery.Source
//	log sink             io.Writer
//	connection filter    *session.ConnFilter
//	service              *Service
//
// Modules register by the functions of package edge, such as edge.RegisterDestination; package server makes values by
// Make. This package makes no choice between types, runs none of them for a request, and reads no file.
//
// # Configurations
//
// The tag "edge" is the key of a field; others say what the reference page has: see package tags. The types of fields
// are string (unit:"lines" where it may have several), bool, *bool, int, int64 with unit:"size", time.Duration,
// []string, []netip.Prefix, map[string]string, Rate, Text (whose value is never shown), *lang.Condition,
// *lang.Template (phase:"answer" where they are evaluated when an answer is there), and a struct, which is a table
// inside.
//
// What types cannot say, a method Check(r *Report) of *Config does. The function of a type of a module begins with
// Completed, which does for a program what a file has done already: zero fields get their defaults, and all is checked.
//
// # Life cycle
//
// Types are registered by init functions, and none afterwards: what is loaded later knows them all. A value is made for
// each table that a configuration uses, when that is loaded, and again for each reload. What must outlive a reload,
// such as what was counted, comes from Keep. An error or a panic refuses the configuration, and the present one goes
// on. A Type is immutable, a Build belongs to the function that it is given to, a Store is safe for any goroutine.
package plugin
