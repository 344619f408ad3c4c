package server

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// poisoning is an attempt to have victims get an answer that an attacker had a hand in. PAGE stands for the path of the
// page, of which each request of the attacker has its own. The attempt is stopped where the victim gets a good answer
// without mark, and the next victim gets that from the cache.
type poisoning struct {
	name, hope string
	attack     []string                 // requests of the attacker, each on a connection of its own
	h2         [][]string               // the same by HTTP/2: the fields of each
	victim     string                   // the request of the victim. Default: a plain GET of PAGE
	app        func(*appRequest) string // the application. Default: vulnerable
	mark       string                   // in answers of the attacker's making. Default: evil
	behind     bool                     // all are clients of a trusted proxy
	uncached   bool                     // the page may not be stored
}

// raw are requests, byte for byte.
func raw(requests ...string) []string { return requests }

// getOf is a GET for victim.test with more fields.
func getOf(target string, fields ...string) string { return getAt("victim.test", target, fields...) }

func getAt(host, target string, fields ...string) string {
	return requestOf("GET", target, append([]string{"Host: " + host}, fields...)...)
}

func requestOf(method, target string, fields ...string) string {
	return method + " " + target + " HTTP/1.1\r\n" + strings.Join(fields, "\r\n") + "\r\n\r\n"
}

// with are GETs of the page with each of the fields.
func with(fields ...string) (requests []string) {
	for _, f := range fields {
		requests = append(requests, getOf("PAGE", f))
	}
	return requests
}

