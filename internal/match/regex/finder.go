package regex

import (
	"bytes"
	"math/bits"
	"slices"
)

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
	letters := slices.ContainsFunc(words, func(w []byte) bool {
		return !bytes.Equal(bytes.ToLower(w), bytes.ToUpper(w))
	})
	f := finder{words: words, fold: fold && letters, step: 2, pairs: new([2][256]uint32)}
	if len(words) == 1 && !f.fold {
		return finder{single: words[0]}
	}
	if slices.ContainsFunc(words, func(w []byte) bool { return len(w) < 3 }) {
		f.step = 1
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

func (f *finder) in(b []byte) bool {
	if f.pairs == nil {
		return bytes.Contains(b, f.single)
	}
	first, second := &f.pairs[0], &f.pairs[1]
	for i := 0; i+1 < len(b); i += f.step {
		if m := first[b[i]] & second[b[i+1]]; m != 0 && f.at(b, i, m) {
			return true
		}
	}
	// A word of one byte may be the last one.
	last := len(b) - 1
	return f.step == 1 && last >= 0 && first[b[last]] != 0 && f.at(b, last, first[b[last]])
}

// at reports whether one of the words whose bits mask has is at the pair i of b.
func (f *finder) at(b []byte, i int, mask uint32) bool {
	for ; mask != 0; mask &= mask - 1 {
		n, from := bits.TrailingZeros32(mask), i
		if n >= wordsMax {
			n, from = n-wordsMax, i-1
		}
		if from >= 0 && f.has(b[from:], f.words[n]) {
			return true
		}
	}
	return false
}

func (f *finder) has(b, w []byte) bool {
	if len(b) < len(w) {
		return false
	}
	if f.fold {
		return equalFold(b[:len(w)], w)
	}
	return string(b[:len(w)]) == string(w)
}
