package testutil

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// nginxConf is one process that needs no folder but its own.
const nginxConf = `
daemon off;
master_process off;
pid nginx.pid;
error_log stderr emerg;
events { worker_connections 64; }
http {
	access_log off;
	client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
%s
}
`

// Nginx is the path of nginx. It skips the test where none is installed; Debian keeps it out of the PATH of users.
func Nginx(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"nginx", "/usr/sbin/nginx", "/usr/local/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("nginx is not installed")
	return ""
}

// StartNginx runs nginx with these lines of its http block.
func StartNginx(t testing.TB, format string, args ...any) *Process {
	t.Helper()
	path, dir := Nginx(t), t.TempDir()
	conf := filepath.Join(dir, "nginx.conf")
	Must(t, os.WriteFile(conf, fmt.Appendf(nil, nginxConf, fmt.Sprintf(format, args...)), 0o600))
	return Start(t, Command{Path: path, Args: []string{"-p", dir, "-c", conf, "-e", "stderr"}})
}

// NginxOracle is a running nginx that is asked which of its servers a request goes to. A connection to
// each server fails without a packet being sent: no address of a multicast group takes a TCP connection, nor does a
// socket that is not there. So nginx only says where it would go. Owned by the goroutine of its test.
type NginxOracle struct {
	t     testing.TB
	conn  net.Conn
	in    *textproto.Reader
	index map[string]int // of servers, by what nginx calls them when it connects
}

// AskNginx starts nginx with an upstream block of these lines, and others before it. A request goes to so many servers,
// one after the other.
func AskNginx(t testing.TB, before, block string, tries int, index map[string]int) *NginxOracle {
	t.Helper()
	next, socket := "off", SocketPath(t)
	if tries > 1 {
		next = fmt.Sprintf("error; proxy_next_upstream_tries %d", tries)
	}
	StartNginx(t, `
	keepalive_requests 100000000;
	keepalive_timeout 1h;
	large_client_header_buffers 4 64k;
%s	upstream u {
%s	}
	server {
		listen unix:%s;
		location / {
			proxy_pass http://u;
			proxy_next_upstream %s;
			error_page 500 502 503 504 = @asked;
		}
		location @asked {
			default_type text/plain;
			return 200 "$upstream_addr";
		}
	}`, before, block, socket, next)
	o := &NginxOracle{t: t, index: index}
	Eventually(t, Patience, func() bool {
		var err error
		o.conn, err = net.Dial("unix", socket)
		return err == nil
	}, "nginx listens")
	t.Cleanup(func() { o.conn.Close() })
	o.in = textproto.NewReader(bufio.NewReaderSize(o.conn, 1<<16))
	return o
}

// pipelined is how many requests are under way: their answers fit the buffers of a socket.
const pipelined = 128

// Tried returns, for each request, the servers that nginx tries. A request is a target and lines of fields:
// "/?k=1 HTTP/1.1\r\nX-Real-IP: ::1".
func (o *NginxOracle) Tried(requests ...string) [][]int {
	o.t.Helper()
	answers := make([][]int, 0, len(requests))
	for batch := range slices.Chunk(requests, pipelined) {
		var out []byte
		for _, request := range batch {
			out = fmt.Appendf(out, "GET %s\r\nHost: a\r\n\r\n", request)
		}
		_, err := o.conn.Write(out)
		Must(o.t, err)
		for range batch {
			answers = append(answers, o.answer())
		}
	}
	return answers
}

// answer reads one response.
func (o *NginxOracle) answer() (tried []int) {
	o.t.Helper()
	status, err := o.in.ReadLine()
	if err != nil || status != "HTTP/1.1 200 OK" {
		o.t.Fatal(status, err)
	}
	head, err := o.in.ReadMIMEHeader()
	Must(o.t, err)
	length, err := strconv.Atoi(head.Get("Content-Length"))
	Must(o.t, err)
	body := make([]byte, length)
	_, err = io.ReadFull(o.in.R, body)
	Must(o.t, err)
	for address := range strings.SplitSeq(string(body), ", ") {
		i, known := o.index[address]
		if !known {
			o.t.Fatalf("nginx has tried %q", address)
		}
		tried = append(tried, i)
	}
	return tried
}
