package lang

import (
	"iter"
	"strings"
)

// foreign is what names of other programs are called here. A name that ends in a dot, a dash or an underscore stands
// for all that begin with it, and the % of its answer for the rest of the name.
var foreign = map[string]string{
	"ip":      "client.ip",
	"country": "geo.country",

	// Cloudflare, and Wireshark before it
	"http.request.uri.path":               "path",
	"http.request.uri.path.extension":     "ext(path)",
	"http.request.uri.query":              "query",
	"http.request.uri.args":               "query.NAME",
	"http.request.uri":                    "target",
	"http.request.full_uri":               `scheme, host and target`,
	"http.request.method":                 "method",
	"http.request.version":                "proto",
	"http.request.headers":                "header.NAME",
	"http.request.cookies":                "cookie.NAME",
	"http.request.body":                   "body",
	"http.request.body.raw":               "body",
	"http.request.body.size":              "length",
	"http.response.code":                  "status",
	"http.response.headers":               "answer.header.NAME",
	"http.host":                           "host",
	"http.user_agent":                     "header.user-agent",
	"http.referer":                        "header.referer",
	"http.cookie":                         "header.cookie",
	"http.x_forwarded_for":                "header.x-forwarded-for",
	"ip.src":                              "client.ip",
	"ip.src.country":                      "geo.country",
	"ip.geoip.country":                    "geo.country",
	"ip.geoip.asnum":                      "geo.asn",
	"ip.src.asnum":                        "geo.asn",
	"ip.src.continent":                    "geo.continent",
	"ip.geoip.continent":                  "geo.continent",
	"ip.src.region_code":                  "geo.region",
	"ip.src.city":                         "geo.city",
	"ssl":                                 `scheme == "https"`,
	"cf.tls_version":                      "tls.version",
	"cf.tls_client_auth.cert_verified":    "cert.verified",
	"cf.threat_score":                     "",
	"raw.http.request.uri":                "target",
	"raw.http.request.uri.path":           "target",
	"lookup_json_string":                  "json",
	"regex_replace":                       "re_replace",
	"to_string":                           "text",
	"concat":                              "+",
	"ends_with":                           "x ends_with y",
	"starts_with":                         "x starts_with y",
	"substring":                           "cut_prefix, cut_suffix, split",
	"is_timed_hmac_valid_v0":              "hmac",
	"url_query":                           "query",
	"decode_base64":                       "base64_decode",
	"encode_base64":                       "base64",
	"remove_bytes":                        "replace",
	"req.url":                             "target",
	"req.http.":                           "header.%",
	"req.method":                          "method",
	"regsub":                              "re_replace",
	"regsuball":                           "re_replace",
	"resp.http.":                          "answer.header.%",
	"resp.status":                         "status",
	"$request_uri":                        "target",
	"$uri":                                "path",
	"$document_uri":                       "path",
	"$args":                               "query",
	"$query_string":                       "query",
	"$arg_":                               "query.%",
	"$http_":                              "header.%",
	"$sent_http_":                         "answer.header.%",
	"$cookie_":                            "cookie.%",
	"$host":                               "host",
	"$http_host":                          "host",
	"$server_name":                        "host",
	"$server_port":                        "server.port",
	"$server_addr":                        "server.ip",
	"$server_protocol":                    "proto",
	"$scheme":                             "scheme",
	"$https":                              `scheme == "https"`,
	"$request_method":                     "method",
	"$request_length":                     "bytes.in",
	"$request_id":                         "request.id",
	"$request_time":                       "duration",
	"$content_length":                     "length",
	"$content_type":                       "header.content-type",
	"$remote_addr":                        "client.ip",
	"$binary_remote_addr":                 "client.ip",
	"$remote_port":                        "client.port",
	"$remote_user":                        "auth.user",
	"$realip_remote_addr":                 "peer.ip",
	"$status":                             "status",
	"$bytes_sent":                         "bytes.out",
	"$body_bytes_sent":                    "bytes.out",
	"$upstream_addr":                      "upstream.addr",
	"$upstream_status":                    "upstream.status",
	"$upstream_response_time":             "upstream.time",
	"$upstream_cache_status":              "cache.status",
	"$ssl_protocol":                       "tls.version",
	"$ssl_cipher":                         "tls.cipher",
	"$ssl_server_name":                    "tls.sni",
	"$ssl_client_s_dn":                    "cert.subject",
	"$geoip_country_code":                 "geo.country",
	"$geoip2_data_country_code":           "geo.country",
	"$geoip_city":                         "geo.city",
	"$geoip_region":                       "geo.region",
	"$geoip_org":                          "geo.asn_org",
	"$msec":                               "time.unix",
	"$1":                                  "match.1",
	"$2":                                  "match.2",
	"hdr":                                 "header.NAME",
	"req.hdr":                             "header.NAME",
	"req.fhdr":                            "header.NAME",
	"res.hdr":                             "answer.header.NAME",
	"hdr_beg":                             "header.NAME starts_with",
	"hdr_end":                             "header.NAME ends_with",
	"hdr_dom":                             "header.NAME contains",
	"hdr_sub":                             "header.NAME contains",
	"hdr_reg":                             "header.NAME ~",
	"req.cook":                            "cookie.NAME",
	"cook":                                "cookie.NAME",
	"path_beg":                            "path starts_with",
	"path_end":                            "path ends_with",
	"path_reg":                            "path ~",
	"path_sub":                            "path contains",
	"path_dir":                            "path contains",
	"url_param":                           "query.NAME",
	"urlp":                                "query.NAME",
	"url":                                 "target",
	"src":                                 "client.ip",
	"src_port":                            "client.port",
	"dst":                                 "server.ip",
	"dst_port":                            "server.port",
	"ssl_fc":                              `scheme == "https"`,
	"ssl_fc_sni":                          "tls.sni",
	"req.ssl_sni":                         "tls.sni",
	"ssl_fc_alpn":                         "tls.alpn",
	"ssl_fc_protocol":                     "tls.version",
	"ssl_fc_cipher":                       "tls.cipher",
	"ssl_c_s_dn":                          "cert.subject",
	"ssl_c_verify":                        "cert.verified",
	"meth":                                "method",
	"rand":                                "random",
	"base":                                "host + path",
	"http.request.host":                   "host",
	"http.request.port":                   "port",
	"http.request.scheme":                 "scheme",
	"http.request.proto":                  "proto",
	"http.request.remote":                 "client.ip",
	"http.request.remote.host":            "client.ip",
	"http.request.remote.port":            "client.port",
	"http.request.orig_uri":               "target",
	"http.request.uuid":                   "request.id",
	"http.request.header.":                "header.%",
	"http.request.cookie.":                "cookie.%",
	"http.request.uri.query.":             "query.%",
	"http.request.uri.path.file":          "basename(path)",
	"http.request.tls.server_name":        "tls.sni",
	"http.request.tls.version":            "tls.version",
	"http.request.tls.client.subject":     "cert.subject",
	"http.response.header.":               "answer.header.%",
	"http.response.status_code":           "status",
	"http.regexp.":                        "match.%",
	"http.reverse_proxy.upstream.address": "upstream.addr",
	"http.auth.user.id":                   "auth.user",
	"uri":                                 "target",
	"remote_host":                         "client.ip",
	"remote_ip":                           "client.ip",
	"client_ip":                           "client.ip",
	"re.":                                 "match.N",
	"Host":                                "host ==",
	"HostRegexp":                          "host ~",
	"HostSNI":                             "tls.sni ==",
	"HostSNIRegexp":                       "tls.sni ~",
	"Path":                                "path ==",
	"PathPrefix":                          "path starts_with",
	"PathRegexp":                          "path ~",
	"Method":                              "method ==",
	"Header":                              "header.NAME ==",
	"Headers":                             "header.NAME ==",
	"HeaderRegexp":                        "header.NAME ~",
	"HeadersRegexp":                       "header.NAME ~",
	"Query":                               "query.NAME ==",
	"QueryRegexp":                         "query.NAME ~",
	"ClientIP":                            "client.ip in {…}",
	"ALPN":                                "tls.alpn ==",
	"client_addr":                         "client.ip",
	"remote_addr":                         "client.ip",
	"user_agent":                          "header.user-agent",
	"referer":                             "header.referer",
	"headers":                             "header.NAME",
	"cookies":                             "cookie.NAME",
	"params":                              "query.NAME",
	"request.path":                        "path",
	"request.method":                      "method",
	"request.headers":                     "header.NAME",
	"request.host":                        "host",
	"request.url":                         "target",
	"source.address":                      "client.ip",
	"response.status":                     "status",
	"startsWith":                          "x starts_with y",
	"endsWith":                            "x ends_with y",
	"to_lower":                            "lower",
	"tolower":                             "lower",
	"to_upper":                            "upper",
	"strlen":                              "len",
	"md5":                                 "sha256",
	"exists":                              "has",
	"defined":                             "has",
	"now":                                 "time.unix",
	"ipMask":                              "cidr",
	"ipmask":                              "cidr",
	"http.request.timestamp.sec":          "time.unix",
	"cf.random_seed":                      "random(100)",
	"cf.client.bot":                       "",
	"http.request.accepted_languages":     "header.accept-language",
	"http.request.headers.names":          "has(header.NAME)",
	"tcp.dstport":                         "server.port",
	"tcp.srcport":                         "client.port",
	"udp.dstport":                         "server.port",
	"http.request.tls.cipher_suite":       "tls.cipher",
	"http.request.tls.proto":              "tls.alpn",
	"http.request.tls.resumed":            "tls.resumed",
	"http.request.tls.client.serial":      "cert.serial",
	"http.request.tls.client.fingerprint": "cert.sha256",
	"http.request.tls.client.issuer":      "cert.issuer",
	"http.request.duration":               "duration",
	"http.response.size":                  "bytes.out",
	"http.request.uri.path.dir":           "cut_suffix(path, basename(path))",
	"http.error.status_code":              "status",
	"system.":                             "",
	"time.now":                            "time.unix",
	"time.now.unix":                       "time.unix",
	"http.request.local.host":             "server.ip",
	"http.request.local.port":             "server.port",
	"http.vars.":                          "local.%",
	"vars.":                               "local.%",
	"capture.req.uri":                     "target",
	"capture.req.method":                  "method",
	"status_code":                         "status",
	"req.ver":                             "proto",
}

// foreignName returns what a name of another program is called here, as a hint, or "".
func foreignName(name string) string {
	here, ok := foreign[name]
	if !ok {
		begin, best := "", ""
		for there := range foreign {
			last := there[len(there)-1]
			if open := last == '.' || last == '_' && there[0] == '$'; open && len(there) > len(begin) &&
				len(name) > len(there) && strings.HasPrefix(name, there) {
				begin, best, ok = there, foreign[there], true
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
