package config

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/config/value"
)

// The types of keys about TLS. The comment after each is the Go type of its values.
var (
	typeTLSMode      = schema.Type{Name: "`true`, `false` or `\"auto\"`", Parse: parseTLSMode, Truth: true} // TLSMode
	typeProtocols    = schema.Type{Name: "protocol or list", Parse: parseSomeChoices}                       // []string
	typeALPN         = schema.Type{Name: "protocol or list of them", Parse: parseSomeChoices}               // []string
	typeSwitch       = schema.Type{Name: "true, false or a table", Parse: schema.Bool.Parse, Truth: true}
	typeServerName   = schema.Type{Name: "host", Parse: parseServerName} // string
	typeOfferedHosts = schema.Type{Name: "host or list", Parse: schema.FilledListOf("a host", offeredHostOf)}
	typeVersion      = schema.Type{Name: "version", Parse: parseVersion}             // uint16
	typeCurves       = schema.Type{Name: "key exchange or list", Parse: parseCurves} // []tls.CurveID
	typeCiphers      = schema.Type{Name: "cipher suite or list", Parse: schema.ListOf("a cipher suite", cipherSuite)}
)

// parseSomeChoices reads one choice or more.
func parseSomeChoices(d *schema.Decoder, k *schema.Key, n *syntax.Node) (any, bool) {
	all, right := schema.Choices.Parse(d, k, n)
	return all, right && d.Filled(n)
}

// parseServerName reads a name as handshakes have it: a host without a port. "backend" is what there is without it.
func parseServerName(d *schema.Decoder, k *schema.Key, n *syntax.Node) (any, bool) {
	if n.Kind == syntax.KindString && n.Text == "backend" {
		return "", true
	}
	if n.Kind == syntax.KindString && (n.Text == "keep" || strings.Contains(n.Text, ":")) {
		d.Report.Errorf(n.Value, "", "%q must be a host name, not %s", n.Key, syntax.Quote(n.Text))
		return "", false
	}
	return value.TypeHost.Parse(d, k, n)
}

// offeredHostOf reads a host, "*" for all of them, or a host after "!".
func offeredHostOf(before []string, s string) (host, wrong, hint string) {
	host, no := strings.CutPrefix(s, "!")
	if host != "*" {
		if host, wrong, hint = value.ParseHost(host, ""); wrong != "" || host == "" {
			return s, syntax.Quote(s) + " is not a host", hint
		}
	}
	if slices.Contains(before, host) || slices.Contains(before, "!"+host) {
		return s, fmt.Sprintf("host %q is there twice", host), "leave one of them out"
	}
	if no {
		host = "!" + host
	}
	return host, "", ""
}

func parseTLSMode(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	switch {
	case n.Kind == syntax.KindBool && n.Truth:
		return TLSOn, true
	case n.Kind == syntax.KindBool:
		return TLSOff, true
	case n.Kind == syntax.KindString && n.Text == "auto":
		return TLSAuto, true
	case n.Kind == syntax.KindTable:
		d.Report.Errorf(n.Value, "write tls = true, and these keys beside it",
			"%q must be true, false or \"auto\"", n.Key)
		return TLSOff, false
	}
	d.WrongKind(n, `true, false or "auto"`, "")
	return TLSOff, false
}

var versions = []struct {
	name string
	id   uint16
}{{"1.0", tls.VersionTLS10}, {"1.1", tls.VersionTLS11}, {"1.2", tls.VersionTLS12}, {"1.3", tls.VersionTLS13}}

var versionSynonyms = map[string]string{
	"TLSv1": "1.0", "TLSv1.0": "1.0", "TLSv1.1": "1.1", "TLSv1.2": "1.2", "TLSv1.3": "1.3",
}

func versionNames() (names []string) {
	for _, v := range versions {
		names = append(names, v.name)
	}
	return names
}

