package lint

import "testing"

func TestGo(t *testing.T) { clean(t, "go") }

func TestGo_fires(t *testing.T) {
	fires(t, "go", files{
		"engine/a.go", "package engine\nfunc (e *Engine[T]) Start() { go e.run() }\nfunc f() {}\n",
		"engine/a_test.go", "package engine\nfunc f() { go f() }\n",
		"bench/floor/a.go", "package floor\nfunc f() { go f() }\n",
	}, "engine/a.go:2 (*Engine).Start")
}