// From "Practical web cache poisoning" and "Web cache entanglement" of James Kettle, "CPDoS" of Nguyen, Lo Iacono and
// Federrath, and the CVEs that are named.
var poisonings = []poisoning{
	// Fields that speak of another host, scheme, path, method or client.
	{name: "X-Forwarded-Host", hope: "the page loads scripts from a host of the attacker",
		attack: with("X-Forwarded-Host: evil.test", "x-forwarded-host:evil.test",
			"X-Forwarded-Host: victim.test, evil.test")},
	{name: "X-Forwarded-Host in spellings of CGI",
		hope: "the field is not dropped, and the application reads it all the same",
		attack: with("X_Forwarded_Host: evil.test", "X-Forwarded_Host: evil.test", "HTTP_X_FORWARDED_HOST: evil.test",
			"X-Forwarded-Host : evil.test")},
	{name: "X-Forwarded-Host twice", hope: "the proxy looks at one of the fields, the application at the other",
		attack: raw(getOf("PAGE", "X-Forwarded-Host: victim.test", "X-Forwarded-Host: evil.test"),
			getOf("PAGE", "X-Forwarded-Host: evil.test", "X-Forwarded-Host: victim.test"))},
	{name: "X-Forwarded-Host named in Connection",
		hope:   "the field of the proxy is taken away, or the attacker's is left",
		attack: raw(getOf("PAGE", "Connection: close, X-Forwarded-Host", "X-Forwarded-Host: evil.test"))},
	{name: "X-Forwarded-Scheme", hope: "a redirect to https, to the attacker's host, for everybody",
		attack: raw(getOf("PAGE", "X-Forwarded-Scheme: evil"),
			getOf("PAGE", "X-Forwarded-Scheme: https", "X-Forwarded-Host: evil.test"))},
	{name: "X-Forwarded-Proto", hope: "a redirect that leads to itself", attack: with("X-Forwarded-Proto: evil")},
	{name: "X-Forwarded-Port", hope: "links to a port that nobody listens on",
		attack: with("X-Forwarded-Port: 1evil")},
	{name: "X-Forwarded-Prefix", hope: "links below a path of the attacker",
		attack: with("X-Forwarded-Prefix: //evil.test", "X-Forwarded-Path: /evil", "X-Forwarded-Uri: /evil")},
	{name: "addresses of clients", hope: "the page tells everybody the attacker's address, or what is for it",
		attack: with("X-Forwarded-For: evil", "X-Real-IP: evil", "True-Client-IP: evil", "CF-Connecting-IP: evil")},
	{name: "Forwarded", hope: "links lead to the host that RFC 7239 has a field for",
		attack: with("Forwarded: host=evil.test;proto=https")},
	{name: "X-Original-URL", hope: "the path of another page decides what is stored for this one",
		attack: with("X-Original-URL: /evil", "X-Original-URI: /evil", "X-Original-Host: evil.test")},
	{name: "X-Rewrite-URL", hope: "the path of another page decides",
		attack: with("X-Rewrite-URL: /evil", "X_Rewrite_Url: /evil")},
	{name: "X-Host", hope: "links lead to a host in a field that proxies do not know",
		attack: with("X-Host: evil.test", "x-host: evil.test")},
	{name: "X-HTTP-Host-Override", hope: "links lead to a host in another field that proxies do not know",
		attack: with("X-HTTP-Host-Override: evil.test")},
	{name: "X-HTTP-Method-Override", hope: "405, or the empty answer to HEAD, is stored for GET: HMO of CPDoS",
		attack: with("X-HTTP-Method-Override: EVIL", "X-HTTP-Method: HEAD", "X-Method-Override: POST")},

	// The host.
	{name: "two Host fields", hope: "the key is made of one of them, the page of the other",
		attack: raw(getOf("PAGE", "Host: evil.test"), getAt("evil.test", "PAGE", "Host: victim.test"))},
	{name: "absolute form against Host", hope: "the key has the host of the one, the application looks at the other",
		attack: raw(getAt("evil.test", "http://victim.testPAGE"),
			getAt("victim.test", "http://evil.testPAGE"), getAt("victim.test", "evil://victim.testPAGE"))},
	{name: "port in Host", hope: "a redirect to a port that nobody listens on is stored for the host",
		attack: raw(getAt("victim.test:1337", "PAGE"), getAt("victim.test:80evil", "PAGE")),
		app: func(r *appRequest) string {
			if host := r.get("Host"); strings.Contains(host, ":") {
				return reply("301 Moved Permanently", "evil", forAMinute, "Location: https://"+host+r.target)
			}
			return vulnerable(r)
		}},
	{name: "userinfo in Host", hope: "the proxy compares up to @, the application from there on",
		attack: raw(getAt("victim.test@evil.test", "PAGE"), getAt("victim.test:@evil.test", "PAGE"),
			getAt("victim.test, evil.test", "PAGE"), getAt("victim.test/evil", "PAGE"))},
	{name: "Host in capitals",
		hope:   "keys without case, pages with it: links lead to a name that the attacker has spelled",
		attack: raw(getAt("VICTIM.TEST", "PAGE"), getAt("Victim.Test:80", "PAGE")),
		app: func(r *appRequest) string {
			return reply("200 OK", "home page\nlinks to "+r.get("Host"), forAMinute)
		}, mark: "ictim.T"},
	{name: "no Host", hope: "a key without the host: a page of another site for all (CVE-2026-2836)",
		attack: raw("GET PAGE HTTP/1.0\r\nX-Trace: evil\r\n\r\n",
			"GET PAGE HTTP/1.0\r\nHost:\r\nX-Trace: evil\r\n\r\n",
			"GET http://evil.testPAGE HTTP/1.0\r\n\r\n"),
		victim: "GET PAGE HTTP/1.0\r\nHost: victim.test\r\n\r\n"},
	{name: "another site of the same proxy", hope: "the attacker's own page is stored for the same path of all sites",
		attack: raw(getAt("evil.test", "PAGE"), getAt("victim.test.evil.test", "PAGE"),
			getAt("evil.test:80", "PAGE"))},
	{name: "Host that is folded", hope: "the proxy skips a field that the application reads",
		attack: raw(getOf("PAGE", "X-A: b\r\n Host: evil.test"), getOf("PAGE", "Host : evil.test"),
			getOf("PAGE", "\tHost: evil.test"))},

	// Content.
	{name: "fat GET", hope: "the application reads parameters in the content, which the key lacks",
		attack: raw(getOf("PAGE", "Content-Length: 6") + "q=evil")},
	{name: "fat GET in chunks", hope: "content without Content-Length is not seen, but for the application",
		attack: raw(getOf("PAGE", "Transfer-Encoding: chunked") + "6\r\nq=evil\r\n0\r\n\r\n")},
	{name: "fields after the content", hope: "trailer fields are taken for fields of the head",
		attack: raw(getOf("PAGE", "Transfer-Encoding: chunked", "Trailer: X-Forwarded-Host") +
			"0\r\nX-Forwarded-Host: evil.test\r\n\r\n")},

	// Parameters that the key lacks.
	{name: "parameter outside of the key", hope: "the application shows a parameter that the key lacks",
		attack: raw(drop("PAGE?q=1&utm_content=evil"), drop("PAGE?utm_content=evil&q=1"), drop("PAGE?utm_evil&q=1")),
		victim: drop("PAGE?q=1")},
	{name: "parameter cloaking by ;",
		hope: "the proxy sees one parameter, the application two, of which the second counts",
		attack: raw(drop("PAGE?q=1&utm_content=1;q=evil"), drop("PAGE?utm_content=1;q=evil&q=1"),
			drop("PAGE?q=1&utm_content=1;evil")),
		victim: drop("PAGE?q=1")},
	{name: "parameter cloaking by an encoded &", hope: "the proxy decodes a separator, or the application does",
		attack: raw(drop("PAGE?q=1&utm_content=1%26q=evil"), drop("PAGE?q=1&utm_content=1%26q%3devil")),
		victim: drop("PAGE?q=1")},
	{name: "parameter with an encoded name",
		hope: "a name that the key lacks once it is decoded stays in the request",
		attack: raw(drop("PAGE?q=1&utm%5fcontent=evil"), drop("PAGE?q=1&%75tm_content=evil"),
			drop("PAGE?q=1&+utm_content=evil")),
		victim: drop("PAGE?q=1")},
	{name: "a second ?", hope: "the parameter begins elsewhere for the application",
		attack: raw(drop("PAGE?q=1?utm_content=evil"), drop("PAGE??utm_content=evil&q=1"),
			drop("PAGE?&&utm_content=evil&q=1")),
		victim: drop("PAGE?q=1")},
	{name: "callback of JSONP", hope: "the name of a function, which is not in the key, is in the script",
		attack: raw(keep("PAGE?q=1&callback=evil"), keep("PAGE?callback=evil&q=1"), keep("PAGE?q=1;callback=evil")),
		victim: keep("PAGE?q=1")},
	{name: "parameters in another order", hope: "of a parameter that is there twice the wrong one counts",
		attack: raw(drop("PAGE?q=evil&a=1&q=1"), drop("PAGE?q=1&a=1&q=evil")), victim: drop("PAGE?a=1&q=1")},
	{name: "script that is not encoded", hope: "a browser encodes it, the attacker does not, and the key is the same",
		attack: raw(getOf("PAGE?x=\"><evil>"), getOf("PAGE?x=%22><evil>"), getOf("PAGE?x=%22%3e<evil>")),
		victim: getOf("PAGE?x=%22%3E%3Cevil%3E"), mark: "<evil>"},

	// Paths that become the same.
	{name: "dot segments", hope: "the key is of the path that is left, the page shows the path that was sent",
		attack: raw(getOf("/evil/..PAGE"), getOf("/./evil/../.PAGE"))},
	{name: "encoded dot segments", hope: "only one side decodes the path before it resolves dot segments",
		attack: raw(getOf("/evil/%2e%2ePAGE"), getOf("/evil/.%2ePAGE"), getOf("/evil/%252e%252ePAGE"))},
	{name: "empty segments", hope: "a redirect to a host that is named in the path",
		attack: raw(getOf("//evil.test/..PAGE"), getOf("///evil.test/%2e%2ePAGE"))},
	{name: "encoded slashes and backslashes", hope: "segments are counted differently",
		attack: raw(getOf("/evil%2f..PAGE"), getOf("/evil%5c..PAGE"), getOf(`/evil\..PAGE`),
			getOf("/evil%2f%2e%2ePAGE"))},
	{name: "parameters of a segment", hope: "the application cuts the path at ;, or the key does",
		attack: raw(getOf("PAGE;evil"), getOf("/;evil/..PAGE"), getOf("PAGE%3bevil"))},
	{name: "null and newline in the path", hope: "the path ends there for the key, or for the application",
		attack: raw(getOf("PAGE%00evil"), getOf("PAGE\x00evil"), getOf("PAGE%0aevil"),
			getOf("PAGE%0d%0aX-Forwarded-Host:%20evil"))},
	{name: "fragment in the target", hope: "the key is made without it, the page with it",
		attack: raw(getOf("PAGE#evil"), getOf("PAGE?#evil"), getOf("PAGE%23evil"), getOf("PAGE#/../../evil"))},
	{name: "encoded ? in the path", hope: "a key of path and query joined in which this ? ends the path",
		attack: raw(getOf("PAGE%3fevil"), getOf("PAGE%3Fq=evil"), getOf("PAGE%253fevil"))},

	// Methods.
	{name: "HEAD", hope: "the empty answer to HEAD is stored for GET",
		attack: raw(requestOf("HEAD", "PAGE", "Host: victim.test", "X-Trace: evil"))},
	{name: "methods of others", hope: "the answer to OPTIONS, POST or a method that nobody knows is stored for GET",
		attack: raw(requestOf("OPTIONS", "PAGE", "Host: victim.test", "X-Trace: evil"),
			requestOf("POST", "PAGE", "Host: victim.test", "Content-Length: 4")+"evil",
			requestOf("get", "PAGE", "Host: victim.test", "X-Trace: evil"),
			requestOf("TRACE", "PAGE", "Host: victim.test", "X-Trace: evil"))},

	// Errors that a request provokes: CPDoS.
	{name: "oversized head", hope: "an error of the application, which takes less than the proxy, is stored: HHO",
		attack: with("X-Trace: evil" + strings.Repeat("e", 12_000)),
		app:    refusing(func(r *appRequest) bool { return len(r.head) > 8000 })},
	{name: "control characters in a field", hope: "the application refuses what the proxy lets through: HMC",
		attack: with("X-Trace: evil\x07", "X-Trace: evil\x00", "X-Trace: evil\rX-Forwarded-Host: evil",
			"X-Trace: evil\x7f")},
	{name: "blocked User-Agent", hope: "the error page of a firewall is stored for all",
		attack: with("User-Agent: evil", "User-Agent: evil 2"),
		app:    refusing(func(r *appRequest) bool { return r.get("User-Agent") != "" })},
	{name: "backend that fails", hope: "500 and its kin, provoked by a field, are stored for all",
		attack: with("Accept: evil"), app: func(r *appRequest) string {
			if r.get("Accept") != "" {
				return reply("503 Service Unavailable", "evil", "Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT")
			}
			return vulnerable(r)
		}},
	{name: "Range", hope: "a part is stored as the whole, or 416 instead of it",
		attack: with("Range: bytes=0-3", "Range: bytes=4-", "Range: bytes=9999-", "Range: evil=1", "Range: bytes=-1"),
		app: func(r *appRequest) string {
			switch r.get("Range") {
			case "":
				return vulnerable(r)
			case "bytes=9999-":
				return reply("416 Range Not Satisfiable", "evil", forAMinute)
			}
			return reply("206 Partial Content", "evil", forAMinute, "Content-Range: bytes 0-3/4")
		}},
	{name: "If-None-Match", hope: "304, which has no content, is stored instead of the page",
		attack: raw(getOf("PAGE", `If-None-Match: "evil"`), getOf("PAGE", "If-None-Match: *"),
			getOf("PAGE", "If-Modified-Since: Wed, 01 Jan 2031 00:00:00 GMT")),
		app: func(r *appRequest) string {
			if r.get("If-None-Match", "If-Modified-Since") != "" {
				return reply("304 Not Modified", "", forAMinute, `ETag: "evil"`)
			}
			return vulnerable(r)
		}},
	{name: "If-Match and If-Range", hope: "412 is stored, or a part that fits a validator of the attacker",
		attack: raw(getOf("PAGE", `If-Match: "evil"`),
			getOf("PAGE", "If-Unmodified-Since: Wed, 01 Jan 2020 00:00:00 GMT"),
			getOf("PAGE", "Range: bytes=0-3", `If-Range: "evil"`)),
		app: func(r *appRequest) string {
			switch {
			case r.get("If-Match", "If-Unmodified-Since") != "":
				return reply("412 Precondition Failed", "evil", forAMinute)
			case r.get("If-Range") != "":
				return reply("206 Partial Content", "evil", forAMinute, "Content-Range: bytes 0-3/4")
			}
			return vulnerable(r)
		}},
	{name: "Transfer-Encoding", hope: "501 is stored, or what follows is taken for the next request",
		attack: raw(getOf("PAGE", "Transfer-Encoding: evil"),
			getOf("PAGE", "Transfer-Encoding: xchunked")+"0\r\n\r\n",
			getOf("PAGE", "Transfer-Encoding : chunked")+"0\r\n\r\n",
			getOf("PAGE", "Transfer-Encoding:\vchunked")+"0\r\n\r\n",
			getOf("PAGE", "Content-Length: 4", "Transfer-Encoding: chunked")+"0\r\n\r\n"+getOf("/evil"))},
	{name: "Upgrade", hope: "the refusal of a protocol, or its bytes, are stored",
		attack: raw(getOf("PAGE", "Connection: Upgrade", "Upgrade: evil"),
			getOf("PAGE", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: evil")),
		app: func(r *appRequest) string {
			if r.get("Upgrade") != "" {
				return reply("426 Upgrade Required", "evil", forAMinute)
			}
			return vulnerable(r)
		}},
	{name: "broken credentials", hope: "401, or the page of a user that there is not, is stored for all",
		attack: with("Authorization: evil", "Proxy-Authorization: evil"), app: func(r *appRequest) string {
			if r.get("Authorization", "Proxy-Authorization") != "" {
				return reply("401 Unauthorized", "evil", forAMinute)
			}
			return vulnerable(r)
		}},

	// Variants.
	{name: "codings that nobody knows", hope: "the page shows the field, of which only known codings are compared",
		attack: raw(getOf("PAGE", "Accept-Encoding: gzip, evil"),
			getOf("PAGE", "Accept-Encoding: gzip;q=0.1, evil;q=1")),
		victim: getOf("PAGE", "Accept-Encoding: gzip"),
		app:    func(r *appRequest) string { return varying(r, "Accept-Encoding") }},
	{name: "codings that are refused", hope: "those that take no coding get one, and cannot read the page",
		attack: raw(getOf("PAGE", "Accept-Encoding: gzip;q=0"), getOf("PAGE", "Accept-Encoding: xgzip"),
			getOf("PAGE", "Accept-Encoding: identity, gzip;q=0.0")),
		app: func(r *appRequest) string {
			if strings.Contains(r.get("Accept-Encoding"), "gzip") {
				return reply("200 OK", "evil", forAMinute, "Vary: Accept-Encoding", "Content-Encoding: gzip")
			}
			return varying(r, "Accept-Encoding")
		}},
	{name: "reflected Origin",
		hope:   "scripts of a site of the attacker may read the page, and those of the site may not",
		attack: raw(getOf("PAGE", "Origin: https://evil.test"), getOf("PAGE", "Origin: null")),
		victim: getOf("PAGE", "Origin: https://app.test"), app: func(r *appRequest) string {
			return reply("200 OK", "home page", forAMinute, "Access-Control-Allow-Origin: "+r.get("Origin"))
		}},
	{name: "Vary and Connection", hope: "the variant is of a field that the application has not seen",
		attack: raw(getOf("PAGE", "Connection: close, X-Lang", "X-Lang: evil"),
			getOf("PAGE", "X-Lang: evil", "X-Lang: en"),
			getOf("PAGE", "X-Lang: en", "X-Lang: evil"), getOf("PAGE", "X-Lang: en, evil")),
		victim: getOf("PAGE", "X-Lang: en"), app: func(r *appRequest) string { return varying(r, "X-Lang") }},

	// HTTP/2.
	{name: "two authorities of HTTP/2", hope: "the key is made of :authority, the page of Host",
		h2: [][]string{h2get(":authority: victim.test", "host: evil.test"), h2get(":authority: evil.test",
			"host: victim.test"),
			h2get(":authority: victim.test", ":authority: evil.test"), h2get(":authority: victim.test@evil.test"),
			h2get("host: evil.test")}},
	{name: "pseudo-fields of HTTP/2", hope: "they become a request of HTTP/1 that reads differently",
		h2: [][]string{{":method: GET", ":scheme: evil", ":path: PAGE", ":authority: victim.test"},
			{":method: GET", ":scheme: http", ":path: PAGE HTTP/1.1\r\nX-Forwarded-Host: evil.test\r\nx:",
				":authority: victim.test"},
			{":method: GET", ":scheme: http", ":path: http://evil.testPAGE", ":authority: victim.test"},
			{":method: GET /evil HTTP/1.1\r\nx: ", ":scheme: http", ":path: PAGE", ":authority: victim.test"},
			{":method: GET", ":scheme: http", ":path: PAGE", ":path: /evil", ":authority: victim.test"}}},
	{name: "fields of HTTP/2", hope: "a value becomes fields, or content, of a request of HTTP/1",
		h2: [][]string{h2get(":authority: victim.test", "x-trace: a\r\nX-Forwarded-Host: evil.test"),
			h2get(":authority: victim.test", "x-forwarded-host: evil.test"), h2get(":authority: victim.test",
				"transfer-encoding: chunked"),
			h2get(":authority: victim.test", "content-length: 4"), h2get(":authority: victim.test",
				"X-Rewrite-URL: /evil"),
			h2get(":authority: victim.test", "x-http-method-override: evil")}},
}

// drop and keep are for hosts whose key lacks parameters named utm_*, and has the parameter q alone.
func drop(target string) string { return getAt("drop.test", target) }
func keep(target string) string { return getAt("keep.test", target) }

func h2get(fields ...string) []string {
	return append([]string{":method: GET", ":scheme: http", ":path: PAGE"}, fields...)
}

// deception is an attempt to have a page that is for one visitor stored, and to fetch it. The victim follows a link to
// each of the targets, and then the attacker asks for it.
type deception struct {
	name, hope string
	targets    []string
	fields     []string // of the page
}

// From "Web cache deception" of Omer Gil and "Gotta cache 'em all" of Martin Doyhenard.
var deceptions = []deception{
	{name: "suffixes of static files", hope: "what ends like a stylesheet is stored whatever the application says",
		targets: []string{"PAGE/account/x.css", "PAGE/account.css", "PAGE/account/x.js", "PAGE/account/x.png?v=1",
			"PAGE/account?x.css"}},
	{name: "suffixes after delimiters", hope: "the application cuts the path there, the cache does not",
		targets: []string{"PAGE/account;x.css", "PAGE/account%3bx.css", "PAGE/account%00x.css",
			"PAGE/account%0ax.css",
			"PAGE/account%23x.css", "PAGE/account%3fx.css", "PAGE/account;/x.css", "PAGE/account%00.css"}},
	{name: "encoded slashes", hope: "one of both decodes, so that a page becomes a file",
		targets: []string{"PAGE/account%2fx.css", "PAGE/account%5cx.css", "PAGE/account%252fx.css",
			`PAGE/account\x.css`}},
	{name: "folders and names of static files",
		hope: "the cache resolves dot segments, the application does not, or the other way",
		targets: []string{"PAGE/static/..%2faccount", "PAGE/static/%2e%2e/account", "PAGE/account/..%2frobots.txt",
			"PAGE/account%2f%2e%2e%2ffavicon.ico", "/robots.txt/..PAGE/account", "PAGE/static/../account",
			"PAGE/assets%2f..%2faccount"}},
	{name: "suffixes of pages that state a lifetime",
		hope: "a framework states lifetimes by the suffix, and sends the page",
		targets: []string{"PAGE/account/x.css", "PAGE/account;x.js", "PAGE/account%2fx.svg", "PAGE/account%00.woff2",
			"PAGE/account%3fx.png"},
		fields: []string{forAMinute}},
}

// forAMinute is what lets any cache keep an answer.
const forAMinute = "Cache-Control: max-age=60"

// appRequest is a request as an application sees it.
type appRequest struct{ method, target, head, body string }

// get returns the value of the first field with one of these names, which may be spelled as variables of CGI are.
func (r *appRequest) get(names ...string) string {
	for _, want := range names {
		for line := range strings.Lines(r.head) {
			name, value, _ := strings.Cut(line, ":")
			name = strings.TrimPrefix(strings.ReplaceAll(strings.ToLower(name), "_", "-"), "http-")
			if name == strings.ToLower(want) {
				return strings.TrimSpace(value)
			}
		}
	}
	return ""
}

func reply(status, body string, fields ...string) string {
	return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n\r\n%s", status, len(body), strings.Join(fields,
		"\r\n"), body)
}

