package schema

import (
	"bytes"
	"cmp"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/plugin/tags"
)

// Type is a type of values: how to read one from a node, and what to call it. A package may have types of its own.
type Type struct {
	Name   string // in the reference
	Parse  Parse
	Number func(text string) (int64, bool) // reads a bound; nil for a type without bounds
	Unit   string                          // what a file writes after a number: "%"
	Truth  bool                            // true or false are among its values
	Text   bool                            // any text is among its values, beside the values of Truth and tables
}

// Parse reads a value. Where it is not right, it has reported why.
type Parse = func(d *Decoder, k *Key, n *syntax.Node) (v any, right bool)

// TextOf returns a Parse for one text, of which read makes the value. wrong says what is wrong with the text, or is
// empty, and hint what helps.
func TextOf[T any](want string, read func(s string) (v T, wrong, hint string)) Parse {
	return func(d *Decoder, _ *Key, n *syntax.Node) (any, bool) {
		s, right := d.String(n, want)
		if !right {
			return nil, false
		}
		v, wrong, hint := read(s)
		if wrong != "" {
			d.Report.Errorf(n.Value, hint, "%s", wrong)
		}
		return v, wrong == ""
	}
}

// ListOf is TextOf for a text or a list of texts: the value is a []T. read gets the values of the texts before.
func ListOf[T any](want string, read func(before []T, s string) (v T, wrong, hint string)) Parse {
	return func(d *Decoder, _ *Key, n *syntax.Node) (any, bool) {
		all := []T{}
		right := d.Each(n, want, func(c *syntax.Node, s string) bool {
			v, wrong, hint := read(all, s)
			if wrong != "" {
				d.Report.Errorf(c.Value, hint, "%s", wrong)
				return false
			}
			all = append(all, v)
			return true
		})
		return all, right
	}
}

// FilledListOf is ListOf for a list that is not empty.
func FilledListOf[T any](want string, read func(before []T, s string) (v T, wrong, hint string)) Parse {
	parse := ListOf(want, read)
	return func(d *Decoder, k *Key, n *syntax.Node) (any, bool) {
		all, right := parse(d, k, n)
		return all, right && d.Filled(n)
	}
}

// The types of keys that are not about one feature. The comment after each is the Go type of its values, unless the
// function of TextOf or ListOf tells it.
var (
	String   = Type{Name: "string", Parse: parseString}                      // string, not empty
	Lines    = Type{Name: "string, in several lines too", Parse: parseLines} // string, not empty
	Optional = Type{Name: "string", Parse: parseOptional}                    // string, maybe empty
	Strings  = Type{Name: "string or list", Parse: ListOf("a string", AnyText)}
	Choice   = Type{Name: "choice", Parse: parseChoice}                           // string
	Choices  = Type{Name: "list of choices", Parse: parseChoices}                 // []string; files join them
	Int      = Type{Name: "number", Parse: parseInt, Number: wholeNumber}         // int
	Size     = Type{Name: "size", Parse: sizes(sizeHint), Number: tags.ParseSize} // int64, in bytes
	Rate     = typeRate                                                           // int64, in bytes
	Duration = Type{Name: "time", Parse: parseDuration, Number: tags.Nanoseconds} // time.Duration
	Bool     = Type{Name: "true or false", Parse: parseBool, Truth: true}         // bool
	Folder   = Type{Name: "absolute path", Parse: parseFolder}                    // string
	Token    = Type{Name: "name", Parse: parseToken}                              // string
)

var typeRate = Type{Name: "size a second", Parse: sizes(rateHint), Number: tags.ByteRate, Unit: "/s"}

// convertExpanded turns a string in which ${…} was replaced into the number or boolean that the key takes. A variable
// stands only in a string, so there is no other way to write one.
func (k *Key) convertExpanded(n *syntax.Node) {
	if !n.Expanded || n.Kind != syntax.KindString {
		return
	}
	switch {
	case k.Type.Name == Int.Name:
		if v, ok := wholeNumber(n.Text); ok {
			n.Kind, n.Integer = syntax.KindInt, v
		}
	case k.Type.Truth && (n.Text == "true" || n.Text == "false"):
		n.Kind, n.Truth = syntax.KindBool, n.Text == "true"
	}
}

