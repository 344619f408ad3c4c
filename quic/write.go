package quic

// appendFrame appends a frame of kind that is nothing but integers: each that has neither data nor an id.
func appendFrame(dst []byte, kind frameKind, values ...uint64) []byte {
	dst = append(dst, byte(kind))
	for _, v := range values {
		dst = appendInteger(dst, v)
	}
	return dst
}

// appendStream appends the head of a STREAM frame with n bytes of data, which the caller appends.
func appendStream(dst []byte, stream, offset uint64, n int, end bool) []byte {
	kind := byte(frameStream) | streamLength
	if offset > 0 {
		kind |= streamOffset
	}
	if end {
		kind |= streamEnd
	}
	dst = appendInteger(append(dst, kind), stream)
	if offset > 0 {
		dst = appendInteger(dst, offset)
	}
	return appendInteger(dst, uint64(n))
}

// streamRoom returns how many bytes of data fit into a STREAM frame of room octets; below 0: not even its head.
func streamRoom(room int, stream, offset uint64) int {
	head := 1 + integerLen(stream)
	if offset > 0 {
		head += integerLen(offset)
	}
	return bodyRoom(room - head)
}

// cryptoRoom is streamRoom for CRYPTO.
func cryptoRoom(room int, offset uint64) int { return bodyRoom(room - 1 - integerLen(offset)) }

// bodyRoom returns how many octets fit into room after their own count, or one less.
func bodyRoom(room int) int { return room - integerLen(uint64(max(room, 0))) }

// appendCrypto appends the head of a CRYPTO frame with n bytes of data, which the caller appends.
func appendCrypto(dst []byte, offset uint64, n int) []byte {
	return appendFrame(dst, frameCrypto, offset, uint64(n))
}

// appendNewID appends NEW_CONNECTION_ID.
func appendNewID(dst []byte, sequence, before uint64, id *ID, token *[16]byte) []byte {
	dst = appendFrame(dst, frameNewID, sequence, before)
	return append(append(append(dst, id.n), id.Bytes()...), token[:]...)
}

// appendPath appends PATH_CHALLENGE or PATH_RESPONSE.
func appendPath(dst []byte, kind frameKind, sent *[8]byte) []byte {
	return append(append(dst, byte(kind)), sent[:]...)
}

// appendClose appends CONNECTION_CLOSE. of is the type of the frame that was wrong, or 0; a code of the application
// has none.
func appendClose(dst []byte, app bool, code uint64, of frameKind, reason string) []byte {
	if app {
		dst = appendFrame(dst, frameCloseApp, code, uint64(len(reason)))
	} else {
		dst = appendFrame(dst, frameClose, code, uint64(of), uint64(len(reason)))
	}
	return append(dst, reason...)
}
