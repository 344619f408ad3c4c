package page

import (
	"bytes"
	"encoding/json"
	"flag"
	"html"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
)

var update = flag.Bool("update", false, "write the golden files anew")

// accepting returns the head of a request with fields Accept.
func accepting(fields ...string) *message.Head {
	h := &message.Head{}
	for _, f := range fields {
		h.Add("Accept", f)
	}
	return h
}

func TestAppend_formOfAccept(t *testing.T) {
	const text, page, object, problem = typeText, typeHTML, typeJSON, typeProblem
	for accept, want := range map[string]string{
		"":    text,
		"*/*": text, // curl, wget, fetch
		"*":   text, "text/*": text, "text/*, */*": text, "image/webp": text, ";;,,": text,
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8":                        page, // Firefox
		"text/html,application/xml;q=0.9,image/avif,*/*;q=0.8,application/signed-exchange;q=0.7": page, // Chromium
		"TEXT/HTML":             page,
		"text/plain;q=0, */*":   page,
		"text/plain;q=0.5, */*": page,
		"image/avif,image/webp,image/svg+xml,image/*,*/*;q=0.8":          text,   // <img>
		"application/json, text/plain, */*":                              object, // axios
		"application/json, text/javascript, */*; q=0.01":                 object, // jQuery
		"application/json;q=0.8, text/html;q=0.9":                        page,
		"text/html;q=0.8, application/json;q=0.81":                       object,
		"application/vnd.api+json":                                       object,
		"application/*":                                                  object,
		"application/problem+json":                                       problem,
		"application/problem+json, application/json":                     problem,
		"application/json, application/problem+json":                     object,
		"application/json;q=0.0, */*;q=0.1":                              text,
		"text/*;q=0.3, text/html;q=0.7, text/html;level=1, */*;q=0.5":    page, // RFC 9110 §12.5.1
		"text/html;q=x, text/plain":                                      page, // what cannot be read is 1
		"text/html ; charset=utf-8 ; q=0.1, text/plain ; Q=0.2":          text,
		"application/json;q=1.000, text/html;q=1":                        object,
		"*/json, text, /, application/jsonx, x+json/y, +json, text/htm*": text,
	} {
		fields := []string{accept}
		if accept == "" {
			fields = nil
		}
		got, body := Append(nil, &Facts{Status: 404, ID: "7"}, accepting(fields...))
		if got != want || len(body) == 0 {
			t.Errorf("%q: %s, want %s", accept, got, want)
		}
	}
	if got, _ := Append(nil, &Facts{Status: 404}, accepting("text/plain;q=0.1", "text/html")); got != page {
		t.Errorf("two fields: %s", got)
	}
}

// What is in the pages, word for word.
func TestAppend_golden(t *testing.T) {
	var all bytes.Buffer
	for _, f := range []Facts{
		{Status: 502, Text: "The backend is gone.", Token: "connection_refused", ID: "d3d6c761547dfacf"},
		{Status: 404, Text: "There is nothing here.", Token: "destination_not_found", ID: "d3d6c761547dfacf"},
		{Status: 400, Text: "The request is malformed: no Host field.", Token: "http_protocol_error"},
		{Status: 599},
	} {
		for _, accept := range []string{"*/*", "application/json", "text/html"} {
			contentType, body := Append(nil, &f, accepting(accept))
			all.WriteString("--- " + contentType + "\n")
			all.Write(body)
		}
	}
	path := filepath.Join("testdata", "pages.txt")
	if *update {
		if err := os.WriteFile(path, all.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, all.Bytes()) {
		t.Errorf("got\n%s\nwant\n%s\n(-update writes it)", all.Bytes(), want)
	}
}

// What went wrong behind the proxy is nothing for strangers.
func TestAppend_tellsNothingOfBackends(t *testing.T) {
	for _, status := range []int{500, 502, 503, 504, 508} {
		for _, accept := range []string{"*/*", "application/json", "text/html"} {
			_, body := Append(nil, &Facts{Status: status, Text: "inside", ID: "7"}, accepting(accept))
			if bytes.Contains(body, []byte("inside")) || !bytes.Contains(body, []byte("7")) {
				t.Errorf("%d: %s", status, body)
			}
		}
	}
}

const hostile = "</title><script>alert('1')</script>\"\\\n\x00\x1b[2J\xff{status}`&amp;"

func TestAppend_escapes(t *testing.T) {
	f := &Facts{Status: 400, Text: hostile, Token: hostile, ID: hostile, Host: []byte(hostile)}
	for _, accept := range []string{"text/html", "application/json"} {
		_, body := Append(nil, f, accepting(accept))
		if bytes.ContainsAny(body, "\x00\x1b\xff") || bytes.Contains(body, []byte("<script")) {
			t.Errorf("%s", body)
		}
	}
	_, body := Append(nil, f, accepting("application/json"))
	var got struct {
		Status                    int
		Error, Reason, Request_ID string
	} //nolint:revive // as it is written
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	want := "</title><script>alert('1')</script>\"\\\n[2J{status}`&amp;"
	if got.Error != want || got.Reason != want || got.Request_ID != want {
		t.Errorf("%+v", got)
	}
}

func TestPage_variables(t *testing.T) {
	f := &Facts{Status: 503, ID: "d3", Host: []byte(hostile)}
	clean := strings.NewReplacer("\x00", "", "\x1b", "", "\xff", "").Replace(hostile)
	inJSON, err := json.Marshal(clean)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ contentType, body, want string }{
		{"text/plain", "{status} {reason}\n", "503 Service Unavailable\n"},
		{"text/html", "<p>{request_id}</p>{{status}}", "<p>d3</p>{503}"},
		{"text/css", "a { color: red } {other} {status", "a { color: red } {other} {status"},
		{"text/plain", "{host}", clean},
		{"application/ld+json; charset=utf-8", `"{host}"`, string(inJSON)},
		{"text/html; charset=utf-8", "", ""},
	} {
		p, err := New(c.contentType, c.body)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(p.append(nil, f)); got != c.want && html.UnescapeString(got) != c.want {
			t.Errorf("%s, %s: %q, want %q", c.contentType, c.body, got, c.want)
		}
	}
	f.ID = hostile
	for _, variable := range []string{"{host}", "{request_id}"} {
		p, err := New("image/svg+xml", variable)
		if err != nil {
			t.Fatal(err)
		}
		got := string(p.append(nil, f))
		if strings.ContainsAny(got, "<>\"'`\\") || html.UnescapeString(got) != clean {
			t.Errorf("%s: %q", variable, got)
		}
	}
	p, err := New("text/html", "{host}")
	if err != nil {
		t.Fatal(err)
	}
	f.Host = bytes.Repeat([]byte("h"), 9000)
	if got := p.append(nil, f); len(got) != hostMax {
		t.Errorf("%d bytes of a host", len(got))
	}
}

