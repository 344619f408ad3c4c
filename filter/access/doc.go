// Package access is the filter type "ip": only clients with some addresses get through, or all but some.
//
//	[filters.office]
//	type  = "ip"
//	allow = ["10.0.0.0/8", "2001:db8::/32"]
//	deny  = ["10.66.0.0/16"]
//
// It is no login and no list that changes by itself: a condition with list.NAME (see docs/DSL.md) asks a list that is
// read from a file, also as the `when` of this filter.
//
// # Order
//
// There is no order of lines, as nginx has it: an address in deny is refused, whatever allow says. With allow, all
// other addresses are refused. The address is that of the client, after trusted proxies: Exchange.ClientIP. A client
// without an address, on a Unix socket, is in no list.
//
// # Life cycle, threads and ownership
//
// New builds the lists, which are immutable afterwards and safe for all reactors. A request costs a look-up in each,
// some nanoseconds, whatever their length, and allocates nothing.
//
// # Limits
//
// A list in a configuration has as many prefixes as package lang/table takes: 16 million.
package access
