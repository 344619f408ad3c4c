package proxy

import (
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/observe"
	"github.com/edge-proxy/edge/tlsconn"
)

// SetFields makes a filter that sets fields: of the request before it is sent on, of the answer before it is returned.
// An empty value removes the field. What the client says under a name that is set, in any spelling (see Del of
// message.Head) and in trailers too, is not sent on. Names and values must be valid (message.ValidName, ValidValue).
//
// A value may have variables: {request_id}, {trace_id}, {client_ip}, and facts of the client's connection,
// {tls_version}, {tls_cipher}, {tls_group}, {sni}, {alpn}, {client_cert_subject}, {client_cert_issuer},
// {client_cert_serial}, {client_cert_sans}, {client_cert_sha256} and {client_cert_verified}. Where none of
// them is known the field is removed, so that no client can write it itself. Other braces are text.
func SetFields(request, response map[string]string) *Filter {
	f := &Filter{Name: "headers"}
	if list := newFields(request); len(list) > 0 {
		f.UpstreamRequest = func(x *Exchange) { setFields(x, &x.Request, list) }
		for _, set := range list {
			f.owned = append(f.owned, set.name)
		}
	}
	if list := newFields(response); len(list) > 0 {
		f.Response = func(x *Exchange) Verdict {
			setFields(x, &x.Response, list)
			return Next
		}
	}
	return f
}

// setField is a field that SetFields sets. Immutable.
type setField struct {
	name  string
	id    message.Name
	value string
	parts []fieldPart // of the value, where it has variables
}

// fieldPart is a text or a variable.
type fieldPart struct {
	text string
	fact func(x *Exchange) string
}

func newFields(fields map[string]string) (list []setField) {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		value := fields[name]
		list = append(list, setField{name, message.Lookup(name), value, cutFacts(value)})
	}
	return list
}

// cutFacts cuts a value at its variables; nil when it has none.
func cutFacts(value string) (parts []fieldPart) {
	found := false
	for rest := value; rest != ""; {
		open := strings.IndexByte(rest, '{')
		end := -1
		if open >= 0 {
			end = strings.IndexByte(rest[open:], '}')
		}
		if end < 0 {
			parts = append(parts, fieldPart{text: rest})
			break
		}
		if fact := facts[rest[open+1:open+end]]; fact != nil {
			found = true
			parts = append(parts, fieldPart{text: rest[:open]}, fieldPart{fact: fact})
			rest = rest[open+end+1:]
			continue
		}
		parts = append(parts, fieldPart{text: rest[:open+1]})
		rest = rest[open+1:]
	}
	if !found {
		return nil
	}
	return parts
}

// facts are the variables of fields.
var facts = map[string]func(x *Exchange) string{
	"request_id": (*Exchange).ID,
	"trace_id":   (*Exchange).TraceID,
	"client_ip":  func(x *Exchange) string { return string(observe.AppendIP(nil, x.ClientIP())) },

	"tls_version": tlsFact((*tlsconn.Digest).VersionName),
	"tls_cipher":  tlsFact((*tlsconn.Digest).CipherName),
	"tls_group":   tlsFact((*tlsconn.Digest).GroupName),
	"sni":         tlsFact(hostFact),
	"alpn":        tlsFact(func(d *tlsconn.Digest) string { return d.ALPN }),

	"client_cert_subject": certFact(func(c *tlsconn.Certificate) string { return c.Subject }),
	"client_cert_issuer":  certFact(func(c *tlsconn.Certificate) string { return c.Issuer }),
	"client_cert_serial":  certFact(func(c *tlsconn.Certificate) string { return c.Serial }),
	"client_cert_sans":    certFact(joinNames),
	"client_cert_sha256":  certFact(func(c *tlsconn.Certificate) string { return hex.EncodeToString(c.SHA256[:]) }),
	"client_cert_verified": tlsFact(func(d *tlsconn.Digest) string {
		if d.Verified {
			return "true"
		}
		return ""
	}),
}

// tlsFact is a fact of a connection that is secured; others do not have it.
func tlsFact(of func(d *tlsconn.Digest) string) func(x *Exchange) string {
	return func(x *Exchange) string {
		if x.digest == nil {
			return ""
		}
		return of(x.digest)
	}
}

// hostFact is the name that the client asked for. It may be any text there: RFC 6066 §3 says what is a name, and the
// handshake does not check it.
func hostFact(d *tlsconn.Digest) string {
	if !message.ValidHostName(d.ServerName) {
		return ""
	}
	return d.ServerName
}

// joinNames lists the names of a certificate so that none can be read as two. A comma in a name is "%2C", a percent
// sign "%25", but in a URI, where it encodes already.
func joinNames(c *tlsconn.Certificate) string {
	var list strings.Builder
	for i, name := range c.SANs {
		if i > 0 {
			list.WriteByte(',')
		}
		if !strings.HasPrefix(name, "URI:") {
			name = strings.ReplaceAll(name, "%", "%25")
		}
		list.WriteString(strings.ReplaceAll(name, ",", "%2C"))
	}
	return list.String()
}

func certFact(of func(c *tlsconn.Certificate) string) func(x *Exchange) string {
	return tlsFact(func(d *tlsconn.Digest) string {
		if c := d.PeerCertificate(); c != nil {
			return of(c)
		}
		return ""
	})
}

func setFields(x *Exchange, h *message.Head, list []setField) {
	for i := range list {
		f := &list[i]
		value := f.value
		if f.parts != nil {
			value = valueOf(x, f.parts)
		}
		switch {
		case value == "":
			h.Del(f.name)
		case f.id == message.Host:
			if f.parts != nil && !isHost(value) {
				x.refusal = BadHost
				return
			}
			h.SetAuthority(value)
		default:
			h.Set(f.name, value)
		}
	}
}

// isHost reports whether a value that has variables may stand in Host.
func isHost(value string) bool {
	_, _, ok := message.SplitAuthority([]byte(value))
	return ok
}

// valueOf puts the facts of the request into a value; "" where none of them is known.
func valueOf(x *Exchange, parts []fieldPart) string {
	var value []byte
	known := false
	for _, p := range parts {
		if p.fact == nil {
			value = append(value, p.text...)
			continue
		}
		fact := p.fact(x)
		known = known || fact != ""
		value = appendFact(value, fact)
	}
	if !known {
		return ""
	}
	return string(value)
}

// appendFact appends a text that a client may have chosen: a client that makes its own certificate may put line ends
// into names, which would end the field.
func appendFact(dst []byte, fact string) []byte {
	for _, c := range []byte(fact) {
		if c < ' ' || c == 0x7f {
			dst = message.AppendPercent(dst, c)
			continue
		}
		dst = append(dst, c)
	}
	return dst
}
