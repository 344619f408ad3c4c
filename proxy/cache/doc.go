// Package cache keeps answers of backends, in memory and on disk, and answers later requests by them (RFC 9111).
//
//	zone, err := cache.New(cache.Options{Memory: 64 << 20})
//	route.To = zone.Before(edge.Backends("10.0.0.1:80"), cache.Route{}, nil)
//
// It keeps records in a tinyufo.Bytes outside of the heap, and makes no connection: the cache is a proxy.Front, and a
// miss is a proxy.Fork, a request of its own that any number of clients follow.
//
//	Open ─► key ─► record? purged since it was asked for: none, or expired
//	                        ├ fresh ────────► hit: the record is copied, its body lent to the client
//	                        ├ stale, usable ► likewise, and a Fork without a follower renews it
//	                        ├ marker ───────► passed: an answer to this was not stored a moment ago
//	                        ├ old ──┐
//	                        └ none ─┴► fill under way? ─┬ no ──► Fork ─┬ head ─► storable? ─► record
//	                                                    └ yes ─► follow └ 304, error ─► the record is given after all
//	OnPassed ─► unsafe, done? ─┐
//	PURGE, Zone.Purge ─────────┴► a name is purged: older records and fills that have it count no more
//
// # Life cycle
//
// A Zone is made once and outlives configurations. Before makes a Front of a route, which is immutable, as are the
// routes of a Snapshot. After OpenDisk it finds what an earlier process has stored. An Offer hands what it has over to
// the Zone of another process, which is made with Options.From:
//
//	old: Offer ─► the process begins ─► Elsewhere reports true ─► Give
//	new: New with From ─────────────────────► it is asked ─► Take
//
// # Threads and ownership
//
// A hit takes no lock and allocates nothing. A fill belongs to the reactor on which it began; followers belong to
// their own reactors and read what the fill has published. The table of fills has a mutex for each of its parts:
// reactors meet there on misses alone. Records are copied out before they are used, so that nothing is pinned.
//
// # Limits
//
// Options.Memory for records; an eighth of it, at least 8 MiB, for fills under way; a 64th for purged names. Bodies up
// to 64 KiB, a 16th of Options.Bodies, or a 16th of the disk; larger answers are passed on. Keys up to 8 KiB. 10 000
// followers of a fill, 8 varying fields of a key, 64 tags of an answer. A request follows for Route.LockTimeout, and at
// most 3 times. 4 MiB for URLs.
package cache
