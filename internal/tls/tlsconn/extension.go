package tlsconn

// The types of extensions whose body is not a single list of numbers.
const (
	extensionServerName    = 0
	extensionStatusRequest = 5
	extensionALPN          = 16
	extensionPreSharedKey  = 41
	extensionKeyShare      = 51
	extensionECH           = 0xfe0d
)

// wellFormed reports whether crypto/tls takes body for an extension of type t. It takes any body for the other types.
func wellFormed(t uint16, body fields) bool {
	switch t {
	case 18, 23, 42: // signed_certificate_timestamp, extended_master_secret, early_data
		return len(body) == 0
	case 45, 0xff01: // psk_key_exchange_modes, renegotiation_info
		_, ok := body.only(1)
		return ok
	case 11: // ec_point_formats
		return body.list(1, 1)
	case 43: // supported_versions
		return body.list(1, 2)
	case 44: // cookie
		return body.list(2, 1)
	case 10, 13, 50: // supported_groups, signature_algorithms, signature_algorithms_cert
		return body.list(2, 2)
	case extensionStatusRequest:
		typed := body.skip(1)
		_, responders := body.vector(2)
		_, extensions := body.only(2)
		return typed && responders && extensions
	case extensionKeyShare:
		shares, ok := body.only(2)
		for ok && len(shares) > 0 {
			ok = shares.skip(2) && shares.skipFilled(2) // a group and its key
		}
		return ok
	case extensionPreSharedKey:
		identities, ok := body.vector(2)
		binders, bound := body.only(2)
		ok = ok && bound && len(identities) > 0 && binders.filled()
		for ok && len(identities) > 0 {
			ok = identities.skipFilled(2) && identities.skip(4) // a ticket and its age
		}
		return ok
	case extensionECH:
		if len(body) <= 1 {
			return len(body) == 0 || body[0] == 1 // an inner ClientHello has a type and nothing else
		}
		outer := body[0] == 0 && body.skip(1+4+1) // type, suite, config
		_, key := body.vector(2)
		_, payload := body.vector(2)
		return outer && key && payload // and whatever follows
	}
	return true
}

// fields is the rest of a structure of TLS. Its methods take fields off its front.
type fields []byte

// vector takes a vector (RFC 8446 §3.4) whose length is a number of lengthSize bytes.
func (f *fields) vector(lengthSize int) (v fields, ok bool) {
	if len(*f) < lengthSize {
		return nil, false
	}
	n := int((*f)[0])
	if lengthSize == 2 {
		n = n<<8 | int((*f)[1])
	}
	v = (*f)[lengthSize:]
	if n > len(v) {
		return nil, false
	}
	*f = v[n:]
	return v[:n], true
}

// only takes a vector after which nothing follows.
func (f fields) only(lengthSize int) (v fields, ok bool) {
	v, ok = f.vector(lengthSize)
	return v, ok && len(f) == 0
}

// list reports whether f is nothing but a vector of items, and has one at least.
func (f fields) list(lengthSize, itemSize int) bool {
	v, ok := f.only(lengthSize)
	return ok && len(v) > 0 && len(v)%itemSize == 0
}

// filled reports whether f is a list of vectors with a length of one byte, and neither is empty.
func (f fields) filled() bool {
	ok := len(f) > 0
	for ok && len(f) > 0 {
		ok = f.skipFilled(1)
	}
	return ok
}

// skipFilled takes a vector off that is not empty.
func (f *fields) skipFilled(lengthSize int) bool {
	v, ok := f.vector(lengthSize)
	return ok && len(v) > 0
}

// skip takes n bytes off.
func (f *fields) skip(n int) bool {
	ok := n <= len(*f)
	*f = (*f)[min(n, len(*f)):]
	return ok
}
