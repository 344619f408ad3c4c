package importer_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	importer "github.com/edge-proxy/edge/config/import"
	"github.com/edge-proxy/edge/config/import/plan"
)

// FuzzImport: whatever a file says, the result loads, and nothing panics.
func FuzzImport(f *testing.F) {
	for i, program := range importer.Programs() {
		files, err := filepath.Glob(filepath.Join("testdata", program, "*"))
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			if text, err := os.ReadFile(file); err == nil && !strings.HasSuffix(file, ".golden") {
				f.Add(i, text)
			}
		}
	}
	for _, text := range []string{
		"", "}", "{", "http{server{", `http { server { listen "; } }`, "include *.conf;", "include f;",
		"server { location / { return 301 https://$host/{a}; } }", "server { location /%zz { return 200; } }",
		"server { location /a*b/ { proxy_pass http://a:b/*; } }", "server { return 301 \"\\\"\\n\"; }",
		"server { listen 99999; listen [::; listen unix:; server_name \xff *.*; }",
		"server { set $a $a$a; set $b $b; proxy_pass http://$a; location / { proxy_pass $a://$b; } }",
		"upstream u { server a b=c; server :; server unix:; hash $x; keepalive -1; }" +
			"server { location / { proxy_pass http://u; } }",
		"server { if ($x { return 1; } if () { } if ($http_a = \"\") { return 403; } " +
			"if ($http_a != b) { return 403; } }",
		"server { rewrite; rewrite ^/(.*)$ $1$1 permanent; rewrite (( x last; location ~ (( { } " +
			"location = { } location { } }",
		"server { add_header; add_header A; proxy_set_header; error_page; error_page 404; try_files; auth_basic; }",
	} {
		f.Add(0, []byte(text))
		f.Add(1, []byte(text))
	}
	f.Fuzz(func(t *testing.T, program int, text []byte) {
		programs := importer.Programs()
		if program < 0 || len(text) > 1<<14 {
			return
		}
		p, err := importer.Import(programs[program%len(programs)], "f", &plan.Reader{
			Files: fstest.MapFS{"f": {Data: text}, "a.conf": {Data: text}},
		})
		if err != nil {
			return
		}
		result := p.Text(plan.TextOnly)
		if report := plan.TextOnly(result); !report.OK() {
			t.Fatalf("%v\n%s", report.Errors, result)
		}
		for _, finding := range p.Findings() {
			if line := finding.String(); strings.ContainsAny(line, "\n\r") {
				t.Errorf("%q is not one line", line)
			}
		}
	})
}