// vulnerable is an application that believes each field, tells all that it was told, and lets anybody keep that.
func vulnerable(r *appRequest) string {
	if method := r.get("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"); method != "" {
		r.method = method
	}
	host := r.get("X-Forwarded-Host", "X-Host", "X-HTTP-Host-Override", "X-Original-Host", "Host")
	scheme := r.get("X-Forwarded-Scheme", "X-Forwarded-Proto")
	switch {
	case scheme != "" && scheme != "http":
		return reply("301 Moved Permanently", "", forAMinute, "Location: https://"+host+r.target)
	case r.get("X-Original-URL", "X-Rewrite-URL") != "":
		return reply("200 OK", "the page "+r.get("X-Original-URL", "X-Rewrite-URL"), forAMinute)
	case r.method == "HEAD":
		return reply("200 OK", "", forAMinute)
	case r.method != "GET":
		return reply("405 Method Not Allowed", "no "+r.method, forAMinute)
	}
	return reply("200 OK", fmt.Sprintf("home page of %s\n%s\n%s", host, r.head, r.body), forAMinute)
}

// varying shows a field of the request, and says so by Vary.
func varying(r *appRequest, name string) string {
	return reply("200 OK", "home page, "+r.get(name), forAMinute, "Vary: "+name)
}

// refusing answers some requests by an error that states no lifetime.
func refusing(refused func(r *appRequest) bool) func(r *appRequest) string {
	return func(r *appRequest) string {
		if refused(r) {
			return reply("400 Bad Request", "evil", "Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT")
		}
		return vulnerable(r)
	}
}

