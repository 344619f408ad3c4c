package interop

import (
	"bytes"
	"crypto/tls"
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	pires "github.com/pires/go-proxyproto"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/edge-proxy/edge/internal/l4/proxyproto"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// Senders of the PROXY protocol before the edge binary, which answers with the addresses that it was told.
//
//	client, 127.0.0.5 ─► HAProxy, nginx ── header, client's bytes ─► edge
//	curl, 127.0.0.5 ──── header, request ─────────────────────────► edge

// toldListeners are put after the listeners of startEdge. The listeners told, told-tls and checked read headers of all
// loopback addresses; required and optional read headers of 127.0.0.2 alone.
const toldListeners = `
[[listeners]]
name = "told"
listen = "127.0.0.1:0"
protocols = ["h1", "h2"]
proxy_protocol = { from = ["127.0.0.0/8"], required = true }

[[listeners]]
name = "told-tls"
listen = "127.0.0.1:0"
tls = true
protocols = ["h1", "h2"]
proxy_protocol = { from = ["127.0.0.0/8"], required = true }

[[listeners]]
name = "checked"
listen = "127.0.0.1:0"
proxy_protocol = { from = ["127.0.0.0/8"], required = true }

[[listeners]]
name = "required"
listen = "127.0.0.1:0"
proxy_protocol = { from = ["127.0.0.2"], required = true }

[[listeners]]
name = "optional"
listen = "127.0.0.1:0"
proxy_protocol = { from = ["127.0.0.2"] }

[[rules]]
respond = { body = "client {client.ip} {client.port} socket {socket.ip} server {server.ip} {server.port}" }

[admin]
listen = "127.0.0.1:0"
`

// receiver is edge with toldListeners.
type receiver struct {
	*edge
	at      map[string]string // address by listener
	metrics string            // URL
}

func startReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{edge: startEdge(t, "%s", toldListeners), at: make(map[string]string)}
	for _, name := range []string{"told", "told-tls", "checked", "required", "optional"} {
		r.at[name] = r.WaitLine(`"msg":"listening".*"listener":"` + name + `".*"address":"([^"]+)"`)[1]
	}
	r.metrics = "http://" + r.WaitLine(`"msg":"listening".*"section":"admin".*"address":"([^"]+)"`)[1] + "/metrics"
	return r
}

// begun returns how many connections of a listener began in which way, without the ways that were none's.
func (r *receiver) begun(t *testing.T, listener string) map[string]int {
	t.Helper()
	_, page := testutil.Get(t, http.DefaultClient, r.metrics)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(page))
	testutil.Must(t, err)
	n := make(map[string]int)
	for _, m := range families["edge_proxy_protocol_total"].GetMetric() {
		labels := make(map[string]string)
		for _, l := range m.Label {
			labels[l.GetName()] = l.GetValue()
		}
		if labels["listener"] == listener && m.Counter.GetValue() > 0 {
			n[labels["result"]] = int(m.Counter.GetValue())
		}
	}
	return n
}

// said is the answer of a receiver.
func said(client, socket, server netip.AddrPort) string {
	return fmt.Sprintf("client %v %d socket %v server %v %d",
		client.Addr(), client.Port(), socket.Addr(), server.Addr(), server.Port())
}

func addrOf(a net.Addr) netip.AddrPort { return a.(*net.TCPAddr).AddrPort() }

// loopback is where HAProxy, nginx and curl connect to edge from.
var loopback = netip.MustParseAddrPort("127.0.0.1:0")

// clientFrom makes a client whose connections come from ip. It speaks the protocol alone: h1, h2 or h2c.
func clientFrom(t *testing.T, ip, protocol string, config *tls.Config) *http.Client {
	t.Helper()
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}, Timeout: testutil.Patience}
	// A connection is free a moment after its answer was read. With one for each host the next request waits for it.
	transport := &http.Transport{DialContext: d.DialContext, TLSClientConfig: config, Protocols: new(http.Protocols),
		MaxConnsPerHost: 1}
	transport.Protocols.SetHTTP1(protocol == "h1")
	transport.Protocols.SetHTTP2(protocol == "h2")
	transport.Protocols.SetUnencryptedHTTP2(protocol == "h2c")
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: testutil.Patience}
}

// ask makes a request, and returns the answer and the address of the client's end of the connection.
func ask(t *testing.T, c *http.Client, url string) (body string, local netip.AddrPort, reused bool) {
	t.Helper()
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		local, reused = addrOf(i.Conn.LocalAddr()), i.Reused
	}})
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	testutil.Must(t, err)
	_, body = testutil.Do(t, c, req)
	return body, local, reused
}

