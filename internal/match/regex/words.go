package regex

import (
	"regexp/syntax"
	"unicode"
	"unicode/utf8"
)

const (
	wordsMax     = 16   // in a set of words; the masks of finder have one bit for each
	wordRunesMax = 1000 // in a word
	findRunesMax = 512  // in all words that are looked for, unless that is one in one case: each byte may begin all
)

// char is one rune of a word. fold says that its other case will do, and the rune is lower case then.
type char struct {
	r    rune
	fold bool
}

// Not runes: the text begins or ends here.
const (
	textBegin rune = -1
	textEnd   rune = -2
)

// Runes beside ASCII letters that are the same letter in another case.
const (
	kelvin = '\u212a' // of k
	longS  = '\u017f' // of s
)

// word is what an alternative of a pattern consists of.
type word []char

// expand returns the words that re stands for. ok is false if they are more than wordsMax or not only words.
func expand(re *syntax.Regexp) (words []word, ok bool) {
	switch re.Op {
	case syntax.OpEmptyMatch:
		return []word{{}}, true
	case syntax.OpBeginText:
		return []word{{{r: textBegin}}}, true
	case syntax.OpEndText:
		return []word{{{r: textEnd}}}, true
	case syntax.OpLiteral:
		return expandLiteral(re)
	case syntax.OpCharClass:
		return expandClass(re.Rune)
	case syntax.OpCapture:
		return expand(re.Sub[0])
	case syntax.OpQuest:
		words, ok = expand(re.Sub[0])
		return append(words, word{}), ok && len(words) < wordsMax
	case syntax.OpAlternate:
		for _, sub := range re.Sub {
			more, ok := expand(sub)
			if words = append(words, more...); !ok || len(words) > wordsMax {
				return nil, false
			}
		}
		return words, true
	case syntax.OpConcat:
		words = []word{{}}
		for _, sub := range re.Sub {
			more, ok := expand(sub)
			if !ok {
				return nil, false
			}
			if words, ok = product(words, more); !ok {
				return nil, false
			}
		}
		return words, true
	}
	return nil, false
}

// expandLiteral returns a literal as a word, unless one of its runes has cases outside of ASCII or matches other bytes
// than its own, as U+FFFD does.
func expandLiteral(re *syntax.Regexp) ([]word, bool) {
	if len(re.Rune) > wordRunesMax {
		return nil, false
	}
	w := make(word, 0, len(re.Rune))
	for _, r := range re.Rune {
		c := char{r: r}
		switch {
		case r == utf8.RuneError || !utf8.ValidRune(r):
			return nil, false
		case re.Flags&syntax.FoldCase == 0 || unicode.SimpleFold(r) == r:
		case isLetter(r):
			c = char{r: r | 0x20, fold: true}
		default:
			return nil, false
		}
		w = append(w, c)
	}
	return []word{w}, true
}

// expandClass returns a small class as words of one rune.
func expandClass(ranges []rune) (words []word, ok bool) {
	inst := syntax.Inst{Op: syntax.InstRune, Rune: ranges}
	anyCase := func(r rune) bool {
		has := func(r rune) bool { return len(ranges) > 1 && inst.MatchRune(r) }
		lower := r | 0x20
		return has(lower) && has(lower&^0x20) && (lower != 'k' || has(kelvin)) && (lower != 's' || has(longS))
	}
	for i := 0; i+1 < len(ranges); i += 2 {
		if ranges[i+1]-ranges[i] > 4*wordsMax {
			return nil, false
		}
		for r := ranges[i]; r <= ranges[i+1]; r++ {
			switch {
			case r == utf8.RuneError || !utf8.ValidRune(r):
				return nil, false
			case isLetter(r) && anyCase(r):
				if r&0x20 != 0 {
					words = append(words, word{{r: r, fold: true}})
				}
			case r == kelvin && anyCase('k'), r == longS && anyCase('s'):
			default:
				words = append(words, word{{r: r}})
			}
		}
		if len(words) > wordsMax {
			return nil, false
		}
	}
	return words, len(words) > 0
}

// product returns each of a with each of b after it.
func product(a, b []word) ([]word, bool) {
	if len(a)*len(b) > wordsMax {
		return nil, false
	}
	words := make([]word, 0, len(a)*len(b))
	for _, first := range a {
		for _, second := range b {
			if len(first)+len(second) > wordRunesMax {
				return nil, false
			}
			w := append(make(word, 0, len(first)+len(second)), first...)
			words = append(words, append(w, second...))
		}
	}
	return words, true
}

// sameCase returns words in which either all letters are of any case or none, with the latter unless fold. ok is false
// if there would be more than wordsMax of them.
func sameCase(words []word) (same []word, fold, ok bool) {
	exact := false
	for _, w := range words {
		for _, c := range w {
			fold = fold || c.fold
			exact = exact || !c.fold && isLetter(c.r)
		}
	}
	if !fold || !exact {
		return words, fold, true
	}
	for _, w := range words {
		cases := []word{{}}
		for _, c := range w {
			if cases, ok = product(cases, c.cases()); !ok {
				return nil, false, false
			}
		}
		if same = append(same, cases...); len(same) > wordsMax {
			return nil, false, false
		}
	}
	return same, false, true
}

// cases returns the runes that c stands for as words.
func (c char) cases() []word {
	if !c.fold {
		return []word{{c}}
	}
	words := []word{{{r: c.r}}}
	for r := unicode.SimpleFold(c.r); r != c.r; r = unicode.SimpleFold(r) {
		words = append(words, word{{r: r}})
	}
	return words
}

func (w word) bytes() []byte {
	var b []byte
	for _, c := range w {
		b = utf8.AppendRune(b, c.r)
	}
	return b
}

// hasOtherCase reports whether a letter of any case is in one of the words that has a case outside of ASCII too.
func hasOtherCase(words []word) bool {
	for _, w := range words {
		for _, c := range w {
			if c.fold && (c.r == 'k' || c.r == 's') {
				return true
			}
		}
	}
	return false
}

func isLetter(r rune) bool { return 'a' <= r|0x20 && r|0x20 <= 'z' && r < utf8.RuneSelf }
