package admin

import (
	"embed"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/config/value"
)

// Settings is the section [admin].
// Immutable after the configuration was read.
type Settings struct {
	schema.Given

	// Address of the admin surface; `false` or `"off"`: none. Default: `admin.sock` in the folder that
	// `RUNTIME_DIRECTORY` names, else in `/run/edge`; else beside the pid file; else in `XDG_RUNTIME_DIR` or
	// `/tmp/edge-UID`: see [admin](admin.md#where-it-listens). An address that is no loopback address needs `cert`,
	// and `token` or `client_ca`.
	Listen Listen `edge:"listen" example:"unix:/run/edge/admin.sock"`
	// Secret that clients over TCP have to show, as `Authorization: Bearer TOKEN`; 22 characters or more. A reload
	// changes it.
	Token string `edge:"token" example:"${file:/run/secrets/edge_admin}" secret:"true"`
	// File of authorities of client certificates; such a certificate takes the place of the token.
	ClientCA string `edge:"client_ca" example:"/etc/edge/operators.pem" file:"read"`
	// Certificate of the admin surface over TCP, which is TLS then. A reload reads it again.
	Cert string `edge:"cert" example:"/etc/edge/tls/admin.pem" file:"read"`
	// Private key of `cert`; default: the key in the file of the certificate.
	Key string `edge:"key" example:"/etc/edge/tls/admin.key" file:"read"`
	// Users of the machine that may read by a Unix socket: `group`, users that may change things (root, the user of the
	// process and its group); or `all`.
	Read string `edge:"read" enum:"group all" default:"group" example:"all"`
	// Let clients over TCP change things. By a Unix socket it depends on the user alone.
	Writable bool `edge:"writable" example:"true"`
	// Hosts that clients over TCP may ask for, beside IP addresses, `localhost` and the name of the machine: a web page
	// whose name was made to lead here is refused.
	// Example: ["edge.example.com"]
	Names []string `edge:"names" kind:"names"`
	// Serve profiles of the Go runtime to clients that may change things.
	Pprof bool `edge:"pprof" example:"true"`
	// Path of the metrics page.
	Metrics string `edge:"metrics" kind:"path" default:"/metrics" example:"/stats"`
	// Number of requests that each event loop remembers for `edge why`, and again of requests that failed, were tried
	// again or were slow. 256 bytes each; 0: none.
	Why int `edge:"why" default:"4096" min:"0" max:"65536" example:"1024"`
	// Time without an answer after which a request counts as slow.
	WhySlow time.Duration `edge:"why_slow" default:"1s" min:"1ms" max:"1h" example:"300ms"`
}

// MetricsSettings is what the section [metrics] says of its address.
// Immutable after the configuration was read.
type MetricsSettings struct {
	schema.Given

	// Address with `/metrics`, `/livez` and `/readyz` alone, for anyone. Default: they are at the address of `[admin]`.
	Listen Listen `edge:"listen" example:":9145"`
	// Hosts whose web pages may ask, beside IP addresses, `localhost`, names without a dot and the name of the machine.
	// Example: ["edge.example.com"]
	Names []string `edge:"names" kind:"names"`
}

// Listen is where a surface listens.
type Listen struct {
	Off       bool
	Addresses []value.Address // none and not Off: the default
}

// The codes of warnings.
const codeNoToken = "admin-without-token"

// tokenLeast is the length of 16 random bytes in base64: 128 bits.
const tokenLeast = 22

//go:embed section.go
var source embed.FS

func tags() *schema.Tags {
	listen := schema.Type{Name: "address, list or false", Truth: true, Parse: parseListen}
	return &schema.Tags{Comments: schema.Comments(source), Kinds: map[string]schema.FieldType{
		"admin.Listen": {Type: listen, Plain: true},
		"path":         {Type: schema.Type{Name: "path", Parse: schema.TextOf("a path", metricsPathOf)}, Plain: true},
		"names":        {Type: schema.Type{Name: "host or list", Parse: schema.ListOf("a host", nameOf)}, Plain: true},
	}}
}

func init() {
	config.Register[Settings](tags, schema.Section{
		Path: "admin", Resolve: resolve, Later: []string{"dashboard"},
		Doc: "The address at which operators, and the commands of `edge`, see and change the running process: " +
			"see [admin](admin.md).",
		Codes: []schema.Code{{Name: codeNoToken, Doc: "`[admin]` listens on TCP and has neither `token` nor " +
			"`client_ca`: there is nothing but `/livez`, `/readyz` and the metrics."}},
	})
	config.Register[MetricsSettings](tags, schema.Section{Path: "metrics", Extends: true})
	config.RegisterCheck(checkSockets)
}

