package config

import (
	"slices"
	"time"

	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
	"github.com/edge-proxy/edge/config/value"
)

func upstreamsSection() *schema.Section {
	return &schema.Section{
		Path: "upstreams", Shape: schema.Named, Defaults: "upstream_defaults",
		Doc: "Named pools of backends. The upstream named `default` takes the requests that no route takes.",
		New: func(_ schema.Target, n *syntax.Node) schema.Target {
			return &upstreamEntry{Upstream: Upstream{Name: n.Key}}
		},
		Keys: slices.Concat(balancingKeys(), spreadKeys(), poolKeys(), resilienceKeys(), []*schema.Key{
			{Path: "tls", Type: typeSwitch, Example: "true",
				Into: schema.Into(func(e *upstreamEntry) *bool { return &e.TLS.On }),
				Doc: "Whether connections to the backends are secured. With one of the keys below it, they are; an " +
					"`https://` in `dest` does the same."},
			discoverKey(), failoverKey(),
		}, protocolKeys(), upstreamSocketKeys(), discoveryKeys()),
	}
}

func upstreamDefaultsSection() *schema.Section {
	s := &schema.Section{
		Path: "upstream_defaults",
		Doc:  "What an upstream does not say itself, for all of them.",
		New:  schema.Make[upstreamEntry],
		Keys: slices.Concat(balancingKeys(), spreadKeys(), poolKeys(), resilienceKeys(), protocolKeys(),
			upstreamSocketKeys(), discoveryKeys()),
	}
	for _, k := range s.Keys {
		switch k.Path {
		case "load_balancing":
			k.Aliases = []string{"load_balancing.method"}
		case "pool.idle":
			k.Aliases = []string{"upstream_keepalive_pool_size"}
		case "retry.attempts":
			k.Aliases = []string{"max_retries"}
		}
	}
	return s
}

// poolKeys are the keys that an upstream and the defaults of all upstreams share.
func poolKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "host", Type: value.TypeHost, Default: `"keep"`, Example: `"backend"`,
			Into: schema.Into(func(e *upstreamEntry) *string { return &e.Host }),
			Doc: "The Host that backends are sent: `keep` that of the client if it says one, `backend` their own " +
				"address, or this one. `headers.request` of a route overrides it."},
		{Path: "via", Type: schema.Bool, Default: "true", Example: "false",
			Into: schema.Into(func(e *upstreamEntry) *bool { return &e.Via }),
			Doc: "Whether backends are told of edge by `Via`. Some answer otherwise then: nginx does not compress " +
				"(`gzip_proxied`). Without it requests that go in circles are not found."},
		{Path: "pool.idle", Type: schema.Int, Default: "4096", Min: "0", Max: "1000000", Example: "128",
			Into: schema.Into(func(e *upstreamEntry) *int { return &e.Pool.Idle }),
			Doc:  "Idle connections kept, for the whole process."},
		{Path: "pool.idle_timeout", Type: schema.Duration, Default: `"60s"`, Min: "1s", Max: "24h", Example: `"30s"`,
			Into: schema.Into(func(e *upstreamEntry) *time.Duration { return &e.Pool.IdleTimeout }),
			Doc: "How long an idle connection is kept; less when the backend says so by `Keep-Alive: timeout`, and a " +
				"second less than that."},
		{Path: "pool.max_lifetime", Type: schema.Duration, Default: `"0s"`, Min: "0s", Max: "8760h", Example: `"10m"`,
			Into: schema.Into(func(e *upstreamEntry) *time.Duration { return &e.Pool.MaxLifetime }),
			Doc:  "How old a connection may be to be used for another request. 0: any age."},
		{Path: "pool.max_requests", Type: schema.Int, Default: "0", Min: "0", Max: "1000000000", Example: "1000",
			Into: schema.Into(func(e *upstreamEntry) *int { return &e.Pool.MaxRequests }),
			Doc:  "Requests on one connection before it is closed. 0: no limit."},
		{Path: "pool.max_per_backend", Type: schema.Int, Default: "0", Min: "0", Max: "1000000", Example: "1000",
			Into:    schema.Into(func(e *upstreamEntry) *int { return &e.Pool.MaxPerBackend }),
			Aliases: []string{"..breaker.max_connections"},
			Doc:     "Connections open to one backend, for the whole process. Further requests wait. 0: no limit."},
		{Path: "pool.queue", Type: schema.Int, Default: "500", Min: "0", Max: "1000000", Example: "100",
			Into:    schema.Into(func(e *upstreamEntry) *int { return &e.Pool.Queue }),
			Aliases: []string{"..breaker.max_pending"},
			Doc: "Requests that may wait: for one backend because of `max_per_backend`, and for all backends " +
				"together because of `breaker`. More are answered 503."},
		{Path: "pool.queue_timeout", Type: schema.Duration, Default: `"1s"`, Min: "1ms", Max: "10m", Example: `"5s"`,
			Into: schema.Into(func(e *upstreamEntry) *time.Duration { return &e.Pool.QueueTimeout }),
			Doc: "How long one waits. Then it is answered 503. For a place under `breaker` it is " +
				"[less](overload.md#the-line) where others have waited for a while."},
		{Path: "timeouts.connect", Type: schema.Duration, Default: `"5s"`, Min: "1ms", Max: "10m", Example: `"1s"`,
			Into: schema.Into(func(e *upstreamEntry) *time.Duration { return &e.Timeouts.Connect }),
			Doc:  "Time for a connection to a backend to be made."},
		{Path: "timeouts.first_byte", Type: schema.Duration, Default: `"60s"`, Min: "1ms", Max: "24h",
			Example: `"15s"`,
			Into:    schema.Into(func(e *upstreamEntry) *time.Duration { return &e.Timeouts.FirstByte }),
			Doc:     "Time from the request sent to the first byte of the answer. Later is answered 504."},
		{Path: "timeouts.read", Type: schema.Duration, Default: `"60s"`, Min: "1ms", Max: "24h", Example: `"30s"`,
			Into: schema.Into(func(e *upstreamEntry) *time.Duration { return &e.Timeouts.Read }),
			Doc:  "Time between two reads of the answer; gRPC calls and tunnels have `timeouts.idle` of the route."},
		{Path: "timeouts.total", Type: schema.Duration, Default: `"0s"`, Min: "0s", Max: "24h", Example: `"60s"`,
			Into: schema.Into(func(e *upstreamEntry) *time.Duration { return &e.Timeouts.Total }),
			Doc: "Time from the head of a request to the end of its answer, tunnels aside. Later is answered 504, " +
				"or the answer is cut off. 0: no limit."},
	}
}