// String reads a string of one line that is not empty. want names it in the error: "a path".
func (d *Decoder) String(n *syntax.Node, want string) (string, bool) { return d.text(n, want, "") }

// text is String for a text that may have some control characters.
func (d *Decoder) text(n *syntax.Node, want, allowed string) (string, bool) {
	if n.Kind != syntax.KindString {
		d.WrongKind(n, want, quotedHint(n))
		return "", false
	}
	if n.Text == "" {
		d.Report.Errorf(n.Value, "leave it out, or say which", "%q must not be empty", n.Key)
		return "", false
	}
	wrong := func(r rune) bool { return (r < ' ' || r == 0x7f) && !strings.ContainsRune(allowed, r) }
	if strings.ContainsFunc(n.Text, wrong) {
		hint := "it is one line, without tabs"
		if allowed != "" {
			hint = `it may have tabs and line ends, \n without \r, and no others`
		} else if at := n.Value; bytes.IndexByte(at.Source.Text[at.From:at.To], '\\') >= 0 {
			hint = syntax.BackslashHint
		}
		d.Report.Errorf(n.Value, hint, "%q must not hold control characters", n.Key)
		return "", false
	}
	return n.Text, true
}

// quotedHint returns the hint for a value that would be right as a string, or "".
func quotedHint(n *syntax.Node) string {
	switch n.Kind {
	case syntax.KindInt, syntax.KindFloat, syntax.KindBool, syntax.KindDatetime:
		return "write " + syntax.Quote(n.Text)
	}
	return ""
}

// Each reads a string, or every string of a list. It goes on after a wrong one.
func (d *Decoder) Each(n *syntax.Node, want string, read func(*syntax.Node, string) bool) bool {
	if n.Kind != syntax.KindList {
		s, ok := d.String(n, want+" or a list of them")
		return ok && read(n, s)
	}
	right := true
	for _, c := range n.Children {
		c.Key = n.Key
		s, ok := d.String(c, "a list of strings")
		right = ok && read(c, s) && right
	}
	return right
}

// Filled reports a list or a table that holds nothing where something has to be.
func (d *Decoder) Filled(n *syntax.Node) bool {
	if n.Kind == syntax.KindString || len(n.Children) > 0 {
		return true
	}
	d.Report.Errorf(n.Value, "leave it out, or say which", "%q must not be empty", n.Key)
	return false
}

func parseString(d *Decoder, _ *Key, n *syntax.Node) (any, bool) {
	return d.String(n, "a string")
}

func parseLines(d *Decoder, _ *Key, n *syntax.Node) (any, bool) { return d.text(n, "a string", "\t\n") }

// AnyText is for ListOf: it takes each text as it is.
func AnyText(_ []string, s string) (text, wrong, hint string) { return s, "", "" }

func parseChoice(d *Decoder, k *Key, n *syntax.Node) (any, bool) {
	if same := k.Synonyms[strconv.FormatBool(n.Truth)]; same != "" && n.Kind == syntax.KindBool {
		return same, true
	}
	if n.Kind != syntax.KindString && !slices.Contains(k.Enum, n.Text) && k.Synonyms[n.Text] == "" {
		d.WrongKind(n, syntax.Alternatives(k.Enum), k.leaveOut())
		return "", false
	}
	s, ok := d.String(n, syntax.Alternatives(k.Enum))
	if same, found := k.Synonyms[s]; found {
		return same, ok
	}
	return s, ok && (k.Open || d.Choice(k, n, s))
}

func parseChoices(d *Decoder, k *Key, n *syntax.Node) (any, bool) {
	var all []string
	right := d.Each(n, "a string", func(c *syntax.Node, s string) bool {
		all = append(all, s)
		return d.Choice(k, c, s)
	})
	return all, right
}

