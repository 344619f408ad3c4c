//go:build apps

package apps

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// TestHTTPServer has the server of Python's library, which speaks HTTP/1.0: it closes after each answer.
func TestHTTPServer(t *testing.T) {
	a := begin(t, "python http.server")
	python := a.need("python3", "python3")
	a.versionOf(python, "--version")
	root := t.TempDir()
	a.write(filepath.Join(root, "index.html"), "<h1>hello</h1>\n")
	a.write(filepath.Join(root, "large.bin"), string(noise(30e6, 5)))
	a.write(filepath.Join(root, "empty.txt"), "")
	a.write(filepath.Join(root, "list", "a file.txt"), "a")
	address := testutil.FreeAddr(t)
	host, port, _ := net.SplitHostPort(address)
	a.start(testutil.Command{
		Path: python, Args: []string{"-m", "http.server", "--bind", host, "--directory", root, port},
	}).WaitPort(address)
	a.frontAll(address)

	for question, ask := range map[string]request{
		"a page":                   {path: "/"},
		"30 MB":                    {path: "/large.bin"},
		"an empty file":            {path: "/empty.txt"},
		"HEAD":                     {path: "/large.bin", method: "HEAD"},
		"a page that is not there": {path: "/nothing"},
		"a listing":                {path: "/list/"},
		"a name with a space":      {path: "/list/a%20file.txt"},
		"a redirect":               {path: "/list?a=b"},
		"a method that it has not": {path: "/", method: "POST", body: strings.NewReader("a body")},
		"a chunked body":           {path: "/", method: "PUT", body: chunked([]byte("a body"))},
	} {
		a.ask(question, all, func(t *testing.T, w *way) string { return w.do(t, ask).tell(w) })
	}
	a.ask("Last-Modified", all, conditional("/large.bin", "Last-Modified", "If-Modified-Since"))
}
