package lint

import "testing"

func TestWalkers(t *testing.T) { clean(t, "walkers") }

func TestWalkers_fires(t *testing.T) {
	fires(t, "walkers", files{
		"engine/a.go", `package engine

// a is a list.
//
//	first == nil <=> last == nil
type a struct{}

// b is walked.
//
//	n <= max
type b struct{}

// c is walked with b: x => y says nothing here, it is not a line of its own.
type c struct{}

// d is a drawing.
//
//	a ─► b
type d struct{}

type (
	// e is walked in a test.
	//
	//	closed => empty
	e struct{}

	// f is not.
	//
	//	spare + used == all
	f struct{}
)

func (*b) check() {}
`,
		"engine/a_test.go", "package engine_test\n\n// checkAll walks all of an e.\nfunc checkAll() {}\n",
		"h1/a.go", "package h1\n\nfunc checkOther(f, a *int) {}\n",
	}, "engine/a.go:6 a", "engine/a.go:30 f")
}
