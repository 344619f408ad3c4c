package proxybench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	floorName  = "floor"
	nginxName  = "nginx"
	beforeName = "before"

	versionTimeout = 5 * time.Second
)

// place is where a peer runs: its addresses, a directory of its own, the binaries. Immutable.
type place struct {
	listen string // host:port; plain HTTP/1
	h2c    string // host:port
	secure string // host:port; TLS
	origin string // host:port
	keys   keyPair
	dir    string
	self   string // edge-bench
	binary string // the peer's, when it is not self
}

// Peer is a proxy that is measured. Immutable.
type Peer struct {
	Name     string
	optional bool                                // runs only when named
	plain    bool                                // speaks neither HTTP/2 nor TLS
	binary   string                              // looked up in PATH; empty: edge-bench itself
	version  []string                            // arguments that print it
	config   func(p place) (name, text string)   // a file written into dir; nil: none
	argv     func(p place, file string) []string // the command line without the binary
	env      []string
}

// Peers are all there are, in the order they take turns. The floor comes first, always.
var Peers = []Peer{
	{Name: floorName, plain: true, argv: floorArgs("runtime"), env: oneProc},
	{Name: "floor-syscall", optional: true, argv: floorArgs("syscall"), env: oneProc},
	{
		Name: beforeName, optional: true, binary: beforeName, version: []string{"version"}, config: edgeConfig(false),
		argv: edgeArgs,
	},
	{Name: "edge", binary: "edge", version: []string{"version"}, config: edgeConfig(false), argv: edgeArgs},
	{Name: "edge+log", binary: "edge", version: []string{"version"}, config: edgeConfig(true), argv: edgeArgs},
	{
		Name: "edge+filters", optional: true, binary: "edge", version: []string{"version"}, config: edgeFilters,
		argv: edgeArgs,
	},
	{
		Name: "edge+rules", optional: true, binary: "edge", version: []string{"version"}, config: edgeRules,
		argv: edgeArgs,
	},
	{Name: nginxName, binary: "nginx", version: []string{"-v"}, config: nginxConfig, argv: nginxArgs},
	{Name: "haproxy", binary: "haproxy", version: []string{"-v"}, config: haproxyConfig, argv: haproxyArgs},
	{Name: "h2o", binary: "h2o", version: []string{"-v"}, config: h2oConfig, argv: h2oArgs},
	{Name: "fasthttp", plain: true, argv: goPeerArgs("fasthttp"), env: oneProc},
	{Name: "nethttp", plain: true, argv: goPeerArgs("nethttp"), env: oneProc},
}

// oneProc fits Go peers to their one core. edge finds that out by itself.
var oneProc = []string{"GOMAXPROCS=1"}

// FindPeers returns the named peers and the floor, in the order they take turns; no name means all that are not
// optional. The peer "before" is Options.Before.
func FindPeers(names []string) ([]Peer, error) {
	if len(names) > 0 {
		return pick(Peers, append([]string{floorName}, names...), "peer", func(p Peer) string { return p.Name })
	}
	return slices.DeleteFunc(slices.Clone(Peers), func(p Peer) bool { return p.optional }), nil
}

// withBefore adds the peer "before" to names; no name means all that are not optional.
func withBefore(names []string) []string {
	out := append([]string{beforeName}, names...)
	for _, p := range Peers {
		if len(names) == 0 && !p.optional {
			out = append(out, p.Name)
		}
	}
	return out
}

// locate finds the peer's binary; edge is looked for beside edge-bench first.
func (p Peer) locate(o *Options) (string, error) {
	switch p.binary {
	case "":
		return o.Self, nil
	case beforeName:
		return exec.LookPath(o.Before)
	case "edge":
		if o.Edge == "" {
			return exec.LookPath(filepath.Join(filepath.Dir(o.Self), "edge"))
		}
		return exec.LookPath(o.Edge)
	}
	if path, err := exec.LookPath(p.binary); err == nil {
		return path, nil
	}
	return exec.LookPath(filepath.Join("/usr/sbin", p.binary)) // not in every user's PATH
}

