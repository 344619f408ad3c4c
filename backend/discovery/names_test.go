package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/internal/discovery/dns"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/testutil/dnsserver"
)

// lookups answers look-ups of one.example by what is sent to it.
func lookups(t *testing.T, answers chan []string) Lookup {
	return func(_ context.Context, host string) ([]netip.Addr, error) {
		if host != "one.example" {
			t.Error(host)
		}
		var ips []netip.Addr
		for _, s := range <-answers {
			ips = append(ips, netip.MustParseAddr(s))
		}
		if ips == nil {
			return nil, errors.New("no such host")
		}
		return ips, nil
	}
}

// A name that does not resolve is a backend that is down; one that moves takes its backend along. Several addresses are
// as many backends, unless they are one of each family.
func TestResolver_followsNames(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		s := backend.NewSet(backend.Spec{Address: "one.example:80", Weight: 3, Zone: "a", Tier: 1},
			backend.Spec{Address: "127.0.0.1:80"})
		answers := make(chan []string, 1)
		res := ResolveNames("service", s, NamesBy(lookups(t, answers)))
		defer func() {
			close(answers)
			res.Stop()
		}()
		const two = "10.0.0.1:80 [10.0.0.1:80] ,10.0.0.2:80 [10.0.0.2:80] "
		for _, step := range []struct {
			answer []string
			want   string
			wait   time.Duration
		}{
			{nil, "one.example:80 [] dns", 1200 * time.Millisecond},
			{[]string{"10.0.0.2", "10.0.0.1", "10.0.0.2"}, two, 27 * time.Second},
			{nil, two, 1200 * time.Millisecond}, // the last good answer is kept
			{[]string{"10.0.0.2", "::2"}, "one.example:80 [10.0.0.2:80 [::2]:80] ", 27 * time.Second},
			{[]string{"10.0.0.2", "10.0.0.1"}, two, 27 * time.Second},
			{[]string{"10.0.0.3"}, "one.example:80 [10.0.0.3:80] ", 27 * time.Second},
		} {
			answers <- step.answer
			synctest.Wait()
			var got []string
			for _, m := range s.Members() {
				if m.Host() == "one.example:80" {
					got = append(got, fmt.Sprint(m.Address(), " ", *m.Addrs(), " ", m.Reasons()))
					if tier, zone := m.Place(); m.Weight() != 3 || tier != 1 || zone != "a" {
						t.Errorf("%v: weight %d tier %d zone %q", m.Address(), m.Weight(), tier, zone)
					}
				}
			}
			slices.Sort(got)
			if text := strings.Join(got, ","); text != step.want {
				t.Fatalf("%v: %s, want %s", step.answer, text, step.want)
			}
			testutil.Pass(step.wait)
		}
	})
}

// A name is looked up again when its TTL is almost over, at random; failures are spaced out.
func TestResolver_asksByTTL(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		srv := dnsserver.New()
		srv.Answer("one.example.", "A 100 10.0.0.1")
		s := backend.Of("one.example:80")
		res := ResolveNames("service", s, names(t, srv))
		defer res.Stop()
		asked := func() int { return srv.Asked("one.example. A") }
		synctest.Wait()
		time.Sleep(80 * time.Second)
		if n := asked(); n != 1 {
			t.Errorf("asked %d times within 80 s", n)
		}
		time.Sleep(11 * time.Second)
		if n := asked(); n != 2 {
			t.Errorf("asked %d times within 91 s", n)
		}
		srv.Fail("", dnsserver.ServFail)
		time.Sleep(91 * time.Second)
		before := asked()
		time.Sleep(10 * time.Minute)
		// Each look-up asks twice, once in 24 to 36 s.
		if n := asked() - before; n < 2*16 || n > 2*28 {
			t.Errorf("%d questions to a server that fails for 10 minutes", n)
		}
		if got := s.Members()[0]; len(*got.Addrs()) != 1 || got.Reasons() != 0 {
			t.Errorf("%v, reasons %b", *got.Addrs(), got.Reasons())
		}
		srv.Fail("", dnsserver.None)
		srv.Forget("one.example.") // an operator has named it: it is not gone because the name is
		time.Sleep(time.Minute)
		if got := s.Members()[0]; len(*got.Addrs()) != 1 {
			t.Errorf("%v", *got.Addrs())
		}
		srv.Answer("one.example.", "A 100 10.0.0.2", "AAAA 100 ::2")
		time.Sleep(time.Minute)
		if got := s.Members()[0]; len(*got.Addrs()) != 2 {
			t.Errorf("%v", *got.Addrs())
		}
		srv.Fail("one.example. AAAA", dnsserver.ServFail) // half of the answer keeps the other half
		time.Sleep(2 * time.Minute)
		if got := s.Members()[0]; len(*got.Addrs()) != 2 {
			t.Errorf("%v", *got.Addrs())
		}
	})
}

