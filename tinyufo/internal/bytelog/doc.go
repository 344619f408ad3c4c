// Package bytelog is what tinyufo.Bytes is made of: shards of entries in memory that the garbage collector does not
// see.
//
// It is no cache by itself: the caller compares expiries with the time.
//
//	Shards ─► shard ─► index: pairs of cache lines, each a word of tags and seven locations
//	               └─► logs: small and main, rings of records in one mapping
//	record: sizes, expiry if there is one, key, value, rounded up to 8 bytes
//
// New records are appended to the small log. The oldest of it contests by the sketch with the oldest of main that was
// not hit meanwhile, and goes to main or is dropped: S3-FIFO's two queues as rings of bytes. A ring has no free list
// and no fragments, so the budget of records is exact. A record that is too large for the small log contests for main
// when it is set.
//
// Get takes no lock. It loads the location of a record, copies the record, and loads the location once more: a writer
// changes it before it writes over the record (the comment of Get has the argument). All else takes the shard's mutex,
// and so does Get when the location has changed. A race detector cannot know of that check: builds with -race lock in
// Get, too.
//
// The index grows with the entries, twofold at most, and to what will fit when the logs are full once that can be told.
// The Set that makes it grow goes over the keys of the shard, some ten ns each, under its mutex.
//
// The memory is given back when nothing refers to the Shards any more.
package bytelog
