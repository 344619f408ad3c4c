package quic_test

import (
	"fmt"

	"github.com/edge-proxy/edge/quic"
)

// A datagram of a version that this side does not speak is answered by the versions that it does.
func ExampleParse() {
	datagram := append([]byte{0xc0, 0xfa, 0xce, 0xb0, 0x0c, 4, 'e', 'd', 'g', 'e', 2, 'm', 'e'}, make([]byte, 1200)...)
	h, ok := quic.Parse(datagram)
	fmt.Println(ok, h.Kind == quic.UnknownPacket, string(h.Dest), string(h.Source))

	answer, _ := quic.Parse(quic.AppendVersions(nil, &h))
	fmt.Println(answer.Kind == quic.VersionsPacket, string(answer.Dest), answer.Versions)
	// Output:
	// true true edge me
	// true me [0 0 0 1]
}
