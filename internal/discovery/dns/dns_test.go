package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/testutil/dnsserver"
)

// files writes resolv.conf and hosts for a client.
func files(t *testing.T, conf, hosts string) Options {
	t.Helper()
	dir := t.TempDir()
	o := Options{ResolvConf: filepath.Join(dir, "resolv.conf"), Hosts: filepath.Join(dir, "hosts")}
	for path, text := range map[string]string{o.ResolvConf: conf, o.Hosts: hosts} {
		testutil.Must(t, os.WriteFile(path, []byte(text), 0o600))
	}
	return o
}

// client makes a client of real servers.
func client(t *testing.T, conf string, servers ...*dnsserver.Server) *Client {
	t.Helper()
	o := files(t, conf, "10.9.9.9 in.hosts alias.hosts # 10.9.9.8\nbad line\n::9 in.hosts\n")
	for _, s := range servers {
		o.Servers = append(o.Servers, s.Addr)
	}
	return New(o)
}

// said is an answer in one line.
func said(a Answer, err error) string {
	switch {
	case err != nil:
		return "error " + err.Error()
	case a.Missing != NoFamily:
		return fmt.Sprintf("%v %s without IPv%d", a.Addrs, a.TTL, a.Missing)
	}
	return fmt.Sprintf("%v %s", a.Addrs, a.TTL)
}

func TestClient_addresses(t *testing.T) {
	s := dnsserver.Start(t)
	s.Answer("one.example.", "A 30 10.0.0.2", "A 40 10.0.0.1", "AAAA 25 2001:db8::1", "A 30 10.0.0.2")
	s.Answer("four.example.", "A 30 10.0.0.4")
	s.Answer("alias.example.", "CNAME 7 second.example.")
	s.Answer("second.example.", "CNAME 300 one.example.")
	s.Answer("circle.example.", "CNAME 7 circle.example.")
	s.Answer("empty.example.")
	s.Answer("lame.example.")
	s.Answer("nowhere.example.", "A 30 0.0.0.0", "AAAA 30 ::")
	s.Answer("big.example.", "A 30 10.0.0.7")
	s.Answer("old.example.", "A 30 10.0.0.8")
	s.Answer("half.example.", "A 30 10.0.0.9")
	s.Answer("mapped.example.", "AAAA 30 ::ffff:10.0.0.3")
	s.Fail("lame.example.", dnsserver.Lame)
	s.Fail("fail.example.", dnsserver.ServFail)
	s.Fail("no.example.", dnsserver.Refused)
	s.Fail("nosoa.example.", dnsserver.NoSOA)
	s.Fail("big.example.", dnsserver.CutOff)
	s.Fail("old.example.", dnsserver.BeforeEDNS)
	s.Fail("half.example. AAAA", dnsserver.ServFail)
	s.Fail("four.example. AAAA", dnsserver.NoSOA)
	c := client(t, "options attempts:1", s)
	at := " at " + s.Addr.String() + ": "
	for _, tc := range []struct{ host, want string }{
		{"one.example", "[10.0.0.1 10.0.0.2 2001:db8::1] 25s"},
		{"ONE.example.", "[10.0.0.1 10.0.0.2 2001:db8::1] 25s"},
		{"four.example", "[10.0.0.4] 30s without IPv6"},
		{"alias.example", "[10.0.0.1 10.0.0.2 2001:db8::1] 7s"},
		{"mapped.example", "[10.0.0.3] 30s"},
		{"empty.example", "[] 1m0s"},
		{"gone.example", "[] 1m0s"},
		{"nowhere.example", "[] 30s"},
		{"big.example", "[10.0.0.7] 30s"},
		{"old.example", "[10.0.0.8] 30s"},
		{"half.example", "[10.0.0.9] 30s without IPv6"},
		{"in.hosts", "[10.9.9.9 ::9] 10s"},
		{"Alias.hosts", "[10.9.9.9] 10s"},
		{"localhost", "[127.0.0.1 ::1] 10s"},
		{"a.localhost", "[127.0.0.1 ::1] 10s"},
		{"10.1.2.3", "[10.1.2.3] 10s"},
		{"2001:db8::2", "[2001:db8::2] 10s"},
		{"fail.example", "error A fail.example." + at + "SERVFAIL"},
		{"no.example", "error A no.example." + at + "REFUSED"},
		{"nosoa.example", "error A nosoa.example." + at + errNoSOA.Error()},
		{"lame.example", "error A lame.example." + at + errNoSOA.Error()},
		{"circle.example", "error " + errAliases.Error()},
		{"two..example", "error \"two..example.\": " + errName.Error()},
		{strings.Repeat("a.", 130), "error \"" + strings.Repeat("a.", 130) + "\": " + errName.Error()},
	} {
		got := strings.ReplaceAll(said(c.Addresses(t.Context(), tc.host, nil)), "error AAAA ", "error A ")
		if got != tc.want {
			t.Errorf("%s:\n%s, want\n%s", tc.host, got, tc.want)
		}
	}
}

