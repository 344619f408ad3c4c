package observe

import (
	"net/netip"
	"slices"
	"strings"
)

// The versions of HTTP a Record knows. Any other value is written as "-".
const (
	ProtoHTTP10 uint8 = 10
	ProtoHTTP11 uint8 = 11
	ProtoHTTP2  uint8 = 20
	ProtoTCP    uint8 = 6 // a connection without HTTP
)

// textMax is how many bytes of one text go into a record. A peer chooses the length of its path
// and its fields, and must not be able to fill a disk through the log.
const textMax = 256

// FieldsMax is how many Fields of a record are written.
const FieldsMax = 8

// MembersMax is how many members a configuration may add to a line of JSON.
const MembersMax = 24

// RecordMax bounds an encoded record without Fields: twenty texts of textMax bytes, each byte
// escaped to six, and less than 1 KiB of names, numbers and punctuation.
const RecordMax = 20*6*textMax + 1024

// fieldsMax bounds what Fields add to a record, in bytes.
const fieldsMax = FieldsMax * (2*6*textMax + 6)

// LineMax bounds a line: a record with all its Fields, and members that a configuration adds to it.
const LineMax = RecordMax + fieldsMax + MembersMax*(2*6*textMax+6)

// members are the names at the top of a line of JSON: the names of records, then those that edge adds as Fields.
var members = strings.Fields(`time id trace_id listener client_ip client_port proto method host path query route
	status reason bytes_in bytes_out dur_ms t attempts reused upstream backend cache cache_reason cache_age
	encoding bytes_saved grpc_status
	tls_version tls_group sni client_cert user_agent referer sample_rate retry hedge over_limit user tags rule
	parent body_cut`)

// HasMember reports whether a line of JSON may have a member of that name, be its letters small or large.
func HasMember(name string) bool {
	return slices.ContainsFunc(members, func(m string) bool { return strings.EqualFold(m, name) })
}

// Timings are the parts of an exchange in nanoseconds; 0 where there was none.
type Timings struct {
	Queue     int64 // waiting for a connection to a backend, or for leave to open one
	Connect   int64 // dialling, handshake included; of all attempts
	FirstByte int64 // from the request given to a connection that stands to the head of the answer
	Body      int64 // from the first byte of the answer to its last
	TLS       int64 // of Connect: handshakes
}

// Record is what the access log says about one exchange.
// Its byte slices are borrowed until the append returns; nothing of it is kept.
type Record struct {
	Time int64 // when the exchange began, Unix time in ns
	ID   [16]byte

	RequestID []byte // the number that the request came with, in place of ID; nil: it came with none
	TraceID   []byte // the trace that it is part of, in hexadecimal; nil: none that is known

	Listener   string
	ClientIP   netip.Addr
	ClientPort uint16
	Proto      uint8 // ProtoHTTP10, ProtoHTTP11, ProtoHTTP2

	Method, Host, Path, Query []byte // as the peer sent them; Query is without '?'

	Route, Upstream, Backend string

	Status int
	Reason string // the side that ended it and the phase; empty for an ordinary end

	BytesIn, BytesOut int64
	Dur               int64 // ns
	T                 Timings

	Attempts int
	Reused   bool // the upstream connection had served before

	Cache       string // what a cache did: hit, stale, revalidated, miss, bypass; empty: there was no cache
	CacheReason string // why there was no hit, or why the answer was not stored; empty: there is no reason
	CacheAge    int    // of a stored answer, in seconds; below 0: the answer has none

	Encoding string // the content coding by which the answer was compressed here; empty: it was not
	Saved    int64  // bytes of the answer's body that this has saved; below 0: it grew

	UserAgent, Referer []byte

	TLSVersion, TLSGroup string // of the client's connection; empty where it is not secured, or not by edge
	SNI, ClientCert      string // the server name that the client asked for, and the subject of its certificate

	GRPC       bool // the call ended with GRPCStatus
	GRPCStatus int

	SampleRate string // the share of all exchanges that it stands for, as a JSON number; "": it stands for itself

	Fields []Field // further ones, for JSON: the first FieldsMax of them
}

// Field is a member that a program adds to its records. Its name should differ from all names of the record itself.
type Field struct{ Name, Value string }

// protoName is as in RFC 9113, which has no minor version.
func protoName(proto uint8) string {
	if proto == ProtoHTTP2 {
		return "HTTP/2"
	}
	return protoText(proto)
}

// protoText is what the Common Log Format has: tools that read it want a minor version.
func protoText(proto uint8) string {
	switch proto {
	case ProtoHTTP11:
		return "HTTP/1.1"
	case ProtoHTTP2:
		return "HTTP/2.0"
	case ProtoHTTP10:
		return "HTTP/1.0"
	case ProtoTCP:
		return "TCP"
	}
	return "-"
}
