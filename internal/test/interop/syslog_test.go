package interop

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leodido/go-syslog/v4/rfc5424"

	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/observe/syslog"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// syslogLines are what messages have as their text.
var syslogLines = []string{
	`{"path":"/ä","status":404}`, strings.Repeat("long €", 8<<10), "not UTF-8: \xff\xc3(", "the last one",
}

var syslogForms = map[string]syslog.Format{"rfc5424": syslog.RFC5424, "rfc3164": syslog.RFC3164}

// syslogTime is when the exchanges of the records end.
var syslogTime = time.Now().Truncate(time.Second).Add(123456 * time.Microsecond)

// writeSyslog writes a record for each of syslogLines.
func writeSyslog(t *testing.T, o syslog.Options) {
	t.Helper()
	w := syslog.New(o)
	defer w.Close()
	var p []byte
	for _, line := range syslogLines {
		p = observe.AppendRecord(p, &observe.Record{Time: syslogTime.UnixNano() - 5, Dur: 5, Status: 404, Reason: "a",
			Route: `a"]\b`, Line: observe.Line{Text: []byte(line)}})
	}
	if n, err := w.WriteRecords(p); n != len(p) || err != nil {
		t.Errorf("%d of %d bytes are taken: %v", n, len(p), err)
	}
}

// go-syslog reads each message of RFC 5424. Its parsers of counts of octets and of RFC 3164 take the compiler 10 s:
// rsyslog and syslog-ng read both.
func TestSyslog_parserOfOthers(t *testing.T) {
	l := testutil.Listen(t)
	sent := make(chan []byte, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			sent <- nil
			return
		}
		p, _ := io.ReadAll(c)
		_ = c.Close()
		sent <- p
	}()
	writeSyslog(t, syslog.Options{Network: "tcp", Address: l.Addr().String(), Format: syslog.RFC5424, SD: true,
		App: "an app"})
	rest := <-sent
	for _, line := range syslogLines {
		count, after, _ := bytes.Cut(rest, []byte(" "))
		size, _ := strconv.Atoi(string(count))
		if size == 0 || size > len(after) {
			t.Fatalf("%.40q", rest)
		}
		parsed, err := rfc5424.NewParser().Parse(after[:size])
		testutil.Must(t, err)
		rest = after[size:]
		m := parsed.(*rfc5424.SyslogMessage)
		v := (*m.StructuredData)["edge@32473"]
		if v["route"] != `a"]\b` || v["status"] != "404" || *m.MsgID != "access" {
			t.Errorf("%v", v)
		}
		if *m.Message != line || *m.Priority != 132 || !m.Timestamp.Equal(syslogTime) || *m.Appname != "an_app" ||
			*m.ProcID != strconv.Itoa(os.Getpid()) {
			t.Errorf("%.300q %v", *m.Message, m.Timestamp)
		}
	}
	if len(rest) > 0 {
		t.Errorf("%.40q after the last message", rest)
	}
}

// syslogServer is a server of others: where it listens by transport, and the file that it writes.
type syslogServer struct {
	at   map[string]string
	file string
}

