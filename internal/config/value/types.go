package value

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/observe/syslog"
	"github.com/edge-proxy/edge/message"
)

// Types of keys, beside the types of package schema. The comment after each is the Go type of its values.
var (
	TypeUpgrades  = schema.Type{Name: "protocol or list", Parse: schema.ListOf("a protocol", protocolOf)}
	TypeListen    = schema.Type{Name: "address or list", Parse: parseListenValue} // []Address
	TypeEndpoint  = schema.Type{Name: "host:port or unix:/path", Parse: schema.TextOf("an address", ParseEndpoint)}
	TypeHeaders   = schema.Type{Name: "table of strings", Parse: parseHeadersValue} // []Header
	TypeLogOutput = schema.Type{Name: "list of \"stdout\", \"stderr\", paths", Parse: schema.ListOf("a path", logTo)}

	TypeLogPath = schema.Type{Name: "string", Parse: schema.TextOf("a string", logPath)}

	TypeResolver = schema.Type{Name: "IP address or list", Truth: true, // []netip.AddrPort
		Parse: schema.FilledListOf("the address of a DNS server", resolverOf)}

	TypeAccessLog = schema.Type{Name: "path, false or a table", Parse: parseAccessLog, Truth: true, Text: true} // Where
)

// protocolOf reads the name of a protocol as Upgrade has it: RFC 9110 §7.8.
func protocolOf(_ []string, s string) (protocol, wrong, hint string) {
	name, version, versioned := strings.Cut(s, "/")
	lower := strings.ToLower(name)
	switch {
	case !message.ValidName(name) || versioned && !message.ValidName(version):
		return s, syntax.Quote(s) + " is not the name of a protocol", ""
	case strings.HasPrefix(lower, "h2") || strings.HasPrefix(lower, "http"):
		return s, "an upgrade to " + syntax.Quote(s) + " is never passed on", ""
	}
	return s, "", ""
}

func parseListenValue(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	if n.Kind == syntax.KindInt {
		hint := "did you mean " + syntax.Quote(":"+n.Text) + "?"
		d.Report.Errorf(n.Value, hint, "%q must be an address, this is a whole number", n.Key)
		return nil, false
	}
	for _, c := range n.Children {
		if c.Kind == syntax.KindInt {
			c.Kind = syntax.KindString // a port alone, which has its own hint
		}
	}
	var all []Address
	right := d.Each(n, "an address", func(c *syntax.Node, s string) bool {
		a, wrong, hint := ParseListen(s)
		if wrong != "" {
			d.Report.Errorf(c.Value, hint, "%s", wrong)
			return false
		}
		a.Pos = c.Value.Pos()
		all = append(all, a)
		return true
	})
	return all, right && d.Filled(n)
}

// parseAccessLog reads a path, or false for none.
func parseAccessLog(d *schema.Decoder, k *schema.Key, n *syntax.Node) (any, bool) {
	if n.Kind == syntax.KindBool && !n.Truth {
		return Where{Off: true}, true
	}
	if n.Kind == syntax.KindBool {
		d.WrongKind(n, "a path, false or a table", "leave it out: requests are logged then")
		return nil, false
	}
	return schema.TextOf("a path, false or a table", func(s string) (at Where, wrong, hint string) {
		s, wrong, hint = logPath(s)
		return Where{Path: s}, wrong, hint
	})(d, k, n)
}

// logPath reads where a log may go.
func logPath(s string) (path, wrong, hint string) {
	if IsLogTarget(s) {
		if _, _, err := syslog.ParseTarget(s); err != nil {
			wrong, hint, _ = strings.Cut(err.Error(), ": ")
		}
		return s, wrong, hint
	}
	scheme, _, found := strings.Cut(s, "://")
	switch {
	case strings.HasPrefix(s, "syslog:"): // as nginx has it
		_, to, _ := strings.Cut(s, "server=")
		to, _, _ = strings.Cut(cmp.Or(to, "host:514"), ",")
		url := "syslog+udp://" + to
		if path, local := strings.CutPrefix(to, "unix:"); local {
			url = "syslog+unix://" + path
		}
		return s, syntax.Quote(s) + " is not the URL of a syslog server", "write " + syntax.Quote(url)
	case s == "otlp" || scheme == "otlp":
		return s, syntax.Quote(s) + " is no log output", `write [log_sinks.NAME] with type = "otlp", and NAME here`
	case found:
		return s, "log output " + syntax.Quote(scheme) + " is not supported by this version",
			`write "stdout", "stderr", a path or "syslog+udp://host:514"`
	}
	return s, "", ""
}

func logTo(_ []string, s string) (path, wrong, hint string) { return logPath(s) }

// IsLogTarget reports whether the output of a log is the URL of a server, not a path.
func IsLogTarget(output string) bool {
	scheme, _, found := strings.Cut(output, "://")
	return found && strings.HasPrefix(scheme, "syslog")
}

