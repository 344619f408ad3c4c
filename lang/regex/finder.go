package regex

import "bytes"

// finder looks for words anywhere in a text. Immutable.
//
// One word in one case is what package bytes looks for. Others are looked for by pairs of bytes, with a bit for each
// word: a pair of the text can belong to the words whose bits both of its bytes have. If each word has three bytes or
// more, every other pair will do, since a word covers one of two neighbours: the low 16 bits stand for words that begin
// at the pair, the high ones for words that begin one byte before it.
//
//	text   x x b o t x      pairs at 0, 2, 4: (b o) has the low bit of bot
//	text   x b o t x x      (o t) has its high bit
//
//	every word has at least one byte
//	step == 2 => every word has at least three
type finder struct {
	single []byte
	words  [][]byte
	fold   bool
	step   int
	pairs  *[2][256]uint32
}

// newFinder returns a finder of words, which are lower case if fold. None may be empty.
func newFinder(words [][]byte, fold bool) finder {
	letters := false
	for _, w := range words {
		letters = letters || !bytes.Equal(bytes.ToLower(w), bytes.ToUpper(w))
	}
	f := finder{words: words, fold: fold && letters, step: 2, pairs: new([2][256]uint32)}
	if len(words) == 1 && !f.fold {
		return finder{single: words[0]}
	}
	for _, w := range words {
		if len(w) < 3 {
			f.step = 1
		}
	}
	for i, w := range words {
		if len(w) == 0 {
			continue
		}
		f.mark(0, w[0], 1<<i)
		if len(w) == 1 {
			for c := range 256 {
				f.pairs[1][c] |= 1 << i
			}
			continue
		}
		f.mark(1, w[1], 1<<i)
		if f.step == 2 {
			f.mark(0, w[1], 1<<(i+wordsMax))
			f.mark(1, w[2], 1<<(i+wordsMax))
		}
	}
	return f
}

// mark says that a byte is at a place of the pairs that bit stands for.
func (f *finder) mark(at int, c byte, bit uint32) {
	f.pairs[at][c] |= bit
	if f.fold && isLetter(rune(c)) {
		f.pairs[at][c^0x20] |= bit
	}
}

// in reports whether b contains one of the words.
func (f *finder) in(b []byte) bool {
	if f.pairs == nil {
		return bytes.Contains(b, f.single)
	}
	first, second := &f.pairs[0], &f.pairs[1]
	if f.step == 2 {
		i := 0
		for ; i+3 < len(b); i += 4 {
			if m := first[b[i]] & second[b[i+1]]; m != 0 && f.at(b, i, m) {
				return true
			}
			if m := first[b[i+2]] & second[b[i+3]]; m != 0 && f.at(b, i+2, m) {
				return true
			}
		}
		for ; i+1 < len(b); i += 2 {
			if m := first[b[i]] & second[b[i+1]]; m != 0 && f.at(b, i, m) {
				return true
			}
		}
		return false
	}
	for i := 0; i+1 < len(b); i++ {
		if m := first[b[i]] & second[b[i+1]]; m != 0 && f.at(b, i, m) {
			return true
		}
	}
	last := len(b) - 1
	return last >= 0 && first[b[last]] != 0 && f.at(b, last, first[b[last]])
}

// at reports whether one of the words that mask names is at the pair i of b.
func (f *finder) at(b []byte, i int, mask uint32) bool {
	for n, w := range f.words {
		if mask&(1<<n) != 0 && f.has(b, i, w) || mask&(1<<(n+wordsMax)) != 0 && i > 0 && f.has(b, i-1, w) {
			return true
		}
	}
	return false
}

// has reports whether w is at b[i:].
func (f *finder) has(b []byte, i int, w []byte) bool {
	if len(b)-i < len(w) {
		return false
	}
	part := b[i : i+len(w)]
	return f.fold && equalFold(part, w) || !f.fold && string(part) == string(w)
}
