package hpack

import (
	"github.com/edge-proxy/edge/internal/stream/section"
	"github.com/edge-proxy/edge/message"
)

const staticLen = 61

// staticRendered is the table of RFC 7541 appendix A. Entry 0 is none.
var staticRendered [staticLen + 1]section.Field

// staticFronts are the beginnings of its lines.
var staticFronts [staticLen + 1]front

// frontMax is as long as any name that is known, with ": " after it.
const frontMax = 48

// front is a name with ": " and zeros after it: all of one size, so that copying it takes a few moves and no call.
type front [frontMax]byte

func frontOf(name string) (f front) {
	if copy(f[copy(f[:], name):], ": ") < 2 {
		panic("hpack: frontMax is too small for " + name)
	}
	return f
}

var staticFields = [staticLen + 1][2]string{
	1: {":authority"}, 2: {":method", "GET"}, 3: {":method", "POST"}, 4: {":path", "/"},
	5: {":path", "/index.html"}, 6: {":scheme", "http"}, 7: {":scheme", "https"},
	8: {":status", "200"}, 9: {":status", "204"}, 10: {":status", "206"}, 11: {":status", "304"},
	12: {":status", "400"}, 13: {":status", "404"}, 14: {":status", "500"},
	15: {"accept-charset"}, 16: {"accept-encoding", "gzip, deflate"}, 17: {"accept-language"},
	18: {"accept-ranges"}, 19: {"accept"}, 20: {"access-control-allow-origin"}, 21: {"age"}, 22: {"allow"},
	23: {"authorization"}, 24: {"cache-control"}, 25: {"content-disposition"}, 26: {"content-encoding"},
	27: {"content-language"}, 28: {"content-length"}, 29: {"content-location"}, 30: {"content-range"},
	31: {"content-type"}, 32: {"cookie"}, 33: {"date"}, 34: {"etag"}, 35: {"expect"}, 36: {"expires"},
	37: {"from"}, 38: {"host"}, 39: {"if-match"}, 40: {"if-modified-since"}, 41: {"if-none-match"},
	42: {"if-range"}, 43: {"if-unmodified-since"}, 44: {"last-modified"}, 45: {"link"}, 46: {"location"},
	47: {"max-forwards"}, 48: {"proxy-authenticate"}, 49: {"proxy-authorization"}, 50: {"range"},
	51: {"referer"}, 52: {"refresh"}, 53: {"retry-after"}, 54: {"server"}, 55: {"set-cookie"},
	56: {"strict-transport-security"}, 57: {"transfer-encoding"}, 58: {"user-agent"}, 59: {"vary"},
	60: {"via"}, 61: {"www-authenticate"},
}

func init() {
	lines := make([]byte, 0, 2048) // one after the other, never moved
	for i := 1; i < len(staticFields); i++ {
		name, value := staticFields[i][0], staticFields[i][1]
		at := len(lines)
		lines = appendLine(lines, name, value)
		staticFronts[i] = frontOf(name)
		staticRendered[i] = section.Field{
			Line: lines[at:len(lines):len(lines)], NameLen: uint32(len(name)),
			Traits: section.Traits{ID: message.Lookup(name), Pseudo: section.LookupPseudo([]byte(name))},
		}
	}
}

func appendLine(dst []byte, name, value string) []byte {
	return append(append(append(append(dst, name...), ": "...), value...), "\r\n"...)
}
