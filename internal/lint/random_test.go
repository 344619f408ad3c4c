package lint

import "testing"

func TestRandom(t *testing.T) { clean(t, "random") }

func TestRandom_fires(t *testing.T) {
	const generator = `
type own uint64
func (x *own) next() uint64 {
	*x ^= *x << 13
	*x ^= *x >> 7
	*x ^= *x << 17
	return uint64(*x)
}
func fold(h uint64) uint64 { h ^= h >> 33; return h }
`
	fires(t, "random", files{
		"quic/a.go", "package quic\n" + generator,
		"h1/a.go", "package h1\nimport \"math/rand/v2\"\nvar n = rand.Uint64()\n",
		"h2/a.go", "package h2\nimport old \"math/rand\"\nvar n = old.Int()\n",
		"pool/a.go", "package pool\nimport \"crypto/rand\"\nvar b, _ = rand.Read(nil)\n",
		"h1/a_test.go", "package h1\nimport \"math/rand/v2\"\nvar m = rand.Uint64()\n",
		"bench/a.go", "package bench\nimport \"math/rand/v2\"\nvar n = rand.Uint64()\n",
	}, "quic/a.go:5 (*own).next", "quic/a.go:7 (*own).next", "h1/a.go:2 ", "h2/a.go:2 ")
}
