package config

import (
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/route"
)

// conditionsMax bounds the conditions of one route: each costs every request that comes near it.
const conditionsMax = 32

// exprMax bounds a regular expression, in bytes.
const exprMax = 1024

func parseFieldsValue(d *decoder, _ *key, n *node) (any, bool) {
	return d.conditions(n, "the name of a header", func(name string) bool { return headerName(name) })
}

func parseParametersValue(d *decoder, _ *key, n *node) (any, bool) {
	return d.conditions(n, "the name of a parameter", func(name string) bool { return name != "" })
}

// conditions reads "NAME", a list of names, or { NAME = "value" }.
func (d *decoder) conditions(n *node, what string, valid func(string) bool) (all []route.Condition, right bool) {
	right = true
	add := func(at span, name, value string) {
		if !valid(name) {
			d.rep.error(at, "", "%s is not %s", quote(name), what)
			right = false
		}
		all = append(all, route.Condition{Name: name, Value: value})
	}
	if n.kind != kindTable {
		right = each(d, n, "a name, a table", func(c *node, s string) bool {
			add(c.value, s, "")
			return right
		}) && right
	}
	for _, c := range n.children {
		if n.kind != kindTable {
			break
		}
		if c.kind == kindBool && c.truth {
			add(c.name, c.key, "")
			continue
		}
		s, ok := stringOf(d, c, "a string, or true")
		right = ok && right
		if expr, found := strings.CutPrefix(s, "~"); found {
			right = d.expression(c, expr) && right
		}
		add(c.name, c.key, s)
	}
	if right && !d.filled(n) {
		right = false
	}
	if len(all) > conditionsMax {
		d.rep.error(n.value, "", "%q has more than %d conditions", n.key, conditionsMax)
		right = false
	}
	return all, right
}

// parseClientCert reads true, or what a certificate has to be.
func parseClientCert(d *decoder, _ *key, n *node) (any, bool) {
	c := &route.ClientCert{}
	if n.kind == kindBool && n.truth {
		return c, true
	}
	if n.kind == kindBool {
		d.rep.error(n.value, "leave it out for any client", "%q must be true or a table", n.key)
		return c, false
	}
	if n.kind != kindTable {
		d.wrongKind(n, "true or a table")
		return c, false
	}
	fields := map[string]*string{"subject": &c.Subject, "issuer": &c.Issuer, "san": &c.SAN}
	right := d.filled(n)
	for _, f := range n.children {
		into := fields[f.key]
		if into == nil {
			names := slices.Sorted(maps.Keys(fields))
			hint := didYouMean(f.key, names)
			d.rep.error(f.name, hint, "a certificate has %s here, not %s", list(names), quote(f.key))
			right = false
			continue
		}
		s, ok := stringOf(d, f, "a string")
		if expr, found := strings.CutPrefix(s, "~"); found {
			ok = d.expression(f, expr) && ok
		}
		*into, right = s, ok && right
	}
	return c, right
}

func (d *decoder) expression(n *node, expr string) bool {
	if len(expr) > exprMax {
		d.rep.error(n.value, "", "longer than %d bytes", exprMax)
		return false
	}
	if _, err := regexp.Compile(expr); err != nil {
		d.rep.error(n.value, "", "%s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		return false
	}
	return true
}

func parseMethodsValue(d *decoder, _ *key, n *node) (any, bool) {
	var all []string
	right := each(d, n, "a method", func(c *node, s string) bool {
		switch upper := strings.ToUpper(s); {
		case s == "*":
			d.rep.error(c.value, "leave it out for any method", "%s is not a method", quote(s))
		case !headerName(s):
			d.rep.error(c.value, "", "%s is not a method", quote(s))
		case s != upper:
			d.rep.error(c.value, "did you mean "+quote(upper)+"?", "methods are told apart by case: %s", quote(s))
		case slices.Contains(all, s):
			d.rep.error(c.value, "", "method %q is there twice", s)
		default:
			all = append(all, s)
			return true
		}
		return false
	})
	if right && len(all) == 0 {
		d.rep.error(n.value, "", "%q must not be empty", n.key)
		return nil, false
	}
	return all, right
}

func parseBoolValue(d *decoder, _ *key, n *node) (any, bool) {
	if n.kind == kindString {
		d.rep.error(n.value, truthHint(n.text), "%q must be true or false, this is a string", n.key)
	} else if n.kind != kindBool {
		d.wrongKind(n, "true or false")
	}
	return n.truth, n.kind == kindBool
}

func parseTokenValue(d *decoder, _ *key, n *node) (any, bool) {
	s, ok := stringOf(d, n, "a name")
	if ok && (!bareKey(s) || len(s) > 64) {
		d.rep.error(n.value, "", "%q has letters, digits, \"_\" and \"-\" alone, 64 at most", n.key)
		ok = false
	}
	return s, ok
}

// parseHostValue reads "keep", "backend", or what a Host field may say.
func parseHostValue(d *decoder, _ *key, n *node) (any, bool) {
	s, ok := stringOf(d, n, "a host")
	if !ok || s == "keep" || s == "backend" {
		return s, ok
	}
	host := s
	if !strings.HasSuffix(s, "]") && strings.Contains(s, ":") {
		e, wrong, hint := parseEndpoint(s)
		if wrong != "" || e.unix != "" {
			d.rep.error(n.value, hint, "%s is not a host", quote(s))
			return s, false
		}
		return e.String(), true
	}
	if _, wrong, hint := parseRouteHost(host); wrong != "" || strings.Contains(s, "*") {
		d.rep.error(n.value, hint, "%s is not a host", quote(s))
		return s, false
	}
	return s, true
}

// parseNetworksValue reads networks, single addresses, and "unix".
func parseNetworksValue(d *decoder, _ *key, n *node) (any, bool) {
	var t Trusted
	right := each(d, n, "a network", func(c *node, s string) bool {
		if s == "unix" {
			t.Unix = true
			return true
		}
		if strings.HasPrefix(s, "preset:") {
			d.rep.error(c.value, "", "%s is not supported by this version", quote(s))
			return false
		}
		p, err := netip.ParsePrefix(s)
		if ip, e := netip.ParseAddr(s); e == nil && ip.Zone() == "" {
			p, err = netip.PrefixFrom(ip, ip.BitLen()), nil
		}
		switch {
		case err != nil || p.Addr().Is4In6():
			d.rep.error(c.value, "write it as \"10.0.0.0/8\"", "%s is not a network", quote(s))
			return false
		case p != p.Masked():
			d.rep.error(c.value, "did you mean "+quote(p.Masked().String())+"?",
				"%s has bits beyond its length", quote(s))
			return false
		}
		t.Networks = append(t.Networks, p)
		return true
	})
	return t, right
}
