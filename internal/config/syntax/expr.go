package syntax

import (
	"regexp"
	"sync"
)

// Expr returns a regular expression of package regexp, which is compiled when it is first used: most expressions are
// for mistakes alone, and each takes some ten microseconds and kilobytes. Safe for any goroutine.
//
//go:noinline
func Expr(text string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })
}
