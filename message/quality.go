package message

// Quality returns the weight among the parameters of an element of Accept, Accept-Encoding and the like, in
// thousandths: RFC 9110 §12.4.2. A weight that is not there, or cannot be read, is 1.
func Quality(parameters []byte) int {
	for len(parameters) > 0 {
		var p []byte
		p, parameters = SplitParameters(parameters)
		if len(p) < 3 || p[0]|0x20 != 'q' || p[1] != '=' {
			continue
		}
		if p[2] != '0' {
			return 1000
		}
		q, unit := 0, 100
		for _, c := range p[min(4, len(p)):] {
			if c < '0' || c > '9' {
				return 1000
			}
			q, unit = q+unit*int(c-'0'), unit/10
		}
		return q
	}
	return 1000
}
