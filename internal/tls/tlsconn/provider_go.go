//go:build !boringcrypto

package tlsconn

const provider = "crypto/tls"
