package config

import (
	"slices"
	"sync"
	"time"

	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
)

// registered are the sections of other packages.
var registered []*schema.Section

// Register adds sections of other packages to those that a file may have. Call it from an init function: what is loaded
// afterwards knows them. Their entries are Features: of the Config, or of the route, upstream or listener around them.
// schema.Only and schema.All find them by the types of their targets.
func Register(sections ...*schema.Section) { registered = append(registered, sections...) }

// edge is the schema: every key there is, in the order of the reference page.
var edge = sync.OnceValue(func() *schema.Schema {
	return schema.New(slices.Concat([]*schema.Section{
		topSection(), globalSection(), listenersSection(), tlsSection(), certificatesSection(), upstreamsSection(),
		upstreamBackendsSection(), upstreamDefaultsSection(), membersSection(), routesSection(), logSection(),
	}, registered), codes, reserved())
})

func topSection() *schema.Section {
	return &schema.Section{
		Doc: "Keys that stand before the first section.",
		New: schema.Make[topEntry],
		Keys: []*schema.Key{
			{Path: schema.IncludeKey, Type: schema.Strings, Example: `["conf.d/*.toml"]`,
				Into: schema.Into(func(e *topEntry) *[]string { return &e.include }),
				Doc: "Other files of any format, relative to the folder of this one; a pattern stands for the files " +
					"it matches. See [Several files](#several-files)."},
			{Path: "allow", Type: schema.Choices, Enum: codeNames(), Example: `["shadowed-route"]`,
				Into: schema.Into(func(e *topEntry) *[]string { return &e.allow }),
				Doc:  "Warnings and notes not to show, by their codes."},
			{Path: "websocket", Type: schema.Bool, Default: "true", Example: "false",
				Aliases: []string{"proxy.websocket"},
				Into:    schema.Into(func(e *topEntry) *bool { return &e.webSocket }),
				Doc:     "What listeners do that do not say it themselves."},
			{Path: "grpc", Type: schema.Bool, Default: "false", Example: "true", Aliases: []string{"proxy.grpc"},
				Into: schema.Into(func(e *topEntry) *bool { return &e.grpc }),
				Doc:  "What listeners do that do not say it themselves."},
		},
	}
}

func globalSection() *schema.Section {
	return &schema.Section{
		Path: "global", Top: true,
		Doc: "The process as a whole.",
		New: schema.Make[globalEntry],
		Keys: slices.Concat([]*schema.Key{
			{Path: "log_level", Type: schema.Choice, Default: `"info"`,
				Enum:    []string{"debug", "info", "warn", "error"},
				Example: `"debug"`,
				Into:    schema.Into(func(e *globalEntry) *string { return &e.LogLevel }),
				Doc:     "How much the error log says."},
		}, loopKeys(), []*schema.Key{
			{Path: "via", Type: schema.Token, Default: `"edge"`, Example: `"unique"`, Restart: true,
				Into: schema.Into(func(e *globalEntry) *string { return &e.Via }),
				Doc: "Its name in `Via` and `Proxy-Status`. A request that came through that name more than 8 " +
					"times goes in circles and is answered 508. `unique`: `edge-` and a random number."},
			{Path: "pid_file", Type: schema.String, Example: `"/run/edge/edge.pid"`, Restart: true,
				Into: schema.Into(func(e *globalEntry) *string { return &e.PIDFile }),
				Doc:  "Where the process writes its id. None is written without it."},
			{Path: "error_log", Type: schema.String, Default: `"stderr"`, Example: `"/var/log/edge/error.log"`,
				Into: schema.Into(func(e *globalEntry) *string { return &e.ErrorLog }),
				Doc:  "`stderr` or a path."},
			{Path: "grace_period", Type: schema.Duration, Default: `"30s"`, Min: "0s", Max: "24h", Example: `"1m"`,
				Aliases: []string{"grace_period_seconds"},
				Into:    schema.Into(func(e *globalEntry) *time.Duration { return &e.GracePeriod }),
				Doc:     "How long open requests may take to finish when the process is asked to stop."},
			{Path: "shutdown_timeout", Type: schema.Duration, Default: `"0s"`, Min: "0s", Max: "24h", Example: `"5s"`,
				Aliases: []string{"graceful_shutdown_timeout_seconds"},
				Into:    schema.Into(func(e *globalEntry) *time.Duration { return &e.ShutdownTimeout }),
				Doc:     "How much longer, behind `grace_period`; for files that have both."},
			{Path: "memory_limit", Type: schema.Size, Default: `"auto"`, Min: "16m", Max: "1024t",
				Words:   []string{"auto"},
				Example: `"2g"`, Restart: true,
				Into: schema.Into(func(e *globalEntry) *int64 { return &e.MemoryLimit }),
				Doc:  "Memory the process may use. `auto`: 80 % of the limit of the cgroup."},
			{Path: "splice", Type: schema.Size, Default: `"256k"`, Min: "4k", Max: "1t", Words: []string{"off"},
				Example: `"off"`, Restart: true,
				Into: schema.Into(func(e *globalEntry) *int64 { return &e.Splice }),
				Doc: "Bytes of a body to come from which they go from socket to socket inside the kernel, where both " +
					"are plain; tunnels too, once they are busy. `off`: never."},
			{Path: "ca_file", Type: schema.String, Example: `"/etc/edge/tls/ca.pem"`,
				Into: schema.Into(func(e *globalEntry) *string { return &e.CAFile }),
				Doc:  "The authorities of backends, in PEM, for upstreams that name none; else those of the system."},
			{Path: "fips", Type: schema.Bool, Default: "false", Example: "true", Restart: true,
				Into: schema.Into(func(e *globalEntry) *bool { return &e.FIPS }),
				Doc: "Nothing but what FIPS 140-3 approves: the process starts itself again with that mode of Go's " +
					"cryptographic module before it listens, and what is not approved is an error."},
		}, processKeys()),
	}
}

