// Package registry registers a server in etcd, in Consul or in a file, so that clients and proxies find it there, and
// takes it out when it ends. Others find it by package discovery.
//
// It looks for no backend and checks none: discovery does, by a Client of this package, which asks any registry that
// speaks JSON over HTTP. The text that says where an instance is registered also finds it:
//
//	etcd://HOST:PORT,…/PREFIX     a key with a lease, and in it the address as JSON
//	consul://HOST:PORT/SERVICE    a service of that agent, with a check of TTL or by HTTP
//	file:///PATH                  a line of a file, for the programs of one machine
//
// # A registration
//
//	g, err := registry.Open("etcd://10.0.0.5:2379/users/", registry.Opening{})
//	r := registry.Register(registry.Options{To: "etcd", Registry: g, Entry: registry.Entry{Address: ":8080"}})
//	r.Withdraw(ctx)     before the program stops serving: then others have a moment to hear of it
//
// Register returns at once. A goroutine puts the entry and renews it every third of its TTL. After a failure it tries
// again after 1, 2, 4 … s, at most a third of the TTL later. When the process dies, the registry drops the entry after
// its TTL: etcd by the lease, Consul by the check. A line of a file that has ended is taken out by the next process
// that writes the file. The log tells once of each change: "registered", "registration failed" and the like.
//
// An entry of the same name takes the place of the one before, which may be of the process that this one replaces.
// Withdraw takes back only what is still this one's. A program may have registries of its own: two methods.
//
// # A client
//
//	c, err := registry.NewClient([]string{"https://10.0.0.5:8500"}, registry.ClientOptions{})
//	c.Call(ctx, "POST", path, body, &to)      one answer
//	s, err := c.Open(ctx, "GET", path, nil)   one value after another: a watch
//	s.Next(&to); s.Close()
//	c.Close()
//
// It knows no path and no message of etcd, Kubernetes, Docker or Consul. Several servers are asked in turn until one
// answers, which is then asked first. Redirects are not followed: a token would go along. An answer with another status
// than 200 is a StatusError.
//
// # A storage
//
// Storage has the methods of certmagic's storages, over etcd: what processes on several machines share, and locks.
//
// # Threads
//
// A Registration, a Client and a Storage are safe for any goroutine. A Registry belongs to one Registration, a Stream
// to one goroutine. The context of a request ends it, and the whole of a Stream.
//
// # Limits
//
// 5 s for one try of a registration, 8 MiB of a file. 5 s for a connection and for a TLS handshake, 10 s for the head
// of an answer unless ClientOptions.Wait says otherwise, 32 MiB for an answer and for one message of a stream.
package registry
