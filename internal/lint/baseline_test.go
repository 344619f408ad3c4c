package lint

import (
	"fmt"
	"strings"
	"testing"
)

func TestLines(t *testing.T)      { clean(t, "lines") }
func TestOperations(t *testing.T) { clean(t, "operations") }
func TestFields(t *testing.T)     { clean(t, "fields") }
func TestGrain(t *testing.T)      { clean(t, "grain") }
func TestNameless(t *testing.T)   { clean(t, "nameless") }

func TestLines_fires(t *testing.T) {
	hundred := "package h1\n" + strings.Repeat("\n", 299)
	fires(t, "lines", files{
		"h1/a.go", hundred, "h1/b/c.go", hundred, "h1/a_test.go", hundred, "h2/a.go", hundred, "h3/a.go", hundred,
		"a.go", hundred, baselineFile, "# text\nlines . 300 as it is\nlines h1 599 too few\nlines h2 501 too many\n" +
			"lines h2 300 twice\nlines h1\n",
	}, "internal/lint/baseline.txt:3 h1=600", "internal/lint/baseline.txt:4 h2=300",
		"internal/lint/baseline.txt:5 h2=300", "internal/lint/baseline.txt:6 =0", "internal/lint/baseline.txt:1 h3=300")
}

// Methods and functions count alike, wherever they stand in the package, and once for all builds.
func TestOperations_fires(t *testing.T) {
	text := func(form string, from, to int) string {
		text := "package proxy\n"
		for i := from; i < to; i++ {
			text += fmt.Sprintf("func "+form+" {}\n", i)
		}
		return text
	}
	in := files{
		"proxy/a.go", "package proxy\ntype T struct{}\ntype U[K any] struct{}\ntype V struct{}\n",
		"proxy/b.go", text("(x *T) a%d()", 0, 40), "proxy/c.go", text("b%d(x *T, n int)", 0, 30),
		"proxy/d.go", text("(v V) c%d(x *T)", 0, 31), "proxy/b_linux.go", text("(x T) a%d()", 30, 40),
		"proxy/e.go", text("(*U[K]) d%d()", 0, 100), "proxy/f.go", text("e%d(n int, x *T)", 0, 10),
		"proxy/a_test.go", text("(x *T) f%d()", 0, 10), "h1/a.go", text("(x *proxy.T) g%d()", 0, 10),
	}
	fires(t, "operations", in, "internal/lint/baseline.txt:1 proxy/T=101")
	fires(t, "operations", append(in, baselineFile, "operations proxy/T 101 as it stands\n"))
	fires(t, "operations", append(in, baselineFile, "operations proxy/T 102 as it stood\noperations proxy/V 31 so\n"),
		"internal/lint/baseline.txt:1 proxy/T=101", "internal/lint/baseline.txt:2 proxy/V=31")
}

func TestFields_fires(t *testing.T) {
	fires(t, "fields", files{
		"h1/a.go", "package h1\ntype T struct {\n\tU\n\tV *V\n\t*V\n" + strings.Repeat("\ta, b int\n", 9) + "}\n",
		"h1/b.go", "package h1\ntype U struct {\n\tfmt.Stringer\n" + strings.Repeat("\ta int\n", 20) + "}\n",
		"h1/c.go", "package h1\ntype V struct {\n" + strings.Repeat("\ta int\n", 40) + "}\n",
	}, "internal/lint/baseline.txt:1 h1/T=41")
}

// Files that use each other, by functions, types, methods or fields, have at least one pair against the grain.
func TestGrain_fires(t *testing.T) {
	fires(t, "grain", files{
		"h1/a.go", "package h1\nfunc a() { b() }\n", "h1/b.go", "package h1\nfunc b() { c() }\n",
		"h1/c.go", "package h1\nfunc c() {}\ntype t struct{ a int }\n",
		"h2/a.go", "package h2\nfunc a() { b() }\n", "h2/b.go", "package h2\nfunc b() { var x t; x.m() }\n",
		"h2/c.go", "package h2\ntype t int\nfunc (t) m() { a() }\n",
		"h3/a.go", "package h3\nfunc f(x t) int { return x.n }\n",
		"h3/b.go", "package h3\ntype t struct{ n int }\nvar v = f\n", "h3/b_test.go", "package h3\nvar w = f\n",
		"h4/a.go", "package h4\nfunc f(g int) int { return g }\n", "h4/b.go", "package h4\nfunc g() { f(1) }\n",
		baselineFile, "grain h3 1 as it stands\n",
	}, "internal/lint/baseline.txt:1 h2=1")
}

func TestNameless_fires(t *testing.T) {
	fires(t, "nameless", files{
		"h1/a.go", "package h1\n\n// Those of others, that\n// of one that is late.\nvar a = `that of`\n",
		"h1/a_test.go", "package h1\n\n// that of\nvar b int\n",
		"h2/a.go", "package h2\n\nvar a int // what is above the limit is refused, what is below it: it is taken\n",
		"h3/a.go", "package h3\n\n// the address of the backend\nvar a int\n",
		baselineFile, "nameless h1 2 as it stands\n",
	}, "internal/lint/baseline.txt:1 h1=3", "internal/lint/baseline.txt:1 h2=1")
}
