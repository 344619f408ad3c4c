package locator

import (
	"fmt"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"dns://web.example:8080", "dns web.example 8080 "},
		{"DNS://web.example.:80", "dns web.example. 80 "},
		{"srv+dns://_http._tcp.example.com", "srv+dns _http._tcp.example.com 0 "},
		{"file:///etc/edge/users.txt", "file  0 /etc/edge/users.txt"},
		{"mine://any/thing?a=b", "mine any 0 /thing"},
		{"etcd://10.0.0.1:2379,b.example:2379/a/b/", "etcd 10.0.0.1:2379,b.example:2379 0 /a/b/"},
		{"etcd://10.0.0.1/a", "needs a port"},
		{"etcd://[::1]:2379/a?tls=true&ca=/x", "etcd [::1]:2379 0 /a"},
		{"etcd://10.0.0.1:2379", "what to look for"},
		{"etcd://10.0.0.1:2379/a?tls=yes", `"yes" is no value of "tls"`},
		{"etcd://10.0.0.1:2379/a?tag=x", `no parameter "tag"`},
		{"consul://127.0.0.1:8500/users?tag=a&dc=b", "consul 127.0.0.1:8500 0 /users"},
		{"consul://127.0.0.1:8500/users/x", "more than can be meant"},
		{"consul://a.example:1,b.example:2/users", "more than can be meant"},
		{"consul://127.0.0.1:8500/users?tag=a&tag=b", `"a" is no value of "tag"`},
		{"consul://127.0.0.1:8500/users?token_file=x", `"x" is no value of "token_file"`},
		{"k8s://shop/users:http", "k8s shop 0 /users:http"},
		{"k8s://shop/users?api=https://10.0.0.1:6443", "k8s shop 0 /users"},
		{"k8s://shop/users?api=10.0.0.1", `is no value of "api"`},
		{"k8s://shop", "must be like k8s://namespace/service:port"},
		{"k8s://shop:80/users", "must be like k8s://namespace/service:port"},
		{"k8s://shop/users:80/x", "more than can be meant"},
		{"docker://edge.service=users?port=80", "docker edge.service=users 0 "},
		{"docker://a/b", "needs a label"},
		{"docker://a?port=0", `"0" is no value of "port"`},
		{"docker://a?socket=run", `"run" is no value of "socket"`},
		{"web.example:80", "like scheme://where"},
		{"dns://", "like scheme://where"},
		{"://x", "like scheme://where"},
		{"dns://web.example", "needs a port"},
		{"dns://web.example:0", "needs a port"},
		{"dns://web.example:http", "needs a port"},
		{"dns://:80", "needs the name"},
		{"dns://web.example:80/x", "more than can be meant"},
		{"dns://user@web.example:80", `"dns://…@web.example:80": it must have no user`},
		{"consul://user:sesame@h:8500/x", `"consul://…@h:8500/x": it must have no user`},
		{"etdc://user:ses/me@h", `"etdc://…@h": no source is called`},
		{"dns://web.example:80?ttl=5", "no parameter \"ttl\""},
		{"dns://web.example:80?%zz", "invalid URL escape"},
		{"dns://" + strings.Repeat("a", 64) + ":80", "not the name of a host"},
		{"srv+dns://web..example", "not the name of a host"},
		{"srv+dns://web.example:80", "a service has no port"},
		{"srv+dns://web.example/x", "more than can be meant"},
		{"file://relative/path", "absolute path"},
		{"file:///etc/../x", "absolute path"},
		{"file:///", "absolute path"},
		{"etdc://x", `no source is called "etdc"; there are consul, dns, docker, etcd, file, k8s, mine, srv+dns`},
	} {
		l, err := Parse(tc.text, "mine")
		got := fmt.Sprint(err)
		if err == nil {
			got = fmt.Sprintf("%s %s %d %s", l.Scheme, l.Host, l.Port, l.Path)
		}
		if err == nil && got != tc.want || err != nil && !strings.Contains(got, tc.want) {
			t.Errorf("%q: %s, want %s", tc.text, got, tc.want)
		}
	}
}

// No text panics, and what is accepted is accepted again as it is kept.
func FuzzParse(f *testing.F) {
	for _, text := range strings.Fields("dns://a:1 srv+dns://_a._b.c file:///a?b mine://a/b?c=d a dns://[::1]:2") {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := Parse(text, "mine")
		if err != nil {
			return
		}
		again, err := Parse(l.Text, "mine")
		if err != nil || again.Host != l.Host || again.Path != l.Path || again.Port != l.Port {
			t.Errorf("%q: %+v, %v", text, again, err)
		}
	})
}