func parseVersion(d *schema.Decoder, k *schema.Key, n *syntax.Node) (any, bool) {
	if n.Kind == syntax.KindFloat { // without quotes, which is how people write it
		n.Kind = syntax.KindString
	}
	v, ok := schema.Choice.Parse(d, k, n)
	for _, known := range versions {
		if v == known.name {
			return known.id, ok
		}
	}
	return uint16(0), false
}

func versionName(id uint16) string {
	for _, v := range versions {
		if v.id == id {
			return "TLS " + v.name
		}
	}
	return "TLS"
}

var curves = []struct {
	name  string
	id    tls.CurveID
	other []string
	fips  bool
}{
	{"X25519MLKEM768", tls.X25519MLKEM768, nil, true},
	{"SecP256r1MLKEM768", tls.SecP256r1MLKEM768, nil, true},
	{"SecP384r1MLKEM1024", tls.SecP384r1MLKEM1024, nil, true},
	{"X25519", tls.X25519, []string{"curve25519"}, false},
	{"P-256", tls.CurveP256, []string{"p256", "prime256v1", "secp256r1"}, true},
	{"P-384", tls.CurveP384, []string{"p384", "secp384r1"}, true},
	{"P-521", tls.CurveP521, []string{"p521", "secp521r1"}, true},
}

func curveNames() (names []string) {
	for _, c := range curves {
		names = append(names, c.name)
	}
	return names
}

func parseCurves(d *schema.Decoder, k *schema.Key, n *syntax.Node) (any, bool) {
	var all []tls.CurveID
	right := d.Each(n, "a key exchange", func(c *syntax.Node, s string) bool {
		for _, known := range curves {
			if strings.EqualFold(s, known.name) || slices.Contains(known.other, strings.ToLower(s)) {
				all = append(all, known.id)
				return true
			}
		}
		return d.Choice(k, c, s)
	})
	return all, right && d.Filled(n)
}

// openSSLNames are the suites by the names of OpenSSL.
var openSSLNames = map[string]uint16{
	"ECDHE-ECDSA-AES128-GCM-SHA256": tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	"ECDHE-RSA-AES128-GCM-SHA256":   tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	"ECDHE-ECDSA-AES256-GCM-SHA384": tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	"ECDHE-RSA-AES256-GCM-SHA384":   tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	"ECDHE-ECDSA-CHACHA20-POLY1305": tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	"ECDHE-RSA-CHACHA20-POLY1305":   tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	"ECDHE-ECDSA-AES128-SHA":        tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,
	"ECDHE-RSA-AES128-SHA":          tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
	"ECDHE-ECDSA-AES256-SHA":        tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
	"ECDHE-RSA-AES256-SHA":          tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
}

var fipsSuites = []uint16{
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256,
}

func cipherSuite(_ []uint16, name string) (id uint16, wrong, hint string) {
	upper := strings.ToUpper(name)
	if id, found := openSSLNames[upper]; found {
		return id, "", ""
	}
	var names []string
	for _, c := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		switch {
		case c.Name != upper:
		case slices.Equal(c.SupportedVersions, []uint16{tls.VersionTLS13}):
			return 0, "the suites of TLS 1.3 cannot be chosen, " + name + " is one of them", "leave it out"
		default:
			return c.ID, "", ""
		}
		names = append(names, c.Name)
	}
	if near := nearestLong(upper, names); near != "" {
		hint = "did you mean " + syntax.Quote(near) + "?"
	}
	return 0, syntax.Quote(name) + " is not a cipher suite that is known", hint
}

// nearestLong is syntax.Nearest for names with a long common part: few slips are allowed, whatever the length.
func nearestLong(s string, candidates []string) string {
	best, bestScore := "", 4
	for _, c := range candidates {
		if score := syntax.Distance(s, c); score < bestScore {
			best, bestScore = c, score
		}
	}
	return best
}

// insecureSuite returns the name of a suite, and whether it is known to be weak.
func insecureSuite(id uint16) (name string, weak bool) {
	for _, c := range tls.InsecureCipherSuites() {
		if c.ID == id {
			return c.Name, true
		}
	}
	return tls.CipherSuiteName(id), false
}
