package proxybench

import (
	"slices"
	"strings"
)

// Programs are the binaries of peers that are looked up in PATH where Options.Programs has no path for them.
var Programs = []string{nginxName, haproxyName, h2oName, caddyName, envoyName}

var (
	edge    = edgePeer(edgeName, "edge", false, nil)
	before  = edgePeer(beforeName, beforeName, true, nil)
	nginx   = newProgram(nginxName, "-v", "nginx.conf", "-p {dir} -c {file} -e stderr")
	haproxy = newProgram(haproxyName, "-v", "haproxy.cfg", "-db -q -f {file}")
	h2o     = newProgram(h2oName, "-v", "h2o.yaml", "-c {file}")
	caddy   = newProgram(caddyName, "version", "Caddyfile", "run --config {file} --adapter caddyfile")
	envoy   = newProgram(envoyName, "--version", "envoy.yaml",
		"-c {file} --concurrency {loops} --disable-hot-restart --log-level error")
)

// Peers are all there are, in the order they take turns. The floor comes first, always.
var Peers = slices.Concat([]Peer{
	{Name: floorName, plain: true, args: "floor --listen {listen} --origin {origin} --park runtime"},
	{Name: "floor-syscall", plain: true, optional: true,
		args: "floor --listen {listen} --origin {origin} --park syscall"},
	before, edge,
	edgePeer("edge+log", "edge", false, place{"output": `["{dir}/access.log"]`}),
	edgePeer("edge+filters", "edge", true, place{"routes": peerFile("filters.toml")}),
	edgePeer("edge+rules", "edge", true, place{"routes": peerFile("rules.toml")}),
	nginx, haproxy, h2o, caddy, envoy,
}, cachePeers, filePeers, gzipPeers, hostPeers, http3Peers, []Peer{
	{Name: "fasthttp", plain: true, args: "peer fasthttp --listen {listen} --origin {origin}"},
	{Name: "nethttp", plain: true, args: "peer nethttp --listen {listen} --origin {origin}"},
})

var cachePeers = []Peer{
	before.with(withCache, place{"routes": peerFile("cache.toml")}),
	edge.with(withCache, place{"routes": peerFile("cache.toml")}),
	edge.with("+own", place{"routes": peerFile("own.toml"), "body": strings.Repeat("x", 1<<10)}),
	nginx.with(withCache, place{"nginx.http": peerFile("cache.conf"),
		"nginx.server": "location ~ ^/cached/(64k|256k|1m)$ { sendfile on; proxy_pass http://origin; }"}),
	haproxy.with(withCache, place{"haproxy.cache": peerFile("cache.cfg"),
		"haproxy.use": "http-request cache-use all\n\thttp-response cache-store all"}),
}

var filePeers = []Peer{
	before.with(withFiles, place{"routes": peerFile("files.toml")}),
	edge.with(withFiles, place{"routes": peerFile("files.toml")}),
	nginx.with(withFiles, place{
		"nginx.http":   "sendfile on; open_file_cache max=10000; open_file_cache_valid 60s;",
		"nginx.server": "location /cached/ { root {cache}; }"}),
	h2o.with(withFiles, place{"h2o.path": "file.dir: {cache}"}),
	caddy.with(withFiles, place{"caddy.path": "root * {cache}\n\tfile_server"}),
}

// All compress with the least work that they have a setting for: HAProxy has none.
var gzipPeers = []Peer{
	before.with(withGzip, place{"routes": peerFile("gzip.toml")}),
	edge.with(withGzip, place{"routes": peerFile("gzip.toml")}),
	nginx.with(withGzip, place{
		"nginx.http": "gzip on; gzip_comp_level 1; gzip_types application/json; gzip_buffers 16 16k;"}),
	haproxy.with(withGzip, place{
		"haproxy.use": "filter compression\n\tcompression algo gzip\n\tcompression type application/json"}),
	caddy.with(withGzip, place{"caddy.path": "encode {\n\t\tgzip 1\n\t}\n\t" + peerFile("path.caddy")}),
	envoy.with(withGzip, place{"envoy.filter": peerFile("gzip.yaml")}),
}

// A route for each of hostCount hosts, all to one origin.
var hostPeers = []Peer{
	before.with(withHosts, place{"routes": "{hosts}\n" + peerFile("route.toml")}).forHosts("hosts.toml"),
	edge.with(withHosts, place{"routes": "{hosts}\n" + peerFile("route.toml")}).forHosts("hosts.toml"),
	nginx.with(withHosts, place{"nginx.http": "server_names_hash_max_size 65536;\n{hosts}"}).forHosts("hosts.conf"),
	haproxy.with(withHosts, place{
		"haproxy.use": "use_backend %[req.hdr(host),map({hosts.file})]"}).forHosts("hosts.map"),
	caddy.with(withHosts, place{"caddy.sites": "import {hosts.file}"}).forHosts("hosts.caddy"),
	envoy.with(withHosts, place{"envoy.hosts": "{hosts}"}).forHosts("hosts.yaml"),
}

var http3Peers = []Peer{
	before.with(withHTTP3, http3Place), edge.with(withHTTP3, http3Place),
	nginx.with(withHTTP3, place{"nginx.listen": "listen {secure} quic;", "nginx.http": "quic_gso on;"}),
	haproxy.with(withHTTP3, place{"haproxy.bind": "bind quic4@{secure} ssl crt {both} alpn h3"}),
	caddy.with(withHTTP3, place{"caddy.protocols": "h1 h2 h2c h3"}),
	envoy.with(withHTTP3, place{"envoy.listener": peerFile("h3.yaml")}),
	{Name: quicGoName, named: true, answers: true, args: "quic-go --listen {secure} --cert {cert} --key {key}"},
	{Name: gtlsName, binary: gtlsName, named: true, answers: true, files: true,
		args: "--quiet --htdocs={cache} {ip} {secure.port} {key} {cert}"},
}

// http3Place has the listener of edge with TLS speak HTTP/3, too.
var http3Place = place{"versions": `["h1", "h2", "h3"]`, "h3": "h3.advertise = false"}

func edgePeer(name, binary string, optional bool, set place) Peer {
	return Peer{Name: name, optional: optional, binary: binary, version: "version", config: "edge.toml",
		args: "run -c {file}", set: set}
}

// newProgram is one of Programs.
func newProgram(name, version, config, args string) Peer {
	return Peer{Name: name, binary: name, version: version, config: config, args: args}
}

// with is p with more to do, which runs only scenarios that name it.
func (p Peer) with(what string, set place) Peer {
	p.Name, p.set, p.named, p.files = p.Name+what, set, true, p.files || what == withFiles
	return p
}

// forHosts is p with a piece of configuration, a file of peers, for each host.
func (p Peer) forHosts(file string) Peer {
	p.hosts = file
	return p
}