// wantTold asks the front, which is before told or told-tls, by each protocol: edge is told the client's address, for
// the second request of a connection too.
func (r *receiver) wantTold(t *testing.T, front net.Addr, secure bool, ip string) {
	t.Helper()
	protocols, url := []string{"h1", "h2c"}, "http://"+front.String()
	if secure {
		protocols, url = []string{"h1", "h2"}, "https://"+front.String()
	}
	for _, protocol := range protocols {
		c := clientFrom(t, ip, protocol, r.client())
		for i := range 2 {
			body, local, reused := ask(t, c, url)
			if want := said(local, loopback, addrOf(front)); body != want || reused != (i > 0) {
				t.Errorf("%s, request %d, reused %v: %q, want %q", protocol, i, reused, body, want)
			}
			if local.Addr().String() != ip {
				t.Errorf("the client is %v, not %s", local, ip)
			}
		}
	}
}

// fronts are listening sockets for a process that gets them as its descriptors from 3 on.
type fronts struct {
	t     *testing.T
	files []*os.File
	text  string // of the configuration
}

// section adds a section of HAProxy that listens on ip. It returns the address.
func (f *fronts) section(ip, bind, format string, args ...any) net.Addr {
	f.t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	testutil.Must(f.t, err)
	defer l.Close() //nolint:errcheck // the process has a copy
	file, err := l.(*net.TCPListener).File()
	testutil.Must(f.t, err)
	f.t.Cleanup(func() { file.Close() })
	f.text += fmt.Sprintf("listen s%d\n bind fd@%d %s\n %s\n", len(f.files), 3+len(f.files), bind,
		strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "\n "))
	f.files = append(f.files, file)
	return l.Addr()
}

// haproxy runs HAProxy with the sections, and returns the address of its statistics. It skips the test where the
// installed version lacks an option of headers.
func (f *fronts) haproxy() (control string) {
	f.t.Helper()
	path, control := sbin(f.t, "haproxy"), testutil.SocketPath(f.t)
	conf := fmt.Sprintf("global\n stats socket %s level admin\n", control) +
		"defaults\n mode tcp\n timeout connect 10s\n timeout client 1m\n timeout server 1m\n timeout check 10s\n"
	file := writeFile(f.t, f.t.TempDir(), "haproxy.cfg", conf+f.text)
	check := exec.Command(path, "-c", "-f", file)
	check.ExtraFiles = f.files
	if out, err := check.CombinedOutput(); strings.Contains(string(out), "proxy-v2-options") {
		f.t.Skipf("this version of HAProxy lacks an option: %s", out)
	} else if err != nil {
		f.t.Fatalf("%v: %s", err, out)
	}
	testutil.Start(f.t, testutil.Command{Path: path, Args: []string{"-db", "-f", file}, Files: f.files})
	return control
}

