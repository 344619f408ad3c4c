package lang

import (
	"iter"
	"strings"
	"sync"
)

// foreignNames are the names of other programs after what each is called here, or after nothing where there is nothing
// like it. A name that ends in a dot, or in an underscore after a dollar sign, stands for all that begin with it, and
// the % of its answer for the rest of the name.
const foreignNames = `
client.ip: ip ip.src $remote_addr $binary_remote_addr src http.request.remote http.request.remote.host
client.ip: remote_host remote_ip client_ip client_addr remote_addr source.address
geo.country: country ip.src.country ip.geoip.country $geoip_country_code $geoip2_data_country_code
path: http.request.uri.path $uri $document_uri request.path
ext(path): http.request.uri.path.extension
query: http.request.uri.query url_query $args $query_string
query.NAME: http.request.uri.args url_param urlp params
target: http.request.uri raw.http.request.uri raw.http.request.uri.path req.url $request_uri url
target: http.request.orig_uri uri request.url capture.req.uri
scheme, host and target: http.request.full_uri
method: http.request.method req.method $request_method meth request.method capture.req.method
proto: http.request.version $server_protocol http.request.proto req.ver
header.NAME: http.request.headers hdr req.hdr req.fhdr headers request.headers
cookie.NAME: http.request.cookies req.cook cook cookies
body: http.request.body http.request.body.raw
length: http.request.body.size $content_length
status: http.response.code resp.status $status http.response.status_code response.status http.error.status_code
status: status_code
answer.header.NAME: http.response.headers res.hdr
host: http.host $host $http_host $server_name http.request.host request.host
header.user-agent: http.user_agent user_agent
header.referer: http.referer referer
header.cookie: http.cookie
header.x-forwarded-for: http.x_forwarded_for
geo.asn: ip.geoip.asnum ip.src.asnum
geo.continent: ip.src.continent ip.geoip.continent
geo.region: ip.src.region_code $geoip_region
geo.city: ip.src.city $geoip_city
scheme == "https": ssl $https ssl_fc
tls.version: cf.tls_version $ssl_protocol ssl_fc_protocol http.request.tls.version
cert.verified: cf.tls_client_auth.cert_verified ssl_c_verify
json: lookup_json_string
re_replace: regex_replace regsub regsuball
text: to_string
+: concat
x ends_with y: ends_with endsWith
x starts_with y: starts_with startsWith
cut_prefix, cut_suffix, split: substring
hmac: is_timed_hmac_valid_v0
base64_decode: decode_base64
base64: encode_base64
replace: remove_bytes
header.%: req.http. $http_ http.request.header.
answer.header.%: resp.http. $sent_http_ http.response.header.
query.%: $arg_ http.request.uri.query.
cookie.%: $cookie_ http.request.cookie.
server.port: $server_port dst_port tcp.dstport udp.dstport http.request.local.port
server.ip: $server_addr dst http.request.local.host
scheme: $scheme http.request.scheme
bytes.in: $request_length
request.id: $request_id http.request.uuid
duration: $request_time http.request.duration
header.content-type: $content_type
client.port: $remote_port src_port http.request.remote.port tcp.srcport
auth.user: $remote_user http.auth.user.id
peer.ip: $realip_remote_addr
bytes.out: $bytes_sent $body_bytes_sent http.response.size
upstream.addr: $upstream_addr http.reverse_proxy.upstream.address
upstream.status: $upstream_status
upstream.time: $upstream_response_time
cache.status: $upstream_cache_status
tls.cipher: $ssl_cipher ssl_fc_cipher http.request.tls.cipher_suite
tls.sni: $ssl_server_name ssl_fc_sni req.ssl_sni http.request.tls.server_name
cert.subject: $ssl_client_s_dn ssl_c_s_dn http.request.tls.client.subject
geo.asn_org: $geoip_org
time.unix: $msec now http.request.timestamp.sec time.now time.now.unix
match.1: $1
match.2: $2
header.NAME starts_with: hdr_beg
header.NAME ends_with: hdr_end
header.NAME contains: hdr_dom hdr_sub
header.NAME ~: hdr_reg HeaderRegexp HeadersRegexp
path starts_with: path_beg PathPrefix
path ends_with: path_end
path ~: path_reg PathRegexp
path contains: path_sub path_dir
tls.alpn: ssl_fc_alpn http.request.tls.proto
random: rand
host + path: base
port: http.request.port
basename(path): http.request.uri.path.file
match.%: http.regexp.
match.N: re.
host ==: Host
host ~: HostRegexp
tls.sni ==: HostSNI
tls.sni ~: HostSNIRegexp
path ==: Path
method ==: Method
header.NAME ==: Header Headers
query.NAME ==: Query
query.NAME ~: QueryRegexp
client.ip in {…}: ClientIP
tls.alpn ==: ALPN
lower: to_lower tolower
upper: to_upper
len: strlen
sha256: md5
has: exists defined
cidr: ipMask ipmask
random(100): cf.random_seed
header.accept-language: http.request.accepted_languages
has(header.NAME): http.request.headers.names
tls.resumed: http.request.tls.resumed
cert.serial: http.request.tls.client.serial
cert.sha256: http.request.tls.client.fingerprint
cert.issuer: http.request.tls.client.issuer
cut_suffix(path, basename(path)): http.request.uri.path.dir
local.%: http.vars. vars.
: cf.threat_score cf.client.bot system.
`

