package foreign

import (
	"regexp"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/syntax"
)

// What many words of other programs are here.
const (
	isRoute     = `is [[routes]] with pattern = "/path/*" and dest = "host:port"`
	isDest      = `is dest = "host:port" in [[routes]]`
	isHost      = `is host = "example.com" in [[routes]], or the beginning of its pattern`
	isListener  = `is [[listeners]] with listen = ":80"`
	isUpstream  = `is [upstreams.NAME] with backends = [{ address = "host:port" }]`
	isBackend   = `is backends = [{ address = "host:port" }] in [upstreams.NAME]`
	isRequest   = `is headers = { request = { Name = "value" } } in [[routes]]`
	isResponse  = `is headers = { response = { Name = "value" } } in [[routes]]`
	isConnect   = `is timeouts = { connect = "5s" } in [upstreams.NAME]`
	isRead      = `is timeouts = { first_byte = "60s", read = "60s" } in [[routes]] or [upstreams.NAME]`
	isIdle      = `is limits = { idle_timeout = "60s" } in [http]`
	isRetry     = `is retry = { attempts = 2 } in [upstreams.NAME]`
	isBalancing = `is load_balancing in [upstreams.NAME] or [upstream_defaults]; the default honours weights`
	isTrust     = `is trusted_proxies = ["10.0.0.0/8"] in [[listeners]]`
	isStrip     = `is rewrite = { strip_prefix = "/old" } in [[routes]]`
	isPath      = `is rewrite = { path = "/new{path}" } in [[routes]]`
	isCert      = `is cert = "a.pem" and key = "a.key" in [https] or [[certificates]]`
	isVerify    = `is tls = { verify = false } in [upstreams.NAME]`
	isSNI       = `is tls = { sni = "host" } in [upstreams.NAME]`
	isCondition = `is when = 'path starts_with "/api/"' in [[rules]] or [[routes]]`
	isAccessLog = `is [log] with output = ["/var/log/edge/access.log"]`
	isProtocol  = `is protocol = "h1" or "h2" in [upstreams.NAME]; h1 with kept connections is the default`
	isThreads   = `is worker_threads = 4; without it there is one for each processor`
	noFiles     = `has nothing here yet: edge serves no files; let a backend do it`
	noScripts   = `has nothing here: backends speak HTTP; put a server that speaks FastCGI between`
	isHealth    = `is [health_check] for all upstreams, or health_check = { … } in [upstreams.NAME]`
	isEjection  = `is outlier = { errors = 5, eject = "30s" } in [upstreams.NAME]`
	noCompress  = `has nothing here yet: answers are not compressed`
	isPasswords = `is type = "basic_auth" in [filters.NAME], and that name in filters`
	isCORS      = `is type = "cors" in [filters.NAME], and that name in filters`
	noAsking    = `has nothing here yet: no other service is asked; client_ca in [https] asks for certificates`
	isAddresses = `is allow and deny, with type = "ip", in [filters.NAME], and that name in filters`
	isRate      = `is limit = { rate = "10/s" } in [[rules]], or type = "rate_limit" in [filters.NAME]`
	isMetrics   = `is [metrics] with listen = ":9145"`
	isSplit     = `is when = 'percent(client.ip, 10)' in [[rules]] with dest, or weight in [[routes]]`
	noStreams   = `has nothing here: only HTTP is served`
	noBuffering = `has nothing here: bodies go on as they come`
	noACME      = `has nothing here yet: certificates come from files, or from cert = "internal"`
	isDiscover  = `is discover = "docker://label=value", "k8s://…" or another source in [upstreams.NAME]`
	isPages     = `is error_pages = { 5xx = "/etc/edge/5xx.html" }, with intercept_errors for those of backends`
	isFilter    = `is [filters.NAME], and that name in filters of [[routes]], [[rules]] or [defaults]`
	noModes     = `has nothing to set here: edge looks at the machine itself`
)

