package h2_test

import (
	"fmt"

	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/message"
)

// A request and its answer, without a network: what one end appends the other one takes.
func Example() {
	const now = 1
	var client, server h2.Conn
	client.Init(h2.Client, nil, now)
	server.Init(h2.Server, nil, now)

	var req, res, scratch message.Head
	req.SetMethod("GET")
	req.SetTarget("/hello")
	req.SetAuthority("example.org")
	s, err := client.Open(now)
	if err != nil {
		fmt.Println(err)
		return
	}
	wire, _ := client.AppendHead(nil, s, &req, true)

	var answer []byte
	for {
		n, ev := server.Next(wire, &scratch, now)
		if wire = wire[n:]; ev.Kind == h2.NeedMore {
			break
		}
		if ev.Kind == h2.HeadDone {
			fmt.Printf("%s %s, end %v\n", scratch.MethodBytes(), scratch.Path(), ev.End)
			res.Status, res.Length = 200, 5
			answer, _ = server.AppendHead(answer, ev.Stream, &res, false)
			answer, _, _ = server.AppendData(answer, ev.Stream, []byte("hello"), true)
		}
	}
	for {
		n, ev := client.Next(answer, &scratch, now)
		if answer = answer[n:]; ev.Kind == h2.NeedMore {
			break
		}
		switch ev.Kind {
		case h2.HeadDone:
			fmt.Println(scratch.Status, "of", scratch.Length, "bytes")
		case h2.Data:
			fmt.Printf("%s, end %v\n", ev.Body, ev.End)
		}
	}
	// Output:
	// GET /hello, end true
	// 200 of 5 bytes
	// hello, end true
}
