package hpack

// lengths are those of the codes of RFC 7541 appendix B. The code is canonical: codes of one length follow each other
// in the order of their symbols. The last one is that of EOS.
var lengths = [257]uint8{
	13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
	28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
	6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
	5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
	13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
	7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
	15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
	6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
	20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
	24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
	22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
	21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
	26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
	19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
	20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
	26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
	30,
}

const eos = 256

// code is a code with its length in bits.
type code struct {
	bits   uint32
	length uint8
}

var codes, symbols = func() (codes [257]code, symbols map[code]int) {
	symbols = map[code]int{}
	next := uint32(0)
	for length := uint8(1); length <= 30; length++ {
		next <<= 1
		for symbol, l := range lengths {
			if l == length {
				codes[symbol] = code{next, length}
				symbols[codes[symbol]] = symbol
				next++
			}
		}
	}
	return codes, symbols
}()

// AppendHuffmanString appends the code of s.
func AppendHuffmanString(dst []byte, s string) []byte {
	var b, n = byte(0), 0
	push := func(bit uint32) {
		if b, n = b<<1|byte(bit), n+1; n == 8 {
			dst, b, n = append(dst, b), 0, 0
		}
	}
	for i := range len(s) {
		c := codes[s[i]]
		for at := int(c.length) - 1; at >= 0; at-- {
			push(c.bits >> at & 1)
		}
	}
	for n > 0 { // RFC 7541 §5.2: the beginning of EOS fills the last byte
		push(1)
	}
	return dst
}

// HuffmanDecodeToString returns the text of a code, and whether it is one.
func HuffmanDecodeToString(p []byte) (string, bool) {
	var text []byte
	var c code
	for _, b := range p {
		for at := 7; at >= 0; at-- {
			c = code{c.bits<<1 | uint32(b>>at&1), c.length + 1}
			symbol, whole := symbols[c]
			if whole && symbol == eos || c.length > 30 {
				return "", false
			}
			if whole {
				text, c = append(text, byte(symbol)), code{}
			}
		}
	}
	return string(text), c.length < 8 && c.bits == 1<<c.length-1
}