// checkSyslog writes by all transports and in both formats, and checks what the server has understood. Lines of its
// file are the name of the program, priority, process, MSGID and text.
func checkSyslog(t *testing.T, s syslogServer, roots *testutil.Authority) {
	var writers sync.WaitGroup
	want := map[string][]string{}
	for via, address := range s.at {
		for name, format := range syslogForms {
			if strings.HasPrefix(via, "unix") && !strings.HasSuffix(via, name) {
				continue
			}
			network, _, _ := strings.Cut(via, "-")
			o := syslog.Options{Network: network, Address: address, Format: format, App: via + "-" + name,
				Hostname: "a.example", TLS: &tls.Config{RootCAs: roots.Pool}, Timeout: testutil.Patience}
			if network == "unix" {
				o.MaxSize = 100 << 10
			}
			writers.Go(func() { writeSyslog(t, o) })
			want[o.App] = syslogLines
		}
	}
	writers.Wait()
	got := map[string][]string{}
	whole := func() bool {
		clear(got)
		p, _ := os.ReadFile(s.file)
		for line := range strings.SplitSeq(strings.TrimSuffix(string(p), "\n"), "\n") {
			app, rest, _ := strings.Cut(line, "|")
			got[app] = append(got[app], rest)
		}
		for app := range want {
			if len(got[app]) < len(syslogLines) {
				return false
			}
		}
		return true
	}
	deadline := time.Now().Add(testutil.Patience)
	for !whole() && time.Now().Before(deadline) {
		<-time.After(5 * time.Millisecond)
	}
	for app, lines := range want {
		if len(got[app]) != len(lines) {
			t.Errorf("%s: %d messages of %d; %.300q", app, len(got[app]), len(lines), got[app])
			continue
		}
		id := "access"
		if strings.HasSuffix(app, "rfc3164") {
			id = ""
		}
		for i, line := range lines {
			head := fmt.Sprintf("132|%d|%s|", os.Getpid(), id)
			text, ok := strings.CutPrefix(strings.Replace(got[app][i], "|-|", "||", 1), head)
			text = strings.TrimPrefix(text, " ")
			cut := strings.HasPrefix(app, "udp") && len(text) > 8000 && strings.HasPrefix(line, text)
			if !ok || text != line && !cut {
				t.Errorf("%s: %.200q of %d bytes, want %.100q of %d", app, got[app][i], len(got[app][i]), head+line,
					len(line))
			}
		}
	}
}

// startSyslog starts program with a file of configuration, and waits until it listens.
func startSyslog(t *testing.T, s syslogServer, program testutil.Command) {
	t.Helper()
	testutil.Start(t, program)
	testutil.Eventually(t, testutil.Patience, func() bool {
		for via, at := range s.at {
			network := "tcp" // of tls too
			switch {
			case via == "udp": // nobody answers there
				sockets, err := os.ReadFile("/proc/net/udp")
				if err != nil || !strings.Contains(string(sockets), fmt.Sprintf(":%04X 00000000:0000", port(t, at))) {
					return false
				}
				continue
			case strings.HasPrefix(via, "unix-datagrams"):
				network = "unixgram"
			case strings.HasPrefix(via, "unix-stream"): // its file is there before anybody listens
				network = "unix"
			}
			c, err := net.Dial(network, at)
			if err != nil {
				return false
			}
			_ = c.Close()
		}
		return true
	}, "the server listens")
}

// newSyslogServer chooses addresses, and has a certificate in dir.
func newSyslogServer(t *testing.T, dir string) (syslogServer, *testutil.Authority) {
	a := testutil.NewAuthority(t)
	a.Write(t, filepath.Join(dir, "ca.pem"))
	a.IssueTo(t, dir, "server", nil, "127.0.0.1")
	s := syslogServer{at: map[string]string{}, file: filepath.Join(dir, "out")}
	for _, via := range []string{"udp", "tcp", "tls"} {
		s.at[via] = freePort(t).String()
	}
	for _, via := range []string{"datagrams", "stream"} {
		for name := range syslogForms {
			s.at["unix-"+via+"-"+name] = filepath.Join(dir, via+name)
		}
	}
	return s, a
}

