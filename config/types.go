package config

import (
	"strings"

	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
	"github.com/edge-proxy/edge/message"
)

// The types of keys, beside those of package schema. The comment after each is the Go type of its values.
var (
	typeUpgrades   = schema.Type{Name: "protocol or list", Parse: parseUpgradesValue}                   // []string
	typeListen     = schema.Type{Name: "address or list", Parse: parseListenValue}                      // []Address
	typeEndpoint   = schema.Type{Name: "host:port or unix:/path", Parse: parseEndpointValue}            // endpoint
	typeHeaders    = schema.Type{Name: "table of strings", Parse: parseHeadersValue}                    // []Header
	typeAccessLog  = schema.Type{Name: "path or false", Parse: parseAccessLogValue, Truth: true}        // AccessLog
	typeAccount    = schema.Type{Name: "name or number", Parse: parseAccountValue}                      // string
	typeHost       = schema.Type{Name: "`\"keep\"`, `\"backend\"` or a host", Parse: parseHostValue}    // string
	typeNetworks   = schema.Type{Name: "network or list", Parse: parseNetworksValue}                    // Trusted
	typeMethods    = schema.Type{Name: "method or list", Parse: parseMethodsValue}                      // []string
	typeFields     = schema.Type{Name: "name, list or table", Parse: parseFieldsValue}                  // []Condition
	typeParameters = schema.Type{Name: "name, list or table", Parse: parseParametersValue}              // []Condition
	typeClientCert = schema.Type{Name: "true or table", Parse: parseClientCert, Truth: true}            // *ClientCert
	typeLogOutput  = schema.Type{Name: "list of \"stdout\", \"stderr\", paths", Parse: parseLogOutputs} // []string
)

// parseUpgradesValue reads the names of protocols as Upgrade has them: RFC 9110 §7.8.
func parseUpgradesValue(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	var all []string
	right := d.Each(n, "a protocol", func(c *syntax.Node, s string) bool {
		name, version, versioned := strings.Cut(s, "/")
		lower := strings.ToLower(name)
		switch {
		case !message.ValidName(name) || versioned && !message.ValidName(version):
			d.Report.Errorf(c.Value, "", "%s is not the name of a protocol", syntax.Quote(s))
			return false
		case strings.HasPrefix(lower, "h2") || strings.HasPrefix(lower, "http"):
			d.Report.Errorf(c.Value, "", "an upgrade to %s is never passed on", syntax.Quote(s))
			return false
		}
		all = append(all, s)
		return true
	})
	return all, right
}

func parseListenValue(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	if n.Kind == syntax.KindInt {
		hint := "did you mean " + syntax.Quote(":"+n.Text) + "?"
		d.Report.Errorf(n.Value, hint, "%q must be an address, this is a whole number", n.Key)
		return nil, false
	}
	var all []Address
	right := d.Each(n, "an address", func(c *syntax.Node, s string) bool {
		a, wrong, hint := parseListen(s)
		if wrong != "" {
			d.Report.Errorf(c.Value, hint, "%s", wrong)
			return false
		}
		a.Pos = c.Value.Pos()
		all = append(all, a)
		return true
	})
	if right && len(all) == 0 {
		d.Report.Errorf(n.Value, "", "%q must not be empty", n.Key)
		return nil, false
	}
	return all, right
}

func parseEndpointValue(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	s, ok := d.String(n, "an address")
	if !ok {
		return nil, false
	}
	e, wrong, hint := parseEndpoint(s)
	if wrong != "" {
		d.Report.Errorf(n.Value, hint, "%s", wrong)
	}
	return e, wrong == ""
}

// parseAccessLogValue reads a path, or false for none.
func parseAccessLogValue(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	if n.Kind == syntax.KindBool && !n.Truth {
		return AccessLog{Off: true}, true
	}
	s, ok := d.String(n, "a path or false")
	return AccessLog{Path: s}, ok
}

func parseLogOutputs(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	all := []string{}
	right := d.Each(n, "a path", func(c *syntax.Node, s string) bool {
		if scheme, _, found := strings.Cut(s, "://"); found || s == "otlp" {
			d.Report.Errorf(c.Value, "", "log output %s is not supported by this version", syntax.Quote(scheme))
			return false
		}
		all = append(all, s)
		return true
	})
	return all, right
}
