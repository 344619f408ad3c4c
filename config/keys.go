package config

import (
	"slices"
	"sync"
	"time"

	"github.com/edge-proxy/edge/config/syntax"
)

// sections is the schema: every key there is, in the order of the reference page.
var sections = sync.OnceValue(func() []*section {
	return []*section{
		topSection(), globalSection(), listenersSection(), tlsSection(), certificatesSection(), upstreamsSection(),
		upstreamBackendsSection(), upstreamDefaultsSection(), membersSection(), routesSection(), logSection(),
	}
})

func topSection() *section {
	return &section{
		doc:  "Keys that stand before the first section.",
		open: func(doc *document, _ target, _ *syntax.Node) target { return &doc.top },
		keys: []*key{
			{path: includeKey, typ: typeStrings, example: `["conf.d/*.toml"]`,
				into: into(func(e *topEntry) *[]string { return &e.include }),
				doc: "Other files of any format, relative to the folder of this one; a pattern stands for the files " +
					"it matches. See [Several files](#several-files)."},
			{path: "allow", typ: typeChoices, enum: codeNames(), example: `["shadowed-route"]`,
				into: into(func(e *topEntry) *[]string { return &e.allow }),
				doc:  "Warnings and notes not to show, by their codes."},
			{path: "websocket", typ: typeBool, def: "true", example: "false", aliases: []string{"proxy.websocket"},
				into: into(func(e *topEntry) *bool { return &e.webSocket }),
				doc:  "What listeners do that do not say it themselves."},
			{path: "grpc", typ: typeBool, def: "false", example: "true", aliases: []string{"proxy.grpc"},
				into: into(func(e *topEntry) *bool { return &e.grpc }),
				doc:  "What listeners do that do not say it themselves."},
		},
	}
}

func globalSection() *section {
	return &section{
		path: "global", top: true,
		doc:  "The process as a whole.",
		open: func(doc *document, _ target, _ *syntax.Node) target { return &doc.global },
		keys: slices.Concat([]*key{
			{path: "log_level", typ: typeChoice, def: `"info"`, enum: []string{"debug", "info", "warn", "error"},
				into: into(func(e *globalEntry) *string { return &e.LogLevel }),
				doc:  "How much the error log says."},
		}, loopKeys(), []*key{
			{path: "via", typ: typeToken, def: `"edge"`, example: `"unique"`, restart: true,
				into: into(func(e *globalEntry) *string { return &e.Via }),
				doc: "Its name in `Via` and `Proxy-Status`. A request that came through that name more than 8 " +
					"times goes in circles and is answered 508. `unique`: `edge-` and a random number."},
			{path: "pid_file", typ: typeString, example: `"/run/edge/edge.pid"`, restart: true,
				into: into(func(e *globalEntry) *string { return &e.PIDFile }),
				doc:  "Where the process writes its id. None is written without it."},
			{path: "error_log", typ: typeString, def: `"stderr"`, example: `"/var/log/edge/error.log"`,
				into: into(func(e *globalEntry) *string { return &e.ErrorLog }),
				doc:  "`stderr` or a path."},
			{path: "grace_period", typ: typeDuration, def: `"30s"`, min: "0s", max: "24h", example: `"1m"`,
				aliases: []string{"grace_period_seconds"},
				into:    into(func(e *globalEntry) *time.Duration { return &e.GracePeriod }),
				doc:     "How long open requests may take to finish when the process is asked to stop."},
			{path: "shutdown_timeout", typ: typeDuration, def: `"0s"`, min: "0s", max: "24h", example: `"5s"`,
				aliases: []string{"graceful_shutdown_timeout_seconds"},
				into:    into(func(e *globalEntry) *time.Duration { return &e.ShutdownTimeout }),
				doc:     "How much longer, behind `grace_period`; for files that have both."},
			{path: "memory_limit", typ: typeSize, def: `"auto"`, min: "16m", max: "1024t", words: []string{"auto"},
				example: `"2g"`, restart: true,
				into: into(func(e *globalEntry) *int64 { return &e.MemoryLimit }),
				doc:  "Memory the process may use. `auto`: 80 % of the limit of the cgroup."},
			{path: "splice", typ: typeSize, def: `"256k"`, min: "4k", max: "1t", words: []string{"off"},
				example: `"off"`, restart: true,
				into: into(func(e *globalEntry) *int64 { return &e.Splice }),
				doc: "Bytes of a body to come from which they go from socket to socket inside the kernel, where both " +
					"are plain; tunnels too, once they are busy. `off`: never."},
			{path: "ca_file", typ: typeString, example: `"/etc/edge/tls/ca.pem"`,
				into: into(func(e *globalEntry) *string { return &e.CAFile }),
				doc:  "The authorities of backends, in PEM, for upstreams that name none; else those of the system."},
			{path: "fips", typ: typeBool, def: "false", example: "true", restart: true,
				into: into(func(e *globalEntry) *bool { return &e.FIPS }),
				doc: "Nothing but what FIPS 140-3 approves: the process starts itself again with that mode of Go's " +
					"cryptographic module before it listens, and what is not approved is an error."},
		}, processKeys()),
	}
}

