package variables

import (
	"net/netip"
	"slices"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
)

// Hello is the Subject of a text that is evaluated during a TLS handshake: what its first message tells. Owned by the
// goroutine of the evaluation.
type Hello struct {
	Subject // nil: what lang.Handshake does not know is not asked

	Name    []byte         // that the client asks for: see AppendServerName
	Offered []string       // the protocols that the client offers
	From    netip.AddrPort // the other end of the connection
	To      netip.AddrPort // this end; of Conn where it is not valid
	Conn    *engine.Conn   // asked for this end when a text wants it, on its reactor; nil: To has it
	By      string         // the name of the listener
}

// ClientIP is the address of the other end: no request has named another one.
func (h *Hello) ClientIP() netip.Addr { return h.From.Addr() }

// ClientPort is the port of the other end.
func (h *Hello) ClientPort() uint16 { return h.From.Port() }

// Peer is the other end of the connection.
func (h *Hello) Peer() netip.AddrPort { return h.From }

// Local is this end of the connection.
func (h *Hello) Local() netip.AddrPort {
	if !h.To.IsValid() && h.Conn != nil { // which takes three system calls
		h.To = h.Conn.Local().IP
	}
	return h.To
}

// ListenerName is the name of the listener.
func (h *Hello) ListenerName() string { return h.By }

// HandshakeScope is Scope for texts that are evaluated during a TLS handshake, lang.Handshake, with a *Hello as their
// Subject: there tls.alpn is a list.
func HandshakeScope(n lang.Names) (*lang.Scope, error) {
	shared := slices.DeleteFunc(All(), func(v lang.Variable) bool {
		return slices.ContainsFunc(handshake, func(own lang.Variable) bool { return own.Name == v.Name })
	})
	n.Variables = slices.Concat(shared, handshake, n.Variables)
	return lang.NewScope(n)
}

// handshake are the variables that a handshake knows otherwise than a request does.
var handshake = []lang.Variable{
	{Name: "tls.sni", Kind: lang.Text, Phases: lang.Handshake, Example: `tls.sni == "db.example.com"`,
		Doc: "The name that the client asks for, in lower case; missing where it is no name.",
		Text: func(x *lang.X) []byte {
			if h, ok := x.Subject.(*Hello); ok && len(h.Name) > 0 {
				return h.Name
			}
			return nil
		}},
	{Name: "tls.alpn", Kind: lang.Texts, Phases: lang.Handshake, Example: `tls.alpn == "h2"`,
		Doc: "The protocols that the client offers.",
		Texts: func(x *lang.X, dst [][]byte) [][]byte {
			if h, ok := x.Subject.(*Hello); ok {
				for _, p := range h.Offered {
					dst = append(dst, kept(x, p))
				}
			}
			return dst
		}},
}

// AppendServerName appends the name of a server as tls.sni has it: in lower case, without the dot of the root. What is
// no name appends nothing: RFC 6066 §3 excludes addresses, and a handshake may bring any text.
func AppendServerName[T string | []byte](dst []byte, name T) []byte {
	if n := len(name); n > 1 && name[n-1] == '.' {
		name = name[:n-1]
	}
	begin := len(dst)
	dst = append(dst, name...)
	own := dst[begin:]
	if host, _, ok := message.SplitAuthority(own); !ok || len(host) < len(own) || own[0] == '[' || numeric(own) {
		return dst[:begin]
	}
	return message.AppendLower(dst[:begin], own)
}

// numeric reports whether name has digits and dots alone, as an address of IPv4.
func numeric[T string | []byte](name T) bool {
	for i := range len(name) {
		if c := name[i]; (c < '0' || c > '9') && c != '.' {
			return false
		}
	}
	return true
}
