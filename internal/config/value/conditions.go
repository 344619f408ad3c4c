package value

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/route"
	"github.com/edge-proxy/edge/message"
)

// The types of the keys of conditions. The comment after each is the Go type of its values.
var (
	TypeHost       = schema.Type{Name: "`\"keep\"`, `\"backend\"` or a host", Parse: schema.TextOf("a host", hostOf)}
	TypeNetworks   = schema.Type{Name: "network or list", Parse: parseNetworksValue} // Trusted
	TypeMethods    = schema.Type{Name: "method or list", Parse: schema.FilledListOf("a method", methodOf)}
	TypeFields     = schema.Type{Name: "name, list or table", Parse: parseFieldsValue}       // []Condition
	TypeParameters = schema.Type{Name: "name, list or table", Parse: parseParametersValue}   // []Condition
	TypeClientCert = schema.Type{Name: "true or table", Parse: parseClientCert, Truth: true} // *ClientCert
)

// conditionsMax bounds the conditions of one route: each costs every request that comes near it.
const conditionsMax = 32

// exprMax bounds a regular expression, in bytes.
const exprMax = 1024

func parseFieldsValue(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	return conditions(d, n, "the name of a header", message.ValidName[string])
}

func parseParametersValue(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	return conditions(d, n, "the name of a parameter", func(name string) bool { return name != "" })
}

// conditions reads "NAME", a list of names, or { NAME = "value" }.
func conditions(
	d *schema.Decoder, n *syntax.Node, what string, valid func(string) bool,
) (all []route.Condition, right bool) {
	right = true
	add := func(at syntax.Span, name, value string) {
		if !valid(name) {
			d.Report.Errorf(at, "", "%s is not %s", syntax.Quote(name), what)
			right = false
		}
		all = append(all, route.Condition{Name: name, Value: value})
	}
	if n.Kind == syntax.KindTable {
		for _, c := range n.Children {
			if c.Kind == syntax.KindBool && c.Truth {
				add(c.Name, c.Key, "")
				continue
			}
			s, ok := d.String(c, "a string, or true")
			right = ok && right
			if expr, found := strings.CutPrefix(s, "~"); found {
				right = expression(d, c, expr, schema.NamesSecret(c.Key)) && right
			}
			add(c.Name, c.Key, s)
		}
	} else {
		right = d.Each(n, "a name, a table", func(c *syntax.Node, s string) bool {
			add(c.Value, s, "")
			return right
		}) && right
	}
	right = right && d.Filled(n)
	if len(all) > conditionsMax {
		d.Report.Errorf(n.Value, "", "%q has more than %d conditions", n.Key, conditionsMax)
		right = false
	}
	return all, right
}

// parseClientCert reads true, or what a certificate has to be.
func parseClientCert(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	c := &route.ClientCert{}
	if n.Kind == syntax.KindBool && n.Truth {
		return c, true
	}
	if n.Kind == syntax.KindBool {
		d.Report.Errorf(n.Value, "leave it out for any client", "%q must be true or a table", n.Key)
		return c, false
	}
	if n.Kind != syntax.KindTable {
		d.WrongKind(n, "true or a table", `write true, or { subject = "…" }`)
		return c, false
	}
	fields := map[string]*string{"subject": &c.Subject, "issuer": &c.Issuer, "san": &c.SAN}
	right := d.Filled(n)
	right = ReadFields(d, n, fields, "a certificate has %s here, not %s", func(f *syntax.Node) (string, bool) {
		s, ok := d.String(f, "a string")
		if expr, found := strings.CutPrefix(s, "~"); found {
			ok = expression(d, f, expr, false) && ok
		}
		return s, ok
	}) && right
	return c, right
}

// ReadFields reads the table n, which has no other keys than fields. wrong is the message about another key.
func ReadFields(
	d *schema.Decoder, n *syntax.Node, fields map[string]*string, wrong string,
	read func(*syntax.Node) (string, bool),
) (right bool) {
	right = true
	for _, c := range n.Children {
		into := fields[c.Key]
		if into == nil {
			names := slices.Sorted(maps.Keys(fields))
			d.Report.Errorf(c.Name, syntax.DidYouMean(c.Key, names), wrong, syntax.Alternatives(names),
				syntax.Quote(c.Key))
			right = false
			continue
		}
		s, ok := read(c)
		*into, right = s, ok && right
	}
	return right
}

// expression reports a regular expression that is wrong. It does not quote an expression that may hold a secret: those
// that may only read get the message too.
func expression(d *schema.Decoder, n *syntax.Node, expr string, secret bool) bool {
	if len(expr) > exprMax {
		d.Report.Errorf(n.Value, "", "longer than %d bytes", exprMax)
		return false
	}
	if _, err := regexp.Compile(expr); err != nil {
		text := strings.TrimPrefix(err.Error(), "error parsing regexp: ")
		if secret {
			text, _, _ = strings.Cut(text, ": `")
		}
		d.Report.Errorf(n.Value, `a character such as ( that stands for itself is written [(]`, "%s", text)
		return false
	}
	return true
}

func methodOf(before []string, s string) (method, wrong, hint string) {
	switch upper := strings.ToUpper(s); {
	case s == "*":
		return s, syntax.Quote(s) + " is not a method", "leave it out for any method"
	case !message.ValidName(s):
		return s, syntax.Quote(s) + " is not a method", ""
	case s != upper:
		return s, "methods are told apart by case: " + syntax.Quote(s), "did you mean " + syntax.Quote(upper) + "?"
	case slices.Contains(before, s):
		return s, fmt.Sprintf("method %q is there twice", s), ""
	}
	return s, "", ""
}

// hostOf reads "keep", "backend", or what a Host field may say.
func hostOf(s string) (host, wrong, hint string) {
	if s == "keep" || s == "backend" {
		return s, "", ""
	}
	if !strings.HasSuffix(s, "]") && strings.Contains(s, ":") {
		e, wrong, hint := ParseEndpoint(s)
		if wrong != "" || e.Unix != "" {
			return s, syntax.Quote(s) + " is not a host", hint
		}
		return e.String(), "", ""
	}
	if _, wrong, hint = ParseHost(s, ""); wrong == "" && !strings.Contains(s, "*") {
		return s, "", ""
	}
	if foreignVariable().MatchString(s) {
		hint = `"keep" is the host that the client asked for, "backend" the host of the backend`
	}
	return s, syntax.Quote(s) + " is not a host", hint
}

// parseNetworksValue reads networks, single addresses, and "unix".
func parseNetworksValue(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	var t Trusted
	right := d.Each(n, "a network", func(c *syntax.Node, s string) bool {
		if s == "unix" {
			t.Unix = true
			return true
		}
		if strings.HasPrefix(s, "preset:") {
			d.Report.Errorf(c.Value, "", "%s is not supported by this version", syntax.Quote(s))
			return false
		}
		p, err := netip.ParsePrefix(s)
		if ip, e := netip.ParseAddr(s); e == nil && ip.Zone() == "" {
			p, err = netip.PrefixFrom(ip, ip.BitLen()), nil
		}
		switch {
		case err != nil || p.Addr().Is4In6():
			d.Report.Errorf(c.Value, "write it as \"10.0.0.0/8\"", "%s is not a network", syntax.Quote(s))
			return false
		case p != p.Masked():
			d.Report.Errorf(c.Value, "did you mean "+syntax.Quote(p.Masked().String())+"?",
				"%s has bits beyond its length", syntax.Quote(s))
			return false
		}
		t.Networks = append(t.Networks, p)
		return true
	})
	return t, right
}