// loopKeys are those of [global] that are about event loops.
func loopKeys() []*key {
	return []*key{
		{path: "worker_threads", typ: typeInt, def: `"auto"`, min: "1", max: "1024", words: []string{"auto"},
			aliases: []string{".threads", "threads"}, example: "4", restart: true,
			into: into(func(e *globalEntry) *int { return &e.WorkerThreads }),
			doc: "Event loops of the process. `auto`: one for each core that the CPU limit of the cgroup allows, " +
				"at most one for each 32 MiB of `memory_limit`."},
		{path: "park", typ: typeChoice, def: `"auto"`, enum: []string{"auto", "runtime", "syscall", "spin"},
			example: `"syscall"`, restart: true,
			into: into(func(e *globalEntry) *string { return &e.Park }),
			doc: "How an event loop without work sleeps. `auto` suits nearly everybody; see " +
				"[event loops](operations.md#event-loops) for the others."},
		{path: "pin", typ: typeBool, def: "false", example: "true", restart: true,
			into: into(func(e *globalEntry) *bool { return &e.Pin }),
			doc: "Each event loop stays on one processor of those the process may use; with `park` at `auto` it " +
				"sleeps as with `syscall`."},
	}
}

func listenersSection() *section {
	return &section{
		path: "listeners", shape: shapeList, merges: true,
		aliases: []sectionAlias{
			{"http", shapeOne, "one listener for plain HTTP"},
			{"https", shapeOne, "one listener for TLS, with `cert` and `key`, or with those of `[[certificates]]`"},
			{"network", shapeOne, "one listener; with `ssl_certificate` it takes TLS and plain HTTP on one port"},
		},
		doc: "Addresses that are served alike. Two listeners never share an address.",
		open: func(doc *document, _ target, _ *syntax.Node) target {
			e := &listenerEntry{}
			doc.listeners = append(doc.listeners, e)
			return e
		},
		keys: slices.Concat([]*key{
			{path: "name", typ: typeString, example: `"web"`,
				into: into(func(e *listenerEntry) *string { return &e.Name }),
				doc:  "Its name in logs and metrics; the first address when there is none."},
			{path: "listen", typ: typeListen, example: `[":80", "unix:/run/edge/web.sock"]`,
				into: into(func(e *listenerEntry) *[]Address { return &e.Addresses }),
				doc: "`:80` is IPv4 and IPv6 in one socket, `0.0.0.0:80` IPv4, `[::]:80` IPv6 alone, `unix:/path` a " +
					"Unix socket. Port 0 is any free one."},
			{path: "access_log", typ: typeAccessLog, example: `"/var/log/edge/web.log"`,
				into: into(func(e *listenerEntry) *AccessLog { return &e.AccessLog }),
				doc:  "Where its requests are logged instead of `[log] output`; `false`: nowhere."},
			{path: "trusted_proxies", typ: typeNetworks, example: `["10.0.0.0/8", "unix"]`,
				into: into(func(e *listenerEntry) *Trusted { return &e.Trusted }),
				doc: "Peers whose `X-Forwarded-*` and `Forwarded` fields are believed and added to, by address; " +
					"`unix` is any on a Unix socket. What all others say there, and in [other fields]" +
					"(operations.md#behind-another-proxy) that only a proxy has to say, is replaced or dropped."},
			{path: "forwarded", typ: typeBool, def: "false", example: "true",
				into: into(func(e *listenerEntry) *bool { return &e.Forwarded }),
				doc:  "Tell backends of the client by `Forwarded` (RFC 7239) too, not by `X-Forwarded-*` alone."},
		}, secureKeys(), pairKeys(), tlsKeys(), limitKeys(), socketKeys()),
	}
}

