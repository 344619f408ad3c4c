// Package rules reads the rules of a configuration: conditions of the language, and what is done with the requests that
// they hold for.
//
//	[[rules]]                 of all requests          before a route is chosen
//	[[listeners.rules]]       of a listener            before those
//	[[routes.rules]]          of a route               once it is chosen, before its filters
//
//	[[rules]]
//	when = 'path ~ "/\.git"'
//	deny = 404
//
// It does nothing with requests: package filter/rules runs what package server makes of a Rule.
//
// All three have the same keys, which docs/rules.md explains. What the types of the keys cannot say is checked by Read:
// that a rule has an action, that it answers once, and that what it does beside an answer has an effect.
//
// A Rule is immutable once it was read.
package rules
