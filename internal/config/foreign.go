package config

import (
	"regexp"
	"strings"

	"github.com/edge-proxy/edge/internal/config/syntax"
)

// foreignWords has in each row what edge has for words of other programs, then these words, each list after the name of
// its program: a list without a name is of no program, or of several. Such words have hints of their own where edge has
// no such key: people bring them along. A word with a table before it is for that table.
var foreignWords = [][2]string{
	{`is dest = "http://host:port" in [[routes]]`, "nginx: proxy_pass"},
	{`is dest with grpc = true in [[routes]]`, "nginx: grpc_pass"},
	{`is [[routes]] with pattern = "/path/*" and dest = "host:port"`,
		"nginx: location locations; Caddy: handle route apps handlers site; Traefik: routers router; " +
			"Envoy: virtual_hosts route_config; Apache: proxypass virtualhost; h2o: mapping"},
	{`is [http] or [https] with listen, and a host in the pattern of [[routes]]`, "nginx: server"},
	{`is backends = [{ address = "host:port" }] in [upstreams.NAME]`,
		"nginx: upstreams.server; Traefik: servers; Envoy: load_assignment lb_endpoints endpoints endpoint; " +
			"Apache: balancermember"},
	{`is host = "example.com" in [[routes]], or the beginning of its pattern`,
		"nginx: server_name server_names; Envoy: domains; Apache: servername serveralias; domain hostname"},
	{`is a route without a host: pattern = "/*"`, "nginx: default_server"},
	{`is dest = "static:/srv/www" in [[routes]], or type = "static" in [destinations.NAME]`,
		"nginx: root alias index autoindex default_type; Caddy: file_server templates; Apache: documentroot; " +
			"static"},
	{`is try = ["{path}"], and fallback = "NAME" for @NAME, in [destinations.NAME] of type "static"`,
		"nginx: try_files"},
	{`is respond, redirect or deny in [[rules]], or dest = "status:404" in [[routes]]`, "nginx: return"},
	{`is when = 'path starts_with "/api/"' in [[rules]] or [[routes]]`, "nginx: if; HAProxy: acl; Caddy: matcher"},
	{`is [maps.NAME], which texts ask as {map.NAME[header.host]}`, "nginx: map"},
	{`is set = { NAME = "{header.host}" } in [[rules]], for texts with {local.NAME}`, "nginx: set"},
	{`has nothing to set here: edge looks at the machine itself`,
		"nginx: events sendfile tcp_nopush tcp_nodelay multi_accept use types_hash_max_size"},
	{`has nothing here: "edge build" links modules, and "edge modules" lists them`, "nginx: modules load_module"},
	{`is [services.NAME] with type = "tcp", listen = ":5432" and dest`, "nginx: stream; Traefik: tcp"},
	{`has nothing here: HTTP and TCP are served, UDP not yet`, "nginx: mail; Traefik: udp; services.protocol"},
	{`is worker_threads = 4; without it there is one for each processor`,
		"nginx: worker_processes; HAProxy: nbthread nbproc; h2o: num_threads"},
	{`is limits = { connections = 10000 } in [[listeners]]; without it there is no limit`, "nginx: worker_connections"},
	{`has nothing here: the limit is the system's, LimitNOFILE of systemd`, "nginx: worker_rlimit_nofile"},
	{`is pid_file = "/run/edge.pid"`, "nginx: pid"},
	{`is headers = { request = { Name = "value" } } in [[routes]]`,
		"nginx: proxy_set_header grpc_set_header; Caddy: header_up; Apache: requestheader"},
	{`is headers = { response = { Name = "value" } } in [[routes]]`,
		"nginx: proxy_pass_header add_header more_set_headers expires; HAProxy: http_response; Caddy: header_down"},
	{`is headers = { response = { Name = "" } } in [[routes]]`, "nginx: proxy_hide_header"},
	{`is headers = { response = { Server = "" } } in [[routes]]`, "nginx: server_tokens"},
	{`is timeouts = { first_byte = "60s", read = "60s" } in [[routes]] or [upstreams.NAME]`,
		"nginx: proxy_read_timeout; HAProxy: timeout_server"},
	{`is timeouts = { connect = "5s" } in [upstreams.NAME]`,
		"nginx: proxy_connect_timeout; HAProxy: timeout_connect; Envoy: connect_timeout"},
	{`is user_timeout = "5m" in [upstreams.NAME]`, "nginx: proxy_send_timeout"},
	{`is user_timeout = "5m" in [[listeners]]`, "nginx: send_timeout"},
	{`is protocol = "h1" or "h2" in [upstreams.NAME]; h1 with kept connections is the default`,
		"nginx: proxy_http_version; Caddy: transport"},
	{`has nothing here: bodies go on as they come`, "nginx: proxy_buffering proxy_buffers; Caddy: flush_interval"},
	{`is limits = { header_size = "32k" } in [upstreams.NAME]`, "nginx: proxy_buffer_size"},
	{`is buffer_request = "10m" in [[routes]]; without it bodies stream`,
		"nginx: proxy_request_buffering client_body_buffer_size"},
	{`is rewrite_location = true in [[routes]]`, "nginx: proxy_redirect; Apache: proxypassreverse"},
	{`has nothing here yet: cookies go on as the backend writes them`, "nginx: proxy_cookie_path"},
	{`is retry = { attempts = 2 } in [upstreams.NAME]`,
		"nginx: proxy_next_upstream proxy_next_upstream_tries; HAProxy: retries; Caddy: lb_retries " +
			"lb_try_duration; Envoy: retry_policy"},
	{`is cache = true in [[routes]], or in [defaults] for all routes`, "nginx: proxy_cache"},
	{`is [cache] with memory = "256m"`, "nginx: proxy_cache_path"},
	{`is cache = { ttl = { 200 = "5m" } } in [[routes]] or [defaults]`, "nginx: proxy_cache_valid"},
	{`is cache = false with when in [[rules]], [[listeners.rules]] or [[routes.rules]]`,
		"nginx: proxy_cache_bypass proxy_no_cache"},
	{`is tls = { verify = false } in [upstreams.NAME]`,
		"nginx: proxy_ssl_verify; Caddy: tls_insecure_skip_verify insecure_skip_verify; Traefik: serverstransport " +
			"serverstransports insecureskipverify"},
	{`is tls = { sni = "host" } in [upstreams.NAME]`,
		"nginx: proxy_ssl_name proxy_ssl_server_name; Caddy: tls_server_name"},
	{`is tls = { ca = "ca.pem" } in [upstreams.NAME]`, "nginx: proxy_ssl_trusted_certificate"},
	{`is tls = { cert = "a.pem", key = "a.key" } in [upstreams.NAME]`, "nginx: proxy_ssl_certificate"},
	{`is limits = { body_size = "10m" } in [http]; without it there is no limit`, "nginx: client_max_body_size"},
	{`is limits = { min_rate = "240/s" } in [http]`, "nginx: client_body_timeout"},
	{`is limits = { header_timeout = "10s" } in [http]`, "nginx: client_header_timeout; HAProxy: timeout_http_request"},
	{`is limits = { header_size = "32k" } in [http]`, "nginx: client_header_buffer_size large_client_header_buffers"},
	{`is limits = { idle_timeout = "60s" } in [http]`, "nginx: keepalive_timeout; HAProxy: timeout_client"},
	{`is pool = { idle = 128 } in [upstreams.NAME]; connections are kept without it`, "nginx: keepalive"},
	{`is outlier = { errors = 5, eject = "30s" } in [upstreams.NAME]`,
		"nginx: max_fails fail_timeout; Envoy: outlier_detection"},
	{`is breaker = { max_requests = 100 } in [upstreams.NAME]`,
		"nginx: max_conns; HAProxy: upstreams.maxconn; Envoy: circuit_breakers"},
	{`is weight = 0`, "nginx: down"},
	{`is load_balancing = "ip_hash" in [upstreams.NAME]`, "nginx: ip_hash"},
	{`is load_balancing in [upstreams.NAME] or [upstream_defaults]; the default honours weights`,
		"nginx: least_conn random; HAProxy: balance; Caddy: lb_policy"},
	{`is type = "compress" in [filters.NAME], and that name in filters`,
		"nginx: gzip gzip_types gzip_proxied gzip_vary brotli; HAProxy: compression; Caddy: encode; " +
			"routes.compress"},
	{`is tls = true with cert and key in [[listeners]], or [https]`, "nginx: ssl"},
	{`is cert = "acme" in [https], and [acme] with email, ca and the like`,
		"nginx: acme_issuer acme_certificate; Caddy: auto_https email acme_ca acme_eab cert_issuer; " +
			"Traefik: certresolver cert_resolver certificatesresolvers caserver; letsencrypt"},
	{`is eab = { kid = "…", hmac = "…" } in [acme]`, "nginx: external_account_key"},
	{`is storage in [acme]: a folder, or a name of [storages]`, "nginx: state_path; Caddy: file_system storage"},
	{`is min_version = "1.2" in [tls] or [https]`, "nginx: ssl_protocols"},
	{`is ciphers in [tls] or [https], for TLS 1.2; the default is a safe choice`, "nginx: ssl_ciphers"},
	{`has nothing here: the best of what both sides know is used`, "nginx: ssl_prefer_server_ciphers"},
	{`is curves = ["X25519", "P-256"] in [tls] or [https]`, "nginx: ssl_ecdh_curve"},
	{`has nothing here: suites with such parameters are not offered`, "nginx: ssl_dhparam"},
	{`is session_tickets = true in [tls], the default`, "nginx: ssl_session_cache"},
	{`is ticket_rotation = "12h" in [tls]`, "nginx: ssl_session_timeout"},
	{`is session_tickets in [tls] or [https]`, "nginx: ssl_session_tickets"},
	{`is client_ca = "clients.pem" in [tls] or [https]`, "nginx: ssl_client_certificate"},
	{`is client_auth = "require" in [tls] or [https]`, "nginx: ssl_verify_client"},
	{`is ocsp = "a.ocsp" beside cert: a program of yours fetches the response`, "nginx: ssl_stapling"},
	{`has nothing here: keys stand in files without a password`, "nginx: ssl_password_file"},
	{`is protocols = ["h1", "h2"] in [https]; both are the default`, "nginx: http2"},
	{`is protocols = ["h1", "h2", "h3"] in [https], the default with TLS`, "nginx: http3"},
	{`is line = "{client.ip} {status}" or format = "combined" in [log]`, "nginx: log_format"},
	{`is limit = { rate = "10/s" } in [[rules]], or type = "rate_limit" in [filters.NAME]`,
		"nginx: limit_req limit_req_zone; Traefik: ratelimit rate_limit"},
	{`is [tracing] with endpoint = "http://127.0.0.1:4318"`, "nginx: otel_exporter otel_trace otel_trace_context"},
	{`is service = "name" in [tracing]`, "nginx: otel_service_name"},
	{`is resource = { NAME = "value" } in [tracing]`,
		"nginx: otel_resource_attr; Traefik: resourceattributes globalattributes"},
	{`is name = "{method} {route}" in [tracing], [http] or [[routes]]`, "nginx: otel_span_name"},
	{`is attributes = { NAME = "{header.x-name}" } in [tracing]`, "nginx: otel_span_attr"},
	{`is limits = { connections_per_client = 100 } in [http], [https] or [services.NAME]`,
		"nginx: limit_conn limit_conn_zone; Traefik: inflightconn"},
	{`has nothing here yet: answers are sent as fast as clients read`, "nginx: limit_rate"},
	{`is type = "basic_auth" in [filters.NAME], and that name in filters`,
		"nginx: auth_basic auth_basic_user_file; Caddy: basicauth basic_auth"},
	{`has nothing here yet; a filter in Go asks a service: docs/filters.md#sub-requests`,
		"nginx: auth_request; Caddy: forward_auth; Traefik: forwardauth"},
	{`has nothing here yet: no tokens are verified; a filter in Go can: docs/filters.md`, "nginx: auth_jwt; jwt"},
	{`is when = 'client.ip not in list.NAME' of the filter that asks for passwords`, "nginx: satisfy"},
	{`is methods, with type = "request_limits", in [filters.NAME], and that name in filters`, "nginx: limit_except"},
	{`is when = 'percent(client.ip, 10)' in [[rules]] with dest, or weight in [[routes]]`,
		"nginx: split_clients; canary"},
	{`is databases = ["country.mmdb"] in [geo]: when = 'geo.country == "DE"' in [[rules]]`, "nginx: geoip2"},
	{`is when = 'hex(hmac(secret.NAME, path)) == query.sig' with [secrets.NAME]`, "nginx: secure_link"},
	{`is deny = true in [[tls.rules]]`, "nginx: ssl_reject_handshake"},
	{`is peek = true in [services.NAME], and when = 'tls.sni == "a.com"' in [[services.NAME.routes]]`,
		"nginx: ssl_preread; Traefik: hostsni passthrough"},
	{`is error_pages = { 5xx = "/etc/edge/5xx.html" }, with intercept_errors for those of backends`,
		"nginx: error_page; HAProxy: errorfile errorfiles; Caddy: handle_errors"},
	{`is trusted_proxies = ["10.0.0.0/8"] in [[listeners]]`,
		"nginx: set_real_ip_from real_ip_header; Traefik: forwardedheaders trustedips"},
	{`has nothing here: backends speak HTTP; put a server that speaks FastCGI between`,
		"nginx: fastcgi_pass uwsgi_pass scgi_pass; Caddy: php_fastcgi"},
	{`is [metrics] with listen = ":9145"`, "nginx: stub_status; Traefik: prometheus"},
	{`is [[listeners]] with listen = ":80", and [[routes]]`, "HAProxy: frontend frontends"},
	{`is [upstreams.NAME] with backends = [{ address = "host:port" }]`,
		"HAProxy: backend; Traefik: listeners.services loadbalancer load_balancer service; Envoy: clusters cluster"},
	{`is dest = "NAME" in [[routes]]`, "HAProxy: routes.backend; Traefik: routes.service"},
	{`is listen = ":80" in [[listeners]]`, "HAProxy: bind"},
	{`is dest = "NAME" in [[routes]] with a pattern, or in [[rules]] with when`, "HAProxy: use_backend"},
	{`is [[routes]] with pattern = "/*" and dest = "NAME"`, "HAProxy: default_backend"},
	{`is type = "tcp" in [services.NAME] for TCP; all else is HTTP`, "HAProxy: mode"},
	{`has no switches of that kind here: kept connections and X-Forwarded-For need none`, "HAProxy: option"},
	{`is [health_check] for all upstreams, or health_check = { … } in [upstreams.NAME]`,
		"HAProxy: httpchk timeout_check http_check check inter; Caddy: health_uri health_path health_interval; " +
			"Traefik: healthcheck"},
	{`has nothing to set here: backends are told by X-Forwarded-For`, "HAProxy: forwardfor"},
	{`is limits = { connections = 10000 } in [[listeners]]`, "HAProxy: maxconn"},
	{`is timeouts = { … } in [[routes]] or [upstreams.NAME], and limits = { … } in [http]`, "HAProxy: timeout"},
	{`is pool = { queue_timeout = "1s" } in [upstreams.NAME]`, "HAProxy: timeout_queue"},
	{`is timeouts = { idle = "1h" } in [[routes]]`, "HAProxy: timeout_tunnel"},
	{`is sticky = { cookie = "edge" } in [upstreams.NAME]`, "HAProxy: cookie"},
	{`is sticky in [upstreams.NAME], or limit in [[rules]] for rates`, "HAProxy: stick stick_table"},
	{`is deny, tarpit, headers, rewrite, query, set or timeout in [[rules]]`, "HAProxy: http_request"},
	{`is drop = true in [[rules]], [[listeners.rules]] or [[routes.rules]]`, "HAProxy: silent_drop"},
	{`is log = false in [[rules]]`, "HAProxy: dontlognull dontlog_normal"},
	{`is tls_rules in [[listeners]], or [[tls.rules]]`, "HAProxy: strict_sni"},
	{`is [metrics] with listen = ":9145", or "edge status" and [admin]`, "HAProxy: stats"},
	{`is output = ["syslog+udp://host:514"] in [log], or type = "syslog" in [log_sinks.NAME]`,
		"HAProxy: log_tag log_send_hostname log_format_sd"},
	{`is cert = "a.pem" and key = "a.key" in [https] or [[certificates]]`,
		"HAProxy: crt; Apache: sslcertificatefile sslcertificatekeyfile; certificate certs"},
	{`has nothing here; user and group give up the rights of root`, "HAProxy: chroot"},
	{`has nothing to set here: connections to backends are kept, see pool in [upstreams.NAME]`, "HAProxy: http_reuse"},
	{`is [[routes]] with pattern = "/healthz" and dest = "status:200"`, "HAProxy: monitor_uri"},
	{`is allow and deny, with type = "ip", in [filters.NAME], and that name in filters`,
		"HAProxy: tcp_request; Traefik: ipallowlist ipwhitelist sourcerange"},
	{`is dest = "host:port" in [[routes]]`,
		"Caddy: reverse_proxy; routes.to target destination proxy_to forward_to url"},
	{`is rewrite = { strip_prefix = "/old" } in [[routes]]`, "Caddy: handle_path; Traefik: stripprefix"},
	{`is respond = { status = 200, body = "…" } in [[rules]]`, "Caddy: respond"},
	{`is when = 'client.ip in list.NAME' with [lists.NAME]`, "Caddy: remote_ip client_ip"},
	{`is redirect = { to = "https://example.com{path}" } in [[routes]]`, "Caddy: redir"},
	{`is dest = "status:503" in [[routes]]`, "Caddy: error"},
	{`is on_demand = { ask = "http://127.0.0.1:9000/may" } in [acme]`, "Caddy: on_demand on_demand_tls"},
	{`is dns in [acme]: the path of a program, or a name of [dns_providers]`,
		"Caddy: acme_dns; Traefik: dnschallenge dns_challenge"},
	{`is limits = { body_size = "10m" } in [http]`, "Caddy: request_body; h2o: limit_request_body"},
	{`is rewrite = { path = "/new{path}" } in [[routes]]`, "Caddy: uri; Traefik: replacepath; Envoy: prefix_rewrite"},
	{`is include = ["conf.d/*.toml"]`, "Caddy: import"},
	{`is [filters.NAME], and that name in filters of [[routes]], [[rules]] or [defaults]`,
		"Traefik: middlewares middleware; Envoy: http_filters"},
	{`is type = "cors" in [filters.NAME], and that name in filters`,
		"Traefik: accesscontrolalloworiginlist accesscontrolallowmethods; Envoy: cors"},
	{`is type = "security_headers" in [filters.NAME], and that name in filters`, "Traefik: stsseconds framedeny"},
	{`is tracing = { sample = 0.1 } in [[listeners]] or [[routes]]`, "Traefik: observability"},
	{`is type = "otlp" in [log_sinks.NAME], and that name in output of [log]`, "Traefik: otlp"},
	{`is sample = 0.1 in [tracing]`, "Traefik: samplerate"},
	{`is request_fields in [tracing]`, "Traefik: capturedrequestheaders"},
	{`is answer_fields in [tracing]`, "Traefik: capturedresponseheaders"},
	{`is [[listeners]] with listen = ":80"`, "Traefik: entrypoints entrypoint; Envoy: socket_address"},
	{`is listener = "NAME" in [[routes]]`, "Traefik: routes.entrypoints"},
	{`is pattern in [[routes]]: pattern = "example.com/api/*"`, "Traefik: rule"},
	{`is address = "host:port"`, "Traefik: upstreams.backends.url"},
	{`is discover = "docker://label=value", "k8s://…" or another source in [upstreams.NAME]`,
		"Traefik: providers; Envoy: dynamic_resources"},
	{`is challenge = "http-01" or "tls-alpn-01" in [acme]`, "Traefik: httpchallenge tlschallenge"},
	{`is host = "keep" or "backend" in [upstreams.NAME]`, "Traefik: passhostheader"},
	{`is priority = 0 in [[routes]]; which backends come first is tier = 1`, "upstreams.priority"},
	{`is tier = 1`, "Envoy: upstreams.backends.priority"},
	{`is priority = 0 in [[routes]]`, "priority"},
	{`is rewrite = { add_prefix = "/new" } in [[routes]]`, "Traefik: addprefix"},
	{`is redirect_to_https = true in [http]`, "Traefik: redirectscheme"},
	{`is redirect = { to = "/new/{match.1}" } in [[rules]] with when = 'path ~ "…"'`, "Traefik: redirectregex"},
	{`is rewrite = "/new/{match.1}" in [[rules]], when = 'path ~ "^/old/(.*)"'`,
		"Traefik: replacepathregex; Apache: rewriterule"},
	{`is [log] with output = ["/var/log/edge/access.log"]`, "Traefik: accesslog; Apache: customlog"},
	{`is [[routes]] with pattern = "/ping" and dest = "status:200"`, "Traefik: ping"},
	{`is [admin] with listen; there is no dashboard`, "Traefik: api"},
	{`is [[listeners]], [[routes]] and [upstreams.NAME] at the top of the file`, "Envoy: static_resources"},
	{`is [[listeners]] and [[routes]]`, "Envoy: filter_chains"},
	{`is type = "csrf" in [filters.NAME], and that name in filters`, "Envoy: csrf"},
	{`is type = "fault" in [filters.NAME], and that name in filters`, "Envoy: fault"},
	{`is host = "example.com" in [upstreams.NAME]`, "Envoy: host_rewrite_literal"},
	{`is dest = "status:200" in [[routes]]`, "Envoy: direct_response"},
	{`is host = "keep" in [upstreams.NAME], the default`, "Apache: proxypreservehost"},
	{`is error_log = "/var/log/edge/error.log"`, "Apache: errorlog"},
	{`is a part of listen = ":80" in [http]`, "port"},
	{`is a part of listen = [":80", ":81"] in [http]`, "ports"},
	{`is a part of address = "host:port"`, "upstreams.backends.port upstreams.backends.host"},
	{`is cookie = "edge_sid"`, "upstreams.sticky.name"},
	{`has nothing here: the cookie is for the host that was asked`, "upstreams.sticky.domain"},
	{`has nothing here: the cookie has it where the client came over TLS`, "upstreams.sticky.secure"},
	{`is failover = "NAME" in [upstreams.NAME]`, "upstreams.fallback backup_upstream"},
	{`is a key of [destinations.NAME] of type "static", or failover = "NAME" in [upstreams.NAME]`, "fallback"},
	{`is breaker = { max_requests = 200 } in [upstreams.NAME]`, "circuit_breaker"},
	{`is breaker = { max_connections = 1000 } in [upstreams.NAME]`, "upstreams.max_connections"},
	{`is zone = "b" of a backend and of [global]`, "locality"},
	{`is passive_counts = true`, "upstreams.health_check.passive health_check.passive"},
	{`is [register]`, "registration"},
	{`is to = "etcd://host:2379/name/"`, "register.url register.service register.registry"},
	{`is timeouts = { total = "5s" }`, "routes.timeout"},
	{`is log_level = "debug" in [global]`, "log.level global.level"},
	{`is path = "/api/*" in [[routes]]`, "prefix"},
	{`is "edge build --with MODULE", and its types in [filters.NAME] and the like`, "plugins plugin"},
	{`is type = "maintenance" in [filters.NAME], and that name in filters`, "maintenance"},
}