// account is an application with a page for each visitor, at each path that contains /account once it is decoded.
func (d *deception) account(r *appRequest) string {
	target, _ := url.PathUnescape(r.target)
	if !strings.Contains(r.target, "/account") && !strings.Contains(path.Clean(target), "/account") {
		return reply("404 Not Found", "no such page")
	}
	if cookie := r.get("Cookie"); cookie != "" {
		return reply("200 OK", "account of "+cookie, append(d.fields, "Content-Type: text/html")...)
	}
	return reply("200 OK", "log in", "Content-Type: text/html", "Cache-Control: no-store")
}

// application answers each request by app, which changes with each attempt.
type application struct {
	app atomic.Pointer[func(*appRequest) string]
}

func (a *application) use(app func(*appRequest) string) { a.app.Store(&app) }

// serve is the application's side of a connection.
func (a *application) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		var head strings.Builder
		for !strings.HasSuffix(head.String(), "\r\n\r\n") {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			head.WriteString(line)
		}
		req, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader(head.String()), in)))
		if err != nil {
			return
		}
		body, _ := io.ReadAll(req.Body)
		text := (*a.app.Load())(&appRequest{req.Method, req.RequestURI, head.String(), string(body)})
		if req.Method == "HEAD" {
			text = text[:strings.Index(text, "\r\n\r\n")+4]
		}
		if _, err := io.WriteString(c, text); err != nil {
			return
		}
	}
}

