package compress

import (
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/edge-proxy/edge/internal/base/list"
	"github.com/edge-proxy/edge/proxy"
)

// Level is how much work is done for a smaller body.
type Level uint8

// The levels.
const (
	Auto Level = iota // gzip 5 and the default of zstd; as Fast while the reactor is busy for nine tenths of its time
	Fast              // gzip 1, and the least that zstd has
	Best              // gzip 9, and the second best of zstd: its best one takes 35 MiB
)

// window is how far zstd looks back, and with that what the client has to keep: a page of the size of most.
const window = 128 << 10

// kind is what an encoder is for.
type kind struct {
	coding Coding
	level  Level
}

// size is how much memory an encoder takes, as measured.
func (k kind) size() int {
	if k.coding == Zstd {
		return [...]int{Auto: 2160 << 10, Fast: 860 << 10, Best: 5030 << 10}[k.level]
	}
	return [...]int{Auto: 1060 << 10, Fast: 780 << 10, Best: 1390 << 10}[k.level]
}

// open makes an encoder.
func (k kind) open() writer {
	if k.coding == Gzip {
		w, err := gzip.NewWriterLevel(nil, [...]int{Auto: 5, Fast: 1, Best: 9}[k.level])
		if err != nil {
			panic(err)
		}
		return w
	}
	level := [...]zstd.EncoderLevel{
		Auto: zstd.SpeedDefault, Fast: zstd.SpeedFastest, Best: zstd.SpeedBetterCompression,
	}[k.level]
	w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithWindowSize(window), zstd.WithEncoderCRC(false),
		zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true)) // it starts no goroutine then
	if err != nil {
		panic(err)
	}
	return w
}

// writer is an encoder of the library.
type writer interface {
	io.WriteCloser
	Flush() error
	Reset(to io.Writer)
}

// stream is an encoder of the library, with its memory. Owned by a Lender, and by the body it is lent to.
type stream struct {
	kind
	with   writer
	to     sink
	broken bool // it has panicked, or failed
	since  int64
	place  list.Node[stream] // in Lender.free
}

// append encodes p as proxy.Encoder has it.
func (s *stream) append(dst, p []byte, how proxy.Encode) []byte {
	s.broken = true
	s.to.out = dst
	_, err := s.with.Write(p)
	switch {
	case err != nil:
	case how == proxy.EncodeFlush:
		err = s.with.Flush()
	case how == proxy.EncodeEnd:
		err = s.with.Close()
	}
	if err != nil {
		panic(err) // a sink takes all
	}
	dst, s.to.out, s.broken = s.to.out, nil, false
	return dst
}

// sink appends what is written to it.
type sink struct{ out []byte }

func (s *sink) Write(p []byte) (int, error) {
	s.out = append(s.out, p...)
	return len(p), nil
}
