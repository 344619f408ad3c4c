package section

// Fault is a reason for which a section has no meaning: the message is malformed, or larger than a limit. Codecs make
// errors of it.
type Fault uint8

// The faults.
const (
	NoFault Fault = iota
	FaultUppercase
	FaultFieldName
	FaultFieldValue
	FaultPseudoOrder
	FaultPseudoTwice
	FaultPseudoUnknown
	FaultPseudoMissing
	FaultConnectionField
	FaultTE
	FaultMethod
	FaultScheme
	FaultPath
	FaultAuthority
	FaultHostMismatch
	FaultNoAuthority
	FaultStatus
	FaultProtocol
	FaultContentLength
	FaultLengthMismatch
	FaultConnectBody
	FaultExpectation
	FaultInterimEnd
	FaultTargetTooLong
	FaultHeadTooLarge
	FaultTooManyFields

	FaultCount // how many there are
)

var faultText = [FaultCount]string{
	FaultUppercase:       "upper case in a field name",
	FaultFieldName:       "malformed field name",
	FaultFieldValue:      "malformed field value",
	FaultPseudoOrder:     "pseudo-header field behind a field",
	FaultPseudoTwice:     "pseudo-header field twice",
	FaultPseudoUnknown:   "pseudo-header field that must not be there",
	FaultPseudoMissing:   "pseudo-header field missing",
	FaultConnectionField: "connection-specific field",
	FaultTE:              "TE other than trailers",
	FaultMethod:          "malformed :method",
	FaultScheme:          "malformed :scheme",
	FaultPath:            "malformed :path",
	FaultAuthority:       "malformed :authority or Host",
	FaultHostMismatch:    "Host differs from :authority",
	FaultNoAuthority:     "neither :authority nor Host",
	FaultStatus:          "malformed :status",
	FaultProtocol:        ":protocol without extended CONNECT",
	FaultContentLength:   "malformed Content-Length",
	FaultLengthMismatch:  "Content-Length differs from the data",
	FaultConnectBody:     "CONNECT with a length",
	FaultExpectation:     "expectation other than 100-continue",
	FaultInterimEnd:      "interim answer that ends the stream",
	FaultTargetTooLong:   "request line too long",
	FaultHeadTooLarge:    "head too large",
	FaultTooManyFields:   "too many fields",
}

// String says what is wrong, "" for NoFault.
func (f Fault) String() string { return faultText[f] }