func limitKeys() []*key {
	return []*key{
		{path: "limits.header_size", typ: typeSize, def: `"32k"`, min: "1k", max: "1m", example: `"16k"`,
			into: into(func(e *listenerEntry) *int64 { return &e.Limits.HeaderSize }),
			doc:  "Bytes of a request head. More is answered 431."},
		{path: "limits.header_count", typ: typeInt, def: "100", min: "1", max: "10000", example: "50",
			into: into(func(e *listenerEntry) *int { return &e.Limits.HeaderCount }),
			doc:  "Fields of a request head. More is answered 431."},
		{path: "limits.header_timeout", typ: typeDuration, def: `"10s"`, min: "100ms", max: "1h", example: `"5s"`,
			into: into(func(e *listenerEntry) *time.Duration { return &e.Limits.HeaderTimeout }),
			doc:  "Time for the whole request head to arrive."},
		{path: "limits.body_size", typ: typeSize, def: `"0"`, example: `"10m"`,
			into: into(func(e *listenerEntry) *int64 { return &e.Limits.BodySize }),
			doc:  "Bytes of a request body. More is answered 413. 0: no limit."},
		{path: "limits.connections", typ: typeInt, def: "0", min: "0", max: "100000000", example: "200000",
			into: into(func(e *listenerEntry) *int { return &e.Limits.Connections }),
			doc: "Connections open at once on each address of the listener. For one more, one that has been idle for " +
				"a second is closed; else it waits. 0: no limit."},
		{path: "limits.idle_timeout", typ: typeDuration, def: `"60s"`, min: "1s", max: "24h", example: `"75s"`,
			into: into(func(e *listenerEntry) *time.Duration { return &e.Limits.IdleTimeout }),
			doc:  "Time a connection may wait for its next request."},
		{path: "limits.keepalive_requests", typ: typeInt, def: "0", min: "0", max: "1000000000", example: "1000",
			into: into(func(e *listenerEntry) *int { return &e.Limits.KeepaliveRequests }),
			doc:  "Requests on one connection before it is closed. 0: no limit."},
		{path: "limits.min_rate", typ: typeRate, def: `"240/s"`, min: "0", max: "1g/s", example: `"1k/s"`,
			into: into(func(e *listenerEntry) *int64 { return &e.Limits.MinRate }),
			doc: "Bytes a second that a request body has to come with, over its whole length, behind 10 s of grace. " +
				"Less is answered 408. An answer that the client keeps waiting for 60 s in all, less what it takes " +
				"at this rate, is cut off. 0: any rate."},
		{path: "limits.half_close_wait", typ: typeDuration, def: `"1s"`, min: "0s", max: "1h",
			words: []string{"never"}, example: `"5s"`,
			into: into(func(e *listenerEntry) *time.Duration { return &e.Limits.HalfCloseWait }),
			doc: "How long an answer may take to begin for a client that ended its side behind the request: it may " +
				"have left. Then the request is given up, and logged as 499. 0: at once. `never`: it is served."},
	}
}

func upstreamsSection() *section {
	return &section{
		path: "upstreams", shape: shapeNamed,
		doc: "Named pools of backends. The upstream named `default` takes the requests that no route takes.",
		open: func(doc *document, _ target, n *syntax.Node) target {
			e := &upstreamEntry{Upstream: Upstream{Name: n.Key}}
			doc.upstreams = append(doc.upstreams, e)
			return e
		},
		keys: slices.Concat(poolKeys(), []*key{
			{path: "tls", typ: typeUpstreamTLS, example: "true",
				into: into(func(e *upstreamEntry) *bool { return &e.TLS.On }),
				doc: "Whether connections to the backends are secured. With one of the keys below it, they are; an " +
					"`https://` in `dest` does the same."},
		}, protocolKeys(), upstreamSocketKeys()),
	}
}

