package quic

// AppendRefusal appends the Initial that refuses a connection with a code: it answers the first Initial of a client,
// whose header is h. Nothing is kept of it.
func AppendRefusal(dst []byte, h *Header, code Code) []byte {
	var k keys
	_, server := initialSecrets(h.Dest)
	if !k.init(aes128GCM, server[:]) {
		return dst
	}
	start := len(dst)
	to, _ := MakeID(h.Source)
	dst = appendLong(dst, InitialPacket, &to, &ID{}, nil)
	number := len(dst)
	dst = append(dst, 0)
	body := len(dst)
	dst = appendClose(dst, false, uint64(code), 0, "")
	setLength(dst, number, len(dst)-number+tagLen)
	return k.seal(dst, start, number, body, 0)
}