// Choice checks that s, which n holds, is one of the words of k.
func (d *Decoder) Choice(k *Key, n *syntax.Node, s string) bool {
	for _, e := range k.Enum {
		if s == e {
			return true
		}
	}
	for _, l := range k.Later {
		if s == l {
			d.Report.Errorf(n.Value, "use "+syntax.Alternatives(k.Enum), "%s = %q is not supported by this version",
				n.Key, s)
			return false
		}
	}
	near := syntax.Nearest(s, k.Enum)
	hint := syntax.DidYouMean(s, k.Enum)
	if near != "" && syntax.Distance(strings.ToLower(s), near) > 1 {
		hint = cmp.Or(k.synonymIn(s), hint)
	}
	hint = cmp.Or(hint, k.synonymIn(s))
	for _, e := range k.Enum {
		if hint == "" && len(e) > 3 && strings.HasPrefix(strings.ToLower(s), e) { // "warning"
			hint = "did you mean " + syntax.Quote(e) + "?"
		}
	}
	if hint == "" && !strings.Contains(s, " ") {
		hint = syntax.VariableHint(s)
	}
	hint = cmp.Or(hint, k.leaveOut())
	d.Report.Errorf(n.Value, hint, "%q must be %s, not %s", n.Key, syntax.Alternatives(k.Enum), syntax.Quote(s))
	return false
}

// synonymIn returns the hint for a text that has another word for one of Enum as a part of it, or "": "ring_hash".
func (k *Key) synonymIn(s string) string {
	for _, word := range slices.Sorted(maps.Keys(k.Synonyms)) {
		if strings.Contains(strings.ToLower(s), word) {
			return "did you mean " + syntax.Quote(k.Synonyms[word]) + "?"
		}
	}
	return ""
}

// word reports whether n is one of the words that the key allows in place of a number.
func (k *Key) word(n *syntax.Node) bool {
	return n.Kind == syntax.KindString && slices.Contains(k.Words, n.Text)
}

// want says what the key takes, for messages.
func (k *Key) want(noun string) string {
	if len(k.Words) > 0 {
		noun += " or " + syntax.Alternatives(k.Words)
	}
	return noun
}

func (d *Decoder) inRange(k *Key, n *syntax.Node, v int64) bool {
	if k.AllowsNumber(v) == nil {
		return true
	}
	d.Report.Errorf(n.Value, k.leaveOut(), "%q must be between %s and %s", n.Key, k.Min, k.Max)
	return false
}

// leaveOut says what holds without the key, as a hint where no better one is known.
func (k *Key) leaveOut() string {
	if k.Default == "" {
		return ""
	}
	return "the default is " + k.Default
}

func parseInt(d *Decoder, k *Key, n *syntax.Node) (any, bool) {
	if k.word(n) {
		return 0, true
	}
	if n.Kind != syntax.KindInt {
		hint := k.leaveOut()
		if _, isNumber := wholeNumber(n.Text); n.Kind == syntax.KindString && isNumber {
			hint = "write it without quotes"
		} else if n.Kind == syntax.KindString {
			hint = cmp.Or(syntax.VariableHint(n.Text), hint)
		}
		d.Report.Errorf(n.Value, hint, "%q must be %s, this is %s", n.Key, k.want("a whole number"), n.Kind.Noun())
		return 0, false
	}
	return int(n.Integer), d.inRange(k, n, n.Integer)
}

func wholeNumber(s string) (int64, bool) {
	n, err := syntax.ParseInteger(s)
	return n, err == nil
}

const (
	sizeHint = `write it as "64k", "10m" or "2g"`
	rateHint = `write it as "500/s" or "1k/s"`
)

