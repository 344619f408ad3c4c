package syntax

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	errorsShown     = 20  // as many as a person reads at once; Report.More counts the others
	errorsCollected = 200 // so that a file of garbage does not cost a hint for each of its bytes
	excerptColumns  = 110 // of a line that is shown; a longer one is cut around the place
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
	Hint     string   `json:"hint,omitempty"`    // what to do about it; of several lines where it shows a file
	Related  []Pos    `json:"related,omitempty"` // the other places of a conflict

	at Span
}

// Report is what was found in the files of a configuration. It keeps their text. After Finish each list is sorted by
// place, Errors holds the first 20, More counts the others, and nothing is added.
type Report struct {
	Errors   []Problem `json:"errors"`
	Warnings []Problem `json:"warnings"`
	Notes    []Problem `json:"notes"`
	More     int       `json:"more,omitempty"`

	secrets []secret
}

// OK reports whether there are no errors. There may be warnings and notes.
func (r *Report) OK() bool { return len(r.Errors) == 0 }

// Render writes the problems for a person: errors, then warnings, then notes, each with its source line and carets.
func (r *Report) Render(w io.Writer) error {
	var b strings.Builder
	for i := range r.Errors {
		r.Errors[i].render(&b)
	}
	if r.More > 0 {
		fmt.Fprintf(&b, "… and %s\n", Plural(r.More, "more error"))
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
// column, severity and message, and where there are such, code, hint and related. docs/commands.md has the schema.
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
	if !p.at.IsValid() {
		if p.Hint != "" {
			fmt.Fprintf(b, "      | %s\n", strings.ReplaceAll(p.Hint, "\n", hintMargin))
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
	hint, more, _ := strings.Cut(p.Hint, "\n")
	b.WriteString(strings.TrimRight(fmt.Sprintf("      | %s%s %s", blank, carets, hint), " ") + "\n")
	if more != "" {
		b.WriteString(hintMargin[1:] + strings.ReplaceAll(more, "\n", hintMargin) + "\n")
	}
}

// hintMargin stands before each further line of a hint.
const hintMargin = "\n      |   "

// excerpt returns the first line of the span in three parts, printable and short enough to show.
func (s Span) excerpt() (before, marked, after string) {
	number := s.Source.lineAt(s.From)
	line, start := s.Source.line(number), s.Source.lines[number-1]
	from := min(s.From-start, len(line))
	to := max(from, min(s.To-start, len(line)))
	s.hideCredentials(line, start)
	shown := func(from, to int) []rune { return printable(s.Source.shown(start+from, start+to)) }
	b, m, a := shown(0, from), shown(from, to), shown(to, len(line))
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

// printable replaces what a terminal would obey or hide instead of show.
func printable(line []byte) []rune {
	runes := []rune(string(line))
	for i, r := range runes {
		if r != '\t' && !strconv.IsPrint(r) {
			runes[i] = utf8.RuneError
		}
	}
	return runes
}

// Full reports whether so many errors were found that it is pointless to look for more.
func (r *Report) Full() bool { return len(r.Errors) >= errorsCollected }

// Errorf reports an error at a place. hint says what to do about it; it may be empty.
func (r *Report) Errorf(at Span, hint, format string, args ...any) {
	r.add(&r.Errors, Problem{Severity: SeverityError, Message: fmt.Sprintf(format, args...), Hint: hint, at: at})
}

// Conflictf reports an error that concerns two places.
func (r *Report) Conflictf(at, other Span, hint, format string, args ...any) {
	r.add(&r.Errors, Problem{Severity: SeverityError, Message: fmt.Sprintf(format, args...), Hint: hint,
		Related: []Pos{other.Pos()}, at: at})
}

// Warnf reports something that is probably not meant. code is stable: files name it to silence the warning.
func (r *Report) Warnf(code string, at Span, hint, format string, args ...any) {
	r.add(&r.Warnings, Problem{Severity: SeverityWarning, Code: code, Message: fmt.Sprintf(format, args...),
		Hint: hint, at: at})
}

// WarnConflictf is Warnf for something that concerns two places.
func (r *Report) WarnConflictf(code string, at, other Span, format string, args ...any) {
	r.add(&r.Warnings, Problem{Severity: SeverityWarning, Code: code, Message: fmt.Sprintf(format, args...),
		Related: []Pos{other.Pos()}, at: at})
}

// Notef reports something that is worth knowing. code is as for Warnf.
func (r *Report) Notef(code string, at Span, format string, args ...any) {
	r.add(&r.Notes, Problem{Severity: SeverityNote, Code: code, Message: fmt.Sprintf(format, args...), at: at})
}

// Take adds the errors of other, each message with prefix before it.
func (r *Report) Take(other *Report, prefix string) {
	for _, p := range other.Errors {
		p.Message = prefix + p.Message
		r.add(&r.Errors, p)
	}
	r.More += other.More
}

// listHeader is the header of a list in TOML. The other formats have no brackets there.
var listHeader = compiled(`\[\[([\w.]+)\]\]`)

func (r *Report) add(list *[]Problem, p Problem) {
	if len(*list) >= errorsCollected {
		if list == &r.Errors {
			r.More++
		}
		return
	}
	p.Pos = p.at.Pos()
	if p.at.Source != nil && p.at.Source.Colon {
		p.Hint = listHeader().ReplaceAllString(strings.ReplaceAll(p.Hint, " = ", ": "), "$1")
	}
	r.redact(&p)
	*list = append(*list, p)
}

// Finish sorts the lists, removes the warnings and notes whose codes are in allow, gives problems without a place the
// name of the file, and leaves the first errors.
func (r *Report) Finish(file string, allow []string) {
	for _, list := range []*[]Problem{&r.Errors, &r.Warnings, &r.Notes} {
		kept := (*list)[:0]
		for _, p := range *list {
			if p.Severity != SeverityError && slices.Contains(allow, p.Code) {
				continue
			}
			p.File = cmp.Or(p.File, file)
			kept = append(kept, p)
		}
		slices.SortStableFunc(kept, func(a, b Problem) int { return a.at.Compare(b.at) })
		*list = kept
	}
	if extra := len(r.Errors) - errorsShown; extra > 0 {
		r.Errors = r.Errors[:errorsShown]
		r.More += extra
	}
}
