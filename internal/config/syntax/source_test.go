package syntax_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/edge-proxy/edge/internal/config/syntax"
)

// Columns count characters wherever in a long line a place is.
func TestSpan_columns(t *testing.T) {
	first := strings.Repeat("aé€😀", 1000)
	text := "\xef\xbb\xbf" + first + "\n" + first
	s := syntax.NewSource("edge.toml", []byte(text), 0)
	for at := range first {
		for line, from := range []int{0, len(first) + 1} {
			want := syntax.Pos{File: "edge.toml", Line: line + 1, Column: utf8.RuneCountInString(first[:at]) + 1}
			if got := s.Span(from+at, from+at+1).Pos(); got != want {
				t.Fatalf("offset %d of line %d: %v, want %v", at, line+1, got, want)
			}
		}
	}
	if got := s.Span(len(s.Text), len(s.Text)).Pos().Column; got != utf8.RuneCountInString(first)+1 {
		t.Errorf("the end has column %d", got)
	}
}

// A list of so many backends in one line, each of which has a place.
func BenchmarkSpan_pos(b *testing.B) {
	for _, n := range []int{1000, 30000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			const one = `{ address = "10.0.0.1:80" }, `
			text := []byte(strings.Repeat(one, n))
			b.ReportAllocs()
			for b.Loop() {
				s := syntax.NewSource("edge.toml", text, 0)
				for i := range n {
					s.Span(i*len(one), (i+1)*len(one)).Pos()
				}
			}
		})
	}
}
