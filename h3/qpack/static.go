package qpack

import "github.com/edge-proxy/edge/internal/stream/section"

const staticLen = 99

// staticFields is the table of RFC 9204 appendix A.
var staticFields = [staticLen][2]string{
	{":authority"}, {":path", "/"}, {"age", "0"}, {"content-disposition"}, {"content-length", "0"}, {"cookie"},
	{"date"}, {"etag"}, {"if-modified-since"}, {"if-none-match"}, {"last-modified"}, {"link"}, {"location"},
	{"referer"}, {"set-cookie"}, {":method", "CONNECT"}, {":method", "DELETE"}, {":method", "GET"}, {":method", "HEAD"},
	{":method", "OPTIONS"}, {":method", "POST"}, {":method", "PUT"}, {":scheme", "http"}, {":scheme", "https"},
	{":status", "103"}, {":status", "200"}, {":status", "304"}, {":status", "404"}, {":status", "503"},
	{"accept", "*/*"}, {"accept", "application/dns-message"}, {"accept-encoding", "gzip, deflate, br"},
	{"accept-ranges", "bytes"}, {"access-control-allow-headers", "cache-control"},
	{"access-control-allow-headers", "content-type"}, {"access-control-allow-origin", "*"},
	{"cache-control", "max-age=0"}, {"cache-control", "max-age=2592000"}, {"cache-control", "max-age=604800"},
	{"cache-control", "no-cache"}, {"cache-control", "no-store"}, {"cache-control", "public, max-age=31536000"},
	{"content-encoding", "br"}, {"content-encoding", "gzip"}, {"content-type", "application/dns-message"},
	{"content-type", "application/javascript"}, {"content-type", "application/json"},
	{"content-type", "application/x-www-form-urlencoded"}, {"content-type", "image/gif"},
	{"content-type", "image/jpeg"}, {"content-type", "image/png"}, {"content-type", "text/css"},
	{"content-type", "text/html; charset=utf-8"}, {"content-type", "text/plain"},
	{"content-type", "text/plain;charset=utf-8"}, {"range", "bytes=0-"},
	{"strict-transport-security", "max-age=31536000"},
	{"strict-transport-security", "max-age=31536000; includesubdomains"},
	{"strict-transport-security", "max-age=31536000; includesubdomains; preload"}, {"vary", "accept-encoding"},
	{"vary", "origin"}, {"x-content-type-options", "nosniff"}, {"x-xss-protection", "1; mode=block"},
	{":status", "100"}, {":status", "204"}, {":status", "206"}, {":status", "302"}, {":status", "400"},
	{":status", "403"}, {":status", "421"}, {":status", "425"}, {":status", "500"}, {"accept-language"},
	{"access-control-allow-credentials", "FALSE"}, {"access-control-allow-credentials", "TRUE"},
	{"access-control-allow-headers", "*"}, {"access-control-allow-methods", "get"},
	{"access-control-allow-methods", "get, post, options"}, {"access-control-allow-methods", "options"},
	{"access-control-expose-headers", "content-length"}, {"access-control-request-headers", "content-type"},
	{"access-control-request-method", "get"}, {"access-control-request-method", "post"}, {"alt-svc", "clear"},
	{"authorization"}, {"content-security-policy", "script-src 'none'; object-src 'none'; base-uri 'none'"},
	{"early-data", "1"}, {"expect-ct"}, {"forwarded"}, {"if-range"}, {"origin"}, {"purpose", "prefetch"}, {"server"},
	{"timing-allow-origin", "*"}, {"upgrade-insecure-requests", "1"}, {"user-agent"}, {"x-forwarded-for"},
	{"x-frame-options", "deny"}, {"x-frame-options", "sameorigin"},
}

// noIndex stands for no entry of the static table.
const noIndex = staticLen

var (
	staticLines    [4 << 10]byte
	staticRendered [staticLen]section.Field // the table as lines of HTTP/1, which are in staticLines
	staticNext     [staticLen]uint8         // the next entry with the same name, or noIndex
)

func init() {
	lines := staticLines[:0]
	for i, f := range staticFields {
		at := len(lines)
		lines = append(append(append(append(lines, f[0]...), ": "...), f[1]...), "\r\n"...)
		staticRendered[i] = section.Field{
			Line: lines[at:len(lines):len(lines)], NameLen: uint32(len(f[0])), Traits: section.CheckName([]byte(f[0])),
		}
		staticNext[i] = staticIndex(f[0], i+1)
	}
}

// staticIndex returns the first entry from at on that has the name, which is in lower case, or noIndex.
func staticIndex(name string, at int) uint8 {
	for ; at < staticLen; at++ {
		if staticFields[at][0] == name {
			return uint8(at)
		}
	}
	return noIndex
}