// victims are a server with a cache before an application.
type victims struct {
	application
	server      *Server
	web, behind string // addresses of listeners: for all, and for clients of a trusted proxy
}

func startVictims(t *testing.T) *victims {
	v, canary := &victims{}, &application{}
	canary.use(func(*appRequest) string { return reply("200 OK", "evil canary", forAMinute) })
	app, other := testutil.Serve(t, v.serve), testutil.Serve(t, canary.serve)
	t.Cleanup(func() { app.Close(); other.Close() })
	v.server = start(t, Options{}, quiet+`
listeners = [
	{ name = "web", listen = "127.0.0.1:0", protocols = ["h1", "h2"] },
	{ name = "trusted", listen = "127.0.0.1:0", trusted_proxies = "127.0.0.1" },
]
upstreams.app.backends = [{ address = %q }]
upstreams.canary.backends = [{ address = %q }]
defaults.cache = true
routes = [
	{ pattern = "/*", dest = "app" },
	{ pattern = "drop.test/*", dest = "app", cache.query = { drop = ["utm_*"], sort = true } },
	{ pattern = "keep.test/*", dest = "app", cache.query.keep = ["q"] },
	{ pattern = "key.test/*", dest = "app", cache.key = ["{header.x-a}", "{header.x-b}"] },
	{ pattern = "rules.test/*", dest = "app", rules = [
		{ when = 'cookie.canary == "1"', dest = "canary" },
		{ when = 'header.x-beta == "1"', headers.request.X-Role = "evil" },
	] },
	{ pattern = "password.test/*", dest = "app", filters = ["password"] },
]
[filters.password]
type = "basic_auth"
users.ann = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$vk+JgWgZGbXHtEqPQPhzXbD+QxxkJR5Fq2AXLhDyYaY"
`, app.Addr(), other.Addr())
	v.web = strings.TrimPrefix(urlOf(t, v.server, "web"), "http://")
	v.behind = strings.TrimPrefix(urlOf(t, v.server, "trusted"), "http://")
	return v
}

