package variables

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
)

// Subject is an exchange as its variables see it: lang.X.Subject. A field that is not known is zero.
type Subject interface {
	ClientIP() netip.Addr  // as a trusted proxy says, else the connection's
	ClientPort() uint16    // of the connection, where that is the client's
	Peer() netip.AddrPort  // the other end of the connection
	SocketIP() netip.Addr  // of the other end of the socket, whatever the connection was told
	Local() netip.AddrPort // this end
	ListenerName() string  // of the configuration
	TLS() *tlsconn.Digest  // nil: the connection is not secured

	RouteName() string          // "": none is chosen
	AppendID(dst []byte) []byte // appends the number of the request
	TraceID() []byte            // nil: not looked for
	Rest(path []byte) []byte    // what a path has beyond the route's path
	User() []byte               // nil: none
	Text(name string) []byte    // that a rule has set; nil: none has

	// Claim appends the values of what authentication filters have set.
	Claim(name string, dst [][]byte) [][]byte

	Attempts() int              // backends or connections that were tried
	Status() int                // of the answer; 0: there is none
	Upstream() Upstream         // nothing, where no backend was asked
	Duration() time.Duration    // since the head of the request
	Bytes() (in, out int64)     // of both bodies
	Fault() (side, kind string) // why the proxy answered of its own, or cut the answer off; "": it did not
	Source() string             // of the answer: see answer.source

	// Cache is what a cache did with the request: see cache.status. The age is below 0 where there is none.
	Cache() (status, reason string, age time.Duration)

	Encoded() (coding string, saved int64) // see answer.encoding

	SampleRate() string // of the record that is being logged, as a number; "": it stands for itself
}

// Upstream is what an exchange has from an upstream.
type Upstream struct {
	Addr   string        // of the backend; "": none was chosen
	Status int           // of its answer; 0: there is none
	Time   time.Duration // from the request sent to the head of its answer
}

// All returns the variables of a proxy. Variables of Geo are without databases.
func All() []lang.Variable { return slices.Concat(connection, made, Geo(nil), answer, aliases) }

// Scope returns what texts may name: All, what the language itself has, and n.
func Scope(n lang.Names) (*lang.Scope, error) {
	n.Variables = slices.Concat(All(), n.Variables)
	return lang.NewScope(n)
}

// When something is known.
const (
	afterHandshake = lang.Connection | lang.Request | lang.Answer | lang.Log

	afterHead  = lang.Request | lang.Answer | lang.Log
	afterReply = lang.Answer | lang.Log
)

// of makes a function of a Subject one of an X: without a Subject everything is missing.
func of[T any](get func(x *lang.X, s Subject) T) func(*lang.X) T {
	return func(x *lang.X) (none T) {
		if s, ok := x.Subject.(Subject); ok {
			return get(x, s)
		}
		return none
	}
}

// appended is a variable that the Subject appends; what has no bytes is missing.
func appended(name string, in lang.Phases, doc, example string,
	get func(dst []byte, s Subject) []byte) lang.Variable {
	return lang.Variable{Name: name, Kind: lang.Text, Phases: in, Doc: doc, Example: example,
		Text: of(func(x *lang.X, s Subject) []byte {
			b := x.State.Keep(get(x.State.Room(), s))
			if len(b) == 0 {
				return nil
			}
			return b
		})}
}

// kept returns a text of this evaluation, nil for "".
func kept[T string | []byte](x *lang.X, text T) []byte {
	if len(text) == 0 {
		return nil
	}
	return x.State.Keep(append(x.State.Room(), text...))
}

// text is a variable that is a text.
func text(name string, in lang.Phases, doc, example string, get func(s Subject) string) lang.Variable {
	return lang.Variable{Name: name, Kind: lang.Text, Phases: in, Doc: doc, Example: example,
		Text: of(func(x *lang.X, s Subject) []byte { return kept(x, get(s)) })}
}