// ForeignHints returns what the hint for each word of another program says after the word: it begins with "is" where
// edge has the same thing under another name, and with "has nothing" where edge has none.
func ForeignHints() map[string]string {
	hints := make(map[string]string)
	for _, row := range foreignWords {
		for part := range strings.SplitSeq(row[1], "; ") {
			of, words, found := strings.Cut(part, ": ")
			if of = "of " + of + " "; !found {
				of, words = "", part
			}
			for word := range strings.FieldsSeq(words) {
				hints[word] = of + row[0]
			}
		}
	}
	return hints
}

// foreignPrograms are those whose files are told from a file of edge.
var foreignPrograms = []struct {
	name string
	says string                       // what its words are called here
	text func() *regexp.Regexp        // a line that only its files have; nil: they are of a format that edge reads
	tree func(root *syntax.Node) bool // whether it is one of its files; nil: they are of no such format
}{
	{name: "HAProxy", says: "bind is listen, use_backend is dest, backend is [upstreams.NAME]",
		text: wholeLines(`(?:frontend|backend|listen|defaults|global)(?:[ \t]+[\w.-]+)?[ \t]*(?:#.*)?`,
			`[ \t]+(?:use_backend|default_backend|bind|balance|server [\w.-]+)[ \t]+[^={\n]+`)},
	{name: "nginx", says: "server is [http], location is pattern, proxy_pass is dest, upstream is [upstreams.NAME]",
		text: wholeLines(`[ \t]*(?:http|events|server|upstream[ \t]+\S+|location[ \t].*)[ \t]*\{[ \t]*(?:#.*)?`,
			`[ \t]*(?:http|events|server|upstream[ \t]+\S+|location[ \t].*)[ \t]*\{[^=\n]*;.*`,
			`[ \t]*(?:proxy_pass|server_name|listen|worker_processes|root|return)[ \t]+[^={}\n]+;.*`)},
	{name: "Apache", says: "VirtualHost is [http] and a host in pattern, ProxyPass is pattern and dest",
		text: wholeLines(`[ \t]*<(?:VirtualHost|Location|Proxy|Directory|IfModule)\b.*`,
			`[ \t]*(?:ProxyPass|ProxyPassReverse|LoadModule|DocumentRoot|ServerName)[ \t]+[^=\s].*`)},
	{name: "Caddy", says: "the address before { is listen and the host of pattern, reverse_proxy is dest",
		text: wholeLines(`[ \t]*(?:reverse_proxy|file_server|handle|handle_path|php_fastcgi|redir|encode|respond)` +
			`(?:[ \t]+[^=\s].*)?`),
		tree: func(root *syntax.Node) bool { return tableAt(root, "apps", "http") != nil }},
	{name: "Traefik", says: "entryPoints are [[listeners]], a rule is pattern, a service is [upstreams.NAME]",
		tree: func(root *syntax.Node) bool {
			for _, path := range [][]string{{"http", "routers"}, {"http", "services"}, {"http", "middlewares"},
				{"tcp", "routers"}, {"entryPoints"}, {"certificatesResolvers"}, {"providers"}} {
				if tableAt(root, path...) != nil {
					return true
				}
			}
			return false
		}},
	{name: "Envoy", says: "a route is [[routes]], a cluster is [upstreams.NAME], socket_address is listen",
		tree: func(root *syntax.Node) bool {
			return tableAt(root, "static_resources") != nil || tableAt(root, "dynamic_resources") != nil
		}},
	{name: "h2o", says: "hosts and paths are pattern, proxy.reverse.url is dest",
		tree: func(root *syntax.Node) bool {
			hosts := tableAt(root, "hosts")
			return hosts != nil && len(hosts.Children) > 0 && tableAt(hosts.Children[0], "paths") != nil
		}},
}

