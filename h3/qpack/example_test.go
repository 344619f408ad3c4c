package qpack_test

import (
	"fmt"

	"github.com/edge-proxy/edge/h3/qpack"
	"github.com/edge-proxy/edge/message"
)

func Example() {
	var e qpack.Encoder
	block := e.Begin(nil)
	block = e.AppendMethod(block, []byte("GET"))
	block = e.AppendAuthority(block, []byte("example.org"))
	block = e.AppendField(block, message.UserAgent, nil, []byte("edge"), false)

	var d qpack.Decoder
	d.Init(qpack.DecoderOptions{ListMax: 16 << 10})
	n, err := d.Begin(block)
	for block = block[n:]; err == nil && len(block) > 0; block = block[n:] {
		next, f, e := d.Next(block)
		if n, err = next, e; err == nil {
			fmt.Printf("%s = %s\n", f.Name(), f.Value())
		}
	}
	// Output:
	// :method = GET
	// :authority = example.org
	// user-agent = edge
}