// A server that fails has the next one asked, and the one that answered is asked first from then on.
func TestClient_nextServer(t *testing.T) {
	for _, how := range []dnsserver.Failure{dnsserver.ServFail, dnsserver.Refused, dnsserver.NoSOA, dnsserver.Lame} {
		first, second := dnsserver.Start(t), dnsserver.Start(t)
		first.Fail("", how)
		second.Answer("one.example.", "A 30 10.0.0.1", "AAAA 30 ::2")
		c := client(t, "", first, second)
		for range 3 {
			if got := said(c.Addresses(t.Context(), "one.example", nil)); got != "[10.0.0.1 ::2] 30s" {
				t.Errorf("%d: %s", how, got)
			}
		}
		if n := first.Asked("one.example. A") + first.Asked("one.example. AAAA"); n > 4 {
			t.Errorf("%d: a server that fails was asked %d times", how, n)
		}
	}
}

// A port where nobody listens is a failure at once, not after the timeout.
func TestClient_serverThatIsNotThere(t *testing.T) {
	gone, err := net.ListenPacket("udp", "127.0.0.1:0")
	testutil.Must(t, err)
	o := files(t, "options timeout:30 attempts:1", "")
	o.Servers = []netip.AddrPort{gone.LocalAddr().(*net.UDPAddr).AddrPort()}
	testutil.Must(t, gone.Close())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := New(o).Addresses(ctx, "one.example", nil); err == nil || ctx.Err() != nil {
		t.Errorf("%v, %v", err, ctx.Err())
	}
}

// A server that drops questions with EDNS is asked without it after two of them went unanswered.
func TestClient_serverThatDropsEDNS(t *testing.T) {
	s := dnsserver.Start(t)
	s.Answer("one.example.", "A 30 10.0.0.1", "AAAA 30 ::2")
	s.Fail("", dnsserver.DropEDNS)
	c := client(t, "options timeout:1", s)
	for range 3 {
		if got := said(c.Addresses(t.Context(), "one.example", nil)); got != "[10.0.0.1 ::2] 30s" {
			t.Error(got)
		}
	}
	if n := s.Asked("one.example. A"); n != 4 {
		t.Errorf("the server was asked %d times, want one time with EDNS and three without", n)
	}
}

// What is known of a server that drops questions with EDNS is tried anew after an hour; a server that is silent
// altogether is asked with EDNS again.
func TestClient_asksWithEDNSAgain(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		s := dnsserver.New()
		s.Answer("one.example.", "A 30 10.0.0.1", "AAAA 30 ::2")
		o := files(t, "options timeout:1 attempts:2", "")
		o.Servers, o.Exchange = []netip.AddrPort{netip.MustParseAddrPort("10.0.0.53:53")}, s.Exchange
		c := New(o)
		look := func(want string, took time.Duration) {
			t.Helper()
			begun := time.Now()
			got, _, _ := strings.Cut(said(c.Addresses(t.Context(), "one.example", nil)), " A")
			if got != want || time.Since(begun) != took {
				t.Errorf("%s after %s, want %s after %s", got, time.Since(begun), want, took)
			}
		}
		const found = "[10.0.0.1 ::2] 30s"
		s.Fail("", dnsserver.DropEDNS)
		look(found, time.Second)
		look(found, 0)
		time.Sleep(plainTime - time.Second)
		look(found, 0)
		time.Sleep(2 * time.Second)
		look(found, time.Second) // with EDNS once, and without
		look(found, 0)
		s.Fail("", dnsserver.None)
		time.Sleep(plainTime + time.Second)
		look(found, 0)
		s.Fail("", dnsserver.Drop)
		look("error", 2*time.Second)
		s.Fail("", dnsserver.BeforeEDNS)
		asked := s.Asked("one.example. A")
		look(found, 0)
		if n := s.Asked("one.example. A") - asked; n != 2 {
			t.Errorf("asked %d times, want one time with EDNS and one without", n)
		}
	})
}

