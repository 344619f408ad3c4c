package traefik

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// words are the members of files that are a key of edge each, those that edge has nothing for, and those that need
// nothing. "unread" is for parts of which nothing was read.
const words = `
udp entrypoints.*.udp        lost edge has no services of UDP
tcp.services.*.loadbalancer.proxyprotocol.version  key proxy_protocol 1=v1,2=v2
tcp.services.*.loadbalancer.terminationdelay       note nothing to write: a connection ends when both sides have
tcp.services.*.loadbalancer.healthcheck            lost see health_check of upstreams
tcp.serverstransports.*.dialtimeout                key timeouts.connect seconds
tcp.serverstransports.*.tls.insecureskipverify     key tls.verify true=false,false=true
tcp.serverstransports.*.tls.servername             key tls.sni text
tcp.serverstransports.*.tls.rootcas                key tls.ca one
tcp.serverstransports.*.tls.*                      lost see tls of upstreams
certificatesresolvers.*.acme.email            key email text
certificatesresolvers.*.acme.caserver         key ca authority
certificatesresolvers.*.acme.cacertificates   key ca_file one
certificatesresolvers.*.acme.eab              key eab eab
certificatesresolvers.*.acme.keytype          key key_type EC256=p256,EC384=p384,RSA2048=rsa2048,RSA4096=rsa4096
certificatesresolvers.*.acme.profile          key profile text
certificatesresolvers.*.acme.dnschallenge
  lost dns in [acme] is the path of a program, or a name of [dns_providers]: see docs/acme.md
certificatesresolvers.*.acme.*.delay certificatesresolvers.*.acme.certificatesduration
  note nothing to write: edge looks at proofs and certificates itself
certificatesresolvers.*.acme.* certificatesresolvers.* lost see [acme]
http.routers.*.tls.certresolver http.routers.*.tls.domains tcp.routers.*.tls.certresolver tcp.routers.*.tls.domains
  entrypoints.*.http.tls.certresolver entrypoints.*.http.tls.domains note nothing that is carried has this TLS
providers.file.watch key watch switch
core docker enable providers.docker providers.file.* accesslog.* providers.providersthrottleduration
  entrypoints.*.reuseport entrypoints.*.asdefault note nothing to write: without a counterpart that answers show
providers.*    lost see discover of upstreams, which knows Docker, Kubernetes, Consul, etcd and DNS
api            lost edge has no dashboard: see [admin], and edge status
ping           lost edge has /livez and /readyz at the address of [admin] or [metrics]
metrics        lost edge has metrics for Prometheus: see [metrics]
global         note nothing to write: edge asks nobody for versions and reports to nobody
experimental   lost edge has no plugins: see filters
log.filepath   key error_log text
log.level
  key log_level trace=debug,debug=debug,info=info,warn=warn,warning=warn,error=error,fatal=error,panic=error
log.*          note the format of the error log cannot be chosen; [log] rotate is for all logs
accesslog.filepath   key output list
accesslog.format     key format json=json,common=common the members of lines in JSON have other names
accesslog.fields accesslog.filters                     lost see [log], and access_log of routes
entrypoints.*.forwardedheaders.trustedips              key trusted_proxies list
entrypoints.*.proxyprotocol.trustedips                 key proxy_protocol.from list
entrypoints.*.proxyprotocol   lost no peer is trusted: edge answers 400 to headers that Traefik ignores
entrypoints.*.transport.respondingtimeouts.idletimeout key limits.idle_timeout seconds
entrypoints.*.transport.respondingtimeouts.readtimeout key limits.header_timeout seconds for the head alone
entrypoints.*.transport.keepalivemaxrequests           key limits.keepalive_requests number
entrypoints.*.transport.*.*                            lost see limits of listeners, and grace_period of [global]
entrypoints.*.http.maxheaderbytes key limits.header_size bytes request line and fields: limits.target_size, field_size
entrypoints.*.http2.maxconcurrentstreams               key h2.max_streams number
tracing lost see endpoint, sample and resource of [tracing]
entrypoints.*.http3 lost HTTP/3 needs TLS, and requests come here without
experimental.http3  note nothing to write: see http3 of entry points
http.services.*.mirroring lost not available in this version
http.middlewares.*.compress.minresponsebodybytes key min_size number
http.middlewares.*.compress.includedcontenttypes key types list
http.middlewares.*.compress.excludedcontenttypes lost see types of the filter
http.middlewares.*.compress.defaultencoding note nothing to write: no Accept-Encoding, no encoding
entrypoints.*.observability http.routers.*.observability lost see access_log and tracing of listeners and routes
http.routers.*.rulesyntax                              note nothing to write: both syntaxes are read
http.services.*.loadbalancer.strategy
  key load_balancing wrr=round_robin,p2c=p2c,leasttime=peak_ewma,hrw=ketama
http.services.*.loadbalancer.passhostheader            key host true=,false=backend
http.services.*.loadbalancer.sticky.cookie.name        key sticky.cookie text
http.services.*.loadbalancer.sticky.cookie.maxage      key sticky.ttl seconds
http.services.*.loadbalancer.sticky.cookie.*           note nothing to write: it is HttpOnly, and Secure over TLS
http.services.*.loadbalancer.healthcheck.path          key health_check.path text
http.services.*.loadbalancer.healthcheck.mode          key health_check.type grpc=grpc,http=
http.services.*.loadbalancer.healthcheck.method        key health_check.method text
http.services.*.loadbalancer.healthcheck.status        key health_check.expected_status number
http.services.*.loadbalancer.healthcheck.interval      key health_check.interval seconds
http.services.*.loadbalancer.healthcheck.unhealthyinterval key health_check.down_interval seconds
http.services.*.loadbalancer.healthcheck.timeout       key health_check.timeout seconds
http.services.*.loadbalancer.healthcheck.port          key health_check.port number
http.services.*.loadbalancer.healthcheck.hostname      key health_check.host text
http.services.*.loadbalancer.healthcheck.headers       key health_check.headers table
http.services.*.loadbalancer.passivehealthcheck        lost see outlier of upstreams
http.services.*.loadbalancer.responseforwarding        note nothing to write: answers are not held back
http.services.*.weighted.sticky                        lost clients do not stay with a part of weighted routes
http.services.*.*.healthcheck                          note nothing to write: see health_check of upstreams
http.serverstransports.*.insecureskipverify            key tls.verify true=false,false=true
http.serverstransports.*.servername                    key tls.sni text
http.serverstransports.*.rootcas                       key tls.ca one
http.serverstransports.*.certificates                  lost see tls.cert of upstreams
http.serverstransports.*.disablehttp2                  key protocol true=h1,false=
http.serverstransports.*.maxidleconnsperhost           key pool.idle number for all servers of the upstream together
http.serverstransports.*.forwardingtimeouts.dialtimeout           key timeouts.connect seconds
http.serverstransports.*.forwardingtimeouts.responseheadertimeout key timeouts.first_byte seconds
http.serverstransports.*.forwardingtimeouts.idleconntimeout       key pool.idle_timeout seconds
tls.options.*.minversion       key min_version VersionTLS10=1.0,VersionTLS11=1.1,VersionTLS12=1.2,VersionTLS13=1.3
tls.options.*.curvepreferences key curves curves
tls.options.*.clientauth.cafiles        key client_ca one
tls.options.*.clientauth.clientauthtype key client_auth ` + demands + `
tls.options.*.ciphersuites     key ciphers suites those of TLS 1.3 cannot be chosen
tls.options.*.alpnprotocols    lost see protocols of listeners
tls.options.*.snistrict        lost clients that ask for an unknown name get the certificate of the listener
tls.stores tls.certificates.stores lost edge has one store of certificates
tls.certificates               note no entry point has TLS
http.middlewares.*.buffering              note nothing to write: edge holds no answers back
http.middlewares.*.ipallowlist.rejectstatuscode key status number
http.middlewares.*.basicauth.realm        key realm text
http.middlewares.*.basicauth.usersfile    key file text
http.middlewares.*.basicauth.removeheader key forward true=false,false=true
http.middlewares.*.buffering.maxrequestbodybytes key buffer_request bytes
http.middlewares.*.inflightreq lost requests of one client are not counted in this version: see breaker of upstreams
http.middlewares.*.circuitbreaker       lost see outlier of upstreams, which ejects single backends
http.middlewares.*.errors               lost see error_pages and intercept_errors of routes, which show files
http.middlewares.*.passtlsclientcert    lost see the variables of fields, such as {client_cert_subject}
http.middlewares.*.grpcweb              lost see grpc of routes, which translates gRPC-Web
http.middlewares.*.contenttype http.middlewares.*.stripprefix.forceslash http.middlewares.*.headers.addvaryheader
  http.middlewares.*.buffering.memrequestbodybytes http.middlewares.*.buffering.memresponsebodybytes
  http.middlewares.*.chain note nothing to write: edge does so without being told
http.middlewares.*.retry.initialinterval note nothing to write: another backend is tried at once
http.middlewares.*.headers.allowedhosts lost edge takes the hosts that routes name
http.middlewares.*.headers.accesscontrolalloworiginlist  key origins list
http.middlewares.*.headers.accesscontrolallowmethods     key methods list
http.middlewares.*.headers.accesscontrolallowheaders     key headers list
http.middlewares.*.headers.accesscontrolexposeheaders    key expose list
http.middlewares.*.headers.accesscontrolallowcredentials key credentials switch
`

