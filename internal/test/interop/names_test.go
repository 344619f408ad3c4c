package interop

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"github.com/edge-proxy/edge/internal/discovery/dns"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// many is how many addresses big.example. has: too many for 1232 bytes, and no more than BIND takes.
const many = 90

// zoneText is what all servers are asked about.
func zoneText() string {
	text := `example. 300 IN SOA ns.example. me.example. 1 3600 600 86400 17
example. 300 IN NS ns.example.
ns.example. 300 IN A 127.0.0.1
one.example. 300 IN A 10.0.0.2
one.example. 300 IN A 10.0.0.1
one.example. 300 IN AAAA 2001:db8::1
alias.example. 120 IN CNAME one.example.
text.example. 300 IN TXT "no address"
_http._tcp.example. 60 IN SRV 10 5 8080 one.example.
_http._tcp.example. 60 IN SRV 20 1 8081 ns.example.
`
	for i := range many {
		text += fmt.Sprintf("big.example. 300 IN A 10.1.0.%d\n", i+1)
	}
	return text
}

// freePort returns an address of 127.0.0.1 that nobody has for UDP and TCP.
func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	for range 100 {
		u, err := net.ListenPacket("udp", "127.0.0.1:0")
		testutil.Must(t, err)
		l, err := net.Listen("tcp", u.LocalAddr().String())
		at := u.LocalAddr().(*net.UDPAddr).AddrPort()
		_ = u.Close()
		if err == nil {
			_ = l.Close()
			return at
		}
	}
	t.Fatal("no free port")
	return netip.AddrPort{}
}

// daemon runs a server of another project until the test ends, and waits for it to answer.
func daemon(t *testing.T, at netip.AddrPort, name string, args ...string) netip.AddrPort {
	t.Helper()
	testutil.Start(t, testutil.Command{Path: sbin(t, name), Args: args})
	m := new(miekg.Msg).SetQuestion("ns.example.", miekg.TypeA)
	testutil.Eventually(t, testutil.Minutes, func() bool {
		r, _, err := (&miekg.Client{Timeout: time.Second}).Exchange(m, at.String())
		return err == nil && r.Rcode == miekg.RcodeSuccess
	}, "an answer of "+name)
	return at
}

// sbin returns the path of a server of Debian, or skips the test.
func sbin(t *testing.T, name string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name, "/usr/bin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	t.Skipf("%s is not installed", name)
	return ""
}

func writeFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	testutil.Must(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

// nameServers start servers of other projects that know the zone.
var nameServers = map[string]func(t *testing.T) netip.AddrPort{
	"miekg": func(t *testing.T) netip.AddrPort {
		at := freePort(t)
		mux := miekg.NewServeMux()
		mux.HandleFunc("example.", func(w miekg.ResponseWriter, q *miekg.Msg) { _ = w.WriteMsg(answerOf(w, q)) })
		for _, network := range []string{"udp", "tcp"} {
			s := &miekg.Server{Addr: at.String(), Net: network, Handler: mux}
			started, ended := make(chan struct{}), make(chan error, 1)
			s.NotifyStartedFunc = func() { close(started) }
			go func() { ended <- s.ListenAndServe() }()
			select {
			case <-started:
			case err := <-ended:
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Shutdown() })
		}
		return at
	},
	"named": func(t *testing.T) netip.AddrPort {
		at, dir := freePort(t), t.TempDir()
		zone := writeFile(t, dir, "zone", "$ORIGIN example.\n"+zoneText())
		conf := writeFile(t, dir, "named.conf", fmt.Sprintf(`
options { directory %q; listen-on port %d { 127.0.0.1; }; listen-on-v6 { none; }; recursion no; pid-file none;
	session-keyfile none; };
controls { };
zone "example" { type master; file %q; };
`, dir, at.Port(), zone))
		return daemon(t, at, "named", "-g", "-c", conf)
	},
	"unbound": func(t *testing.T) netip.AddrPort {
		at, dir := freePort(t), t.TempDir()
		text := fmt.Sprintf("server:\n interface: 127.0.0.1\n port: %d\n do-daemonize: no\n username: \"\"\n"+
			" chroot: \"\"\n pidfile: \"\"\n directory: %q\n use-syslog: no\n"+
			" local-zone: \"example.\" static\n", at.Port(), dir)
		for line := range strings.Lines(zoneText()) {
			text += " local-data: '" + strings.TrimSpace(line) + "'\n"
		}
		text += "remote-control:\n control-enable: no\n"
		return daemon(t, at, "unbound", "-d", "-c", writeFile(t, dir, "unbound.conf", text))
	},
	"dnsmasq": func(t *testing.T) netip.AddrPort {
		at, dir := freePort(t), t.TempDir()
		text := fmt.Sprintf("port=%d\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\n"+
			"local=/example/\ncache-size=1000\nlocal-ttl=300\n", at.Port())
		hosts := "127.0.0.1 ns.example\n10.0.0.2 one.example\n10.0.0.1 one.example\n2001:db8::1 one.example\n"
		for i := range many {
			hosts += fmt.Sprintf("10.1.0.%d big.example\n", i+1)
		}
		text += "addn-hosts=" + writeFile(t, dir, "hosts", hosts) + "\ncname=alias.example,one.example,120\n" +
			"txt-record=text.example,no address\nsrv-host=_http._tcp.example,one.example,8080,10,5\n" +
			"srv-host=_http._tcp.example,ns.example,8081,20,1\n"
		return daemon(t, at, "dnsmasq", "--keep-in-foreground", "--conf-file="+writeFile(t, dir, "conf", text),
			"--pid-file=", "--user=", "--group=")
	},
}