// foreign has what each of foreignNames is called here.
var foreign = sync.OnceValue(func() map[string]string {
	all := make(map[string]string)
	for line := range strings.Lines(foreignNames) {
		here, names, _ := strings.Cut(line, ": ")
		for name := range strings.FieldsSeq(names) {
			all[name] = here
		}
	}
	return all
})

// foreignName returns what a name of another program is called here, as a hint, or "".
func foreignName(name string) string {
	here, ok := foreign()[name]
	if !ok {
		begin, best := "", ""
		for there, called := range foreign() {
			last := there[len(there)-1]
			if open := last == '.' || last == '_' && there[0] == '$'; open && len(there) > len(begin) &&
				len(name) > len(there) && strings.HasPrefix(name, there) {
				begin, best, ok = there, called, true
			}
		}
		rest := strings.TrimPrefix(name, begin)
		if begin != "" && begin[0] == '$' {
			rest = strings.ReplaceAll(rest, "_", "-")
		}
		here = strings.ReplaceAll(best, "%", rest)
	}
	switch {
	case !ok:
		return ""
	case here == "" || here == name:
		return "there is nothing like it here"
	}
	return "here it is called " + here
}

// foreignPlaceholder answers a placeholder as Caddy has them, {http.request.uri}, that begins at a brace. Any other
// text gets the error that it would have had.
func foreignPlaceholder(src string, open int, otherwise *Error) *Error {
	word, _, closed := strings.Cut(src[open+1:], "}")
	for _, name := range []string{word, strings.TrimPrefix(word, "$")} {
		if here := foreignName(name); closed && here != "" {
			return problem(open, open+len(word)+2, "{%s} is no value", word).hint("%s", here)
		}
	}
	return otherwise
}

// foreignPercent answers HAProxy's %[src] and Apache's %{HTTP_HOST}.
func foreignPercent(src string, at int) *Error {
	if at+1 < len(src) && (src[at+1] == '[' || src[at+1] == '{') {
		end := strings.IndexAny(src[at:], "]}")
		if end < 0 {
			end = len(src) - at - 1
		}
		word := strings.Trim(src[at:at+end+1], "%[]{}")
		err := problem(at, at+end+1, "%s is no value", src[at:at+end+1])
		name, _, _ := strings.Cut(word, ",")
		name, _, _ = strings.Cut(name, "(")
		if here := foreignName(name); here != "" {
			return err.hint("%s", here)
		}
		return err.hint("in a template a value stands in braces: {%s}", word)
	}
	return problem(at, at+1, "a value is missing before %%")
}

// nearest returns the name that was probably meant, or "": the one with the fewest letters changed, added or left out,
// at most a third of them.
func nearest(name string, names iter.Seq[string]) string {
	best, least := "", len(name)/3+1
	for other := range names {
		if d := distance(name, other); d < least || d == least && best != "" && other < best {
			best, least = other, d
		}
	}
	return best
}

// distance is how many letters make b of a.
func distance(a, b string) int {
	last, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			changed := last[j]
			if a[i] != b[j] {
				changed++
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, changed)
		}
		last, row = row, last
	}
	return last[len(b)]
}