// exchange sends requests on a connection of its own and returns the last answer, "" where there is none.
func exchange(t *testing.T, addr string, requests ...string) (answer string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	testutil.Must(t, err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(testutil.Patience))     //nolint:errcheck // the read says so
	_, _ = io.WriteString(c, strings.Join(requests, "")) // what is refused may be cut off
	in := bufio.NewReader(c)
	for _, request := range requests {
		method, _, _ := strings.Cut(request, " ")
		resp, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			return ""
		}
		text, _ := httputil.DumpResponse(resp, true)
		answer = string(text)
	}
	return answer
}

// exchangeH2 sends a request of HTTP/2 with these fields, as they are, and waits for its end.
func exchangeH2(t *testing.T, addr string, fields []string) {
	t.Helper()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		encoder.WriteField(hpack.HeaderField{Name: name, Value: value}) //nolint:errcheck // to memory
	}
	w := testutil.Dial(t, addr)
	defer w.Close()
	w.Send(http2.ClientPreface)
	frames := http2.NewFramer(w.Conn(), w.Conn())
	_ = frames.WriteSettings()
	_ = frames.WriteHeaders(http2.HeadersFrameParam{
		StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true,
	})
	for {
		f, err := frames.ReadFrame()
		if err != nil {
			return
		}
		ends := f.Header().Flags.Has(http2.FlagDataEndStream) // the same flag for heads
		switch f.Header().Type {
		case http2.FrameRSTStream, http2.FrameGoAway:
			return
		case http2.FrameData, http2.FrameHeaders:
			if ends {
				return
			}
		}
	}
}

