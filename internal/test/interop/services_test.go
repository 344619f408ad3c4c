package interop

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// tcpService is a service of edge that leads to one backend, told the client by a version of the PROXY protocol.
const tcpService = `
[services.relay]
type = "tcp"
listen = "127.0.0.1:0"
dest = "behind"
%s
[upstreams.behind]
backends = [{ address = "%s" }]
%s
`

func serviceBefore(t *testing.T, backend, service, upstream string) (addr string) {
	t.Helper()
	e := startEdge(t, tcpService, service, backend, upstream)
	return e.WaitLine(`"msg":"listening".*"listener":"relay".*"address":"([^"]+)"`)[1]
}

// HAProxy as the backend of a service reads the header that edge writes, also where edge ends TLS for the client.
func TestServices_haproxyIsTold(t *testing.T) {
	const secured = "tls = true\n[[certificates]]\ncert = \"internal\"\n"
	for version, keys := range map[string]string{"v1": "", "v2": "", "v2 ": secured} {
		f := &fronts{t: t}
		front := f.section("127.0.0.1", "accept-proxy", "mode http\nhttp-request return status 200 "+
			"content-type text/plain lf-string \"%%[src] %%[src_port] %%[dst] %%[dst_port]\"")
		f.haproxy()
		upstream := "proxy_protocol = \"" + strings.TrimSpace(version) + "\"\n"
		addr := serviceBefore(t, front.String(), keys, upstream)
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 5)}}
		conn, err := d.Dial("tcp", addr)
		testutil.Must(t, err)
		defer conn.Close()
		local := addrOf(conn.LocalAddr())
		if keys != "" {
			conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		}
		fmt.Fprint(conn, "GET / HTTP/1.0\r\n\r\n") //nolint:errcheck // the read tells
		got, _ := io.ReadAll(conn)
		host, port, _ := net.SplitHostPort(addr)
		want := fmt.Sprintf("%v %d %s %s", local.Addr(), local.Port(), host, port)
		if !strings.HasSuffix(string(got), "\r\n\r\n"+want) {
			t.Errorf("%s: %q, want %q", version, got, want)
		}
	}
}

// curl asks by names for HTTP/2 of HAProxy, whose TLS edge passes on: by a service, and beside names that edge ends.
func TestServices_curlByName(t *testing.T) {
	curl, dir, ca := sbin(t, "curl"), t.TempDir(), testutil.NewAuthority(t)
	ca.Write(t, filepath.Join(dir, "ca.pem"))
	f := &fronts{t: t}
	behind := func(name string) (addr string) {
		ca.IssueTo(t, dir, name, nil, name)
		both := filepath.Join(dir, name+".both")
		for _, part := range []string{".pem", ".key"} {
			b := testutil.ReadFile(t, filepath.Join(dir, name+part))
			appendFile(t, both, b)
		}
		return f.section("127.0.0.1", "ssl crt "+both+" alpn h2", "mode http\nhttp-request return status 200 "+
			"content-type text/plain string %s", name).String()
	}
	one, two := behind("one.example"), behind("two.example")
	f.haproxy()
	ca.IssueTo(t, dir, "web", nil, "web.example")
	e := startEdge(t, "[services.names]\nlisten = \"127.0.0.1:0\"\npeek = true\ndest = %q\n"+
		"[[services.names.routes]]\nwhen = 'tls.sni == \"one.example\"'\ndest = %q\n"+
		"[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\ncert = %q\nkey = %q\n"+
		"[[listeners.tls_rules]]\nwhen = 'tls.sni == \"one.example\" and tls.alpn == \"h2\"'\ndest = %q\n"+
		"[[routes]]\npattern = \"/*\"\ndest = \"status:204\"\n",
		two, one, filepath.Join(dir, "web.pem"), filepath.Join(dir, "web.key"), one)
	for _, c := range []struct{ listener, name, want string }{
		{"names", "one.example", "one.example200 2"}, {"names", "two.example", "two.example200 2"},
		{"web", "one.example", "one.example200 2"}, {"web", "web.example", "204 2"},
	} {
		addr := e.WaitLine(`"msg":"listening".*"listener":"` + c.listener + `".*"address":"([^"]+)"`)[1]
		_, port, _ := net.SplitHostPort(addr)
		out, err := exec.Command(curl, "-sS", "--cacert", filepath.Join(dir, "ca.pem"), "--resolve",
			c.name+":"+port+":127.0.0.1", "-w", "%{http_code} %{http_version}", "https://"+c.name+":"+port+"/").Output()
		if got := strings.ReplaceAll(string(out), "\n", ""); err != nil || got != c.want {
			t.Errorf("%s at %s: %q, %v", c.name, c.listener, got, err)
		}
	}
}

func appendFile(t *testing.T, path string, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.Write(b)
		f.Close()
	}
	testutil.Must(t, err)
}
