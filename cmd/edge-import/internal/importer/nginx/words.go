package nginx

import (
	"strings"
	"sync"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// words says which keys or findings directives become. Directives of blocks and lists have the name of the block or
// list before them. An unread directive becomes something of edge where it is read, and has no effect elsewhere: all
// blocks that it holds for say it themselves, or there are none.
var words = sync.OnceValue(func() *plan.Words { return plan.ParseWords(wordTable) })

const wordTable = `
worker_processes              key worker_threads number
pid                           key pid_file text
worker_shutdown_timeout       key grace_period seconds
keepalive_timeout             key limits.idle_timeout seconds
client_header_timeout         key limits.header_timeout seconds
keepalive_requests            key limits.keepalive_requests number
ssl_client_certificate        key client_ca text
ssl_session_tickets           key session_tickets switch
proxy_read_timeout grpc_read_timeout        key timeouts.read seconds
proxy_timeout                 key timeouts.idle seconds
proxy_connect_timeout grpc_connect_timeout  key timeouts.connect seconds
proxy_ssl_name                key tls.sni text
proxy_ssl_certificate         key tls.cert text
proxy_ssl_certificate_key     key tls.key text
proxy_ssl_trusted_certificate key tls.ca text
http3_max_concurrent_streams  key h3.max_streams number
gzip_min_length               key min_size bytes
acme_issuer.uri               key ca authority
acme_issuer.contact           key email text
acme_issuer.challenge         key challenge text
acme_issuer.profile           key profile text
acme_issuer.ssl_trusted_certificate key ca_file text
upstream.keepalive            key pool.idle number
upstream.keepalive_timeout    key pool.idle_timeout seconds
upstream.keepalive_requests   key pool.max_requests number

acme_issuer.state_path acme_issuer.account_key
	note edge makes an account and orders certificates anew, and keeps them in a folder of its own: storage of [acme]
acme_issuer.accept_terms_of_service acme_issuer.resolver acme_issuer.resolver_timeout acme_shared_zone
ssl_certificate_cache note nothing to write: who uses [acme] agrees to the terms, and there is no size to set
acme_issuer.preferred_chain lost the authority chooses the chain, by profile of [acme]
acme_issuer.ssl_verify lost edge verifies each authority: see ca_file of [acme]
acme_issuer acme_certificate lost no server has its certificates by ssl_certificate $acme_certificate
upstream.zone  note nothing to write: all threads know the same
server.resolve note nothing to write: names are asked for again
server.max_conns lost limits of one backend are those of the upstream: breaker.max_requests
next.non_idempotent lost edge does not repeat what may have been done
listen.proxy_protocol note connections of peers that are not in proxy_protocol.from are closed
listen.reuseport listen.backlog listen.deferred listen.ipv6only listen.so_keepalive listen.rcvbuf listen.sndbuf
listen.bind listen.fastopen note nothing to write: edge sets its sockets itself

daemon master_process worker_connections multi_accept use accept_mutex worker_rlimit_nofile worker_priority
worker_cpu_affinity events sendfile sendfile_max_chunk tcp_nopush tcp_nodelay aio directio thread_pool
reset_timedout_connection server_names_hash_bucket_size server_names_hash_max_size types_hash_max_size
types_hash_bucket_size variables_hash_max_size variables_hash_bucket_size map_hash_bucket_size map_hash_max_size
proxy_headers_hash_max_size proxy_headers_hash_bucket_size load_module pcre_jit timer_resolution env
http2_max_concurrent_streams client_body_temp_path proxy_temp_path fastcgi_temp_path uwsgi_temp_path scgi_temp_path
client_header_buffer_size output_buffers postpone_output lingering_close
	note nothing to write: edge looks at the machine itself
proxy_buffering proxy_buffers proxy_buffer_size proxy_busy_buffers_size proxy_max_temp_file_size
proxy_temp_file_write_size proxy_request_buffering client_body_buffer_size proxy_ignore_client_abort grpc_buffer_size
proxy_force_ranges note nothing to write: bodies go on as they come
proxy_http_version proxy_socket_keepalive proxy_pass_request_headers proxy_pass_request_body keepalive_disable
	note nothing to write: connections to backends are kept, over HTTP/1.1
types default_type note nothing to write: edge has a table of types
autoindex_exact_size autoindex_localtime autoindex_format log_not_found etag if_modified_since gzip_static brotli_static
disable_symlinks open_file_cache open_file_cache_valid open_file_cache_min_uses open_file_cache_errors
	note nothing to write: what edge does with files
root alias index autoindex charset try_files note only of use with files
server_tokens ssl_prefer_server_ciphers http2 ssl_session_cache ssl_session_timeout ssl_buffer_size
proxy_ssl_server_name proxy_ssl_session_reuse proxy_ssl_protocols proxy_ssl_ciphers absolute_redirect
server_name_in_redirect port_in_redirect merge_slashes ignore_invalid_headers chunked_transfer_encoding
recursive_error_pages msie_padding rewrite_log log_subrequest uninitialized_variable_warn break ssl proxy_redirect
quic_gso quic_bpf quic_host_key quic_active_connection_id_limit http3_hq http3_stream_buffer_size
proxy_pass_header proxy_protocol proxy_ssl ssl_early_data ssl_conf_command note nothing to write: the default of edge
real_ip_recursive note a client is the last address of X-Forwarded-For that is not trusted, as with on
ssl_ciphers note the default of edge, which is a safe choice, stands in
ssl_dhparam ssl_ecdh_curve note nothing to write: edge offers its own safe choice of groups
proxy_ssl_verify proxy_ssl_verify_depth note nothing here is sent to backends over TLS
gzip_vary gzip_proxied gzip_http_version gzip_disable gzip_buffers
	note nothing to write: Vary is always there, and each client gets what its Accept-Encoding says
gzip_comp_level gzip_types note only of use with gzip
brotli brotli_types brotli_comp_level brotli_min_length zstd zstd_types zstd_comp_level zstd_min_length
	note nothing to write: with gzip, clients that take zstd get that; edge does not compress with brotli
proxy_cache_path proxy_cache_key proxy_cache_bypass proxy_no_cache proxy_cache_use_stale proxy_cache_valid
proxy_cache_lock_timeout proxy_ignore_headers note only of use with proxy_cache
proxy_cache_lock proxy_cache_lock_age proxy_cache_revalidate proxy_cache_background_update
	note nothing to write: requests for the same wait for one answer, and stored ones are renewed by 304
proxy_cache_methods proxy_cache_min_uses lost answers to GET and HEAD are stored the first time
limit_req_zone limit_req_status limit_req_log_level limit_conn_zone limit_conn_status limit_conn_log_level
limit_req_dry_run limit_conn_dry_run note only of use with limit_req and limit_conn
log_format open_log_file_cache note only of use with a log that names it
auth_basic_user_file satisfy note only of use with auth_basic
include note only of use with files

sub_filter sub_filter_once sub_filter_types sub_filter_last_modified addition_types add_before_body add_after_body
	lost edge does not rewrite bodies
proxy_cache lost no location that leads to a backend reads it
limit_conn lost over HTTP it counts requests in progress; limits.connections_per_client counts connections
limit_rate limit_rate_after lost not available in this version: answers are sent as fast as clients read
map geo split_clients geoip_country
	lost nothing reads it, or edge has no such variable; see [maps] and rules with set
set auth_request_set lost its value has something that edge does not know
ssl_stapling ssl_stapling_verify ssl_stapling_file ssl_trusted_certificate ssl_crl
ssl_password_file ssl_verify_depth lost see ocsp of [[certificates]]: a program of yours fetches the response
resolver resolver_timeout lost names are asked of the servers of /etc/resolv.conf: see resolver of [upstreams.NAME]
mail lost edge import carries HTTP and TCP alone
proxy_cookie_path proxy_cookie_domain proxy_cookie_flags lost cookies go on as the backend writes them
proxy_send_timeout send_timeout client_body_timeout lingering_timeout grpc_send_timeout
	lost see user_timeout and limits.min_rate of listeners
proxy_next_upstream_timeout lost see timeouts.total
proxy_bind lost edge does not choose its own address
expires add_trailer lost see headers.response of [[routes]]
rewrite return if location server upstream stream lost it stands where edge does not look for it
ssl_reject_handshake lost see strict_sni of listeners
more_set_headers more_clear_headers lost a module of others; see headers of [[routes]]

access_log add_header gzip allow auth_basic deny limit_req client_max_body_size error_log error_page grpc_set_header
large_client_header_buffers listen proxy_hide_header proxy_intercept_errors proxy_next_upstream
proxy_next_upstream_tries proxy_set_header real_ip_header server_name set_real_ip_from ssl_certificate
ssl_certificate_key ssl_protocols ssl_verify_client underscores_in_headers user internal http3 quic_retry
upstream http unread no server or location of the file reads it
`

// scriptName matches directives about backends that do not speak HTTP.
var scriptName = plan.Expr("^(fastcgi|uwsgi|scgi|memcached)_")

// tell adds the finding of a word of the table.
func (im *importer) tell(word string, at plan.Place, text string) {
	w, _ := words().Find(word)
	im.Tell(w, at, text)
}

// settings returns the lines for directives with keys in the table that hold in a scope.
func (im *importer) settings(s *scope, names ...string) (list []plan.Setting) {
	for _, name := range names {
		text, at, ok := s.value(name)
		w, _ := words().Find(name)
		value, valid := w.Unit.Value(text)
		switch {
		case ok && (!valid || w.Unit == plan.Seconds && value == `"0s"` || hasVariables(text)):
			im.Lose(at, name+" "+text, "edge does not know the value")
		case ok:
			list = append(list, plan.Setting{Name: w.Key, Value: value, At: at})
		}
	}
	return list
}

// carry sets the keys of directives that hold in a scope.
func (im *importer) carry(b *plan.Block, s *scope, names ...string) {
	for _, k := range im.settings(s, names...) {
		b.Set(k.Name, k.Value, k.At)
	}
}

// leftOver adds findings about what nothing has used. Inside a block without a meaning each line is one.
func (im *importer) leftOver(list []*directive, outer string) {
	for _, d := range list {
		inner := ""
		if !d.used {
			im.unused(d, outer)
			inner = d.name
		}
		if d.used || d.name != "types" {
			im.leftOver(d.block, inner)
		}
	}
}

func (im *importer) unused(d *directive, outer string) {
	w, known := words().Find(d.name)
	if w.Says == "key" {
		w = plan.Word{Says: "unread", Why: "no server or location of the file reads it"}
	}
	switch {
	case d.arg(0) == "off" && known && w.Says != "unread":
		im.Note(d.at, d.text(), "nothing to write: the default of edge")
	case outer == "events":
		im.tell("events", d.at, d.text())
	case outer != "" && outer != "http":
		im.Lose(d.at, d.text(), "it is inside "+outer+", which is not carried")
	case d.name == "set" && len(d.args) == 2 && !hasVariables(d.args[1]):
		im.Note(d.at, d.text(), "a constant: its value stands where it is used")
	case !known && (scriptName().MatchString(d.name) || strings.HasSuffix(d.name, "_pass")):
		im.Lose(d.at, d.text(), "backends speak HTTP")
	default:
		im.Tell(w, d.at, d.text())
	}
}
