package schema

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/plugin/tags"
)

// Told returns the keys of t, an entry of s, that people are told of: those that the file gives, which given reports,
// and those whose Show holds. Each word of Show suffices: "always"; ".a" or "..a.b" where that key, beside it or in its
// section, has a value; ".a=b" where it has that one; "." or "..a." where the file gives a key of that table.
func (s *Section) Told(t Target, given func(*Key) bool) []*Key {
	holds := func(k *Key, when string) bool {
		path, want, _ := strings.Cut(when, "=")
		if name, inSection := strings.CutPrefix(path, ".."); inSection {
			path = name
		} else {
			path = levelOf(k.Path) + strings.TrimPrefix(path, ".")
		}
		return when == "always" || slices.ContainsFunc(s.Keys, func(o *Key) bool {
			if o.Path == path {
				v := reflect.ValueOf(o.Value(t))
				return want == "" && !v.IsZero() || want != "" && v.String() == want
			}
			return levelOf(path) == path && strings.HasPrefix(o.Path, path) && given(o)
		})
	}
	var keys []*Key
	for _, k := range s.Keys {
		if given(k) || slices.ContainsFunc(k.Show, func(when string) bool { return holds(k, when) }) {
			keys = append(keys, k)
		}
	}
	return keys
}

// Text returns a value of k as a file has it, without quotes; a list has blanks. It is for people: a secret is hidden.
func (k *Key) Text(v any) string {
	text, of := fmt.Sprint(v), reflect.ValueOf(v)
	_, isTime := v.(time.Duration)
	bytes, isSize := v.(int64)
	switch {
	case k.Secret:
		return tags.Hidden
	case of.Kind() == reflect.Slice:
		text = text[1 : len(text)-1]
	case of.CanInt() && len(k.Words) > 0 && (of.Int() < 0 || of.Int() == 0 && !isTime):
		text = k.Words[0]
	case isTime:
		text = strings.ReplaceAll(strings.ReplaceAll(text, "m0s", "m"), "h0m", "h")
	case isSize && k.Type.Name != Int.Name:
		text = tags.SizeText(bytes) + k.Type.Unit
	default:
		text += k.Type.Unit
	}
	return WithoutCredentials(text)
}

var link = syntax.Expr(`\[([^]]*)\]\([^)]*\)`)

// Gist returns the first sentence of the doc of k, without its period, and what 0 means where that is v.
func (k *Key) Gist(v any) string {
	text, rest, _ := strings.Cut(link().ReplaceAllString(strings.TrimSuffix(k.Doc, "."), "$1"), ". ")
	if _, zero, found := strings.Cut(rest, "0: "); found && reflect.ValueOf(v).IsZero() {
		zero, _, _ = strings.Cut(zero, ". ")
		text += ". 0: " + zero
	}
	return text
}
