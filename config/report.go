package config

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	errorsShown     = 20  // what a person reads at once; Report.More counts the rest
	errorsCollected = 200 // a file of garbage must not cost a hint for each of its bytes
	excerptColumns  = 110 // of a source line; longer ones are cut around the place
)

// Severity says how bad a Problem is.
type Severity string

// The severities. Errors alone keep a configuration from loading.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
	SeverityNote    Severity = "note"
)

// Problem is one finding about a configuration file.
type Problem struct {
	Pos
	Severity Severity `json:"severity"`
	Code     string   `json:"code,omitempty"` // stable; warnings and notes have one
	Message  string   `json:"message"`
	Hint     string   `json:"hint,omitempty"`    // what to do about it
	Related  []Pos    `json:"related,omitempty"` // the other places of a conflict

	at span
}

// Report is what was found in a file, each list sorted by position. Errors holds the first 20; More counts the others.
// It keeps the text of the file. Immutable once Load or Parse returned.
type Report struct {
	Errors   []Problem `json:"errors"`
	Warnings []Problem `json:"warnings"`
	Notes    []Problem `json:"notes"`
	More     int       `json:"more,omitempty"`

	secrets []secret
}

// OK tells whether the file can be used: there may be warnings, but no errors.
func (r *Report) OK() bool { return len(r.Errors) == 0 }

// Render writes the problems for a person: errors, then warnings, then notes, each with its source line and carets.
func (r *Report) Render(w io.Writer) error {
	var b strings.Builder
	for i := range r.Errors {
		r.Errors[i].render(&b)
	}
	if r.More > 0 {
		fmt.Fprintf(&b, "… and %s\n", plural(r.More, "more error"))
	}
	for _, list := range [][]Problem{r.Warnings, r.Notes} {
		for i := range list {
			list[i].render(&b)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// JSON returns the problems for a program: ok, and the lists errors, warnings and notes, each entry with file, line,
// column, severity and message, and where there are such, code, hint and related. docs/operations.md has the schema.
func (r *Report) JSON() []byte {
	shown := struct {
		OK bool `json:"ok"`
		Report
	}{r.OK(), *r}
	for _, list := range []*[]Problem{&shown.Errors, &shown.Warnings, &shown.Notes} {
		if *list == nil {
			*list = []Problem{}
		}
	}
	// Strings and numbers alone: marshalling cannot fail.
	text, _ := json.MarshalIndent(&shown, "", "  ")
	return append(text, '\n')
}

// Error returns the problem in one line, as it is rendered.
func (p *Problem) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s: %s", p.Pos, p.Severity, p.Message)
	if p.Code != "" {
		fmt.Fprintf(&b, "   [%s]", p.Code)
	}
	return b.String()
}

func (p *Problem) render(b *strings.Builder) {
	b.WriteString(p.Error())
	b.WriteByte('\n')
	if !p.at.valid() {
		if p.Hint != "" {
			fmt.Fprintf(b, "      | %s\n", p.Hint)
		}
		return
	}
	before, marked, after := p.at.excerpt()
	blank := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, before)
	carets := strings.Repeat("^", max(1, utf8.RuneCountInString(marked)))
	fmt.Fprintf(b, "%5d | %s%s%s\n", p.Line, before, marked, after)
	b.WriteString(strings.TrimRight(fmt.Sprintf("      | %s%s %s", blank, carets, p.Hint), " ") + "\n")
}

// excerpt returns the first line of the span in three parts, printable and short enough to show.
func (s span) excerpt() (before, marked, after string) {
	number := s.src.lineAt(s.from)
	line, start := s.src.line(number), s.src.lines[number-1]
	from := min(s.from-start, len(line))
	to := max(from, min(s.to-start, len(line)))
	b, m, a := printable(line[:from]), printable(line[from:to]), printable(line[to:])
	if len(b)+len(m)+len(a) > excerptColumns {
		if len(b) > excerptColumns/2 {
			b = append([]rune("…"), b[len(b)-excerptColumns/2:]...)
		}
		room := excerptColumns - len(b)
		if len(m) > room {
			m, a = append(m[:room:room], '…'), nil
		} else if room -= len(m); len(a) > room {
			a = append(a[:room:room], '…')
		}
	}
	return string(b), string(m), string(a)
}

// printable replaces what a terminal would obey instead of show.
func printable(line []byte) []rune {
	runes := []rune(string(line))
	for i, r := range runes {
		if r != '\t' && r < 0x20 || r >= 0x7f && r < 0xa0 {
			runes[i] = utf8.RuneError
		}
	}
	return runes
}

// full tells whether so many errors were found that looking for more is pointless.
func (r *Report) full() bool { return len(r.Errors) >= errorsCollected }

func (r *Report) error(at span, hint, format string, args ...any) {
	r.add(&r.Errors, Problem{Severity: SeverityError, Message: fmt.Sprintf(format, args...), Hint: hint, at: at})
}

// conflict reports an error that concerns two places.
func (r *Report) conflict(at, other span, hint, format string, args ...any) {
	r.add(&r.Errors, Problem{Severity: SeverityError, Message: fmt.Sprintf(format, args...), Hint: hint,
		Related: []Pos{other.pos()}, at: at})
}

func (r *Report) warn(code string, at span, hint, format string, args ...any) {
	r.add(&r.Warnings, Problem{Severity: SeverityWarning, Code: code, Message: fmt.Sprintf(format, args...),
		Hint: hint, at: at})
}

// warnConflict warns of something that concerns two places.
func (r *Report) warnConflict(code string, at, other span, format string, args ...any) {
	r.add(&r.Warnings, Problem{Severity: SeverityWarning, Code: code, Message: fmt.Sprintf(format, args...),
		Related: []Pos{other.pos()}, at: at})
}

func (r *Report) note(code string, at span, format string, args ...any) {
	r.add(&r.Notes, Problem{Severity: SeverityNote, Code: code, Message: fmt.Sprintf(format, args...), at: at})
}

func (r *Report) add(list *[]Problem, p Problem) {
	if len(*list) >= errorsCollected {
		if list == &r.Errors {
			r.More++
		}
		return
	}
	p.Pos = p.at.pos()
	if p.at.src != nil && p.at.src.colon {
		p.Hint = strings.ReplaceAll(strings.ReplaceAll(p.Hint, " = ", ": "), "[[routes]]", "routes")
	}
	r.redact(&p)
	*list = append(*list, p)
}

// finish sorts the report, drops what allow silences, gives problems of the whole file its name, and cuts the errors.
func (r *Report) finish(file string, allow []string) {
	for _, list := range []*[]Problem{&r.Errors, &r.Warnings, &r.Notes} {
		kept := (*list)[:0]
		for _, p := range *list {
			if p.Severity != SeverityError && slices.Contains(allow, p.Code) {
				continue
			}
			if p.File == "" {
				p.File = file
			}
			kept = append(kept, p)
		}
		slices.SortStableFunc(kept, func(a, b Problem) int { return a.at.compare(b.at) })
		*list = kept
	}
	if extra := len(r.Errors) - errorsShown; extra > 0 {
		r.Errors = r.Errors[:errorsShown]
		r.More += extra
	}
}
