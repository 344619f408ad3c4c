package config

import (
	"slices"
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
	if without.ServesHTTP3() || o.MaxStreams != 128 || o.IdleTimeout != time.Minute || !o.Advertise ||
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
