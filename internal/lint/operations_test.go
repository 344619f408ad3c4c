package lint

import (
	"fmt"
	"strings"
	"testing"
)

func TestOperations(t *testing.T) { clean(t, "operations") }
func TestFields(t *testing.T)     { clean(t, "fields") }

// Methods and functions count alike, wherever they stand in the package, and once for all builds.
func TestOperations_fires(t *testing.T) {
	text := func(form string, from, to int) string {
		text := "package proxy\n"
		for i := from; i < to; i++ {
			text += fmt.Sprintf("func "+form+" {}\n", i)
		}
		return text
	}
	fires(t, "operations", files{
		"proxy/a.go", "package proxy\ntype T struct{}\ntype U[K any] struct{}\ntype V struct{}\n",
		"proxy/b.go", text("(x *T) a%d()", 0, 40), "proxy/c.go", text("b%d(x *T, n int)", 0, 30),
		"proxy/d.go", text("(v V) c%d(x *T)", 0, 31), "proxy/b_linux.go", text("(x T) a%d()", 30, 40),
		"proxy/e.go", text("(*U[K]) d%d()", 0, 100), "proxy/f.go", text("e%d(n int, x *T)", 0, 10),
		"proxy/a_test.go", text("(x *T) f%d()", 0, 10), "h1/a.go", text("(x *proxy.T) g%d()", 0, 10),
	}, "proxy/a.go:2 T")
}

func TestFields_fires(t *testing.T) {
	fires(t, "fields", files{
		"h1/a.go", "package h1\ntype T struct {\n\tU\n\tV *V\n\t*V\n" + strings.Repeat("\ta, b int\n", 9) + "}\n",
		"h1/b.go", "package h1\ntype U struct {\n\tfmt.Stringer\n" + strings.Repeat("\ta int\n", 20) + "}\n",
		"h1/c.go", "package h1\ntype V struct {\n" + strings.Repeat("\ta int\n", 40) + "}\n",
	}, "h1/a.go:2 T")
}
