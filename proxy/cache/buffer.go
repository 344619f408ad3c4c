package cache

import (
	"sync"

	"github.com/edge-proxy/edge/internal/base/invariant"
)

// buffer is memory for a record that grows: it does not move.
type buffer struct{ bytes []byte }

// bufferSizes are the sizes of buffers; each has a pool. The largest has room for the longest head and body.
var (
	bufferSizes = [...]int{4 << 10, 16 << 10, 2 * bodyMax}
	buffers     [len(bufferSizes)]sync.Pool
)

// takeBuffer returns a buffer of n bytes or more; n is 2 * bodyMax at the most.
func (z *Zone) takeBuffer(n int) *buffer {
	i := 0
	for bufferSizes[i] < n {
		i++
	}
	z.filling.Add(int64(bufferSizes[i]))
	if b, _ := buffers[i].Get().(*buffer); b != nil {
		return b
	}
	return &buffer{make([]byte, bufferSizes[i])}
}

// giveBuffer takes a buffer back, which is not read any more.
func (z *Zone) giveBuffer(b *buffer) {
	z.filling.Add(-int64(len(b.bytes)))
	if invariant.On {
		for i := range b.bytes {
			b.bytes[i] = 0xdb
		}
	}
	for i, size := range bufferSizes {
		if len(b.bytes) == size {
			buffers[i].Put(b)
		}
	}
}
