package config

import (
	"time"

	"github.com/edge-proxy/edge/balance"
	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/value"
)

// balancingSynonyms are other words for methods of balancing.
var balancingSynonyms = map[string]string{
	"weighted": "round_robin", "weighted_round_robin": "round_robin", "least_connections": "least_conn",
	"hash": "ketama", "consistent": "ketama",
}

const balancingDoc = "`adaptive`: the least loaded of three that are drawn; one that is slow or fails counts as more " +
	"loaded. `round_robin`: in turns, by weight, in nginx's order. `random`; `least_conn` (requests under way over " +
	"the weight); `p2c` (the less loaded of two that are drawn); `peak_ewma` (Finagle's). By a key, see `hash_key`: " +
	"`ketama` (nginx's `hash … consistent`), `maglev`, `ip_hash` (nginx's). See [balancing](balancing.md)."

// balancingKeys say how a backend is chosen, in an upstream and in the defaults of all of them.
func balancingKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "load_balancing", Type: schema.Choice, Default: `"adaptive"`, Enum: balance.Names(),
			Synonyms: balancingSynonyms, Example: `"least_conn"`,
			Into: schema.Into(func(e *upstreamEntry) *string { return &e.LoadBalancing }),
			Doc:  "How a backend is chosen. " + balancingDoc},
		{Path: "hash_key", Type: value.TypeHashKey, Example: `"header:X-User"`,
			Into: schema.Into(func(e *upstreamEntry) *value.HashKey { return &e.HashKey }),
			Doc: "What `ketama` and `maglev` choose by: requests with the same value go to the same backend. " +
				"`client_ip` (the default), `path`, `uri` (with the query), `host`, `header:NAME`, `cookie:NAME`, " +
				"`query:NAME`. Requests without a value are balanced in turns."},
		{Path: "slow_start", Type: schema.Duration, Default: `"0s"`, Min: "0s", Max: "24h", Example: `"20s"`,
			Into: schema.Into(func(e *upstreamEntry) *time.Duration { return &e.SlowStart }),
			Doc: "How long a backend that is up again, or new while others are up, takes to get all of its requests. " +
				"It begins with a tenth. 0: it gets them at once. Requests with a `hash_key` go where they belong, " +
				"whatever this says. See [slow start](balancing.md#slow-start)."},
	}
}

// routeBalancingKeys say it for one route.
func routeBalancingKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "load_balancing", Type: schema.Choice, Enum: balance.Names(), Synonyms: balancingSynonyms,
			Example: `"round_robin"`,
			Into:    schema.Into(func(e *routeEntry) *string { return &e.LoadBalancing }),
			Doc: "Instead of `load_balancing` of the upstream. The route takes its own turns among the backends, " +
				"whatever other routes to the upstream do. Connections, limits and queues stay those of the upstream."},
		{Path: "hash_key", Type: value.TypeHashKey, Example: `"path"`,
			Into: schema.Into(func(e *routeEntry) *value.HashKey { return &e.HashKey }),
			Doc:  "Instead of `hash_key` of the upstream."},
	}
}

// backupKey says that a backend stands by.
func backupKey[E any](of func(E) *bool) *schema.Key {
	return &schema.Key{Path: "backup", Type: schema.Bool, Default: "false", Example: "true", Into: schema.Into(of),
		Doc: "It gets a request only where no other backend can have it: each is down, or had an attempt of this " +
			"request."}
}

// checkSlowStart reports a slow start that has no effect, since the method goes by a key.
func checkSlowStart(r *resolver, e *upstreamEntry) {
	if e.SlowStart > 0 && Hashes(e.LoadBalancing) && !e.Failed("slow_start") && !e.Failed("load_balancing") {
		at := e.At("load_balancing")
		if e.Has("slow_start") {
			at = e.At("slow_start")
		}
		r.rep.Warnf(schema.CodeNoEffect, at, "", "slow_start moves no key: load_balancing = %q goes by keys alone",
			e.LoadBalancing)
	}
}

// Hashes reports whether the method of that name chooses by a key.
func Hashes(method string) bool {
	m := balance.ByName(method)
	return m != nil && m.Hash != nil
}

// checkBalancing reports a key that has no effect, since the method does not look at one. given is the
// entry of an upstream or of a route.
func checkBalancing(r *resolver, given *schema.Given, method string, key value.HashKey) {
	if !given.Has("hash_key") || given.Failed("hash_key") || given.Failed("load_balancing") || key.Of == "" {
		return
	}
	hint := "add load_balancing = \"ketama\""
	switch {
	case method == "ip_hash" && key.Of != "client_ip":
		r.rep.Errorf(given.At("hash_key"), hint, "ip_hash chooses by the address of the client alone")
	case !Hashes(method):
		r.rep.Warnf(schema.CodeNoEffect, given.At("hash_key"), hint, "load_balancing = %q does not look at a key",
			method)
	}
}
