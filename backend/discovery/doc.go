// Package discovery finds the servers of a service, in DNS, a file, etcd, Consul, Kubernetes, Docker or by code of the
// program, and keeps a backend.Set up to date with them.
//
// It opens no connection to a backend and checks none. A Source says where backends are found; a Runner runs it and
// decides which of its answers become members:
//
//	Source.Run, a goroutine ─► publish(list or error) ─► Runner: debounce, doubt, log ─► Set.Apply ─► members
//	  dns, file, etcd … or one of the program               error: nothing changes
//	                                                        no backend: believed later
//
// Open makes a Source of one of these texts:
//
//	dns://HOST:PORT                each address of the host
//	srv+dns://NAME                 the SRV records of the name
//	file:///PATH                   the lines of a file
//	etcd://HOST:PORT,…/PREFIX      the values of keys; ?tls=true&ca=/file
//	consul://HOST:PORT/SERVICE     the instances that pass; ?tag=&dc=&near=&tls=&ca=&token_file=
//	k8s://NAMESPACE/SERVICE:PORT   EndpointSlices; ?api=https://host:port&ca=&token_file=
//	docker://LABEL=VALUE           containers; ?network=&port=&socket=
//
// # What a Runner does
//
// Changes are applied 100 ms after the last one, a second after the first one at the latest; the very first answer at
// once. The set compares by identity: a member that stays keeps its connections and counters. An error keeps the
// members, for ever or for Options.StaleOK. "No backend" is believed after three such answers in a row or after
// Options.EmptyAfter, at once with None. A source that returns or panics is run again after 1, 2, 4 … 30 s. The log
// tells once of each change: "discovery failed", "discovery changed" and the like.
//
// # Names of single backends
//
// A Resolver finds the addresses of backends that are given by a host name. Each is a member: see package backend.
//
// # Life and threads
//
//	r := discovery.Start(…)   the source runs; what it finds is kept
//	<-r.Ready()               it has answered or failed; no caller has to wait for that
//	r.Join(set)               the set gets it, now and from now on
//	r.Stop()                  the source has ended; the set keeps its members
//
// A Runner and a Resolver are safe for any goroutine. A source belongs to the goroutine of its Runner; a Resolver has
// one goroutine for each name.
//
// # Limits
//
// 10 000 members of a source, 8 MiB of a file, 15 s for a look-up, TTLs of 1 s to 5 min.
package discovery
