package syntax

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// secret is a string of the file in which ${…} was replaced. The value may be a password, so messages show what the
// file says instead.
type secret struct {
	at      Span
	written string   // as in the file
	text    string   // expanded
	values  []string // the values that were put in
}

// secretRunesMin is the least length of a value that is hidden in messages about other places. A shorter one may be a
// word that stands there by chance.
const secretRunesMin = 6

func (r *Report) hide(s secret) {
	s.written, s.text = strings.ToLower(s.written), strings.ToLower(s.text)
	r.secrets = append(r.secrets, s)
}

// Hide keeps the values in n, which are secrets, out of the texts of problems. A reference to one, ${…}, is shown as it
// is.
func (r *Report) Hide(n *Node) {
	for _, c := range n.Children {
		r.Hide(c)
	}
	if n.Kind == KindTable || n.Kind == KindList || n.Expanded || n.Text == "" || !n.Value.IsValid() {
		return
	}
	at := n.Value
	if text := at.Source.Text[at.From:at.To]; len(text) > 1 && (text[0] == '"' || text[0] == '\'') {
		at.From, at.To = at.From+1, at.To-1
	}
	at.Source.hidden = append(at.Source.hidden, at)
	r.hide(secret{at: n.Value, text: n.Text, values: []string{n.Text}})
}

var (
	// Userinfo finds the user and the password in URLs, with the scheme before them.
	Userinfo = Expr(`(?i)\b([a-z][a-z0-9+.-]*://)[^/?#\s"'@]*@`)
	// assigned finds values of eight characters and more, in any format, whose keys have names of credentials. It finds
	// no paths, and nothing with a ${…} or a template.
	assigned = Expr(`(?i)(?:token|secret|passw|authorization|api.?key|credential|dsn|hmac)[\w.-]*["']?\s*[=:]\s*` +
		`["']?([^\s"'/{}\[\],#][^"'{}\[\],#]{7,})`)
)

// hideCredentials hides the credentials in line from excerpts: a mistake may keep its keys from being known. What s
// marks is shown.
func (s Span) hideCredentials(line []byte, start int) {
	hide := func(from, to int) {
		if at := (Span{s.Source, start + from, start + to}); s.From >= at.To || s.To <= at.From {
			s.Source.hidden = append(s.Source.hidden, at)
		}
	}
	for _, at := range assigned().FindAllSubmatchIndex(line, -1) {
		hide(at[2], at[3])
	}
	for _, at := range Userinfo().FindAllSubmatchIndex(line, -1) {
		s.Source.hidden = append(s.Source.hidden, Span{s.Source, start + at[3], start + at[1] - 1})
	}
}

// shown returns a part of the text without what is hidden.
func (s *Source) shown(from, to int) []byte {
	var text []byte
	for _, h := range s.hidden {
		if h.From >= to || h.To <= from {
			continue
		}
		if text == nil {
			text = bytes.Clone(s.Text[from:to])
		}
		for i := max(h.From, from); i < min(h.To, to); i++ {
			text[i-from] = hiddenByte
		}
	}
	if text == nil {
		return s.Text[from:to]
	}
	return hiddenBytes().ReplaceAll(text, []byte("…"))
}

// hiddenByte stands for a byte that is not shown: a byte that no file may have.
const hiddenByte = 0

var hiddenBytes = compiled("\x00+")

// redact removes the values of ${…}, and the users of URLs, from a problem.
func (r *Report) redact(p *Problem) {
	if strings.Contains(p.Message, "@") {
		p.Message = Userinfo().ReplaceAllString(p.Message, "${1}…@")
	}
	for i := range r.secrets {
		s := &r.secrets[i]
		p.Message = s.redact(p.Message, p.at)
		if s.redact(p.Hint, p.at) != p.Hint {
			p.Hint = "" // a correction of what must not be shown
		}
	}
}

var quotedWord = compiled(`"(?:[^"\\]|\\.)*"`)

// redact replaces the words of text that come from the secret, for a problem at at.
func (s *secret) redact(text string, at Span) string {
	if text == "" {
		return ""
	}
	here := at.Source == s.at.Source && at.From >= s.at.From && at.From < s.at.To
	text = quotedWord().ReplaceAllStringFunc(text, func(quoted string) string {
		if word, err := strconv.Unquote(quoted); err == nil && s.shows(strings.ToLower(word), here) {
			return strconv.Quote("${…}")
		}
		return quoted
	})
	for _, v := range s.values {
		if utf8.RuneCountInString(v) >= secretRunesMin || here && len(v) > 3 {
			text = replaceFold(text, v, "${…}")
		}
	}
	return text
}

// shows reports whether a word, in lower case, reveals a part of the secret that the file itself does not show.
func (s *secret) shows(word string, here bool) bool {
	word = strings.TrimSuffix(word, "…")
	if strings.Contains(s.written, word) {
		return false
	}
	if (here || utf8.RuneCountInString(word) >= secretRunesMin) && strings.Contains(s.text, word) {
		return true
	}
	for _, v := range s.values {
		v = strings.ToLower(v)
		if v != "" && (here || utf8.RuneCountInString(v) >= secretRunesMin) && strings.Contains(word, v) {
			return true
		}
	}
	return false
}

// replaceFold replaces old in text whatever its case.
func replaceFold(text, old, by string) string {
	lower, old := strings.ToLower(text), strings.ToLower(old)
	if len(lower) != len(text) { // letters whose other case has another length
		return strings.ReplaceAll(text, old, by)
	}
	var b strings.Builder
	for {
		at := strings.Index(lower, old)
		if at < 0 {
			b.WriteString(text)
			return b.String()
		}
		b.WriteString(text[:at])
		b.WriteString(by)
		text, lower = text[at+len(old):], lower[at+len(old):]
	}
}

// compiled returns a regular expression that is compiled when it is asked for first: most files need none of them.
func compiled(text string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })
}
