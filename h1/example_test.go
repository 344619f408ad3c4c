package h1_test

import (
	"fmt"

	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/message"
)

// A request in two pieces, without a network. What is not consumed comes again, with more after it.
func Example() {
	var d h1.Decoder
	var h message.Head
	d.InitRequests(nil)

	var in []byte
	for _, piece := range []string{
		"POST /greet HTTP/1.1\r\nHost: example.org\r\nContent-Le",
		"ngth: 5\r\n\r\nhello",
	} {
		in = append(in, piece...)
		for {
			n, ev, body, err := d.Next(in, &h)
			if err != nil {
				fmt.Println(err) // nothing after it can be trusted
				return
			}
			in = in[n:]
			if ev == h1.NeedMore {
				break
			}
			if ev&h1.HeadDone != 0 {
				fmt.Printf("%s %s for %s, %d bytes\n", h.MethodBytes(), h.Path(), h.Host(), h.Length)
			}
			if ev&h1.Data != 0 {
				fmt.Printf("%s, end %v\n", body, ev&h1.End != 0)
			}
		}
	}

	answer := message.Head{Status: 200, Length: 2}
	answer.Add("Content-Type", "text/plain")
	fmt.Printf("%q\n", append(h1.AppendResponse(nil, &answer, h1.ResponseOptions{}), "hi"...))
	// Output:
	// POST /greet for example.org, 5 bytes
	// hello, end true
	// "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi"
}
