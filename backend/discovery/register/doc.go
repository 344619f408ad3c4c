// Package register makes an instance of a service known to others in a registry, so that they find it by package
// discovery: the program itself, or another one beside it.
//
// It looks for nothing and checks nothing. The text that says where an instance is registered is the text that finds
// it:
//
//	etcd://HOST:PORT,…/PREFIX     a key with a lease, and in it the address as JSON
//	consul://HOST:PORT/SERVICE    a service of that agent, with a check of TTL or by HTTP
//	file:///PATH                  a line of a file, for the programs of one machine
//
// # Life and threads
//
//	g, err := register.Open("etcd://10.0.0.5:2379/users/", register.Opening{})
//	r := register.Start(register.Options{To: "etcd", Registry: g, Entry: register.Entry{Address: ":8080"}})
//	r.Withdraw(ctx)     before the program stops serving: then others have a moment to hear of it
//
// Start returns at once. A goroutine puts the entry and renews it every third of its TTL. After a failure it tries
// again after 1, 2, 4 … s, at most a third of the TTL later. When the process dies, the registry drops the entry after
// its TTL: etcd by the lease, Consul by the check. A line of a file that has ended is taken out by the next process
// that writes the file.
//
// An entry of the same name takes the place of the one before, which may be of the process that this one replaces.
// Withdraw takes back only what is still this one's.
//
// A Registration is safe for any goroutine. A Registry belongs to one Registration. A program may have registries of
// its own: two methods.
//
// The log tells once of each change: "registered", "registration failed" and the like.
//
// # Limits
//
// 5 s for one try, 8 MiB of a file.
package register
