// Package route finds the most specific of many rules for a request. It is pure: no I/O, no clock, no state beside what
// the caller gives it. What a rule leads to is the caller's: a Table is generic over it.
//
// # What wins
//
// The order in which rules are added never decides. The host comes first (exact, then the longest name above it,
// then any), then the path (exact, then the longest prefix by segments), then the number of conditions. A rule whose
// conditions do not hold leaves the request to less specific ones. Among rules with as many conditions, what the
// client cannot write comes before what it can: listeners, client certificates, methods, fields, the query. Rules
// that take the very same requests have weights and share them.
//
// # Paths
//
// A path has more than one spelling. Rules see it in its normal form (RFC 3986 §6.2.2); a path that some origins read
// differently is refused where that would lead to another rule: see Paths and Parameters.
//
// A Table is immutable once it is used; any number of goroutines may search it at once, each with a Local of its own.
// A search allocates nothing.
package route