// wholeLines returns what finds a whole line that is one of these.
func wholeLines(some ...string) func() *regexp.Regexp {
	return syntax.Expr(`(?m)^(?:` + strings.Join(some, "|") + `)[ \t\r]*$`)
}

// tableAt returns the table or list that the names lead to, or nil.
func tableAt(n *syntax.Node, names ...string) *syntax.Node {
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
	foreignExampleTOML = `
[http]
listen = ":80"
[[routes]]
pattern = "example.com/*"
dest = "http://127.0.0.1:3000"`
	foreignExampleYAML = `
http:
  listen: ":80"
routes:
  - pattern: "example.com/*"
    dest: "http://127.0.0.1:3000"`
)

// foreignFile recognises a file of another program and says so. root is nil when it could not be parsed.
func foreignFile(src *syntax.Source, root *syntax.Node) (at syntax.Span, message, hint string) {
	for _, p := range foreignPrograms {
		var found bool
		if root != nil {
			found = p.tree != nil && tableAt(root, "routes") == nil && p.tree(root)
		} else {
			found = p.text != nil && p.text().Match(src.Text) && !ownHeader().Match(src.Text)
		}
		if !found {
			continue
		}
		example := foreignExampleTOML
		if src.Colon {
			example = foreignExampleYAML
		}
		return src.Begin(), "this is a configuration of " + p.name, "in edge " + p.says + ":" + example
	}
	return syntax.Span{}, "", ""
}