// word returns what words has for a node. A serversTransport of the static configuration is as any other one.
func (im *importer) word(n *node) (w plan.Word, found bool) {
	return im.words.Find(strings.Replace(n.key, "serverstransport.", "http.serverstransports.*.", 1))
}

// unread adds a finding about a member that nothing has read: what the nearest word says about it or a part that it is
// in, and a note about each further line of that part.
func (im *importer) unread(n *node) {
	w, found, of := plan.Word{}, false, n
	for up := n; up.above != nil && !found; up = up.above {
		if w, found = im.word(up); found {
			of = up
		}
	}
	if _, fits := n.value(w.Unit); w.Says == "key" {
		if w = (plan.Word{Why: "edge has no such value: see " + w.Key}); fits {
			w = plan.Word{Says: "note", Why: "nothing that is carried reads it"}
		}
	}
	im.Tell(w, of.at, of.words())
	if n.at != of.at {
		im.Note(n.at, n.path, "it is inside "+of.path) // its text may be a password
	}
}

// lose tells that n is lost, with all below it.
func (im *importer) lose(n *node, why string) {
	im.Lose(n.at, n.words(), why)
	n.use()
}

// keys writes the lines of a block that words has for members of n.
func (im *importer) keys(n *node, b *plan.Block) {
	for _, k := range im.settings(n) {
		b.Set(k.Name, k.Value, k.At)
	}
	b.From(n.places()...)
}

