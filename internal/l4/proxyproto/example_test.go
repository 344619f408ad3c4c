package proxyproto_test

import (
	"fmt"
	"net/netip"

	"github.com/edge-proxy/edge/internal/l4/proxyproto"
)

// A server reads the header of a connection, then what its client has sent.
func Example() {
	client, server := netip.MustParseAddrPort("192.0.2.7:50000"), netip.MustParseAddrPort("192.0.2.1:443")
	header := proxyproto.AppendV2(nil, client, server)
	received := append(header, "hello"...)

	h, n, err := proxyproto.Parse(received)
	fmt.Println(h.Source, h.Destination, err)
	fmt.Println(string(received[n:]))
	// Output:
	// 192.0.2.7:50000 192.0.2.1:443 <nil>
	// hello
}
