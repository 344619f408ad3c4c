package testutil

import (
	"compress/gzip"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// Decoder returns a reader of the bytes that body encodes by a content coding: gzip by the standard library, zstd with
// no more memory than browsers have to give, or none of both.
func Decoder(t testing.TB, coding string, body io.Reader) io.Reader {
	t.Helper()
	switch coding {
	case "gzip":
		r, err := gzip.NewReader(body)
		Must(t, err)
		return r
	case "zstd":
		r, err := zstd.NewReader(body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<10))
		Must(t, err)
		t.Cleanup(r.Close)
		return r
	}
	return body
}

// Decoded returns all bytes that body encodes.
func Decoded(t testing.TB, coding string, body io.Reader) []byte {
	t.Helper()
	p, err := io.ReadAll(Decoder(t, coding, body))
	Must(t, err)
	return p
}