// wantGood fails unless the answer is 200 with want, and without mark.
func wantGood(t *testing.T, hope, answer, want, mark string) {
	t.Helper()
	if strings.Contains(answer, mark) {
		t.Errorf("the attempt works (%s):\n%s", hope, answer)
	} else if !strings.HasPrefix(answer, "HTTP/1.1 200 ") || !strings.Contains(answer, want) {
		t.Errorf("no good answer is left (%s):\n%s", hope, answer)
	}
}

// try makes the attempt p, once for each request of the attacker, with pages of its own.
func (v *victims) try(t *testing.T, p *poisoning) {
	app, addr := p.app, v.web
	if app == nil {
		app = vulnerable
	}
	if p.behind {
		addr = v.behind
	}
	v.use(app)
	for n := range max(len(p.attack), len(p.h2)) {
		page := strings.NewReplacer("PAGE", "/"+url.PathEscape(p.name)+fmt.Sprint("/", n)).Replace
		if p.h2 == nil {
			exchange(t, addr, page(p.attack[n]))
		} else {
			exchangeH2(t, addr, strings.Split(page(strings.Join(p.h2[n], "\t")), "\t"))
		}
		victim := page(cmp.Or(p.victim, getOf("PAGE")))
		wantGood(t, p.hope, exchange(t, addr, victim), "home page", cmp.Or(p.mark, "evil"))
		if again := exchange(t, addr, victim); !p.uncached && !strings.Contains(again, "Cache-Status: edge; hit") {
			t.Errorf("the page is not cached any more:\n%s", again)
		}
	}
}

// None of 66 attempts to poison the cache, or to have it keep the page of one visitor, succeeds.
func TestCache_poisoningAndDeception(t *testing.T) {
	if n := len(poisonings) + len(deceptions); n != 66 {
		t.Errorf("%d attempts", n)
	}
	v := startVictims(t)
	for i := range poisonings {
		t.Run(poisonings[i].name, func(t *testing.T) { v.try(t, &poisonings[i]) })
	}
	for i, d := range deceptions {
		t.Run(d.name, func(t *testing.T) {
			v.use(d.account)
			lured := 0
			for _, target := range d.targets {
				target = strings.ReplaceAll(target, "PAGE", fmt.Sprint("/d", i))
				lured += strings.Count(exchange(t, v.web, getOf(target, "Cookie: session=secret")), "secret")
				if answer := exchange(t, v.web, getOf(target)); strings.Contains(answer, "secret") {
					t.Errorf("the attempt works (%s): %s\n%s", d.hope, target, answer)
				}
			}
			if lured == 0 {
				t.Error("no target leads the victim to the page")
			}
		})
	}
}