// loopKeys are those of [global] that are about event loops.
func loopKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "worker_threads", Type: schema.Int, Default: `"auto"`, Min: "1", Max: "1024", Words: []string{"auto"},
			Aliases: []string{".threads", "threads"}, Example: "4", Restart: true,
			Into: schema.Into(func(e *globalEntry) *int { return &e.WorkerThreads }),
			Doc: "Event loops of the process. `auto`: one for each core that the CPU limit of the cgroup allows, " +
				"at most one for each 32 MiB of `memory_limit`."},
		{Path: "park", Type: schema.Choice, Default: `"auto"`, Enum: []string{"auto", "runtime", "syscall", "spin"},
			Example: `"syscall"`, Restart: true,
			Into: schema.Into(func(e *globalEntry) *string { return &e.Park }),
			Doc: "How an event loop without work sleeps. `auto` suits nearly everybody; see " +
				"[event loops](operations.md#event-loops) for the others."},
		{Path: "pin", Type: schema.Bool, Default: "false", Example: "true", Restart: true,
			Into: schema.Into(func(e *globalEntry) *bool { return &e.Pin }),
			Doc: "Each event loop stays on one processor of those the process may use; with `park` at `auto` it " +
				"sleeps as with `syscall`."},
	}
}

func listenersSection() *schema.Section {
	return &schema.Section{
		Path: "listeners", Shape: schema.List, Merges: true, Defaults: "tls",
		Aliases: []schema.Alias{
			{Path: "http", Doc: "one listener for plain HTTP"},
			{Path: "https", Doc: "one listener for TLS, with `cert` and `key`, or with those of `[[certificates]]`"},
			{Path: "network", Doc: "one listener; with `ssl_certificate` it takes TLS and plain HTTP on one port"},
		},
		Doc: "Addresses that are served alike. Two listeners never share an address.",
		New: schema.Make[listenerEntry],
		Keys: slices.Concat([]*schema.Key{
			{Path: "name", Type: schema.String, Example: `"web"`,
				Into: schema.Into(func(e *listenerEntry) *string { return &e.Name }),
				Doc:  "Its name in logs and metrics; the first address when there is none."},
			{Path: "listen", Type: typeListen, Example: `[":80", "unix:/run/edge/web.sock"]`,
				Into: schema.Into(func(e *listenerEntry) *[]Address { return &e.Addresses }),
				Doc: "`:80` is IPv4 and IPv6 in one socket, `0.0.0.0:80` IPv4, `[::]:80` IPv6 alone, `unix:/path` a " +
					"Unix socket. Port 0 is any free one."},
			{Path: "access_log", Type: typeAccessLog, Example: `"/var/log/edge/web.log"`,
				Into: schema.Into(func(e *listenerEntry) *AccessLog { return &e.AccessLog }),
				Doc:  "Where its requests are logged instead of `[log] output`; `false`: nowhere."},
			{Path: "trusted_proxies", Type: typeNetworks, Example: `["10.0.0.0/8", "unix"]`,
				Into: schema.Into(func(e *listenerEntry) *Trusted { return &e.Trusted }),
				Doc: "Peers whose `X-Forwarded-*` and `Forwarded` fields are believed and added to, by address; " +
					"`unix` is any on a Unix socket. What all others say there, and in [other fields]" +
					"(operations.md#behind-another-proxy) that only a proxy has to say, is replaced or dropped."},
			{Path: "forwarded", Type: schema.Bool, Default: "false", Example: "true",
				Into: schema.Into(func(e *listenerEntry) *bool { return &e.Forwarded }),
				Doc:  "Tell backends of the client by `Forwarded` (RFC 7239) too, not by `X-Forwarded-*` alone."},
		}, secureKeys(), pairKeys(), tlsKeys(), limitKeys(), socketKeys()),
	}
}

func limitKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "limits.header_size", Type: schema.Size, Default: `"32k"`, Min: "1k", Max: "1m", Example: `"16k"`,
			Into: schema.Into(func(e *listenerEntry) *int64 { return &e.Limits.HeaderSize }),
			Doc:  "Bytes of a request head. More is answered 431."},
		{Path: "limits.header_count", Type: schema.Int, Default: "100", Min: "1", Max: "10000", Example: "50",
			Into: schema.Into(func(e *listenerEntry) *int { return &e.Limits.HeaderCount }),
			Doc:  "Fields of a request head. More is answered 431."},
		{Path: "limits.header_timeout", Type: schema.Duration, Default: `"10s"`, Min: "100ms", Max: "1h",
			Example: `"5s"`,
			Into:    schema.Into(func(e *listenerEntry) *time.Duration { return &e.Limits.HeaderTimeout }),
			Doc:     "Time for the whole request head to arrive."},
		{Path: "limits.body_size", Type: schema.Size, Default: `"0"`, Example: `"10m"`,
			Into: schema.Into(func(e *listenerEntry) *int64 { return &e.Limits.BodySize }),
			Doc:  "Bytes of a request body. More is answered 413. 0: no limit."},
		{Path: "limits.connections", Type: schema.Int, Default: "0", Min: "0", Max: "100000000", Example: "200000",
			Into: schema.Into(func(e *listenerEntry) *int { return &e.Limits.Connections }),
			Doc: "Connections open at once on each address of the listener. For one more, one that has been idle for " +
				"a second is closed; else it waits. 0: no limit."},
		{Path: "limits.idle_timeout", Type: schema.Duration, Default: `"60s"`, Min: "1s", Max: "24h", Example: `"75s"`,
			Into: schema.Into(func(e *listenerEntry) *time.Duration { return &e.Limits.IdleTimeout }),
			Doc:  "Time a connection may wait for its next request."},
		{Path: "limits.keepalive_requests", Type: schema.Int, Default: "0", Min: "0", Max: "1000000000",
			Example: "1000",
			Into:    schema.Into(func(e *listenerEntry) *int { return &e.Limits.KeepaliveRequests }),
			Doc:     "Requests on one connection before it is closed. 0: no limit."},
		{Path: "limits.min_rate", Type: schema.Rate, Default: `"240/s"`, Min: "0", Max: "1g/s", Example: `"1k/s"`,
			Into: schema.Into(func(e *listenerEntry) *int64 { return &e.Limits.MinRate }),
			Doc: "Bytes a second that a request body has to come with, over its whole length, behind 10 s of grace. " +
				"Less is answered 408. An answer that the client keeps waiting for 60 s in all, less what it takes " +
				"at this rate, is cut off. 0: any rate."},
		{Path: "limits.half_close_wait", Type: schema.Duration, Default: `"1s"`, Min: "0s", Max: "1h",
			Words: []string{"never"}, Example: `"5s"`,
			Into: schema.Into(func(e *listenerEntry) *time.Duration { return &e.Limits.HalfCloseWait }),
			Doc: "How long an answer may take to begin for a client that ended its side behind the request: it may " +
				"have left. Then the request is given up, and logged as 499. 0: at once. `never`: it is served."},
	}
}

