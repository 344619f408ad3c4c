package config

import "github.com/edge-proxy/edge/internal/config/schema"

// Orders is the section of certificates that are ordered while the process runs, among Features.
type Orders interface {
	schema.Target
	Start()                                 // a certificate is ordered: cert = "acme"
	Any() bool                              // one is ordered
	Order(host string) bool                 // has a certificate for a host of a route that no other is for, if it may
	Wrong(host string) (wrong, hint string) // why no certificate is to be had for a host
	Roots() *string                         // the file that ca_file names
	Program() string                        // the program that dns names; "": none
}

// ordersOf returns the section of Orders, or a stand-in where no package has registered it.
func ordersOf(c *Config) Orders {
	for _, o := range schema.All[Orders](c.Features) {
		return o
	}
	return &noOrders{}
}

type noOrders struct{ schema.Given }

func (*noOrders) Start()                        {}
func (*noOrders) Any() bool                     { return false }
func (*noOrders) Order(string) bool             { return false }
func (*noOrders) Wrong(string) (string, string) { return "", "" }
func (*noOrders) Roots() *string                { return new(string) }
func (*noOrders) Program() string               { return "" }

// checkOrdered checks an entry whose certificate is ordered.
func checkOrdered(e *certificateEntry, orders Orders, rep *Report) {
	orders.Start()
	if len(e.Hosts) == 0 && e.Lacks("hosts") {
		rep.Errorf(e.Head("cert"), `add hosts = ["example.org"]`, "nothing says which hosts the certificate is for")
	}
	if e.Has("when") {
		rep.Errorf(e.Head("when"), "leave it out", "an ordered certificate is for all handshakes")
	}
	for _, host := range e.Hosts {
		if wrong, hint := orders.Wrong(host); wrong != "" {
			rep.Errorf(e.At("hosts"), hint, "%s", wrong)
		}
	}
}