// Answers of strangers are passed over: another identifier, another question, no answer at all.
func TestClient_ignoresStrangers(t *testing.T) {
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	testutil.Must(t, err)
	right := dnsserver.New()
	right.Answer("one.example.", "A 30 10.0.0.1")
	served := make(chan struct{})
	go func() {
		defer close(served)
		buf := make([]byte, 512)
		for {
			n, from, err := packets.ReadFrom(buf)
			if err != nil {
				return
			}
			good := right.Respond("udp", buf[:n])
			id, question := slices.Clone(good), slices.Clone(good)
			id[0] ^= 1
			question[13] ^= 2 // the first letter of the name
			for _, raw := range [][]byte{id, question, buf[:n], {1, 2, 3}, {}, good} {
				if _, err := packets.WriteTo(raw, from); err != nil {
					return
				}
			}
		}
	}()
	o := files(t, "options timeout:10", "")
	o.Servers = []netip.AddrPort{packets.LocalAddr().(*net.UDPAddr).AddrPort()}
	if got := said(New(o).Addresses(t.Context(), "one.example", nil)); got != "[10.0.0.1] 30s" {
		t.Error(got)
	}
	packets.Close() //nolint:errcheck // it ends
	<-served
}

func TestClient_searchList(t *testing.T) {
	s := dnsserver.Start(t)
	s.Answer("web.svc.cluster.", "A 30 10.0.0.1")
	s.Answer("web.", "A 30 10.0.0.2")
	s.Answer("one.example.", "A 30 10.0.0.3")
	s.Answer("one.example.cluster.", "A 30 10.0.0.4")
	s.Fail("broken.svc.cluster.", dnsserver.ServFail)
	s.Fail("works.svc.cluster.", dnsserver.ServFail)
	s.Answer("works.cluster.", "A 30 10.0.0.5")
	c := client(t, "search svc.cluster cluster.\noptions ndots:1 attempts:1", s)
	for _, tc := range []struct{ host, want string }{
		{"web", "[10.0.0.1] 30s"},
		{"web.", "[10.0.0.2] 30s"},
		{"one.example", "[10.0.0.3] 30s"},
		{"gone", "[] 1m0s"},
		{"works", "[10.0.0.5] 30s"},
	} {
		if got := said(c.Addresses(t.Context(), tc.host, nil)); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.host, got, tc.want)
		}
	}
	// Where one of the candidates failed, nobody knows that the name does not exist.
	if _, err := c.Addresses(t.Context(), "broken", nil); err == nil || !strings.Contains(err.Error(), "SERVFAIL") {
		t.Error(err)
	}
	dots := client(t, "search cluster\noptions ndots:5", s)
	if got := said(dots.Addresses(t.Context(), "one.example", nil)); got != "[10.0.0.4] 30s" {
		t.Error(got)
	}
}

func TestParseSettings(t *testing.T) {
	got := parseSettings("# nameserver 1.1.1.1\nnameserver 10.0.0.1 ; x\nnameserver fe80::1%lo\nnameserver x\n" +
		"domain a.example\nsearch b.example. c.example\noptions ndots:99 timeout:0 attempts:9 rotate what:\nnonsense\n")
	want := &settings{search: []string{"b.example", "c.example"}, ndots: 15, attempts: 5, timeout: time.Second,
		servers: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:53"), netip.MustParseAddrPort("[fe80::1%lo]:53")}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := parseSettings(""); len(got.servers) != 2 || got.ndots != 1 || got.timeout != timeoutDefault {
		t.Errorf("%+v", got)
	}
}

