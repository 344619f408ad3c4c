package tlsconn

import (
	"crypto/fips140"
	"crypto/tls"
	"net"
	"runtime"
	"strings"
)

// secured is one end of a TLS connection: the seam between this package and the provider of TLS. Read and Write
// call the net.Conn that it was made with; contract_test.go says what else is relied on.
type secured interface {
	Handshake() error
	Read(p []byte) (int, error)  // the plaintext of one record, or the error of the net.Conn when there is no whole one
	Write(p []byte) (int, error) // one record, in one Write of the net.Conn, for at most 16 KiB
	CloseWrite() error           // close_notify
	ConnectionState() tls.ConnectionState
}

func newServer(c net.Conn, o *tls.Config) secured { return tls.Server(c, o) }
func newClient(c net.Conn, o *tls.Config) secured { return tls.Client(c, o) }

// ProviderName says which TLS this program was built with: "crypto/tls go1.26.1" or "boringcrypto go1.26.1",
// followed by "fips140" when Go's FIPS 140-3 module is on.
func ProviderName() string {
	name := provider + " " + strings.Fields(runtime.Version())[0]
	if fips140.Enabled() {
		name += " fips140"
	}
	return name
}
