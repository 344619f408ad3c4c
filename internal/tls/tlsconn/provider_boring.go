//go:build boringcrypto

package tlsconn

const provider = "boringcrypto"
