package locator

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Locator is such a text.
// Immutable.
type Locator struct {
	Text   string // as it was written
	Scheme string
	Host   string     // of dns and srv+dns: a name; of others the part before the first slash
	Port   uint16     // of dns
	Path   string     // of file: the file; of others what begins with the first slash
	Params url.Values // after "?"
}

// Schemes are those of this package, in order.
var Schemes = []string{"dns", "file", "srv+dns"}

var (
	errForm   = errors.New("it must be like scheme://where")
	errPort   = errors.New("it needs a port from 1 to 65535: dns://host:port")
	errHost   = errors.New("it needs the name of a host")
	errPath   = errors.New("it needs an absolute path: file:///path")
	errExtra  = errors.New("it has more than a host and a port")
	errNoPort = errors.New("a service has no port: its SRV records say it; dns://host:port has one")
)

// Parse reads a text. own are further schemes, which are not looked into.
func Parse(text string, own ...string) (*Locator, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok || scheme == "" || rest == "" {
		return nil, fmt.Errorf("%q: %w", text, errForm)
	}
	l := &Locator{Text: text, Scheme: strings.ToLower(scheme)}
	rest, query, _ := strings.Cut(rest, "?")
	var err error
	if l.Params, err = url.ParseQuery(query); err != nil {
		return nil, fmt.Errorf("%q: %w", text, err)
	}
	l.Host = rest
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		l.Host, l.Path = rest[:i], rest[i:]
	}
	switch {
	case slices.Contains(Schemes, l.Scheme):
		err = l.check()
	case !slices.Contains(own, l.Scheme):
		all := slices.Concat(Schemes, own)
		slices.Sort(all)
		err = fmt.Errorf("no source is called %q; there are %s", l.Scheme, strings.Join(all, ", "))
	}
	if err != nil {
		return nil, fmt.Errorf("%q: %w", text, err)
	}
	return l, nil
}

// check looks into the text of a scheme of this package.
func (l *Locator) check() error {
	for name := range l.Params {
		return fmt.Errorf("there is no parameter %q", name)
	}
	switch l.Scheme {
	case "dns":
		if l.Path != "" {
			return errExtra
		}
		host, text, err := net.SplitHostPort(l.Host)
		port, wrong := strconv.ParseUint(text, 10, 16)
		if err != nil || wrong != nil || port == 0 {
			return errPort
		}
		l.Host, l.Port = host, uint16(port)
		return checkName(host)
	case "srv+dns":
		if l.Path != "" {
			return errExtra
		}
		if strings.Contains(l.Host, ":") {
			return errNoPort
		}
		return checkName(l.Host)
	}
	if l.Host != "" || l.Path == "" || l.Path != path.Clean(l.Path) || l.Path == "/" {
		return errPath
	}
	return nil
}

// checkName reports whether a name can be asked for: RFC 1035 §2.3.4, with the underscores of services (RFC 2782).
func checkName(name string) error {
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > 253 {
		return errHost
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return fmt.Errorf("%q is not the name of a host", name)
		}
		for _, c := range []byte(label) {
			if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
				return fmt.Errorf("%q is not the name of a host", name)
			}
		}
	}
	return nil
}
