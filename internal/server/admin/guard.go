package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
)

// policy is what the configuration in force says of one surface.
// Immutable.
type policy struct {
	tokens    [][sha256.Size]byte // of which a client has to have one
	names     []string            // of hosts that a client may ask for, in lower case
	readAll   bool                // any user of the machine may read
	ownerOnly bool                // the group of the process has no rights
	writable  bool                // clients of TCP may change things
	pprof     bool
	metrics   string // the path of the metrics
	tls       *tls.Config
	verifies  bool // client certificates are verified
	anyProbes bool // probes need no rights: the address is a loopback one, or the address of [metrics]
}

// client is who has sent a request, and what it may do.
// Owned by the goroutine of the request.
type client struct {
	rights Rights
	peer   *peer  // of a Unix socket; nil: TCP
	remote string // the address over TCP
	reason string // why there are no more rights
	guest  bool   // it has shown nothing: a token may help
}

// clientKey is the key of the client in the context of a request that changes something.
type clientKey struct{}

// owns reports whether c came over a Unix socket as root or as the user of the process.
func (c *client) owns() bool { return c != nil && c.peer != nil && c.peer.owns() }

// refusal is the answer to a request that needs more rights.
func (c *client) refusal(needs Rights) error {
	status, code := http.StatusForbidden, "forbidden"
	if c.guest {
		status, code = http.StatusUnauthorized, "unauthorized"
	}
	text := "this needs the right to " + needs.String()
	if c.reason != "" {
		text += ": " + c.reason
	}
	return &problem{status, code, text}
}

func (c *client) attrs() []any {
	if c.peer != nil {
		return []any{"uid", c.peer.uid, "pid", c.peer.pid}
	}
	return []any{"client", c.remote}
}

// rightsOf says what the client of r may do.
func (p *policy) rightsOf(f *surface, r *http.Request) *client {
	c := &client{rights: MayNothing, remote: r.RemoteAddr}
	switch {
	case f.probes:
		c.rights = MayProbe
	case f.unix:
		p.ofPeer(c, r)
	default:
		p.ofToken(c, r)
	}
	return c
}

// ofPeer gives the rights of a user of this machine.
func (p *policy) ofPeer(c *client, r *http.Request) {
	c.peer, _ = r.Context().Value(peerKey{}).(*peer)
	may := "only root, the user of the process and its group"
	if p.ownerOnly {
		may = "only root and the user of the process; its group too where [admin] listen names the socket"
	}
	switch {
	case c.peer == nil:
		c.peer = &peer{uid: -1, gid: -1}
		c.reason = "the kernel does not say who the client is"
	case c.peer.owns(), !p.ownerOnly && c.peer.trusted():
		c.rights = MayChange
	case p.readAll:
		c.rights, c.reason = MayRead, may
	default:
		c.reason = may + "; read = \"all\" in [admin] lets others read"
	}
}

// ofToken gives the rights of a client over TCP.
func (p *policy) ofToken(c *client, r *http.Request) {
	shown := bearer(r)
	switch known := p.verifies && p.verified(r.TLS) || p.accepts(shown); {
	case known && p.writable:
		c.rights = MayChange
	case known:
		c.rights, c.reason = MayRead, "writable = true in [admin] lets clients over TCP change things"
	case p.anyProbes:
		c.rights = MayProbe
		fallthrough
	default:
		c.guest = true
		c.reason = "show the token of [admin], as Authorization: Bearer TOKEN"
		if shown != "" {
			c.reason = "the token is another one"
		} else if len(p.tokens) == 0 && !p.verifies {
			c.reason = "[admin] has neither token nor client_ca"
		}
	}
}

// verified reports whether a client has shown a certificate of client_ca. It is verified for each request: the
// connection may be older than the configuration in force, and younger than the end of the certificate.
func (p *policy) verified(state *tls.ConnectionState) bool {
	if state == nil || p.tls == nil || len(state.VerifiedChains) == 0 {
		return false
	}
	between := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: p.tls.ClientCAs, Intermediates: between,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err == nil
}