// TypeFieldName is the name of a field that edge sets: string.
var TypeFieldName = schema.Type{Name: "name of a field", Parse: schema.TextOf("the name of a field",
	func(name string) (field, wrong, hint string) {
		switch {
		case !message.ValidName(name):
			return name, syntax.Quote(name) + " is not the name of a field", ""
		case slices.Contains(framingHeaders, strings.ToLower(name)) || strings.EqualFold(name, "host"):
			return name, syntax.Quote(name) + " is written by edge itself", ""
		}
		return name, "", ""
	})}

// TypeFieldNames is a list of names of fields, in lower case, which may be empty: []string. wrong says why a name
// cannot be in it, and what helps; "": it can.
func TypeFieldNames(wrong func(name string) (wrong, hint string)) schema.Type {
	parse := schema.ListOf("the name of a field", func(_ []string, s string) (name, says, hint string) {
		says, hint = wrong(s)
		return strings.ToLower(s), says, hint
	})
	return schema.Type{Name: "list of fields", Parse: func(
		d *schema.Decoder, k *schema.Key, n *syntax.Node,
	) (any, bool) {
		if n.Kind == syntax.KindBool {
			d.WrongKind(n, "a list of fields", "write [], so that none counts")
			return nil, false
		}
		return parse(d, k, n)
	}}
}

// framingHeaders are written by the proxy itself: a route that could set them could smuggle requests.
var framingHeaders = []string{
	"connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
}

// WrongField says why a field of that name cannot be set, and what helps; "": nothing.
func WrongField(name string) (wrong, hint string) {
	if !message.ValidName(name) {
		return syntax.Quote(name) + " is not the name of a header", `a name has letters, digits and "-"`
	}
	if slices.Contains(framingHeaders, strings.ToLower(name)) {
		return "header " + strconv.Quote(name) + " is written by the proxy itself", "leave it out"
	}
	return "", ""
}

// parseHeadersValue reads { Name = "value" }; an empty value removes the field.
func parseHeadersValue(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	var all []Header
	right := named(d, n, func(c *syntax.Node) bool {
		all = append(all, Header{Name: c.Key, Value: c.Text, Pos: c.Head.Pos()})
		return header(d, c)
	})
	return all, right
}

// named calls read with each part of the table n, whose names differ in more than the case of letters.
func named(d *schema.Decoder, n *syntax.Node, read func(*syntax.Node) bool) bool {
	if n.Kind != syntax.KindTable {
		d.WrongKind(n, "a table of strings", schema.TableHint)
		return false
	}
	right, seen := true, make(map[string]*syntax.Node)
	for _, c := range n.Children {
		lower := strings.ToLower(c.Key)
		if old := seen[lower]; old != nil {
			d.Report.Conflictf(c.Head, old.Head, "first at "+old.Head.RelativeTo(c.Head), "%q is set twice", c.Key)
			right = false
			continue
		}
		seen[lower] = c
		right = read(c) && right
	}
	return right
}

// header checks a field that is to be set.
func header(d *schema.Decoder, n *syntax.Node) bool {
	if wrong, hint := WrongField(n.Key); wrong != "" {
		d.Report.Errorf(n.Name, hint, "%s", wrong)
		return false
	}
	if n.Kind == syntax.KindString && n.Text == "" {
		return true
	}
	if _, ok := d.String(n, "a string"); !ok {
		return false
	}
	if strings.EqualFold(n.Key, "host") && !strings.Contains(n.Text, "{") {
		_, right := TypeHost.Parse(d, nil, n)
		return right
	}
	WarnForeignVariables(d.Report, n, headerVariables)
	if strings.TrimSpace(n.Text) != n.Text {
		d.Report.Errorf(n.Value, "did you mean "+syntax.Quote(strings.TrimSpace(n.Text))+"?",
			"the value of a header neither begins nor ends with a blank")
		return false
	}
	return true
}

// ParseTexts reads a table of texts, whose names wrong checks, as []Text without values.
func ParseTexts(d *schema.Decoder, n *syntax.Node, wrong func(*syntax.Node) (wrong, hint string)) ([]Text, bool) {
	var all []Text
	right := named(d, n, func(c *syntax.Node) bool {
		if says, hint := wrong(c); says != "" {
			d.Report.Errorf(c.Head, hint, "%s", says)
		} else if c.Kind != syntax.KindString {
			d.WrongKind(c, "a string", "")
		} else {
			all = append(all, Text{Name: c.Key})
			return true
		}
		return false
	})
	return all, right && d.Filled(n)
}

const resolversMax = 8

func resolverOf(before []netip.AddrPort, s string) (server netip.AddrPort, wrong, hint string) {
	server, err := netip.ParseAddrPort(s)
	if err != nil {
		var ip netip.Addr
		ip, err = netip.ParseAddr(strings.Trim(s, "[]"))
		server = netip.AddrPortFrom(ip, 53)
	}
	switch {
	case err != nil || server.Port() == 0:
		return server, syntax.Quote(s) + " is not the IP address of a DNS server", `write one such as "10.0.0.53"`
	case len(before) == resolversMax:
		return server, fmt.Sprintf("%d DNS servers are enough", resolversMax), ""
	}
	return server, "", ""
}
