package config_test

import (
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
)

// A name for a handshake is a host: what "keep" and ports would mean there, no backend has a certificate for.
func TestParse_serverName(t *testing.T) {
	for sni, want := range map[string]string{
		"api.internal": "api.internal", "backend": "", "keep": "error", "api.internal:443": "error",
		"*.internal": "error",
	} {
		cfg, report := config.Parse("edge.toml", []byte(strings.ReplaceAll(`
[upstreams.default]
backends = [{ address = "127.0.0.1:1" }]
tls = { sni = "NAME" }
`, "NAME", sni)))
		if !report.OK() {
			if want != "error" {
				t.Errorf("%q: %v", sni, report.Errors)
			}
			continue
		}
		if got := cfg.Upstreams[0].TLS; got.SNI != want || !got.On {
			t.Errorf("%q: %+v", sni, got)
		}
	}
}