// command writes the peer's configuration and returns its command line.
func (p Peer) command(at place) ([]string, error) {
	file := ""
	if p.config != nil {
		name, text := p.config(at)
		file = filepath.Join(at.dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("configuration of %s: %w", p.Name, err)
		}
	}
	return append([]string{at.binary}, p.argv(at, file)...), nil
}

// describe is the first line of what the peer prints as its version.
func (p Peer) describe(ctx context.Context, binary string) string {
	if p.version == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	out, _ := exec.CommandContext(ctx, binary, p.version...).CombinedOutput()
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}

func floorArgs(park string) func(place, string) []string {
	return func(p place, _ string) []string {
		return []string{"floor", "--listen", p.listen, "--origin", p.origin, "--park", park}
	}
}

func goPeerArgs(name string) func(place, string) []string {
	return func(p place, _ string) []string {
		return []string{"peer", name, "--listen", p.listen, "--origin", p.origin}
	}
}

func edgeArgs(_ place, file string) []string { return []string{"run", "-c", file} }

func edgeConfig(accessLog bool) func(place) (string, string) {
	return func(p place) (string, string) {
		output := "[]"
		if accessLog {
			output = fmt.Sprintf("[%q]", filepath.Join(p.dir, "access.log"))
		}
		return edgeFile(p, output, fmt.Sprintf("[[routes]]\npattern = \"/\"\ndest = %q\n", p.origin))
	}
}

// edgeFilters has ten filters that look at each request and let it pass.
func edgeFilters(p place) (string, string) {
	var text, names strings.Builder
	for i := range 10 {
		fmt.Fprintf(&names, "%q, ", fmt.Sprintf("f%d", i))
		fmt.Fprintf(&text, "[filters.f%d]\n%s\n", i, []string{
			`type = "csrf"`,
			"type = \"ip\"\ndeny = [\"192.0.2.0/24\"]",
			"type = \"request_limits\"\nmethods = [\"GET\", \"HEAD\"]",
		}[i%3])
	}
	fmt.Fprintf(&text, "[[routes]]\npattern = \"/\"\ndest = %q\nfilters = [%s]\n", p.origin, &names)
	return edgeFile(p, "[]", text.String())
}

// edgeRules asks five conditions, two of them regular expressions, of which the last takes what a browser asks of the
// scenario, and then rewrites the path and sets two fields.
func edgeRules(p place) (string, string) {
	return edgeFile(p, "[]", strings.ReplaceAll(`[[routes]]
path = "/small"
when = 'header.user-agent ~ "(?i)(bot|crawl|spider)[/ ]v?\d+"'
dest = "ORIGIN"

[[routes]]
path = "/small"
when = 'client.ip in {10.0.0.0/8 172.16.0.0/12}'
dest = "ORIGIN"

[[routes]]
path = "/small"
when = 'cookie.theme == "light" and method == "GET"'
dest = "ORIGIN"

[[routes]]
path = "/small"
when = 'header.x-beta == "1" or query.beta == "1"'
dest = "ORIGIN"

[[routes]]
path = "/*"
when = 'path ~ "^/sm[a-z]+$"'
dest = "ORIGIN"
rewrite = { path = '/{path.cut_prefix("/")}' }
headers = { request = { X-Client = "{client.ip}", X-Page = "{path.basename()}" } }

[[routes]]
path = "/*"
dest = "ORIGIN"
`, "ORIGIN", p.origin))
}

// edgeFile is a configuration of edge with routes, whose access log goes to output.
func edgeFile(p place, output, routes string) (name, text string) {
	return "edge.toml", fmt.Sprintf(`[global]
worker_threads = 1

[[listeners]]
listen = %q

[[listeners]]
listen = %q
protocols = ["h2"]

[[listeners]]
listen = %q
tls = true
protocols = ["h1", "h2"]

[[certificates]]
cert = %q
key = %q

%s
[log]
format = "json"
output = %s
`, p.listen, p.h2c, p.secure, p.keys.cert, p.keys.key, routes, output)
}

