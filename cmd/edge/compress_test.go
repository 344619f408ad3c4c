package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

const compressedFile = `
[admin]
listen = "unix:%s"
[http]
listen = "127.0.0.1:0"
[log]
output = ["%s"]
[filters.small]
type = "compress"
[defaults]
filters = ["small"]
[[rules]]
when = 'query.raw == "1"'
filters = ["!small"]
[[routes]]
pattern = "/*"
dest = "static:%[3]s"
[[routes]]
pattern = "/plain/*"
dest = "static:%[3]s"
filters = ["!small"]
`

// Answers that are compressed are counted, and those that are not by the reason; the log has the coding, and explain
// says which one an answer would have.
func TestCompress(t *testing.T) {
	t.Parallel()
	dir, socket := t.TempDir(), testutil.SocketPath(t)
	wwwFolder(t, dir, "one")
	log := filepath.Join(dir, "access.log")
	p := start(t, compressedFile, socket, log, dir)
	p.WaitLine(`"section":"admin"`)
	for _, path := range []string{"/large.txt", "/", "/large.txt?raw=1", "/large.txt"} {
		curlWith(t, "-o", os.DevNull, "-H", "Accept-Encoding: gzip", "http://"+p.addr+path)
	}
	page := curlWith(t, "--unix-socket", socket, "http://edge/metrics")
	for _, line := range []string{
		`edge_compress_total{encoding="gzip",filter="small",result="compressed"} 2`,
		`edge_compress_total{encoding="identity",filter="small",result="small"} 1`,
	} {
		if !strings.Contains(page, line) {
			t.Errorf("no %s in\n%s", line, page)
		}
	}
	const accepts = "explain -H Accept-Encoding:"
	p.commands(t,
		command{accepts + "gzip http://a.test/", 0, "gzip where the answer is of types and of min_size"},
		command{accepts + "br http://a.test/", 0, "no compression, the client accepts none of encodings"},
		command{accepts + "gzip http://a.test/?raw=1", 0, "a rule takes it out"},
		command{accepts + "gzip http://a.test/plain/1", 0, "the route takes it out"},
	)
	p.Stop()
	if n := strings.Count(textOf(t, log), `,"encoding":"gzip","bytes_saved":`); n != 2 {
		t.Errorf("%d lines have the coding:\n%s", n, textOf(t, log))
	}
}
