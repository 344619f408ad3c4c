package lint

import (
	"strings"
	"testing"
)

func TestDoc(t *testing.T)        { clean(t, "doc") }
func TestPackageDoc(t *testing.T) { clean(t, "package-doc") }

func TestDoc_fires(t *testing.T) {
	fires(t, "doc", files{
		"proxy/a.go", `package proxy
func Bare() {}
// Told says so.
func Told() {}
type Type struct{}
func (t *Type) Bare() {}
func (t *hidden) Bare() {}
const Limit = 1
// Codes of a reset.
const (
	CodeA = iota
	CodeB
)
const (
	SizeA = 1 // beside it
	SizeB = 2
)
// Face is one.
type Face interface {
	Bare()
	Told() // beside it
}
`, "cmd/edge/a.go", "package main\nfunc Bare() {}\n",
	}, "proxy/a.go:2 Bare", "proxy/a.go:5 Type", "proxy/a.go:6 (*Type).Bare", "proxy/a.go:8 Limit",
		"proxy/a.go:16 SizeB", "proxy/a.go:20 Face.Bare")
}

func TestPackageDoc_fires(t *testing.T) {
	doc := strings.Repeat("// Package x.\n", 15)
	fires(t, "package-doc", files{
		"backend/balance/doc.go", doc + "package balance\n",
		"cache/a.go", doc + "package cache\n",
		"h1/a.go", "package h1\n",
		"h2/doc.go", strings.Repeat("// Package x.\n", 61) + "package h2\n",
		"internal/sim/sim.go", "// Package sim is short.\npackage sim\n",
	}, "cache/a.go:1 cache", "h1/a.go:1 h1", "h2/doc.go:1 h2")
}
