package target_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/route/target"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
)

func listOf(t testing.TB, entries ...string) *target.List {
	t.Helper()
	l, err := target.ParseList(entries...)
	testutil.Must(t, err)
	return l
}

func template(t testing.TB, text string) *target.Template {
	t.Helper()
	tm, err := target.ParseTemplate(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return tm
}

// request makes a head with these fields, names and values in turns.
func request(path, host string, fields ...string) *message.Head {
	h := &message.Head{}
	h.SetMethod("GET")
	h.SetTarget(path)
	h.SetAuthority(host)
	for i := 0; i < len(fields); i += 2 {
		h.Add(fields[i], fields[i+1])
	}
	return h
}

func TestList_Check(t *testing.T) {
	l := listOf(t, "http://api.internal:8080", "https://*.svc.internal", "http://*.pods:8000-8002,9000",
		"h2c://Any.Port:*",
		"http://10.1.2.3:81", "http://10.2.0.0/16:80", "http://[fd00::]:80", "http://[fd01::/16]:80", "10.3.0.0/16")
	for text, listed := range map[string]bool{
		"http://api.internal:8080": true, "http://API.internal.:8080": true, "http://api.internal": false,
		"https://api.internal:8080": false, "http://a.api.internal:8080": false, "http://xapi.internal:8080": false,
		"https://a.svc.internal": true, "https://a.b.svc.internal": true, "https://svc.internal": false,
		"https://asvc.internal": false, "https://a.svc.internal:444": false,
		"https://a.svc.internal.evil.example": false,
		"http://a.pods:7999":                  false, "http://a.pods:8000": true, "http://a.pods:8002": true,
		"http://a.pods:8003": false,
		"http://a.pods:9000": true, "h2c://any.port:1": true, "h2c://any.port:65535": true,
		"http://any.port:1":  false,
		"http://10.1.2.3:81": true, "http://10.1.2.4:81": false, "http://10.2.255.255": true,
		"http://10.3.0.0":    false,
		"http://10.2.0.0:81": false, "http://[fd00::]": true, "http://[fd00::1]": false, "http://[fd01::1]": true,
		"http://[::ffff:10.1.2.3]:81": true, "http://10.3.0.1:80": false,
	} {
		one, err := target.Parse(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if err := l.Check(&one); (err == nil) != listed || err != nil && !errors.Is(err, target.ErrUnlisted) {
			t.Errorf("Check(%q): %v", text, err)
		}
	}
}

func TestList_CheckAddr(t *testing.T) {
	l := listOf(t, "http://*.svc", "http://10.1.2.3", "10.3.0.0/16", "fd00::/8", "::ffff:192.168.0.0/120",
		"127.0.0.9")
	name, _ := target.Parse("http://a.svc")
	literal, _ := target.Parse("http://10.1.2.3")
	for _, c := range []struct {
		of *target.Target
		ip string
		ok bool
	}{
		{&name, "1.1.1.1", true}, {&name, "2606:4700::1", true}, {&name, "10.3.4.5", true}, {&name, "10.4.0.0",
			false},
		{&name, "10.1.2.3", false}, {&literal, "10.1.2.3", true}, {&literal, "::ffff:10.1.2.3", true},
		{&literal, "10.1.2.4", false}, {&name, "fd12::1", true}, {&name, "fc00::1", false}, {&name, "fd12::1%eth0",
			false},
		{&name, "::ffff:10.3.4.5", true}, {&name, "64:ff9b::10.3.4.5", false}, {&name, "2002:a03:405::1", false},
		{&name, "192.168.0.7", true}, {&name, "192.168.1.7", false}, {&name, "127.0.0.9", true}, {&name,
			"127.0.0.1", false},
		{&name, "169.254.169.254", false}, {&name, "1.1.1.1", true}, {&name, "2606::1%eth0", false},
	} {
		err := l.CheckAddr(c.of, netip.MustParseAddr(c.ip))
		if (err == nil) != c.ok || err != nil && !errors.Is(err, target.ErrAddress) {
			t.Errorf("%s at %s: %v", c.of.String(), c.ip, err)
		}
	}
}

func TestParseList_refuses(t *testing.T) {
	for entry, hint := range map[string]string{
		"": "10.0.0.0/8", "*": "10.0.0.0/8", "http://*": "", "http://*.": "", "http://a.*": "", "http://*a.b": "",
		"http://*.*.b": "", "http://": "", "ftp://a.b": "", "http://a.b/c": "", "http://a.b:c": "8080",
		"http://a.b:0": "", "http://a.b:2-1": "", "http://a.b:1-65536": "", "http://u@a.b": "", "http://a.b?c": "",
		"http://a:1:2": "", "http://0x7f.1": "", "http://[::1%lo]": "", "a.b:80": "http://a.b:80",
		"*.svc.internal": "http://*.svc.internal", "10.0.0.0/33": "", "fe80::1%eth0": "", "http://a b": "",
		"http://a.b:" + strings.Repeat("1,", 16) + "1": "", "http://{host}": "",
	} {
		_, err := target.ParseList("http://ok.example", entry)
		var wrong *target.EntryError
		if !errors.As(err, &wrong) || wrong.Index != 1 || !strings.Contains(wrong.Hint, hint) || wrong.Error() == "" {
			t.Errorf("%q: %v", entry, err)
		}
	}
	if _, err := target.ParseList(make([]string, 257)...); err == nil {
		t.Error("257 entries")
	}
}

func TestList_Reaches(t *testing.T) {
	l := listOf(t, "http://*.svc:8080", "https://a.b", "10.0.0.0/8")
	for _, c := range []struct {
		scheme string
		port   uint16
		want   bool
	}{
		{"", 0, true}, {"http", 0, true}, {"http", 8080, true}, {"http", 443, false}, {"https", 443, true}, {"h2c",
			0, false},
		{"", 443, true}, {"", 80, false},
	} {
		if l.Reaches(c.scheme, c.port) != c.want {
			t.Errorf("Reaches(%q, %d) is not %t", c.scheme, c.port, c.want)
		}
	}
}
