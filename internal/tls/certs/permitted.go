package certs

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
)

// permitted are the names that an Authority may vouch for: domains with all below them, and networks. Immutable.
type permitted struct {
	domains  []string
	networks []*net.IPNet
}

// Domains and networks that have no owner on the Internet: RFC 6761, RFC 8375, .internal as ICANN reserved it, RFC
// 1122, RFC 1918, RFC 4193.
var (
	privateDomains  = []string{"localhost", "internal", "home.arpa", "test"}
	privateNetworks = []string{"127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"}
)

// permittedFor returns what an authority of this machine may vouch for: private names, the machine's, and names.
func permittedFor(names []string) (p permitted) {
	p.domains = slices.Clone(privateDomains)
	for _, text := range privateNetworks {
		_, network, _ := net.ParseCIDR(text)
		p.networks = append(p.networks, network)
	}
	if host, err := os.Hostname(); err == nil {
		names = append(slices.Clip(names), host)
	}
	for _, name := range lowered(names) {
		name = strings.TrimPrefix(name, "*.")
		switch ip := net.ParseIP(name); {
		case p.has(name):
		case ip == nil && isName(name):
			p.domains = append(p.domains, name)
		case ip != nil:
			if four := ip.To4(); four != nil {
				ip = four
			}
			p.networks = append(p.networks, &net.IPNet{IP: ip, Mask: net.CIDRMask(8*len(ip), 8*len(ip))})
		}
	}
	return p
}

// has reports whether p has a lower-case name, "*.parent", or an address.
func (p *permitted) has(name string) bool {
	if ip := net.ParseIP(name); ip != nil {
		return slices.ContainsFunc(p.networks, func(n *net.IPNet) bool { return n.Contains(ip) })
	}
	name = strings.TrimPrefix(name, "*.")
	return isName(name) && slices.ContainsFunc(p.domains, func(domain string) bool {
		above, found := strings.CutSuffix(name, domain)
		return found && (above == "" || strings.HasSuffix(above, "."))
	})
}

// refusal returns an error for the first of names that p lacks. p is of an authority in dir.
func (p *permitted) refusal(dir string, names []string) error {
	for _, name := range names {
		if !p.has(name) {
			return fmt.Errorf("internal authority: it was made before %q was among the hosts, and may not vouch for "+
				"it: remove the files in %s, reload, and have clients trust the new one", name, dir)
		}
	}
	return nil
}

// isName reports whether a text is the lower-case name of a host (RFC 1123 §2.1), with the underscores that some have.
func isName(text string) bool {
	if len(text) > 253 {
		return false
	}
	for label := range strings.SplitSeq(text, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}
