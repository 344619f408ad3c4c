package process

import "testing"

// BoringCrypto and the FIPS 140-3 mode of Go in one process make the runtime panic: it must not come to that.
func TestExcludedFromFIPS(t *testing.T) {
	for provider, want := range map[string]error{
		"boringcrypto go1.26.8-X:boringcrypto": errBoringFIPS,
		"crypto/tls go1.26.8":                  nil,
		"crypto/tls go1.26.8 fips140":          nil,
	} {
		if err := excludedFromFIPS(provider); err != want {
			t.Errorf("%s: %v", provider, err)
		}
	}
}
