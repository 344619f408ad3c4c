package interop

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// The program of docs/acme.md writes records into a zone of BIND by nsupdate. edge asks that server until it has them,
// at port 53 of an address of its own, and so does the authority.
func TestServe_provesByBIND(t *testing.T) {
	named, err := exec.LookPath("/usr/sbin/named")
	if err == nil {
		_, err = exec.LookPath("nsupdate")
	}
	if err != nil || os.Getuid() != 0 {
		t.Skip("needs BIND, nsupdate and a port below 1024")
	}
	dir, port := t.TempDir(), portOf(t, testutil.FreeAddr(t))
	at := fmt.Sprintf("127.0.0.1:%d", port)
	address := fmt.Sprintf("127.53.%d.%d", os.Getpid()/256%256, os.Getpid()%256) // BIND does not listen there
	write := func(name string, mode os.FileMode, format string, args ...any) string {
		path := filepath.Join(dir, name)
		testutil.Must(t, os.WriteFile(path, fmt.Appendf(nil, format, args...), mode))
		return path
	}
	key := write("zone.key", 0o600, "key edge. { algorithm hmac-sha256; secret \"c2VjcmV0c2VjcmV0c2VjcmV0\"; };\n")
	write("zone.db", 0o600, `$TTL 1
@ IN SOA ns admin 1 60 60 60 1
@ IN NS ns
ns IN A %s
@ IN A 127.0.0.1
* IN A 127.0.0.1
`, address)
	conf := write("named.conf", 0o600, `include %q;
options {
	directory %q; pid-file none; session-keyfile none; recursion no; dnssec-validation no;
	listen-on port %d { 127.0.0.1; }; listen-on-v6 { none; };
};
controls { };
zone "shop.test" { type primary; file "zone.db"; allow-update { key edge.; }; };
`, key, dir, port)
	testutil.Start(t, testutil.Command{Path: named, Args: []string{"-g", "-c", conf}})
	handOn := func(w dns.ResponseWriter, q *dns.Msg) {
		if a, err := dns.Exchange(q, at); err == nil {
			w.WriteMsg(a)
		}
	}
	serveDNS(t, address+":53", handOn)
	answers := func(name string) []dns.RR {
		a, _ := dns.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeTXT), address+":53")
		if a == nil {
			return []dns.RR{nil}
		}
		return a.Answer
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return len(answers("shop.test.")) == 0 })

	page := testutil.ReadFile(t, "../../../docs/acme.md")
	program := regexp.MustCompile("(?s)```sh\n(#!/bin/sh.*?)```").FindSubmatch(page)[1]
	hook := write("hook", 0o700, "%s", strings.NewReplacer("/etc/edge/zone.key", key,
		"zone $EDGE", fmt.Sprintf("server 127.0.0.1 %d\nzone $EDGE", port)).Replace(string(program)))
	s := newServed(t, pebbleOptions{names: at})
	s.keys = strings.Replace(s.keys, "lockdown = true", "", 1)
	s.configure("dns = %q\nresolver = %q\n%s", hook, at, starRoutes)
	s.start()
	s.waitFor("any.shop.test")
	s.waitFor("shop.test")
	testutil.Eventually(t, testutil.Patience, func() bool { return len(answers("_acme-challenge.shop.test.")) == 0 })
}

// serveDNS serves over UDP until the test ends.
func serveDNS(t *testing.T, address string, f dns.HandlerFunc) {
	t.Helper()
	packets, err := net.ListenPacket("udp", address)
	testutil.Must(t, err)
	s := &dns.Server{PacketConn: packets, Handler: f}
	go s.ActivateAndServe()
	t.Cleanup(func() { s.Shutdown() })
}