// protocolKeys are the keys about HTTP and TLS that an upstream and the defaults of all upstreams share.
func protocolKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "protocol", Type: schema.Choice, Default: `"h1"`, Enum: []string{"h1", "h2", "auto"},
			Later: []string{"h3"}, Example: `"h2"`,
			Into: schema.Into(func(e *upstreamEntry) *string { return &e.Protocol }),
			Doc: "The version of HTTP. `h2` without TLS is by prior knowledge. `auto`: over TLS what the backend " +
				"chooses, else `h1`."},
		{Path: "tls.sni", Type: typeServerName, Example: `"api.internal"`,
			Into: schema.Into(func(e *upstreamEntry) *string { return &e.TLS.SNI }),
			Doc:  "The name that is asked for, and that the certificate has to have; else the host of the backend."},
		{Path: "tls.ca", Type: schema.String, Local: true, Example: `"/etc/edge/tls/ca.pem"`,
			Into: schema.Into(func(e *upstreamEntry) *string { return &e.TLS.CA }),
			Doc:  "The authorities that are believed, in PEM; else those of `ca_file`, or of the system."},
		{Path: "tls.verify", Type: schema.Bool, Default: "true", Example: "false",
			Into: schema.Into(func(e *upstreamEntry) *bool { return &e.TLS.Verify }),
			Doc:  "Whether the certificate is verified. With `false` anybody in between can read and change all."},
		{Path: "tls.cert", Type: schema.String, Local: true, Example: `"/etc/edge/tls/client.pem"`,
			Into: schema.Into(func(e *upstreamEntry) *string { return &e.TLS.Cert }),
			Doc:  "The certificate that a backend is shown when it asks for one, in PEM."},
		{Path: "tls.key", Type: schema.String, Local: true, Example: `"/etc/edge/tls/client.key"`,
			Into: schema.Into(func(e *upstreamEntry) *string { return &e.TLS.Key }),
			Doc:  "Its key. Without it, the key is in the file of the certificate."},
		{Path: "tls.alpn", Type: typeALPN, Example: `["h2"]`, Enum: []string{"h2", "http/1.1"},
			Into: schema.Into(func(e *upstreamEntry) *[]string { return &e.alpn }),
			Doc:  "Another way to write `protocol`: what is offered in the handshake. Both are `auto`."},
	}
}

// upstreamSocketKeys are the keys of an upstream about the sockets of its connections.
func upstreamSocketKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "user_timeout", Type: schema.Duration, Default: `"5m"`, Min: "1s", Max: "24h",
			Words: []string{"system"}, Example: `"30s"`,
			Into: schema.Into(func(e *upstreamEntry) *time.Duration { return &e.UserTimeout }),
			Doc: "How long bytes sent to a backend may stay unacknowledged, or find its window closed, before the " +
				"connection is broken (`TCP_USER_TIMEOUT`). `system`: as long as the kernel tries."},
		{Path: "fast_open", Type: schema.Bool, Default: "false", Example: "true",
			Into: schema.Into(func(e *upstreamEntry) *bool { return &e.FastOpen }),
			Doc: "The first bytes for a backend leave with the first packet of a connection (TCP Fast Open), " +
				"once the kernel has a cookie of it. The network may deliver them twice (RFC 7413), so it is for " +
				"TLS, or for requests that may be repeated. That a backend refuses shows later."},
	}
}

func upstreamBackendsSection() *schema.Section {
	return &schema.Section{
		Path: "upstreams.NAME.backends", Shape: schema.List, Bare: "address",
		Doc: "The backends of an upstream; usually written `backends = [{ address = \"10.0.0.1:80\" }]`.",
		New: func(parent schema.Target, _ *syntax.Node) schema.Target {
			e := &backendEntry{}
			of := parent.(*upstreamEntry)
			of.backends = append(of.backends, e)
			return e
		},
		Keys: memberKeys(func(e *backendEntry) *backendEntry { return e }),
	}
}

func membersSection() *schema.Section {
	return &schema.Section{
		Path: "load_balancing.backends", Shape: schema.List,
		Lists: "upstreams.NAME.backends",
		Doc: "Another way to write upstreams: backends with the same `name` form the upstream of that name, those " +
			"with the same `upstream` form that one too; all that name no `upstream` also form `default`.",
		New: schema.Make[memberEntry],
		Keys: append([]*schema.Key{
			{Path: "name", Type: schema.String, Example: `"backend1"`,
				Into: schema.Into(func(e *memberEntry) *string { return &e.name }),
				Doc:  "The upstream it forms with others of that name."},
			{Path: "upstream", Type: schema.String, Example: `"api"`,
				Into: schema.Into(func(e *memberEntry) *string { return &e.upstream }),
				Doc:  "A further upstream it belongs to."},
		}, memberKeys(func(e *memberEntry) *backendEntry { return &e.backendEntry })...),
	}
}
