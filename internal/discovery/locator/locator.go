package locator

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Locator is such a text.
// Immutable.
type Locator struct {
	Text     string // as it was written
	Scheme   string
	Host     string     // of dns and srv+dns: a name; of k8s: the namespace; else the part before the first slash
	Hosts    []string   // of etcd and consul: host:port each
	Name     string     // of etcd: the prefix of keys; of consul and k8s: the service; of docker: the label
	Port     uint16     // of dns
	PortName string     // of k8s: a name or a number; "": none is given
	Path     string     // of file: the file; of others what begins with the first slash
	Params   url.Values // after "?"
}

// Schemes are the schemes of this package, in order.
var Schemes = []string{"consul", "dns", "docker", "etcd", "file", "k8s", "srv+dns"}

// params are the parameters that a scheme knows.
var params = map[string][]string{
	"consul": {"ca", "dc", "near", "tag", "tls", "token_file"},
	"docker": {"network", "port", "socket"},
	"etcd":   {"ca", "tls"},
	"k8s":    {"api", "ca", "token_file"},
}

var (
	errForm   = errors.New("it must be like scheme://where")
	errPort   = errors.New("it needs a port from 1 to 65535, as in host:port")
	errName   = errors.New("it needs what to look for after the host: /name")
	errLabel  = errors.New("it needs a label, docker://name or docker://name=value")
	errHost   = errors.New("it needs the name of a host")
	errPath   = errors.New("it needs an absolute path: file:///path")
	errKube   = errors.New("it must be like k8s://namespace/service:port")
	errUser   = errors.New("it must have no user and no password: edge shows none to a registry")
	errExtra  = errors.New("it has more than can be meant")
	errAgent  = errors.New("an instance is registered with the agent that is named: dc and near are for finding alone")
	errNoPort = errors.New("a service has no port: its SRV records say it; dns://host:port has one")
)

// Parse reads a text. own are further schemes, which are not looked into.
func Parse(text string, own ...string) (*Locator, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok || scheme == "" || rest == "" {
		return nil, fmt.Errorf("%q: %w", withoutUser(text), errForm)
	}
	l := &Locator{Text: text, Scheme: strings.ToLower(scheme)}
	rest, query, _ := strings.Cut(rest, "?")
	var err error
	if l.Params, err = url.ParseQuery(query); err != nil {
		return nil, fmt.Errorf("%q: %w", withoutUser(text), err)
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
		return nil, fmt.Errorf("%q: %w", withoutUser(text), err)
	}
	return l, nil
}

// withoutUser returns a text for messages: what stands before an "@" may be a password.
func withoutUser(text string) string {
	from, to := strings.Index(text, "://")+len("://"), strings.LastIndexByte(text, '@')
	if from < len("://") || to < from {
		return text
	}
	return text[:from] + "…" + text[to:]
}

// Registries are the schemes of this package that say where an instance of a service can be registered, in order.
var Registries = []string{"consul", "etcd", "file"}

// ParseRegistry is Parse for a text that says where an instance is registered.
func ParseRegistry(text string, own ...string) (*Locator, error) {
	scheme, _, ok := strings.Cut(text, "://")
	all := slices.Concat(Registries, own)
	if scheme = strings.ToLower(scheme); ok && !slices.Contains(all, scheme) {
		slices.Sort(all)
		return nil, fmt.Errorf("%q: nothing is registered by %q; there are %s", withoutUser(text), scheme,
			strings.Join(all, ", "))
	}
	l, err := Parse(text, own...)
	if err == nil && scheme == "consul" && (l.Params.Has("dc") || l.Params.Has("near")) {
		return nil, fmt.Errorf("%q: %w", withoutUser(text), errAgent)
	}
	return l, err
}

// check looks into the text of a scheme of this package.
func (l *Locator) check() error {
	if strings.Contains(l.Host, "@") && l.Scheme != "docker" { // a label may have it
		return errUser
	}
	if err := l.checkParams(); err != nil {
		return err
	}
	switch l.Scheme {
	case "dns":
		return l.checkHostPort()
	case "srv+dns":
		if l.Path != "" {
			return errExtra
		}
		if strings.Contains(l.Host, ":") {
			return errNoPort
		}
		return checkName(l.Host)
	case "etcd", "consul":
		return l.checkRegistry()
	case "k8s":
		l.Name, l.PortName, _ = strings.Cut(strings.TrimPrefix(l.Path, "/"), ":")
		if strings.Contains(l.PortName, "/") {
			return errExtra
		}
		if checkName(l.Host) != nil || checkName(l.Name) != nil {
			return errKube
		}
		return nil
	case "docker":
		if l.Name = l.Host; l.Name == "" || l.Path != "" {
			return errLabel
		}
		return nil
	}
	if l.Host != "" || l.Path == "" || l.Path != path.Clean(l.Path) || l.Path == "/" {
		return errPath
	}
	return nil
}

// checkParams reports parameters that the scheme does not know, or whose value is none.
func (l *Locator) checkParams() error {
	for name, values := range l.Params {
		value := values[0]
		wrong := value == "" || len(values) > 1
		switch name {
		case "ca", "token_file", "socket":
			wrong = wrong || !path.IsAbs(value)
		case "tls":
			wrong = wrong || value != "true" && value != "false"
		case "port":
			n, err := strconv.ParseUint(value, 10, 16)
			wrong = wrong || err != nil || n == 0
		case "api":
			u, err := url.Parse(value)
			wrong = wrong || err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Path != ""
		}
		switch {
		case !slices.Contains(params[l.Scheme], name):
			return fmt.Errorf("there is no parameter %q", name)
		case wrong:
			return fmt.Errorf("%q is no value of %q", value, name)
		}
	}
	return nil
}

// checkHostPort reads host:port, and nothing else.
func (l *Locator) checkHostPort() error {
	if l.Path != "" {
		return errExtra
	}
	host, port, err := hostPort(l.Host)
	l.Host, l.Port = host, port
	return err
}

// checkRegistry reads the servers of a registry and what is asked of them.
func (l *Locator) checkRegistry() error {
	l.Hosts, l.Name = strings.Split(l.Host, ","), strings.TrimPrefix(l.Path, "/")
	for _, one := range l.Hosts {
		host, _, err := hostPort(one)
		if _, literal := netip.ParseAddr(host); err != nil && literal != nil {
			return err
		}
	}
	switch {
	case l.Name == "":
		return errName
	case l.Scheme == "consul" && (len(l.Hosts) > 1 || strings.Contains(l.Name, "/")):
		return errExtra
	}
	return nil
}

// hostPort cuts the name of a host, and a port.
func hostPort(text string) (string, uint16, error) {
	host, text, err := net.SplitHostPort(text)
	port, wrong := strconv.ParseUint(text, 10, 16)
	if err != nil || wrong != nil || port == 0 {
		return "", 0, errPort
	}
	return host, uint16(port), checkName(host)
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
