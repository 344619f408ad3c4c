package lint

import (
	"strings"
	"testing"
)

func TestFuncLength(t *testing.T) { clean(t, "func-length") }
func TestFileLength(t *testing.T) { clean(t, "file-length") }
func TestLineLength(t *testing.T) { clean(t, "line-length") }

func TestFuncLength_fires(t *testing.T) {
	body := func(lines int) string { return "() {\n" + strings.Repeat("\tprintln()\n", lines-2) + "}\n" }
	table := "() {\n\t_ = []int{\n" + strings.Repeat("\t\t1,\n", 80) + "\t}\n}\n"
	fires(t, "func-length", files{
		"proxy/a.go", "package proxy\nfunc long" + body(71) + "func fits" + body(70) + "func (x *T) table" + table,
		"proxy/a_test.go", "package proxy\nfunc long" + body(71) + "func table" + table,
	}, "proxy/a.go:2 long", "proxy/a.go:143 (*T).table", "proxy/a_test.go:2 long")
}

func TestFileLength_fires(t *testing.T) {
	text := "package proxy\n" + strings.Repeat("\n", 600)
	fires(t, "file-length", files{
		"proxy/a.go", text, "proxy/a_test.go", text, "proxy/b.go", text[:len(text)-1],
	}, "proxy/a.go:601 ")
}

func TestLineLength_fires(t *testing.T) {
	fires(t, "line-length", files{
		"proxy/a.go", "package proxy\n//" + strings.Repeat("é", 118) + "\n//" + strings.Repeat("e", 119) + "\n",
		"proxy/b.go", "package proxy\nfunc f() {\n\t\t//" + strings.Repeat("e", 111) + "\n}\n",
	}, "proxy/a.go:3 ", "proxy/b.go:3 ")
}
