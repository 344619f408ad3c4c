package config

import (
	"crypto/tls"
	"slices"
	"strings"
	"time"

	"github.com/edge-proxy/edge/config/language"
	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
	"github.com/edge-proxy/edge/config/value"
)

func certificatesSection() *schema.Section {
	return &schema.Section{
		Path: "certificates", Shape: schema.List,
		Doc: "Certificates for all listeners with TLS, found by the name that a client asks for: the exact name, " +
			"then `*.parent`. A listener's own certificate comes before them; a client that asks for an unknown " +
			"name gets the listener's own, else the first of these. Of several for one name, the first that the " +
			"client can verify. The files are watched: a pair that changed is used for new connections within " +
			"seconds, and one that is wrong changes nothing. A path that is not found from the working directory " +
			"is looked for beside the file that names it.",
		New: schema.Make[certificateEntry],
		Keys: append([]*schema.Key{
			{Path: "name", Type: schema.Token, Example: `"internal"`,
				Into: schema.Into(func(e *certificateEntry) *string { return &e.Name }),
				Doc:  "Its name, for `certificate` of [rules on handshakes](tls.md#rules-on-handshakes)."},
			{Path: "hosts", Type: schema.Strings, Example: `["example.org", "*.example.org"]`,
				Into: schema.Into(func(e *certificateEntry) *[]string { return &e.Hosts }),
				Doc:  "Names it is for. Without them those that the certificate says itself."},
			{Path: "when", Type: language.TypeCondition, Example: "'client.ip in {10.0.0.0/8}'",
				Into: schema.Into(func(e *certificateEntry) *string { return &e.when }),
				Doc: "The handshakes that it is for: a text of [the language](DSL.md) that knows `tls.sni`, " +
					"`tls.alpn`, the addresses and the listener. Of the certificates for a name, those whose `when` " +
					"holds come before those without."},
		}, pairKeys()...),
	}
}

// pairKeys name the files of a certificate, of its own table or of a listener.
func pairKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "cert", Type: schema.String, Local: true, Example: `"/etc/edge/tls/example.pem"`,
			Aliases: []string{".ssl_certificate"},
			Into:    schema.Into(func(e paired) *string { return &e.pair().Cert }),
			Doc: "The certificate in PEM, followed by those of its authorities. `internal`: one of an authority that " +
				"this machine makes for itself, for development."},
		{Path: "key", Type: schema.String, Local: true, Example: `"/etc/edge/tls/example.key"`,
			Aliases: []string{".ssl_certificate_key"},
			Into:    schema.Into(func(e paired) *string { return &e.pair().Key }),
			Doc: "Its private key in PEM, without a password. Without it, the key is " +
				"in the file of the certificate."},
		{Path: "ocsp", Type: schema.String, Local: true, Example: `"/etc/edge/tls/example.ocsp"`,
			Into: schema.Into(func(e paired) *string { return &e.pair().OCSP }),
			Doc: "A response of its authority in DER, which is stapled as long as it is good and in time. The " +
				"program that fetches it writes it here again."},
	}
}

func tlsSection() *schema.Section {
	return &schema.Section{
		Path: "tls",
		Doc:  "TLS of all listeners. Most of these keys may stand in a listener too, and hold for that one then.",
		New:  schema.Make[tlsEntry],
		Keys: append(tlsKeys(),
			&schema.Key{Path: "ticket_rotation", Type: schema.Duration, Default: `"12h"`, Min: "1m", Max: "168h",
				Example: `"1h"`,
				Into:    schema.Into(func(e *tlsEntry) *time.Duration { return &e.TLS.TicketRotation }),
				Doc: "How often the keys of session tickets change. The last three are known, so a session can be " +
					"resumed for two to three times that long. A reload keeps them."},
			&schema.Key{Path: "handshake_timeout", Type: schema.Duration, Default: `"10s"`, Min: "100ms", Max: "10m",
				Example: `"5s"`, Restart: true,
				Into: schema.Into(func(e *tlsEntry) *time.Duration { return &e.TLS.HandshakeTimeout }),
				Doc:  "How long a handshake may take."},
			&schema.Key{Path: "handshakes", Type: schema.Int, Default: `"auto"`, Min: "1", Max: "1000000",
				Words: []string{"auto"}, Example: "1000", Restart: true,
				Into: schema.Into(func(e *tlsEntry) *int { return &e.TLS.Handshakes }),
				Doc: "Handshakes in progress at once; with one more, the one that has stood still for longest gives " +
					"way. `auto`: 10000, or one for each 128 KiB of `memory_limit` where that is less."},
		),
	}
}

// secured is a target with TLS options: a listener, or [tls], whose values hold for listeners that have none.
type secured interface {
	schema.Target
	options() *TLSOptions
}

