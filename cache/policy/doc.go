// Package policy decides what an HTTP cache may store and reuse: RFC 9111, with the stricter rules of the page of the
// cache. It turns heads and times into decisions. It stores nothing, sends nothing and reads no clock.
//
//	answer ─► Rules.Judge ──► Answer{Reason, Marks, Fresh} ──► Answer.Keeps, for each field of the record
//	          AppendVary ───► names of the fields that choose a variant ◄──► UnionVary
//	request ► AppendVariant ► the normal values of these fields: the key of a variant
//	          CodingOf ─────► the content codings that a fill asks for
//	record ─► Freshness.Reuse, AgeAt, Left
//
// Where the text of a field can be read in two ways, the reading that caches less is taken: a lifetime that does not
// parse is 0, of two lifetimes the shorter one counts, and a Cache-Control whose members nobody can tell apart counts
// as no-store. Each decision has a Reason, which is the word in logs and in Cache-Status, and which explains itself.
//
// Not here: directives of requests, targeted fields (RFC 9213), revalidation and stale answers. So an answer that
// could be reused only after revalidation is not stored.
//
// # Time
//
// Times are nanoseconds since 1970, from a clock that the caller reads, and not negative. Lifetimes and
// ages are at most 2³¹ s (RFC 9111 §1.2.2). A record that seems to come from the future is expired.
//
// # Concurrency
//
// Rules are immutable, for any goroutine. Heads belong to the caller and are borrowed until return. Fields that are
// Dropped do not exist. No call allocates, but for dst where it is too short.
//
// # Limits
//
// An answer varies by at most 8 fields, whose names have at most 255 bytes. At most 4 directives of an answer name
// fields that are not stored.
package policy
