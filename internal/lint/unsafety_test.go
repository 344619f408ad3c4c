package lint

import "testing"

func TestUnsafe(t *testing.T) { clean(t, "unsafe") }

func TestUnsafe_fires(t *testing.T) {
	fires(t, "unsafe", files{"h1/a.go", `package h1
import "unsafe"
const size = unsafe.Sizeof(0)
func bad(b []byte) string { return unsafe.String(&b[0], len(b)) }
func good(b []byte) string {
	// SAFETY: b is not written while the string lives.
	return unsafe.String(&b[0], len(b))
}
`}, "h1/a.go:4 bad")
}
