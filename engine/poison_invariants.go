//go:build invariants

package engine

// poison makes whoever kept a slice of a Buf that was put back read nonsense.
func poison(p []byte) {
	for i := range p {
		p[i] = 0xDB
	}
}

// scramble does the same to the read scratch, once the callback that borrowed it has returned.
func scramble(p []byte) { poison(p) }