// The files are read again after they have changed, and one that went says what it said before.
func TestClient_filesThatChange(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		o := files(t, "", "10.0.0.1 one\n")
		c := New(o)
		look := func(want string) {
			t.Helper()
			if got := said(c.Addresses(t.Context(), "one", nil)); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		look("[10.0.0.1] 10s")
		testutil.Must(t, os.WriteFile(o.Hosts, []byte("10.0.0.22 one\n"), 0o600))
		look("[10.0.0.1] 10s")
		time.Sleep(lookAgain)
		look("[10.0.0.22] 10s")
		testutil.Must(t, os.Remove(o.Hosts))
		time.Sleep(lookAgain)
		look("[10.0.0.22] 10s")
	})
}

// One family that comes is told of after 50 ms, though the answer takes until the other one has come or failed.
func TestClient_oneFamilyEarly(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		s := dnsserver.New()
		s.Answer("one.example.", "A 30 10.0.0.1", "AAAA 30 ::2")
		o := files(t, "options timeout:3 attempts:1", "")
		slow := time.Duration(0)
		o.Exchange = func(ctx context.Context, network string, to netip.AddrPort, query []byte,
			fits func([]byte) bool) ([]byte, error) {
			var p dnsmessage.Parser
			if _, err := p.Start(query); err != nil {
				return nil, err
			}
			if q, _ := p.Question(); q.Type == dnsmessage.TypeAAAA {
				select {
				case <-ctx.Done():
					return nil, ctx.Err()
				case <-time.After(slow):
				}
			}
			return s.Exchange(ctx, network, to, query, fits)
		}
		o.Servers = []netip.AddrPort{netip.MustParseAddrPort("10.0.0.53:53")}
		c := New(o)
		for _, tc := range []struct {
			slow, earlyAt, took time.Duration
			want                string
		}{
			{49 * time.Millisecond, 0, 49 * time.Millisecond, "[10.0.0.1 ::2] 30s"},
			{time.Second, 50 * time.Millisecond, time.Second, "[10.0.0.1 ::2] 30s"},
			{time.Minute, 50 * time.Millisecond, 3 * time.Second, "[10.0.0.1] 30s without IPv6"},
		} {
			slow = tc.slow
			begun, earlyAt := time.Now(), time.Duration(0)
			got := said(c.Addresses(t.Context(), "one.example", func(a Answer) {
				earlyAt = time.Since(begun)
				if said(a, nil) != "[10.0.0.1] 30s without IPv6" {
					t.Error(said(a, nil))
				}
			}))
			if got != tc.want || earlyAt != tc.earlyAt || time.Since(begun) != tc.took {
				t.Errorf("%s: %s early at %s after %s", tc.slow, got, earlyAt, time.Since(begun))
			}
		}
	})
}

// listed is an answer about services in one line.
func listed(s Services, err error) string {
	if err != nil {
		return "error " + err.Error()
	}
	var all []string
	for _, one := range s.List {
		all = append(all, fmt.Sprintf("%s:%d/%d/%d%v", one.Target, one.Port, one.Priority, one.Weight, one.Addrs))
	}
	return fmt.Sprintf("%s %s off=%v", strings.Join(all, " "), s.TTL, s.Off)
}