// words are words of other programs and what each is here. They have hints of their own where edge has no such
// key: people bring them along. Of a word that several programs have the first one counts. A word with a table before
// it is for that table.
var words = []struct{ of, here, words string }{
	{"nginx", `is dest = "http://host:port" in [[routes]]`, "proxy_pass"},
	{"nginx", `is dest with grpc = true in [[routes]]`, "grpc_pass"},
	{"nginx", isRoute, "location locations"},
	{"nginx", `is [http] or [https] with listen, and a host in the pattern of [[routes]]`, "server"},
	{"nginx", isBackend, "upstreams.server"},
	{"nginx", isHost, "server_name server_names"},
	{"nginx", `is a route without a host: pattern = "/*"`, "default_server"},
	{"nginx", noFiles, "root alias index autoindex try_files default_type"},
	{"nginx", `is respond, redirect or deny in [[rules]], or dest = "status:404" in [[routes]]`, "return"},
	{"nginx", isCondition, "if"},
	{"nginx", `is [maps.NAME], which texts ask as {map.NAME[header.host]}`, "map"},
	{"nginx", `is set = { NAME = "{header.host}" } in [[rules]], for texts with {local.NAME}`, "set"},
	{"nginx", noModes, "events sendfile tcp_nopush tcp_nodelay multi_accept use types_hash_max_size"},
	{"nginx", `has nothing here: "edge build" links modules, and "edge modules" lists them`, "modules load_module"},
	{"nginx", noStreams, "stream mail"},
	{"nginx", isThreads, "worker_processes"},
	{"nginx", `is limits = { connections = 10000 } in [[listeners]]; without it there is no limit`,
		"worker_connections"},
	{"nginx", `has nothing here: the limit is that of the system, LimitNOFILE of systemd`, "worker_rlimit_nofile"},
	{"nginx", `is pid_file = "/run/edge.pid"`, "pid"},
	{"nginx", isRequest, "proxy_set_header grpc_set_header"},
	{"nginx", isResponse, "proxy_pass_header add_header more_set_headers expires"},
	{"nginx", `is headers = { response = { Name = "" } } in [[routes]]`, "proxy_hide_header"},
	{"nginx", `is headers = { response = { Server = "" } } in [[routes]]`, "server_tokens"},
	{"nginx", isRead, "proxy_read_timeout"},
	{"nginx", isConnect, "proxy_connect_timeout"},
	{"nginx", `is user_timeout = "5m" in [upstreams.NAME]`, "proxy_send_timeout"},
	{"nginx", `is user_timeout = "5m" in [[listeners]]`, "send_timeout"},
	{"nginx", isProtocol, "proxy_http_version"},
	{"nginx", noBuffering, "proxy_buffering proxy_buffers proxy_buffer_size"},
	{"nginx", `is buffer_request = "10m" in [[routes]]; without it bodies stream`,
		"proxy_request_buffering client_body_buffer_size"},
	{"nginx", `is rewrite_location = true in [[routes]]`, "proxy_redirect"},
	{"nginx", `has nothing here yet: cookies go on as the backend writes them`, "proxy_cookie_path"},
	{"nginx", isRetry, "proxy_next_upstream proxy_next_upstream_tries"},
	{"nginx", `has nothing here yet: answers are not kept`, "proxy_cache proxy_cache_path proxy_cache_valid"},
	{"nginx", isVerify, "proxy_ssl_verify"},
	{"nginx", isSNI, "proxy_ssl_name proxy_ssl_server_name"},
	{"nginx", `is tls = { ca = "ca.pem" } in [upstreams.NAME]`, "proxy_ssl_trusted_certificate"},
	{"nginx", `is tls = { cert = "a.pem", key = "a.key" } in [upstreams.NAME]`, "proxy_ssl_certificate"},
	{"nginx", `has nothing here yet: trusted_proxies believes X-Forwarded-For and Forwarded`, "proxy_protocol"},
	{"nginx", `is limits = { body_size = "10m" } in [http]; without it there is no limit`, "client_max_body_size"},
	{"nginx", `is limits = { min_rate = "240/s" } in [http]`, "client_body_timeout"},
	{"nginx", `is limits = { header_timeout = "10s" } in [http]`, "client_header_timeout"},
	{"nginx", `is limits = { header_size = "32k" } in [http]`, "client_header_buffer_size large_client_header_buffers"},
	{"nginx", isIdle, "keepalive_timeout"},
	{"nginx", `is pool = { idle = 128 } in [upstreams.NAME]; connections are kept without it`, "keepalive"},
	{"nginx", isEjection, "max_fails fail_timeout"},
	{"nginx", `is breaker = { max_requests = 100 } in [upstreams.NAME]`, "max_conns"},
	{"nginx", `is weight = 0`, "down"},
	{"nginx", `is load_balancing = "ip_hash" in [upstreams.NAME]`, "ip_hash"},
	{"nginx", isBalancing, "least_conn random"},
	{"nginx", noCompress, "gzip gzip_types gzip_proxied gzip_vary brotli"},
	{"nginx", `is tls = true with cert and key in [[listeners]], or [https]`, "ssl"},
	{"nginx", `is min_version = "1.2" in [tls] or [https]`, "ssl_protocols"},
	{"nginx", `is ciphers in [tls] or [https], for TLS 1.2; the default is a safe choice`, "ssl_ciphers"},
	{"nginx", `has nothing here: the best of what both sides know is used`, "ssl_prefer_server_ciphers"},
	{"nginx", `is curves = ["X25519", "P-256"] in [tls] or [https]`, "ssl_ecdh_curve"},
	{"nginx", `has nothing here: suites with such parameters are not offered`, "ssl_dhparam"},
	{"nginx", `is session_tickets = true in [tls], the default`, "ssl_session_cache"},
	{"nginx", `is ticket_rotation = "12h" in [tls]`, "ssl_session_timeout"},
	{"nginx", `is session_tickets in [tls] or [https]`, "ssl_session_tickets"},
	{"nginx", `is client_ca = "clients.pem" in [tls] or [https]`, "ssl_client_certificate"},
	{"nginx", `is client_auth = "require" in [tls] or [https]`, "ssl_verify_client"},
	{"nginx", `is ocsp = "a.ocsp" beside cert: a program of yours fetches the response`, "ssl_stapling"},
	{"nginx", `has nothing here: keys stand in files without a password`, "ssl_password_file"},
	{"nginx", `is protocols = ["h1", "h2"] in [https]; both are the default`, "http2"},
	{"nginx", `has nothing here yet: HTTP/1 and HTTP/2 are served`, "http3"},
	{"nginx", `is line = "{client.ip} {status}" or format = "combined" in [log]`, "log_format"},
	{"nginx", isRate, "limit_req limit_req_zone"},
	{"nginx", `has nothing here yet: connections are not counted by client`, "limit_conn limit_rate"},
	{"nginx", isPasswords, "auth_basic auth_basic_user_file"},
	{"nginx", noAsking, "auth_request auth_jwt"},
	{"nginx", `is when = 'client.ip not in list.NAME' of the filter that asks for passwords`, "satisfy"},
	{"nginx", `is methods, with type = "request_limits", in [filters.NAME], and that name in filters`, "limit_except"},
	{"nginx", isSplit, "split_clients"},
	{"nginx", `is databases = ["country.mmdb"] in [geo]: when = 'geo.country == "DE"' in [[rules]]`, "geoip2"},
	{"nginx", `is when = 'hex(hmac(secret.NAME, path)) == query.sig' with [secrets.NAME]`, "secure_link"},
	{"nginx", `is deny = true in [[tls.rules]]`, "ssl_reject_handshake"},
	{"nginx", isPages, "error_page"},
	{"nginx", isTrust, "set_real_ip_from real_ip_header"},
	{"nginx", noScripts, "fastcgi_pass uwsgi_pass scgi_pass"},
	{"nginx", isMetrics, "stub_status"},
	{"HAProxy", `is [[listeners]] with listen = ":80", and [[routes]]`, "frontend frontends"},
	{"HAProxy", isUpstream, "backend"},
	{"HAProxy", `is dest = "NAME" in [[routes]]`, "routes.backend"},
	{"HAProxy", `is listen = ":80" in [[listeners]]`, "bind"},
	{"HAProxy", `is dest = "NAME" in [[routes]] with a pattern, or in [[rules]] with when`, "use_backend"},
	{"HAProxy", `is [[routes]] with pattern = "/*" and dest = "NAME"`, "default_backend"},
	{"HAProxy", isBalancing, "balance"},
	{"HAProxy", noStreams, "mode"},
	{"HAProxy", isCondition, "acl"},
	{"HAProxy", `has no switches of that kind here: kept connections and X-Forwarded-For need none`, "option"},
	{"HAProxy", isHealth, "httpchk timeout_check http_check check inter"},
	{"HAProxy", `has nothing to set here: backends are told by X-Forwarded-For`, "forwardfor"},
	{"HAProxy", `is limits = { connections = 10000 } in [[listeners]]`, "maxconn"},
	{"HAProxy", `is breaker = { max_requests = 100 } in [upstreams.NAME]`, "upstreams.maxconn"},
	{"HAProxy", `is timeouts = { … } in [[routes]] or [upstreams.NAME], and limits = { … } in [http]`, "timeout"},
	{"HAProxy", isIdle, "timeout_client"},
	{"HAProxy", isRead, "timeout_server"},
	{"HAProxy", isConnect, "timeout_connect"},
	{"HAProxy", `is limits = { header_timeout = "10s" } in [http]`, "timeout_http_request"},
	{"HAProxy", `is pool = { queue_timeout = "1s" } in [upstreams.NAME]`, "timeout_queue"},
	{"HAProxy", `is timeouts = { idle = "1h" } in [[routes]]`, "timeout_tunnel"},
	{"HAProxy", `is sticky = { cookie = "edge" } in [upstreams.NAME]`, "cookie"},
	{"HAProxy", `is sticky in [upstreams.NAME], or limit in [[rules]] for rates`, "stick stick_table"},
	{"HAProxy", `is deny, tarpit, headers, rewrite, query, set or timeout in [[rules]]`, "http_request"},
	{"HAProxy", `is drop = true in [[rules]], [[listeners.rules]] or [[routes.rules]]`, "silent_drop"},
	{"HAProxy", `is log = false in [[rules]]`, "dontlognull dontlog_normal"},
	{"HAProxy", `is tls_rules in [[listeners]], or [[tls.rules]]`, "strict_sni"},
	{"HAProxy", isResponse, "http_response"},
	{"HAProxy", isPages, "errorfile errorfiles"},
	{"HAProxy", isThreads, "nbthread nbproc"},
	{"HAProxy", `is [metrics] with listen = ":9145", or "edge status" and [admin]`, "stats"},
	{"HAProxy", noCompress, "compression"},
	{"HAProxy", isRetry, "retries"},
	{"HAProxy", isCert, "crt"},
	{"HAProxy", `has nothing here; user and group give up the rights of root`, "chroot"},
	{"HAProxy", `has nothing to set here: connections to backends are kept, see pool in [upstreams.NAME]`,
		"http_reuse"},
	{"HAProxy", `is [[routes]] with pattern = "/healthz" and dest = "status:200"`, "monitor_uri"},
	{"HAProxy", isAddresses, "tcp_request"},
	{"Caddy", isDest, "reverse_proxy"},
	{"Caddy", isRoute, "handle route apps handlers site"},
	{"Caddy", isStrip, "handle_path"},
	{"Caddy", `is respond = { status = 200, body = "…" } in [[rules]]`, "respond"},
	{"Caddy", `is when = 'client.ip in list.NAME' with [lists.NAME]`, "remote_ip client_ip"},
	{"Caddy", `is redirect = { to = "https://example.com{path}" } in [[routes]]`, "redir"},
	{"Caddy", noFiles, "file_server templates"},
	{"Caddy", noScripts, "php_fastcgi"},
	{"Caddy", noCompress, "encode"},
	{"Caddy", isRequest, "header_up"},
	{"Caddy", isResponse, "header_down"},
	{"Caddy", isPasswords, "basicauth basic_auth"},
	{"Caddy", noAsking, "forward_auth"},
	{"Caddy", isPages, "handle_errors"},
	{"Caddy", `is dest = "status:503" in [[routes]]`, "error"},
	{"Caddy", isBalancing, "lb_policy"},
	{"Caddy", isRetry, "lb_retries lb_try_duration"},
	{"Caddy", isHealth, "health_uri health_path health_interval"},
	{"Caddy", isProtocol, "transport"},
	{"Caddy", isVerify, "tls_insecure_skip_verify"},
	{"Caddy", isSNI, "tls_server_name"},
	{"Caddy", noBuffering, "flush_interval"},
	{"Caddy", noACME, "auto_https email on_demand"},
	{"Caddy", `is limits = { body_size = "10m" } in [http]`, "request_body"},
	{"Caddy", isPath, "uri"},
	{"Caddy", isCondition, "matcher"},
	{"Caddy", `is include = ["conf.d/*.toml"]`, "import"},
	{"Traefik", isRoute, "routers router"},
	{"Traefik", isFilter, "middlewares middleware"},
	{"Traefik", isAddresses, "ipallowlist ipwhitelist sourcerange"},
	{"Traefik", isCORS, "accesscontrolalloworiginlist accesscontrolallowmethods"},
	{"Traefik", `is type = "security_headers" in [filters.NAME], and that name in filters`, "stsseconds framedeny"},
	{"Traefik", isMetrics, "prometheus"},
	{"Traefik", isListener, "entrypoints entrypoint"},
	{"Traefik", isUpstream, "listeners.services loadbalancer load_balancer service"},
	{"Traefik", `is listener = "NAME" in [[routes]]`, "routes.entrypoints"},
	{"Traefik", `is dest = "NAME" in [[routes]]`, "routes.service"},
	{"Traefik", `is pattern in [[routes]]: pattern = "example.com/api/*"`, "rule"},
	{"Traefik", isBackend, "servers"},
	{"Traefik", `is address = "host:port"`, "upstreams.backends.url"},
	{"Traefik", isDiscover, "providers"},
	{"Traefik", noACME, "certresolver cert_resolver certificatesresolvers"},
	{"Traefik", `is host = "keep" or "backend" in [upstreams.NAME]`, "passhostheader"},
	{"", `is priority = 0 in [[routes]]; which backends come first is tier = 1`, "upstreams.priority"},
	{"Envoy", `is tier = 1`, "upstreams.backends.priority"},
	{"", `is priority = 0 in [[routes]]`, "priority"},
	{"Traefik", isStrip, "stripprefix"},
	{"Traefik", `is rewrite = { add_prefix = "/new" } in [[routes]]`, "addprefix"},
	{"Traefik", `is redirect_to_https = true in [http]`, "redirectscheme"},
	{"Traefik", `is redirect = { to = "/new/{match.1}" } in [[rules]] with when = 'path ~ "…"'`, "redirectregex"},
	{"Traefik", isPath, "replacepath"},
	{"Traefik", `is rewrite = "/new/{match.1}" in [[rules]], when = 'path ~ "^/old/(.*)"'`, "replacepathregex"},
	{"Traefik", isRate, "ratelimit rate_limit"},
	{"Traefik", noAsking, "forwardauth"},
	{"Traefik", isAccessLog, "accesslog"},
	{"Traefik", isVerify, "serverstransport serverstransports insecureskipverify"},
	{"Traefik", isHealth, "healthcheck"},
	{"Traefik", `is [[routes]] with pattern = "/ping" and dest = "status:200"`, "ping"},
	{"Traefik", isTrust, "forwardedheaders trustedips"},
	{"Traefik", `is [admin] with listen; there is no dashboard`, "api"},
	{"Traefik", noStreams, "tcp udp"},
	{"Envoy", `is [[listeners]], [[routes]] and [upstreams.NAME] at the top of the file`, "static_resources"},
	{"Envoy", isDiscover, "dynamic_resources"},
	{"Envoy", isUpstream, "clusters cluster"},
	{"Envoy", isRoute, "virtual_hosts route_config"},
	{"Envoy", `is [[listeners]] and [[routes]]`, "filter_chains"},
	{"Envoy", isFilter, "http_filters"},
	{"Envoy", isCORS, "cors"},
	{"Envoy", `is type = "csrf" in [filters.NAME], and that name in filters`, "csrf"},
	{"Envoy", `is type = "fault" in [filters.NAME], and that name in filters`, "fault"},
	{"Envoy", isBackend, "load_assignment lb_endpoints endpoints endpoint"},
	{"Envoy", isListener, "socket_address"},
	{"Envoy", isConnect, "connect_timeout"},
	{"Envoy", isPath, "prefix_rewrite"},
	{"Envoy", `is host = "example.com" in [upstreams.NAME]`, "host_rewrite_literal"},
	{"Envoy", isHost, "domains"},
	{"Envoy", isEjection, "outlier_detection"},
	{"Envoy", `is breaker = { max_requests = 100 } in [upstreams.NAME]`, "circuit_breakers"},
	{"Envoy", isRetry, "retry_policy"},
	{"Envoy", `is dest = "status:200" in [[routes]]`, "direct_response"},
	{"Apache", isRoute, "proxypass virtualhost"},
	{"Apache", `is rewrite_location = true in [[routes]]`, "proxypassreverse"},
	{"Apache", `is host = "keep" in [upstreams.NAME], the default`, "proxypreservehost"},
	{"Apache", noFiles, "documentroot"},
	{"Apache", isHost, "servername serveralias"},
	{"Apache", isRequest, "requestheader"},
	{"Apache", isBackend, "balancermember"},
	{"Apache", isCert, "sslcertificatefile sslcertificatekeyfile"},
	{"Apache", isAccessLog, "customlog"},
	{"Apache", `is error_log = "/var/log/edge/error.log"`, "errorlog"},
	{"Apache", `is rewrite = "/new/{match.1}" in [[rules]], when = 'path ~ "^/old/(.*)"'`, "rewriterule"},
	{"h2o", isThreads, "num_threads"},
	{"h2o", isRoute, "mapping"},
	{"h2o", `is limits = { body_size = "10m" } in [http]`, "limit_request_body"},
	{"", `is a part of listen = ":80" in [http]`, "port"},
	{"", `is a part of listen = [":80", ":81"] in [http]`, "ports"},
	{"", `is a part of address = "host:port"`, "upstreams.backends.port upstreams.backends.host"},
	{"", `is cookie = "edge_sid"`, "upstreams.sticky.name"},
	{"", `has nothing here: the cookie is for the host that was asked`, "upstreams.sticky.domain"},
	{"", `has nothing here: the cookie has it where the client came over TLS`, "upstreams.sticky.secure"},
	{"", `is failover = "NAME" in [upstreams.NAME]`, "fallback backup_upstream"},
	{"", `is breaker = { max_requests = 200 } in [upstreams.NAME]`, "circuit_breaker"},
	{"", `is breaker = { max_connections = 1000 } in [upstreams.NAME]`, "upstreams.max_connections"},
	{"", `is zone = "b" of a backend and of [global]`, "locality"},
	{"", `is passive_counts = true`, "upstreams.health_check.passive health_check.passive"},
	{"", `is [register]`, "registration"},
	{"", `is to = "etcd://host:2379/name/"`, "register.url register.service register.registry"},
	{"", isDest, "target destination proxy_to forward_to url"},
	{"", isHost, "domain hostname"},
	{"", `is path = "/api/*" in [[routes]]`, "prefix"},
	{"", isCert, "certificate certs"},
	{"", isSplit, "canary"},
	{"", `is "edge build --with MODULE", and its types in [filters.NAME] and the like`, "plugins plugin"},
	{"", `is type = "maintenance" in [filters.NAME], and that name in filters`, "maintenance"},
	{"", noFiles, "static"},
	{"", noACME, "letsencrypt"},
}