func upstreamsSection() *schema.Section {
	return &schema.Section{
		Path: "upstreams", Shape: schema.Named, Defaults: "upstream_defaults",
		Doc: "Named pools of backends. The upstream named `default` takes the requests that no route takes.",
		New: func(_ schema.Target, n *syntax.Node) schema.Target {
			return &upstreamEntry{Upstream: Upstream{Name: n.Key}}
		},
		Keys: slices.Concat(poolKeys(), []*schema.Key{
			{Path: "tls", Type: typeUpstreamTLS, Example: "true",
				Into: schema.Into(func(e *upstreamEntry) *bool { return &e.TLS.On }),
				Doc: "Whether connections to the backends are secured. With one of the keys below it, they are; an " +
					"`https://` in `dest` does the same."},
		}, protocolKeys(), upstreamSocketKeys()),
	}
}

func upstreamDefaultsSection() *schema.Section {
	s := &schema.Section{
		Path: "upstream_defaults",
		Doc:  "What an upstream does not say itself, for all of them.",
		New:  schema.Make[upstreamEntry],
		Keys: slices.Concat(poolKeys(), protocolKeys(), upstreamSocketKeys()),
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

// Words of load_balancing beside its choices.
var (
	balancingSynonyms = map[string]string{"weighted": "round_robin", "weighted_round_robin": "round_robin"}
	dormantBalancing  = map[string]string{"least_conn": "round_robin", "least_connections": "round_robin"}
	laterBalancing    = []string{"p2c", "peak_ewma", "adaptive", "ketama",
		"consistent", "hash", "maglev", "random", "ip_hash"}
)

// poolKeys are the keys that an upstream and the defaults of all upstreams share.
func poolKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "load_balancing", Type: schema.Choice, Default: `"round_robin"`, Enum: []string{"round_robin"},
			Synonyms: balancingSynonyms, Dormant: dormantBalancing, Later: laterBalancing,
			Into: schema.Into(func(e *upstreamEntry) *string { return &e.LoadBalancing }),
			Doc: "How a backend is chosen. `round_robin` honours weights; `weighted` and `weighted_round_robin` are " +
				"other names of it."},
		{Path: "host", Type: typeHost, Default: `"keep"`, Example: `"backend"`,
			Into: schema.Into(func(e *upstreamEntry) *string { return &e.Host }),
			Doc: "The Host that backends are sent: `keep` that of the client if it says one, `backend` their own " +
				"address, or this one. `headers.request` of a route overrides it."},
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
			Into: schema.Into(func(e *upstreamEntry) *int { return &e.Pool.MaxPerBackend }),
			Doc:  "Connections open to one backend, for the whole process. Further requests wait. 0: no limit."},
		{Path: "pool.queue", Type: schema.Int, Default: "500", Min: "0", Max: "1000000", Example: "100",
			Into: schema.Into(func(e *upstreamEntry) *int { return &e.Pool.Queue }),
			Doc:  "Requests that may wait for one backend because of `max_per_backend`. More are answered 503."},
		{Path: "pool.queue_timeout", Type: schema.Duration, Default: `"1s"`, Min: "1ms", Max: "10m", Example: `"5s"`,
			Into: schema.Into(func(e *upstreamEntry) *time.Duration { return &e.Pool.QueueTimeout }),
			Doc:  "How long one waits. Then it is answered 503."},
		{Path: "timeouts.connect", Type: schema.Duration, Default: `"5s"`, Min: "1ms", Max: "10m", Example: `"1s"`,
			Into: schema.Into(func(e *upstreamEntry) *time.Duration { return &e.Timeouts.Connect }),
			Doc:  "Time for a connection to a backend to be made."},
		{Path: "timeouts.first_byte", Type: schema.Duration, Default: `"60s"`, Min: "1ms", Max: "24h", Example: `"15s"`,
			Into: schema.Into(func(e *upstreamEntry) *time.Duration { return &e.Timeouts.FirstByte }),
			Doc:  "Time from the request sent to the first byte of the answer. Later is answered 504."},
		{Path: "timeouts.read", Type: schema.Duration, Default: `"60s"`, Min: "1ms", Max: "24h", Example: `"30s"`,
			Into: schema.Into(func(e *upstreamEntry) *time.Duration { return &e.Timeouts.Read }),
			Doc:  "Time between two reads of the answer; gRPC calls and tunnels have `timeouts.idle` of the route."},
		{Path: "timeouts.total", Type: schema.Duration, Default: `"0s"`, Min: "0s", Max: "24h", Example: `"60s"`,
			Into: schema.Into(func(e *upstreamEntry) *time.Duration { return &e.Timeouts.Total }),
			Doc: "Time from the head of a request to the end of its answer, tunnels aside. Later is answered 504, " +
				"or the answer is cut off. 0: no limit."},
		{Path: "retry.attempts", Type: schema.Int, Default: "2", Min: "0", Max: "100", Example: "1",
			Into: schema.Into(func(e *upstreamEntry) *int { return &e.Retry.Attempts }),
			Doc:  "Further attempts after the first, for what provably was not processed or may be sent twice."},
		{Path: "retry.buffer", Type: schema.Size, Default: `"64k"`, Min: "0", Max: "16m", Example: `"1m"`,
			Into: schema.Into(func(e *upstreamEntry) *int64 { return &e.Retry.Buffer }),
			Doc: "Bytes of a request body that are kept until the answer begins, so that it can be sent again. A " +
				"longer one is sent once. 0: none is kept."},
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
		Keys: []*schema.Key{
			{Path: "address", Type: typeEndpoint, Example: `"10.0.0.11:8080"`,
				Into: schema.Into(func(e *backendEntry) *endpoint { return &e.address }),
				Doc:  "A host name stands for all its addresses."},
			{Path: "weight", Type: schema.Int, Default: "1", Min: "0", Max: "65535", Example: "3",
				Into: schema.Into(func(e *backendEntry) *int { return &e.weight }),
				Doc:  "Its share of the requests. 0: none; an upstream whose backends all have it answers 503."},
		},
	}
}

