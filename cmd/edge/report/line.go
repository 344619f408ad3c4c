package report

import (
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"github.com/getsentry/sentry-go"

	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
)

const (
	attrsMost  = 32   // of a line
	textMost   = 1024 // bytes of each text
	framesMost = 64   // of a stack
)

// line is a line of the error log, for an event.
type line struct {
	slog.Record
	attrs []slog.Attr
	panic string         // what panicked
	stack []sentry.Frame // none: nothing did
}

// add adds an attribute; the members of a group have its name before their own.
func (l *line) add(group string, a slog.Attr) {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			group += a.Key + "."
		}
		for _, one := range v.Group() {
			l.add(group, one)
		}
		return
	}
	switch a.Key = group + a.Key; a.Key {
	case "panic":
		l.panic = v.String()
	case "stack":
		l.stack = frames(v.String())
	default:
		if len(l.attrs) < attrsMost {
			l.attrs = append(l.attrs, slog.Attr{Key: a.Key, Value: v})
		}
	}
}

// kind returns what events of l have in common: the message, and where the code panicked.
func (l *line) kind() []string {
	if n := len(l.stack); n > 0 {
		at := &l.stack[n-1]
		return []string{"panic", at.Module + "." + at.Function, at.Filename + ":" + strconv.Itoa(at.Lineno)}
	}
	return []string{"error", text(l.Message)}
}

// event returns l as an event of that kind. withClients says that it may have addresses of clients.
func (l *line) event(kind []string, withClients bool) *sentry.Event {
	e := sentry.NewEvent()
	e.Level, e.Logger, e.Timestamp = sentry.LevelError, "edge", l.Time
	e.Message, e.Fingerprint = text(l.Message), kind
	log := sentry.Context{}
	for _, a := range l.attrs {
		if shown(a.Key, withClients) {
			log[text(a.Key)] = text(a.Value.String())
		}
	}
	switch {
	case len(l.stack) > 0:
		e.Exception = []sentry.Exception{{Type: "panic", Value: text(l.panic),
			Stacktrace: &sentry.Stacktrace{Frames: l.stack}}}
	case l.panic != "":
		log["panic"] = text(l.panic)
	}
	if len(log) > 0 {
		e.Contexts = map[string]sentry.Context{"log": log}
	}
	return e
}

var (
	ofClients  = syntax.Expr(`(?i)client|peer|remote`)
	ofRequests = syntax.Expr(`(?i)host|path|query|target|ur[il]($|[^n])|body|header|field|cookie|agent|` +
		`referer|user|login|mail`)

	user  = syntax.Expr(`//[^\s/"'<>]*@`)
	query = syntax.Expr(`\?[^\s"'<>]+`)
	arrow = syntax.Expr(`->\S*?(:?)(\s|$)`) // package net writes "read tcp LOCAL->REMOTE: …"
)

// shown reports whether events have the attribute with that name.
func shown(name string, withClients bool) bool {
	if ofClients().MatchString(name) && !withClients {
		return false
	}
	return !ofRequests().MatchString(name) && !schema.NamesSecret(name)
}

// text returns s without queries, users and passwords of URLs, and the far ends of connections, and not too long.
func text(s string) string {
	s = user().ReplaceAllString(s[:min(len(s), 2*textMost)], "//…@")
	s = query().ReplaceAllString(s, "?…")
	s = arrow().ReplaceAllString(s, "->…$1$2")
	return strings.ToValidUTF8(s[:min(len(s), textMost)], "�")
}

// frames reads a stack as package debug writes it. The last frame has panicked.
func frames(stack string) (all []sentry.Frame) {
	lines := strings.Split(stack, "\n")
	for i := 0; i+1 < len(lines) && len(all) < framesMost; i++ {
		place, isPlace := strings.CutPrefix(lines[i+1], "\t")
		if !isPlace {
			continue
		}
		if strings.HasPrefix(lines[i], "panic(") {
			all = nil // what stood before is how it was caught
			continue
		}
		call, _, _ := strings.Cut(strings.TrimPrefix(lines[i], "created by "), " in goroutine ")
		if at := strings.LastIndexByte(call, '('); at > 0 && call[at-1] != '.' {
			call = call[:at]
		}
		folder := call[:strings.LastIndexByte(call, '/')+1]
		pkg, function, _ := strings.Cut(call[len(folder):], ".")
		file, number, _ := strings.Cut(place, ":")
		number, _, _ = strings.Cut(number, " ")
		n, _ := strconv.Atoi(number)
		all = append(all, sentry.Frame{Module: folder + pkg, Function: function, Filename: file, AbsPath: file,
			Lineno: n, InApp: strings.Contains(folder, ".")})
	}
	slices.Reverse(all)
	return all
}
