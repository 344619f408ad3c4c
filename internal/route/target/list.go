package target

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// List is where requests may go.
// Immutable.
type List struct {
	entries []entry
	nets    []netip.Prefix // that names may have addresses in
}

// entry is the destinations of one scheme on some ports.
type entry struct {
	scheme Scheme
	host   string       // a name; "" where it is a network
	below  bool         // it stands for the names below it, which is ".svc.internal" then
	net    netip.Prefix // addresses that may be asked for as such
	ports  []portRange
}

type portRange struct{ from, to uint16 }

// EntryError says what is wrong with an entry of a List.
type EntryError struct {
	Index       int // of the entry, from 0
	Entry       string
	Wrong, Hint string
}

// Error names the entry and what is wrong.
func (e *EntryError) Error() string { return fmt.Sprintf("%q: %s; %s", e.Entry, e.Wrong, e.Hint) }

const (
	entriesMax = 256
	rangesMax  = 16
)

var errEntries = errors.New("more than 256 entries")

// ParseList parses the entries of a list. Of each kind there may be any number:
//
//	http://api.internal:8080           a name
//	https://*.svc.internal             the names below it, of one label more or several; the usual port
//	http://*.svc.internal:8000-8999,9090   several ports; * is any
//	http://10.1.2.3:8080               an address that a request may ask for as such
//	http://10.1.0.0/16:8080            any of a network
//	10.0.0.0/8                         a network that the names above may have addresses in
//
// An error is an *EntryError, unless there are too many.
func ParseList(entries ...string) (*List, error) {
	if len(entries) > entriesMax {
		return nil, errEntries
	}
	l := &List{}
	for i, text := range entries {
		wrong, hint := l.add(text)
		if wrong != "" {
			return nil, &EntryError{i, text, wrong, hint}
		}
	}
	return l, nil
}

const entryHint = `write one such as "http://*.svc.internal:8080", or a network such as "10.0.0.0/8"`

// add adds an entry, or says what is wrong with it.
func (l *List) add(text string) (wrong, hint string) {
	name, rest, has := strings.Cut(text, "://")
	if !has {
		if net, ok := parseNet(text); ok {
			l.nets = append(l.nets, net)
			return "", ""
		}
		if _, err := Parse(strings.TrimPrefix(text, "*.")); err == nil {
			return "it has no scheme", fmt.Sprintf("write %q", "http://"+text)
		}
		return "it is neither a destination nor a network", entryHint
	}
	e := entry{scheme: schemeNamed(strings.ToLower(name))}
	if e.scheme < 0 {
		return "a scheme is http://, https:// or h2c://", entryHint
	}
	host, ranges := splitPorts(rest)
	if wrong, hint = e.setPorts(ranges); wrong != "" {
		return wrong, hint
	}
	if net, ok := parseNet(strings.Trim(host, "[]")); ok {
		e.net = net
		l.entries = append(l.entries, e)
		return "", ""
	}
	if e.host, e.below = strings.CutPrefix(host, "*."); strings.Contains(e.host, "*") {
		return "a star stands for the first labels of a name, and nothing else", entryHint
	}
	t, err := Parse(e.host)
	switch {
	case strings.ContainsAny(e.host, "/?#@:"):
		return "a destination has no user, path or query", entryHint
	case err != nil || t.IP.IsValid():
		return strconv.Quote(e.host) + " is not a host name", entryHint
	}
	if e.host = t.Host; e.below {
		e.host = "." + e.host
	}
	l.entries = append(l.entries, e)
	return "", ""
}

// parseNet reads a network, or an address, which is one of a single address. An IPv4 network inside IPv6 counts as
// IPv4.
func parseNet(s string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(s); err == nil {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		return p.Masked(), true
	}
	ip, err := netip.ParseAddr(s)
	if err != nil || ip.Zone() != "" {
		return netip.Prefix{}, false
	}
	ip = ip.Unmap()
	return netip.PrefixFrom(ip, ip.BitLen()), true
}

// splitPorts cuts the ports off. IPv6 is in brackets.
func splitPorts(s string) (host, ranges string) {
	at := strings.LastIndexByte(s, ':')
	if at < 0 || at < strings.LastIndexByte(s, ']') {
		return s, ""
	}
	return s[:at], s[at+1:]
}

const portsHint = `write "8080", "8000-8999", "80,8080" or "*" after the colon`

// setPorts reads "8080", "8000-8999,9090", "*" or "".
func (e *entry) setPorts(text string) (wrong, hint string) {
	switch text {
	case "":
		e.ports = []portRange{{ports[e.scheme], ports[e.scheme]}}
		return "", ""
	case "*":
		e.ports = []portRange{{1, 0xffff}}
		return "", ""
	}
	for one := range strings.SplitSeq(text, ",") {
		first, last, several := strings.Cut(one, "-")
		if !several {
			last = first
		}
		from, wrongFrom := parsePort([]byte(":"+first), 0)
		to, wrongTo := parsePort([]byte(":"+last), 0)
		if wrongFrom != nil || wrongTo != nil || from > to || len(e.ports) == rangesMax {
			return strconv.Quote(text) + " names no ports", portsHint
		}
		e.ports = append(e.ports, portRange{from, to})
	}
	return "", ""
}

// Why a request is refused.
var (
	ErrUnlisted = errors.New("no entry of allow_dest lists it")
	ErrAddress  = errors.New("its address is not on the public Internet, and no network of allow_dest has it")
)

// Check returns nil where t is listed, or else ErrUnlisted. The addresses of a name are to be checked as well.
func (l *List) Check(t *Target) error {
	for i := range l.entries {
		if l.entries[i].lists(t) {
			return nil
		}
	}
	return ErrUnlisted
}

// lists reports whether e lists t.
func (e *entry) lists(t *Target) bool {
	if e.scheme != t.Scheme || !e.hasPort(t.Port) {
		return false
	}
	switch {
	case e.net.IsValid():
		return e.net.Contains(t.IP)
	case t.IP.IsValid():
		return false
	case e.below:
		return strings.HasSuffix(t.Host, e.host) && len(t.Host) > len(e.host)
	}
	return t.Host == e.host
}

func (e *entry) hasPort(port uint16) bool {
	for _, r := range e.ports {
		if r.from <= port && port <= r.to {
			return true
		}
	}
	return false
}

// CheckAddr returns nil where t, which is listed, may be connected to at ip, or else an error that wraps ErrAddress and
// says why. An address that is listed as such may be; others have to be on the public Internet or in a network of l.
func (l *List) CheckAddr(t *Target, ip netip.Addr) error {
	if t.IP.IsValid() && t.IP == ip.Unmap() {
		return nil
	}
	name := Class(ip)
	if ip.Zone() != "" {
		name = "of one interface"
	}
	if name == "" {
		return nil
	}
	for _, net := range l.nets {
		if ip.Zone() == "" && net.Contains(ip.Unmap()) {
			return nil
		}
	}
	return fmt.Errorf("%w: %s is %s", ErrAddress, ip, name)
}

// Reaches reports whether l lists anything of a scheme and a port; "" and 0 are any.
func (l *List) Reaches(scheme string, port uint16) bool {
	for i := range l.entries {
		e := &l.entries[i]
		if (scheme == "" || schemes[e.scheme] == scheme) && (port == 0 || e.hasPort(port)) {
			return true
		}
	}
	return false
}
