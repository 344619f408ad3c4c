// Package ketama spreads keys over servers so that few keys move when a server comes or goes: nginx's consistent ring
// point by point, a ring of 64 bits, and the tables of Maglev.
//
// It is not a load balancer: it opens no connection, probes nothing and knows no time. A server is a name and a weight,
// and an answer is its index.
//
//	r, err := ketama.New(servers, ketama.Options{})    as nginx's: hash $request_uri consistent;
//	i := r.Pick(key)                                   the server of a key; -1 when there is none
//	r, err = r.With(ketama.Server{Name: "10.0.0.9:80"})
//	r = r.Without("10.0.0.4:80")
//
// The three types have one set of methods, Picker:
//
//	        hash    look-up  build, change    keys that move when one of 100 leaves    loads of 100
//	Ring    CRC-32  18 ns    0.18 ms, 0.05    its own                                  0.8 to 1.3 of the mean
//	Ring64  XXH64   16 ns    0.25 ms, 0.05    its own                                  0.8 to 1.2
//	Maglev  XXH64   11 ns    1.8 ms, 1.8      its own and 0.5 % of the others          0.99 to 1.01
//
// Ring is for caches that nginx or Pingora fill too, Ring64 where nothing else has to agree, Maglev where the load has
// to be even. Pingora's two layouts of a ring are options of Ring.
//
// A caller that has to pass over servers hashes once and goes on from there. PickFunc takes the first server that a
// function accepts, Failover the server that nginx would take, PickBounded the first server that is not busier than
// others; Walk and Points yield the order itself. None of them allocates, nor does a closure that is passed to them.
//
//	h := r.Hash(key)
//	i := r.Failover(h, func(i int) bool { return up(i) && !tried(i) })
//
// The rings and the tables are one package, though only one of them has that name: they share servers, hashes and
// methods, so that a program can let its users choose, and changes its choice in one line.
//
// Life cycle: New, New64 and NewMaglev make one; With and Without make another one of it, exactly what New makes of the
// same servers. Indices are indices of the slice that New was given; With adds one at the end, Without closes the gap.
// Nothing has to be closed.
//
// Ownership: all of them are immutable and safe for any goroutine. The owner of a list of servers keeps the current one
// in an atomic.Pointer and swaps it. Keys are borrowed until return.
//
// Limits: 65535 servers, and 67108864 points or entries. A Walk of more than 1024 servers allocates a bitmap. Points
// and look-ups take for granted that hashes are spread evenly: names that were chosen to put points close together make
// the look-ups between them slow. CRC-32 has no seed: a client that chooses its keys can send them all to one server.
package ketama
