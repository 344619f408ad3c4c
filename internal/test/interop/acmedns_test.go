package interop

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/miekg/dns"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// zone is a DNS server, of miekg/dns, for shop.test. Its TXT records are files of a folder, which hooks write.
type zone struct {
	dir     string
	address string       // where it serves, as a resolver and for the zone
	seen    atomic.Int32 // the most TXT records of one name that were asked for
}

func newZone(t *testing.T) *zone {
	t.Helper()
	z := &zone{dir: t.TempDir()}
	for range 100 { // a port that is free for TCP may be taken for UDP
		l := testutil.Listen(t)
		packets, err := net.ListenPacket("udp", l.Addr().String())
		if err != nil {
			continue
		}
		z.address = l.Addr().String()
		for _, s := range []*dns.Server{{Listener: l, Handler: z}, {PacketConn: packets, Handler: z}} {
			go s.ActivateAndServe()
			t.Cleanup(func() { s.Shutdown() })
		}
		return z
	}
	t.Fatal("no port is free for both TCP and UDP")
	return nil
}

// records returns the TXT records of a full name.
func (z *zone) records(name string) (texts []string) {
	files, _ := filepath.Glob(filepath.Join(z.dir, name+" *"))
	for _, file := range files {
		texts = append(texts, strings.TrimPrefix(filepath.Base(file), name+" "))
	}
	return texts
}

// ServeDNS implements dns.Handler.
func (z *zone) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	a := new(dns.Msg)
	a.SetReply(q)
	a.Authoritative = true
	add := func(format string, args ...any) {
		r, err := dns.NewRR(fmt.Sprintf(format, args...))
		if err != nil {
			panic(err)
		}
		a.Answer = append(a.Answer, r)
	}
	const soa = "shop.test. 1 IN SOA ns.shop.test. admin.shop.test. 1 60 60 60 1"
	switch name := strings.ToLower(q.Question[0].Name); q.Question[0].Qtype {
	case dns.TypeTXT:
		texts := z.records(name)
		for _, text := range texts {
			add("%s 1 IN TXT %q", name, text)
		}
		z.seen.Store(max(z.seen.Load(), int32(len(texts))))
	case dns.TypeNS:
		if name == "shop.test." {
			add("shop.test. 1 IN NS ns.shop.test.")
		}
	case dns.TypeSOA:
		if name == "shop.test." {
			add(soa)
		}
	case dns.TypeA:
		add("%s 1 IN A 127.0.0.1", name)
	}
	if len(a.Answer) == 0 {
		add(soa)
		a.Ns, a.Answer = a.Answer, nil
	}
	w.WriteMsg(a)
}

// hook writes a program that keeps the records of a zone; more comes before.
func (z *zone) hook(t *testing.T, more string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "dns-hook")
	text := "#!/bin/sh\n" + more + `
case "$1" in
present) [ "$EDGE_ACME_ZONE" = shop.test. ] && : >"` + z.dir + `/$2 $3";;
cleanup) rm -f "` + z.dir + `/$EDGE_ACME_NAME $EDGE_ACME_VALUE";;
esac
`
	testutil.WriteProgram(t, path, []byte(text))
	return path
}

const starRoutes = `
[[routes]]
host = ["*.shop.test", "shop.test", "www.shop.test"]
dest = "127.0.0.1:1"
`

// newByDNS starts the authority, which asks the zone alone, for an edge without lockdown.
func newByDNS(t *testing.T, o pebbleOptions) (*served, *zone) {
	t.Helper()
	z := newZone(t)
	o.names = z.address
	s := newServed(t, o)
	s.keys = strings.Replace(s.keys, "lockdown = true", "", 1)
	return s, z
}