// names are those of a server without sockets.
func names(t *testing.T, srv *dnsserver.Server) Names {
	dir := t.TempDir() // whose files are missing
	return dns.New(dns.Options{ResolvConf: dir + "/resolv.conf", Hosts: dir + "/hosts", Exchange: srv.Exchange,
		Servers: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53")}})
}

// Without names nothing is looked up; a name that joins is, until it goes.
func TestResolver_namesThatComeAndGo(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		s, answers := backend.Of("127.0.0.1:80"), make(chan []string, 1)
		res := ResolveNames("service", s, NamesBy(lookups(t, answers)))
		if len(res.stop) != 0 {
			t.Error("a goroutine without names")
		}
		answers <- []string{"10.0.0.1"}
		s.Update([]backend.Spec{{Address: "one.example:80"}})
		synctest.Wait()
		one := s.Members()[0]
		if got := *one.Addrs(); len(got) != 1 || one.Reasons() != 0 {
			t.Errorf("%v, reasons %b", got, one.Reasons())
		}
		s.Update(nil)
		time.Sleep(time.Hour) // no answer is left: a further look-up would not return
		res.done.Wait()
		res.Stop()
	})
}

// A line of the log says which addresses a name stands for; not all of very many.
func TestResolver_namesAddresses(t *testing.T) {
	var log testutil.Output
	testutil.EventLog(t, slog.NewTextHandler(&log, nil))
	testutil.Bubble(t, func(t *testing.T) {
		s, answers := backend.Of("one.example:80"), make(chan []string, 1)
		res := ResolveNames("service", s, NamesBy(lookups(t, answers)))
		for _, answer := range [][]string{
			{"10.0.0.1", "::1"},
			strings.Fields("10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6 10.0.0.7 10.0.0.8 10.0.0.9 ::1"),
		} {
			answers <- answer
			synctest.Wait()
			testutil.Pass(30 * time.Second)
		}
		close(answers)
		res.Stop()
	})
	for _, want := range []string{`addresses="[10.0.0.1 ::1]"`, `10.0.0.8 and 2 more]"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%s is missing in\n%s", want, log.String())
		}
	}
}

// A source may give many names while no server answers: few of them are looked up at a time.
func TestResolver_boundsLookups(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		var running, most atomic.Int64
		s := backend.NewSet()
		res := ResolveNames("service", s, NamesBy(func(ctx context.Context, _ string) ([]netip.Addr, error) {
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer running.Add(-1)
			<-ctx.Done()
			return nil, ctx.Err()
		}))
		defer res.Stop()
		list := make([]backend.Spec, 10*lookupsMax)
		for i := range list {
			list[i].Address = fmt.Sprintf("h%d.example:80", i)
		}
		s.Update(list)
		time.Sleep(5 * lookupMax)
		if most.Load() != lookupsMax {
			t.Errorf("%d look-ups at a time, want %d", most.Load(), lookupsMax)
		}
	})
}

// A name server cannot make more members than an upstream may have: an answer with too many addresses changes nothing.
func TestResolver_boundsAddresses(t *testing.T) {
	var log testutil.Output
	testutil.EventLog(t, slog.NewTextHandler(&log, nil))
	testutil.Bubble(t, func(t *testing.T) {
		var flood atomic.Bool
		s := backend.NewSet(backend.Spec{Address: "a.example:80"}, backend.Spec{Address: "b.example:80"})
		res := ResolveNames("service", s, NamesBy(func(_ context.Context, host string) (ips []netip.Addr, _ error) {
			n := 3
			if host == "a.example" && flood.Load() {
				n = 9998
			}
			for i := range n {
				ips = append(ips, netip.AddrFrom4([4]byte{10, host[0], byte(i >> 8), byte(i)}))
			}
			return ips, nil
		}))
		defer res.Stop()
		synctest.Wait()
		flood.Store(true)
		testutil.Pass(time.Minute)
		if n := s.Len(); n != 6 {
			t.Errorf("%d members", n)
		}
	})
	if text := log.String(); !strings.Contains(text, "backend does not resolve") ||
		!strings.Contains(text, "10001 addresses of all names of the upstream, more than 10000") {
		t.Errorf("%.500s", text)
	}
}
