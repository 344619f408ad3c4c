//go:build invariants

package engine

// poison overwrites a Buf that was put back: code that kept a slice of it reads nonsense.
func poison(p []byte) {
	for i := range p {
		p[i] = 0xDB
	}
}

// scramble does the same to the read scratch, once the callback that borrowed it has returned.
func scramble(p []byte) { poison(p) }