// answerOf answers from the zone as an authoritative server does.
func answerOf(w miekg.ResponseWriter, q *miekg.Msg) *miekg.Msg {
	m := new(miekg.Msg).SetReply(q)
	m.Authoritative = true
	name, known := strings.ToLower(q.Question[0].Name), false
	z := miekg.NewZoneParser(strings.NewReader(zoneText()), "", "")
	for rr, ok := z.Next(); ok; rr, ok = z.Next() {
		h := rr.Header()
		if h.Name == name {
			known = true
			switch alias, is := rr.(*miekg.CNAME); {
			case is:
				m.Answer = append(m.Answer, rr)
				name = alias.Target
				z = miekg.NewZoneParser(strings.NewReader(zoneText()), "", "")
			case h.Rrtype == q.Question[0].Qtype:
				m.Answer = append(m.Answer, rr)
			}
		}
	}
	if len(m.Answer) == 0 {
		soa, _ := miekg.NewRR(strings.SplitN(zoneText(), "\n", 2)[0])
		m.Ns = []miekg.RR{soa}
		if !known {
			m.Rcode = miekg.RcodeNameError
		}
	}
	size := miekg.MinMsgSize
	if o := q.IsEdns0(); o != nil {
		size = int(o.UDPSize())
		m.SetEdns0(1232, false)
	}
	if w.RemoteAddr().Network() == "udp" {
		m.Truncate(size)
	}
	return m
}

// The resolver understands four servers of other projects alike.
func TestNames_serversOfOthers(t *testing.T) {
	for name, start := range nameServers {
		t.Run(name, func(t *testing.T) {
			at, dir := start(t), t.TempDir()
			c := dns.New(dns.Options{Servers: []netip.AddrPort{at}, Hosts: filepath.Join(dir, "hosts"),
				ResolvConf: writeFile(t, dir, "resolv.conf", "search example\noptions timeout:5 attempts:1\n")})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			const all = "[10.0.0.1 10.0.0.2 2001:db8::1] "
			for host, want := range map[string]string{
				"one.example": all + "5m0s", "ONE.example.": all + "5m0s", "one": all + "5m0s",
				"alias.example": all + "2m0s",
			} {
				a, err := c.Addresses(ctx, host, nil)
				if got := fmt.Sprint(a.Addrs, " ", a.TTL); err != nil || got != want {
					t.Errorf("%s: %s, %v, want %s", host, got, err, want)
				}
			}
			if a, err := c.Addresses(ctx, "big.example.", nil); err != nil || len(a.Addrs) != many {
				t.Errorf("%d addresses, %v", len(a.Addrs), err)
			}
			for _, host := range []string{"text.example.", "missing.example."} {
				a, err := c.Addresses(ctx, host, nil)
				if name == "dnsmasq" {
					if err == nil || !strings.Contains(err.Error(), "SOA") {
						t.Errorf("%s: %v, %v; dnsmasq sends no SOA", host, a, err)
					}
				} else if err != nil || len(a.Addrs) > 0 || a.TTL != 17*time.Second {
					t.Errorf("%s: %+v, %v", host, a, err)
				}
			}
			s, err := c.Services(ctx, "_http._tcp.example")
			var got string
			for _, one := range s.List {
				got += fmt.Sprintf("%s:%d/%d/%d%v ", one.Target, one.Port, one.Priority, one.Weight, one.Addrs)
			}
			want := "one.example:8080/10/5" + all + "ns.example:8081/20/1[127.0.0.1] "
			if err != nil || got != want {
				t.Errorf("%s, %v, want %s", got, err, want)
			}
		})
	}
}
