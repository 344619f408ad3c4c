package observe

import (
	"log/slog"
	"net/netip"
	"slices"
	"strings"
)

// The versions of HTTP a Record knows. Any other value is written as "-".
const (
	ProtoHTTP10 uint8 = 10
	ProtoHTTP11 uint8 = 11
	ProtoHTTP2  uint8 = 20
	ProtoHTTP3  uint8 = 30
	ProtoTCP    uint8 = 6 // a connection without HTTP
)

// TextMax is how many bytes of one text go into a record. A peer chooses the length of its path
// and its fields, and must not be able to fill a disk through the log.
const TextMax = 256

// FieldsMax is how many Fields of a record are written.
const FieldsMax = 8

// MembersMax is how many members a configuration may add to a line of JSON.
const MembersMax = 24

// RecordMax bounds an encoded record without Fields: twenty texts of TextMax bytes, each byte
// escaped to six, and less than 1 KiB of names, numbers and punctuation.
const RecordMax = 20*6*TextMax + 1024

// fieldsMax bounds what Fields add to a record, in bytes.
const fieldsMax = FieldsMax * (2*6*TextMax + 6)

// LineMax bounds a line: a record with all its Fields, and members that a configuration adds to it.
const LineMax = RecordMax + fieldsMax + MembersMax*(2*6*TextMax+6)

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
	TraceID   []byte // the trace that it is part of, in hexadecimal; nil: unknown

	Listener   string
	ClientIP   netip.Addr
	ClientPort uint16
	Proto      uint8 // ProtoHTTP10, ProtoHTTP11, ProtoHTTP2, ProtoHTTP3

	Method, Host, Path, Query []byte // as the peer sent them; Query is without '?'

	Route, Upstream, Backend string

	Status int
	Reason string // the side that ended it and the phase; empty for an ordinary end

	BytesIn, BytesOut int64
	Dur               int64 // ns
	T                 Timings

	Attempts int
	Reused   bool // the upstream connection had served before

	Cache CacheUse

	Encoding string // the content coding by which the answer was compressed here; empty: it was not
	Saved    int64  // bytes of the answer's body that this has saved; below 0: it grew

	UserAgent, Referer []byte

	TLSVersion, TLSGroup string // of the client's connection; empty where it is not secured, or not by edge
	SNI, ClientCert      string // the server name that the client asked for, and the subject of its certificate

	GRPC       bool // the call ended with GRPCStatus
	GRPCStatus int

	SampleRate string // the share of all exchanges that it stands for, as a JSON number; "": it stands for itself

	Fields  []Field  // further ones, for JSON and logfmt: the first FieldsMax of them
	Members []Member // that the configuration adds, for the same: the first MembersMax of them

	Line Line // for an output that takes records

	hidden [3][]byte // room of Redact

	Span *Span // of its trace; nil: it is part of none, or not sampled
}

// CacheUse is what a cache did for an exchange.
type CacheUse struct {
	Status string // hit, stale, revalidated, miss, bypass; empty: there was no cache
	Reason string // why there was no hit, or why the answer was not stored; empty: there is no reason
	Age    int    // of a stored answer, in seconds; below 0: the answer has none
}

// Line says how a record is written as a line.
type Line struct {
	Form Format
	Text []byte // that a template has made, without its end; empty: Form says it
}

// Level is how much an operator has to care: LevelError for a status of 500 or more, LevelWarn for one from 400 on with
// a reason, else LevelInfo.
func (r *Record) Level() slog.Level {
	switch {
	case r.Status >= 500:
		return slog.LevelError
	case r.Status >= 400 && r.Reason != "":
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// Field is a member that a program adds to its records. The name should differ from all names of the record itself.
type Field struct{ Name, Value string }

// Member is a member that the configuration adds to records. Value is borrowed as the texts of the record are.
type Member struct {
	Name  string
	Value []byte
}

// protoName is as in RFC 9113 and RFC 9114, which have no minor version.
func protoName(proto uint8) string {
	switch proto {
	case ProtoHTTP2:
		return "HTTP/2"
	case ProtoHTTP3:
		return "HTTP/3"
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
	case ProtoHTTP3:
		return "HTTP/3.0"
	case ProtoHTTP10:
		return "HTTP/1.0"
	case ProtoTCP:
		return "TCP"
	}
	return "-"
}

// AttemptsMax is how many attempts of a Span are written: the last ones.
const AttemptsMax = 8

// AttributesMax is how many Attributes, and fields of the request and of the answer, a Span has.
const AttributesMax = 32

// Span is what a Record says of its part of a trace (W3C Trace Context, OpenTelemetry): the request as a span of kind
// SERVER, and each of Attempts as one of kind CLIENT below it. Its texts are borrowed as the texts of a Record are.
type Span struct {
	Trace  [16]byte
	ID     [8]byte
	Parent [8]byte // zeros: the trace begins here
	Flags  uint8   // of Traceparent
	State  []byte  // Tracestate as it came; nil: none

	Name    []byte // nil: the method, and Pattern
	Pattern string // path of the route, as the configuration writes it: http.route
	Secured bool   // the scheme of the request is https
	Peer    netip.AddrPort
	Error   string // what Proxy-Status calls the failure; empty: there was none
	Target  []byte // of the request as it was sent to backends; nil: as it came

	Attributes []Member // further ones: AttributesMax of them
	Request    []Member // fields of the request, by names in lower case
	Answer     []Member // fields of the answer

	Attempts []Attempt
}

// Attempt is one try of a request at a backend.
type Attempt struct {
	ID           [8]byte
	Began, Ended int64  // ns since Record.Time
	Number       int    // from 1
	Backend      string // host:port, or the path of a Unix socket
	Secured      bool   // by TLS
	Proto        uint8  // as in a Record; 0: no connection came about
	Status       int    // of its answer; 0: there was none
	Error        string // what Proxy-Status calls the failure; empty: there was none
	T            Timings
	DNS          int64 // ns: its name was looked up
	Reused       bool
	Hedge        bool // it was made while another one waited
}
