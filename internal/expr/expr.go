// Package expr has regular expressions that are compiled when they are first used. To compile one takes some ten
// microseconds and kilobytes, and brings the pages of the compiler into memory: a process that needs none of a
// package's expressions is not to pay for them at its start.
//
//	var word = expr.Text(`^[a-z]+$`)
//
//	word.Regexp().MatchString(s)
//
// Safe for any goroutine.
package expr

import (
	"regexp"
	"sync"
)

// Text is a regular expression as package regexp reads it.
type Text string

var compiled sync.Map // *regexp.Regexp by Text

// Regexp returns t compiled, the same each time. It panics where t is none.
func (t Text) Regexp() *regexp.Regexp {
	if re, ok := compiled.Load(t); ok {
		return re.(*regexp.Regexp)
	}
	re, _ := compiled.LoadOrStore(t, regexp.MustCompile(string(t)))
	return re.(*regexp.Regexp)
}