// Hints returns what the hint for each of the words says after the word.
func Hints() map[string]string {
	hints := make(map[string]string)
	for _, row := range slices.Backward(words) {
		of := ""
		if row.of != "" {
			of = "of " + row.of + " "
		}
		for _, word := range strings.Fields(row.words) {
			hints[word] = of + row.here
		}
	}
	return hints
}

// programs are those whose files are told from a file of edge.
var programs = []struct {
	name string
	says string                       // what its words are called here
	text func() *regexp.Regexp        // a line that only its files have; nil: they are of a format that edge reads
	tree func(root *syntax.Node) bool // whether it is one of its files; nil: they are of no such format
}{
	{name: "HAProxy", says: "bind is listen, use_backend is dest, backend is [upstreams.NAME]",
		text: lines(`(?:frontend|backend|listen|defaults|global)(?:[ \t]+[\w.-]+)?[ \t]*(?:#.*)?`,
			`[ \t]+(?:use_backend|default_backend|bind|balance|server [\w.-]+)[ \t]+[^={\n]+`)},
	{name: "nginx", says: "server is [http], location is pattern, proxy_pass is dest, upstream is [upstreams.NAME]",
		text: lines(`[ \t]*(?:http|events|server|upstream[ \t]+\S+|location[ \t].*)[ \t]*\{[ \t]*(?:#.*)?`,
			`[ \t]*(?:http|events|server|upstream[ \t]+\S+|location[ \t].*)[ \t]*\{[^=\n]*;.*`,
			`[ \t]*(?:proxy_pass|server_name|listen|worker_processes|root|return)[ \t]+[^={}\n]+;.*`)},
	{name: "Apache", says: "VirtualHost is [http] and a host in pattern, ProxyPass is pattern and dest",
		text: lines(`[ \t]*<(?:VirtualHost|Location|Proxy|Directory|IfModule)\b.*`,
			`[ \t]*(?:ProxyPass|ProxyPassReverse|LoadModule|DocumentRoot|ServerName)[ \t]+[^=\s].*`)},
	{name: "Caddy", says: "the address before { is listen and the host of pattern, reverse_proxy is dest",
		text: lines(`[ \t]*(?:reverse_proxy|file_server|handle|handle_path|php_fastcgi|redir|encode|respond)` +
			`(?:[ \t]+[^=\s].*)?`),
		tree: func(root *syntax.Node) bool { return within(root, "apps", "http") != nil }},
	{name: "Traefik", says: "entryPoints are [[listeners]], a rule is pattern, a service is [upstreams.NAME]",
		tree: func(root *syntax.Node) bool {
			for _, path := range [][]string{{"http", "routers"}, {"http", "services"}, {"http", "middlewares"},
				{"tcp", "routers"}, {"entryPoints"}, {"certificatesResolvers"}, {"providers"}} {
				if within(root, path...) != nil {
					return true
				}
			}
			return false
		}},
	{name: "Envoy", says: "a route is [[routes]], a cluster is [upstreams.NAME], socket_address is listen",
		tree: func(root *syntax.Node) bool {
			return within(root, "static_resources") != nil || within(root, "dynamic_resources") != nil
		}},
	{name: "h2o", says: "hosts and paths are pattern, proxy.reverse.url is dest",
		tree: func(root *syntax.Node) bool {
			hosts := within(root, "hosts")
			return hosts != nil && len(hosts.Children) > 0 && within(hosts.Children[0], "paths") != nil
		}},
}

