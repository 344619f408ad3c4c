// Package tenant is a type of filters in a module of its own: an example of what edge build links.
//
// A filter of it finds the tenant of a request, refuses those that it does not know, tells the backend which one it is,
// and writes it into the access log. docs/plugins.md walks through the file:
//
//	tenant.go       the keys of its table, what it does, what it keeps for an exchange, what it counts
//	tenant_test.go  as code, and as a table of a file
//	edge.toml       a configuration with it
//	edge.build      what edge build is asked for
//
// # What it is not
//
// It does not authenticate: a client may name any tenant that is known. A filter that does would come before it.
//
// # Threads and ownership
//
// A filter is immutable. What it keeps for an exchange belongs to the reactor of that exchange.
package tenant
