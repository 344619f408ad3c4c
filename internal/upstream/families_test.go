package upstream

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

// Which addresses are tried beside the one that is dialled.
func TestSite_otherAddresses(t *testing.T) {
	for _, c := range []struct{ addrs, over, from, want string }{
		{"10.0.0.1", "", "10.0.0.1", ""},
		{"10.0.0.1 10.0.0.2", "", "10.0.0.1", ""},
		{"fd00::1 fd00::2", "", "fd00::2", ""},
		{"10.0.0.1 fd00::1", "", "10.0.0.1", "fd00::1"},
		{"10.0.0.1 fd00::1", "", "fd00::1", "10.0.0.1"},
		{"10.0.0.1 fd00::1", "fd00::1", "10.0.0.1", ""},
		{"10.0.0.1 fd00::1", "10.0.0.1", "10.0.0.1", "fd00::1"},
		{"10.0.0.1 10.0.0.2 fd00::1 fd00::2", "", "10.0.0.2", "fd00::1 10.0.0.1 fd00::2"},
		{"10.0.0.1 10.0.0.2 fd00::1 fd00::2", "", "fd00::1", "10.0.0.1 fd00::2 10.0.0.2"},
		{"10.0.0.1 10.0.0.2 fd00::1 fd00::2", "10.0.0.1 fd00::1", "10.0.0.2", "fd00::2"},
		{"10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 fd00::1", "", "10.0.0.3", "fd00::1 10.0.0.4 10.0.0.1"},
	} {
		e, err := engine.New(engine.Options{Reactors: 1})
		testutil.Must(t, err)
		set := backend.Of("a.test:80")
		u := New(e, Options{Backends: set})
		m := set.Members()[0]
		m.SetAddrs(addrsOf(c.addrs))
		for _, at := range addrsOf(c.over) {
			m.PassOver(at)
		}
		s := u.local[0].site(m)
		var got []string
		for _, at := range s.otherAddresses(s.groupAt(addrsOf(c.from)[0])) {
			got = append(got, at.IP.Addr().String())
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("from %s of %s without %q: %s, want %s", c.from, c.addrs, c.over, got, c.want)
		}
		u.Close()
		e.Stop()
	}
}

func addrsOf(text string) (all []poller.Addr) {
	for ip := range strings.FieldsSeq(text) {
		all = append(all, poller.Addr{IP: netip.AddrPortFrom(netip.MustParseAddr(ip), 80)})
	}
	return all
}
