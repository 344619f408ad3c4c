package server

import (
	"slices"
	"testing"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/changes"
	"github.com/edge-proxy/edge/config/schema"
)

type quota struct {
	schema.Given
	Requests int `edge:"requests" doc:"Of a test."`
}

func init() {
	config.Register[quota](nil, schema.Section{Path: "quota", Doc: "Of a test."})
}

// A reload tells of sections that other packages registered.
func TestDiff_featuresOfOtherPackages(t *testing.T) {
	var last *config.Config
	for i, text := range []string{"quota.requests = 1\n", "# the same\nquota.requests = 1\n", "quota.requests = 2\n"} {
		c, rep := config.Parse("f.toml", []byte(text))
		if c == nil {
			t.Fatal(rep.Errors)
		}
		if i > 0 {
			if d := changes.Of(last, c); slices.Equal(d.Changed, []string{"quota"}) != (i == 2) {
				t.Errorf("%q: %+v", text, d)
			}
		}
		last = c
	}
}

// Certificates of one file, each for names of its own, are told apart.
func TestDiff_certificatesOfOneFile(t *testing.T) {
	of := func(hosts ...string) *config.Config {
		c := &config.Config{}
		for _, h := range hosts {
			c.Certificates = append(c.Certificates, config.Certificate{
				Pair: config.Pair{Cert: "a.pem"}, Hosts: []string{h}})
		}
		return c
	}
	if d := changes.Of(of("a", "b"), of("a", "b")); len(d.Added)+len(d.Changed)+len(d.Removed) != 0 {
		t.Errorf("nothing has changed: %+v", d)
	}
	d := changes.Of(of("a", "b"), of("a", "c"))
	if len(d.Added)+len(d.Removed) != 0 || !slices.Equal(d.Changed, []string{"certificate a.pem #2"}) {
		t.Errorf("one has changed: %+v", d)
	}
}