// socketDir is a folder with a path that is short enough for sockets.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "syslog")
	testutil.Must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestSyslog_rsyslog(t *testing.T) {
	program, dir := sbin(t, "rsyslogd"), socketDir(t)
	s, a := newSyslogServer(t, dir)
	text := fmt.Sprintf(`global(workDirectory=%[1]q maxMessageSize="256k" parser.escapeControlCharactersOnReceive="off"
	defaultNetstreamDriverCAFile="%[1]s/ca.pem" defaultNetstreamDriverCertFile="%[1]s/server.pem"
	defaultNetstreamDriverKeyFile="%[1]s/server.key")
module(load="imudp") module(load="imtcp") module(load="imptcp") module(load="imuxsock" sysSock.use="off")
template(name="t" type="string" string="%%app-name%%|%%pri%%|%%procid%%|%%msgid%%|%%msg%%\n")
input(type="imudp" address="127.0.0.1" port="%[2]d")
input(type="imtcp" address="127.0.0.1" port="%[3]d")
`, dir, port(t, s.at["udp"]), port(t, s.at["tcp"]))
	if found, _ := filepath.Glob("/usr/lib/*/rsyslog/lmnsd_gtls.so"); found == nil {
		t.Log("rsyslog-gnutls is not installed: no TLS")
		delete(s.at, "tls")
	} else {
		text += fmt.Sprintf(`input(type="imtcp" address="127.0.0.1" port="%d" streamDriver.name="gtls" `+
			`streamDriver.mode="1" streamDriver.authMode="anon")`+"\n", port(t, s.at["tls"]))
	}
	for via, at := range s.at {
		switch {
		case strings.HasPrefix(via, "unix-stream"):
			text += fmt.Sprintf("input(type=\"imptcp\" path=%q)\n", at)
		case via == "unix-datagrams-rfc3164":
			text += fmt.Sprintf("input(type=\"imuxsock\" socket=%q)\n", at)
		case via == "unix-datagrams-rfc5424": // it has to be asked for
			text += fmt.Sprintf("input(type=\"imuxsock\" socket=%q useSpecialParser=\"off\" "+
				"parseHostname=\"on\")\n", at)
		}
	}
	text += fmt.Sprintf("action(type=\"omfile\" file=%q template=\"t\")\n", s.file)
	config := writeFile(t, dir, "rsyslog.conf", text)
	startSyslog(t, s, testutil.Command{Path: program, Args: []string{
		"-n", "-f", config, "-i", filepath.Join(dir, "pid")}})
	checkSyslog(t, s, a)
}

func TestSyslog_syslogNG(t *testing.T) {
	// As packages the two servers exclude each other: make deps unpacks this one.
	root := filepath.Join(testutil.Root(t), "bin", "syslog-ng")
	program, env := filepath.Join(root, "usr/sbin/syslog-ng"), []string(nil)
	var args []string
	if _, err := os.Stat(program); err != nil {
		program = sbin(t, "syslog-ng")
	} else {
		modules, _ := filepath.Glob(filepath.Join(root, "usr/lib/syslog-ng/3*"))
		args = []string{"--module-path=" + strings.Join(modules, ":")}
		env = append(env, "LD_LIBRARY_PATH="+filepath.Join(root, "usr/lib/syslog-ng"))
	}
	dir := socketDir(t)
	s, a := newSyslogServer(t, dir)
	text := "@version: 3.35\noptions { log-msg-size(262144); keep-hostname(yes); use-dns(no); };\nsource s {\n"
	for via, at := range s.at {
		switch {
		case via == "tls":
			text += fmt.Sprintf("syslog(ip(127.0.0.1) port(%d) transport(tls) tls(key-file(\"%[2]s/server.key\") "+
				"cert-file(\"%[2]s/server.pem\") peer-verify(optional-untrusted)));\n", port(t, at), dir)
		case !strings.HasPrefix(via, "unix"):
			text += fmt.Sprintf("syslog(ip(127.0.0.1) port(%d) transport(%s));\n", port(t, at), via)
		default:
			driver := map[bool]string{true: "unix-stream", false: "unix-dgram"}[strings.Contains(via, "stream")]
			flags := map[bool]string{true: "flags(syslog-protocol)"}[strings.HasSuffix(via, "5424")]
			text += fmt.Sprintf("%s(%q %s);\n", driver, at, flags)
		}
	}
	text += fmt.Sprintf("};\ndestination d { file(%q template(\"${PROGRAM}|${PRI}|${PID}|${MSGID}|${MSG}\\n\")); };\n"+
		"log { source(s); destination(d); };\n", s.file)
	config := writeFile(t, dir, "syslog-ng.conf", text)
	args = append(args, "-F", "-f", config, "--no-caps", "--persist-file="+filepath.Join(dir, "persist"),
		"--pidfile="+filepath.Join(dir, "pid"), "--control="+filepath.Join(dir, "ctl"))
	startSyslog(t, s, testutil.Command{Path: program, Args: args, Env: env})
	checkSyslog(t, s, a)
}
