package forwarding

// idMax bounds the number of a request that another program has given it, in bytes.
const idMax = 128

// ValidID reports whether id, which came with a request, may be its number: it goes to backends, into logs and onto
// pages, so that it is letters, digits and "-._~+/=:" alone.
func ValidID(id []byte) bool {
	for _, c := range id {
		switch {
		case 'a' <= c|0x20 && c|0x20 <= 'z', '0' <= c && c <= '9':
		case c == '-' || c == '.' || c == '_' || c == '~' || c == '+' || c == '/' || c == '=' || c == ':':
		default:
			return false
		}
	}
	return len(id) > 0 && len(id) <= idMax
}
