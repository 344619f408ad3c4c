package config

import "time"

// socketKeys are the keys of a listener about its sockets, whose options connections inherit.
func socketKeys() []*key {
	return []*key{
		{path: "user_timeout", typ: typeDuration, def: `"5m"`, min: "1s", max: "24h", words: []string{"system"},
			example: `"30s"`, restart: true,
			into: into(func(e *listenerEntry) *time.Duration { return &e.UserTimeout }),
			doc: "How long bytes sent to a client may stay unacknowledged, or find its window closed, before the " +
				"connection is broken (`TCP_USER_TIMEOUT`). `system`: as long as the kernel tries."},
		{path: "fast_open", typ: typeInt, def: `"off"`, min: "0", max: "65535", words: []string{"off"}, example: "256",
			restart: true, into: into(func(e *listenerEntry) *int { return &e.FastOpen }),
			doc: "How many connections may wait that came with data in their first packet (TCP Fast Open), which " +
				"spares clients a round trip. The network may deliver that data twice (RFC 7413), so it is for " +
				"TLS, or for requests that may be repeated. The kernel has to allow it: " +
				"`net.ipv4.tcp_fastopen`, bit 2."},
	}
}

// upstreamSocketKeys are the keys of an upstream about the sockets of its connections.
func upstreamSocketKeys() []*key {
	return []*key{
		{path: "user_timeout", typ: typeDuration, def: `"5m"`, min: "1s", max: "24h", words: []string{"system"},
			example: `"30s"`, into: into(func(e *upstreamEntry) *time.Duration { return &e.UserTimeout }),
			doc: "How long bytes sent to a backend may stay unacknowledged, or find its window closed, before the " +
				"connection is broken (`TCP_USER_TIMEOUT`). `system`: as long as the kernel tries."},
		{path: "fast_open", typ: typeBool, def: "false", example: "true",
			into: into(func(e *upstreamEntry) *bool { return &e.FastOpen }),
			doc: "The first bytes for a backend leave with the first packet of a connection (TCP Fast Open), " +
				"once the kernel has a cookie of it. The network may deliver them twice (RFC 7413), so it is for " +
				"TLS, or for requests that may be repeated. That a backend refuses shows later."},
	}
}
