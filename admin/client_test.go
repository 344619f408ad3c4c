package admin

import (
	"strings"
	"testing"
)

// A token does not leave the machine in clear.
func TestNewClient_scheme(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1:9":      "http://127.0.0.1:9",
		"[::1]:9":          "http://[::1]:9",
		"localhost:9":      "http://localhost:9",
		":9":               "http://localhost:9",
		"0.0.0.0:9":        "http://localhost:9",
		"10.0.0.1:9":       "https://10.0.0.1:9",
		"edge.test:9":      "https://edge.test:9",
		"http://10.0.0.1":  "http://10.0.0.1", // the user says so
		"unix:/run/a.sock": "http://edge",
	} {
		c, err := NewClient(Target{Address: address, Token: strings.Repeat("t", 32)})
		if err != nil || c.base != want {
			t.Errorf("%s: %v, want %s: %+v", address, err, want, c)
		}
	}
}
