package importer_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	importer "github.com/edge-proxy/edge/cmd/edge-import/internal/importer"
	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// FuzzImport: whatever a file says, the result loads, and nothing panics.
func FuzzImport(f *testing.F) {
	testutil.OnlyPlain(f)
	for i, program := range importer.Programs() {
		files, err := filepath.Glob(filepath.Join("testdata", program, "*"))
		if err != nil {
			f.Fatal(err)
		}
		more, err := filepath.Glob(filepath.Join("testdata", program, "*", "*.*ml"))
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range append(files, more...) {
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
		"limit_req_zone; limit_req_zone $a; limit_req_zone $remote_addr zone=:1m rate=0r/s; limit_req_zone $http_ " +
			"zone=a:1 rate=9999999999r/m; limit_req_zone '{$host' zone=b:x rate=1r/s; server { limit_req; " +
			"limit_req zone=a burst=-1; limit_req zone=b burst=99999999999 delay=x; allow; deny; deny a; " +
			"allow 1.2.3.4/99; location / { satisfy; limit_except; limit_except GET { allow all; } " +
			"proxy_pass http://a; } location /a { deny 1.2.3.4; auth_basic; auth_basic_user_file; return 200; } }",
		"server { location / { if ($cookie_ = a) { return 403; } if ($remote_addr = x) { return 403; } " +
			"if ($http_a ~ \"\\\") { return 403; } if ($arg_b !~ (( ) { return 403; } return 200; } }",
		"frontend f\nbind :80\nacl\nacl a\nacl a { {\nacl b path -m\nacl c -i\nacl d hdr( -f\nacl e src -f x\n" +
			"http-request deny if ! { or\nhttp-request deny unless ! !\nhttp-request deny if { }\nhttp-request\n" +
			"http-request return\nhttp-request auth if !{ http_auth() }\nhttp-request set-header\n" +
			"http-request replace-path ( \\1\nhttp-request deny if { sc_http_req_rate(0) gt }\n" +
			"http-request track-sc0\nhttp-request deny if { sc0_http_req_rate gt 9 } a b\nuse_backend\n" +
			"use_backend x if\nstick-table store http_req_rate(\ndefault_backend\nbackend x\nhttp-request deny\n",
		"gzip on; gzip_types; gzip_comp_level; gzip_min_length -1; server { root; index; autoindex on; charset; " +
			"expires; try_files; location /a/ { alias; } location /b/ { alias /; try_files $uri/ =404 x / " +
			"$uri$uri; } location ~ x { alias /x; } location = / { root /a; expires -; index a.php; gzip off; } " +
			"location /c { root /${x}; expires max; add_header Cache-Control; fastcgi_pass; } " +
			"location /d { root /a; expires modified +1h; " +
			"gzip_types *; try_files =404; } }",
		"acme_issuer { uri; external_account_key; } acme_issuer a { external_account_key k f; contact mailto:; " +
			"ssl_trusted_certificate; challenge; } server { listen 443 ssl; acme_certificate a key= *.a \"b\n\"; " +
			"ssl_certificate $acme_certificate; } server { listen 443 ssl; server_name *.a.com; acme_certificate; " +
			"ssl_certificate $acme_certificate; ssl_certificate_key; }",
		"defaults\ncompression\ncompression algo\nfrontend f\nbind :80\ncompression type\ncompression algo " +
			"raw-deflate\ndefault_backend b\nbackend b\ncompression algo gzip\nserver a a:1\n",
		":80 {\nroot\nroot *\nroot /x {a}\ntry_files\ntry_files {path}/ =404 {x} index.php\nencode {\nbr\nmatch\n" +
			"minimum_length x\n}\nencode @a gzip\nfile_server {\nroot {x}\nindex a.php\nhide\n}\nfile_server /a " +
			"browse\n}\n",
		"http: {middlewares: {a: {compress: {encodings: [br], minResponseBodyBytes: x}}, b: {compress: true}}}",
		"server { add_header; add_header A; proxy_set_header; error_page; error_page 404; try_files; auth_basic; }",
	} {
		for program := range importer.Programs() {
			f.Add(program, []byte(text))
		}
	}
	for _, text := range []string{
		"", "}", "{", "{\n}", "{}", ":80 {", "a.test {\n}}\n", "import f", "import *.caddy", ":80\nimport f\n",
		"(a) {\nimport a\n}\n:80\nimport a\n",
		"(a) {\n{block}\n{args[:]} {args[0:9]} {args.0}\n}\n:80 {\nimport a 1 2 {\nrespond 2\n}\n}\n",
		":80\nrespond <<A\n  x\n A\n", ":80\nrespond <<A", ":80\nrespond \"a\\\"b\n", ":80\nrespond `a",
		"\"\" {\n}", ", {\n}", ":99999\n", "http://:0\n", "ftp://a\n", "[::1]:80\n", "*.*.test\n",
		"a.test/x/*\n", "{$A:{$B}}\n", "a\\\nb\n",
		"{\norder respond first\norder x before y\norder\nhttp_port a\nservers {\ntimeouts {\n" +
			"idle -1\n}\n}\n}\n:80\n",
		":80 {\n@\n@a\n@b {\n}\n@c not\n@d not not path\n@e path\n@f header\n@g query =\n@h method\n" +
			"@i path_regexp (\nrespond @a\nrespond @b\nrespond @c\nrespond @d\nrespond @e\n" +
			"respond @f\nrespond @g\nrespond @h\nrespond @i\n}\n",
		":80 {\nreverse_proxy\nreverse_proxy :\nreverse_proxy a:1-9 {\nlb_policy\nhealth_uri\n" +
			"header_up\ntransport\n}\n}\n",
		":80 {\nredir\nrespond\nerror\nheader\nheader -\nrewrite\nuri\nhandle\nhandle_path\nroute\n" +
			"root\nhandle_errors {\n}\n}\n",
		":80 {\nhandle_path /a* {\nuri strip_prefix /b\nrewrite /c{uri}\nredir /x{path}\n}\n" +
			"rewrite * ?\nuri replace / \\\n}\n",
		":80 {\nrespond @x 200\n@x {\nheader A b\nheader A c*\nheader !A\nquery a=1 a=2 b=*\n" +
			"method A B C D E F G H I J\n}\n}\n",
		"a, b {\ntls x y {\nclient_auth {\n}\nprotocols\n}\nbind \nlog {\noutput\n}\n}\nhttp://b {\n" +
			"bind unix/x\n}\n",
		"{\nemail\nacme_ca\nacme_eab {\nkey_id\nmac_key \"\n\"\n}\non_demand_tls {\nask x\nask\n}\ncert_issuer\n" +
			"cert_issuer acme {\ncert_issuer acme {\ndir\n}\n}\n" +
			"key_type x y\nstorage file_system\nhttp_port 0\n}\na.com, *.a.com, https:// {\n" +
			"tls @ {\non_demand\nissuer\nissuer acme {\nissuer zerossl\n}\neab a b\nca \"\n\"\n}\n}\n" +
			"b.a.com {\ntls {\nca x\nissuer internal\n}\n}\nhttps://b.a.com:444 {\n}\n",
	} {
		f.Add(slices.Index(importer.Programs(), "caddy"), []byte(text))
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
