package interop

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// child names what a process of this binary is to do instead of the tests.
const child = "EDGE_INTEROP"

func TestMain(m *testing.M) {
	switch os.Getenv(child) {
	case "grpc":
		runCase()
		return
	case "greeter":
		runGreeter()
		return
	case "origin":
		runOrigin()
		return
	}
	os.Exit(testutil.Main(m))
}

// startChild starts a process of this binary that does something instead of the tests.
func startChild(t *testing.T, name string, env ...string) *testutil.Process {
	t.Helper()
	self, err := os.Executable()
	testutil.Must(t, err)
	return testutil.Start(t, testutil.Command{Path: self, Env: append(env, child+"="+name)})
}

// soak reports whether the full counts are asked for.
func soak() bool { return os.Getenv("EDGE_SOAK") != "" }

// edge is a running proxy with a plain and a TLS listener, both for HTTP/1 and HTTP/2, the latter also for HTTP/3, and
// one for HTTP/2 alone.
type edge struct {
	*testutil.Process
	file, listeners    string // the configuration, and what startEdge puts before more
	plain, h2c, secure string
	ca                 string         // file with the authority of its certificate
	pool               *x509.CertPool // the same
}

// startEdge starts edge with more, which has the routes and upstreams.
func startEdge(t *testing.T, format string, args ...any) *edge {
	t.Helper()
	keys := newKeys(t)
	file := filepath.Join(t.TempDir(), "edge.toml")
	listeners := fmt.Sprintf(`
[[listeners]]
name = "plain"
listen = "127.0.0.1:0"
protocols = ["h1", "h2"]

[[listeners]]
name = "h2c"
listen = "127.0.0.1:0"
protocols = ["h2"]

[[listeners]]
name = "secure"
listen = "127.0.0.1:0"
tls = true

[[certificates]]
cert = %q
key = %q

[log]
output = []
`, keys.cert, keys.key)
	testutil.Must(t, os.WriteFile(file, fmt.Appendf([]byte(listeners), format, args...), 0o600))
	e := &edge{file: file, listeners: listeners, ca: keys.ca, pool: keys.pool}
	e.Process = testutil.StartEdge(t, file)
	e.plain = e.WaitLine(`"msg":"listening".*"listener":"plain".*"address":"([^"]+)"`)[1]
	e.h2c = e.WaitLine(`"msg":"listening".*"listener":"h2c".*"address":"([^"]+)"`)[1]
	e.secure = e.WaitLine(`"msg":"listening".*"listener":"secure".*"address":"([^"]+)"`)[1]
	return e
}

// client is the TLS side of a client of e.
func (e *edge) client(protocols ...string) *tls.Config {
	return &tls.Config{RootCAs: e.pool, ServerName: "localhost", NextProtos: protocols}
}

// keys are files with a certificate for localhost, and what trusts it.
type keys struct {
	cert, key, ca string
	pool          *x509.CertPool
}

func newKeys(t *testing.T) *keys {
	t.Helper()
	dir, a := t.TempDir(), testutil.NewAuthority(t)
	a.IssueTo(t, dir, "pair", nil, "localhost", "127.0.0.1")
	k := &keys{
		cert: filepath.Join(dir, "pair.pem"), key: filepath.Join(dir, "pair.key"), ca: filepath.Join(dir, "ca.pem"),
		pool: a.Pool,
	}
	a.Write(t, k.ca)
	return k
}

// port is the port of addr.
func port(t *testing.T, addr string) int {
	t.Helper()
	var n int
	if _, err := fmt.Sscanf(addr[strings.LastIndexByte(addr, ':')+1:], "%d", &n); err != nil {
		t.Fatal(err)
	}
	return n
}
