package config

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestListener_http3(t *testing.T) {
	parse := func(lines string) *Listener {
		t.Helper()
		c, rep := Options{TextOnly: true}.Parse("edge.toml",
			[]byte("[https]\nlisten = \":443\"\ncert = \"a.pem\"\n"+lines))
		if c == nil {
			t.Fatal(rendered(t, rep))
		}
		return &c.Listeners[0]
	}
	without := parse("")
	o := without.Versions.H3
	if !without.ServesHTTP3() || o.MaxStreams != 128 || o.IdleTimeout != time.Minute || !o.Advertise ||
		o.AdvertisePort != 0 || o.MaxAge != 24*time.Hour || !slices.Equal(o.Hosts, []string{"*"}) {
		t.Errorf("%v %+v", without.ServesHTTP3(), o)
	}
	with := parse("protocols = [\"h1\", \"h3\"]\nh3 = { advertise = false, hosts = \"!A.Example\" }\n")
	if o := with.Versions.H3; !with.ServesHTTP3() || o.Advertise || !slices.Equal(o.Hosts, []string{"!a.example"}) {
		t.Errorf("%v %+v", with.ServesHTTP3(), o)
	}
	if keys := without.ChangedKeys(with); !slices.Equal(keys, []string{"protocols", "h3.advertise", "h3.hosts"}) {
		t.Errorf("%v", keys)
	}
}

// With TLS HTTP/3 is served where nothing is against it, and a listener does without a UDP port unless its file names
// h3.
func TestListener_http3Default(t *testing.T) {
	const secured, internal = "cert = \"a.pem\"\n", "cert = \"internal\"\n"
	for _, c := range []struct {
		listener, rest   string
		served, optional bool
	}{
		{"", "", false, false},
		{secured, "", true, true},
		{"tls = \"auto\"\n" + secured, "", true, true},
		{"tls = false\n", "", false, false},
		{"tls = true\n", "[[certificates]]\ncert = \"a.pem\"\n[[certificates]]\ncert = \"internal\"\n", true, true},
		{"tls = true\n", "[[certificates]]\ncert = \"internal\"\n", false, false},
		{internal, "[[certificates]]\ncert = \"a.pem\"\n", false, false},
		{secured, "[[certificates]]\ncert = \"internal\"\n", true, true},
		{secured + "listen = \"unix:/run/a\"\n", "", false, false},
		{secured + "listen = [\":443\", \"unix:/run/a\"]\n", "", false, false},
		{secured, "[global]\nfips = true\n", false, false},
		{secured + "proxy_protocol = { from = \"10.0.0.1\" }\n", "", true, true},
		{secured + "proxy_protocol = { from = \"10.0.0.1\", required = true }\n", "", false, false},
		{secured + "protocols = [\"h1\", \"h2\"]\n", "", false, false},
		{secured + "protocols = [\"h1\", \"h3\"]\n", "", true, false},
		{internal + "protocols = [\"h1\", \"h3\"]\n", "", true, false},
	} {
		text := "[[listeners]]\n" + c.listener + c.rest
		if !strings.Contains(text, "listen =") {
			text = "[[listeners]]\nlisten = \":443\"\n" + c.listener + c.rest
		}
		cfg, rep := Options{TextOnly: true}.Parse("edge.toml", []byte(text))
		if cfg == nil {
			t.Errorf("%s%s", text, rendered(t, rep))
			continue
		}
		if l := &cfg.Listeners[0]; l.ServesHTTP3() != c.served || l.Versions.OptionalH3 != c.optional {
			t.Errorf("%s%v", text, l.Versions)
		}
	}
	without, rep := Options{TextOnly: true}.Parse("edge.toml", []byte("\n"))
	if without == nil || !slices.Equal(without.Listeners[0].Versions.Protocols, []string{"h1", "h2"}) {
		t.Errorf("without a listener: %s", rendered(t, rep))
	}
}

// To name what is there by default is a change: a start then fails without the UDP port.
func TestListener_ChangedKeys_namesHTTP3(t *testing.T) {
	parse := func(line string) *Listener {
		text := "[https]\nlisten = \":443\"\ncert = \"a.pem\"\n" + line
		c, rep := Options{TextOnly: true}.Parse("edge.toml", []byte(text))
		if c == nil {
			t.Fatal(rendered(t, rep))
		}
		return &c.Listeners[0]
	}
	without, with := parse(""), parse("protocols = [\"h1\", \"h2\", \"h3\"]\n")
	for _, keys := range [][]string{without.ChangedKeys(with), with.ChangedKeys(without)} {
		if !slices.Equal(keys, []string{"protocols"}) {
			t.Errorf("%v", keys)
		}
	}
	if keys := without.ChangedKeys(parse("")); len(keys) > 0 {
		t.Errorf("%v", keys)
	}
}
