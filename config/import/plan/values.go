package plan

import (
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/edge-proxy/edge/config/syntax"
	"github.com/edge-proxy/edge/plugin/tags"
)

// String returns s as a string of TOML that stands for itself: what edge would expand in it is escaped.
func String(s string) string { return Raw(strings.ReplaceAll(s, "${", "$${")) }

// Raw returns s as a string of TOML in which edge expands ${NAME}.
func Raw(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range strings.ToValidUTF8(s, "?") {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, "\\u%04X", r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// Literal returns s as a string of TOML in single quotes, in which a backslash stands for itself, or as String does
// where s has something that cannot stand there.
func Literal(s string) string {
	odd := func(r rune) bool { return r < ' ' || r == '\'' || r == 0x7f || r == utf8.RuneError }
	if strings.ContainsFunc(s, odd) {
		return String(s)
	}
	return "'" + strings.ReplaceAll(s, "${", "$${") + "'"
}

// Strings returns a list of strings, or the string alone where there is one.
func Strings(list ...string) string {
	if len(list) == 1 {
		return String(list[0])
	}
	return List(list...)
}

// List returns a list of strings.
func List(list ...string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = String(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// Lines returns a list of values of TOML, each on a line of its own where there are several.
func Lines(list []string) string {
	if len(list) < 2 {
		return "[" + strings.Join(list, "") + "]"
	}
	return "[\n  " + strings.Join(list, ",\n  ") + ",\n]"
}

// Field is a name and its value.
type Field struct{ Name, Value string }

// Table returns an inline table of strings.
func Table(fields []Field) string {
	parts := make([]string, len(fields))
	for i, f := range fields {
		parts[i] = Key(f.Name) + " = " + String(f.Value)
	}
	return "{ " + strings.Join(parts, ", ") + " }"
}

// Key returns a name as a key of TOML.
func Key(name string) string {
	for _, c := range []byte(name) {
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return Raw(name)
		}
	}
	if name == "" {
		return `""`
	}
	return name
}

// Duration returns a time as edge.toml has it: "90s", "1h", "250ms".
func Duration(d time.Duration) string {
	switch {
	case d%time.Hour == 0 && d > 0:
		return fmt.Sprintf(`"%dh"`, d/time.Hour)
	case d%time.Second == 0:
		return fmt.Sprintf(`"%ds"`, d/time.Second)
	}
	return fmt.Sprintf(`"%dms"`, d.Milliseconds())
}

// Size returns bytes as edge.toml has them: "16k", "1m".
func Size(n int64) string { return Raw(tags.SizeText(n)) }

// Name returns a name for an upstream or a listener: letters, digits, "-" and "_" of s.
func Name(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case c == '-' || c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z':
			b.WriteByte(c)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return strings.Trim(b.String(), "-")
}

// oneLineMax is how long a text of the file may be in a comment or a finding.
const oneLineMax = 200

// oneLine returns s without line ends and control characters, cut where it is long.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return ' '
		}
		return r
	}, s)
	if len(s) <= oneLineMax {
		return s
	}
	cut := oneLineMax
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// Unused returns name, or name with a number where it is used already, and marks it as used.
func Unused(name string, used map[string]bool) string {
	with := func(n int) string { return name + "-" + strconv.Itoa(n) }
	unused := name
	if used[name] {
		last := 2
		for used[with(last)] {
			last *= 2 // thousands of servers may have one name
		}
		unused = with(last/2 + 1 + sort.Search(last-last/2-1, func(i int) bool { return !used[with(last/2+1+i)] }))
	}
	used[unused] = true
	return unused
}

// Expr is a regular expression that is compiled when it is first used.
func Expr(text string) func() *regexp.Regexp { return syntax.Expr(text) }
