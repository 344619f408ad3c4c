package plan

import (
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/plugin/tags"
)

// String returns s as a string of TOML that stands for itself: what edge would expand in it is escaped.
func String(s string) string { return Raw(strings.ReplaceAll(s, "${", "$${")) }

// Raw returns s as a string of TOML in which edge expands ${NAME}.
func Raw(s string) string {
	s = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(strings.ToValidUTF8(s, "?"))
	escape := func(c string) string { return fmt.Sprintf(`\u%04X`, c[0]) }
	return `"` + control().ReplaceAllStringFunc(s, escape) + `"`
}

// control matches the characters that no text of TOML, the language and findings has as they are.
var control = Expr(`[\x00-\x1f\x7f]`)

// Literal returns s as a string of TOML in single quotes, in which a backslash stands for itself, or as String does
// where s has something that cannot stand there.
func Literal(s string) string {
	if control().MatchString(s) || strings.ContainsAny(s, "'\uFFFD") || !utf8.ValidString(s) {
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

// Lines returns a list of values of TOML, each on a line of its own where one line would be long.
func Lines(list []string) string {
	if line := "[" + strings.Join(list, ", ") + "]"; len(line) < 100 {
		return line
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
	if bareKey().MatchString(name) {
		return name
	}
	return Raw(name)
}

var bareKey = Expr(`^[\w-]+$`)

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

// FieldSize is the default of limits.field_size.
const FieldSize = 16 << 10

// HeadSize is Size for a key about heads, which has its bounds.
func HeadSize(n int64) string { return Size(max(1<<10, min(n, 1<<20))) }

// Name returns a name for an upstream or a listener: letters, digits, "-" and "_" of s.
func Name(s string) string {
	return strings.Trim(unnamed().ReplaceAllString(s, "-"), "-")
}

var unnamed = Expr(`-?[^\w-]+`)

// oneLineMax is how long a text of the file may be in a comment or a finding.
const oneLineMax = 200

// oneLine returns s without line ends and control characters, cut where it is long.
func oneLine(s string) string {
	s = control().ReplaceAllString(strings.ToValidUTF8(s, " "), " ")
	if len(s) <= oneLineMax {
		return s
	}
	return strings.ToValidUTF8(s[:oneLineMax], "") + "…"
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

// readHash is a hash of a password that filters of the type basic_auth read: of bcrypt or Argon2id.
var readHash = Expr(`^(?:\$2[aby]\$(?:0[4-9]|1[0-5])\$[./A-Za-z0-9]{53}|` +
	`\$argon2id\$v=19\$m=\d{1,6},t=\d\d?,p=\d\d?\$[+/A-Za-z0-9]{11,86}\$[+/A-Za-z0-9]{22,86})$`)

// HashWrong says why a filter of the type basic_auth has no use for the hash of a password, or "".
func HashWrong(hash string) string {
	if readHash().MatchString(hash) {
		return ""
	}
	return "edge reads passwords hashed by bcrypt and Argon2id: make new ones with edge hash-password"
}

// UsersWrong says why a filter of the type basic_auth has no use for a file of users as htpasswd writes it, or "".
func UsersWrong(text string) string {
	names := map[string]bool{}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		name, hash, _ := strings.Cut(line, ":")
		if why := HashWrong(hash); why != "" {
			return fmt.Sprintf("user %s: %s", name, why)
		}
		if names[name] {
			return fmt.Sprintf("user %s: there are two of that name", name)
		}
		names[name] = true
	}
	if len(names) == 0 {
		return "the file has no user"
	}
	return ""
}
