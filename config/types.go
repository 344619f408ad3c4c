package config

import (
	"strings"
	"time"

	"github.com/edge-proxy/edge/config/syntax"
	"github.com/edge-proxy/edge/message"
)

// valueType is a type of values: how to read one from a node, and what to call it.
type valueType struct {
	name   string // in the reference
	parse  func(d *decoder, k *key, n *syntax.Node) (any, bool)
	number func(text string) (int64, bool) // reads a bound; types without bounds have none
	truth  bool                            // true or false are among its values
}

// The types of keys. The comment behind each is the Go type of its values.
var (
	typeString     = valueType{name: "string", parse: parseStringValue}                               // string
	typeStrings    = valueType{name: "string or list", parse: parseStringsValue}                      // []string
	typeChoice     = valueType{name: "choice", parse: parseChoiceValue}                               // string
	typeChoices    = valueType{name: "list of choices", parse: parseChoicesValue}                     // []string
	typeInt        = valueType{name: "number", parse: parseIntValue, number: wholeNumber}             // int
	typeSize       = valueType{name: "size", parse: parseSizeValue, number: parseSize}                // int64
	typeRate       = valueType{name: "size a second", parse: parseRateValue, number: parseRate}       // int64
	typeUpgrades   = valueType{name: "protocol or list", parse: parseUpgradesValue}                   // []string
	typeDuration   = valueType{name: "time", parse: parseDurationValue, number: nanoseconds}          // time.Duration
	typeListen     = valueType{name: "address or list", parse: parseListenValue}                      // []Address
	typeEndpoint   = valueType{name: "host:port or unix:/path", parse: parseEndpointValue}            // endpoint
	typeHeaders    = valueType{name: "table of strings", parse: parseHeadersValue}                    // []Header
	typeAccessLog  = valueType{name: "path or false", parse: parseAccessLogValue, truth: true}        // AccessLog
	typeBool       = valueType{name: "true or false", parse: parseBoolValue, truth: true}             // bool
	typeFolder     = valueType{name: "absolute path", parse: parseFolderValue}                        // string
	typeAccount    = valueType{name: "name or number", parse: parseAccountValue}                      // string
	typeToken      = valueType{name: "name", parse: parseTokenValue}                                  // string
	typeHost       = valueType{name: "`\"keep\"`, `\"backend\"` or a host", parse: parseHostValue}    // string
	typeNetworks   = valueType{name: "network or list", parse: parseNetworksValue}                    // Trusted
	typeMethods    = valueType{name: "method or list", parse: parseMethodsValue}                      // []string
	typeFields     = valueType{name: "name, list or table", parse: parseFieldsValue}                  // []Condition
	typeParameters = valueType{name: "name, list or table", parse: parseParametersValue}              // []Condition
	typeClientCert = valueType{name: "true or table", parse: parseClientCert, truth: true}            // *ClientCert
	typeLogOutput  = valueType{name: "list of \"stdout\", \"stderr\", paths", parse: parseLogOutputs} // []string
)

// retype turns what ${…} stands for into the number or boolean that the key takes: there is no other way to write one.
func (k *key) retype(n *syntax.Node) {
	if !n.Expanded || n.Kind != syntax.KindString {
		return
	}
	switch {
	case k.typ.name == typeInt.name:
		if v, ok := wholeNumber(n.Text); ok {
			n.Kind, n.Integer = syntax.KindInt, v
		}
	case k.typ.truth && (n.Text == "true" || n.Text == "false"):
		n.Kind, n.Truth = syntax.KindBool, n.Text == "true"
	}
}

// stringOf reads a string that is not empty.
func stringOf(d *decoder, n *syntax.Node, want string) (string, bool) {
	if n.Kind != syntax.KindString {
		d.wrongKind(n, want)
		return "", false
	}
	if n.Text == "" {
		d.rep.Errorf(n.Value, "", "%q must not be empty", n.Key)
		return "", false
	}
	if strings.ContainsFunc(n.Text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		d.rep.Errorf(n.Value, "", "%q must not hold control characters", n.Key)
		return "", false
	}
	return n.Text, true
}

// each reads a string, or every string of a list. It goes on after a wrong one.
func each(d *decoder, n *syntax.Node, want string, read func(*syntax.Node, string) bool) bool {
	if n.Kind != syntax.KindList {
		s, ok := stringOf(d, n, want+" or a list of them")
		return ok && read(n, s)
	}
	right := true
	for _, c := range n.Children {
		c.Key = n.Key
		s, ok := stringOf(d, c, "a list of strings")
		right = ok && read(c, s) && right
	}
	return right
}

