package rotate

import (
	"compress/gzip"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// compressor is a format of compressed files. Immutable.
type compressor struct {
	ending string // of the names of its files
	open   func(to io.Writer) (io.WriteCloser, error)
}

// compressors are the ones that rotate.compress names.
var compressors = map[string]*compressor{
	"zstd": {".zst", func(to io.Writer) (io.WriteCloser, error) {
		return zstd.NewWriter(to, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(zstdWindow),
			zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
	}},
	"gzip": {".gz", func(to io.Writer) (io.WriteCloser, error) { return gzip.NewWriterLevel(to, gzip.BestSpeed) }},
}

// zstdWindow is how far back zstd looks for what it has seen. Lines of a log repeat at once: larger ones take more
// memory, and find no more.
const zstdWindow = 128 << 10

// halfEnding is the ending of a file which is not whole yet.
const halfEnding = ".tmp"

// ending is what the name of a renamed log has after the time.
type ending struct {
	compressor string // "": it is not compressed
	half       bool   // the file is not whole
}

// endingOf returns what an ending means, unless it is none of ours.
func endingOf(name string) (e ending, known bool) {
	if name == "" {
		return ending{}, true
	}
	name, e.half = strings.CutSuffix(name, halfEnding)
	for word, c := range compressors {
		if name == c.ending {
			e.compressor = word
			return e, true
		}
	}
	return ending{}, false
}
