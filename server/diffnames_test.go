package server

import (
	"slices"
	"testing"

	"github.com/edge-proxy/edge/config"
)

// Certificates of one file, each for names of its own, are told apart.
func TestDiff_certificatesOfOneFile(t *testing.T) {
	of := func(hosts ...string) *config.Config {
		c := &config.Config{}
		for _, h := range hosts {
			c.Certificates = append(c.Certificates, config.Certificate{Cert: "a.pem", Hosts: []string{h}})
		}
		return c
	}
	if d := diffOf(of("a", "b"), of("a", "b")); len(d.Added)+len(d.Changed)+len(d.Removed) != 0 {
		t.Errorf("nothing has changed: %+v", d)
	}
	d := diffOf(of("a", "b"), of("a", "c"))
	if len(d.Added)+len(d.Removed) != 0 || !slices.Equal(d.Changed, []string{"certificate a.pem #2"}) {
		t.Errorf("one has changed: %+v", d)
	}
}
