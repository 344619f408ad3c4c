package micro

import (
	"bufio"
	"bytes"
	"io"
	"net/http/httputil"
	"testing"

	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/message"
)

const (
	chunksInPlace = "the body lies in memory; its pieces are found in place and not copied"
	chunksCopied  = "httputil.NewChunkedReader over a bufio.Reader that is used again, read 4 KiB at a time: " +
		"reading is copying there"
)

var chunkedEntries = []Entry{
	{"chunked/4x4096/edge", "decode chunks", chunksInPlace, decodeChunks(4, 4096)},
	{"chunked/4x4096/httputil", "decode chunks", chunksCopied, decodeChunksStdlib(4, 4096)},
	{"chunked/64x64/edge", "decode chunks", chunksInPlace, decodeChunks(64, 64)},
	{"chunked/64x64/httputil", "decode chunks", chunksCopied, decodeChunksStdlib(64, 64)},
}

func chunks(n, size int) (body []byte) {
	for range n {
		body = h1.AppendChunk(body, bytes.Repeat([]byte("x"), size))
	}
	return h1.AppendLastChunk(body, nil)
}

func decodeChunks(n, size int) func(b *testing.B) {
	return func(b *testing.B) {
		var start h1.Decoder
		var h message.Head
		start.InitRequests(nil)
		head := "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
		if _, _, _, err := start.Next([]byte(head), &h); err != nil {
			b.Fatal(err)
		}
		body := chunks(n, size)
		b.SetBytes(int64(n * size))
		for b.Loop() {
			d, in, got := start, body, 0
			for ended := false; !ended; {
				used, event, piece, err := d.Next(in, &h)
				if err != nil || event == h1.NeedMore {
					b.Fatal(event, err)
				}
				in, got, ended = in[used:], got+len(piece), event&h1.End != 0
			}
			if got != n*size {
				b.Fatal(got)
			}
		}
	}
}

func decodeChunksStdlib(n, size int) func(b *testing.B) {
	return func(b *testing.B) {
		body, dst := chunks(n, size), make([]byte, 4096)
		src := bytes.NewReader(body)
		r := bufio.NewReader(src)
		b.SetBytes(int64(n * size))
		for b.Loop() {
			src.Reset(body)
			r.Reset(src)
			pieces, got := httputil.NewChunkedReader(r), 0
			for {
				m, err := pieces.Read(dst)
				got += m
				if err == io.EOF {
					break
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			if got != n*size {
				b.Fatal(got)
			}
		}
	}
}
