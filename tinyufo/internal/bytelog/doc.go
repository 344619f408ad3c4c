// Package bytelog is what stands under tinyufo.Bytes: shards of entries in memory that the garbage collector does not
// see.
//
// It is no cache by itself: the caller hashes keys, chooses the shard by bits 32 and up of the hash, and compares
// expiries with the time. All hashes that one shard gets are made with one seed.
//
//	Shard ─► index: words of tag, uses, log and offset, 16 to a pair of cache lines
//	      └► logs: small and main, rings of records in one mapping
//	record: header of 16 bytes, key, value, rounded up to 8 bytes
//
// New records are appended to the small log. The oldest of it contests by the sketch with the oldest of main that was
// not hit meanwhile, and goes to main or is dropped: S3-FIFO's two queues as rings of bytes. A ring has no free list
// and no fragments, so the budget is exact.
//
// Get takes no lock. It copies the record and then looks at the tail of the ring, which a writer moves past a record
// before it writes over it: a copy of what the tail has passed is thrown away. All else takes the shard's mutex. A
// race detector cannot know of that check: builds with -race lock in Get too.
//
// Init maps the memory; Memory().Unmap gives it back, once nobody calls the shard any more.
package bytelog
