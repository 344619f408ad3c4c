package caddy

import (
	"strings"
	"sync"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// words has lines of Caddyfiles that need no code of their own, by the block around them, their names, and some by
// their first argument too.
var words = sync.OnceValue(func() *plan.Words {
	return plan.ParseWords(`
options.default_bind options.auto_https options.local_certs options.cert_issuer.internal
	note nothing to write: the listeners are as it says
options.auto_https.off note nothing to write: hosts without a certificate of their own have an internal one
options.cert_issuer.acme tls.issuer.acme options.acme_eab options.on_demand_tls block tls
options.http_port tls.alt_http_port      key acme.http_port number
options.https_port tls.alt_tlsalpn_port  key acme.https_port number
options.email tls.email                  key acme.email text
options.acme_ca tls.ca tls.dir           key acme.ca authority
options.cert_issuer.zerossl tls.issuer.zerossl key acme.ca ="zerossl" edge asks its ACME directory, by the email
options.acme_ca_root tls.ca_root tls.trusted_roots key acme.ca_file text
options.key_type tls.key_type            key acme.key_type text
options.storage.file_system              key acme.storage text
tls.key_id                               key acme.eab.kid text
tls.mac_key                              key acme.eab.hmac text
tls.ask                                  key acme.on_demand.ask text
tls.interval tls.burst tls.permission    lost see on_demand of [acme]: its ask and rate
options.acme_dns options.dns tls.dns
	lost dns in [acme] is the path of a program, or a name of [dns_providers]: see docs/acme.md
options.storage                          lost storage in [acme] is a folder, or a name of [storages]
options.preferred_chains tls.preferred_chains options.cert_lifetime tls.reuse_private_keys
	lost the authority chooses the chain and the life, by profile of [acme]; each certificate has a new key
options.renew_interval options.storage_clean_interval options.ocsp_interval *.renewal_window_ratio
	note nothing to write: certificates are renewed as the authority says, see docs/acme.md
options.pki tls.issuer.internal note nothing to write: see cert = "internal"
options.skip_install_trust note nothing to write: edge installs no authority
options.admin options.persist_config
	note nothing to write: edge has an address for operators of its own, see [admin]
options.ocsp_stapling      note nothing to write: a response is stapled where ocsp names one
options.grace_period       key grace_period seconds
options.debug              key log_level ="debug"
options.layer4             lost see routes of [services.NAME], by tls.sni: HTTP alone is carried
options.servers            lost options of one listener are not taken: write those of all
options.log                lost there is one log of the process, and those of requests
process.level.debug        key log_level ="debug"
process.level.warn         key log_level ="warn"
process.level.error        key log_level ="error"
process.output.file        key error_log text
process.output.stderr process.level.info process.format note nothing to write: the default of edge

servers.trusted_proxies_strict servers.strict_sni_host servers.metrics servers.enable_full_duplex servers.name
servers.log_credentials servers.keepalive_interval servers.keepalive_idle servers.keepalive_count
	note nothing to write: the default of edge
servers.trusted_proxies.static key trusted_proxies list
servers.protocols            key protocols list
servers.max_header_size key limits.header_size size request line and single fields: limits.target_size, field_size
listener_wrappers.tls        note nothing to write: the default of edge
proxy_protocol.timeout       note a header of the PROXY protocol has 5 s
proxy_protocol.deny          lost leave these networks out of proxy_protocol.from
proxy_protocol.fallback_policy.require
	key proxy_protocol.required =true connections of peers that are not in proxy_protocol.from are closed
proxy_protocol.fallback_policy.use
	key proxy_protocol.required =false headers are read of peers in proxy_protocol.from alone
proxy_protocol.fallback_policy note headers of peers that are not in proxy_protocol.from are answered 400
servers.timeouts.read_header key limits.header_timeout seconds
servers.timeouts.idle        key limits.idle_timeout seconds
servers.timeouts.*           lost bodies and answers have a rate, not a time: limits.min_rate

tls.profile                   key acme.profile text
tls.eab                       key acme.eab eab
tls.disable_http_challenge    key acme.challenge ="tls-alpn-01"
tls.disable_tlsalpn_challenge key acme.challenge ="http-01"
tls.on_demand note hosts with a name are ordered when edge starts, others when on_demand.ask of [acme] says yes
tls.load tls.get_certificate lost write them to files, for cert and key: an internal certificate stands in
tls.force_automate note nothing to write: hosts are ordered, but for those that a file is for
tls.resolvers tls.propagation_delay tls.propagation_timeout tls.dns_ttl tls.dns_challenge_override_domain
	note only of use with dns of [acme]
tls.ciphers          key ciphers list
tls.protocols.tls1.2 key min_version ="1.2"
tls.protocols.tls1.3 key min_version ="1.3"
tls.alpn lost see protocols of listeners
client_auth.trusted_ca_cert_file client_auth.trust_pool.file key client_ca text

log.output.discard key access_log =false
log.output.file    key access_log text
log.output.stdout log.format.json note nothing to write: the default of edge
log.level          note nothing to write: the access log has no levels
log.*              lost the access log is JSON, common or combined, and goes where [log] says

site.try_files     lost edge looks for files where file_server answers, in all requests: the path stays as it is
site.templates site.fs options.ech lost not available in this version
site.root          note only of use with file_server, for all requests
site.method        lost edge sends the method that the client sent
site.push          lost HTTP/2 push is not known: browsers have left it
site.vars site.map lost routes have no variables
site.intercept     lost answers of backends go on as they are; see error_pages and intercept_errors
site.tracing       lost see [tracing], and name in tracing of routes
site.log_append    lost the fields of the access log are those that edge has
site.log_name      lost a route has one log: access_log
site.log_level     lost the access log has no levels
site.timeouts      lost timeouts are those of listeners: limits
site.php_fastcgi   lost backends speak HTTP; such requests are answered 503
site.invoke        lost routes with names are not known; such requests are answered 503
site.metrics       lost edge has /metrics at an address of its own, [metrics]; such requests are answered 503
site.acme_server   lost edge is no authority; such requests are answered 503
site.file_server   lost edge does not know the folder: such requests are answered 404
file_server.precompressed note nothing to write: files with .zst, .br and .gz are always used
file_server.hide   lost see hidden of the destination: names that begin with a dot are not served
file_server.*      lost edge has no such thing for files
encode.minimum_length key min_size number
encode.match       lost see types of the filter
encode.*           lost see type = "compress" in [filters.NAME]
site.basic_auth site.basicauth site.forward_auth
	lost not available in this version: a rule with deny = 403 closes the route until you guard it otherwise

proxy.unhealthy_request_count key breaker.max_requests number
proxy.fail_duration           key outlier.eject seconds a backend is ejected after 2 failures at least: outlier.errors
proxy.max_fails               key outlier.errors number
proxy.lb_policy.random proxy.lb_policy.cookie key load_balancing ="random"
proxy.lb_policy.round_robin proxy.lb_policy.weighted_round_robin key load_balancing ="round_robin"
proxy.lb_policy.least_conn    key load_balancing ="least_conn"
proxy.lb_policy.random_choose key load_balancing ="p2c"
proxy.lb_policy.ip_hash proxy.lb_policy.client_ip_hash
	key load_balancing ="ip_hash" keys go to other backends than they did
proxy.lb_policy.uri_hash proxy.lb_policy.header proxy.lb_policy.query
	key load_balancing ="ketama" keys go to other backends than they did
proxy.dynamic lost see discover of upstreams
proxy.tls_client_auth lost see tls.cert and tls.key of upstreams
proxy.lb_retries              key retry.attempts number
proxy.lb_try_duration         lost retries are counted, not timed: retry.attempts, 2 without the key
proxy.lb_try_interval         note nothing to write: another backend is tried at once
proxy.lb_retry_match          lost what is tried again is said by retry.on
proxy.trusted_proxies         lost proxies are trusted by listeners: trusted_proxies
proxy.flush_interval proxy.buffer_requests proxy.buffer_responses proxy.response_buffers proxy.stream_buffer_size
proxy.stream_close_delay proxy.verbose_logs note nothing to write: bodies go on as they come
proxy.request_buffers         key buffer_request size
proxy.stream_timeout key timeouts.idle seconds how long a tunnel may be without a byte, not how long it may last
proxy.health_uri              key health_check.path text
proxy.health_interval         key health_check.interval seconds
proxy.health_timeout          key health_check.timeout seconds
proxy.health_port             key health_check.port number
proxy.health_passes           key health_check.rise number
proxy.health_fails            key health_check.fall number
proxy.health_method           key health_check.method text

header_up.host.{host} header_up.host.{hostport} header_up.x-forwarded-proto.{scheme} header_up.x-forwarded-host.{host}
header_up.x-forwarded-host.{hostport} header_up.x-forwarded-for.{remote_host} header_up.x-forwarded-for.{remote}
header_up.x-forwarded-for.{remote.host} header_up.x-forwarded-for.{client_ip} header_up.connection.{>connection}
header_up.connection.{header.connection} header_up.connection.upgrade header_up.upgrade.{>upgrade}
header_up.upgrade.{header.upgrade} header_up.upgrade.websocket note nothing to write: edge sends it by itself
header_up.host.{upstream_hostport} header_up.host.{http.reverse_proxy.upstream.hostport} key host ="backend"

proxy.dial_timeout            key timeouts.connect seconds
proxy.response_header_timeout key timeouts.first_byte seconds
proxy.read_timeout            key timeouts.read seconds
proxy.keepalive.off           key pool.idle =0
proxy.keepalive               key pool.idle_timeout seconds
proxy.keepalive_idle_conns    key pool.idle number
proxy.max_conns_per_host      key pool.max_per_backend number
proxy.resolvers               key resolver text
proxy.versions.h2c proxy.versions.2 key protocol ="h2"
proxy.versions.1.1            key protocol ="auto" over TLS the backend chooses
proxy.tls_insecure_skip_verify key tls.verify =false
proxy.tls_server_name         key tls.sni text
proxy.tls_trusted_ca_certs proxy.tls_trust_pool.file key tls.ca text
proxy.tls_timeout             note nothing to write: it is a part of timeouts.connect
proxy.compression proxy.dial_fallback_delay proxy.read_buffer proxy.write_buffer proxy.expect_continue_timeout
proxy.keepalive_interval      note nothing to write: the default of edge
`)
})

// word does what the table has for a line of a block: set gets a key of edge.
func (im *importer) word(block string, d *directive, set func(name, value string, at plan.Place)) {
	d.used = true
	values := d.args
	w, found := words().Find(block + "." + d.name + "." + strings.ToLower(d.arg(0)))
	if found {
		values = values[1:]
	} else {
		w, _ = words().Find(block + "." + d.name)
	}
	text, ok := w.Unit.Value(strings.Join(values, " "))
	if literal, alone := strings.CutPrefix(string(w.Unit), "="); alone { // the word alone says it
		text, ok = literal, true
	} else if w.Unit == "eab" && len(values) == 2 {
		text, ok = plan.Table([]plan.Field{{Name: "kid", Value: values[0]}, {Name: "hmac", Value: values[1]}}), true
	} else if w.Unit == "list" {
		text = plan.List(networks(values)...)
	} else if ok = ok && len(values) == 1; ok && w.Unit == "size" {
		var n int64
		n, ok = plan.ParseSize(values[0], 1000)
		text = plan.Size(n)
	}
	switch {
	case w.Says == "block":
		for _, c := range d.lines() {
			im.word(w.Why, c, set)
		}
	case w.Says != "key":
		im.tell(w.Says, d, w.Why)
	case !ok:
		im.lose(d, "edge does not know the value")
	default:
		if key, found := strings.CutPrefix(w.Key, "acme."); found {
			set, w.Key = im.said.set, key
		}
		if set(w.Key, text, d.at); w.Why != "" {
			im.Note(d.at, d.text, w.Why)
		}
	}
}
