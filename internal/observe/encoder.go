package observe

import (
	"net/netip"
	"unsafe"
)

// Encoder turns records into lines. It remembers the text of the last second it wrote, since
// records come in the order of time, and of the names in the last record. The zero value is ready.
// Owned by one goroutine.
type Encoder struct {
	json stamp
	clf  stamp

	listener, route, upstream, backend name

	whole []byte // a line that another form is made of
}

// name is a text that record after record has in common, and how it stands in a line of JSON.
type name struct {
	of   string
	text []byte
}

// appendJSON appends before, which is the same every time, and s with a quote after it.
func (n *name) appendJSON(dst []byte, before, s string) []byte {
	// SAFETY: the pointers are compared, nothing is read through them. Another copy of the text costs an encoding.
	if len(s) != len(n.of) || unsafe.StringData(s) != unsafe.StringData(n.of) || n.text == nil {
		n.of, n.text = s, append(appendJSON(append(n.text[:0], before...), view(s)), '"')
	}
	return append(dst, n.text...)
}

// AppendJSON appends r to dst as one line of JSON, newline included.
//
// Times are UTC, durations milliseconds with three decimals. The text is valid UTF-8 whatever the
// peer sent: a byte that is not becomes U+FFFD, control characters are escaped. Empty texts are
// left out, except method, host and path, which a connection without HTTP does not have. Allocates only
// when dst has no room for RecordMax.
func (e *Encoder) AppendJSON(dst []byte, r *Record) []byte {
	dst = append(dst, `{"time":"`...)
	dst = e.json.appendRFC3339(dst, r.Time)
	dst = append(dst, `","id":"`...)
	dst = appendIDs(dst, r)
	dst = e.listener.appendJSON(dst, `","listener":"`, r.Listener)
	dst = append(dst, `,"client_ip":"`...)
	dst = AppendIP(dst, r.ClientIP)
	dst = append(dst, `","client_port":`...)
	dst = appendUint(dst, uint64(r.ClientPort))
	switch r.Proto {
	case ProtoHTTP11:
		dst = append(dst, `,"proto":"HTTP/1.1","method":"`...)
	case ProtoTCP: // there is no request
		return e.appendJSONOutcome(append(dst, `,"proto":"TCP`...), r)
	default:
		dst = append(dst, `,"proto":"`...)
		dst = append(dst, protoName(r.Proto)...)
		dst = append(dst, `","method":"`...)
	}
	dst = appendJSON(dst, r.Method)
	dst = append(dst, `","host":"`...)
	dst = appendJSON(dst, r.Host)
	dst = append(dst, `","path":"`...)
	dst = appendJSON(dst, r.Path)
	if len(r.Query) > 0 {
		dst = append(dst, `","query":"`...)
		dst = appendJSON(dst, r.Query)
	}
	return e.appendJSONOutcome(dst, r)
}

// appendJSONOutcome appends what became of an exchange, to the end of the line.
func (e *Encoder) appendJSONOutcome(dst []byte, r *Record) []byte {
	if r.Route != "" {
		dst = e.route.appendJSON(dst, `","route":"`, r.Route)
		dst = append(dst, `,"status":`...)
	} else {
		dst = append(dst, `","status":`...)
	}
	dst = appendInt(dst, int64(r.Status))
	if r.Reason != "" {
		dst = append(dst, `,"reason":"`...)
		dst = appendJSON(dst, view(r.Reason))
		dst = append(dst, '"')
	}
	dst = appendJSONTraffic(dst, r)
	if r.Upstream != "" {
		dst = e.upstream.appendJSON(dst, `,"upstream":"`, r.Upstream)
	}
	if r.Backend != "" {
		dst = e.backend.appendJSON(dst, `,"backend":"`, r.Backend)
	}
	if r.GRPC || r.TLSVersion != "" || r.SNI != "" || r.Cache.Status != "" || r.Encoding != "" {
		dst = appendJSONLayers(dst, r)
	}
	if len(r.UserAgent) > 0 {
		dst = append(dst, `,"user_agent":"`...)
		dst = appendJSON(dst, r.UserAgent)
		dst = append(dst, '"')
	}
	if len(r.Referer) > 0 {
		dst = append(dst, `,"referer":"`...)
		dst = appendJSON(dst, r.Referer)
		dst = append(dst, '"')
	}
	if r.SampleRate != "" {
		dst = append(append(dst, `,"sample_rate":`...), r.SampleRate...)
	}
	if len(r.Fields) > 0 {
		dst = appendJSONFields(dst, r.Fields)
	}
	if len(r.Members) > 0 {
		dst = appendJSONMembers(dst, r.Members)
	}
	return append(dst, "}\n"...)
}

