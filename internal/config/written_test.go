package config

import (
	"encoding/json"
	"strings"
	"testing"
)

// No secret of a file is in what is shown of it, however the file writes it, and everything else is.
func TestWritten(t *testing.T) {
	const text = `
log_level = "${LEVEL}"
via = "${NAME:-fallback-1}"
[[listeners]]
listen = [":8080", "127.0.0.1:8081"]
limits = { header_count = 50 }
[upstreams."a.b"]
backends = [ { address = "10.0.0.1:80", weight = 3 } ]
sticky = { cookie = "sid", ttl = "1h", secret = ["hidden-hidden-hidden-1", "${SECRET}"] }
discover = "file:///etc/hidden-no/list"
[upstreams.c]
backends = [ { address = "10.0.0.2:80" } ]
sticky.cookie = "cid"
sticky.secret = "x${SECRET}"
[upstreams.c.health_check]
type = "tcp"
send = "AUTH hidden-password\r\n"
[[routes]]
pattern = "a.example/*"
dest = "a.b"
headers = { request = { Authorization = "Basic hidden", X-Api-Key = "hidden", X-Auth = "hidden", X-Key = "hidden",
  X-Env = "prod", Cookie = "s=hidden" } }
[[routes]]
pattern = "b.example/*"
dest = "status:204"
headers.response = { Link = "https://user:hidden@c.example/?token=hidden&x=1&key=hidden" }
[[routes]]
pattern = "d.example/*"
dest = "c"
timeouts.read = "5s"
[lists]
office = ["10.0.0.0/8"]
[secrets]
api = "hidden-hidden-hidden-3"
quoted = "${SECRET}"
[secrets.long]
value = "hidden-4"
`
	env := map[string]string{"LEVEL": "debug", "SECRET": "hidden-hidden-hidden-2", "NAME": ""}
	o := Options{Written: true, LookupEnv: func(name string) (string, bool) {
		v, found := env[name]
		return v, found
	}}
	c, rep := o.Parse("edge.toml", []byte(text))
	if !rep.OK() {
		t.Fatal(rep.Errors[0].Error())
	}
	var tree map[string]any
	if err := json.Unmarshal(c.Written, &tree); err != nil {
		t.Fatalf("%v: %s", err, c.Written)
	}
	shown, err := json.Marshal(c)
	if err != nil || strings.Contains(string(shown), "hidden-4") {
		t.Errorf("%v: a secret is in %s", err, shown)
	}
	got := string(c.Written)
	if strings.Contains(strings.NewReplacer("(hidden)", "", "hidden-no", "").Replace(got), "hidden") {
		t.Errorf("a secret is in %s", got)
	}
	for _, want := range []string{
		`"log_level":"${LEVEL}"`, `"via":"${NAME:-(hidden)}"`, `"listen":[":8080","127.0.0.1:8081"]`,
		`"limits":{"header_count":50}`, `"a.b":{"backends":[{"address":"10.0.0.1:80","weight":3}]`,
		`"secret":["(hidden)","${SECRET}"]`, `"secret":"(hidden)"`, `"send":"(hidden)"`, `"cookie":"sid"`,
		`"Authorization":"(hidden)","X-Api-Key":"(hidden)",` +
			`"X-Auth":"(hidden)","X-Key":"(hidden)","X-Env":"prod","Cookie":"(hidden)"`,
		`"Link":"https://(hidden)@c.example/?token=(hidden)&x=1&key=(hidden)"`, `"read":"5s"`,
		`"discover":"file:///etc/hidden-no/list"`, `"lists":{"office":["10.0.0.0/8"]}`,
		`"secrets":{"api":"(hidden)","quoted":"${SECRET}","long":{"value":"(hidden)"}}`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in %s", want, got)
		}
	}
}