// hasIPv6 reports whether the machine has ::1.
func hasIPv6() bool {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// sending are the ways in which HAProxy sends headers, as options of a server.
var sending = map[string]string{
	"v1":   "send-proxy",
	"v2":   "send-proxy-v2",
	"TLVs": "send-proxy-v2 proxy-v2-options crc32c,unique-id,ssl",
	"all": "send-proxy-v2-ssl-cn " +
		"proxy-v2-options crc32c,unique-id,ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority",
}

const uniqueID = "unique-id-format %%ci:%%cp-%%fi:%%fp\n"

// HAProxy tells the address of its client, which speaks HTTP/1 and HTTP/2, plain and in TLS that HAProxy passes on.
func TestProxyProtocol_haproxy(t *testing.T) {
	sbin(t, "haproxy") // without it the whole test is skipped: listeners that nobody asks have counted nothing
	r := startReceiver(t)
	for _, name := range slices.Sorted(maps.Keys(sending)) {
		t.Run(name, func(t *testing.T) {
			f := &fronts{t: t}
			ips := []string{"127.0.0.1"}
			if hasIPv6() {
				ips = append(ips, "::1")
			}
			plain, secure := make(map[string]net.Addr), make(map[string]net.Addr)
			for _, ip := range ips {
				plain[ip] = f.section(ip, "", uniqueID+"server s %s %s", r.at["told"], sending[name])
				secure[ip] = f.section(ip, "", uniqueID+"server s %s %s", r.at["told-tls"], sending[name])
			}
			f.haproxy()
			for _, ip := range ips {
				from := ip
				if ip == "127.0.0.1" {
					from = "127.0.0.5"
				}
				r.wantTold(t, plain[ip], false, from)
				r.wantTold(t, secure[ip], true, from)
			}
		})
	}
	for _, listener := range []string{"told", "told-tls"} {
		if n := r.begun(t, listener); len(n) != 1 || n["told"] == 0 {
			t.Errorf("%s: %v", listener, n)
		}
	}
}

// HAProxy that ends TLS itself tells the address too, with what it knows of the client's certificate.
func TestProxyProtocol_haproxyEndsTLS(t *testing.T) {
	r, dir, a, l := startReceiver(t), t.TempDir(), testutil.NewAuthority(t), testutil.Listen(t)
	a.IssueTo(t, dir, "pair", nil, "localhost", "127.0.0.1")
	a.Write(t, filepath.Join(dir, "ca.pem"))
	cert, err1 := os.ReadFile(filepath.Join(dir, "pair.pem"))
	key, err2 := os.ReadFile(filepath.Join(dir, "pair.key"))
	pair, err3 := tls.X509KeyPair(cert, key)
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	bind := fmt.Sprintf("ssl crt %s ca-file %s/ca.pem verify required",
		writeFile(t, dir, "both.pem", string(cert)+string(key)), dir)
	f := &fronts{t: t}
	front := f.section("127.0.0.1", bind, uniqueID+"server s %s %s", r.at["told"], sending["all"])
	before := f.section("127.0.0.1", bind, uniqueID+"server s %s %s", l.Addr(), sending["all"])
	f.haproxy()
	config := &tls.Config{RootCAs: a.Pool, ServerName: "localhost", Certificates: []tls.Certificate{pair}}
	// By HTTP/1 alone: a request of HTTP/2 names https, which edge answers 421 on a plain connection (docs/http2.md).
	body, local, _ := ask(t, clientFrom(t, "127.0.0.5", "h1", config), "https://"+front.String())
	if want := said(local, loopback, addrOf(front)); body != want {
		t.Errorf("%q, want %q", body, want)
	}
	conn, err := tls.Dial("tcp", before.String(), config)
	testutil.Must(t, err)
	wantHeader(t, l, conn, before, pires.PP2_TYPE_AUTHORITY, pires.PP2_TYPE_CRC32C, pires.PP2_TYPE_UNIQUE_ID,
		pires.PP2_TYPE_SSL)
}

// The headers of HAProxy have the TLVs that its options ask for, and both codecs take them: what the other tests here
// send to edge is not without them.
func TestProxyProtocol_haproxyBytes(t *testing.T) {
	three := []pires.PP2Type{pires.PP2_TYPE_CRC32C, pires.PP2_TYPE_UNIQUE_ID, pires.PP2_TYPE_SSL}
	for name, tlvs := range map[string][]pires.PP2Type{"v1": nil, "v2": nil, "TLVs": three, "all": three} {
		t.Run(name, func(t *testing.T) {
			l, f := testutil.Listen(t), &fronts{t: t}
			front := f.section("127.0.0.1", "", uniqueID+"server s %s %s", l.Addr(), sending[name])
			f.haproxy()
			conn, err := net.Dial("tcp", front.String())
			testutil.Must(t, err)
			wantHeader(t, l, conn, front, tlvs...)
		})
	}
}

// wantHeader sends by conn to the front of HAProxy, and reads at l the header that comes before: it has TLVs of these
// types.
func wantHeader(t *testing.T, l net.Listener, conn net.Conn, front net.Addr, types ...pires.PP2Type) {
	t.Helper()
	testutil.NewWire(t, conn).Send("hello")
	b := []byte(strings.TrimSuffix(testutil.Accept(t, l).ReadUntil("hello"), "hello"))
	r := newReference()
	if err := r.judge(b); err != nil || r.seen["accepted"] != 1 || r.seen[""] != 1 {
		t.Fatalf("%q: %v, %v", b, err, r.seen)
	}
	v, h := r.read(b)
	if v.bytes != len(b) || v.source != addrOf(conn.LocalAddr()) || v.destination != addrOf(front) {
		t.Errorf("%q: %+v", b, v)
	}
	tlvs, err := h.TLVs()
	var got []pires.PP2Type
	for _, one := range tlvs {
		got = append(got, one.Type)
	}
	if slices.Sort(got); err != nil || !slices.Equal(got, types) {
		t.Errorf("TLVs %v, %v, want %v", got, err, types)
	}
}

// statistics returns what HAProxy has counted of each server: its columns by their names.
func statistics(t *testing.T, control string) map[string]map[string]string {
	t.Helper()
	c, err := net.Dial("unix", control)
	if err != nil {
		return nil // it starts
	}
	defer c.Close()
	fmt.Fprint(c, "show stat -1 4 -1\n")
	text, err := io.ReadAll(c)
	testutil.Must(t, err)
	rows, err := csv.NewReader(bytes.NewReader(bytes.TrimSpace(text))).ReadAll()
	if err != nil || len(rows) == 0 {
		t.Fatalf("%q: %v", text, err)
	}
	servers := make(map[string]map[string]string)
	for _, row := range rows[1:] {
		columns := make(map[string]string)
		for i, name := range rows[0] {
			columns[name] = row[i]
		}
		servers[columns["svname"]] = columns
	}
	return servers
}

// checking are checks of HAProxy, as options of a server and of its section.
var checking = []struct{ name, server, section string }{
	{"v1", "send-proxy", ""},
	{"v2", "send-proxy-v2", ""},
	{"v2-tlvs", "send-proxy-v2 proxy-v2-options crc32c,unique-id,ssl", ""},
	{"v1-http", "send-proxy", "option httpchk GET /"},
	{"v2-http", "send-proxy-v2", "option httpchk GET /"},
	{"v1-asked", "send-proxy addr 127.0.0.1 check-send-proxy", ""},
	{"v2-asked", "send-proxy-v2 addr 127.0.0.1 check-send-proxy", "option httpchk GET /"},
	{"port-alone", "send-proxy-v2", "option tcp-check\ntcp-check connect"}, // without a header
}

// HAProxy's checks find edge healthy and are no failures of edge; connections of clients go on meanwhile.
func TestProxyProtocol_haproxyChecks(t *testing.T) {
	r, f := startReceiver(t), &fronts{t: t}
	var front net.Addr
	for _, one := range checking {
		front = f.section("127.0.0.1", "", "%s\nserver %s %s check inter 10ms %s",
			one.section, one.name, r.at["checked"], one.server)
	}
	// A handshake has the time between two checks.
	f.section("127.0.0.1", "", "server tls %s check check-ssl verify none inter 400ms send-proxy-v2 check-send-proxy",
		r.at["told-tls"])
	f.section("127.0.0.1", "", "server tls-http %s check check-ssl verify none inter 400ms send-proxy\n"+
		"option httpchk GET /", r.at["told-tls"])
	control := f.haproxy()
	c := clientFrom(t, "127.0.0.5", "h1", nil)
	reused := false
	testutil.Eventually(t, testutil.Minutes, func() bool {
		body, local, again := ask(t, c, "http://"+front.String())
		if want := said(local, loopback, addrOf(front)); body != want || again != reused {
			t.Fatalf("reused %v: %q, want %q", again, body, want)
		}
		reused = true
		return r.begun(t, "checked")["own"] >= 200 && r.begun(t, "told-tls")["own"] >= 10
	}, "checks of HAProxy")
	testutil.Eventually(t, testutil.Minutes, func() bool { return len(statistics(t, control)) == len(checking)+2 })
	for name, columns := range statistics(t, control) {
		if columns["status"] != "UP" || columns["chkfail"] != "0" || !strings.HasSuffix(columns["check_status"], "OK") {
			t.Errorf("%s: %s, %s, %s failed", name, columns["status"], columns["check_status"], columns["chkfail"])
		}
	}
	for _, listener := range []string{"checked", "told-tls"} {
		// In version 1 HAProxy tells its own addresses, in version 2 it says LOCAL.
		if n := r.begun(t, listener); len(n) != 2 || n["own"] == 0 || n["told"] == 0 {
			t.Errorf("%s: %v, want own and told alone", listener, n)
		}
	}
	if strings.Contains(r.Output(), "PROXY protocol: connection closed") {
		t.Error("edge says that it has closed connections")
	}
}

// nginx with its module for streams tells the address of its client.
func TestProxyProtocol_nginx(t *testing.T) {
	path, dir := testutil.Nginx(t), t.TempDir()
	built, err := exec.Command(path, "-V").CombinedOutput()
	testutil.Must(t, err)
	load := ""
	if !strings.Contains(string(built)+" ", "--with-stream ") {
		_, modules, _ := strings.Cut(string(built), "--modules-path=")
		modules, _, _ = strings.Cut(modules, " ")
		module := filepath.Join(modules, "ngx_stream_module.so")
		if _, err := os.Stat(module); err != nil {
			t.Skip("nginx has no module for streams: apt install libnginx-mod-stream")
		}
		load = fmt.Sprintf("load_module %s;\n", module)
	}
	r, plain, secure := startReceiver(t), testutil.FreeAddr(t), testutil.FreeAddr(t)
	writeFile(t, dir, "nginx.conf", load+fmt.Sprintf(`
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {}
stream {
	proxy_protocol on;
	server { listen %s; proxy_pass %s; }
	server { listen %s; proxy_pass %s; }
}
`, plain, r.at["told"], secure, r.at["told-tls"]))
	nginx := testutil.Start(t, testutil.Command{
		Path: path, Args: []string{"-p", dir, "-c", "nginx.conf", "-e", "stderr"}, Dir: dir,
	})
	for _, front := range []string{plain, secure} {
		nginx.WaitPort(front)
		r.wantTold(t, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(front)), front == secure, "127.0.0.5")
	}
	for _, listener := range []string{"told", "told-tls"} {
		if n := r.begun(t, listener); len(n) != 1 || n["told"] == 0 {
			t.Errorf("%s: %v", listener, n)
		}
	}
}