// confusions are attempts to have two requests taken for one, and to get what is for others. With the two tests after
// them they are 19 more attempts.
var confusions = []poisoning{
	{name: "templates that run into each other", hope: "two values make the same bytes as two others",
		attack: raw(getAt("key.test", "PAGE", "X-A: ab", "X-B: c"), getAt("key.test", "PAGE", "X-A: abc"),
			getAt("key.test", "PAGE", "X-B: abc")),
		victim: getAt("key.test", "PAGE", "X-A: a", "X-B: bc"), mark: "ab"},
	{name: "template without a value", hope: "an empty value counts as none",
		attack: raw(getAt("key.test", "PAGE", "X-A:"), getAt("key.test", "PAGE", "X-A: ")),
		victim: getAt("key.test", "PAGE"), mark: "X-A:"},
	{name: "fields of Vary that run into each other", hope: "the variant of two fields is that of two others",
		attack: raw(getOf("PAGE", "X-A: 1, 2"), getOf("PAGE", "X-A: 1,2"), getOf("PAGE", "X-A: 12"),
			getOf("PAGE", "X-A: 1", "X-A: 2"), getOf("PAGE", "X-B: 1, 2"), getOf("PAGE", "X-B: 1", "X-A: 2")),
		victim: getOf("PAGE", "X-A: 1", "X-B: 2"), app: func(r *appRequest) string {
			page := fmt.Sprintf("home page a=%s b=%s", r.get("X-A"), r.get("X-B"))
			if r.get("X-A") != "1" || r.get("X-B") != "2" {
				page = "evil"
			}
			return reply("200 OK", page, forAMinute, "Vary: X-A, X-B")
		}},
	{name: "clients of a trusted proxy", hope: "a page for another scheme and host is theirs too", behind: true,
		attack: raw(getOf("PAGE", "X-Forwarded-Proto: evil", "X-Forwarded-Host: victim.test"),
			getOf("PAGE", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.test"),
			getOf("PAGE", "X-Forwarded-Proto: https", "X-Forwarded-Host: victim.test", "X-Forwarded-Prefix: /evil")),
		victim: getOf("PAGE", "X-Forwarded-Proto: https", "X-Forwarded-Host: victim.test"),
		app:    func(r *appRequest) string { return reply("200 OK", "home page\n"+r.head, forAMinute) }},
	{name: "canary", hope: "the page of another backend is stored for the path",
		attack: raw(getAt("rules.test", "PAGE", "Cookie: canary=1")), victim: getAt("rules.test", "PAGE")},
	{name: "field of a rule", hope: "the page for a role that a rule gives is stored for all",
		attack: raw(getAt("rules.test", "PAGE", "X-Beta: 1")), victim: getAt("rules.test", "PAGE")},

	// Credentials.
	{name: "Cookie", hope: "the page for a cookie is for all",
		attack: with("Cookie: session=evil", "cookie: session=evil"),
		app: func(r *appRequest) string {
			return reply("200 OK", "home page of "+r.get("Cookie"), "Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT")
		}},
	{name: "Authorization", hope: "the page for credentials is for all, since a lifetime is stated",
		attack: with("Authorization: Bearer evil", "authorization: evil"),
		app: func(r *appRequest) string {
			return reply("200 OK", "home page of "+r.get("Authorization"), forAMinute)
		}},
	{name: "Set-Cookie", hope: "all get the attacker's session, or the attacker gets that of a visitor",
		uncached: true,
		attack:   with("X-Trace: evil"), app: func(r *appRequest) string {
			return reply("200 OK", "home page", forAMinute, "Set-Cookie: session="+r.get("X-Trace"))
		}},
	{name: "private fields", hope: "a field that is for one visitor is stored with the page",
		attack: with("X-Trace: evil"),
		app: func(r *appRequest) string {
			return reply("200 OK", "home page", forAMinute+`, private="x-user, X-Group"`, "X-User: "+r.get("X-Trace"),
				"X-Group: "+r.get("X-Trace"))
		}},
}

func TestCache_confusions(t *testing.T) {
	v := startVictims(t)
	for i := range confusions {
		t.Run(confusions[i].name, func(t *testing.T) { v.try(t, &confusions[i]) })
	}
	t.Run("password", func(t *testing.T) {
		v.use(vulnerable)
		page := func(fields ...string) string {
			return exchange(t, v.web, getAt("password.test", "/", fields...))
		}
		for range 2 {
			wantGood(t, "", page("Authorization: Basic YW5uOnNlY3JldA=="), "home page", "evil")
		}
		wantPrefix(t, page(), "HTTP/1.1 401 ", "the page of a user is for all")
	})
}

// Content that a request answered from the cache has is not taken for the next request (CVE-2025-4366).
func TestCache_unreadContent(t *testing.T) {
	const hidden = "GET /evil HTTP/1.1\r\nHost: victim.test\r\n\r\n"
	length := fmt.Sprint("Content-Length: ", len(hidden))
	v := startVictims(t)
	var evil atomic.Bool
	v.use(func(r *appRequest) string {
		if r.target == "/evil" {
			evil.Store(true)
		}
		return vulnerable(r)
	})
	for name, first := range map[string]string{
		"Content-Length": getOf("/", length) + hidden,
		"chunks": getOf("/", "Transfer-Encoding: chunked") + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(hidden),
			hidden),
		"HEAD": requestOf("HEAD", "/", "Host: victim.test", length) + hidden,
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				wantGood(t, "", exchange(t, v.web, getOf("/")), "home page", "evil")
			}
			// The connection may end after the first answer. A victim asks again then.
			if answer := exchange(t, v.web, first, getOf("/")); answer != "" {
				wantGood(t, "the victim gets the answer to another request", answer, "home page", "evil")
			}
			wantGood(t, "the answer is stored for the page", exchange(t, v.web, getOf("/")), "home page", "evil")
			if evil.Load() {
				t.Error("the application was asked for what was content")
			}
		})
	}
}

// A request that waits for the answer to another one does not get what was made for the other's credentials or fields.
func TestCache_followers(t *testing.T) {
	v := startVictims(t)
	old := "Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT"
	for _, c := range []struct {
		name, leader string
		victim       string // a field of the victim's request; by default it changes nothing
		app          func(r *appRequest) string
	}{
		{name: "Cookie", leader: "Cookie: session=evil", app: func(r *appRequest) string {
			return reply("200 OK", "home page of "+r.get("Cookie"), old)
		}},
		{name: "Authorization", leader: "Authorization: evil", app: func(r *appRequest) string {
			return reply("200 OK", "home page of "+r.get("Authorization"), forAMinute)
		}},
		{name: "Set-Cookie", leader: "X-Trace: evil", app: func(r *appRequest) string {
			return reply("200 OK", "home page", forAMinute, "Set-Cookie: session="+r.get("X-Trace"))
		}},
		{name: "Vary", leader: "Accept-Language: evil", victim: "Accept-Language: en",
			app: func(r *appRequest) string { return varying(r, "Accept-Language") }},
		{name: "error", leader: "X-Trace: evil", app: func(r *appRequest) string {
			if r.get("X-Trace") != "" {
				return reply("503 Service Unavailable", "evil", old)
			}
			return vulnerable(r)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked, answered := make(chan bool, 2), make(chan bool)
			v.use(func(r *appRequest) string {
				asked <- true
				if strings.Contains(r.head, "evil") {
					<-answered
				}
				return c.app(r)
			})
			page, before := "/follow/"+c.name, counter(v.server, "edge_cache_followers_total")
			answers := make(chan string, 2)
			go func() { exchange(t, v.web, getOf(page, c.leader)) }()
			<-asked
			go func() { answers <- exchange(t, v.web, getOf(page, cmp.Or(c.victim, "X-Trace:"))) }()
			testutil.Eventually(t, testutil.Patience, func() bool {
				return len(asked) > 0 || counter(v.server, "edge_cache_followers_total") > before
			}, "the victim waits, or asks for itself")
			close(answered)
			wantGood(t, "the follower gets the leader's answer", <-answers, "home page", "evil")
		})
	}
}
