package quic

// parameterID is the id of a transport parameter (RFC 9000 §18.2).
type parameterID uint64

const (
	paramOriginal       parameterID = 0x00 // server only
	paramIdle           parameterID = 0x01
	paramResetToken     parameterID = 0x02 // server only
	paramPayload        parameterID = 0x03
	paramData           parameterID = 0x04
	paramStreamLocal    parameterID = 0x05
	paramStreamRemote   parameterID = 0x06
	paramStreamOneWay   parameterID = 0x07
	paramStreams        parameterID = 0x08
	paramStreamsOneWay  parameterID = 0x09
	paramDelayExponent  parameterID = 0x0a
	paramAckDelay       parameterID = 0x0b
	paramNoMigration    parameterID = 0x0c
	paramPreferred      parameterID = 0x0d // server only
	paramIDs            parameterID = 0x0e
	paramInitialSource  parameterID = 0x0f
	paramRetrySource    parameterID = 0x10 // server only
	paramKinds                      = 0x11
	parametersOfServers             = 1<<paramOriginal | 1<<paramResetToken | 1<<paramPreferred | 1<<paramRetrySource
)

const (
	payloadLeast     = 1200 // RFC 9000 §14: every network carries these
	payloadDefault   = 65527
	exponentDefault  = 3
	ackDelayDefault  = 25 // ms
	idsDefault       = 2
	preferredLeast   = 4 + 2 + 16 + 2 + 1 + 1 + 16 // with an id of one octet
	preferredIDAt    = 4 + 2 + 16 + 2
	greaseParameters = 1 << 20
)

// parameters are the transport parameters of one end. The zero value has none of them: see defaultParameters.
type parameters struct {
	present uint32 // a bit for each parameterID that came, or that is sent though its value is an id or a token

	original      ID // the first id that the client chose for the server
	initialSource ID // the id that the end chose first
	retrySource   ID // the id that the server chose in Retry
	resetToken    [16]byte

	terms
}

// terms are the parameters that hold after the handshake.
type terms struct {
	idle          uint64 // ms; 0: for ever
	payload       uint64 // of a datagram, at most
	data          uint64 // that may be sent on the connection
	streamLocal   uint64 // that may be sent on a two-way stream which this end opened
	streamRemote  uint64 // and which the other end opened
	streamOneWay  uint64 // and on a one-way stream
	streams       uint64 // two-way streams that the other end may open
	streamsOneWay uint64
	delayExponent uint64 // of the delay in ACK
	ackDelay      uint64 // ms
	ids           uint64 // connection ids that it keeps
	noMigration   bool
}

// defaultParameters are those that need not be sent.
var defaultParameters = parameters{terms: terms{
	payload: payloadDefault, delayExponent: exponentDefault, ackDelay: ackDelayDefault, ids: idsDefault,
}}

// integerParameters are the parameters that are integers, in the order in which they are sent, with their bounds.
var integerParameters = [...]struct {
	id          parameterID
	of          func(*parameters) *uint64
	least, most uint64
}{
	{paramIdle, func(p *parameters) *uint64 { return &p.idle }, 0, integerMax},
	{paramPayload, func(p *parameters) *uint64 { return &p.payload }, payloadLeast, integerMax},
	{paramData, func(p *parameters) *uint64 { return &p.data }, 0, integerMax},
	{paramStreamLocal, func(p *parameters) *uint64 { return &p.streamLocal }, 0, integerMax},
	{paramStreamRemote, func(p *parameters) *uint64 { return &p.streamRemote }, 0, integerMax},
	{paramStreamOneWay, func(p *parameters) *uint64 { return &p.streamOneWay }, 0, integerMax},
	{paramStreams, func(p *parameters) *uint64 { return &p.streams }, 0, streamsMax},
	{paramStreamsOneWay, func(p *parameters) *uint64 { return &p.streamsOneWay }, 0, streamsMax},
	{paramDelayExponent, func(p *parameters) *uint64 { return &p.delayExponent }, 0, 20},
	{paramAckDelay, func(p *parameters) *uint64 { return &p.ackDelay }, 0, 1<<14 - 1},
	{paramIDs, func(p *parameters) *uint64 { return &p.ids }, 2, integerMax},
}

