package message

// The characters of a label: unreserved and sub-delims (RFC 3986 §3.2.2) without the dot, which ends it, and without
// the comma. A percent sign is none: a party that decodes it sees another host than a party that does not.
var label = func() (t [256]bool) {
	for _, c := range "-_~!$&'()*+;=0123456789" {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	return t
}()

// hostMax is the length of a host: RFC 1035 §2.3.4, names are 255 octets or less.
const hostMax = 255

// SplitAuthority checks host[:port] and returns both, which alias b. An authority with user information is not one (RFC
// 9110 §4.2.4: it is error-prone and used for phishing), nor is an empty host (§4.2.1: MUST reject it as invalid). A
// host is one name or address that all parties read alike: the grammar would allow encoded characters, lists and empty
// labels.
func SplitAuthority(b []byte) (host, port []byte, ok bool) {
	i := 0
	if len(b) > 0 && b[0] == '[' {
		for i < len(b) && b[i] != ']' {
			i++
		}
		if i == len(b) || !validIPv6(b[1:i]) {
			return nil, nil, false
		}
		i++
	} else if i = nameEnd(b); i == 0 || i > hostMax {
		return nil, nil, false
	}
	switch {
	case i == len(b):
		return b, nil, true
	case b[i] != ':' || !validPort(b[i+1:]):
		return nil, nil, false
	}
	return b[:i], b[i+1:], true
}

// ValidHostName reports whether s is a name, or an address that is written as one: no port, no brackets.
func ValidHostName(s string) bool {
	return len(s) > 0 && len(s) <= hostMax && nameEnd([]byte(s)) == len(s)
}

// nameEnd returns how long the name is that b begins with: labels, a dot after each but the last, which may have one.
// 0: there is none, or a label of it is empty.
func nameEnd(b []byte) int {
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case label[c]:
		case c != '.':
			return i
		case i == 0 || b[i-1] == '.':
			return 0
		}
	}
	return len(b)
}

// validPort accepts an empty port, as the grammar does.
func validPort(b []byte) bool {
	if len(b) > 5 {
		return false
	}
	n := 0
	for _, c := range b {
		digit := c - '0'
		if digit > 9 {
			return false
		}
		n = n*10 + int(digit)
	}
	return n <= 65535
}

// validIPv6 checks the text between the brackets (RFC 3986 §3.2.2): eight groups of up to four digits, one run of
// them as "::", the last two perhaps as IPv4. No zone.
func validIPv6(b []byte) bool {
	groups, gap := 0, false
	if len(b) >= 2 && b[0] == ':' && b[1] == ':' {
		gap, b = true, b[2:]
	}
	for len(b) > 0 {
		n := 0
		for n < len(b) && HexDigit(b[n]) < 16 {
			n++
		}
		if n < len(b) && b[n] == '.' {
			return validIPv4(b) && (groups == 6 || gap && groups < 6)
		}
		if n == 0 || n > 4 {
			return false
		}
		groups++
		if b = b[n:]; len(b) == 0 {
			break
		}
		if b[0] != ':' || len(b) == 1 {
			return false
		}
		if b = b[1:]; b[0] == ':' {
			if gap {
				return false
			}
			gap, b = true, b[1:]
		}
	}
	if gap {
		return groups < 8
	}
	return groups == 8
}

func validIPv4(b []byte) bool {
	parts, digits, v := 1, 0, 0
	for _, c := range b {
		switch {
		case c == '.' && digits > 0:
			parts, digits, v = parts+1, 0, 0
		case c >= '0' && c <= '9' && !(digits > 0 && v == 0):
			digits, v = digits+1, v*10+int(c-'0')
			if v > 255 {
				return false
			}
		default:
			return false
		}
	}
	return parts == 4 && digits > 0
}

// SameAuthority reports whether two authorities that are valid name the same place, in a scheme of that default port.
func SameAuthority(a, b []byte, defaultPort string) bool {
	aHost, aPort, _ := SplitAuthority(a)
	bHost, bPort, _ := SplitAuthority(b)
	return EqualFoldBytes(aHost, bHost) && samePort(aPort, bPort, defaultPort)
}

func samePort(a, b []byte, defaultPort string) bool {
	if len(a) == 0 {
		return len(b) == 0 || string(b) == defaultPort
	}
	if len(b) == 0 {
		return string(a) == defaultPort
	}
	return string(a) == string(b)
}

// Scheme returns how the request was asked for, "https" or "http".
func (h *Head) Scheme() string {
	if h.HTTPS {
		return "https"
	}
	return "http"
}

// Host returns the authority without its port. Borrowed.
func (h *Head) Host() []byte { return withoutPort(h.Bytes(h.Authority)) }

func withoutPort(authority []byte) []byte {
	for i := len(authority) - 1; i >= 0 && authority[i] != ']'; i-- {
		if authority[i] == ':' {
			return authority[:i]
		}
	}
	return authority
}

// HostOf returns an authority without its port and the dot of the root: hosts are one where this is equal but for its
// case. Borrowed.
func HostOf(authority []byte) []byte {
	host := withoutPort(authority)
	if n := len(host); n > 1 && host[n-1] == '.' {
		return host[:n-1]
	}
	return host
}

// LowerHost returns HostOf the authority in lower case, in buf; nil when it is too long.
func (h *Head) LowerHost(buf *[256]byte) []byte {
	host := HostOf(h.Bytes(h.Authority))
	if len(host) > len(buf) {
		return nil
	}
	return AppendLower(buf[:0], host)
}