func upstreamDefaultsSection() *section {
	s := &section{
		path: "upstream_defaults",
		doc:  "What an upstream does not say itself, for all of them.",
		open: func(doc *document, _ target, _ *syntax.Node) target { return &doc.defaults },
		keys: slices.Concat(poolKeys(), protocolKeys(), upstreamSocketKeys()),
	}
	for _, k := range s.keys {
		switch k.path {
		case "load_balancing":
			k.aliases = []string{"load_balancing.method"}
		case "pool.idle":
			k.aliases = []string{"upstream_keepalive_pool_size"}
		case "retry.attempts":
			k.aliases = []string{"max_retries"}
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
func poolKeys() []*key {
	return []*key{
		{path: "load_balancing", typ: typeChoice, def: `"round_robin"`, enum: []string{"round_robin"},
			synonyms: balancingSynonyms, dormant: dormantBalancing, later: laterBalancing,
			into: into(func(e *upstreamEntry) *string { return &e.LoadBalancing }),
			doc: "How a backend is chosen. `round_robin` honours weights; `weighted` and `weighted_round_robin` are " +
				"other names of it."},
		{path: "host", typ: typeHost, def: `"keep"`, example: `"backend"`,
			into: into(func(e *upstreamEntry) *string { return &e.Host }),
			doc: "The Host that backends are sent: `keep` that of the client if it says one, `backend` their own " +
				"address, or this one. `headers.request` of a route overrides it."},
		{path: "pool.idle", typ: typeInt, def: "4096", min: "0", max: "1000000", example: "128",
			into: into(func(e *upstreamEntry) *int { return &e.Pool.Idle }),
			doc:  "Idle connections kept, for the whole process."},
		{path: "pool.idle_timeout", typ: typeDuration, def: `"60s"`, min: "1s", max: "24h", example: `"30s"`,
			into: into(func(e *upstreamEntry) *time.Duration { return &e.Pool.IdleTimeout }),
			doc: "How long an idle connection is kept; less when the backend says so by `Keep-Alive: timeout`, and a " +
				"second less than that."},
		{path: "pool.max_lifetime", typ: typeDuration, def: `"0s"`, min: "0s", max: "8760h", example: `"10m"`,
			into: into(func(e *upstreamEntry) *time.Duration { return &e.Pool.MaxLifetime }),
			doc:  "How old a connection may be to be used for another request. 0: any age."},
		{path: "pool.max_requests", typ: typeInt, def: "0", min: "0", max: "1000000000", example: "1000",
			into: into(func(e *upstreamEntry) *int { return &e.Pool.MaxRequests }),
			doc:  "Requests on one connection before it is closed. 0: no limit."},
		{path: "pool.max_per_backend", typ: typeInt, def: "0", min: "0", max: "1000000", example: "1000",
			into: into(func(e *upstreamEntry) *int { return &e.Pool.MaxPerBackend }),
			doc:  "Connections open to one backend, for the whole process. Further requests wait. 0: no limit."},
		{path: "pool.queue", typ: typeInt, def: "500", min: "0", max: "1000000", example: "100",
			into: into(func(e *upstreamEntry) *int { return &e.Pool.Queue }),
			doc:  "Requests that may wait for one backend because of `max_per_backend`. More are answered 503."},
		{path: "pool.queue_timeout", typ: typeDuration, def: `"1s"`, min: "1ms", max: "10m", example: `"5s"`,
			into: into(func(e *upstreamEntry) *time.Duration { return &e.Pool.QueueTimeout }),
			doc:  "How long one waits. Then it is answered 503."},
		{path: "timeouts.connect", typ: typeDuration, def: `"5s"`, min: "1ms", max: "10m", example: `"1s"`,
			into: into(func(e *upstreamEntry) *time.Duration { return &e.Timeouts.Connect }),
			doc:  "Time for a connection to a backend to be made."},
		{path: "timeouts.first_byte", typ: typeDuration, def: `"60s"`, min: "1ms", max: "24h", example: `"15s"`,
			into: into(func(e *upstreamEntry) *time.Duration { return &e.Timeouts.FirstByte }),
			doc:  "Time from the request sent to the first byte of the answer. Later is answered 504."},
		{path: "timeouts.read", typ: typeDuration, def: `"60s"`, min: "1ms", max: "24h", example: `"30s"`,
			into: into(func(e *upstreamEntry) *time.Duration { return &e.Timeouts.Read }),
			doc:  "Time between two reads of the answer; gRPC calls and tunnels have `timeouts.idle` of the route."},
		{path: "timeouts.total", typ: typeDuration, def: `"0s"`, min: "0s", max: "24h", example: `"60s"`,
			into: into(func(e *upstreamEntry) *time.Duration { return &e.Timeouts.Total }),
			doc: "Time from the head of a request to the end of its answer, tunnels aside. Later is answered 504, " +
				"or the answer is cut off. 0: no limit."},
		{path: "retry.attempts", typ: typeInt, def: "2", min: "0", max: "100", example: "1",
			into: into(func(e *upstreamEntry) *int { return &e.Retry.Attempts }),
			doc:  "Further attempts after the first, for what provably was not processed or may be sent twice."},
		{path: "retry.buffer", typ: typeSize, def: `"64k"`, min: "0", max: "16m", example: `"1m"`,
			into: into(func(e *upstreamEntry) *int64 { return &e.Retry.Buffer }),
			doc: "Bytes of a request body that are kept until the answer begins, so that it can be sent again. A " +
				"longer one is sent once. 0: none is kept."},
	}
}

func upstreamBackendsSection() *section {
	return &section{
		path: "upstreams.NAME.backends", shape: shapeList,
		doc: "The backends of an upstream; usually written `backends = [{ address = \"10.0.0.1:80\" }]`.",
		open: func(_ *document, parent target, _ *syntax.Node) target {
			e := &backendEntry{}
			of := parent.(*upstreamEntry)
			of.backends = append(of.backends, e)
			return e
		},
		keys: []*key{
			{path: "address", typ: typeEndpoint, example: `"10.0.0.11:8080"`,
				into: into(func(e *backendEntry) *endpoint { return &e.address }),
				doc:  "A host name stands for all its addresses."},
			{path: "weight", typ: typeInt, def: "1", min: "0", max: "65535", example: "3",
				into: into(func(e *backendEntry) *int { return &e.weight }),
				doc:  "Its share of the requests. 0: none; an upstream whose backends all have it answers 503."},
		},
	}
}

func membersSection() *section {
	return &section{
		path: "load_balancing.backends", shape: shapeList,
		doc: "Another way to write upstreams: backends with the same `name` form the upstream of that name, those " +
			"with the same `upstream` form that one too; all that name no `upstream` also form `default`.",
		open: func(doc *document, _ target, _ *syntax.Node) target {
			e := &memberEntry{}
			doc.members = append(doc.members, e)
			return e
		},
		keys: []*key{
			{path: "name", typ: typeString, example: `"backend1"`,
				into: into(func(e *memberEntry) *string { return &e.name }),
				doc:  "The upstream it forms with others of that name."},
			{path: "address", typ: typeEndpoint, example: `"127.0.0.1:8080"`,
				into: into(func(e *memberEntry) *endpoint { return &e.address }),
				doc:  "A host name stands for all its addresses."},
			{path: "weight", typ: typeInt, def: "1", min: "0", max: "65535", example: "2",
				into: into(func(e *memberEntry) *int { return &e.weight }),
				doc:  "Its share of the requests. 0: none; an upstream whose backends all have it answers 503."},
			{path: "upstream", typ: typeString, example: `"api"`,
				into: into(func(e *memberEntry) *string { return &e.upstream }),
				doc:  "A further upstream it belongs to."},
		},
	}
}

func logSection() *section {
	return &section{
		path: "log",
		doc:  "The log of requests.",
		open: func(doc *document, _ target, _ *syntax.Node) target { return &doc.log },
		keys: []*key{
			{path: "format", typ: typeChoice, def: `"json"`, enum: []string{"json", "common", "combined"},
				later: []string{"logfmt"}, example: `"combined"`,
				into: into(func(e *logEntry) *string { return &e.Format }),
				doc:  "One JSON object a line, or the formats of Apache and nginx."},
			{path: "output", typ: typeLogOutput, def: `["stdout"]`, example: `["stdout", "/var/log/edge/access.log"]`,
				into: into(func(e *logEntry) *[]string { return &e.Output }),
				doc:  "`stdout`, `stderr` or paths. An empty list: no access log."},
		},
	}
}