// appendIDs appends the number of the exchange, and its trace where it is known.
func appendIDs(dst []byte, r *Record) []byte {
	if len(r.RequestID) > 0 {
		dst = appendJSON(dst, r.RequestID)
	} else {
		dst = AppendHex(dst, r.ID[:])
	}
	if len(r.TraceID) > 0 {
		dst = append(dst, `","trace_id":"`...)
		dst = appendJSON(dst, r.TraceID)
	}
	return dst
}

func appendJSONFields(dst []byte, fields []Field) []byte {
	for _, f := range fields[:min(len(fields), FieldsMax)] {
		dst = appendJSONMember(dst, f.Name, view(f.Value))
	}
	return dst
}

func appendJSONMembers(dst []byte, members []Member) []byte {
	for _, m := range members[:min(len(members), MembersMax)] {
		dst = appendJSONMember(dst, m.Name, m.Value)
	}
	return dst
}

func appendJSONMember(dst []byte, name string, value []byte) []byte {
	dst = appendJSON(append(dst, `,"`...), view(name))
	return append(appendJSON(append(dst, `":"`...), value), '"')
}

// appendJSONLayers appends what not every exchange has: facts of a cache, of gRPC above it, and of TLS below.
func appendJSONLayers(dst []byte, r *Record) []byte {
	if r.Cache.Status != "" {
		dst = appendJSONCache(dst, r)
	}
	if r.Encoding != "" {
		dst = append(dst, `,"encoding":"`...)
		dst = append(appendJSON(dst, view(r.Encoding)), `","bytes_saved":`...)
		dst = appendInt(dst, r.Saved)
	}
	if r.GRPC {
		dst = append(dst, `,"grpc_status":`...)
		dst = appendInt(dst, int64(r.GRPCStatus))
	}
	if r.TLSVersion == "" && r.SNI == "" {
		return dst
	}
	for _, f := range [...]struct{ name, text string }{
		{`,"tls_version":"`, r.TLSVersion}, {`,"tls_group":"`, r.TLSGroup}, {`,"sni":"`, r.SNI},
		{`,"client_cert":"`, r.ClientCert},
	} {
		if f.text != "" {
			dst = append(dst, f.name...)
			dst = appendJSON(dst, view(f.text))
			dst = append(dst, '"')
		}
	}
	return dst
}

func appendJSONCache(dst []byte, r *Record) []byte {
	dst = append(dst, `,"cache":"`...)
	dst = append(appendJSON(dst, view(r.Cache.Status)), '"')
	if r.Cache.Reason != "" {
		dst = append(dst, `,"cache_reason":"`...)
		dst = append(appendJSON(dst, view(r.Cache.Reason)), '"')
	}
	if r.Cache.Age >= 0 {
		dst = append(dst, `,"cache_age":`...)
		dst = appendInt(dst, int64(r.Cache.Age))
	}
	return dst
}

func appendJSONTraffic(dst []byte, r *Record) []byte {
	dst = append(dst, `,"bytes_in":`...)
	dst = appendInt(dst, r.BytesIn)
	dst = append(dst, `,"bytes_out":`...)
	dst = appendInt(dst, r.BytesOut)
	dst = append(dst, `,"dur_ms":`...)
	dst = appendMillis(dst, r.Dur)
	if r.T.Queue|r.T.Connect == 0 { // a parked connection was taken
		dst = append(dst, `,"t":{"queue":0,"connect":0,"first_byte":`...)
	} else {
		dst = append(dst, `,"t":{"queue":`...)
		dst = appendMillis(dst, r.T.Queue)
		dst = append(dst, `,"connect":`...)
		dst = appendMillis(dst, r.T.Connect)
		if r.T.TLS > 0 {
			dst = append(dst, `,"tls":`...)
			dst = appendMillis(dst, r.T.TLS)
		}
		dst = append(dst, `,"first_byte":`...)
	}
	dst = appendMillis(dst, r.T.FirstByte)
	dst = append(dst, `,"body":`...)
	dst = appendMillis(dst, r.T.Body)
	if r.Attempts == 1 && r.Reused {
		return append(dst, `},"attempts":1,"reused":true`...)
	}
	dst = append(dst, `},"attempts":`...)
	dst = appendInt(dst, int64(r.Attempts))
	if r.Reused {
		return append(dst, `,"reused":true`...)
	}
	return append(dst, `,"reused":false`...)
}

