// Package tinyufo is a cache in memory: a map with a budget, which keeps what will be asked for again.
//
// It is not a map without a bound, not a store on disk, and not shared between processes.
//
//	c := tinyufo.New(tinyufo.Options[string, *User]{Entries: 100_000})
//	c.Set(name, user)
//	user, ok := c.Get(name)
//	user, err := c.Load(ctx, name, fetchUser)   // one call of fetchUser for all who wait
//
// Cache takes any types and returns the very value that was set. Flat is for types without pointers, and copies: it has
// nothing for the garbage collector to look at, takes less memory and never allocates. Bytes is the same for byte
// slices.
//
// A Cache is safe for any goroutine. Get takes no lock and never waits. A Set of a present key is one
// compare-and-swap; if the weight is another or the time to live ends sooner, it then waits for the policy of
// its shard. A Set of another key locks one bucket for some tens of ns, and runs the policy of its shard if
// no other goroutine does; if one does, it leaves the entry to that one and returns. Delete waits for the
// policy of its shard. OnEvict, OnReplace, loaders and the function of Compute run with no lock held. There is a
// goroutine only if entries have times to live and the cache no Clock; Close ends it.
//
// Budgets are exact: the entries whose policy has run are never more than Options.Entries or heavier than
// Options.Weight. While goroutines add entries to one shard at once, up to 64 of these wait for the policy and
// are not counted yet.
//
// The name and the shape are taken from Cloudflare's TinyUFO. Its policy is mended where it failed on real traces, and
// the table is another: docs/tinyufo.md has the design and the figures. Credit: S3-FIFO (Yang and others 2023), TinyLFU
// (Einziger, Friedman and Manes 2017), the adaptive window of Caffeine (Manes), CLHT (David and others 2015), xsync.
//
// # Why it is right
//
// Go's atomics are sequentially consistent. All else is touched by the owner of a lock, or before it is published.
//
//  1. An entry is complete before its pointer is stored. Its tag is stored before the pointer and cleared after it. A
//     reader that sees the tag sees no entry, or an entry, perhaps a newer one than the tag was for: the comparison of
//     keys decides.
//  2. Which keys a chain holds changes only under the lock of its first bucket, so a key is in one slot at most. A
//     replacement is one compare-and-swap of that slot. An operation takes effect at that swap (replace, remove), at
//     the store of the pointer (add), or at its load (get).
//  3. Entries are garbage collected, so that none is reused while a reader can see it: a pointer that is still in a
//     slot has been there all the time.
//  4. Entries leave the table only under the mutex of their shard, and the node of an entry is freed under the same
//     hold of it. So what the policy has in its queues is in the table, at the place that it knows.
//  5. An entry that replaces another has its slot and its node: to the policy they are one.
//  6. Uses are added by readers and taken away by one policy, each by one atomic step on the word of the bucket:
//     a compare-and-swap that fails loses a hit, and nothing else.
//  7. While a table grows, an entry is in the next table before it leaves this one, and moved is set before both: a
//     reader that has missed it looks at moved, and goes on there. A writer waits for the move before it goes on, since
//     the mover stores into the new slot until the old one is empty.
//  8. Cells are handed over by their bits. A goroutine that makes a cell pending and cannot lock the mutex is seen by
//     its holder, which looks at the bits after it has unlocked.
//
// Of Flat: all that changes does so under the mutex of a shard, in words that are stored and loaded atomically. An
// entry is in the cache while its slot is live, and the index leads to it for all that time. A get that hits takes
// effect when it looks at the slot for the second time, and finds the version of the first: key and value were both
// there. A get that misses has looked at all places of the key, or at a slot that was not live with it: then it was
// absent.
package tinyufo
