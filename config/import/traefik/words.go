package traefik

import "strings"

// word is what becomes of a part of a file that nothing has read. A star in path stands for one name.
type word struct {
	says says
	path string
	why  string
}

// says is the kind of the finding about a part of a file.
type says uint8

const (
	losing   says = iota // a loss
	noting               // a note
	ifUnread             // a note, where nothing below the part is read
)

const (
	noStreams = "only HTTP is served in this version"
	noGuard   = "not available in this version: what it guards answers 403 until you guard it otherwise"
	noNeed    = "nothing to write: without a counterpart that answers show"
)

// words are the parts of files that edge has nothing for, or that need nothing.
var words = []word{
	{losing, "tcp", noStreams},
	{losing, "udp", noStreams},
	{losing, "entrypoints.*.udp", noStreams},
	{losing, "certificatesresolvers", "certificates are not fetched in this version: name files in cert and key, " +
		"or in [[certificates]]"},
	{noting, "providers.file", noNeed},
	{noting, "providers.providersthrottleduration", noNeed},
	{losing, "providers.docker", "import the Compose file with the labels, or see discover = \"docker://…\" of " +
		"upstreams"},
	{losing, "providers.kubernetesingress", "see discover = \"k8s://…\" of upstreams"},
	{losing, "providers.kubernetescrd", "see discover = \"k8s://…\" of upstreams"},
	{losing, "providers.consulcatalog", "see discover = \"consul://…\" of upstreams"},
	{losing, "providers.etcd", "see discover = \"etcd://…\" of upstreams"},
	{losing, "providers.*", "edge has no such source: see discover of upstreams"},
	{losing, "api", "edge has no dashboard: see [admin], and edge status"},
	{losing, "ping", "edge has /livez and /readyz at the address of [admin] or [metrics]"},
	{losing, "metrics", "edge has metrics for Prometheus: see [metrics]"},
	{losing, "tracing", "not available in this version: see traceparent of listeners"},
	{noting, "global", "nothing to write: edge asks nobody for versions and reports to nobody"},
	{losing, "experimental", "edge has no plugins: see filters"},
	{losing, "pilot", "edge reports to nobody"},
	{losing, "hostresolver", "edge compares the host as it is asked for"},
	{losing, "spiffe", "edge has no SPIFFE: see tls of upstreams"},
	{losing, "ocsp", "edge staples what a file says: see ocsp of [[certificates]]"},
	{noting, "core", noNeed},
	{losing, "tcpserverstransport", noStreams},
	{losing, "accesslog.fields", "formats of [log] are json, common and combined"},
	{losing, "accesslog.filters", "all requests are logged: see access_log of routes"},
	{noting, "accesslog", noNeed},
	{noting, "log", "the format of the error log cannot be chosen; [log] rotate is for all logs"},
	{losing, "entrypoints.*.http3", "HTTP/3 is not available in this version"},
	{losing, "entrypoints.*.proxyprotocol", "the PROXY protocol is not available in this version"},
	{losing, "entrypoints.*.http.encodedcharacters", "see paths of listeners"},
	{noting, "entrypoints.*.http.encodequerysemicolons", "backends get the query as it came"},
	{noting, "entrypoints.*.http.sanitizepath", "see paths of listeners"},
	{losing, "entrypoints.*.http.aliasheadersstrategy", "see underscores of listeners"},
	{losing, "entrypoints.*.http.underscoreheadersstrategy", "see underscores of listeners"},
	{noting, "entrypoints.*.http.tls", noNeed},
	{losing, "entrypoints.*.forwardedheaders", "see trusted_proxies of listeners"},
	{losing, "entrypoints.*.observability", "see access_log of listeners"},
	{noting, "entrypoints.*.reuseport", noNeed},
	{noting, "entrypoints.*.asdefault", noNeed},
	{losing, "entrypoints.*.http2", "see h2 of listeners"},
	{noting, "entrypoints.*.allowacmebypass", noNeed},
	{losing, "entrypoints.*.transport.keepalivemaxtime", "see limits.max_age of listeners"},
	{losing, "entrypoints.*.transport.lifecycle", "see grace_period of [global]"},
	{losing, "entrypoints.*.transport.respondingtimeouts", "see limits.min_rate of listeners"},
	{losing, "http.models", "edge has no models"},
	{losing, "http.routers.*.tls.certresolver", "certificates are not fetched in this version: name files in cert " +
		"and key, or in [[certificates]]"},
	{losing, "http.routers.*.tls.domains", "certificates are not fetched in this version"},
	{losing, "http.routers.*.observability", "see access_log of routes"},
	{losing, "http.routers.*.parentrefs", "edge has no routers below routers"},
	{noting, "http.routers.*.rulesyntax", "nothing to write: both syntaxes are read"},
	{noting, "http.services.*.loadbalancer.responseforwarding", "nothing to write: answers are not held back"},
	{losing, "http.services.*.loadbalancer.passivehealthcheck", "see outlier of upstreams"},
	{losing, "http.services.*.loadbalancer.healthcheck.followredirects", "redirects are not followed"},
	{losing, "http.services.*.loadbalancer.healthcheck", "see health_check of upstreams"},
	{losing, "http.services.*.loadbalancer.sticky.cookie", "see sticky of upstreams"},
	{losing, "http.services.*.loadbalancer.servers.preservepath", "a path in the address of a server is not sent"},
	{losing, "http.services.*.mirroring", "requests are not copied in this version"},
	{losing, "http.services.*.weighted.sticky", "clients do not stay with a part of weighted routes"},
	{noting, "http.services.*.*.healthcheck", "nothing to write: see health_check of upstreams"},
	{losing, "http.services.*.failover.errors", "another upstream is asked where no backend of the first one is up"},
	{losing, "http.services.*.middlewares", "edge has none for services"},
	{losing, "http.serverstransports.*.spiffe", "edge has no SPIFFE: see tls of upstreams"},
	{losing, "http.serverstransports.*.peercerturi", "edge compares the names of hosts"},
	{losing, "http.serverstransports.*.forwardingtimeouts", "see timeouts and pool of upstreams"},
	{ifUnread, "http.serverstransports.*", "no service that is carried reads it"},
	{ifUnread, "http.middlewares.*", "no router that is carried reads it"},
	{ifUnread, "http.services.*", "no router that is carried leads there"},
	{losing, "tls.options.*", "edge has one set of options for each listener"},
	{losing, "tls.stores", "edge has one store of certificates"},
	{noting, "tls.certificates", "no entry point has TLS"},
	{losing, "serverstransport.spiffe", "edge has no SPIFFE: see tls of upstreams"},
	{ifUnread, "serverstransport", "no service that is carried reads it"},
	{noting, "http.serverstransports.*.*", "no service that is carried reads it"},
	{noting, "serverstransport.*", "no service that is carried reads it"},
	{noting, "docker", noNeed},
	{noting, "enable", noNeed},
}

// whyOf returns the reason in the finding about a part of a file, and whether the part is lost. whole says that nothing
// of the part was read. known is false where words has no row for the part: its members have findings of their own.
func whyOf(path string, whole bool) (why string, lost, known bool) {
	for _, w := range words {
		if (whole || w.says != ifUnread) && matches(w.path, path) {
			return w.why, w.says == losing, true
		}
	}
	return "", false, false
}

// matches reports whether a path is that of a word.
func matches(pattern, path string) bool {
	for {
		p, restP, moreP := strings.Cut(pattern, ".")
		n, restN, moreN := strings.Cut(path, ".")
		if p != "*" && p != n || moreP != moreN {
			return false
		}
		if !moreP {
			return true
		}
		pattern, path = restP, restN
	}
}
