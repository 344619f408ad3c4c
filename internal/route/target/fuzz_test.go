package target_test

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/route/target"
)

// What is accepted means the same to net/url and to inet_aton(3), and its form is the only one.
func FuzzParse(f *testing.F) {
	for _, text := range append(append([]string{}, hostile...), hostileWhole...) {
		f.Add(text)
		f.Add("http://" + text + ".svc.internal:8080")
		f.Add("https://" + text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := target.Parse(text)
		if err != nil {
			return
		}
		whole := text
		if !strings.Contains(text, "://") {
			whole = "http://" + text
		}
		u, err := url.Parse(whole)
		if err != nil || u.User != nil || u.Path+u.RawQuery+u.Fragment != "" || u.Opaque != "" || u.ForceQuery {
			t.Fatalf("%q is %s, and to net/url %+v, %v", text, got.String(), u, err)
		}
		port := u.Port()
		if port == "" {
			port = map[string]string{"https": "443"}[u.Scheme] + ""
			if port == "" {
				port = "80"
			}
		}
		host := strings.ToLower(u.Hostname())
		if ip, err := netip.ParseAddr(host); err == nil {
			host = ip.Unmap().String()
		}
		if u.Scheme != got.Scheme.String() || strings.TrimSuffix(host,
			".") != got.Host || port != strconv.Itoa(int(got.Port)) {
			t.Fatalf("%q is %s, and to net/url %s", text, got.String(), u)
		}
		if ip, ok := inetAton(got.Host); ok && ip != got.IP {
			t.Fatalf("%q is %s, and to inet_aton %s", text, got.String(), ip)
		}
		for _, c := range []byte(got.Host) {
			if c <= ' ' || c >= 0x7f || strings.IndexByte("/?#@%\\<>\"'`", c) >= 0 {
				t.Fatalf("%q is %q", text, got.Host)
			}
		}
		if again, err := target.Parse(got.String()); err != nil || again != got {
			t.Fatalf("%q is %+v, which is %+v, %v", text, got, again, err)
		}
	})
}

// inetAton is the model of how libraries of C read an IPv4 address: one to four numbers, each of them decimal, octal or
// hexadecimal, of which the last one fills the rest.
func inetAton(s string) (ip netip.Addr, ok bool) {
	pieces := strings.Split(s, ".")
	if len(pieces) > 4 {
		return ip, false
	}
	var sum uint64
	for i, p := range pieces {
		digits, base := p, 10
		switch {
		case len(p) > 1 && (p[:2] == "0x" || p[:2] == "0X"):
			if digits, base = p[2:], 16; digits == "" {
				digits = "0"
			}
		case len(p) > 1 && p[0] == '0':
			digits, base = p[1:], 8
		}
		n, err := strconv.ParseUint(digits, base, 32)
		last := i == len(pieces)-1
		if err != nil || strings.Contains(digits, "_") || !last && n > 255 || last && n >= 1<<(8*(5-len(pieces))) {
			return ip, false
		}
		if last {
			sum |= n
		} else {
			sum |= n << (24 - 8*i)
		}
	}
	return netip.AddrFrom4([4]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}), true
}

// No address that a List lets a name have leads into a network that it does not name, whatever is inside it.
func FuzzCheckAddr(f *testing.F) {
	for _, s := range []string{"10.0.0.1", "::1", "64:ff9b::7f00:1", "2002:7f00:1::", "1.1.1.1", "::ffff:10.0.0.1"} {
		b, _ := netip.MustParseAddr(s).MarshalBinary()
		f.Add(b)
	}
	l := listOf(f, "http://*.svc", "10.9.0.0/16")
	name, _ := target.Parse("http://a.svc")
	private := func(ip netip.Addr) bool {
		return ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified()
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ip, ok := netip.AddrFromSlice(b)
		if !ok || l.CheckAddr(&name, ip) != nil {
			return
		}
		seen := ip.Unmap()
		if netip.MustParsePrefix("10.9.0.0/16").Contains(seen) {
			return
		}
		all := []netip.Addr{seen}
		if raw := seen.As16(); seen.Is6() {
			if netip.MustParsePrefix("64:ff9b::/96").Contains(seen) || netip.MustParsePrefix("::/96").Contains(seen) {
				all = append(all, netip.AddrFrom4([4]byte(raw[12:])))
			}
			if raw[0] == 0x20 && raw[1] == 2 {
				all = append(all, netip.AddrFrom4([4]byte(raw[2:6])))
			}
		}
		for _, one := range all {
			if private(one) {
				t.Fatalf("%s is let through, with %s", ip, one)
			}
		}
	})
}
