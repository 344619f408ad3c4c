package caching

import (
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/syntax"
	"github.com/edge-proxy/edge/lang"
)

// ownOf are values that nearly every client, or every request, has for itself, and what they differ by. Backends get
// them for their logs.
var ownOf = map[string]string{
	"client.ip": "client", "client_ip": "client", "client.port": "client", "peer.ip": "client",
	"header.x-forwarded-for": "client", "request.id": "request", "request_id": "request", "trace.id": "request",
	"trace_id": "request", "header.x-request-id": "request", "header.traceparent": "request", "time": "request",
	"time.unix": "second", "time.hour": "hour", "time.weekday": "day",
}

// inEachKey are the first words of values that each key has anyway, or that are written in the files.
var inEachKey = []string{"scheme", "host", "port", "method", "path", "rest", "query", "target", "secret", "env",
	"list", "map"}

// told is a value of the request that a backend is told.
type told struct {
	field  string
	source string // the value, as it stands between its braces
	when   string // the condition that match.N is of; "": the pattern of the route
	at     syntax.Span
}

// lacksIn reports whether keys, the values of a key, leave t open.
func (t *told) lacksIn(keys []string) bool {
	return ownOf[t.source] == "" && !slices.Contains(keys, t.source) &&
		slices.ContainsFunc(names(t.source), func(name string) bool {
			return !slices.Contains(keys, name) && !isInEachKey(name, t.when)
		})
}

// isInEachKey reports whether requests with different values of a name have different keys anyway.
func isInEachKey(name, when string) bool {
	first, _, _ := strings.Cut(name, ".")
	if first == "match" { // of the path, or of what the condition asks
		return !slices.ContainsFunc(names(when), func(asked string) bool { return !isInEachKey(asked, "") })
	}
	return slices.Contains(inEachKey, first)
}

// sources returns the values of a template as they stand between their braces, without those made of secrets.
func sources(t *lang.Template) (all []string) {
	for _, p := range t.Parts() {
		if source := strings.TrimSpace(p.Source); source != "" && !p.Secret {
			all = append(all, source)
		}
	}
	return all
}

var (
	indexed = syntax.Expr(`\[\s*["']([^"']*)["']\s*\]`)               // header["x"], which is header.x
	literal = syntax.Expr("\"(?:[^\"\\\\]|\\\\.)*\"|'[^']*'|`[^`]*`") // a text
	word    = syntax.Expr(`\b[a-zA-Z_]\w*(?:\.[\w-]+)*\(?`)           // a name, or a function with its bracket
)

// operators are the words of the language that are no names.
var operators = strings.Fields(
	"and or not in eq ne lt le gt ge matches contains starts_with ends_with like true false")

// names returns the names of values in an expression of the language: geo.country, header.x-beta.
func names(source string) (all []string) {
	text := literal().ReplaceAllString(indexed().ReplaceAllString(source, ".$1"), `""`)
	for _, name := range word().FindAllString(text, -1) {
		if call, isCall := strings.CutSuffix(name, "("); isCall {
			name = call[:max(0, strings.LastIndexByte(call, '.'))] // of a method
		}
		if name != "" && !slices.Contains(operators, name) {
			all = append(all, name)
		}
	}
	return all
}
