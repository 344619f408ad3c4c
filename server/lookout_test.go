package server

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-proxy/edge/backend/discovery/dns"
	"github.com/edge-proxy/edge/certs/issue"
	"github.com/edge-proxy/edge/certs/issue/acme"
	wanted "github.com/edge-proxy/edge/config/acme"
	"github.com/edge-proxy/edge/internal/testutil/dnsserver"
)

// lookoutOf makes a lookout for an authority of a private network, whose names e finds.
func lookoutOf(t *testing.T, e dns.Exchange) *lookout {
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	try(t, os.WriteFile(conf, []byte("nameserver 10.0.0.53\noptions timeout:30 attempts:5"), 0o600))
	client := dns.New(dns.Options{ResolvConf: conf, Hosts: os.DevNull, Exchange: e})
	return &lookout{&wanted.ACME{CA: []string{"https://ca.test/dir"}}, &issue.Challenges{}, client,
		[]string{acme.HTTP01, acme.TLSALPN01}}
}

// A name with many addresses takes the time, and the lines of the log, of a few.
func TestLookout_manyAddresses(t *testing.T) {
	s := dnsserver.New()
	records := make([]string, 0, 200)
	for i := range cap(records) {
		records = append(records, fmt.Sprintf("A 30 127.9.9.%d", i))
	}
	s.Answer("a.org.", records...)
	if all := lookoutOf(t, s.Exchange).strays(t.Context(), []string{"a.org"}); len(all) != 2*addressesMost {
		t.Errorf("%d lines: %s", len(all), strings.Join(all, "\n"))
	}
}

// A look at names ends long before their order does, whatever the DNS servers do. One that is given up says nothing:
// a process that ends has not found a name to lead elsewhere.
func TestLookout_hangingDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lookoutOf(t, func(ctx context.Context, _ string, _ netip.AddrPort, _ []byte, _ func([]byte) bool) (
			[]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		begun := time.Now()
		all := l.strays(t.Context(), []string{"a.org", "b.org"})
		if len(all) != 2 || !strings.Contains(all[1], "b.org has no address: ") || time.Since(begun) > lookMax {
			t.Errorf("%q after %s", all, time.Since(begun))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if all := l.strays(ctx, []string{"a.org"}); len(all) > 0 {
			t.Errorf("%q after the end", all)
		}
	})
}
