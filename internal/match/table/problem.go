package table

import (
	"errors"
	"fmt"
	"strings"
)

// problemsMax is how many problems of a source are reported. The rest of it is not read.
const problemsMax = 20

// errMemory is why a build ends when it would need more than a Budget has left.
var errMemory = errors.New("the memory for tables is used up")

// Problem is one thing that is wrong with a source.
type Problem struct {
	File   string // "": an inline entry
	Line   int    // from 1; 0: the file as a whole
	Column int    // from 1, in characters
	Index  int    // of the inline entry, from 0
	Text   string // what is wrong
	Hint   string // what may have been meant, or ""
}

// String is file:line:column, what is wrong, and the hint.
func (p Problem) String() string {
	var b strings.Builder
	switch {
	case p.File == "":
		fmt.Fprintf(&b, "entry %d: ", p.Index+1)
	case p.Line == 0:
		fmt.Fprintf(&b, "%s: ", p.File)
	default:
		fmt.Fprintf(&b, "%s:%d:%d: ", p.File, p.Line, p.Column)
	}
	b.WriteString(p.Text)
	if p.Hint != "" {
		b.WriteString("; " + p.Hint)
	}
	return b.String()
}

// Problems is the error of a source with wrong entries, in their order, 20 at most.
type Problems []Problem

// Error is one line for each problem.
func (p Problems) Error() string {
	lines := make([]string, 0, len(p)+1)
	for _, one := range p {
		lines = append(lines, one.String())
	}
	if len(p) == problemsMax {
		lines = append(lines, fmt.Sprintf("only %d errors are reported; what follows was not read", problemsMax))
	}
	return strings.Join(lines, "\n")
}
