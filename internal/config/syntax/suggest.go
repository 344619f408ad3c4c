package syntax

import (
	"fmt"
	"strconv"
	"strings"
)

const (
	quotedMax = 60   // characters of the user's text that a message repeats
	pathMax   = 4096 // bytes of a path; the kernel takes no longer one
)

// Quote returns s in double quotes, escaped and not too long.
func Quote(s string) string {
	if r := []rune(s); len(r) > quotedMax {
		s = string(r[:quotedMax]) + "…"
	}
	return strconv.Quote(s)
}

// QuotePath returns a path in double quotes. It is not cut, since its end is what tells it from others.
func QuotePath(s string) string {
	if len(s) > pathMax {
		return Quote(s)
	}
	return strconv.Quote(s)
}

// Nearest returns the candidate that s is most likely a misspelling of, or "". A candidate also counts by what follows
// its first underscore, at a price, so that "certifcate" finds "ssl_certificate".
func Nearest(s string, candidates []string) string {
	if len(s) > quotedMax {
		return ""
	}
	s = strings.ToLower(s)
	best, bestScore := "", 2*max(1, min(3, len(s)/3))+1 // an edit for each three letters
	for _, c := range candidates {
		score := 2 * Distance(s, strings.ToLower(c))
		if _, tail, found := strings.Cut(c, "_"); found && len(tail) > 2 {
			score = min(score, 2*Distance(s, tail)+1)
		}
		if score < bestScore {
			best, bestScore = c, score
		}
	}
	return best
}

// Distance counts the insertions, deletions, substitutions and swaps of neighbours between a and b.
func Distance(a, b string) int {
	if longer := len(a) - len(b); longer > 4 || longer < -4 {
		return max(longer, -longer)
	}
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row := rows[(i+2)%3], rows[i%3], rows[(i+1)%3]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return rows[(len(a)+1)%3][len(b)]
}

// DidYouMean returns the hint for a misspelled word, or "".
func DidYouMean(s string, candidates []string) string {
	if near := Nearest(s, candidates); near != "" {
		return fmt.Sprintf("did you mean %s?", Quote(near))
	}
	return ""
}

// Alternatives joins quoted words as a sentence does: "a", "b" or "c".
func Alternatives(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = Quote(w)
	}
	return OneOf(quoted)
}

// OneOf joins words as a sentence does: a, b or c.
func OneOf(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// TruthHint returns the hint for a word that other formats take for true or false, or "".
func TruthHint(word string) string {
	switch strings.ToLower(word) {
	case "true", "yes", "on", "1":
		return "write true"
	case "false", "no", "off", "0":
		return "write false"
	}
	return ""
}

// Plural returns a number with its noun: "1 route", "2 routes".
func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
