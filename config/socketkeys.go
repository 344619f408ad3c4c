package config

import (
	"time"

	"github.com/edge-proxy/edge/config/schema"
)

// socketKeys are the keys of a listener about its sockets, whose options connections inherit.
func socketKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "user_timeout", Type: schema.Duration, Default: `"5m"`, Min: "1s", Max: "24h", Words: []string{"system"},
			Example: `"30s"`, Restart: true,
			Into: schema.Into(func(e *listenerEntry) *time.Duration { return &e.UserTimeout }),
			Doc: "How long bytes sent to a client may stay unacknowledged, or find its window closed, before the " +
				"connection is broken (`TCP_USER_TIMEOUT`). `system`: as long as the kernel tries."},
		{Path: "fast_open", Type: schema.Int, Default: `"off"`, Min: "0", Max: "65535", Words: []string{"off"},
			Example: "256",
			Restart: true, Into: schema.Into(func(e *listenerEntry) *int { return &e.FastOpen }),
			Doc: "How many connections may wait that came with data in their first packet (TCP Fast Open), which " +
				"spares clients a round trip. The network may deliver that data twice (RFC 7413), so it is for " +
				"TLS, or for requests that may be repeated. The kernel has to allow it: " +
				"`net.ipv4.tcp_fastopen`, bit 2."},
	}
}

// upstreamSocketKeys are the keys of an upstream about the sockets of its connections.
func upstreamSocketKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "user_timeout", Type: schema.Duration, Default: `"5m"`, Min: "1s", Max: "24h", Words: []string{"system"},
			Example: `"30s"`, Into: schema.Into(func(e *upstreamEntry) *time.Duration { return &e.UserTimeout }),
			Doc: "How long bytes sent to a backend may stay unacknowledged, or find its window closed, before the " +
				"connection is broken (`TCP_USER_TIMEOUT`). `system`: as long as the kernel tries."},
		{Path: "fast_open", Type: schema.Bool, Default: "false", Example: "true",
			Into: schema.Into(func(e *upstreamEntry) *bool { return &e.FastOpen }),
			Doc: "The first bytes for a backend leave with the first packet of a connection (TCP Fast Open), " +
				"once the kernel has a cookie of it. The network may deliver them twice (RFC 7413), so it is for " +
				"TLS, or for requests that may be repeated. That a backend refuses shows later."},
	}
}
