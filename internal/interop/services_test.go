package interop

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
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
		if err != nil {
			t.Fatal(err)
		}
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
