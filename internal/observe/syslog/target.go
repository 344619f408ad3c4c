package syslog

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// ParseTarget reads where messages go: syslog+udp://host:514, syslog+tcp://host:514, syslog+tls://host:6514 or
// syslog+unix:///dev/log. Without a transport it is UDP, as in other programs; a port may be left out.
func ParseTarget(text string) (network, address string, err error) {
	scheme, rest, ok := strings.Cut(text, "://")
	transport, plus := strings.CutPrefix(scheme, "syslog")
	network, plus = strings.CutPrefix(transport, "+")
	switch {
	case !ok || !strings.HasPrefix(scheme, "syslog"):
		return "", "", fmt.Errorf("syslog target %q has no scheme: write syslog+udp://host:514", text)
	case transport == "":
		network = "udp"
	case !plus || !slices.Contains([]string{"udp", "tcp", "tls", "unix"}, network):
		return "", "", fmt.Errorf("syslog target %q has an unknown transport: write syslog+udp, syslog+tcp, "+
			"syslog+tls or syslog+unix", text)
	}
	if network == "unix" {
		if !strings.HasPrefix(rest, "/") || len(rest) < 2 {
			return "", "", fmt.Errorf("syslog target %q has no absolute path: write syslog+unix:///dev/log", text)
		}
		return network, rest, nil
	}
	if transport == "" && strings.HasPrefix(rest, "/") {
		return "", "", fmt.Errorf("syslog target %q has a path and no host: write syslog+unix://%s", text, rest)
	}
	port := "514"
	if network == "tls" {
		port = "6514"
	}
	host := strings.TrimSuffix(rest, "/")
	if strings.ContainsAny(host, "/?#@ \t\r\n") {
		return "", "", fmt.Errorf("syslog target %q has more than a host and a port: write syslog+%s://host:%s", text,
			network, port)
	}
	if inside := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"); len(inside) == len(host)-2 {
		host = inside
	} else if strings.Contains(host, ":") {
		if host, port, err = net.SplitHostPort(host); err != nil {
			return "", "", fmt.Errorf("syslog target %q has several colons: write an IPv6 address in brackets, as in "+
				"syslog+%s://[2001:db8::1]", text, network)
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", "", fmt.Errorf("syslog target %q has the port %q: write a number from 1 to 65535", text, port)
	}
	if host == "" {
		return "", "", fmt.Errorf("syslog target %q has no host: write syslog+%s://host:%s", text, network, port)
	}
	return network, net.JoinHostPort(host, port), nil
}

// Facility is the part of a system that messages come from: its number and 1. The zero value stands for local0.
type Facility uint8

// facilities are the words of syslog.conf(5) for the numbers of RFC 5424 §6.2.1.
var facilities = strings.Fields(`kern user mail daemon auth syslog lpr news uucp cron authpriv ftp ntp audit alert clock
	local0 local1 local2 local3 local4 local5 local6 local7`)

// local0 is for programs that have no facility of their own.
const local0 = 16

// ParseFacility understands "kern", "user" … "local7".
func ParseFacility(word string) (Facility, error) {
	if i := slices.Index(facilities, word); i >= 0 {
		return Facility(i + 1), nil
	}
	return 0, fmt.Errorf("syslog facility %q is none of %s", word, strings.Join(facilities, ", "))
}
