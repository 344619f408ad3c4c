package hpack_test

import (
	"fmt"

	"github.com/edge-proxy/edge/h2/hpack"
	"github.com/edge-proxy/edge/message"
)

func Example() {
	var e hpack.Encoder
	e.Init(hpack.EncoderOptions{})
	block := e.Begin(nil)
	block = e.AppendMethod(block, []byte("GET"))
	block = e.AppendAuthority(block, []byte("example.org"))
	block = e.AppendField(block, message.UserAgent, nil, []byte("edge"), false)

	var d hpack.Decoder
	d.Init(hpack.DecoderOptions{ListMax: 16 << 10})
	d.Begin()
	for len(block) > 0 {
		n, f, err := d.Next(block)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s = %s\n", f.Name(), f.Value())
		block = block[n:]
	}
	// Output:
	// :method = GET
	// :authority = example.org
	// user-agent = edge
}