// filled reports a list or a table that holds nothing where something has to be.
func (d *decoder) filled(n *syntax.Node) bool {
	if n.Kind == syntax.KindString || len(n.Children) > 0 {
		return true
	}
	d.rep.Errorf(n.Value, "", "%q must not be empty", n.Key)
	return false
}

func parseStringValue(d *decoder, _ *key, n *syntax.Node) (any, bool) {
	return stringOf(d, n, "a string")
}

func parseStringsValue(d *decoder, _ *key, n *syntax.Node) (any, bool) {
	var all []string
	right := each(d, n, "a string", func(_ *syntax.Node, s string) bool {
		all = append(all, s)
		return true
	})
	return all, right
}

func parseChoiceValue(d *decoder, k *key, n *syntax.Node) (any, bool) {
	s, ok := stringOf(d, n, syntax.Alternatives(k.enum))
	if same, found := k.synonyms[s]; found {
		return same, ok
	}
	if instead, found := k.dormant[s]; found && ok {
		d.rep.Warnf(codeNoEffect, n.Value, "", "%s = %q is %q in this version", n.Key, s, instead)
		return instead, true
	}
	return s, ok && d.choice(k, n, s)
}

func parseChoicesValue(d *decoder, k *key, n *syntax.Node) (any, bool) {
	var all []string
	right := each(d, n, "a string", func(c *syntax.Node, s string) bool {
		all = append(all, s)
		return d.choice(k, c, s)
	})
	return all, right
}

func (d *decoder) choice(k *key, n *syntax.Node, s string) bool {
	for _, e := range k.enum {
		if s == e {
			return true
		}
	}
	for _, l := range k.later {
		if s == l {
			d.rep.Errorf(n.Value, "use "+syntax.Alternatives(k.enum), "%s = %q is not supported by this version",
				n.Key, s)
			return false
		}
	}
	hint := syntax.DidYouMean(s, k.enum)
	d.rep.Errorf(n.Value, hint, "%q must be %s, not %s", n.Key, syntax.Alternatives(k.enum), syntax.Quote(s))
	return false
}

// word tells whether n is one of the words that the key allows in place of a number.
func (k *key) word(n *syntax.Node) bool {
	if n.Kind != syntax.KindString {
		return false
	}
	for _, w := range k.words {
		if n.Text == w {
			return true
		}
	}
	return false
}

// want says what the key takes, for messages.
func (k *key) want(noun string) string {
	if len(k.words) > 0 {
		noun += " or " + syntax.Alternatives(k.words)
	}
	return noun
}

func (d *decoder) inRange(k *key, n *syntax.Node, v int64) bool {
	if k.min == "" || v >= k.lo && v <= k.hi {
		return true
	}
	d.rep.Errorf(n.Value, "", "%q must be between %s and %s", n.Key, k.min, k.max)
	return false
}

func parseIntValue(d *decoder, k *key, n *syntax.Node) (any, bool) {
	if k.word(n) {
		return 0, true
	}
	if n.Kind != syntax.KindInt {
		hint := ""
		if _, isNumber := wholeNumber(n.Text); n.Kind == syntax.KindString && isNumber {
			hint = "write it without quotes"
		}
		d.rep.Errorf(n.Value, hint, "%q must be %s, this is %s", n.Key, k.want("a whole number"), n.Kind.Noun())
		return 0, false
	}
	return int(n.Integer), d.inRange(k, n, n.Integer)
}

func wholeNumber(s string) (int64, bool) {
	n, err := syntax.ParseInteger(s)
	return n, err == nil
}

func parseSizeValue(d *decoder, k *key, n *syntax.Node) (any, bool) {
	var size int64
	ok := true
	switch {
	case k.word(n):
		return size, true
	case n.Kind == syntax.KindInt:
		size, ok = n.Integer, n.Integer >= 0
	case n.Kind == syntax.KindString:
		size, ok = parseSize(n.Text)
	default:
		ok = false
	}
	if !ok {
		d.rep.Errorf(n.Value, `write it as "64k", "10m" or "2g"`, "%q must be %s", n.Key, k.want("a size"))
		return size, false
	}
	return size, d.inRange(k, n, size)
}