// settings returns the keys of edge that words has for members of n. What has another value is left for rest.
func (im *importer) settings(n *node) (list []plan.Setting) {
	if n == nil {
		return nil
	}
	for _, c := range n.list {
		w, _ := im.word(c)
		if w.Says != "key" {
			list = append(list, im.settings(c)...)
			continue
		}
		value, ok := c.value(w.Unit)
		if c.walk(func(o *node) { o.used = ok }); value != "" && ok {
			list = append(list, plan.Setting{Name: w.Key, Value: value, At: c.at})
		}
		if ok && w.Why != "" {
			im.Note(c.at, c.words(), w.Why)
		}
	}
	return list
}

// value returns n as a value of edge.toml: of a unit, or one of texts and what they become, such as "true=h1,false=".
func (n *node) value(u plan.Unit) (value string, ok bool) {
	switch list := n.texts(); {
	case u == "list" || u == "one":
		return plan.Strings(list...), len(list) == 1 || u == "list" && len(list) > 0
	case u == "eab":
		kid, hmac := n.str("kid"), strings.TrimRight(n.str("hmacencoded"), "=")
		_, err := base64.RawURLEncoding.DecodeString(hmac)
		return plan.Table([]plan.Field{{Name: "kid", Value: kid}, {Name: "hmac", Value: hmac}}),
			kid != "" && hmac != "" && err == nil
	case u == "suites": // TLS 1.3 has its own
		list = slices.DeleteFunc(list, plan.Expr("^TLS_(AES|CHACHA20)")().MatchString)
		return plan.List(list...), len(list) > 0
	case u == "table":
		var fields []plan.Field
		for _, c := range n.list {
			fields = append(fields, plan.Field{Name: c.name, Value: c.text})
		}
		return plan.Table(fields), len(fields) > 0
	case u == "curves":
		return strings.ReplaceAll(plan.List(list...), "CurveP", "P-"), len(list) > 0
	case !strings.Contains(string(u), "="):
		value, ok = u.Value(n.text)
		return value, ok && n.text != "" && !n.branch()
	}
	for pair := range strings.SplitSeq(string(u), ",") {
		if from, to, _ := strings.Cut(pair, "="); strings.EqualFold(from, n.text) {
			if to != "" && to != "true" && to != "false" {
				to = plan.String(to)
			}
			return to, true
		}
	}
	return "", false
}
