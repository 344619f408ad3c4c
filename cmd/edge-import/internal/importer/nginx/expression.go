package nginx

import (
	"regexp"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// comparedPath is the path as nginx compares it: decoded, and its slashes merged.
const comparedPath = `re_replace(url_decode(path), "/+", "/")`

// inClass matches what classes of characters have in them.
const inClass = `[0-9]-[0-9]|[a-z]-[a-z]|[A-Z]-[A-Z]|[A-Za-z0-9_.~]|\\[.d]`

// piece matches a piece of a regular expression that means the same in both languages: ^, $, a parenthesis, |, one of
// any length, one character, and how often.
var piece = plan.Expr(`^(?:(\^)|(\$)|(\((?:\?:)?)|(\))|(\|)|((?:\.|\[\^/?(?:` + inClass + `)*/?-?\])[*+]\??)|` +
	`((?:[A-Za-z0-9_~/,;:=@!&#%<> -]|\\[!-/:-@^_{|}~\[\]]|\\[dw]|\[(?:` + inClass + `)+-?\]))|` +
	`([*+?]\??|\{\d+(?:,\d*)?\}\??))`)

// unless matches a (?!…) about a plain text, where nothing after it depends on what that takes.
var unless = plan.Expr(`^\(\?!((?:[A-Za-z0-9_/-]|\\[.-])+)\)((?:\.\*)?(?:\|[^()]*)?\)*)$`)

// unlessBegins matches at the beginning of all texts but those that begin with text, and takes some of them.
func unlessBegins(text string) string {
	if text == "" {
		return ""
	}
	n := 1 + strings.Count(text[:1], `\`)
	written := "(?:$|[^" + text[:n] + "]"
	if rest := unlessBegins(text[n:]); rest != "" {
		written += "|" + text[:n] + rest
	}
	return written + ")"
}

// expressionOf returns an expression of PCRE about the path as the language has it; ok is false where it may mean
// something else there. PCRE looks at bytes, the language at characters: two pieces of any length beside each other are
// not carried, for they may share the bytes of one. $ takes a line end that the path has at its end.
func expressionOf(text string) (written string, ok bool) {
	if strings.ContainsAny(text, "\"'`") {
		return "", false
	}
	var b strings.Builder
	wide, any, quantified, depth := false, false, false, 0
	for rest := text; rest != ""; {
		if m := unless().FindStringSubmatch(rest); m != nil {
			b.WriteString(unlessBegins(m[1]))
			rest = m[2]
			continue
		}
		m := piece().FindStringSubmatch(rest)
		if m == nil {
			return "", false
		}
		written, after := m[0], rest[len(m[0]):]
		repeated := after != "" && strings.IndexByte("*+?{", after[0]) >= 0
		switch {
		case m[2] != "":
			if end := strings.TrimLeft(after, ")"); end != "" && (depth > 0 || end[0] != '|') {
				return "", false
			}
			written = `\n?$`
		case m[3] != "":
			depth++
		case m[4] != "":
			depth--
			quantified = quantified || repeated
		case m[6] != "":
			if wide {
				return "", false
			}
			wide, any = true, true
		case m[7] != "":
			wide = wide && (depth > 0 || repeated && after[0] != '+')
		}
		b.WriteString(written)
		rest = after
	}
	_, err := regexp.Compile(b.String())
	return b.String(), err == nil && !(any && quantified)
}

// pathMatches is the condition that the path matches an expression, in any case where fold says so.
func pathMatches(text string, fold bool) *plan.Cond {
	written, ok := expressionOf(text)
	if !ok {
		return plan.Unknown
	}
	value, flag := comparedPath, ""
	if fold { // nginx folds the case of ASCII letters alone
		value, flag, written = "lower("+comparedPath+")", "(?i)", strings.ToLower(written)
	}
	return plan.Matches(value, value, written, regexp.MustCompile(flag+written))
}