func (p *parameters) has(id parameterID) bool { return p.present&(1<<id) != 0 }

// parse reads the parameters that an end sent. Unknown ones are ignored.
func (p *parameters) parse(b []byte, fromClient bool) *Error {
	*p = defaultParameters
	r := reader{b: b}
	for len(r.b) > 0 {
		id := parameterID(r.integer())
		v := r.bytes(r.integer())
		switch {
		case r.cut:
			return errParameter
		case id >= paramKinds:
			continue
		case p.has(id):
			return errParameterTwice
		case fromClient && parametersOfServers&(1<<id) != 0:
			return errParameterForbidden
		case !p.set(id, v):
			return errParameter
		}
		p.present |= 1 << id
	}
	if !p.has(paramInitialSource) || !fromClient && !p.has(paramOriginal) {
		return errParameterID // RFC 9000 §7.3: what is missing confirms nothing
	}
	return nil
}

// set takes the value of one parameter.
func (p *parameters) set(id parameterID, v []byte) (ok bool) {
	switch id {
	case paramOriginal:
		p.original, ok = MakeID(v)
	case paramInitialSource:
		p.initialSource, ok = MakeID(v)
	case paramRetrySource:
		p.retrySource, ok = MakeID(v)
	case paramResetToken:
		return copy(p.resetToken[:], v) == len(p.resetToken) && len(v) == len(p.resetToken)
	case paramNoMigration:
		p.noMigration = true
		return len(v) == 0
	case paramPreferred: // it is not used
		return len(v) >= preferredLeast && v[preferredIDAt] <= idMax && v[preferredIDAt] > 0 &&
			len(v) == preferredLeast-1+int(v[preferredIDAt])
	default:
		for i := range integerParameters {
			if n := &integerParameters[i]; n.id == id {
				r := reader{b: v}
				value := r.integer()
				*n.of(p) = value
				return !r.cut && len(r.b) == 0 && value >= n.least && value <= n.most
			}
		}
	}
	return ok
}

// confirm checks the ids of the handshake, which had no protection (RFC 9000 §7.3): source is the id that the peer put
// into its first packet. A client has the others too: original is the id that it chose for the server, retry the id of
// the Retry that it took, or nil. Without this check an attacker could inject a Retry.
func (p *parameters) confirm(source, original, retry *ID) *Error {
	if p.initialSource != *source || original != nil && p.original != *original {
		return errParameterID
	}
	if p.has(paramRetrySource) != (retry != nil) || retry != nil && p.retrySource != *retry {
		return errParameterID
	}
	return nil
}

// append appends p: the ids and the token that are present, and what differs from the defaults. grease chooses an id
// that means nothing (RFC 9000 §18.1), so that peers go on ignoring what they do not know.
func (p *parameters) append(dst []byte, grease uint64) []byte {
	for i := range integerParameters {
		n := &integerParameters[i]
		if v := *n.of(p); v != *n.of(&defaultParameters) {
			dst = appendParameter(dst, n.id, integerLen(v))
			dst = appendInteger(dst, v)
		}
	}
	if p.noMigration {
		dst = appendParameter(dst, paramNoMigration, 0)
	}
	dst = p.appendBytes(dst, paramOriginal, p.original.Bytes())
	dst = p.appendBytes(dst, paramResetToken, p.resetToken[:])
	dst = p.appendBytes(dst, paramInitialSource, p.initialSource.Bytes())
	dst = p.appendBytes(dst, paramRetrySource, p.retrySource.Bytes())
	return appendParameter(dst, parameterID(27+31*(1+grease%greaseParameters)), 0)
}

func (p *parameters) appendBytes(dst []byte, id parameterID, v []byte) []byte {
	if !p.has(id) {
		return dst
	}
	return append(appendParameter(dst, id, len(v)), v...)
}

func appendParameter(dst []byte, id parameterID, n int) []byte {
	return appendInteger(appendInteger(dst, uint64(id)), uint64(n))
}
