package nginx

import (
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// Whys of directives that need nothing.
const (
	ownModes    = "nothing to write: edge looks at the machine itself"
	streams     = "nothing to write: bodies go on as they come"
	noFiles     = "nothing to write: edge serves no files"
	byDefault   = "nothing to write: the default of edge"
	connections = "nothing to write: connections to backends are kept, over HTTP/1.1"
)

// needless returns directives that need nothing, by what a reader is told.
func needless() map[string]string {
	return map[string]string{
		"daemon master_process worker_connections multi_accept use accept_mutex worker_rlimit_nofile worker_priority " +
			"worker_cpu_affinity events sendfile sendfile_max_chunk tcp_nopush tcp_nodelay aio directio thread_pool " +
			"reset_timedout_connection server_names_hash_bucket_size server_names_hash_max_size " +
			"types_hash_max_size types_hash_bucket_size variables_hash_max_size variables_hash_bucket_size " +
			"map_hash_bucket_size map_hash_max_size proxy_headers_hash_max_size proxy_headers_hash_bucket_size " +
			"load_module pcre_jit timer_resolution env http2_max_concurrent_streams client_body_temp_path " +
			"proxy_temp_path fastcgi_temp_path uwsgi_temp_path scgi_temp_path client_body_in_file_only " +
			"client_header_buffer_size connection_pool_size request_pool_size output_buffers postpone_output " +
			"lingering_close open_file_cache open_file_cache_valid open_file_cache_min_uses " +
			"open_file_cache_errors": ownModes,
		"proxy_buffering proxy_buffers proxy_buffer_size proxy_busy_buffers_size proxy_max_temp_file_size " +
			"proxy_temp_file_write_size proxy_request_buffering client_body_buffer_size proxy_ignore_client_abort " +
			"grpc_buffer_size proxy_force_ranges": streams,
		"proxy_http_version proxy_socket_keepalive proxy_pass_request_headers proxy_pass_request_body " +
			"keepalive_disable": connections,
		"types default_type charset autoindex_exact_size autoindex_localtime log_not_found etag if_modified_since " +
			"disable_symlinks root index autoindex": noFiles,
		"server_tokens ssl_prefer_server_ciphers http2 ssl_session_cache ssl_session_timeout ssl_buffer_size " +
			"proxy_ssl_server_name proxy_ssl_session_reuse proxy_ssl_protocols proxy_ssl_ciphers absolute_redirect " +
			"server_name_in_redirect port_in_redirect merge_slashes ignore_invalid_headers chunked_transfer_encoding " +
			"recursive_error_pages msie_padding rewrite_log log_subrequest uninitialized_variable_warn break ssl " +
			"proxy_redirect real_ip_recursive proxy_pass_header ssl_early_data ssl_conf_command": byDefault,
		"ssl_dhparam ssl_ecdh_curve": "nothing to write: edge offers its own safe choice of groups",
		"proxy_ssl_verify proxy_ssl_verify_depth proxy_ssl_trusted_certificate proxy_ssl_name": "nothing here is " +
			"sent to backends over TLS",
		"gzip_vary gzip_proxied gzip_comp_level gzip_types gzip_min_length gzip_buffers gzip_http_version " +
			"gzip_disable gzip_static gunzip brotli_types brotli_comp_level": "only of use with gzip",
		"proxy_cache_path proxy_cache_key proxy_cache_bypass proxy_no_cache proxy_cache_lock proxy_cache_use_stale " +
			"proxy_cache_methods proxy_cache_min_uses proxy_cache_revalidate proxy_cache_background_update " +
			"proxy_cache_valid proxy_ignore_headers": "only of use with proxy_cache",
		"limit_req_zone limit_req_status limit_req_log_level limit_conn_zone limit_conn_status limit_conn_log_level " +
			"limit_req_dry_run limit_conn_dry_run": "only of use with limit_req and limit_conn",
		"log_format open_log_file_cache": "only of use with a log that names it",
		"auth_basic_user_file satisfy":   "only of use with auth_basic",
		"include":                        "only of use with files",
	}
}

// lost returns directives that edge does not have, by what a reader is told.
func lost() map[string]string {
	return map[string]string{
		"sub_filter sub_filter_once sub_filter_types sub_filter_last_modified addition_types add_before_body " +
			"add_after_body": "edge does not rewrite bodies",
		"gzip brotli":           "not available in this version: answers are not compressed",
		"proxy_cache":           "not available in this version: answers are not kept",
		"limit_conn limit_rate": "not available in this version: connections are not counted by client",
		"auth_request":          "not available in this version",
		"limit_rate_after": "not available in this version: answers are sent as " +
			"fast as clients read",
		"map geo split_clients geoip_country": "edge has no variables of one's own",
		"set auth_request_set":                "its value is that of a request; edge has no variables of one's own",
		"ssl_stapling ssl_stapling_verify ssl_stapling_file ssl_trusted_certificate resolver resolver_timeout " +
			"ssl_crl ssl_password_file ssl_verify_depth": "see ocsp of [[certificates]]: a program of yours " +
			"fetches the response",
		"stream mail": "only HTTP is served in this version",
		"proxy_cookie_path proxy_cookie_domain proxy_cookie_flags": "cookies go on as the backend writes them",
		"proxy_send_timeout send_timeout client_body_timeout lingering_timeout grpc_send_timeout": "see user_timeout " +
			"and limits.min_rate of listeners",
		"proxy_next_upstream_timeout":                         "see timeouts.total",
		"proxy_bind":                                          "edge does not choose its own address",
		"proxy_method proxy_set_body proxy_store":             "edge does not do that",
		"expires add_trailer":                                 "see headers.response of [[routes]]",
		"perl_modules perl_require lua_package_path":          "edge runs no scripts",
		"quic_retry http3 http3_hq quic_gso":                  "HTTP/3 is not available in this version",
		"proxy_protocol":                                      "not available in this version",
		"rewrite return if location server upstream":          "it stands where edge does not look for it",
		"ssl_reject_handshake":                                "see strict_sni of listeners",
		"more_set_headers more_clear_headers":                 "a module of others; see headers of [[routes]]",
		"image_filter xslt_stylesheet ssi mp4 flv":            "edge does not change bodies",
		"post_action mirror_request_body":                     "edge does not do that",
		"geoip_city geoip2 js_import js_set js_path":          "a module that edge has not",
		"vhost_traffic_status_zone opentracing otel_exporter": "a module that edge has not",
	}
}

// ours are directives that become something of edge where they are read. One that is not read has no effect: all blocks
// that it holds for say it themselves, or there are none.
const ours = " access_log add_header alias allow auth_basic deny limit_req client_header_timeout " +
	"client_max_body_size default_type error_log error_page grpc_connect_timeout " +
	"grpc_read_timeout grpc_set_header index keepalive_requests keepalive_timeout " +
	"large_client_header_buffers listen pid proxy_connect_timeout proxy_hide_header proxy_intercept_errors " +
	"proxy_next_upstream proxy_next_upstream_tries proxy_read_timeout proxy_set_header real_ip_header root " +
	"server_name set_real_ip_from ssl_certificate ssl_certificate_key ssl_ciphers ssl_client_certificate " +
	"ssl_protocols ssl_session_tickets ssl_verify_client try_files underscores_in_headers user worker_processes " +
	"worker_shutdown_timeout internal upstream http autoindex "

// scriptName matches directives about backends that do not speak HTTP.
var scriptName = plan.Expr("^(fastcgi|uwsgi|scgi|memcached)_")

// whyOf finds a directive in a table.
func whyOf(table map[string]string, name string) string {
	for words, why := range table {
		if strings.Contains(" "+words+" ", " "+name+" ") {
			return why
		}
	}
	return ""
}

// leftOver adds findings about what nothing has used. Inside a block without a meaning each line is one.
func (im *importer) leftOver(list []*directive, outer string) {
	for _, d := range list {
		if !d.used {
			im.unused(d, outer)
			if d.name == "types" {
				markAll(d)
			}
		}
		why := ""
		if d.open && !d.used {
			why = d.name
		}
		im.leftOver(d.block, why)
	}
}

// unused adds the finding about one directive.
func (im *importer) unused(d *directive, outer string) {
	off := d.arg(0) == "off"
	need, no := whyOf(needless(), d.name), whyOf(lost(), d.name)
	switch {
	case off && (no != "" || need != ""):
		im.Note(d.at, d.text(), byDefault)
	case outer == "events":
		im.Note(d.at, d.text(), ownModes)
	case outer != "" && outer != "http":
		im.Lose(d.at, d.text(), "it is inside "+outer+", which is not carried")
	case d.name == "set" && len(d.args) == 2 && !hasVariables(d.args[1]):
		im.Note(d.at, d.text(), "a constant: its value stands where it is used")
	case need != "":
		im.Note(d.at, d.text(), need)
	case no != "":
		im.Lose(d.at, d.text(), no)
	case scriptName().MatchString(d.name):
		im.Lose(d.at, d.text(), "backends speak HTTP")
	case strings.Contains(ours, " "+d.name+" "):
		im.Note(d.at, d.text(), "no server or location of the file reads it")
	default:
		im.Lose(d.at, d.text(), "edge does not know it")
	}
}
