// Package pool is a table of idle connections for a client or a proxy: park one under its key when it is done, take it
// again when the key is wanted, lose the oldest when there are too many.
//
// It knows no connection: it opens, reads and closes nothing, holds no file descriptor and reads no clock. A key is
// whatever makes two connections not interchangeable, a connection is whatever embeds a Node.
//
//	s := pool.New[key, *conn](4096, (*conn).close)
//	g := s.Group(k)             one look-up; keep it with the peer
//	c, ok := s.Take(g)          the one parked last, so that few connections stay warm and the others grow old
//	s.Park(g, &c.node)          done with it
//	s.Remove(&c.node)           it died while idle
//
// Each node is in two lists, both in the order of parking:
//
//	shard   oldest -- a1 -- b1 -- a2 -- a3 -- b2 -- newest      evicted from the left
//	group a oldest -- a1 ------- a2 -- a3 --------- newest      taken from the right
//	group b oldest ------- b1 ---------------- b2 - newest      given away from the left
//
// Take, Park and Remove touch neighbours only: no hash, no allocation, the same time for one connection and for a
// million.
//
// Age is the owner's business: Oldest and EvictOldest walk the shard from its old end, and the connection knows when it
// was parked. With one shard per core, PopOldest takes what one shard gives to another.
//
// Ownership: a Shard, its groups and the nodes parked in it are owned by one goroutine. Limits: the capacity bounds
// the idle connections; the callers of Group bound the groups, which go with DropGroup. With -tags invariants a shard
// of moderate size checks itself after each change.
package pool