// bearer returns the token that r shows; "": none. RFC 6750 §2.1, RFC 9110 §11.1: the scheme has no case.
func bearer(r *http.Request) string {
	scheme, token, found := strings.Cut(r.Header.Get("Authorization"), " ")
	if !found || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// accepts reports whether a token is right, in a time that does not tell how much of it is.
func (p *policy) accepts(token string) bool {
	if token == "" {
		return false
	}
	sum, found := sha256.Sum256([]byte(token)), 0
	for i := range p.tokens {
		found |= subtle.ConstantTimeCompare(sum[:], p.tokens[i][:])
	}
	return found == 1
}

// self is the number of this process. Tests, which are clients of themselves, set another one.
var self = os.Getpid()

// guard refuses requests that came through a proxy, this process above all: its clients would have its rights. It also
// refuses those that a web page in the browser of an operator may have sent. A page that made its name resolve to this
// machine (DNS rebinding) asks for its own name as Host, and other pages are named in Origin.
func (p *policy) guard(f *surface, r *http.Request) error {
	if from, _ := r.Context().Value(peerKey{}).(*peer); !f.probes && (from != nil && from.pid == self || forwarded(r)) {
		return &problem{http.StatusForbidden, "proxied", "a proxy may not ask this for its clients"}
	}
	if !f.unix && !f.probes && !p.knows(hostOf(r.Host), false) {
		return &problem{http.StatusForbidden, "host", "the host " + quoteShort(r.Host) + " is not one of this " +
			"surface: names in [" + f.section + "] lists those that clients may use beside IP addresses and localhost"}
	}
	if origins := r.Header["Origin"]; len(origins) > 0 && (len(origins) > 1 || !p.ownOrigin(origins[0], r, f.probes)) {
		return &problem{http.StatusForbidden, "origin", "a web page of another origin may not ask this"}
	}
	for _, site := range r.Header["Sec-Fetch-Site"] {
		if site != "none" && site != "same-origin" {
			return &problem{http.StatusForbidden, "fetch-site", "a web page of another site may not ask this"}
		}
	}
	return nil
}

// forwarded reports whether a proxy says that it has sent r on.
func forwarded(r *http.Request) bool {
	return len(r.Header["Via"])+len(r.Header["Forwarded"])+len(r.Header["X-Forwarded-For"]) > 0
}

// ownOrigin reports whether a page of origin has come from here.
func (p *policy) ownOrigin(origin string, r *http.Request, probes bool) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || origin != u.Scheme+"://"+u.Host {
		return false
	}
	return strings.EqualFold(u.Host, r.Host) && p.knows(hostOf(u.Host), probes)
}

// knows reports whether a client may ask for a host, which is in lower case. An IP address is no name that an attacker
// could let lead here. The same holds for a name of one label on a surface of probes, as networks of containers have
// them.
func (p *policy) knows(host string, probes bool) bool {
	if host == "" {
		return false
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return host == "localhost" || probes && !strings.Contains(host, ".") || slices.Contains(p.names, host)
}

// hostOf returns the host of a Host field in lower case, without its port; "" when it has none, or is no host.
func hostOf(field string) string {
	host := field
	if inner, found := strings.CutPrefix(field, "["); found {
		address, port, closed := strings.Cut(inner, "]")
		if ip, err := netip.ParseAddr(address); !closed || err != nil || !ip.Is6() || !isPort(port) {
			return ""
		}
		return strings.ToLower(address)
	}
	if i := strings.IndexByte(field, ':'); i >= 0 {
		if host = field[:i]; !isPort(field[i:]) {
			return ""
		}
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for i := range len(host) {
		if c := host[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
			return ""
		}
	}
	return host
}

// isPort reports whether s is empty, or a colon and a number.
func isPort(s string) bool {
	if s == "" {
		return true
	}
	if s[0] != ':' || len(s) > 6 {
		return false
	}
	return strings.Trim(s[1:], "0123456789") == ""
}

// quoteShort quotes text of a client for an answer.
func quoteShort(s string) string {
	const most = 80
	if len(s) > most {
		s = s[:most] + "…"
	}
	return "\"" + strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '"' {
			return '?'
		}
		return r
	}, s) + "\""
}
