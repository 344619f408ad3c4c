package server

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

// The number of a request is the same for its backend, its client and the access log; whose number is kept is a matter
// of trust, and what could break a log or a page is never kept.
func TestRequestID_isOneEverywhere(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Seen", fmt.Sprint(r.Header["X-Request-Id"], r.Header["X-Number"], r.Header["Traceparent"],
			r.Header["X-Of"]))
	}))
	t.Cleanup(backend.Close)
	own := regexp.MustCompile(`^[0-9a-f]{32}$`)
	traced := regexp.MustCompile(`\[00-([0-9a-f]{32})-[0-9a-f]{16}-0[01]\] \[(\w+) (\w+) `)
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
	for i, c := range []struct {
		keys, sent, trace string
		want              string // the number; "": one of edge's
		field             string // of the answer
	}{
		{"request_id = true\n", "mine-1", "", "", "X-Request-Id"},
		{"request_id = true\ntrusted_proxies = [\"127.0.0.1\"]\n", "mine-2", "", "mine-2", "X-Request-Id"},
		{"request_id.accept = \"all\"\n", "mine-3", "", "mine-3", "X-Request-Id"},
		{"request_id.accept = \"all\"\n", "<b>&", "", "", "X-Request-Id"},
		{"request_id.accept = \"all\"\n", strings.Repeat("x", 129), "", "", "X-Request-Id"},
		{"request_id = { accept = \"none\", field = \"X-Number\" }\ntrusted_proxies = [\"127.0.0.1\"]\n", "mine-6",
			"", "", "X-Number"},
		{"request_id.answer = false\n", "", "", "", ""},
		{"", "mine-8", trace, "", ""},
		{"traceparent = true\n", "", trace, "", ""},
		{"traceparent = true\n", "", "00-nonsense", "", ""},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			access := filepath.Join(t.TempDir(), "access.log")
			s := start(t, Options{}, "log.output = %q\n[[listeners]]\nlisten = \"127.0.0.1:0\"\n%s"+
				"[[routes]]\npattern = \"/*\"\ndest = %q\n"+
				"headers.request = { X-Of = \"{request_id} {trace_id} {client_ip}\" }\n", access, c.keys, backend.URL)
			req, _ := http.NewRequest("GET", "http://"+s.Addresses()[0].Addr.String(), nil)
			req.Header["X-Request-Id"], req.Header["Traceparent"] = []string{c.sent}, []string{c.trace}
			resp, _ := testutil.Do(t, http.DefaultClient, req)
			var line struct {
				ID      string
				TraceID string `json:"trace_id"`
			}
			onlyRecord(t, access, &line)
			if line.ID != c.want && (c.want != "" || !own.MatchString(line.ID)) {
				t.Errorf("number %q", line.ID)
			}
			seen := resp.Header.Get("X-Seen")
			if c.field != "" && resp.Header.Get(c.field) != line.ID {
				t.Errorf("the answer has %q, the log %q", resp.Header.Get(c.field), line.ID)
			} else if c.field == "" && resp.Header.Get("X-Request-Id") != "" {
				t.Error("the client is told")
			}
			switch {
			case c.keys == "":
				if seen != "[mine-8] [] ["+trace+"] ["+line.ID+"  127.0.0.1]" || line.TraceID != "" {
					t.Error(seen)
				}
			case strings.HasPrefix(c.keys, "traceparent"):
				parts := traced.FindStringSubmatch(seen)
				if parts == nil || parts[1] != line.TraceID || parts[2] != line.ID || parts[3] != line.TraceID ||
					c.trace == trace && parts[1] != trace[3:35] {
					t.Error(seen, line)
				}
			case !strings.Contains(seen, "["+line.ID+"]"), !strings.Contains(seen, "["+line.ID+"  127.0.0.1]"):
				t.Error(seen, line)
			}
		})
	}
}
