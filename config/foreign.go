package config

import (
	"regexp"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/syntax"
)

// What many words of other programs are here.
const (
	hintRoute       = `is [[routes]] with pattern = "/path/*" and dest = "host:port"`
	hintDest        = `is dest = "host:port" in [[routes]]`
	hintHost        = `is host = "example.com" in [[routes]], or the beginning of its pattern`
	hintListener    = `is [[listeners]] with listen = ":80"`
	hintUpstream    = `is [upstreams.NAME] with backends = [{ address = "host:port" }]`
	hintBackend     = `is backends = [{ address = "host:port" }] in [upstreams.NAME]`
	hintRequest     = `is headers = { request = { Name = "value" } } in [[routes]]`
	hintResponse    = `is headers = { response = { Name = "value" } } in [[routes]]`
	hintConnect     = `is timeouts = { connect = "5s" } in [upstreams.NAME]`
	hintRead        = `is timeouts = { first_byte = "60s", read = "60s" } in [[routes]] or [upstreams.NAME]`
	hintIdle        = `is limits = { idle_timeout = "60s" } in [http]`
	hintRetry       = `is retry = { attempts = 2 } in [upstreams.NAME]`
	hintBalancing   = `is load_balancing in [upstreams.NAME] or [upstream_defaults]; the default honours weights`
	hintTrust       = `is trusted_proxies = ["10.0.0.0/8"] in [[listeners]]`
	hintStrip       = `is rewrite = { strip_prefix = "/old" } in [[routes]]`
	hintPath        = `is rewrite = { path = "/new{path}" } in [[routes]]`
	hintCert        = `is cert = "a.pem" and key = "a.key" in [https] or [[certificates]]`
	hintVerify      = `is tls = { verify = false } in [upstreams.NAME]`
	hintSNI         = `is tls = { sni = "host" } in [upstreams.NAME]`
	hintCondition   = `is when = 'path starts_with "/api/"' in [[rules]] or [[routes]]`
	hintAccessLog   = `is [log] with output = ["/var/log/edge/access.log"]`
	hintProtocol    = `is protocol = "h1" or "h2" in [upstreams.NAME]; h1 with kept connections is the default`
	hintThreads     = `is worker_threads = 4; without it there is one for each processor`
	hintFiles       = `is dest = "static:/srv/www" in [[routes]], or type = "static" in [destinations.NAME]`
	hintTry         = `is try = ["{path}"], and fallback = "NAME" for @NAME, in [destinations.NAME] of type "static"`
	hintNoScripts   = `has nothing here: backends speak HTTP; put a server that speaks FastCGI between`
	hintHealth      = `is [health_check] for all upstreams, or health_check = { … } in [upstreams.NAME]`
	hintEjection    = `is outlier = { errors = 5, eject = "30s" } in [upstreams.NAME]`
	hintCompress    = `is type = "compress" in [filters.NAME], and that name in filters`
	hintPasswords   = `is type = "basic_auth" in [filters.NAME], and that name in filters`
	hintCORS        = `is type = "cors" in [filters.NAME], and that name in filters`
	hintNoAsking    = `has nothing here yet; a filter in Go asks a service: docs/filters.md#sub-requests`
	hintNoTokens    = `has nothing here yet: no tokens are verified; a filter in Go can: docs/filters.md`
	hintAddresses   = `is allow and deny, with type = "ip", in [filters.NAME], and that name in filters`
	hintRate        = `is limit = { rate = "10/s" } in [[rules]], or type = "rate_limit" in [filters.NAME]`
	hintClients     = `is limits = { connections_per_client = 100 } in [http], [https] or [services.NAME]`
	hintMetrics     = `is [metrics] with listen = ":9145"`
	hintSplit       = `is when = 'percent(client.ip, 10)' in [[rules]] with dest, or weight in [[routes]]`
	hintStreams     = `is [services.NAME] with type = "tcp", listen = ":5432" and dest`
	hintPeek        = `is peek = true in [services.NAME], and when = 'tls.sni == "a.com"' in [[services.NAME.routes]]`
	hintNoStreams   = `has nothing here: HTTP and TCP are served, UDP not yet`
	hintNoBuffering = `has nothing here: bodies go on as they come`
	hintACME        = `is cert = "acme" in [https], and [acme] with email, ca and the like`
	hintDNS         = `is dns in [acme]: the path of a program, or a name of [dns_providers]`
	hintStorage     = `is storage in [acme]: a folder, or a name of [storages]`
	hintOnDemand    = `is on_demand = { ask = "http://127.0.0.1:9000/may" } in [acme]`
	hintTraces      = `is [tracing] with endpoint = "http://127.0.0.1:4318"`
	hintDiscover    = `is discover = "docker://label=value", "k8s://…" or another source in [upstreams.NAME]`
	hintPages       = `is error_pages = { 5xx = "/etc/edge/5xx.html" }, with intercept_errors for those of backends`
	hintFilter      = `is [filters.NAME], and that name in filters of [[routes]], [[rules]] or [defaults]`
	hintNoModes     = `has nothing to set here: edge looks at the machine itself`
)

