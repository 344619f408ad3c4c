package route

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/lang"
)

// Rule says which requests it takes. The zero value takes all but CONNECT and TRACE.
type Rule struct {
	Host       string      // without a port; "*.example.com": every name below example.com; "": every host
	Path       string      // "" or "/": every path
	Exact      bool        // Path is the whole path; else a prefix by segments: /api takes /api and /api/x, not /apix
	Methods    []string    // nil: all but CONNECT and TRACE, which have to be named
	Header     []Condition // every one has to hold, for the head as it came
	Query      []Condition // likewise
	Listeners  []string    // by Arrival.ListenerName, those that the request may have come by; nil: all
	ClientCert *ClientCert // what the client has to have shown; nil: anything or nothing
	// When has to hold, by Arrival.Holds; nil: there is none. Rules whose texts are the same have the same condition.
	When   *lang.Condition
	Weight int // its share of the requests that other rules would take just as well, 65535 at most
}

// Condition is what a field or a parameter of the query has to be. Value is the whole value; "" takes any, as long as
// it is there; a value that begins with "~" is a regular expression (RE2), to be found anywhere in the value.
// Immutable.
type Condition struct{ Name, Value string }

// ClientCert is what the certificate of a client has to be, which has to lead to a trusted one. Each value is as in a
// Condition; "" takes any, and so the zero value any such certificate.
// Immutable.
type ClientCert struct {
	Subject, Issuer string // RFC 2253
	SAN             string // one of its subject alternative names
}

// Bounds of rules that take the same requests: the bounds of balance.NewView.
const (
	equalMax  = 1<<16 - 1
	weightMax = 1<<16 - 1
)

// What is wrong with a rule.
var (
	errManyRules = fmt.Errorf("more than %d rules share the same requests", equalMax)
	errWeight    = fmt.Errorf("a weight is between 0 and %d", weightMax)

	errSameRule = errors.New("another one has the same host and path, the same conditions, and no weight")
)

// Pattern returns host and path in the form that they are compared in: it is equal for rules that have the same ones.
func (r *Rule) Pattern() string {
	host, path := strings.ToLower(r.Host), r.path()
	if r.Exact {
		return host + "=" + path
	}
	return host + path
}

// path is Path in normal form: a prefix has no slash at its end.
func (r *Rule) path() string {
	path := r.Path
	if path != "" {
		path = NormalPath(path)
	}
	if !r.Exact {
		path = strings.TrimSuffix(path, "/")
	}
	return path
}

// check returns what is wrong with r, whatever other rules there are; nil: nothing.
func (r *Rule) check() error {
	if r.Weight < 0 || r.Weight > weightMax {
		return errWeight
	}
	if r.Host != "" {
		host, err := ParseHost(r.Host)
		if err != nil {
			return fmt.Errorf("host %s: %w", quote(r.Host), err)
		}
		if host != strings.ToLower(r.Host) {
			return fmt.Errorf("host %s: write %s", quote(r.Host), quote(host))
		}
	}
	if r.Path == "" {
		return nil
	}
	err := checkPath(r.Path)
	if below, star := strings.CutSuffix(r.Path, "/*"); err == nil && star {
		err = &PatternError{errPathBelow, cmp.Or(below, "/")}
	} else if err == nil && !r.Exact && strings.Contains(r.Path, "*") {
		err = &PatternError{Wrong: errPathStars}
	}
	if err != nil {
		return fmt.Errorf("path %s: %w", quote(r.Path), err)
	}
	return nil
}

// Conditions is equal for rules whose conditions are the same, in whatever order; "" for a rule that has none.
func (r *Rule) Conditions() string {
	var all []string
	for _, m := range r.Methods {
		all = append(all, fmt.Sprintf("m%q", m))
	}
	for _, c := range r.Header {
		all = append(all, fmt.Sprintf("h%q%q", strings.ToLower(c.Name), c.Value))
	}
	for _, c := range r.Query {
		all = append(all, fmt.Sprintf("q%q%q", c.Name, c.Value))
	}
	for _, l := range r.Listeners {
		all = append(all, fmt.Sprintf("l%q", l))
	}
	if c := r.ClientCert; c != nil {
		all = append(all, fmt.Sprintf("c%q%q%q", c.Subject, c.Issuer, c.SAN))
	}
	if r.When != nil {
		all = append(all, fmt.Sprintf("w%q", r.When))
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), " ")
}

// Hides reports whether r takes every request that other would take, and goes before it: other never takes one.
// listeners are all that requests may come by. Only rules with the same pattern are compared: of any other two, the
// rule that names less has requests of its own.
func (r *Rule) Hides(other *Rule, listeners []string) bool {
	if r.Pattern() != other.Pattern() {
		return false
	}
	mine, err := newConditions(r)
	its, wrong := newConditions(other)
	if err != nil || wrong != nil {
		return false
	}
	first := equals{conditions: mine, key: r.Conditions()}
	return first.before(&equals{conditions: its, key: other.Conditions()}) && r.impliedBy(other, listeners)
}

// impliedBy reports whether the conditions of r hold for every request for which the conditions of other do. It may say
// false where they do, for regular expressions and When.
func (r *Rule) impliedBy(other *Rule, listeners []string) bool {
	if len(r.Listeners) > 0 {
		if len(other.Listeners) > 0 {
			listeners = other.Listeners
		}
		if !within(listeners, r.Listeners) {
			return false
		}
	}
	switch {
	case len(r.Methods) == 0:
		if slices.Contains(other.Methods, "CONNECT") || slices.Contains(other.Methods, "TRACE") {
			return false
		}
	case len(other.Methods) == 0 || !within(other.Methods, r.Methods):
		return false
	}
	if r.When != nil && (other.When == nil || r.When.String() != other.When.String()) {
		return false
	}
	return r.ClientCert.impliedBy(other.ClientCert) && impliedAll(r.Header, other.Header, strings.EqualFold) &&
		impliedAll(r.Query, other.Query, func(a, b string) bool { return a == b })
}

// within reports whether each of list is one of all.
func within(list, all []string) bool {
	return !slices.ContainsFunc(list, func(s string) bool { return !slices.Contains(all, s) })
}

func (c *ClientCert) impliedBy(other *ClientCert) bool {
	switch {
	case c == nil:
		return true
	case other == nil:
		return false
	}
	return (c.Subject == "" || implied(c.Subject, other.Subject)) &&
		(c.Issuer == "" || implied(c.Issuer, other.Issuer)) && (c.SAN == "" || implied(c.SAN, other.SAN))
}

func impliedAll(list, by []Condition, same func(a, b string) bool) bool {
	for _, c := range list {
		implies := func(d Condition) bool { return same(c.Name, d.Name) && implied(c.Value, d.Value) }
		if !slices.ContainsFunc(by, implies) {
			return false
		}
	}
	return true
}

// implied reports whether a value that meets the condition by meets value, too.
func implied(value, by string) bool {
	if value == "" || value == by {
		return true
	}
	expr, isExpr := strings.CutPrefix(value, "~")
	if !isExpr || by == "" || strings.HasPrefix(by, "~") {
		return false
	}
	found, err := regexp.MatchString(expr, by)
	return err == nil && found
}
