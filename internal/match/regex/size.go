package regex

import "regexp/syntax"

// instructions returns how many instructions a pattern has with its repetitions written out, most+1 if more than most.
// It follows the counts of nested repetitions and writes nothing out, so x{1000} within another costs nothing here.
func instructions(re *syntax.Regexp, most int) int {
	return min(most+1, 2+size(re, most)) // one to fail and one to match
}

// size counts one node of the tree.
func size(re *syntax.Regexp, most int) int {
	n := 0
	for _, sub := range re.Sub {
		if n += size(sub, most); n > most {
			return most + 1
		}
	}
	switch re.Op {
	case syntax.OpLiteral:
		n = len(re.Rune)
	case syntax.OpCapture, syntax.OpStar:
		n += 2
	case syntax.OpPlus, syntax.OpQuest:
		n++
	case syntax.OpAlternate:
		n += len(re.Sub) - 1
	case syntax.OpRepeat:
		n = repeated(n, re.Min, re.Max)
	}
	return min(most+1, max(1, n))
}

// repeated returns the instructions of x{low,high} for x of n, where high is -1 if there is no end.
func repeated(n, low, high int) int {
	switch {
	case high >= 0:
		return high*n + high - low // xx(x(x)?)?
	case low == 0:
		return n + 2
	}
	return low*n + 1
}
