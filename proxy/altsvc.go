package proxy

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/edge-proxy/edge/message"
)

// AltSvc tells clients that HTTP/3 serves the same: the field Alt-Svc of RFC 7838. Immutable.
type AltSvc struct {
	value string
	hosts map[string]bool // whether clients of a host are told: of a lower-case name, or of all below ".example.org"
	rest  bool            // whether clients of all other hosts are told
}

// NewAltSvc makes an AltSvc for a port of UDP that clients remember for maxAge. hosts are lower-case names,
// "*.example.org" for all below one and "*" for all; a "!" before one leaves it out. The most specific one decides
// about a host. With none but those that are left out, all others are told; with none at all, all are.
func NewAltSvc(port uint16, maxAge time.Duration, hosts []string) *AltSvc {
	value := fmt.Sprintf("h3=\":%d\"; ma=%d", port, int64(maxAge/time.Second))
	a := &AltSvc{value: value, hosts: make(map[string]bool)}
	a.rest = !slices.ContainsFunc(hosts, func(text string) bool { return text[0] != '!' })
	for _, text := range hosts {
		host, out := strings.CutPrefix(text, "!")
		if host == "*" {
			a.rest = !out
			continue
		}
		a.hosts[strings.TrimPrefix(host, "*")] = !out
	}
	return a
}

// Tells reports whether clients of a host are told: of a lower-case name without a port.
func (a *AltSvc) Tells(host []byte) bool {
	told, found := a.hosts[string(host)]
	for len(a.hosts) > 0 && !found {
		dot := bytes.IndexByte(host, '.')
		if dot < 0 {
			break
		}
		told, found = a.hosts[string(host[dot:])]
		host = host[dot+1:]
	}
	return told || !found && a.rest
}

// addAltSvc tells clients of connections of TLS over TCP, unless the destination has said where else it is served. A
// process that drains takes no new connection.
func addAltSvc(k *record, request, answer *message.Head) {
	if k.digest == nil || request.Proto == message.HTTP30 || answer.Has(message.AltSvc) ||
		k.local.reactor.Engine().Draining() {
		return
	}
	var lower [256]byte
	a, host := k.listener.AltSvc, []byte(nil)
	if len(a.hosts) > 0 { // Host may be the backend's by now
		host = message.AppendLower(lower[:0], message.HostOf(request.Bytes(k.authority)))
	}
	if a.Tells(host) {
		answer.AddID(message.AltSvc, "Alt-Svc", a.value)
	}
}