// curl tells its own address, before HTTP/1, HTTP/2 and TLS.
func TestProxyProtocol_curl(t *testing.T) {
	r, curl := startReceiver(t), sbin(t, "curl")
	for _, one := range []struct{ protocol, scheme, listener string }{
		{"--http1.1", "http://", "told"}, {"--http2-prior-knowledge", "http://", "told"},
		{"--http1.1", "https://", "told-tls"}, {"--http2", "https://", "told-tls"},
	} {
		at := r.at[one.listener]
		out, err := exec.Command(curl, "-sS", "--noproxy", "*", "--max-time", fmt.Sprint(testutil.Minutes.Seconds()),
			"--haproxy-protocol", "--interface", "127.0.0.5", "--cacert", r.ca, one.protocol,
			"-w", "\n%{local_ip}:%{local_port}", one.scheme+at).CombinedOutput()
		body, local, _ := strings.Cut(string(out), "\n")
		client, wrong := netip.ParseAddrPort(local)
		if err != nil || wrong != nil || client.Addr() != netip.MustParseAddr("127.0.0.5") {
			t.Fatalf("%s %s: %v, %v: %s", one.protocol, one.scheme, err, wrong, out)
		}
		// curl reaches edge from the address that it tells.
		if want := said(client, client, netip.MustParseAddrPort(at)); body != want {
			t.Errorf("%s %s: %q, want %q", one.protocol, one.scheme, body, want)
		}
	}
}

