package huffman

// IntegerMax is the largest integer that ReadInteger takes: lengths, indexes and sizes are far below.
const IntegerMax = 1<<28 - 1

// ReadInteger reads an integer with a prefix of bits bits at block[at] (RFC 7541 §5.1) and returns what follows it.
func ReadInteger(block []byte, at int, bits uint) (value, next int, err error) {
	if at >= len(block) {
		return 0, at, ErrTruncated
	}
	limit := 1<<bits - 1
	value = int(block[at]) & limit
	at++
	if value < limit {
		return value, at, nil
	}
	for shift := 0; ; shift += 7 {
		if at >= len(block) {
			return 0, at, ErrTruncated
		}
		c := int(block[at])
		at++
		// Five octets say all that is needed. More are leading zeros or an overflow, and RFC 7541 §5.1 lets both be
		// refused.
		if shift > 28 {
			return 0, at, ErrInteger
		}
		value += c & 0x7f << shift
		if value > IntegerMax {
			return 0, at, ErrInteger
		}
		if c&0x80 == 0 {
			return value, at, nil
		}
	}
}

// AppendInteger appends value with a prefix of bits bits; high are the bits above it.
func AppendInteger(dst []byte, high byte, bits uint, value int) []byte {
	limit := 1<<bits - 1
	if value < limit {
		return append(dst, high|byte(value))
	}
	dst = append(dst, high|byte(limit))
	for value -= limit; value >= 0x80; value >>= 7 {
		dst = append(dst, byte(value)|0x80)
	}
	return append(dst, byte(value))
}

// integerLen is how many bytes AppendInteger appends.
func integerLen(value int, bits uint) int {
	n := 1
	if value -= 1<<bits - 1; value >= 0 {
		for n++; value >= 0x80; value >>= 7 {
			n++
		}
	}
	return n
}
