package lint

import (
	"slices"
	"testing"
)

func TestWord(t *testing.T)     { clean(t, "word") }
func TestNote(t *testing.T)     { clean(t, "note") }
func TestNameless(t *testing.T) { clean(t, "nameless") }
func TestPhrase(t *testing.T)   { clean(t, "phrase") }

func TestWord_fires(t *testing.T) {
	fires(t, "word", files{
		"proxy/common/a.go", "package common\n",
		"proxy/string_utils.go", "package proxy\n",
		"proxy/info.go", "package proxy\n",
		"proxy/a.go", `package proxy
type connManager struct{ miscCount int }
func (v *verdict) Helper() {}
func f(helper int) (utilization int) {
	for commonKey := range 3 {
		HTTPUtil := commonKey
		t.Helper()
	}
	sendData(helper)
}
`}, "proxy/common/a.go:1 common", "proxy/common/a.go:1 common", "proxy/string_utils.go:1 string_utils",
		"proxy/info.go:1 info", "proxy/a.go:2 connManager", "proxy/a.go:2 miscCount", "proxy/a.go:4 helper",
		"proxy/a.go:5 commonKey", "proxy/a.go:6 HTTPUtil")
}

func TestSplitName(t *testing.T) {
	for name, want := range map[string][]string{
		"pool": {"pool"}, "connPool": {"conn", "pool"}, "HTTPServer": {"http", "server"},
		"raw_linux": {"raw", "linux"}, "serveURL": {"serve", "url"}, "edge-bench": {"edge", "bench"},
	} {
		if got := splitName(name); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestNote_fires(t *testing.T) {
	const left, broken = "TO" + "DO", "FIX" + "ME"
	fires(t, "note", files{
		"proxy/a.go", "package proxy\n// " + left + ": more\nvar s = \"" + left + "\"\n",
		"Makefile", "all: # " + broken + "\n",
		"CONTRIBUTING.md", "No " + left + " in a comment.\n",
	}, "proxy/a.go:2 "+left, "Makefile:1 "+broken)
}

func TestNameless_fires(t *testing.T) {
	fires(t, "nameless", files{
		"h1/a.go", "package h1\n\n// Those of others, that\n// of one that is late.\nvar a = `that of`\n",
		"h1/a_test.go", "package h1\n\n// that of\nvar b int\n",
		"h2/a.go", "package h2\n\nvar a int // what is above the limit is refused, what is below it: it is taken\n",
		"h3/a.go", "package h3\n\n// the address of the backend\nvar a int\n",
	}, "h1/a.go:3 ", "h1/a.go:3 ", "h1/a.go:3 ", "h2/a.go:3 ")
}

func TestPhrase_fires(t *testing.T) {
	const place, actor, anyone = "beh" + "ind", "wh" + "o", "who" + "ever"
	fires(t, "phrase", files{
		"proxy/a.go", "package proxy\n\n// It waits " + place + " the\n// head. An origin " + place + " a\n" +
			"// proxy is " + place + ".\n\ntype T struct {\n\ta int // " + actor + " asked\n" +
			"\tb int // the client " + actor + " asked\n}\n\n/* For\n" + anyone + " asks, it is" + " said. */\n" +
			"var s = \"" + place + "\"\n",
		"docs/a.md", "# " + actor + " reads\n\n" + actor + " `" + anyone + "`\n```\n" + anyone + "\n```\n" +
			"What is read is" + " what came,\n" + actor + " knows, [" + place + "](" + place + ".md).\n",
	}, "proxy/a.go:3 "+place, "proxy/a.go:8 "+actor, "proxy/a.go:13 "+anyone, "proxy/a.go:13 it is"+" said",
		"docs/a.md:8 "+place, "docs/a.md:3 "+actor, "docs/a.md:8 "+actor, "docs/a.md:7 what is read is"+" what")
}