// AppendCommon appends r to dst as one line of the Common Log Format, newline included. The time
// is UTC. In texts every byte outside printable ASCII, '"' and '\' are written as \xNN. Allocates
// only when dst has no room for RecordMax.
func (e *Encoder) AppendCommon(dst []byte, r *Record) []byte {
	return append(e.appendCLF(dst, r), '\n')
}

// AppendCombined appends r to dst as AppendCommon does, with the Referer and the User-Agent.
func (e *Encoder) AppendCombined(dst []byte, r *Record) []byte {
	dst = e.appendCLF(dst, r)
	dst = append(dst, ` "`...)
	dst = appendCLFField(dst, r.Referer)
	dst = append(dst, `" "`...)
	dst = appendCLFField(dst, r.UserAgent)
	return append(dst, "\"\n"...)
}

// AppendTimed appends r to dst as AppendCommon does, with the backend and the milliseconds that the exchange took.
func (e *Encoder) AppendTimed(dst []byte, r *Record) []byte {
	dst = append(e.appendCLF(dst, r), ' ')
	if r.Backend == "" {
		dst = append(dst, '-')
	} else {
		dst = append(dst, r.Backend...)
	}
	dst = appendMillis(append(dst, ' '), r.Dur)
	return append(dst, "ms\n"...)
}

func (e *Encoder) appendCLF(dst []byte, r *Record) []byte {
	if r.ClientIP.IsValid() {
		dst = AppendIP(dst, r.ClientIP)
	} else {
		dst = append(dst, '-') // a Unix socket
	}
	dst = append(dst, " - - ["...)
	dst = e.clf.appendCLF(dst, r.Time)
	dst = append(dst, `] "`...)
	if r.Proto == ProtoTCP {
		dst = appendCLF(append(dst, "TCP "...), view(r.Listener))
	} else if len(r.Method) == 0 { // the request line was never understood
		dst = append(dst, '-')
	} else {
		dst = appendCLF(dst, r.Method)
		dst = append(dst, ' ')
		dst = appendCLFField(dst, r.Path)
		if len(r.Query) > 0 {
			dst = append(dst, '?')
			dst = appendCLF(dst, r.Query)
		}
		dst = append(dst, ' ')
		dst = append(dst, protoText(r.Proto)...)
	}
	dst = append(dst, `" `...)
	dst = appendInt(dst, int64(r.Status))
	dst = append(dst, ' ')
	return appendInt(dst, r.BytesOut)
}

func appendCLFField(dst, p []byte) []byte {
	if len(p) == 0 {
		return append(dst, '-')
	}
	return appendCLF(dst, p)
}

// AppendIP appends the text of ip: IPv4 also where it came mapped into IPv6, nothing when it is no address, and never a
// zone, which is a name of this host's interfaces and would need escaping.
func AppendIP(dst []byte, ip netip.Addr) []byte {
	if ip.Is4In6() {
		ip = ip.Unmap()
	}
	if ip.Is4() {
		b := ip.As4()
		dst = appendOctets(appendOctets(dst, b[0], b[1]), b[2], b[3])
		return dst[:len(dst)-1]
	}
	if !ip.IsValid() {
		return dst
	}
	return ip.WithZone("").AppendTo(dst)
}

// view borrows the bytes of s.
func view(s string) []byte {
	// SAFETY: the encoders only read what they get, and keep nothing of it.
	return unsafe.Slice(unsafe.StringData(s), len(s))
}