// sizes returns what reads sizes. hint says how one is written.
func sizes(hint string) func(d *Decoder, k *Key, n *syntax.Node) (any, bool) {
	return func(d *Decoder, k *Key, n *syntax.Node) (any, bool) {
		size, ok := n.Integer, n.Kind == syntax.KindInt && n.Integer >= 0
		if k.word(n) {
			return int64(0), true
		} else if n.Kind == syntax.KindString {
			size, ok = k.Type.Number(n.Text)
		}
		if !ok {
			d.Report.Errorf(n.Value, hint, "%q must be %s", n.Key, k.want("a "+k.Type.Name))
			return size, false
		}
		return size, d.inRange(k, n, size)
	}
}

func parseDuration(d *Decoder, k *Key, n *syntax.Node) (any, bool) {
	var t time.Duration
	ok := true
	if k.word(n) {
		return time.Duration(-1), true
	}
	switch n.Kind {
	case syntax.KindInt:
		t, ok = tags.Seconds(float64(n.Integer))
	case syntax.KindFloat:
		t, ok = tags.Seconds(n.Fraction)
	case syntax.KindString:
		t, ok = tags.ParseDuration(n.Text)
	default:
		ok = false
	}
	if !ok {
		d.Report.Errorf(n.Value, durationHint(n.Text), "%q must be %s", n.Key, k.want("a time"))
		return t, false
	}
	return t, d.inRange(k, n, int64(t))
}

// amount is a number with a unit of time as people write it out: "5 seconds".
var amount = syntax.Expr(`([0-9.]+) *([A-Za-z]+)[ ,]*`)

var unitNames = map[string]string{
	"ms": "ms", "msec": "ms", "millisecond": "ms", "s": "s", "sec": "s", "second": "s", "m": "m", "min": "m",
	"minute": "m", "h": "h", "hr": "h", "hour": "h", "d": "d", "day": "d",
}

// durationHint returns the hint for a text that is no time.
func durationHint(s string) string {
	meant := amount().ReplaceAllStringFunc(s, func(text string) string {
		part := amount().FindStringSubmatch(text)
		unit := strings.ToLower(part[2])
		return part[1] + cmp.Or(unitNames[unit], unitNames[strings.TrimSuffix(unit, "s")])
	})
	if _, right := tags.ParseDuration(meant); right && meant != s {
		return "did you mean " + syntax.Quote(meant) + "?"
	}
	return cmp.Or(syntax.VariableHint(s), `write it as "250ms", "5s" or "1h"; a bare number is seconds`)
}

func parseBool(d *Decoder, _ *Key, n *syntax.Node) (any, bool) {
	if n.Kind == syntax.KindString {
		d.Report.Errorf(n.Value, syntax.TruthHint(n.Text), "%q must be true or false, this is a string", n.Key)
	} else if n.Kind != syntax.KindBool {
		hint := ""
		if n.Kind == syntax.KindInt {
			hint = syntax.TruthHint(n.Text)
		}
		d.WrongKind(n, "true or false", hint)
	}
	return n.Truth, n.Kind == syntax.KindBool
}

func parseToken(d *Decoder, _ *Key, n *syntax.Node) (any, bool) {
	s, ok := d.String(n, "a name")
	if ok && (!syntax.IsBareKey(s) || len(s) > 64) {
		d.Report.Errorf(n.Value, "", "%q has letters, digits, \"_\" and \"-\" alone, 64 at most", n.Key)
		ok = false
	}
	return s, ok
}

// parseOptional reads a string, which may be empty.
func parseOptional(d *Decoder, _ *Key, n *syntax.Node) (any, bool) {
	if n.Kind == syntax.KindString && n.Text == "" {
		return "", true
	}
	return d.String(n, "a string")
}

func parseFolder(d *Decoder, _ *Key, n *syntax.Node) (any, bool) {
	s, ok := d.String(n, "a string")
	if ok && !filepath.IsAbs(s) {
		d.Report.Errorf(n.Value, "it begins with \"/\"", "%q must be an absolute path", n.Key)
		return "", false
	}
	return filepath.Clean(s), ok
}
