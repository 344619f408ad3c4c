package config

import (
	"fmt"
	"strings"
	"testing"
)

// What an upstream is checked by: its own table, [health_check], or nothing.
func TestParse_healthChecks(t *testing.T) {
	const (
		all  = "[health_check]\npath = '/all'\ninterval = '10s'\n"
		off  = "[health_check]\nenabled = false\npath = '/all'\n"
		head = "[http]\nlisten = ':80'\n[[routes]]\npattern = '/*'\ndest = 'a'\n" +
			"[[routes]]\npattern = '/b'\ndest = 'h:80'\n" +
			"[upstreams.a]\nbackends = [{ address = 'h:1' }]\n"
	)
	for name, c := range map[string]struct{ own, shared, want string }{
		"none":               {"", "", "none, none"},
		"all":                {"", all, "/all 10s 1s 1s 10s, /all 10s 1s 1s 10s"},
		"its own":            {"health_check = { path = '/a' }\n", "", "/a 5s 1s 1s 5s, none"},
		"its own, on":        {"health_check = true\n", "", "/ 5s 1s 1s 5s, none"},
		"what it does say":   {"health_check = { interval = '3s' }\n", all, "/all 3s 1s 1s 3s, /all 10s 1s 1s 10s"},
		"its own is off":     {"health_check = { enabled = false }\n", all, "none, /all 10s 1s 1s 10s"},
		"off in one word":    {"health_check = false\n", all, "none, /all 10s 1s 1s 10s"},
		"all are off":        {"", off, "none, none"},
		"off but for itself": {"health_check = { interval = '3s' }\n", off, "/all 3s 1s 1s 3s, none"},
		"a short interval":   {"health_check = { interval = '100ms' }\n", "", "/ 100ms 100ms 100ms 100ms, none"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, rep := Parse("f.toml", []byte(head+c.own+c.shared))
			if cfg == nil {
				t.Fatal(rendered(t, rep))
			}
			var got []string
			for i := range cfg.Upstreams {
				h := cfg.Upstreams[i].HealthCheck
				if h == nil {
					got = append(got, "none")
					continue
				}
				got = append(got, fmt.Sprint(h.Path, " ", h.Interval, h.FastInterval, h.Timeout, h.DownInterval))
			}
			if got := strings.Join(got, ", "); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// The Host of a check is that of its own, of the upstream, or of the backend.
func TestParse_hostOfAHealthCheck(t *testing.T) {
	for keys, want := range map[string]string{
		"":                                     "",
		"host = 'keep'\n":                      "",
		"host = 'backend'\n":                   "",
		"host = 'a.test'\n":                    "a.test",
		"health_check = { host = 'b.test' }\n": "b.test",
		"host = 'a.test'\nhealth_check = { host = 'b.test:81' }\n": "b.test:81",
		"host = 'a.test'\nhealth_check = { host = 'backend' }\n":   "",
	} {
		cfg, rep := Parse("f.toml", []byte("[health_check]\n"+
			"[upstreams.default]\nbackends = [{ address = 'h:1' }]\n"+keys))
		if cfg == nil {
			t.Fatal(rendered(t, rep))
		}
		if got := cfg.Upstreams[0].HealthCheck.Host; got != want {
			t.Errorf("%q: got %q, want %q", keys, got, want)
		}
	}
}

// Bytes are text with the escapes of the format, or hexadecimal digits.
func TestParse_bytesOfAHealthCheck(t *testing.T) {
	cfg, rep := Parse("f.toml", []byte("[upstreams.default]\nbackends = [{ address = 'h:1' }]\n"+
		`health_check = { type = "tcp", send = "PING\r\n", expect = "hex:2b 50 4f4E47" }`+"\n"))
	if cfg == nil {
		t.Fatal(rendered(t, rep))
	}
	if h := cfg.Upstreams[0].HealthCheck; h.Send != "PING\r\n" || h.Expect != "+PONG" {
		t.Errorf("%q, %q", h.Send, h.Expect)
	}
}
