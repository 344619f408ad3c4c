package regex

import "regexp/syntax"

// Words that are worth looking for.
const (
	requiredMin  = 2 // bytes
	shortWordMax = 4 // so many words may be of requiredMin bytes, more are in too many texts
)

// required returns words of which each match of re contains one: the set that is rarest, going by its lengths. It
// returns nil if there is none.
func required(re *syntax.Regexp) []word {
	switch re.Op {
	case syntax.OpCapture, syntax.OpPlus:
		return required(re.Sub[0])
	case syntax.OpAlternate:
		var all []word
		for _, sub := range re.Sub {
			words := required(sub)
			if all = append(all, words...); words == nil || len(all) > wordsMax {
				return nil
			}
		}
		return all
	case syntax.OpConcat:
		return requiredInSequence(flatten(re, nil))
	}
	if words, ok := expand(re); ok {
		return rarer(nil, words)
	}
	return nil
}

// requiredInSequence joins neighbours that are words as long as that makes rarer ones.
func requiredInSequence(items []*syntax.Regexp) []word {
	var best []word
	run := []word{{}}
	var before *syntax.Regexp
	var words []word
	ok := false
	for _, item := range items {
		switch item.Op {
		case syntax.OpBeginText, syntax.OpEndText, syntax.OpBeginLine, syntax.OpEndLine,
			syntax.OpWordBoundary, syntax.OpNoWordBoundary:
			continue // has no length
		}
		if item != before { // repetitions are one item many times
			words, ok = expand(item)
			before = item
		} else if !ok {
			continue
		}
		if !ok {
			best, run = rarer(best, required(item)), []word{{}}
			continue
		}
		if longer, ok := product(run, words); ok {
			run = longer
		} else {
			run = words
		}
		best = rarer(best, run)
	}
	return best
}

// rarer returns the one of two sets which is found in fewer texts, or at less cost. One with a word that is too short,
// or that names an end of the text, is none.
func rarer(a, b []word) []word {
	if score(b) > score(a) {
		return b
	}
	return a
}

// score is higher for a set of words that is rarer. 0 is for a set that is none.
func score(words []word) int {
	if len(words) == 0 {
		return 0
	}
	const lengthMax, singleBonus = 8, 12
	shortest, fold := lengthMax, false
	for _, w := range words {
		shortest = min(shortest, len(w))
		for _, c := range w {
			fold = fold || c.fold
			if c.r < 0 {
				return 0
			}
		}
	}
	if shortest < requiredMin || shortest == requiredMin && len(words) > shortWordMax {
		return 0
	}
	points := 4*shortest + wordsMax - len(words)
	if len(words) == 1 && !fold {
		points += singleBonus
	}
	return points
}

// requiredLiteral makes a set of required words a set that can be looked for. Where cases are mixed all letters are
// taken in any case: that finds more texts, and never fewer.
func requiredLiteral(words []word) *literal {
	_, fold, ok := sameCase(words)
	if mixed := !ok || !fold && anyFold(words); mixed {
		for _, w := range words {
			for i, c := range w {
				if isLetter(c.r) && !c.fold {
					w[i].r |= 0x20
				}
			}
		}
		fold = true
	}
	if !findable(words, fold) { // a text that has a word has its begin
		for i, w := range words {
			words[i] = w[:min(len(w), findRunesMax/wordsMax)]
		}
	}
	return newLiteral(contains, words, fold)
}

func anyFold(words []word) bool {
	for _, w := range words {
		for _, c := range w {
			if c.fold {
				return true
			}
		}
	}
	return false
}
