package value

import (
	"slices"
	"strings"

	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/message"
)

// HashKey names the part of a request that selects its backend. The zero value: not configured.
type HashKey struct {
	Of   string // client_ip, path, uri, host, header, cookie or query; "text" for a template
	Name string // of the header, cookie or parameter; the template
}

// String returns k as it is written.
func (k HashKey) String() string {
	if k.Of == hashedText {
		return k.Name
	}
	if k.Name != "" {
		return k.Of + ":" + k.Name
	}
	return k.Of
}

// TypeHashKey is the type of keys that hold a HashKey.
var TypeHashKey = schema.Type{Name: "part of a request", Parse: parseHashKey}

var (
	hashedWhole = []string{"client_ip", "path", "uri", "host"}
	hashedNamed = []string{"header", "cookie", "query"}
)

// hashedText is what HashKey.Of is for a template of the language.
const hashedText = "text"

// Text returns the template that k is, "" where it is none.
func (k HashKey) Text() string {
	if k.Of != hashedText {
		return ""
	}
	return k.Name
}

// hashKeyHint lists what there is.
const hashKeyHint = `write "client_ip", "path", "uri", "host", "header:NAME", "cookie:NAME" or "query:NAME", ` +
	`or a text such as "{header.x-user}{path}"`

// sameHashKeys are the words of nginx and HAProxy for them.
var sameHashKeys = map[string]string{
	"$remote_addr": "client_ip", "$binary_remote_addr": "client_ip", "$request_uri": "uri", "$uri": "path",
	"$host": "host", "$http_host": "host", "src": "client_ip", "source": "client_ip", "url": "uri", "ip": "client_ip",
}

func parseHashKey(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	if n.Kind == syntax.KindString && n.Text == "" {
		return HashKey{}, true // as without the key
	}
	s, ok := d.String(n, "a part of a request")
	if !ok {
		return HashKey{}, false
	}
	if strings.Contains(s, "{") { // config compiles it
		return HashKey{Of: hashedText, Name: s}, true
	}
	of, name, named := strings.Cut(s, ":")
	hint := hashKeyHint
	switch {
	case !named && slices.Contains(hashedWhole, s):
		return HashKey{Of: s}, true
	case named && slices.Contains(hashedNamed, of) && name != "" && (of == "query" || message.ValidName(name)):
		return HashKey{Of: of, Name: name}, true
	case sameHashKeys[s] != "":
		hint = "write " + syntax.Quote(sameHashKeys[s])
	case strings.HasPrefix(s, "$arg_"):
		hint = "write " + syntax.Quote("query:"+s[len("$arg_"):])
	case strings.HasPrefix(s, "$cookie_"):
		hint = "write " + syntax.Quote("cookie:"+s[len("$cookie_"):])
	case strings.HasPrefix(s, "$http_"):
		hint = "write " + syntax.Quote("header:"+strings.ReplaceAll(s[len("$http_"):], "_", "-"))
	}
	d.Report.Errorf(n.Value, hint, "%s is no part of a request", syntax.Quote(s))
	return HashKey{}, false
}
