package lint

import "testing"

func TestCodec(t *testing.T) { clean(t, "codec") }

func TestCodec_fires(t *testing.T) {
	fires(t, "codec", files{
		"h1/a.go", "package h1\nimport \"net/http\"\nimport \"net/netip\"\nimport \"strings\"",
		"h2/hpack/a.go", "package hpack\nimport \"os\"",
		"h1/a_test.go", "package h1\nimport \"net/http\"",
		"engine/a.go", "package engine\nimport \"net\"",
	}, "h1/a.go:2 net/http", "h2/hpack/a.go:2 os")
}
