package observe

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// readLogfmt reads a line as go-logfmt and Loki do.
func readLogfmt(t *testing.T, line string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for rest := strings.TrimSuffix(line, "\n"); rest != ""; {
		key, value, ok := strings.Cut(rest, "=")
		if !ok || key == "" || strings.ContainsAny(key, "\" \\") {
			t.Fatalf("no key at %q of %q", rest, line)
		}
		if quoted, err := strconv.QuotedPrefix(value); err == nil {
			text := ""
			if err := json.Unmarshal([]byte(quoted), &text); err != nil {
				t.Fatalf("%q of %q: %v", quoted, line, err)
			}
			all[key], rest = text, strings.TrimPrefix(value[len(quoted):], " ")
			continue
		}
		all[key], rest, _ = strings.Cut(value, " ")
	}
	return all
}

// A line of logfmt has the members of the line of JSON, with the same values.
func TestEncoder_logfmtIsJSON(t *testing.T) {
	hostile := sample()
	hostile.Path, hostile.UserAgent = []byte("a=b \"c\" d\\e\n"), []byte("{\"x\":1},")
	hostile.Fields = []Field{{"a key=x", "v w"}, {"empty", ""}}
	hostile.Members = []Member{{"m", []byte("a}b,c:d")}}
	for _, r := range append(samples(), hostile, full()) {
		var e Encoder
		got := readLogfmt(t, string(e.AppendLogfmt(nil, r)))
		var want map[string]any
		testutil.Must(t, json.Unmarshal(e.AppendJSON(nil, r), &want))
		for key, v := range want {
			if of, ok := v.(map[string]any); ok {
				delete(want, key)
				for k, v := range of {
					want[key+"."+k] = v
				}
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d members, %d in JSON: %v", len(got), len(want), got)
		}
		for key, v := range want {
			if n, ok := v.(float64); ok {
				v = strconv.FormatFloat(n, 'f', -1, 64)
			}
			key = strings.NewReplacer(" ", "_", "=", "_").Replace(key)
			text := got[key]
			if n, err := strconv.ParseFloat(text, 64); err == nil && fmt.Sprint(v) != text {
				text = strconv.FormatFloat(n, 'f', -1, 64)
			}
			if text != fmt.Sprint(v) {
				t.Errorf("%s is %q, in JSON %q", key, got[key], v)
			}
		}
	}
}

// A value with spaces of Unicode is in quotation marks, since some readers end a value there, and no key is empty.
func TestEncoder_logfmtMisread(t *testing.T) {
	r := &Record{Path: []byte("/a\u2003b"), Host: []byte("é"), Members: []Member{{"", []byte("v")}}}
	line := string(new(Encoder).AppendLogfmt(nil, r))
	for _, want := range []string{" path=\"/a\u2003b\" ", " host=\"é\" ", " _=v\n"} {
		if !strings.Contains(line, want) {
			t.Errorf("%s has no %q", line, want)
		}
	}
}