func membersSection() *schema.Section {
	return &schema.Section{
		Path: "load_balancing.backends", Shape: schema.List,
		Doc: "Another way to write upstreams: backends with the same `name` form the upstream of that name, those " +
			"with the same `upstream` form that one too; all that name no `upstream` also form `default`.",
		New: schema.Make[memberEntry],
		Keys: []*schema.Key{
			{Path: "name", Type: schema.String, Example: `"backend1"`,
				Into: schema.Into(func(e *memberEntry) *string { return &e.name }),
				Doc:  "The upstream it forms with others of that name."},
			{Path: "address", Type: typeEndpoint, Example: `"127.0.0.1:8080"`,
				Into: schema.Into(func(e *memberEntry) *endpoint { return &e.address }),
				Doc:  "A host name stands for all its addresses."},
			{Path: "weight", Type: schema.Int, Default: "1", Min: "0", Max: "65535", Example: "2",
				Into: schema.Into(func(e *memberEntry) *int { return &e.weight }),
				Doc:  "Its share of the requests. 0: none; an upstream whose backends all have it answers 503."},
			{Path: "upstream", Type: schema.String, Example: `"api"`,
				Into: schema.Into(func(e *memberEntry) *string { return &e.upstream }),
				Doc:  "A further upstream it belongs to."},
		},
	}
}

func logSection() *schema.Section {
	return &schema.Section{
		Path: "log",
		Doc:  "The log of requests.",
		New:  schema.Make[logEntry],
		Keys: []*schema.Key{
			{Path: "format", Type: schema.Choice, Default: `"json"`, Enum: []string{"json", "common", "combined"},
				Later: []string{"logfmt"}, Example: `"combined"`,
				Into: schema.Into(func(e *logEntry) *string { return &e.Format }),
				Doc:  "One JSON object a line, or the formats of Apache and nginx."},
			{Path: "output", Type: typeLogOutput, Default: `["stdout"]`,
				Example: `["stdout", "/var/log/edge/access.log"]`,
				Into:    schema.Into(func(e *logEntry) *[]string { return &e.Output }),
				Doc:     "`stdout`, `stderr` or paths. An empty list: no access log."},
		},
	}
}
