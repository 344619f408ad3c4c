package h1

// Error is a fault of the peer. Status and the text tell faults apart. The few that a caller treats in its own way are
// Err variables of this package: errors.Is finds them, also as faults of an answer. Immutable.
type Error struct {
	Status int    // the answer it deserves: 4xx, 501 or 505 for a request, 502 for the answer of an origin
	Code   string // the error type for Proxy-Status (RFC 9209 §2.3)
	text   string
	answer *Error // the same fault in an answer; nil in that error itself
	kin    *Error // set in the error of an answer: the same fault in a request
}

// Error says what was wrong.
func (e *Error) Error() string { return "h1: " + e.text }

// Is reports whether e is target, or target as it is found in an answer.
func (e *Error) Is(target error) bool { return error(e.kin) == target }

const (
	requestError    = "http_request_error"
	protocolError   = "http_protocol_error"
	headSection     = "http_response_header_section_size"
	headLine        = "http_response_header_size"
	trailerSection  = "http_response_trailer_section_size"
	transferCoding  = "http_response_transfer_coding"
	incomplete      = "http_response_incomplete"
	upgradeFailed   = "http_upgrade_failed"
	badRequest      = 400
	badGateway      = 502
	uriTooLong      = 414
	expectFailed    = 417
	fieldsTooLarge  = 431
	notImplemented  = 501
	versionNotKnown = 505
)

// The faults of a head.
var (
	errBareLF           = fault(badRequest, protocolError, "line feed without carriage return")
	errBareCR           = fault(badRequest, protocolError, "carriage return without line feed")
	errRequestLine      = fault(badRequest, protocolError, "malformed request line")
	errStatusLine       = fault(badRequest, protocolError, "malformed status line")
	errMethod           = fault(badRequest, protocolError, "method is not a token")
	ErrTLS              = fault(badRequest, protocolError, "TLS on a port for plain HTTP")
	errTarget           = fault(badRequest, protocolError, "malformed request target")
	errVersion          = fault(versionNotKnown, protocolError, "version is neither HTTP/1.0 nor HTTP/1.1")
	errFieldName        = fault(badRequest, protocolError, "malformed field name")
	errSpaceBeforeColon = fault(badRequest, protocolError, "white space between field name and colon")
	errFold             = fault(badRequest, protocolError, "folded field line")
	errFieldValue       = fault(badRequest, protocolError, "control character in a field value")
	errConnection       = fault(badRequest, protocolError, "malformed Connection field")
	ErrURITooLong       = fault(uriTooLong, headLine, "request line too long")
	ErrHeadTooLarge     = fault(fieldsTooLarge, headSection, "head too large")
	ErrFieldTooLarge    = fault(fieldsTooLarge, headLine, "field line too long")
	ErrTooManyFields    = fault(fieldsTooLarge, headSection, "too many fields")
	ErrNoHost           = fault(badRequest, protocolError, "no Host field")
	errManyHosts        = fault(badRequest, protocolError, "more than one Host field")
	ErrHost             = fault(badRequest, protocolError, "malformed host")
	errExpectation      = fault(expectFailed, requestError, "expectation other than 100-continue")
	errHostMismatch     = fault(badRequest, protocolError, "Host differs from the request target")
)

// The faults of framing and of bodies.
var (
	errContentLength     = fault(badRequest, protocolError, "malformed Content-Length")
	errManyLengths       = fault(badRequest, protocolError, "more than one Content-Length")
	errLengthAndCoding   = fault(badRequest, protocolError, "Content-Length with Transfer-Encoding")
	errTransferEncoding  = fault(badRequest, transferCoding, "malformed Transfer-Encoding")
	errTransferCoding    = fault(notImplemented, transferCoding, "transfer coding other than chunked")
	errCodingInHTTP10    = fault(badRequest, transferCoding, "Transfer-Encoding in HTTP/1.0")
	errChunkSize         = fault(badRequest, transferCoding, "malformed chunk size")
	errChunkExtension    = fault(badRequest, transferCoding, "malformed chunk extension")
	errChunkLineTooLong  = fault(badRequest, transferCoding, "chunk size line too long")
	errChunkExcess       = fault(badRequest, transferCoding, "more chunk overhead than data")
	errChunkEnd          = fault(badRequest, transferCoding, "chunk does not end with its line end")
	errTrailersTooLarge  = fault(fieldsTooLarge, trailerSection, "trailer section too large")
	errUnexpectedEOF     = fault(badRequest, incomplete, "connection ended within a message")
	ErrSwitchedProtocols = fault(badGateway, upgradeFailed, "101 without having been asked")
	errConnectBody       = fault(badRequest, protocolError, "CONNECT with a body")
	errUpgrade           = fault(badGateway, upgradeFailed, "101 does not say which protocol follows")
	errTunnel            = fault(badGateway, protocolError, "2xx to CONNECT without having been asked")
	errManyInterim       = fault(badGateway, protocolError, "too many 1xx answers")
)

// fault makes an error of a request and its twin: in an answer the same fault is the origin's, and code names it.
func fault(status int, code, text string) *Error {
	e := &Error{Status: status, Code: requestError, text: text}
	e.answer = &Error{Status: badGateway, Code: code, text: text, kin: e}
	return e
}
