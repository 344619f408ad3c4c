package lint

import "testing"

func TestArrows(t *testing.T) { clean(t, "arrows") }

func TestArrows_fires(t *testing.T) {
	const own = "import \"" + module + "/"
	for name, c := range map[string]struct {
		in   files
		want []string
	}{
		"up":       {files{"h1/a.go", "package h1\n" + own + `engine"`}, []string{"h1/a.go:2 engine"}},
		"up, test": {files{"h1/a_test.go", "package h1\n" + own + `engine"`}, []string{"h1/a_test.go:2 engine"}},
		"sideways": {files{"pool/a.go", "package pool\n" + own + `limits"`}, []string{"pool/a.go:2 limits"}},
		"down":     {files{"proxy/a.go", "package proxy\n" + own + `session"`}, nil},
		"within":   {files{"bench/a.go", "package bench\n" + own + `bench/floor"`}, nil},
		"hpack":    {files{"h2/a.go", "package h2\n" + own + `h2/hpack"`}, nil},
		"hpack up": {files{"h2/hpack/a.go", "package hpack\n" + own + `h2"`}, []string{"h2/hpack/a.go:2 h2"}},
		"closed":   {files{"engine/a.go", "package engine\n" + own + `h1"`}, []string{"engine/a.go:2 h1"}},
		"net/http": {files{"engine/a.go", "package engine\nimport \"net/http\""}, []string{"engine/a.go:2 net/http"}},
		"shipped":  {files{"h1/a.go", "package h1\n" + own + `internal/sim"`}, []string{"h1/a.go:2 internal/sim"}},
		"tested":   {files{"engine/a_test.go", "package engine\n" + own + `internal/sim"`}, nil},
		"baseline": {files{"cmd/edge/a.go", "package main\n" + own + `bench"`}, []string{"cmd/edge/a.go:2 bench"}},
		"alone": {files{"config/syntax/a.go", "package syntax\n" + own + `message"`},
			[]string{"config/syntax/a.go:2 message"}},
		"no floor": {files{"attic/a.go", "package attic"}, []string{"attic/a.go:1 attic"}},
	} {
		t.Run(name, func(t *testing.T) { fires(t, "arrows", c.in, c.want...) })
	}
}