func TestClient_services(t *testing.T) {
	s := dnsserver.Start(t)
	s.Answer("_http._tcp.example.com.", "SRV 20 1 5 8080 b.example.com.", "SRV 20 0 5 80 a.example.com.",
		"SRV 20 0 7 81 A.example.com.", "SRV 20 0 7 81 a.example.com.")
	s.Answer("a.example.com.", "A 30 10.0.0.1", "AAAA 9 ::1:1")
	s.Answer("b.example.com.", "A 30 10.0.0.2")
	s.Answer("_off._tcp.example.com.", "SRV 20 0 0 0 .")
	s.Answer("_none._tcp.example.com.")
	s.Answer("_lost._tcp.example.com.", "SRV 20 0 0 80 gone.example.com.")
	s.Answer("_half._tcp.example.com.", "SRV 20 0 0 80 gone.example.com.", "SRV 20 0 0 80 b.example.com.",
		"SRV 20 0 0 80 fail.example.com.")
	s.Fail("fail.example.com.", dnsserver.ServFail)
	s.Answer("_dead._tcp.example.com.", "SRV 20 0 0 80 fail.example.com.")
	s.Answer("_added._tcp.example.com.", "SRV 20 0 0 80 in.example.com.", "SRV 20 0 0 80 out.example.net.")
	s.Add("_added._tcp.example.com.", "in.example.com. A 5 10.0.0.3", "out.example.net. A 5 6.6.6.6")
	s.Answer("out.example.net.", "A 30 10.0.0.4")
	s.Answer("users.service.consul.", "SRV 0 1 1 80 n.node.dc1.consul.")
	s.Add("users.service.consul.", "n.node.dc1.consul. A 0 6.6.6.6")
	s.Answer("n.node.dc1.consul.", "A 30 10.0.0.5")
	s.Answer("short.", "SRV 8 1 1 80 b.example.com.")
	s.Add("short.", "b.example.com. A 0 6.6.6.6")
	c := client(t, "options attempts:1", s)
	for _, tc := range []struct{ name, want string }{
		{"_http._tcp.example.com", "a.example.com:80/0/5[10.0.0.1 ::1:1] a.example.com:81/0/7[10.0.0.1 ::1:1] " +
			"b.example.com:8080/1/5[10.0.0.2] 9s off=false"},
		{"_off._tcp.example.com", " 20s off=true"},
		{"_none._tcp.example.com", " 1m0s off=false"},
		{"_gone._tcp.example.com", " 1m0s off=false"},
		{"_half._tcp.example.com", "b.example.com:80/0/0[10.0.0.2] fail.example.com:80/0/0[] " +
			"gone.example.com:80/0/0[] 20s off=false"},
		{"_lost._tcp.example.com", "error " + errTargets.Error()},
		{"_added._tcp.example.com", "in.example.com:80/0/0[10.0.0.3] out.example.net:80/0/0[10.0.0.4] 5s off=false"},
		{"users.service.consul", "n.node.dc1.consul:80/1/1[10.0.0.5] 0s off=false"},
		{"short.", "b.example.com:80/1/1[10.0.0.2] 8s off=false"},
	} {
		if got := listed(c.Services(t.Context(), tc.name)); got != tc.want {
			t.Errorf("%s:\n%s, want\n%s", tc.name, got, tc.want)
		}
	}
	_, err := c.Services(t.Context(), "_dead._tcp.example.com")
	if err == nil || !strings.Contains(err.Error(), "SERVFAIL") {
		t.Error(err)
	}
	half, _ := c.Services(t.Context(), "_half._tcp.example.com")
	if half.List[1].Err == nil || half.List[2].Err != nil {
		t.Errorf("%+v", half.List)
	}
}

// A look-up ends with its context, whatever the servers do.
func TestClient_endsWithItsContext(t *testing.T) {
	s := dnsserver.Start(t)
	s.Fail("", dnsserver.Drop)
	c := client(t, "options timeout:30", s)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for s.Asked("one.example. A") == 0 || s.Asked("one.example. AAAA") == 0 {
			<-time.After(time.Millisecond)
		}
		cancel()
	}()
	if _, err := c.Addresses(ctx, "one.example", nil); err == nil || !errors.Is(ctx.Err(), context.Canceled) {
		t.Error(err, ctx.Err())
	}
}

// Bytes of a server never panic, and what is read of them stays within bounds.
func FuzzParseReply(f *testing.F) {
	q, err := newQuestion("one.example.", dnsmessage.TypeSRV)
	testutil.Must(f, err)
	q.id = 7
	query, err := q.pack(true)
	testutil.Must(f, err)
	s := dnsserver.New()
	s.Answer("one.example.", "SRV 1 2 3 4 two.example.")
	s.Add("one.example.", "two.example. A 5 10.0.0.3", "two.example. AAAA 5 ::1")
	f.Add(s.Respond("udp", query))
	s.Answer("one.example.", "CNAME 5 two.example.")
	f.Add(s.Respond("udp", query))
	s.Forget("one.example.")
	f.Add(s.Respond("udp", query))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := parseReply(q, raw)
		if err != nil {
			return
		}
		found, ttl, _, err := r.followAliases("one.example.", dnsmessage.TypeSRV)
		if err == nil && (ttl < 0 || len(found) > len(raw)/11 || r.negative < 0) {
			t.Errorf("%d records of %d bytes, TTL %s, %s", len(found), len(raw), ttl, r.negative)
		}
	})
}
