package lint

import (
	"fmt"
	"strings"
	"testing"
)

func TestFuncLength(t *testing.T) { clean(t, "func-length") }
func TestFileLength(t *testing.T) { clean(t, "file-length") }
func TestLineLength(t *testing.T) { clean(t, "line-length") }
func TestFiles(t *testing.T)      { clean(t, "files") }
func TestMethods(t *testing.T)    { clean(t, "methods") }

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

func TestFiles_fires(t *testing.T) {
	var in files
	for i := range 27 {
		in = append(in, fmt.Sprintf("proxy/f%d.go", i), "package proxy\n",
			fmt.Sprintf("h2/f%d_test.go", i), "package h2\n")
		if i < 26 {
			in = append(in, fmt.Sprintf("h1/f%d.go", i), "package h1\n")
		}
	}
	fires(t, "files", in, "proxy:1 27")
}

func TestMethods_fires(t *testing.T) {
	methods := func(receiver string, from, to int) string {
		text := "package proxy\n"
		for i := from; i < to; i++ {
			text += fmt.Sprintf("func (%s) m%d() {}\n", receiver, i)
		}
		return text
	}
	fires(t, "methods", files{
		"proxy/a.go", methods("x *T", 0, 26), "proxy/b.go", methods("T", 26, 51),
		"proxy/c.go", methods("*U[K]", 0, 50), "proxy/d.go", methods("u *U[K]", 0, 50),
		"proxy/c_test.go", methods("U[K]", 50, 60), "h1/a.go", methods("*U", 0, 10),
	}, "proxy:1 T=51")
}
