package fleet

import (
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/program/programtest"
)

// primaryServer is a server of a zone that takes updates, of miekg/dns. Safe for any goroutine.
type primaryServer struct {
	mu      sync.Mutex
	records []string // guarded by mu
}

// ServeDNS implements dns.Handler.
func (s *primaryServer) ServeDNS(w dns.ResponseWriter, m *dns.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := new(dns.Msg).SetRcode(m, dns.RcodeSuccess)
	if m.IsTsig() == nil || w.TsigStatus() != nil {
		a.Rcode = dns.RcodeNotAuth
	} else {
		a.SetTsig(m.IsTsig().Hdr.Name, dns.HmacSHA256, 300, int64(m.IsTsig().TimeSigned))
		for _, rr := range m.Ns {
			name, text := rr.Header().Name, rr.(*dns.TXT).Txt[0]
			s.records = slices.DeleteFunc(s.records, func(r string) bool { return r == name+" "+text })
			if rr.Header().Class == dns.ClassINET { // else it is removed: RFC 2136 §2.5.4
				s.records = append(s.records, name+" "+text)
			}
		}
	}
	_ = w.WriteMsg(a)
}

// The records of proofs come and go one by one, and a wrong key is an error.
func TestZone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const secret = "c2VjcmV0c2VjcmV0"
	s := &primaryServer{}
	front := &dns.Server{Listener: l, Handler: s, TsigSecret: map[string]string{"edge.": secret},
		MsgAcceptFunc: func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept }}
	started := make(chan struct{})
	front.NotifyStartedFunc = func() { close(started) }
	go front.ActivateAndServe()
	<-started
	defer front.Shutdown()
	p, err := NewZone(&ZoneConfig{Server: l.Addr().String(), Key: "edge.", Secret: secret}, nil)
	if err != nil {
		t.Fatal(err)
	}
	one := edge.DNSRecord{Zone: "example.org.", Name: "_acme-challenge.www.example.org.", Text: "one"}
	two := one
	two.Text = "two"
	for _, step := range []struct {
		change func(edge.DNSRecord) error
		of     edge.DNSRecord
		want   string
	}{
		{func(r edge.DNSRecord) error { return p.Present(t.Context(), r) }, one, "one"},
		{func(r edge.DNSRecord) error { return p.Present(t.Context(), r) }, two, "one two"},
		{func(r edge.DNSRecord) error { return p.CleanUp(t.Context(), r) }, one, "two"},
		{func(r edge.DNSRecord) error { return p.CleanUp(t.Context(), r) }, one, "two"},
	} {
		err := step.change(step.of)
		s.mu.Lock()
		if got := strings.ReplaceAll(strings.Join(s.records, " "), one.Name+" ", ""); err != nil || got != step.want {
			t.Errorf("%s, %v, want %s", got, err, step.want)
		}
		s.mu.Unlock()
	}
	wrong, _ := NewZone(&ZoneConfig{Server: l.Addr().String(), Key: "edge.", Secret: "d3Jvbmc="}, nil)
	if err := wrong.Present(t.Context(), one); err == nil || !strings.Contains(err.Error(), "NOTAUTH") {
		t.Errorf("%v", err)
	}
}

// The file of the page on modules has the provider.
func TestZone_ofAFile(t *testing.T) {
	page, err := os.ReadFile("../../../docs/plugins.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "### DNS providers")
	_, text, _ = strings.Cut(text, "```toml\n")
	text, _, _ = strings.Cut(text, "```")
	if all := programtest.Read[*ZoneConfig](t, text); len(all) != 1 || all[0].Server != "10.0.0.53:53" {
		t.Errorf("%+v", all)
	}
}