// A program writes records for hosts with a star, which exact hosts below use, too. None is left.
func TestServe_provesByDNS(t *testing.T) {
	s, z := newByDNS(t, pebbleOptions{})
	hook := z.hook(t, "sh -c 'kill -PIPE $$; exit 0' && exit 9") // it can use pipes, though edge ignores the signal
	s.configure("dns = %q\nresolver = %q\n%s", hook, z.address, starRoutes)
	s.start()
	if leaf := s.waitFor("any.shop.test"); leaf.DNSNames[0] != "*.shop.test" {
		t.Errorf("%v", leaf.DNSNames)
	}
	s.waitFor("shop.test")
	if leaf := s.presented("www.shop.test"); leaf == nil || leaf.DNSNames[0] != "*.shop.test" {
		t.Errorf("%v", leaf)
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return len(z.records("_acme-challenge.shop.test.")) == 0 })
	if n := s.ordersMade(); n != 2 {
		t.Errorf("%d orders", n)
	}
	s.configure("challenge = \"dns-01\"\ndns = %q\nresolver = %q\n%s%s", z.hook(t, ""), z.address, starRoutes, `
[[certificates]]
cert = "acme"
hosts = ["shop.test", "*.shop.test"]
`)
	s.Signal(syscall.SIGHUP)
	testutil.Eventually(t, testutil.Patience, func() bool {
		leaf := s.presented("any.shop.test")
		return leaf != nil && len(leaf.DNSNames) == 2
	})
	if n, seen := s.ordersMade(), z.seen.Load(); n != 3 || seen != 2 {
		t.Errorf("%d orders, %d records of one name", n, seen)
	}
}

// What a program says when it fails is in the log.
func TestServe_dnsProgramFails(t *testing.T) {
	s, z := newByDNS(t, pebbleOptions{})
	s.configure("dns = %q\nresolver = %q\n%s", z.hook(t, "echo 'the key is wrong' >&2; exit 3"), z.address, starRoutes)
	s.start()
	s.WaitLine("a certificate could not be ordered.*shop.test.*exit status 3: the key is wrong")
	if s.presented("any.shop.test") != nil {
		t.Error("there is a certificate")
	}
}

// A process that stops in the middle of a program ends it, and leaves no record. The next one orders at once.
func TestServe_dnsProgramIsCutOff(t *testing.T) {
	s, z := newByDNS(t, pebbleOptions{})
	slow := filepath.Join(t.TempDir(), "slow")
	hook := z.hook(t, `[ ! -e `+slow+` ] || [ "$1" != present ] || {
	: >"`+z.dir+`/$2 $3"
	: >`+slow+`.$$
	exec sleep 1000
}`)
	const routes = "\n[[routes]]\nhost = \"*.shop.test\"\ndest = \"127.0.0.1:1\"\n"
	s.configure("dns = %q\nresolver = %q\n%s", hook, z.address, routes)
	testutil.Must(t, os.WriteFile(slow, nil, 0o600))
	started := func() bool {
		files, _ := filepath.Glob(slow + ".*")
		for _, file := range files {
			os.Remove(file)
		}
		return len(files) > 0
	}
	s.start()
	testutil.Eventually(t, testutil.Patience, started)
	if code := s.Stop(); code != 0 || len(z.records("_acme-challenge.shop.test.")) > 0 {
		t.Errorf("exit %d, records are left: %v", code, z.records("_acme-challenge.shop.test."))
	}
	os.Remove(slow)
	s.start()
	s.waitFor("a.shop.test")
	testutil.Eventually(t, testutil.Patience, func() bool { return len(z.records("_acme-challenge.shop.test.")) == 0 })
}

// A process that stops does not accept connections while a program removes a record.
func TestServe_drainsWhileRecordIsRemoved(t *testing.T) {
	s, z := newByDNS(t, pebbleOptions{})
	wait := filepath.Join(t.TempDir(), "wait")
	testutil.Must(t, os.WriteFile(wait, nil, 0o600))
	hook := z.hook(t, `[ "$1" = present ] || { : >`+wait+`.begun; while [ -e `+wait+` ]; do sleep 0.05; done; }`)
	s.configure("dns = %q\nresolver = %q\n%s", hook, z.address, starRoutes)
	s.start()
	testutil.Eventually(t, testutil.Patience, func() bool {
		_, err := os.Stat(wait + ".begun")
		return err == nil
	})
	s.Signal(syscall.SIGTERM)
	testutil.Eventually(t, testutil.Patience, func() bool {
		c, err := net.Dial("tcp", s.plain)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	if len(z.records("_acme-challenge.shop.test.")) == 0 {
		t.Error("connections were accepted until the record was removed")
	}
	os.Remove(wait)
	if code := s.Stop(); code != 0 || len(z.records("_acme-challenge.shop.test.")) > 0 {
		t.Errorf("exit %d, records are left: %v", code, z.records("_acme-challenge.shop.test."))
	}
}