// parseRate reads bytes a second: a size, with or without "/s".
func parseRate(s string) (int64, bool) { return parseSize(strings.TrimSuffix(s, "/s")) }

func parseRateValue(d *decoder, k *key, n *syntax.Node) (any, bool) {
	rate, ok := n.Integer, n.Kind == syntax.KindInt && n.Integer >= 0
	if n.Kind == syntax.KindString {
		rate, ok = parseRate(n.Text)
	}
	if !ok {
		d.rep.Errorf(n.Value, `write it as "500/s" or "1k/s"`, "%q must be a size a second", n.Key)
		return rate, false
	}
	return rate, d.inRange(k, n, rate)
}

// parseUpgradesValue reads the names of protocols as Upgrade has them: RFC 9110 §7.8.
func parseUpgradesValue(d *decoder, _ *key, n *syntax.Node) (any, bool) {
	var all []string
	right := each(d, n, "a protocol", func(c *syntax.Node, s string) bool {
		name, version, versioned := strings.Cut(s, "/")
		lower := strings.ToLower(name)
		switch {
		case !message.ValidName(name) || versioned && !message.ValidName(version):
			d.rep.Errorf(c.Value, "", "%s is not the name of a protocol", syntax.Quote(s))
			return false
		case strings.HasPrefix(lower, "h2") || strings.HasPrefix(lower, "http"):
			d.rep.Errorf(c.Value, "", "an upgrade to %s is never passed on", syntax.Quote(s))
			return false
		}
		all = append(all, s)
		return true
	})
	return all, right
}

func parseDurationValue(d *decoder, k *key, n *syntax.Node) (any, bool) {
	var t time.Duration
	ok := true
	if k.word(n) {
		return time.Duration(-1), true
	}
	switch n.Kind {
	case syntax.KindInt:
		t, ok = seconds(float64(n.Integer))
	case syntax.KindFloat:
		t, ok = seconds(n.Fraction)
	case syntax.KindString:
		t, ok = parseDuration(n.Text)
	default:
		ok = false
	}
	if !ok {
		d.rep.Errorf(n.Value, `write it as "250ms", "5s" or "1h"; a bare number is seconds`, "%q must be %s", n.Key,
			k.want("a time"))
		return t, false
	}
	return t, d.inRange(k, n, int64(t))
}

func nanoseconds(s string) (int64, bool) {
	t, ok := parseDuration(s)
	return int64(t), ok
}

func parseListenValue(d *decoder, _ *key, n *syntax.Node) (any, bool) {
	if n.Kind == syntax.KindInt {
		hint := "did you mean " + syntax.Quote(":"+n.Text) + "?"
		d.rep.Errorf(n.Value, hint, "%q must be an address, this is a whole number", n.Key)
		return nil, false
	}
	var all []Address
	right := each(d, n, "an address", func(c *syntax.Node, s string) bool {
		a, wrong, hint := parseListen(s)
		if wrong != "" {
			d.rep.Errorf(c.Value, hint, "%s", wrong)
			return false
		}
		a.Pos = c.Value.Pos()
		all = append(all, a)
		return true
	})
	if right && len(all) == 0 {
		d.rep.Errorf(n.Value, "", "%q must not be empty", n.Key)
		return nil, false
	}
	return all, right
}

func parseEndpointValue(d *decoder, _ *key, n *syntax.Node) (any, bool) {
	s, ok := stringOf(d, n, "an address")
	if !ok {
		return nil, false
	}
	e, wrong, hint := parseEndpoint(s)
	if wrong != "" {
		d.rep.Errorf(n.Value, hint, "%s", wrong)
	}
	return e, wrong == ""
}

// parseAccessLogValue reads a path, or false for none.
func parseAccessLogValue(d *decoder, _ *key, n *syntax.Node) (any, bool) {
	if n.Kind == syntax.KindBool && !n.Truth {
		return AccessLog{Off: true}, true
	}
	s, ok := stringOf(d, n, "a path or false")
	return AccessLog{Path: s}, ok
}

func parseLogOutputs(d *decoder, _ *key, n *syntax.Node) (any, bool) {
	all := []string{}
	right := each(d, n, "a path", func(c *syntax.Node, s string) bool {
		if scheme, _, found := strings.Cut(s, "://"); found || s == "otlp" {
			d.rep.Errorf(c.Value, "", "log output %s is not supported by this version", syntax.Quote(scheme))
			return false
		}
		all = append(all, s)
		return true
	})
	return all, right
}