// foreignWords are words of other programs and what each is here. They have hints of their own where edge has no such
// key: people bring them along. Of a word that several programs have the first one counts. A word with a table before
// it is for that table.
var foreignWords = []struct{ of, here, words string }{
	{"nginx", `is dest = "http://host:port" in [[routes]]`, "proxy_pass"},
	{"nginx", `is dest with grpc = true in [[routes]]`, "grpc_pass"},
	{"nginx", hintRoute, "location locations"},
	{"nginx", `is [http] or [https] with listen, and a host in the pattern of [[routes]]`, "server"},
	{"nginx", hintBackend, "upstreams.server"},
	{"nginx", hintHost, "server_name server_names"},
	{"nginx", `is a route without a host: pattern = "/*"`, "default_server"},
	{"nginx", hintFiles, "root alias index autoindex default_type"},
	{"nginx", hintTry, "try_files"},
	{"nginx", `is respond, redirect or deny in [[rules]], or dest = "status:404" in [[routes]]`, "return"},
	{"nginx", hintCondition, "if"},
	{"nginx", `is [maps.NAME], which texts ask as {map.NAME[header.host]}`, "map"},
	{"nginx", `is set = { NAME = "{header.host}" } in [[rules]], for texts with {local.NAME}`, "set"},
	{"nginx", hintNoModes, "events sendfile tcp_nopush tcp_nodelay multi_accept use types_hash_max_size"},
	{"nginx", `has nothing here: "edge build" links modules, and "edge modules" lists them`, "modules load_module"},
	{"nginx", hintStreams, "stream"},
	{"nginx", hintNoStreams, "mail"},
	{"nginx", hintThreads, "worker_processes"},
	{"nginx", `is limits = { connections = 10000 } in [[listeners]]; without it there is no limit`,
		"worker_connections"},
	{"nginx", `has nothing here: the limit is the system's, LimitNOFILE of systemd`, "worker_rlimit_nofile"},
	{"nginx", `is pid_file = "/run/edge.pid"`, "pid"},
	{"nginx", hintRequest, "proxy_set_header grpc_set_header"},
	{"nginx", hintResponse, "proxy_pass_header add_header more_set_headers expires"},
	{"nginx", `is headers = { response = { Name = "" } } in [[routes]]`, "proxy_hide_header"},
	{"nginx", `is headers = { response = { Server = "" } } in [[routes]]`, "server_tokens"},
	{"nginx", hintRead, "proxy_read_timeout"},
	{"nginx", hintConnect, "proxy_connect_timeout"},
	{"nginx", `is user_timeout = "5m" in [upstreams.NAME]`, "proxy_send_timeout"},
	{"nginx", `is user_timeout = "5m" in [[listeners]]`, "send_timeout"},
	{"nginx", hintProtocol, "proxy_http_version"},
	{"nginx", hintNoBuffering, "proxy_buffering proxy_buffers"},
	{"nginx", `is limits = { header_size = "32k" } in [upstreams.NAME]`, "proxy_buffer_size"},
	{"nginx", `is buffer_request = "10m" in [[routes]]; without it bodies stream`,
		"proxy_request_buffering client_body_buffer_size"},
	{"nginx", `is rewrite_location = true in [[routes]]`, "proxy_redirect"},
	{"nginx", `has nothing here yet: cookies go on as the backend writes them`, "proxy_cookie_path"},
	{"nginx", hintRetry, "proxy_next_upstream proxy_next_upstream_tries"},
	{"nginx", `is cache = true in [[routes]], or in [defaults] for all routes`, "proxy_cache"},
	{"nginx", `is [cache] with memory = "256m"`, "proxy_cache_path"},
	{"nginx", `is cache = { ttl = { 200 = "5m" } } in [[routes]] or [defaults]`, "proxy_cache_valid"},
	{"nginx", `is cache = false with when in [[rules]], [[listeners.rules]] or [[routes.rules]]`,
		"proxy_cache_bypass proxy_no_cache"},
	{"nginx", hintVerify, "proxy_ssl_verify"},
	{"nginx", hintSNI, "proxy_ssl_name proxy_ssl_server_name"},
	{"nginx", `is tls = { ca = "ca.pem" } in [upstreams.NAME]`, "proxy_ssl_trusted_certificate"},
	{"nginx", `is tls = { cert = "a.pem", key = "a.key" } in [upstreams.NAME]`, "proxy_ssl_certificate"},
	{"nginx", `is limits = { body_size = "10m" } in [http]; without it there is no limit`, "client_max_body_size"},
	{"nginx", `is limits = { min_rate = "240/s" } in [http]`, "client_body_timeout"},
	{"nginx", `is limits = { header_timeout = "10s" } in [http]`, "client_header_timeout"},
	{"nginx", `is limits = { header_size = "32k" } in [http]`, "client_header_buffer_size large_client_header_buffers"},
	{"nginx", hintIdle, "keepalive_timeout"},
	{"nginx", `is pool = { idle = 128 } in [upstreams.NAME]; connections are kept without it`, "keepalive"},
	{"nginx", hintEjection, "max_fails fail_timeout"},
	{"nginx", `is breaker = { max_requests = 100 } in [upstreams.NAME]`, "max_conns"},
	{"nginx", `is weight = 0`, "down"},
	{"nginx", `is load_balancing = "ip_hash" in [upstreams.NAME]`, "ip_hash"},
	{"nginx", hintBalancing, "least_conn random"},
	{"nginx", hintCompress, "gzip gzip_types gzip_proxied gzip_vary brotli"},
	{"nginx", `is tls = true with cert and key in [[listeners]], or [https]`, "ssl"},
	{"nginx", hintACME, "acme_issuer acme_certificate"},
	{"nginx", `is eab = { kid = "…", hmac = "…" } in [acme]`, "external_account_key"},
	{"nginx", hintStorage, "state_path"},
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
	{"nginx", `is protocols = ["h1", "h2", "h3"] in [https]`, "http3"},
	{"nginx", `is line = "{client.ip} {status}" or format = "combined" in [log]`, "log_format"},
	{"nginx", hintRate, "limit_req limit_req_zone"},
	{"nginx", hintTraces, "otel_exporter otel_trace otel_trace_context"},
	{"nginx", `is service = "name" in [tracing]`, "otel_service_name"},
	{"nginx", `is resource = { NAME = "value" } in [tracing]`, "otel_resource_attr"},
	{"nginx", `is name = "{method} {route}" in [tracing], [http] or [[routes]]`, "otel_span_name"},
	{"nginx", `is attributes = { NAME = "{header.x-name}" } in [tracing]`, "otel_span_attr"},
	{"nginx", hintClients, "limit_conn limit_conn_zone"},
	{"nginx", `has nothing here yet: answers are sent as fast as clients read`, "limit_rate"},
	{"nginx", hintPasswords, "auth_basic auth_basic_user_file"},
	{"nginx", hintNoAsking, "auth_request"},
	{"nginx", hintNoTokens, "auth_jwt"},
	{"nginx", `is when = 'client.ip not in list.NAME' of the filter that asks for passwords`, "satisfy"},
	{"nginx", `is methods, with type = "request_limits", in [filters.NAME], and that name in filters`, "limit_except"},
	{"nginx", hintSplit, "split_clients"},
	{"nginx", `is databases = ["country.mmdb"] in [geo]: when = 'geo.country == "DE"' in [[rules]]`, "geoip2"},
	{"nginx", `is when = 'hex(hmac(secret.NAME, path)) == query.sig' with [secrets.NAME]`, "secure_link"},
	{"nginx", `is deny = true in [[tls.rules]]`, "ssl_reject_handshake"},
	{"nginx", hintPeek, "ssl_preread"},
	{"nginx", hintPages, "error_page"},
	{"nginx", hintTrust, "set_real_ip_from real_ip_header"},
	{"nginx", hintNoScripts, "fastcgi_pass uwsgi_pass scgi_pass"},
	{"nginx", hintMetrics, "stub_status"},
	{"HAProxy", `is [[listeners]] with listen = ":80", and [[routes]]`, "frontend frontends"},
	{"HAProxy", hintUpstream, "backend"},
	{"HAProxy", `is dest = "NAME" in [[routes]]`, "routes.backend"},
	{"HAProxy", `is listen = ":80" in [[listeners]]`, "bind"},
	{"HAProxy", `is dest = "NAME" in [[routes]] with a pattern, or in [[rules]] with when`, "use_backend"},
	{"HAProxy", `is [[routes]] with pattern = "/*" and dest = "NAME"`, "default_backend"},
	{"HAProxy", hintBalancing, "balance"},
	{"HAProxy", `is type = "tcp" in [services.NAME] for TCP; all else is HTTP`, "mode"},
	{"HAProxy", hintCondition, "acl"},
	{"HAProxy", `has no switches of that kind here: kept connections and X-Forwarded-For need none`, "option"},
	{"HAProxy", hintHealth, "httpchk timeout_check http_check check inter"},
	{"HAProxy", `has nothing to set here: backends are told by X-Forwarded-For`, "forwardfor"},
	{"HAProxy", `is limits = { connections = 10000 } in [[listeners]]`, "maxconn"},
	{"HAProxy", `is breaker = { max_requests = 100 } in [upstreams.NAME]`, "upstreams.maxconn"},
	{"HAProxy", `is timeouts = { … } in [[routes]] or [upstreams.NAME], and limits = { … } in [http]`, "timeout"},
	{"HAProxy", hintIdle, "timeout_client"},
	{"HAProxy", hintRead, "timeout_server"},
	{"HAProxy", hintConnect, "timeout_connect"},
	{"HAProxy", `is limits = { header_timeout = "10s" } in [http]`, "timeout_http_request"},
	{"HAProxy", `is pool = { queue_timeout = "1s" } in [upstreams.NAME]`, "timeout_queue"},
	{"HAProxy", `is timeouts = { idle = "1h" } in [[routes]]`, "timeout_tunnel"},
	{"HAProxy", `is sticky = { cookie = "edge" } in [upstreams.NAME]`, "cookie"},
	{"HAProxy", `is sticky in [upstreams.NAME], or limit in [[rules]] for rates`, "stick stick_table"},
	{"HAProxy", `is deny, tarpit, headers, rewrite, query, set or timeout in [[rules]]`, "http_request"},
	{"HAProxy", `is drop = true in [[rules]], [[listeners.rules]] or [[routes.rules]]`, "silent_drop"},
	{"HAProxy", `is log = false in [[rules]]`, "dontlognull dontlog_normal"},
	{"HAProxy", `is tls_rules in [[listeners]], or [[tls.rules]]`, "strict_sni"},
	{"HAProxy", hintResponse, "http_response"},
	{"HAProxy", hintPages, "errorfile errorfiles"},
	{"HAProxy", hintThreads, "nbthread nbproc"},
	{"HAProxy", `is [metrics] with listen = ":9145", or "edge status" and [admin]`, "stats"},
	{"HAProxy", hintCompress, "compression"},
	{"HAProxy", `is output = ["syslog+udp://host:514"] in [log], or type = "syslog" in [log_sinks.NAME]`,
		"log_tag log_send_hostname log_format_sd"},
	{"HAProxy", hintRetry, "retries"},
	{"HAProxy", hintCert, "crt"},
	{"HAProxy", `has nothing here; user and group give up the rights of root`, "chroot"},
	{"HAProxy", `has nothing to set here: connections to backends are kept, see pool in [upstreams.NAME]`,
		"http_reuse"},
	{"HAProxy", `is [[routes]] with pattern = "/healthz" and dest = "status:200"`, "monitor_uri"},
	{"HAProxy", hintAddresses, "tcp_request"},
	{"Caddy", hintDest, "reverse_proxy"},
	{"Caddy", hintRoute, "handle route apps handlers site"},
	{"Caddy", hintStrip, "handle_path"},
	{"Caddy", `is respond = { status = 200, body = "…" } in [[rules]]`, "respond"},
	{"Caddy", `is when = 'client.ip in list.NAME' with [lists.NAME]`, "remote_ip client_ip"},
	{"Caddy", `is redirect = { to = "https://example.com{path}" } in [[routes]]`, "redir"},
	{"Caddy", hintFiles, "file_server templates"},
	{"Caddy", hintNoScripts, "php_fastcgi"},
	{"Caddy", hintCompress, "encode"},
	{"Caddy", hintRequest, "header_up"},
	{"Caddy", hintResponse, "header_down"},
	{"Caddy", hintPasswords, "basicauth basic_auth"},
	{"Caddy", hintNoAsking, "forward_auth"},
	{"Caddy", hintPages, "handle_errors"},
	{"Caddy", `is dest = "status:503" in [[routes]]`, "error"},
	{"Caddy", hintBalancing, "lb_policy"},
	{"Caddy", hintRetry, "lb_retries lb_try_duration"},
	{"Caddy", hintHealth, "health_uri health_path health_interval"},
	{"Caddy", hintProtocol, "transport"},
	{"Caddy", hintVerify, "tls_insecure_skip_verify insecure_skip_verify"},
	{"Caddy", hintSNI, "tls_server_name"},
	{"Caddy", hintNoBuffering, "flush_interval"},
	{"Caddy", hintACME, "auto_https email acme_ca acme_eab cert_issuer"},
	{"Caddy", hintOnDemand, "on_demand on_demand_tls"},
	{"Caddy", hintDNS, "acme_dns"},
	{"Caddy", hintStorage, "file_system storage"},
	{"Caddy", `is limits = { body_size = "10m" } in [http]`, "request_body"},
	{"Caddy", hintPath, "uri"},
	{"Caddy", hintCondition, "matcher"},
	{"Caddy", `is include = ["conf.d/*.toml"]`, "import"},
	{"Traefik", hintRoute, "routers router"},
	{"Traefik", hintFilter, "middlewares middleware"},
	{"Traefik", hintAddresses, "ipallowlist ipwhitelist sourcerange"},
	{"Traefik", hintCORS, "accesscontrolalloworiginlist accesscontrolallowmethods"},
	{"Traefik", `is type = "security_headers" in [filters.NAME], and that name in filters`, "stsseconds framedeny"},
	{"Traefik", hintMetrics, "prometheus"},
	{"Traefik", `is tracing = { sample = 0.1 } in [[listeners]] or [[routes]]`, "observability"},
	{"Traefik", `is type = "otlp" in [log_sinks.NAME], and that name in output of [log]`, "otlp"},
	{"Traefik", `is sample = 0.1 in [tracing]`, "samplerate"},
	{"Traefik", `is request_fields in [tracing]`, "capturedrequestheaders"},
	{"Traefik", `is answer_fields in [tracing]`, "capturedresponseheaders"},
	{"Traefik", `is resource = { NAME = "value" } in [tracing]`, "resourceattributes globalattributes"},
	{"Traefik", hintListener, "entrypoints entrypoint"},
	{"Traefik", hintUpstream, "listeners.services loadbalancer load_balancer service"},
	{"Traefik", hintPeek, "hostsni passthrough"},
	{"Traefik", `is listener = "NAME" in [[routes]]`, "routes.entrypoints"},
	{"Traefik", `is dest = "NAME" in [[routes]]`, "routes.service"},
	{"Traefik", `is pattern in [[routes]]: pattern = "example.com/api/*"`, "rule"},
	{"Traefik", hintBackend, "servers"},
	{"Traefik", `is address = "host:port"`, "upstreams.backends.url"},
	{"Traefik", hintDiscover, "providers"},
	{"Traefik", hintACME, "certresolver cert_resolver certificatesresolvers caserver"},
	{"Traefik", `is challenge = "http-01" or "tls-alpn-01" in [acme]`, "httpchallenge tlschallenge"},
	{"Traefik", hintDNS, "dnschallenge dns_challenge"},
	{"Traefik", `is host = "keep" or "backend" in [upstreams.NAME]`, "passhostheader"},
	{"", `is priority = 0 in [[routes]]; which backends come first is tier = 1`, "upstreams.priority"},
	{"Envoy", `is tier = 1`, "upstreams.backends.priority"},
	{"", `is priority = 0 in [[routes]]`, "priority"},
	{"Traefik", hintStrip, "stripprefix"},
	{"Traefik", `is rewrite = { add_prefix = "/new" } in [[routes]]`, "addprefix"},
	{"Traefik", `is redirect_to_https = true in [http]`, "redirectscheme"},
	{"Traefik", `is redirect = { to = "/new/{match.1}" } in [[rules]] with when = 'path ~ "…"'`, "redirectregex"},
	{"Traefik", hintPath, "replacepath"},
	{"Traefik", `is rewrite = "/new/{match.1}" in [[rules]], when = 'path ~ "^/old/(.*)"'`, "replacepathregex"},
	{"Traefik", hintRate, "ratelimit rate_limit"},
	{"Traefik", hintClients, "inflightconn"},
	{"Traefik", hintNoAsking, "forwardauth"},
	{"Traefik", hintAccessLog, "accesslog"},
	{"Traefik", hintVerify, "serverstransport serverstransports insecureskipverify"},
	{"Traefik", hintHealth, "healthcheck"},
	{"Traefik", `is [[routes]] with pattern = "/ping" and dest = "status:200"`, "ping"},
	{"Traefik", hintTrust, "forwardedheaders trustedips"},
	{"Traefik", `is [admin] with listen; there is no dashboard`, "api"},
	{"Traefik", hintStreams, "tcp"},
	{"Traefik", hintNoStreams, "udp"},
	{"Envoy", `is [[listeners]], [[routes]] and [upstreams.NAME] at the top of the file`, "static_resources"},
	{"Envoy", hintDiscover, "dynamic_resources"},
	{"Envoy", hintUpstream, "clusters cluster"},
	{"Envoy", hintRoute, "virtual_hosts route_config"},
	{"Envoy", `is [[listeners]] and [[routes]]`, "filter_chains"},
	{"Envoy", hintFilter, "http_filters"},
	{"Envoy", hintCORS, "cors"},
	{"Envoy", `is type = "csrf" in [filters.NAME], and that name in filters`, "csrf"},
	{"Envoy", `is type = "fault" in [filters.NAME], and that name in filters`, "fault"},
	{"Envoy", hintBackend, "load_assignment lb_endpoints endpoints endpoint"},
	{"Envoy", hintListener, "socket_address"},
	{"Envoy", hintConnect, "connect_timeout"},
	{"Envoy", hintPath, "prefix_rewrite"},
	{"Envoy", `is host = "example.com" in [upstreams.NAME]`, "host_rewrite_literal"},
	{"Envoy", hintHost, "domains"},
	{"Envoy", hintEjection, "outlier_detection"},
	{"Envoy", `is breaker = { max_requests = 100 } in [upstreams.NAME]`, "circuit_breakers"},
	{"Envoy", hintRetry, "retry_policy"},
	{"Envoy", `is dest = "status:200" in [[routes]]`, "direct_response"},
	{"Apache", hintRoute, "proxypass virtualhost"},
	{"Apache", `is rewrite_location = true in [[routes]]`, "proxypassreverse"},
	{"Apache", `is host = "keep" in [upstreams.NAME], the default`, "proxypreservehost"},
	{"Apache", hintFiles, "documentroot"},
	{"Apache", hintHost, "servername serveralias"},
	{"Apache", hintRequest, "requestheader"},
	{"Apache", hintBackend, "balancermember"},
	{"Apache", hintCert, "sslcertificatefile sslcertificatekeyfile"},
	{"Apache", hintAccessLog, "customlog"},
	{"Apache", `is error_log = "/var/log/edge/error.log"`, "errorlog"},
	{"Apache", `is rewrite = "/new/{match.1}" in [[rules]], when = 'path ~ "^/old/(.*)"'`, "rewriterule"},
	{"h2o", hintThreads, "num_threads"},
	{"h2o", hintRoute, "mapping"},
	{"h2o", `is limits = { body_size = "10m" } in [http]`, "limit_request_body"},
	{"", `is a part of listen = ":80" in [http]`, "port"},
	{"", `is a part of listen = [":80", ":81"] in [http]`, "ports"},
	{"", `is a part of address = "host:port"`, "upstreams.backends.port upstreams.backends.host"},
	{"", `is cookie = "edge_sid"`, "upstreams.sticky.name"},
	{"", `has nothing here: the cookie is for the host that was asked`, "upstreams.sticky.domain"},
	{"", `has nothing here: the cookie has it where the client came over TLS`, "upstreams.sticky.secure"},
	{"", `is failover = "NAME" in [upstreams.NAME]`, "upstreams.fallback backup_upstream"},
	{"", `is a key of [destinations.NAME] of type "static", or failover = "NAME" in [upstreams.NAME]`, "fallback"},
	{"", `is breaker = { max_requests = 200 } in [upstreams.NAME]`, "circuit_breaker"},
	{"", `is breaker = { max_connections = 1000 } in [upstreams.NAME]`, "upstreams.max_connections"},
	{"", `is zone = "b" of a backend and of [global]`, "locality"},
	{"", `is passive_counts = true`, "upstreams.health_check.passive health_check.passive"},
	{"", `is [register]`, "registration"},
	{"", `is to = "etcd://host:2379/name/"`, "register.url register.service register.registry"},
	{"", hintCompress, "routes.compress"},
	{"", hintNoTokens, "jwt"},
	{"", hintNoStreams, "services.protocol"},
	{"", `is timeouts = { total = "5s" }`, "routes.timeout"},
	{"", `is log_level = "debug" in [global]`, "log.level global.level"},
	{"", hintDest, "routes.to target destination proxy_to forward_to url"},
	{"", hintHost, "domain hostname"},
	{"", `is path = "/api/*" in [[routes]]`, "prefix"},
	{"", hintCert, "certificate certs"},
	{"", hintSplit, "canary"},
	{"", `is "edge build --with MODULE", and its types in [filters.NAME] and the like`, "plugins plugin"},
	{"", `is type = "maintenance" in [filters.NAME], and that name in filters`, "maintenance"},
	{"", hintFiles, "static"},
	{"", hintACME, "letsencrypt"},
}

// ForeignHints returns what the hint for each word of another program says after the word: it begins with "is" where
// edge has the same thing under another name, and with "has nothing" where edge has none.
func ForeignHints() map[string]string {
	hints := make(map[string]string)
	for _, row := range slices.Backward(foreignWords) {
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
