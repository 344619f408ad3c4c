// Package policy decides what an HTTP cache may store and reuse: RFC 9111, with the stricter rules of docs/cache.md.
// It turns heads and times into decisions. It stores nothing, sends nothing and reads no clock.
//
//	answer ─► Rules.Judge ──► Answer{Reason, Marks, Fresh} ──► Answer.Keeps, for each field of the record
//	          AppendVary ───► names of the fields that choose a variant ◄──► UnionVary
//	          Invalidates ──► AppendReference, for the URLs that are stored no more
//	request ► AppendVariant ► the normal values of these fields: the key of a variant
//	          CodingOf ─────► the content codings that a fill asks for
//	record ─► Rules.Reuse ──┬ Reason.Uses ► NotModified, RangeOf: which part of it the request gets
//	                        └ not ► the backend is asked ─┬ 304 ──► Renew, then Judge
//	                                                      └ error ► Rules.OnError
//
// Where the text of a field can be read in two ways, the reading that caches less is taken: a lifetime that does not
// parse is 0, of two lifetimes the shorter one counts, and a Cache-Control whose members cannot be told apart counts
// as no-store. Each decision has a Reason: its String is the word in logs and in Cache-Status, its Explain a sentence.
//
// The directives of an answer are in the first of Rules.Targeted (RFC 9213) that it has and that is valid, or else in
// Cache-Control. The directives of requests count where the route says so. An answer that is never fresh is stored
// where it has a validator, by which the backend can be asked about it, or where it is used stale while the backend is
// asked (RFC 5861).
//
// # Time
//
// Times are nanoseconds since 1970, from a clock that the caller reads, and not negative. Lifetimes and
// ages are at most 2³¹ s (RFC 9111 §1.2.2). A record that seems to come from the future is expired.
//
// # Concurrency
//
// Rules are immutable, for any goroutine. Heads belong to the caller and are borrowed until return. Fields that are
// Dropped do not exist. No call allocates, but for a dst or a head that is too short, and AppendReference.
//
// # Limits
//
// An answer varies by at most 8 fields, whose names have at most 255 bytes.
package policy
