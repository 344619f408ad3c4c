package server

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

// spellings returns requests whose queries and Referers have the value s3cr3t under names that redact has: in any case,
// with escapes, twice, beside empty ones.
func spellings(n int) (all []string) {
	r := rand.New(rand.NewPCG(5, 6))
	names := []string{"token", "access_token", "X-Amz-Signature", "sig", "shop", "reset_token", "accessToken",
		"api-key", "__Host-pwd", "X-Amz-Credential"}
	for range n {
		var name strings.Builder
		for _, c := range []byte(names[r.IntN(len(names))]) {
			switch r.IntN(4) {
			case 0:
				fmt.Fprintf(&name, "%%%02X", c)
			case 1:
				name.WriteString(strings.ToUpper(string(c)))
			default:
				name.WriteByte(c)
			}
		}
		forms := []string{
			"%[1]s=s3cr3t", "a=1&%[1]s=s3cr3t", "%[1]s=s3cr3t&b=2", "%[1]s=s3cr3t&%[1]s=s3cr3t", "%[1]s=&%[1]s=s3cr3t",
			"a;%[1]s=s3cr3t", "%[1]s=s3cr3t=s3cr3t", "&&%[1]s=s3cr3t&=", "a=%%zz&%[1]s=%%73s3cr3t",
			"%[1]s%%3ds3cr3t", "a=1&next=https://u:s3cr3t@h/&%[1]s=s3cr3t",
		}
		all = append(all, fmt.Sprintf(forms[r.IntN(len(forms))], name.String()))
	}
	return all
}

// What redact names is in no log, in whatever form and by whatever way it comes there.
func TestLog_redacts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	s := start(t, Options{}, `
log = { output = [%q], redact = ["preset:secrets", "shop"] }
http = { name = "web", listen = "127.0.0.1:0" }
routes = [
	{ pattern = "/json", dest = "status:204" },
	{ pattern = "/combined", dest = "status:204", access_log = { path = %q, format = "combined" } },
	{ pattern = "/logfmt", dest = "status:204", access_log = { path = %q, format = "logfmt",
		fields = { to = "{target}", from = "{header.referer}", cookie = "{header.cookie}" } } },
	{ pattern = "/line", redirect = { to = "/other?{query}" }, access_log = { path = %q,
		line = '{query} {lower(target)} {header.referer} {header.cookie} {answer.header.location}' } },
]
`, file("json"), file("combined"), file("logfmt"), file("line"))
	const each = 200
	conn, err := net.Dial("tcp", strings.TrimPrefix(urlOf(t, s, "web"), "http://"))
	try(t, err)
	defer func() { _ = conn.Close() }()
	answers := bufio.NewReader(conn)
	paths := []string{"json", "combined", "logfmt", "line"}
	for _, query := range spellings(each) {
		for _, path := range paths {
			const form = "GET /%s?%s HTTP/1.1\r\nHost: a\r\nReferer: https://b/?%s\r\nCookie: %s\r\n\r\n"
			_, err := fmt.Fprintf(conn, form, path, query, query, query)
			try(t, err)
			answer, err := http.ReadResponse(answers, nil)
			try(t, err)
			_ = answer.Body.Close()
		}
	}
	for _, path := range paths {
		testutil.Eventually(t, testutil.Patience, func() bool {
			return strings.Count(readFile(file(path)), "\n") == each
		}, "all requests are logged")
		text := readFile(file(path))
		if n := strings.Count(text, "REDACTED"); strings.Contains(text, "s3cr3t") || n < 2*each {
			t.Errorf("%s: %d values are hidden: %s", path, n, text[:min(len(text), 2000)])
		}
	}
}