// A client whose address is not trusted is closed where a header is required, and is served without one elsewhere. Its
// header is read nowhere.
func TestProxyProtocol_untrusted(t *testing.T) {
	const request = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
	client, server := netip.MustParseAddrPort("192.0.2.7:50000"), netip.MustParseAddrPort("192.0.2.1:443")
	header := string(proxyproto.AppendV1(nil, client, server))
	r := startReceiver(t)
	own := func(local, at netip.AddrPort) string { return said(local, local, at) }
	told := func(local, _ netip.AddrPort) string { return said(client, local, server) }
	for _, one := range []struct {
		listener, ip, sent string
		status             string // empty: edge closes the connection
		want               func(local, at netip.AddrPort) string
	}{
		{"required", "127.0.0.3", request, "", nil},
		{"required", "127.0.0.3", header + request, "", nil},
		{"required", "127.0.0.2", request, "", nil},
		{"required", "127.0.0.2", header + request, "200", told},
		{"optional", "127.0.0.3", request, "200", own},
		{"optional", "127.0.0.3", header + request, "400", nil},
		{"optional", "127.0.0.2", request, "200", own},
		{"optional", "127.0.0.2", header + request, "200", told},
	} {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(one.ip)}}
		conn, err := d.Dial("tcp", r.at[one.listener])
		testutil.Must(t, err)
		w, local := testutil.NewWire(t, conn), addrOf(conn.LocalAddr())
		_, _ = io.WriteString(conn, one.sent) // it may be closed already
		if one.status == "" {
			if got, _ := io.ReadAll(conn); len(got) > 0 { // edge has not read all of it: the end may be a reset
				t.Errorf("%s, %s sends %q: %q", one.listener, one.ip, one.sent, got)
			}
			continue
		}
		resp, body := w.ReadResponse("GET")
		at := netip.MustParseAddrPort(r.at[one.listener])
		if !strings.HasPrefix(resp.Status, one.status) || one.want != nil && body != one.want(local, at) {
			t.Errorf("%s, %s sends %q: %s, %q", one.listener, one.ip, one.sent, resp.Status, body)
		}
	}
	for listener, want := range map[string]map[string]int{
		"required": {"untrusted": 2, "missing": 1, "told": 1}, "optional": {"none": 3, "told": 1},
	} {
		if n := r.begun(t, listener); !maps.Equal(n, want) {
			t.Errorf("%s: %v, want %v", listener, n, want)
		}
	}
}