func TestSet_nearestPageThatTheClientTakes(t *testing.T) {
	add := func(s *Set, status, contentType, body string) {
		t.Helper()
		p, err := New(contentType, body)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Add(status, p); err != nil {
			t.Fatal(err)
		}
	}
	route, listener, all := &Set{}, &Set{}, &Set{}
	listener.Else = all
	add(route, "404", "text/html", "route 404")
	add(listener, "5xx", "text/html", "listener 5xx")
	add(listener, "503", "text/html", "listener 503")
	add(listener, "503", "application/json", `"listener 503"`)
	add(all, "4xx", "text/html", "all 4xx")
	add(all, "504", "text/html", "all 504")
	for _, c := range []struct {
		status       int
		accept, want string
	}{
		{404, "text/html", "route 404"},
		{403, "text/html", "all 4xx"},
		{404, "*/*", "route 404"},
		{404, "", "route 404"},
		{404, "application/json", `{"status":404`},
		{503, "application/json", `"listener 503"`},
		{503, "text/html;q=0.9, application/json;q=0.1", "listener 503"},
		{503, "*/*", "listener 503"},
		{504, "text/html", "listener 5xx"},
		{301, "text/html", "<!doctype"},
	} {
		accept := accepting(c.accept)
		if c.accept == "" {
			accept = nil
		}
		_, got := Append(nil, &Facts{Status: c.status}, accept, route, listener)
		if !strings.HasPrefix(string(got), c.want) {
			t.Errorf("%d, %s: %q, want %q", c.status, c.accept, got, c.want)
		}
	}
	if _, got := Append(nil, &Facts{Status: 403}, nil, nil, (*Set)(nil)); !strings.HasPrefix(string(got), "403 ") {
		t.Errorf("%q", got)
	}
}

func TestSet_refusesWhatNoPageCanBeFor(t *testing.T) {
	for _, contentType := range []string{"", "html", "text/", "/html", "text/html\r\nX: y", "te xt/html"} {
		if _, err := New(contentType, ""); err == nil {
			t.Errorf("%q is taken", contentType)
		}
	}
	p, err := New("text/html", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, status := range []string{"", "200", "399", "600", "0404", "+404", "3xx", "5XX", "x"} {
		if err := new(Set).Add(status, p); err == nil {
			t.Errorf("%q is taken", status)
		}
	}
}

// An overloaded proxy answers much: a page costs no more than its bytes.
func TestAppend_allocatesNothing(t *testing.T) {
	f := &Facts{Status: 503, Token: "proxy_internal_response", ID: "d3d6c761547dfacf"}
	dst := make([]byte, 0, 4<<10)
	for _, accept := range []string{"*/*", "text/html,application/xhtml+xml,*/*;q=0.8", "application/json"} {
		elements := accepting(accept)
		if n := testutil.Allocs(100, func() { _, dst = Append(dst[:0], f, elements) }); n > 0 {
			t.Errorf("%s: %v allocations", accept, n)
		}
	}
}

func FuzzAppend_accept(f *testing.F) {
	f.Add("text/html;q=0.9,*/*;q=0.8")
	f.Fuzz(func(t *testing.T, accept string) {
		if _, body := Append(nil, &Facts{Status: 404}, accepting(accept)); len(body) == 0 {
			t.Error("no body")
		}
	})
}

// A list that fills a head costs no more than a long one: what follows the ranges that are read says nothing.
func TestAppend_acceptsOfManyRanges(t *testing.T) {
	for n, want := range map[int]string{rangesMax - 1: typeHTML, rangesMax: typeText} {
		h := accepting(strings.Repeat("a/b,", n)+"text/html", "*/*;q=0.1")
		if n == rangesMax {
			h = accepting("*/*;q=0.1,"+strings.Repeat("a/b,", n-1), "text/html")
		}
		if got, _ := Append(nil, &Facts{Status: 404}, h); got != want {
			t.Errorf("%d ranges before it: %s, want %s", n, got, want)
		}
	}
}

func BenchmarkAppend_flood(b *testing.B) {
	f, h, dst := &Facts{Status: 404}, accepting(strings.Repeat("a/b,", 8000)), make([]byte, 0, 4<<10)
	b.ReportAllocs()
	for b.Loop() {
		_, dst = Append(dst[:0], f, h)
	}
}

func BenchmarkAppend_browser(b *testing.B) {
	f := &Facts{Status: 503, Token: "proxy_internal_response", ID: "d3d6c761547dfacf"}
	elements := accepting("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	dst := make([]byte, 0, 4<<10)
	b.ReportAllocs()
	for b.Loop() {
		_, dst = Append(dst[:0], f, elements)
	}
}