// asRoot is line when we run as root: the peers would change to a user who cannot enter our
// directory.
func asRoot(line string) string {
	if os.Geteuid() == 0 {
		return line
	}
	return ""
}

func nginxArgs(p place, file string) []string {
	return []string{"-p", p.dir, "-c", file, "-e", "stderr"}
}

// nginxConfig follows ngx_http_upstream_module on keepalive; requests are passed on as they come
// and answers never go to disk.
func nginxConfig(p place) (string, string) {
	return "nginx.conf", fmt.Sprintf(`daemon off;
worker_processes 1;
error_log stderr crit;
pid %[3]s/nginx.pid;
%[4]s
events {
	worker_connections 8192;
	multi_accept on;
}
http {
	access_log off;
	tcp_nodelay on;
	keepalive_timeout 300s;
	keepalive_requests 1000000000;
	client_max_body_size 0;
	client_body_buffer_size 128k;
	client_body_temp_path %[3]s/body;
	proxy_temp_path %[3]s/proxy;
	fastcgi_temp_path %[3]s/fastcgi;
	uwsgi_temp_path %[3]s/uwsgi;
	scgi_temp_path %[3]s/scgi;
	upstream origin {
		server %[2]s;
		keepalive 1024;
		keepalive_requests 1000000000;
		keepalive_timeout 300s;
	}
	ssl_certificate %[5]s;
	ssl_certificate_key %[6]s;
	ssl_protocols TLSv1.2 TLSv1.3;
	ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
	ssl_session_cache shared:tls:10m;
	server {
		listen %[1]s backlog=4096 deferred;
		listen %[7]s backlog=4096 deferred http2;
		listen %[8]s backlog=4096 deferred ssl http2;
		location / {
			proxy_pass http://origin;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Host $host;
			proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
			proxy_request_buffering off;
			proxy_max_temp_file_size 0;
			proxy_buffers 16 32k;
			proxy_busy_buffers_size 64k;
		}
	}
}
`, p.listen, p.origin, p.dir, asRoot("user root;"), p.keys.cert, p.keys.key, p.h2c, p.secure)
}

func haproxyArgs(_ place, file string) []string { return []string{"-db", "-q", "-f", file} }

// haproxyConfig shares idle connections between all clients, as its manual advises for origins that
// do not tell clients apart.
func haproxyConfig(p place) (string, string) {
	return "haproxy.cfg", fmt.Sprintf(`global
	nbthread 1
	maxconn 8192
	ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256

defaults
	mode http
	timeout connect 5s
	timeout client 300s
	timeout server 300s
	option forwardfor
	http-reuse always

frontend in
	bind %[1]s defer-accept backlog 4096
	bind %[3]s defer-accept backlog 4096 proto h2
	bind %[4]s defer-accept backlog 4096 ssl crt %[5]s alpn h2,http/1.1
	default_backend origin

backend origin
	server origin %[2]s pool-purge-delay 300s
`, p.listen, p.origin, p.h2c, p.secure, p.keys.both)
}

func h2oArgs(_ place, file string) []string { return []string{"-c", file} }

func h2oConfig(p place) (string, string) {
	listen := func(addr, more string) string {
		host, port, _ := strings.Cut(addr, ":")
		return fmt.Sprintf("listen:\n  host: %s\n  port: %s\n%s", host, port, more)
	}
	listens := listen(p.listen, "") + listen(p.h2c, "") + listen(p.secure, fmt.Sprintf(
		"  ssl:\n    certificate-file: %s\n    key-file: %s\n", p.keys.cert, p.keys.key))
	return "h2o.yaml", fmt.Sprintf(`num-threads: 1
max-connections: 8192
%s
%shosts:
  default:
    paths:
      /:
        proxy.reverse.url: "http://%s/"
        proxy.preserve-host: ON
        proxy.timeout.keepalive: 300000
`, asRoot("user: root"), listens, p.origin)
}