// checkSockets reports Unix sockets that a start could not make.
func checkSockets(doc *schema.Document, c *config.Config) {
	if a, m := settingsOf(c); doc.Looks {
		c.Global.CheckSockets(doc.Report, &a.Given, a.Listen.Addresses)
		c.Global.CheckSockets(doc.Report, &m.Given, m.Listen.Addresses)
	}
}

func parseListen(d *schema.Decoder, k *schema.Key, n *syntax.Node) (any, bool) {
	if n.Kind == syntax.KindBool && !n.Truth || n.Kind == syntax.KindString && n.Text == "off" {
		return Listen{Off: true}, true
	}
	if n.Kind == syntax.KindBool {
		d.Report.Errorf(n.Value, `write an address such as "unix:/run/edge/admin.sock"`, "%q takes an address or false",
			n.Key)
		return nil, false
	}
	v, right := value.TypeListen.Parse(d, k, n)
	list, _ := v.([]value.Address)
	return Listen{Addresses: list}, right
}

func metricsPathOf(s string) (path, wrong, hint string) {
	const sample = `write one such as "/metrics"`
	switch {
	case isOther(s):
		return s, syntax.Quote(s) + " is the path of something else, which the metrics would hide", sample
	case !strings.HasPrefix(s, "/") || strings.ContainsAny(s, "?#%{} "):
		return s, syntax.Quote(s) + " is not a path for metrics", sample
	}
	return s, "", ""
}

// isOther reports whether a path is one of the endpoints that are not the metrics.
func isOther(path string) bool {
	return path == "/livez" || path == "/readyz" || strings.HasPrefix(path, "/v1/") ||
		strings.HasPrefix(path, "/debug/")
}

func nameOf(_ []string, s string) (name, wrong, hint string) {
	if name = hostOf(s); name == "" || strings.Contains(s, ":") {
		return s, syntax.Quote(s) + " is not the name of a host", "it has neither scheme nor port"
	}
	return name, "", ""
}

// resolve checks [admin] as a whole.
func resolve(doc *schema.Document, t schema.Target) {
	e := t.(*Settings)
	if e.Token != "" && len(e.Token) < tokenLeast {
		doc.Report.Errorf(e.At("token"), "openssl rand -hex 16 makes one",
			"the token has %d characters, %d are the least", len(e.Token), tokenLeast)
	}
	for _, alone := range []string{"key", "client_ca"} {
		if e.Has(alone) && e.Lacks("cert") {
			doc.Report.Errorf(e.Head(alone), "add cert, the certificate of this address", "%q has no meaning "+
				"without \"cert\"",
				alone)
		}
	}
	known := e.Token != "" || e.ClientCA != "" || e.Failed("token") || e.Failed("client_ca")
	for i := range e.Listen.Addresses {
		a := &e.Listen.Addresses[i]
		at := e.ElementAt("listen", i, len(e.Listen.Addresses))
		switch {
		case a.Network == "unix":
		case !isLoopback(a) && !known:
			doc.Report.Errorf(at, "add token and cert to [admin], or listen on \"unix:/run/edge/admin.sock\"",
				"%s is not a loopback address: anyone who reaches it could change the process", syntax.Quote(a.Text))
		case !isLoopback(a) && e.Lacks("cert"):
			doc.Report.Errorf(at, "add cert to [admin], or listen on \"unix:/run/edge/admin.sock\"",
				"%s is not a loopback address: without TLS the token could be read on the way", syntax.Quote(a.Text))
		case !known:
			doc.Report.Warnf(codeNoToken, at, "add token to [admin]: openssl rand -hex 16 makes one",
				"without a token %s has nothing but /livez, /readyz and the metrics", syntax.Quote(a.Text))
		}
	}
}

// isLoopback reports whether a is reached from this machine alone.
func isLoopback(a *value.Address) bool {
	ip, err := netip.ParseAddr(a.Host)
	return err == nil && ip.IsLoopback()
}

func settingsOf(cfg *config.Config) (*Settings, *MetricsSettings) {
	a, m := schema.Only[*Settings](cfg.Features), schema.Only[*MetricsSettings](cfg.Features)
	if a == nil {
		a = &Settings{Read: "group", Metrics: metricsPath, Why: whyDefault, WhySlow: whySlowDefault}
	}
	if m == nil {
		m = &MetricsSettings{}
	}
	return a, m
}

// What is remembered of requests by a process without [admin].
const (
	whyDefault     = 4096
	whySlowDefault = time.Second
)

// Remembered returns how many requests each event loop is to remember, and from which time on they are slow.
func Remembered(cfg *config.Config) (n int, slow time.Duration) {
	a, _ := settingsOf(cfg)
	return a.Why, a.WhySlow
}

// String returns the addresses as a file has them.
func (l Listen) String() string {
	if l.Off {
		return "off"
	}
	texts := make([]string, len(l.Addresses))
	for i := range l.Addresses {
		texts[i] = l.Addresses[i].Text
	}
	return fmt.Sprint(texts)
}
