package ketama

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

var update = flag.Bool("update", false, "write testdata/nginx.golden with what nginx answers")

// oracle is a running nginx that is asked which of its servers a key goes to. Each server is one that a connection
// fails at without a packet being sent: no address of a multicast group takes a TCP connection, nor does a socket that
// is not there. So nginx only says where it would go. Owned by the goroutine of its test.
type oracle struct {
	t         *testing.T
	conn      net.Conn
	in        *textproto.Reader
	addresses map[string]int // from $upstream_addr to the server
}

// upstream is the servers of an upstream block, with what stands after the weight of some.
type upstream struct {
	servers []Server
	flags   map[int]string
	tries   int // servers that a request is sent to, one after the other
}

const nginxConfig = `
daemon off;
master_process off;
pid nginx.pid;
error_log stderr emerg;
events { worker_connections 64; }
http {
	access_log off;
	client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
	keepalive_requests 100000000;
	keepalive_timeout 1h;
	large_client_header_buffers 4 64k;
	upstream u {
		hash $http_k consistent;
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
	}
}
`

// ask starts nginx with an upstream.
func ask(t *testing.T, u upstream) *oracle {
	t.Helper()
	dir, err := os.MkdirTemp("", "ketama") // that of the test may be too long for the path of a socket
	testutil.Must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	config := filepath.Join(dir, "nginx.conf")
	next := "off"
	if u.tries > 0 {
		next = fmt.Sprintf("error; proxy_next_upstream_tries %d", u.tries)
	}
	text := fmt.Sprintf(nginxConfig, u.block(), socket, next)
	testutil.Must(t, os.WriteFile(config, []byte(text), 0o600))
	path := testutil.Nginx(t)
	testutil.Start(t, testutil.Command{Path: path, Args: []string{"-p", dir, "-c", config, "-e", "stderr"}})
	o := &oracle{t: t, addresses: u.addresses(t)}
	testutil.Eventually(t, testutil.Patience, func() bool {
		o.conn, err = net.Dial("unix", socket)
		return err == nil
	}, "nginx listens")
	t.Cleanup(func() { o.conn.Close() })
	o.in = textproto.NewReader(bufio.NewReaderSize(o.conn, 1<<16))
	return o
}

// block returns the lines of an upstream block.
func (u *upstream) block() string {
	var text strings.Builder
	for i, s := range u.servers {
		fmt.Fprintf(&text, "\t\tserver %s weight=%d max_fails=0 %s;\n", s.Name, s.weight(), u.flags[i])
	}
	return text.String()
}

// addresses returns what nginx calls the servers when it connects: a socket as written, else an address with a port.
func (u *upstream) addresses(t *testing.T) map[string]int {
	t.Helper()
	all := map[string]int{}
	for i, s := range u.servers {
		address := s.Name
		if host, port, err := Nginx.split(s.Name); err != nil {
			t.Fatal(err)
		} else if !strings.EqualFold(s.Name[:5], "unix:") {
			address = dotted(t, host) + ":" + cmp.Or(port, "80")
		}
		if _, twice := all[address]; twice {
			t.Fatalf("two servers at %s", address)
		}
		all[address] = i
	}
	return all
}

// dotted returns the address of a host that is written as one number, which every resolver takes for a name of it.
func dotted(t *testing.T, host string) string {
	t.Helper()
	if !strings.HasPrefix(host, "0x") {
		return host
	}
	n, err := strconv.ParseUint(host, 0, 32)
	testutil.Must(t, err)
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(n)))).String()
}

// pipelined is how many requests are under way: their answers fit the buffers of a socket.
const pipelined = 128

// servers returns, for each key, the servers that nginx tries.
func (o *oracle) servers(keys []string) [][]int {
	o.t.Helper()
	answers := make([][]int, 0, len(keys))
	for batch := range slices.Chunk(keys, pipelined) {
		var out []byte
		for _, key := range batch {
			out = fmt.Appendf(out, "GET / HTTP/1.1\r\nHost: a\r\nK: %s\r\n\r\n", key)
		}
		if _, err := o.conn.Write(out); err != nil {
			o.t.Fatal(err)
		}
		for range batch {
			answers = append(answers, o.answer())
		}
	}
	return answers
}

// answer reads one response.
func (o *oracle) answer() (tried []int) {
	o.t.Helper()
	status, err := o.in.ReadLine()
	if err != nil || status != "HTTP/1.1 200 OK" {
		o.t.Fatal(status, err)
	}
	length := 0
	for {
		line, err := o.in.ReadLineBytes()
		testutil.Must(o.t, err)
		if len(line) == 0 {
			break
		}
		if n, ok := strings.CutPrefix(string(line), "Content-Length: "); ok {
			fmt.Sscan(n, &length)
		}
	}
	body := make([]byte, length)
	for n := 0; n < length; {
		k, err := o.in.R.Read(body[n:])
		testutil.Must(o.t, err)
		n += k
	}
	for address := range strings.SplitSeq(string(body), ", ") {
		i, known := o.addresses[address]
		if !known {
			o.t.Fatalf("nginx has tried %q", address)
		}
		tried = append(tried, i)
	}
	return tried
}

// oracleKeys are keys that fit a field of a request: of many lengths, bytes above 127 and spaces inside included.
func oracleKeys(seed uint64, n int) []string {
	rng := rand.New(rand.NewPCG(seed, 1))
	keys := make([]string, n)
	for i := range keys {
		key := make([]byte, 1+rng.IntN(80))
		for k := range key {
			for key[k] = byte(33 + rng.IntN(223)); key[k] == 127; {
				key[k] = ' '
			}
		}
		keys[i] = "k" + string(key) + "k"
	}
	return keys
}

// groups are servers of all kinds that nginx can be told of and that are not there.
func groups(rng *rand.Rand, n int) []Server {
	servers, taken := make([]Server, 0, n), map[string]bool{}
	for len(servers) < n {
		id := 1 + rng.IntN(1<<16-1)
		kinds := []string{
			fmt.Sprintf("239.1.%d.%d:%d", id>>8, id&255, 1+rng.IntN(65535)),
			fmt.Sprintf("239.2.%d.%d", id>>8, id&255),
			fmt.Sprintf("[ff02::%x]:%d", id, 1+rng.IntN(65535)),
			fmt.Sprintf("[ff03::%x]", id),
			fmt.Sprintf("unix:/nonexistent/%d.sock", id),
			fmt.Sprintf("UnIX:/nonexistent/a:%d", id),
			fmt.Sprintf("0xef03%04x:%d", id, 1+rng.IntN(65535)),
			fmt.Sprintf("0xef04%04x", id),
		}
		name := kinds[rng.IntN(len(kinds))]
		if !taken[name] {
			taken[name] = true
			servers = append(servers, Server{Name: name, Weight: 1 + rng.IntN(1+rng.IntN(10))})
		}
	}
	return servers
}