// bytes is a variable that is a text which the Subject lends.
func bytes(name string, in lang.Phases, doc, example string, get func(s Subject) []byte) lang.Variable {
	return lang.Variable{Name: name, Kind: lang.Text, Phases: in, Doc: doc, Example: example,
		Text: of(func(_ *lang.X, s Subject) []byte { return get(s) })}
}

// number is a variable that is a number, a size or a duration.
func number(name string, kind lang.Kind, in lang.Phases, doc, example string,
	get func(s Subject) (n int64, known bool)) lang.Variable {
	return lang.Variable{Name: name, Kind: kind, Phases: in, Doc: doc, Example: example,
		Int: func(x *lang.X) (int64, bool) {
			if s, ok := x.Subject.(Subject); ok {
				return get(s)
			}
			return 0, false
		}}
}

// address is a variable that is an address.
func address(name, doc, example string, get func(s Subject) netip.Addr) lang.Variable {
	return lang.Variable{Name: name, Kind: lang.IP, Phases: lang.Always, Doc: doc, Example: example,
		IP: of(func(_ *lang.X, s Subject) netip.Addr { return get(s) })}
}

// flag is a variable that is true or false.
func flag(name, doc, example string, get func(s Subject) bool) lang.Variable {
	return lang.Variable{Name: name, Kind: lang.Bool, Phases: afterHandshake, Doc: doc, Example: example,
		Bool: of(func(_ *lang.X, s Subject) bool { return get(s) })}
}

// above0 returns n, which is missing where it is 0.
func above0[T int | int64 | uint16 | time.Duration](n T) (int64, bool) { return int64(n), n > 0 }

// secured asks the connection of s; "" where that is not secured.
func secured(get func(d *tlsconn.Digest) string) func(Subject) string {
	return func(s Subject) string {
		if d := s.TLS(); d != nil {
			return get(d)
		}
		return ""
	}
}

// shown asks the certificate that the client has shown; "" where there is none.
func shown(get func(c *tlsconn.Certificate) string) func(Subject) string {
	return secured(func(d *tlsconn.Digest) string {
		if c := d.PeerCertificate(); c != nil {
			return get(c)
		}
		return ""
	})
}

// vouched is shown for a certificate that leads to a trusted authority: the text of another one is the client's own.
func vouched(get func(c *tlsconn.Certificate) string) func(Subject) string {
	ask := shown(get)
	return func(s Subject) string {
		if !verified(s) {
			return ""
		}
		return ask(s)
	}
}

func verified(s Subject) bool {
	d := s.TLS()
	return d != nil && d.Verified
}

// serverName is the name that the client asked for. It may be any text there: RFC 6066 §3 says what is a name, an
// address is none, and the handshake does not check it.
func serverName(d *tlsconn.Digest) string {
	if !message.ValidHostName(d.ServerName) || numeric(d.ServerName) {
		return ""
	}
	return d.ServerName
}

// appendNames lists the names of the client's certificate so that none can be read as two. A comma in a name is "%2C",
// a percent sign "%25", but in a URI, where it encodes already.
func appendNames(dst []byte, s Subject) []byte {
	d := s.TLS()
	if d == nil || d.PeerCertificate() == nil {
		return dst
	}
	for i, name := range d.PeerCertificate().SANs {
		if i > 0 {
			dst = append(dst, ',')
		}
		uri := strings.HasPrefix(name, "URI:")
		for _, c := range []byte(name) {
			if c == ',' || c == '%' && !uri {
				dst = message.AppendPercent(dst, c)
				continue
			}
			dst = append(dst, c)
		}
	}
	return dst
}

// appendSHA256 appends the SHA-256 of the certificate in hexadecimal.
func appendSHA256(dst []byte, s Subject) []byte {
	if d := s.TLS(); d != nil {
		if c := d.PeerCertificate(); c != nil {
			return hex.AppendEncode(dst, c.SHA256[:])
		}
	}
	return dst
}