// lines returns what finds a whole line that is one of these.
func lines(some ...string) func() *regexp.Regexp {
	return syntax.Expr(`(?m)^(?:` + strings.Join(some, "|") + `)[ \t\r]*$`)
}

// within returns the table or list that the names lead to, or nil.
func within(n *syntax.Node, names ...string) *syntax.Node {
	for _, name := range names {
		if n = n.Child(name); n == nil || n.Kind != syntax.KindTable && n.Kind != syntax.KindList {
			return nil
		}
	}
	return n
}

// ownHeader is the header of a TOML table; no file of nginx, HAProxy, Apache or Caddy has one.
var ownHeader = syntax.Expr(`(?m)^[ \t]*\[\[?[\w. "-]+\]\]?[ \t]*(?:#.*)?\r?$`)

// What a small file says here, in both ways to write it.
const (
	exampleTOML = `
[http]
listen = ":80"
[[routes]]
pattern = "example.com/*"
dest = "http://127.0.0.1:3000"`
	exampleYAML = `
http:
  listen: ":80"
routes:
  - pattern: "example.com/*"
    dest: "http://127.0.0.1:3000"`
)

// File recognises a file of another program and says so. root is nil when it could not be parsed.
func File(src *syntax.Source, root *syntax.Node) (at syntax.Span, message, hint string) {
	for _, p := range programs {
		var found bool
		if root != nil {
			found = p.tree != nil && within(root, "routes") == nil && p.tree(root)
		} else {
			found = p.text != nil && p.text().Match(src.Text) && !ownHeader().Match(src.Text)
		}
		if !found {
			continue
		}
		example := exampleTOML
		if src.Colon {
			example = exampleYAML
		}
		return src.Begin(), "this is a configuration of " + p.name, "in edge " + p.says + ":" + example
	}
	return syntax.Span{}, "", ""
}
