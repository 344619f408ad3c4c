// Package interop tests edge with clients and servers that others wrote: h2spec, the interop cases of grpc-go, the
// WebSocket packages coder/websocket and gorilla/websocket.
//
// It is a package of tests: most start the edge binary with a configuration of its own on free ports, put it between
// the client and the server of another project, and take their verdict. A few have the proxy, or the codec alone, in
// the process of the test, to see its log or to stop a side.
//
//	h2spec ─── h2c, TLS ────────► edge ── h1 ──► a server that answers
//	grpc-go ── h2c, TLS ────────► edge ── h2 ──► grpc-go's test server, h2c and TLS
//	coder, gorilla ── h1, h2 ───► edge ── h1, h2 ──► a WebSocket server that echoes
//	the resolver ── UDP, TCP ───► miekg/dns, dnsmasq, unbound, BIND; Debian's where they are installed
//	discovery ── HTTP ──────────► etcd of Debian where it is installed; in make nightly Kubernetes' API server
//	registration ── HTTP ───────► etcd of Debian
//	Prometheus of Debian, promtool, the parser of its libraries ── HTTP ──► the metrics of a server
//	the public tests of HTTP caches (node of Debian where it is installed) ── h1 ──► edge ── h1 ──► their origin
//	internal/tls/certs/issue/acme ── TLS ────► pebble in the process ── h1, acme-tls/1 ──► the proofs of the issuer
//	a site to copy ── curl, openssl, pebble ──► edge ── TCP ──► three edges, with etcd of Debian
//	kin-openapi ── answers ─────► the admin surface, by its own OpenAPI document
//	clients ── TCP ─────────────► edge and HAProxy of Debian ── TCP ──► backends that are killed and stopped
//	rsyslog, syslog-ng of Debian, go-syslog ◄── UDP, TCP, TLS, Unix sockets ── the output that speaks syslog
//	edge ── h1 ──► edge ── h1 ──► a program with the SDK of OpenTelemetry: one decision, and one chain of spans
//	quic-go, ngtcp2 of Debian ── UDP, also a relay that loses datagrams ── package quic alone, as either end
//	Chromium, Firefox of Debian, where they are installed ── h2, then h3 by Alt-Svc ──► edge ── h1 ──► an origin
//	HAProxy, nginx, curl of Debian, go-proxyproto ── headers of the PROXY protocol ──► edge, its codec
//
// Code that ends its process on a failure runs in a process of its own: the binary of the tests, started again with a
// name in EDGE_INTEROP.
//
// It is a module of its own, so that programs that import edge do not get these projects into their module graph.
//
// The folder apps has edge in front of applications; it is a package with a build tag of its own.
//
// # Limits
//
// Once in make test; EDGE_SOAK=1 runs the gRPC cases 20 times, all sizes of WebSocket messages and 10 million headers.
package interop