// tlsKeys are the keys that a listener and [tls] share.
func tlsKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "min_version", Type: typeVersion, Default: `"1.2"`, Enum: versionNames(), Synonyms: versionSynonyms,
			Example: `"1.3"`,
			Into:    schema.Into(func(e secured) *uint16 { return &e.options().MinVersion }),
			Doc:     "The oldest version of TLS that is accepted."},
		{Path: "curves", Type: typeCurves, Default: `["X25519MLKEM768", "X25519", "P-256", "P-384", "P-521"]`,
			Enum: curveNames(), Example: `["X25519MLKEM768", "P-256"]`,
			Into: schema.Into(func(e secured) *[]tls.CurveID { return &e.options().Curves }),
			Doc: "The key exchanges that are offered. The hybrid with ML-KEM withstands quantum computers. Which of " +
				"those that both sides know is used is not for their order here to say: the best one."},
		{Path: "ciphers", Type: typeCiphers, Example: `["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]`,
			Into: schema.Into(func(e secured) *[]uint16 { return &e.options().Ciphers }),
			Doc: "The cipher suites of TLS 1.2, by the names of IANA or OpenSSL; none: a safe choice. Those of TLS " +
				"1.3 cannot be chosen. Which one is used does not depend on their order."},
		{Path: "client_auth", Type: schema.Choice, Enum: []string{"none", "request", "require"}, Example: `"request"`,
			Into: schema.Into(func(e secured) *string { return (*string)(&e.options().ClientAuth) }),
			Doc: "Whether clients show a certificate. `request`: they are asked, and one that comes is verified when " +
				"there is a `client_ca`. `require`: the handshake fails without, and a request on a connection that " +
				"was made otherwise is answered 421. With a `client_ca` it is `require`, otherwise `none`."},
		{Path: "client_ca", Type: schema.Optional, Local: true, Example: `"/etc/edge/tls/clients.pem"`,
			Into: schema.Into(func(e secured) *string { return &e.options().ClientCA }),
			Doc: "The authorities of client certificates in PEM. Empty: none. The file is watched, and so are those " +
				"of `ca`, `cert` and `key` of upstreams, and `ca_file`: new connections go by what they say now."},
		{Path: "strict_sni", Type: schema.Bool, Default: "false", Example: "true",
			Into: schema.Into(func(e secured) *bool { return &e.options().StrictSNI }),
			Doc:  "A request for another host than the handshake named is answered 421, and so is a plain one."},
		{Path: "session_tickets", Type: schema.Bool, Default: "true", Example: "false",
			Into: schema.Into(func(e secured) *bool { return &e.options().SessionTickets }),
			Doc:  "Clients may resume a session without a whole handshake."},
		{Path: "hsts.max_age", Type: schema.Duration, Default: `"off"`, Min: "0s", Max: "36500d",
			Words: []string{"off"}, Example: `"365d"`,
			Into: schema.Into(func(e secured) *time.Duration { return &e.options().HSTS.MaxAge }),
			Doc: "`Strict-Transport-Security` for answers over TLS: how long browsers use nothing but HTTPS for the " +
				"host. 0: they forget it."},
		{Path: "hsts.subdomains", Type: schema.Bool, Example: "true",
			Into: schema.Into(func(e secured) *bool { return &e.options().HSTS.Subdomains }),
			Doc:  "It holds for all hosts below as well."},
		{Path: "hsts.preload", Type: schema.Bool, Example: "true",
			Into: schema.Into(func(e secured) *bool { return &e.options().HSTS.Preload }),
			Doc:  "Browsers may carry the host in their own list."},
	}
}

// The types of keys about TLS. The comment after each is the Go type of its values.
var (
	typeTLSMode    = schema.Type{Name: "`true`, `false` or `\"auto\"`", Parse: parseTLSMode, Truth: true} // TLSMode
	typeProtocols  = schema.Type{Name: "protocol or list", Parse: parseSomeChoices}                       // []string
	typeALPN       = schema.Type{Name: "protocol or list of them", Parse: parseSomeChoices}               // []string
	typeSwitch     = schema.Type{Name: "true, false or a table", Parse: schema.Bool.Parse, Truth: true}
	typeServerName = schema.Type{Name: "host", Parse: parseServerName}              // string
	typeVersion    = schema.Type{Name: "version", Parse: parseVersion}              // uint16
	typeCurves     = schema.Type{Name: "key exchange or list", Parse: parseCurves}  // []tls.CurveID
	typeCiphers    = schema.Type{Name: "cipher suite or list", Parse: parseCiphers} // []uint16
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

// versionName returns the name of a version for messages.
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

// fipsSuites are the suites that FIPS 140-3 approves.
var fipsSuites = []uint16{
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256,
}

func parseCiphers(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	var all []uint16
	right := d.Each(n, "a cipher suite", func(c *syntax.Node, s string) bool {
		id, wrong, hint := cipherSuite(s)
		if wrong != "" {
			d.Report.Errorf(c.Value, hint, "%s", wrong)
			return false
		}
		all = append(all, id)
		return true
	})
	return all, right
}

func cipherSuite(name string) (id uint16, wrong, hint string) {
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
